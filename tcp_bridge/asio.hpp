#pragma once
// Asio as this project uses it: standalone, without what is deprecated, errors as codes.

#define ASIO_STANDALONE 1
#define ASIO_NO_DEPRECATED 1

// NOLINTBEGIN: not ours
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
// NOLINTEND
