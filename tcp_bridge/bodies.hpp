#pragma once
// What stands in the bodies of frames that carry no message (PROTOCOL.md, Bodies).
//
//   Threads  pure functions
//   Errors   bad_request, naming the body and what is wrong with it; texts are checked to be UTF-8 and names
//            by their rules
//   Cost     an allocation for each text

#include "telpher/lease.hpp"
#include "telpher/result.hpp"
#include "telpher/topic.hpp"

#include "tcp_bridge/frame.hpp"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::bridge {

using Bytes = std::vector<std::byte>;
using SessionId = std::array<std::byte, 16>;  // all zero: none

inline constexpr std::size_t kClientNameBytesMax = 100;
inline constexpr std::size_t kDetailBytesMax = 1000;  // longer texts are cut
inline constexpr std::size_t kPatternsMax = 256;

inline constexpr std::uint8_t kCodecGzip = 1;
inline constexpr std::uint8_t kCodecZstd = 2;

// What comes before the DELIVERY of a message that is leased.
struct LeaseTold {
    std::uint32_t deliveries = 0;
    ReturnReason reason = ReturnReason::none;
    DeadLetter dead{};  // reason none: it is no dead letter
};
[[nodiscard]] Bytes encode(const LeaseTold& lease);
[[nodiscard]] Result<LeaseTold> decode_lease(std::span<const std::byte> body);

// What a client says first.
struct Hello {
    std::uint16_t version_min = kVersion;
    std::uint16_t version_max = kVersion;
    std::uint32_t heartbeat_ms = 5000;
    std::uint64_t capabilities = 0;  // wished for; unknown ones are not looked at
    std::uint64_t mandatory = 0;     // without these it would not go on
    SessionId session{};             // to be resumed
    std::uint64_t received = 0;      // all answers up to this correlation came
    std::int64_t compress_from = -1;
    std::uint8_t codecs = 0;
    std::string name{};  // of the client, for people
};
[[nodiscard]] Bytes encode(const Hello& hello);
[[nodiscard]] Result<Hello> decode_hello(std::span<const std::byte> body);

// What the bridge answers.
struct Welcome {
    std::uint16_t version = kVersion;
    std::uint8_t codec = 0;
    bool resumed = false;
    std::uint32_t heartbeat_ms = 5000;
    std::uint64_t capabilities = 0;  // that both have
    SessionId session{};
    SessionId bridge{};  // another one after each start of the bridge
    std::uint64_t message_bytes_max = 0;
    std::int64_t compress_from = -1;
    std::uint32_t outstanding_max = 0;  // operations
    std::uint32_t grace_ms = 0;         // how long a cut session is kept
    std::uint64_t received = 0;         // all operations up to this correlation came
    std::string domain{};
};
[[nodiscard]] Bytes encode(const Welcome& welcome);
[[nodiscard]] Result<Welcome> decode_welcome(std::span<const std::byte> body);

// How an operation, a subscription or a connection ended. An empty body is ok.
struct Ending {
    Error error{};
};
[[nodiscard]] Bytes encode(const Ending& ending);
[[nodiscard]] Result<Ending> decode_ending(std::span<const std::byte> body);

enum class Kind : std::uint8_t { queue = 0, topic = 1, function = 2 };

// OPEN: a destination by its name. The function without a name has an empty one.
struct Open {
    Kind kind = Kind::queue;
    std::string name{};
};
[[nodiscard]] Bytes encode(const Open& open);
[[nodiscard]] Result<Open> decode_open(std::span<const std::byte> body);

struct Subscribe {
    From from{};
    std::optional<SlowSubscriber> slow{};
    std::vector<std::string> patterns{};
};
[[nodiscard]] Bytes encode(const Subscribe& subscribe);
[[nodiscard]] Result<Subscribe> decode_subscribe(std::span<const std::byte> body);

}  // namespace telpher::bridge
