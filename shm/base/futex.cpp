#include "shm/base/futex.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <ctime>

namespace telpher::shm {

void futex_wait(std::atomic<std::uint32_t>& word,
                std::uint32_t seen,
                std::chrono::nanoseconds timeout) noexcept {
    if (timeout.count() <= 0) {
        return;
    }
    timespec relative{};
    relative.tv_sec = timeout.count() / 1'000'000'000;
    relative.tv_nsec = timeout.count() % 1'000'000'000;
    static_cast<void>(syscall(SYS_futex,
                              reinterpret_cast<std::uint32_t*>(&word),
                              FUTEX_WAIT,
                              seen,
                              &relative,
                              nullptr,
                              0));
}

int futex_wake(std::atomic<std::uint32_t>& word, int count) noexcept {
    const long woken = syscall(
        SYS_futex, reinterpret_cast<std::uint32_t*>(&word), FUTEX_WAKE, count, nullptr, nullptr, 0);
    return woken < 0 ? 0 : static_cast<int>(woken);
}

}  // namespace telpher::shm
