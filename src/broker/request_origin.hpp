#pragma once
// Whose requests this thread sends: its own process', or those of a remote client that it acts for.

#include <cstdint>

namespace telpher::detail {

struct Origin {
    std::uint64_t client = 0;     // a number of the remote client's session; 0: the process itself
    std::uint64_t principal = 0;  // of whoever that has proved to be; 0: the process' user
};

// Of this thread.
inline constinit thread_local Origin t_origin{};

class OriginScope {
  public:
    explicit OriginScope(const Origin& origin) noexcept : before_(t_origin) { t_origin = origin; }
    OriginScope(const OriginScope&) = delete;
    OriginScope& operator=(const OriginScope&) = delete;
    ~OriginScope() { t_origin = before_; }

  private:
    Origin before_;
};

}  // namespace telpher::detail
