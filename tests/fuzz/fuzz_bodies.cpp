// Bodies of HELLO, WELCOME, OPEN, SUBSCRIBE and endings from outside: refused with a reason, or what comes out of them
// is encoded to a body that reads the same.
#include "tcp_bridge/bodies.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using telpher::Status;
using telpher::fuzz::require;
namespace bridge = telpher::bridge;

template <typename Decode>
void check(Decode&& decode, std::span<const std::byte> body) {
    const auto decoded = decode(body);
    if (!decoded) {
        require(decoded.status() == Status::bad_request && !decoded.error().detail.empty(),
                "what is refused is a bad request, and it is said why");
        return;
    }
    const auto first = encode(*decoded);
    const auto again = decode(first);
    require(again.has_value(), "what was encoded decodes");
    require(encode(*again) == first, "a second round changes nothing");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const auto body = telpher::fuzz::as_bytes(data, size).subspan(1);
    switch (data[0] % 5) {
        case 0:
            check(bridge::decode_hello, body);
            break;
        case 1:
            check(bridge::decode_welcome, body);
            break;
        case 2:
            check(bridge::decode_ending, body);
            break;
        case 3:
            check(bridge::decode_open, body);
            break;
        default:
            check(bridge::decode_subscribe, body);
            break;
    }
    return 0;
}
