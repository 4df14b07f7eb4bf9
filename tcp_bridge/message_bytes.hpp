#pragma once
// A message as it travels, with the id, time and type that it has.

#include "src/wire/codec.hpp"
#include "tcp_bridge/bodies.hpp"

namespace telpher::bridge {

// `message` is a Message or a MessageView.
template <typename Fields>
[[nodiscard]] Bytes bytes_of(const Fields& message) {
    Bytes bytes(wire::encoded_bytes(message));
    wire::encode(message, {message.id(), message.parts().head.timestamp_ns, message.type()}, bytes);
    return bytes;
}

}  // namespace telpher::bridge
