// What OpenSSL believes to be its connection: a record to read from, and a queue to write to.
#pragma once

#include "tcp_bridge/byte_queue.hpp"
#include "tcp_bridge/openssl.hpp"

#include <cstddef>
#include <span>

namespace telpher::bridge {

struct TlsWire {
    std::span<const std::byte> in;  // when it is empty, OpenSSL is told to come again
    ByteQueue out;
};

// Makes `wire`, which must outlive `ssl`, the connection of `ssl`. False when memory is used up.
[[nodiscard]] bool attach(SSL* ssl, TlsWire* wire);

}  // namespace telpher::bridge
