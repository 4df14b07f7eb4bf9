#pragma once
// Asio as this project uses it: standalone, without what is deprecated, errors as codes.

#define ASIO_STANDALONE 1
#define ASIO_NO_DEPRECATED 1

// First: Asio asks for std::aligned_alloc before it includes what says that it is there, and files that
// differ in the answer allocate with one function and free with another.
#include <cstddef>

// NOLINTBEGIN: not ours
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
// NOLINTEND
