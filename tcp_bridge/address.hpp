#pragma once
// Where a bridge listens: `tcp://HOST:PORT`, `tcp://[IPV6]:PORT` or `unix:/PATH`.

#include "telpher/result.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace telpher::bridge {

struct Address {
    bool is_unix = false;
    std::string host{};  // or the path
    std::uint16_t port = 0;
};

// Errors: bad_request, which tells what is wrong with it.
[[nodiscard]] Result<Address> parse_address(std::string_view uri);
// "127.0.0.1:33333", "/tmp/cafe.sock".
[[nodiscard]] std::string to_string(const Address& address);

// A connected socket that does not block. `go_on` is asked every few milliseconds; false ends it.
//   errors   disconnected (nobody listens there, no such host, timed out: the text tells), closed (stopped),
//            limit_reached (descriptors)
//   blocks   while a name is looked up, whatever `timeout_ns` says
[[nodiscard]] Result<int> dial(const Address& address,
                               std::uint64_t timeout_ns,
                               const std::function<bool()>& go_on);

}  // namespace telpher::bridge
