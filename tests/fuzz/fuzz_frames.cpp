// A stream of frames from outside: read alike however it is cut, nothing beyond a limit is taken, and an error stays.
#include "tcp_bridge/frame_reader.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <algorithm>
#include <vector>

namespace {

using telpher::fuzz::require;
namespace bridge = telpher::bridge;

struct Read {
    std::vector<std::vector<std::byte>> frames;
    bool broken = false;
    std::size_t waiting = 0;
    bool operator==(const Read&) const = default;
};

Read read(std::span<const std::byte> bytes, std::size_t piece, bool welcome) {
    bridge::FrameReader reader;
    if (welcome) {
        reader.welcome();
    }
    const std::size_t most = welcome ? bridge::kBodyBytesMax : bridge::kBodyBytesMaxEarly;
    Read result;
    while (!bytes.empty() && !result.broken) {
        const auto now = bytes.first(std::min(piece, bytes.size()));
        bytes = bytes.subspan(now.size());
        reader.append(now);
        for (;;) {
            const auto frame = reader.next();
            if (!frame) {
                require(!reader.next(), "an error stays");
                require(!frame.error().detail.empty(), "it is said why");
                result.broken = true;
                break;
            }
            if (!*frame) {
                break;
            }
            const auto& head = (*frame)->head;
            require(head.length == (*frame)->body.size() && head.length <= most, "a length holds");
            require((head.flags & ~bridge::kFlagsKnown) == 0, "no unknown flag");
            require(bridge::is_known(head.type), "unknown types are passed over");
            const auto again = bridge::encode(head);
            result.frames.emplace_back(again.begin(), again.end());
            auto& copy = result.frames.back();
            copy.insert(copy.end(), (*frame)->body.begin(), (*frame)->body.end());
        }
        require(result.broken || reader.waiting() < bridge::kHeadBytes + most,
                "what waits is less than a frame");
    }
    result.waiting = result.broken ? 0 : reader.waiting();
    return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const auto bytes = telpher::fuzz::as_bytes(data, size).subspan(1);
    const bool welcome = (data[0] & 1U) != 0;
    const Read whole = read(bytes, 64U << 10U, welcome);
    require(read(bytes, 1U + (data[0] >> 1U), welcome) == whole, "however it is cut");
    return 0;
}
