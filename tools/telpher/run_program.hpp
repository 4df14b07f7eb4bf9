// A program of somebody else's as a function: a request's payload is its input, what it prints is the
// response.
#pragma once

#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include <string>

namespace telpher::cli {

// Runs `command` by /bin/sh, with the payload on stdin and the fields in the environment
// (TELPHER_TOPIC, TELPHER_REQUEST_ID, TELPHER_CORRELATION_ID), and waits for it.
//
//   returns  what it wrote to stdout: text if that is UTF-8, bytes otherwise
//   errors   handler_error (it ended with another status than 0, or by a signal), timed_out (the
//            request's time was over: it is killed), message_too_large (more than 250 MiB),
//            server_error (it cannot be started)
[[nodiscard]] Result<Message> run_program(const std::string& command, const Message& request);

}  // namespace telpher::cli
