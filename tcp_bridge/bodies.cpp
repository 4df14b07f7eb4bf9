#include "tcp_bridge/bodies.hpp"

#include "src/wire/names.hpp"
#include "src/wire/utf8.hpp"
#include "tcp_bridge/byte_cursor.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

constexpr std::uint8_t kSlowOfTopic = 255;  // the topic's own policy

Error wrong_body(std::string_view body, const std::string& what) {
    return {Status::bad_request, 0, std::string(body) + ": " + what};
}
Error too_short(std::string_view body) {
    return wrong_body(body, "it ends in the middle of a field");
}

bool is_utf8(std::string_view text) {
    while (!text.empty()) {
        const std::size_t bytes = wire::utf8_character_bytes(text);
        if (bytes == 0) {
            return false;
        }
        text.remove_prefix(bytes);
    }
    return true;
}

// At most `bytes_max` bytes of it, whole characters.
std::string_view cut(std::string_view text, std::size_t bytes_max) {
    std::size_t bytes = 0;
    while (bytes < text.size()) {
        const std::size_t next = wire::utf8_character_bytes(text.substr(bytes));
        if (next == 0 || bytes + next > bytes_max) {
            break;
        }
        bytes += next;
    }
    return text.substr(0, bytes);
}

// Texts from the other side end up in logs and on terminals: no control characters.
bool is_printable(std::string_view text) {
    return is_utf8(text) && std::none_of(text.begin(), text.end(), [](char c) {
               return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
           });
}

}  // namespace

// ---- HELLO and WELCOME -------------------------------------------------------------------------

Bytes encode(const Hello& hello) {
    ByteWriter out;
    out.put(hello.version_min);
    out.put(hello.version_max);
    out.put(hello.heartbeat_ms);
    out.put(hello.capabilities);
    out.put(hello.mandatory);
    out.put(hello.session);
    out.put(hello.received);
    out.put(hello.compress_from);
    const std::string_view name = cut(hello.name, kClientNameBytesMax);
    out.put(hello.codecs);
    out.put(static_cast<std::uint8_t>(name.size()));
    out.zeros(6);
    out.text(name);
    return out.take();
}

Result<Hello> decode_hello(std::span<const std::byte> body) {
    ByteReader in(body);
    Hello hello;
    hello.version_min = in.get<std::uint16_t>();
    hello.version_max = in.get<std::uint16_t>();
    hello.heartbeat_ms = in.get<std::uint32_t>();
    hello.capabilities = in.get<std::uint64_t>();
    hello.mandatory = in.get<std::uint64_t>();
    hello.session = in.get<SessionId>();
    hello.received = in.get<std::uint64_t>();
    hello.compress_from = in.get<std::int64_t>();
    hello.codecs = in.get<std::uint8_t>();
    const auto name_bytes = in.get<std::uint8_t>();
    in.skip(6);
    hello.name = in.text(name_bytes);
    // What later versions add stands behind the name.
    if (!in.ok()) {
        return too_short("HELLO");
    }
    if (hello.version_min > hello.version_max) {
        return wrong_body("HELLO",
                          "version_min is " + std::to_string(hello.version_min) + ", version_max " +
                              std::to_string(hello.version_max));
    }
    if (hello.name.size() > kClientNameBytesMax || !is_printable(hello.name)) {
        return wrong_body("HELLO", "the client's name is no printable UTF-8 of at most 100 bytes");
    }
    return hello;
}

Bytes encode(const Welcome& welcome) {
    ByteWriter out;
    out.put(welcome.version);
    out.put(welcome.codec);
    out.put(static_cast<std::uint8_t>(welcome.resumed ? 1 : 0));
    out.put(welcome.heartbeat_ms);
    out.put(welcome.capabilities);
    out.put(welcome.session);
    out.put(welcome.bridge);
    out.put(welcome.message_bytes_max);
    out.put(welcome.compress_from);
    out.put(welcome.outstanding_max);
    out.put(welcome.grace_ms);
    out.put(welcome.received);
    out.put(static_cast<std::uint8_t>(welcome.domain.size()));
    out.zeros(7);
    out.text(welcome.domain);
    return out.take();
}

Result<Welcome> decode_welcome(std::span<const std::byte> body) {
    ByteReader in(body);
    Welcome welcome;
    welcome.version = in.get<std::uint16_t>();
    welcome.codec = in.get<std::uint8_t>();
    const auto resumed = in.get<std::uint8_t>();
    welcome.resumed = resumed == 1;
    welcome.heartbeat_ms = in.get<std::uint32_t>();
    welcome.capabilities = in.get<std::uint64_t>();
    welcome.session = in.get<SessionId>();
    welcome.bridge = in.get<SessionId>();
    welcome.message_bytes_max = in.get<std::uint64_t>();
    welcome.compress_from = in.get<std::int64_t>();
    welcome.outstanding_max = in.get<std::uint32_t>();
    welcome.grace_ms = in.get<std::uint32_t>();
    welcome.received = in.get<std::uint64_t>();
    const auto domain_bytes = in.get<std::uint8_t>();
    in.skip(7);
    welcome.domain = in.text(domain_bytes);
    if (!in.ok()) {
        return too_short("WELCOME");
    }
    if (resumed > 1) {
        return wrong_body("WELCOME",
                          "resumed is " + std::to_string(resumed) + ", allowed are 0 and 1");
    }
    if (auto named = wire::check_name("WELCOME: domain", welcome.domain); !named) {
        return named.error();
    }
    return welcome;
}

// ---- ending ------------------------------------------------------------------------------------

Bytes encode(const Ending& ending) {
    const Error& error = ending.error;
    ByteWriter out;
    // A text that is no UTF-8 (the name of a file, perhaps) is cut where it begins to be none.
    const std::string_view detail = cut(error.detail, kDetailBytesMax);
    out.put(error.status);
    out.put(std::uint8_t{0});
    out.put(static_cast<std::uint16_t>(detail.size()));
    out.put(static_cast<std::int32_t>(error.os_error));
    out.text(detail);
    return out.take();
}

Result<Ending> decode_ending(std::span<const std::byte> body) {
    if (body.empty()) {
        return Ending{};
    }
    ByteReader in(body);
    const auto status = in.get<std::uint8_t>();
    in.skip(1);
    const auto detail_bytes = in.get<std::uint16_t>();
    const auto os_error = in.get<std::int32_t>();
    const std::string_view detail = in.text(detail_bytes);
    if (!in.complete()) {
        return in.ok() ? wrong_body("ending", "there is something behind it") : too_short("ending");
    }
    if (detail.size() > kDetailBytesMax || !is_utf8(detail)) {
        return wrong_body("ending", "its text is no UTF-8 of at most 1000 bytes");
    }
    // A status of a later version: trouble of the other side's that a retry may help.
    const auto statuses = all_statuses();
    const bool known = std::any_of(statuses.begin(), statuses.end(), [status](const auto& info) {
        return static_cast<std::uint8_t>(info.status) == status;
    });
    return Ending{{known ? static_cast<Status>(status) : Status::server_error,
                   os_error,
                   std::string(detail)}};
}

// ---- LEASE -------------------------------------------------------------------------------------

Bytes encode(const LeaseTold& lease) {
    const auto since_epoch =
        std::chrono::duration_cast<std::chrono::milliseconds>(lease.dead.time.time_since_epoch());
    ByteWriter out;
    out.put(lease.deliveries);
    out.put(static_cast<std::uint8_t>(lease.reason));
    out.put(static_cast<std::uint8_t>(lease.dead.reason));
    out.put(static_cast<std::uint16_t>(lease.dead.origin.size()));
    out.put<std::int64_t>(since_epoch.count());
    out.text(lease.dead.origin);
    return out.take();
}

Result<LeaseTold> decode_lease(std::span<const std::byte> body) {
    // What a system_clock has room for.
    constexpr std::int64_t kMsMax =
        std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::duration::max())
            .count();
    ByteReader in(body);
    LeaseTold lease;
    lease.deliveries = in.get<std::uint32_t>();
    lease.reason = static_cast<ReturnReason>(in.get<std::uint8_t>());
    lease.dead.reason = static_cast<ReturnReason>(in.get<std::uint8_t>());
    const auto origin_bytes = in.get<std::uint16_t>();
    const auto ms = in.get<std::int64_t>();
    lease.dead.origin = in.text(origin_bytes);
    if (!in.complete()) {
        return in.ok() ? wrong_body("LEASE", "there is something behind it") : too_short("LEASE");
    }
    if (lease.deliveries == 0 || ms < 0 || ms > kMsMax) {
        return wrong_body("LEASE", "it has no deliveries, or a time that is none");
    }
    // "*": the function without a name.
    if (!lease.dead.origin.empty() && lease.dead.origin != "*") {
        if (auto named = wire::check_name("LEASE: origin", lease.dead.origin); !named) {
            return named.error();
        }
    }
    lease.dead.time = std::chrono::system_clock::time_point(std::chrono::milliseconds(ms));
    return lease;
}

// ---- OPEN --------------------------------------------------------------------------------------

Bytes encode(const Open& open) {
    ByteWriter out;
    out.put(static_cast<std::uint8_t>(open.kind));
    out.put(std::uint8_t{0});
    out.put(static_cast<std::uint16_t>(open.name.size()));
    out.zeros(4);
    out.text(open.name);
    return out.take();
}

Result<Open> decode_open(std::span<const std::byte> body) {
    ByteReader in(body);
    const auto kind = in.get<std::uint8_t>();
    in.skip(1);
    const auto name_bytes = in.get<std::uint16_t>();
    in.skip(4);
    Open open{static_cast<Kind>(kind), std::string(in.text(name_bytes))};
    if (!in.complete()) {
        return in.ok() ? wrong_body("OPEN", "there is something behind it") : too_short("OPEN");
    }
    if (kind > static_cast<std::uint8_t>(Kind::function)) {
        return wrong_body("OPEN", "kind is " + std::to_string(kind) + ", allowed are 0 to 2");
    }
    if (open.kind != Kind::function || !open.name.empty()) {
        if (auto named = wire::check_name("OPEN: name", open.name); !named) {
            return named.error();
        }
    }
    return open;
}

// ---- SUBSCRIBE ---------------------------------------------------------------------------------

Bytes encode(const Subscribe& subscribe) {
    ByteWriter out;
    out.put(static_cast<std::uint8_t>(subscribe.from.kind));
    out.put(subscribe.slow ? static_cast<std::uint8_t>(*subscribe.slow) : kSlowOfTopic);
    out.put(static_cast<std::uint16_t>(subscribe.patterns.size()));
    out.zeros(4);
    out.put(subscribe.from.number);
    for (const std::string& pattern : subscribe.patterns) {
        out.put(static_cast<std::uint16_t>(pattern.size()));
        out.text(pattern);
    }
    return out.take();
}

Result<Subscribe> decode_subscribe(std::span<const std::byte> body) {
    ByteReader in(body);
    const auto kind = in.get<std::uint8_t>();
    const auto slow = in.get<std::uint8_t>();
    const auto count = in.get<std::uint16_t>();
    in.skip(4);
    Subscribe subscribe;
    subscribe.from = {static_cast<From::Kind>(kind), in.get<std::uint64_t>()};
    if (kind > static_cast<std::uint8_t>(From::Kind::sequence)) {
        return wrong_body("SUBSCRIBE", "from is " + std::to_string(kind) + ", allowed are 0 to 2");
    }
    if (slow != kSlowOfTopic) {
        if (slow > static_cast<std::uint8_t>(SlowSubscriber::disconnect)) {
            return wrong_body("SUBSCRIBE",
                              "slow is " + std::to_string(slow) + ", allowed are 0 to 3 and 255");
        }
        subscribe.slow = static_cast<SlowSubscriber>(slow);
    }
    if (count == 0 || count > kPatternsMax) {
        return wrong_body("SUBSCRIBE",
                          "there are " + std::to_string(count) + " patterns, allowed are 1 to 256");
    }
    for (std::uint16_t i = 0; i < count && in.ok(); ++i) {
        const auto bytes = in.get<std::uint16_t>();
        subscribe.patterns.emplace_back(in.text(bytes));
        if (in.ok()) {
            if (auto sound = wire::check_topic_pattern(subscribe.patterns.back()); !sound) {
                return sound.error();
            }
        }
    }
    if (!in.complete()) {
        return in.ok() ? wrong_body("SUBSCRIBE", "there is something behind it")
                       : too_short("SUBSCRIBE");
    }
    return subscribe;
}

}  // namespace telpher::bridge
