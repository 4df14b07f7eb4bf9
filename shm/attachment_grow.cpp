// How a domain gets more memory for messages than it began with.

#include "shm/attachment.hpp"

#include <algorithm>
#include <bit>

namespace telpher::shm {
namespace {

constexpr std::uint64_t kGrowthMin = 8ULL << 20U;
constexpr std::uint64_t kGrowthMax = 1ULL << 30U;
constexpr std::uint64_t kGrowthFrugal = 1ULL << 20U;  // when there is no room for more

// Sizes of large chunks: eight between powers of two, so that at most an eighth is wasted.
std::uint64_t round_up_size(std::uint64_t bytes) {
    const std::uint64_t step = std::max<std::uint64_t>(std::bit_floor(bytes) / 8, kPageBytes);
    return (bytes + step - 1) / step * step;
}

}  // namespace

Result<void> Attachment::grow(std::size_t chunk_bytes,
                              std::uint32_t classes,
                              std::chrono::nanoseconds patience) {
    auto guard = directory_.lock(patience);
    if (!guard) {
        return guard.error();
    }
    if (const Status status = usable(); status != Status::ok) {
        return status;
    }
    if (const Status status = pool_.learn(); status != Status::ok) {
        return Error{status, 0, "a data segment of the domain cannot be mapped"};
    }
    const std::uint32_t k = pool_.class_for(chunk_bytes);
    DataPlan plan;
    plan.kind = DataKind::chunks;
    plan.chunk_bytes = static_cast<std::uint32_t>(
        k < pool_.first_classes() ? pool_.chunk_class(k).chunk_bytes : round_up_size(chunk_bytes));
    std::uint64_t alike = 0;  // bytes that were added for this size so far
    for (std::uint32_t i = pool_.first_classes(); i < pool_.class_count(); ++i) {
        const ChunkClass& c = pool_.chunk_class(i);
        if (c.chunk_bytes == plan.chunk_bytes) {
            alike += std::uint64_t{c.chunk_bytes} * c.chunk_count;
        }
        if (i >= classes && c.chunk_bytes >= chunk_bytes && c.chunk_bytes <= plan.chunk_bytes * 2) {
            return {};  // somebody was faster
        }
    }
    // Twice as much each time: few data segments, whatever the domain is used for.
    for (const std::uint64_t bytes : {std::clamp(alike, kGrowthMin, kGrowthMax), kGrowthFrugal}) {
        plan.chunk_count =
            static_cast<std::uint32_t>(std::max<std::uint64_t>(1, bytes / plan.chunk_bytes));
        plan.first_chunk = (pool_.chunk_count() + kSlabChunks - 1) / kSlabChunks * kSlabChunks;
        auto added = segment_.data().add(plan);
        if (added) {
            const Status status = pool_.learn();
            return status == Status::ok ? Result<void>() : Error{status, 0, {}};
        }
        if (bytes == kGrowthFrugal || plan.chunk_count == 1) {
            return added;
        }
    }
    return Status::out_of_memory;
}

std::shared_ptr<void> Attachment::companion(const std::function<std::shared_ptr<void>()>& make) {
    const std::lock_guard hold(companion_mutex_);
    if (companion_ == nullptr) {
        companion_ = make();
    }
    return companion_;
}

}  // namespace telpher::shm
