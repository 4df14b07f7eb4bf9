#pragma once
// A small domain of its own for one test, gone when the test ends.

#include "telpher/telpher.hpp"

#include "tests/unit/support/unique_name.hpp"

#include <unistd.h>

#include <string>

namespace telpher::test {

// 1.5 MiB instead of 64 MiB, and no growth beyond them.
inline DomainLimits small_limits() {
    return {.processes = 16,
            .threads = 64,
            .destinations = 8,
            .message_bytes = 65'520,
            .ring_bytes = 128U << 10U,
            .pool_bytes = 1U << 20U,
            .segment_bytes = 0,
            .idempotency_entries = 64};
}

class ScratchDomain {
  public:
    ScratchDomain() = default;
    ScratchDomain(const ScratchDomain&) = delete;
    ScratchDomain& operator=(const ScratchDomain&) = delete;
    ~ScratchDomain() {
        static_cast<void>(remove_domain(name_, true));
        for (const std::string& file : files_of(name_)) {
            unlink(("/dev/shm/" + file).c_str());
        }
    }

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] std::string uri() const { return "shm:" + name_; }
    [[nodiscard]] std::string path() const { return "/dev/shm/telpher." + name_; }
    [[nodiscard]] Server open(ServerOptions options = {.limits = small_limits()}) const {
        return Server::open(name_, options).value();
    }
    // Makes the domain and leaves it.
    void make() const { static_cast<void>(open()); }

  private:
    std::string name_ = unique_name();
};

}  // namespace telpher::test
