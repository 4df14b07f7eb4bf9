// Where rings lie: the memory that no entry covers, and more of it.

#include "shm/directory.hpp"

#include <algorithm>
#include <bit>

namespace telpher::shm {
namespace {

// Rings are added by that many bytes at a time: 240 queues of 1024.
constexpr std::uint64_t kRingsGrowth = 8U << 20U;

}  // namespace

std::optional<Ring> Directory::ring(const Found& found) const noexcept {
    const EntryInfo& info = found.info;
    const auto area = area_of(info.ring_offset);
    const bool shaped =
        found.family() == Family::topic ? info.slots >= info.capacity : info.slots > info.capacity;
    if (!std::has_single_bit(info.slots) || info.slots < 2 || info.capacity == 0 || !shaped ||
        info.ring_bytes < ring_bytes(info.slots) || info.ring_offset % kLinePair != 0 || !area ||
        info.ring_bytes > area->end - info.ring_offset) {
        return std::nullopt;
    }
    auto* control = reinterpret_cast<RingControl*>(segment_->base() + info.ring_offset);
    return Ring(control, info.slots, info.capacity, found.dest(), pool_);
}

std::optional<Ring> Directory::returns_lane(const Found& found) const noexcept {
    const EntryInfo& info = found.info;
    const std::uint64_t slots = std::uint64_t{info.returns_max} + 1;
    if (!ring(found) || !std::has_single_bit(slots) || slots < 2 || slots > kCapacityMax ||
        info.returns_offset != info.ring_offset + ring_bytes(info.slots) ||
        info.ring_bytes < ring_bytes(info.slots) + ring_bytes(slots)) {
        return std::nullopt;
    }
    auto* control = reinterpret_cast<RingControl*>(segment_->base() + info.returns_offset);
    return Ring(control,
                static_cast<std::uint32_t>(slots),
                info.returns_max,
                make_dest(found.entry, found.generation, Lane::returns),
                pool_);
}

LatencyCounts* Directory::latency(const Found& found) const noexcept {
    const EntryInfo& info = found.info;
    const std::uint64_t rings =
        ring_bytes(info.slots) + ring_bytes(std::uint64_t{info.returns_max} + 1);
    if (found.family() != Family::function || !returns_lane(found) ||
        info.histogram_offset != info.ring_offset + rings ||
        info.ring_bytes < rings + sizeof(LatencyCounts)) {
        return nullptr;
    }
    return reinterpret_cast<LatencyCounts*>(segment_->base() + info.histogram_offset);
}

std::optional<TopicRing> Directory::topic(const Found& found) const noexcept {
    const EntryInfo& info = found.info;
    const auto plain = ring(found);
    if (found.family() != Family::topic || !plain || info.subscribers_max == 0 ||
        info.subscribers_max > kSubscribersMax ||
        info.subscribers_offset != info.ring_offset + ring_bytes(info.slots) ||
        info.ring_bytes < ring_bytes(info.slots) + topic_bytes(info.subscribers_max) ||
        info.policy > static_cast<std::uint8_t>(SlowPolicy::disconnect)) {
        return std::nullopt;
    }
    return TopicRing(*plain,
                     reinterpret_cast<TopicControl*>(segment_->base() + info.subscribers_offset),
                     info.subscribers_max,
                     static_cast<SlowPolicy>(info.policy));
}

std::optional<Directory::Area> Directory::area_of(std::uint64_t offset) const noexcept {
    const auto start = static_cast<std::uint64_t>(rings_.data() - segment_->base());
    if (offset >= start && offset - start < rings_.size()) [[likely]] {
        return Area{start, start + rings_.size()};
    }
    DataSegments& data = segment_->data();
    // What cannot be mapped is not there for us.
    static_cast<void>(data.reach());
    for (std::uint32_t i = 0; i < data.count(); ++i) {
        const DataSegment& segment = data.at(i);
        if (segment.kind == static_cast<std::uint32_t>(DataKind::rings) &&
            offset >= segment.content && offset - segment.offset < segment.bytes) {
            return Area{segment.content, segment.offset + segment.bytes};
        }
    }
    return std::nullopt;
}

std::vector<Directory::Area> Directory::areas() const {
    const auto start = static_cast<std::uint64_t>(rings_.data() - segment_->base());
    std::vector<Area> all{{start, start + rings_.size()}};
    DataSegments& data = segment_->data();
    for (std::uint32_t i = 0; i < data.count(); ++i) {
        const DataSegment& segment = data.at(i);
        if (segment.kind == static_cast<std::uint32_t>(DataKind::rings)) {
            all.push_back({segment.content, segment.offset + segment.bytes});
        }
    }
    return all;
}

// First fit between the rings that exist. What a damaged entry claims beyond the rings' memory is
// cut off: a ring is never placed, and zeroed, outside.
std::optional<std::uint64_t> Directory::find_space(std::uint64_t bytes) const {
    std::vector<std::pair<std::uint64_t, std::uint64_t>> taken;
    const std::uint32_t count = used();
    for (std::uint32_t i = 0; i < count; ++i) {
        // relaxed: changed only under the lock, which we hold
        if (entry_state(entries_[i].word.load(std::memory_order_relaxed)) != EntryState::free) {
            const EntryInfo& info = entries_[i].info;
            taken.emplace_back(info.ring_offset, info.ring_bytes);
        }
    }
    std::sort(taken.begin(), taken.end());
    for (const Area& area : areas()) {
        std::uint64_t at = area.begin;
        for (const auto& [offset, size] : taken) {
            if (offset < area.begin || offset >= area.end) {
                continue;
            }
            if (offset > at && offset - at >= bytes) {
                return at;
            }
            const std::uint64_t to = offset + std::min(size, area.end - offset);
            at = std::max(at, (to + kLinePair - 1) / kLinePair * kLinePair);
        }
        if (at <= area.end && area.end - at >= bytes) {
            return at;
        }
    }
    return std::nullopt;
}

// The same, adding a data segment when there is none. The caller holds the lock.
Result<std::uint64_t> Directory::make_space(std::uint64_t bytes) {
    if (segment_->data().reach() != Status::ok) {
        return Error{Status::out_of_memory, 0, "a data segment of the domain cannot be mapped"};
    }
    if (const auto offset = find_space(bytes)) {
        return *offset;
    }
    DataPlan plan;
    plan.kind = DataKind::rings;
    plan.bytes = std::max(bytes, kRingsGrowth);
    auto added = segment_->data().add(plan);
    if (!added && plan.bytes > bytes) {
        plan.bytes = bytes;
        added = segment_->data().add(plan);
    }
    if (!added) {
        Error error = added.error();
        error.detail = "the ring needs " + std::to_string(bytes) + " bytes, limits.ring_bytes of " +
                       std::to_string(rings_.size()) + " has no such piece left, and " +
                       error.detail;
        return error;
    }
    const auto offset = find_space(bytes);
    return offset ? Result<std::uint64_t>(*offset)
                  : Error{Status::limit_reached, 0, "no memory left for rings"};
}

}  // namespace telpher::shm
