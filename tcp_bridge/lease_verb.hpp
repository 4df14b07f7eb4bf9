#pragma once
// What a client may say about a message that it has leased (PROTOCOL.md, Commands: settle).

#include "telpher/message_view.hpp"

#include <cstdint>
#include <type_traits>

namespace telpher::bridge {

// The numbers travel: append only.
enum class LeaseVerb : std::uint8_t { ack = 1, nack = 2, extend = 3, reject = 4 };

// Which lease: the poll's correlation, and the message, since in another session the number may be another's.
struct LeaseName {
    std::uint64_t poll = 0;
    MessageId id{};
};
template <typename Io, typename T>
requires std::is_same_v<std::remove_const_t<T>, LeaseName>
void fields(Io& io, T& name) { io(name.poll, name.id.prefix, name.id.counter); }

// So many in one command: what is said of them fits into one frame.
inline constexpr std::size_t kLeasesAtOnce = 2048;

}  // namespace telpher::bridge
