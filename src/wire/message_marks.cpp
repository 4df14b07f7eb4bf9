// What the runtime marks requests and responses with.

#include "telpher/message.hpp"

#include "src/wire/extension.hpp"

#include <array>
#include <cstring>

namespace telpher {

using detail::ExtensionId;

Message& Message::with_attempt(std::uint32_t attempt) & {
    std::array<char, wire::kAttemptEntryBytes> bytes{};
    std::memcpy(bytes.data(), &attempt, sizeof attempt);
    set_extension(ExtensionId::attempt,
                  attempt > 1 ? std::string_view(bytes.data(), bytes.size()) : std::string_view());
    return *this;
}

Message& Message::with_no_retry(bool on) & {
    set_extension(ExtensionId::no_retry, on ? std::string_view("\x01", 1) : std::string_view());
    return *this;
}

Message& Message::with_replayed(bool on) & {
    set_extension(ExtensionId::replayed, on ? std::string_view("\x01", 1) : std::string_view());
    return *this;
}

Message& Message::with_rerun(bool on) & {
    set_extension(ExtensionId::rerun, on ? std::string_view("\x01", 1) : std::string_view());
    return *this;
}

}  // namespace telpher
