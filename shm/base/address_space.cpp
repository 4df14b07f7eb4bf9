#include "shm/base/address_space.hpp"

#include "shm/base/os.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace telpher::shm {
namespace {

void* reserve_at(void* address, std::uint64_t bytes, int more_flags) noexcept {
    return mmap(
        address, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | more_flags, -1, 0);
}

}  // namespace

Result<AddressSpace> AddressSpace::reserve(std::uint64_t least, std::uint64_t bytes) {
    AddressSpace space;
    for (std::uint64_t wanted = std::max(least, bytes);; wanted = std::max(least, wanted / 2)) {
        void* found = reserve_at(nullptr, wanted, 0);
        if (found != MAP_FAILED) {
            space.base_ = static_cast<std::byte*>(found);
            space.bytes_ = wanted;
            return space;
        }
        if (wanted == least) {
            return Error{Status::out_of_memory,
                         errno,
                         errno_text(("setting " + std::to_string(least) +
                                     " bytes of addresses aside for the segment")
                                        .c_str(),
                                    errno)};
        }
    }
}

AddressSpace::AddressSpace(AddressSpace&& other) noexcept
    : base_(std::exchange(other.base_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

AddressSpace& AddressSpace::operator=(AddressSpace&& other) noexcept {
    std::swap(base_, other.base_);
    std::swap(bytes_, other.bytes_);
    return *this;
}

AddressSpace::~AddressSpace() {
    // All at once: an address given back early could be somebody else's by the end.
    if (base_ != nullptr) {
        munmap(base_, bytes_);
    }
}

Result<void> AddressSpace::map(int descriptor, std::uint64_t at, std::uint64_t bytes) noexcept {
    if (at > bytes_ || bytes > bytes_ - at) {
        return Error{Status::out_of_memory, 0, {}};
    }
    const int error = map_at(base_ + at, descriptor, bytes);
    return error == 0 ? Result<void>() : Error{Status::out_of_memory, error, {}};
}

int AddressSpace::map_at(std::byte* address, int descriptor, std::uint64_t bytes) noexcept {
    if (mmap(address, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, descriptor, 0) !=
        MAP_FAILED) {
        return 0;
    }
    const int error = errno;
    static_cast<void>(reserve_at(address, bytes, MAP_FIXED));  // still ours
    return error;
}

}  // namespace telpher::shm
