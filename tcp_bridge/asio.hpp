#pragma once
// Asio as this project uses it: standalone, without what is deprecated, errors as codes.

#define ASIO_STANDALONE 1
#define ASIO_NO_DEPRECATED 1
#ifdef __SANITIZE_THREAD__
// The sanitizer knows no fences and the compiler refuses them with it. Asio's queues are ordered by their mutex already;
// its fences around a handler are for what that mutex does not cover, and nothing here relies on such a thing.
#define ASIO_DISABLE_FENCED_BLOCK 1
#endif

// First: Asio asks for std::aligned_alloc before it includes what says that it is there, and files that
// differ in the answer allocate with one function and free with another.
#include <cstddef>

// NOLINTBEGIN: not ours
#include <asio/any_io_executor.hpp>
#include <asio/dispatch.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/local/stream_protocol.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/write.hpp>
// NOLINTEND
