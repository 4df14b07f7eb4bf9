// Lines of a descriptor, read so that a stop ends the wait for the next one.
#pragma once

#include "telpher/result.hpp"

#include <cstddef>
#include <optional>
#include <string>

namespace telpher::cli {

// Threads: one. Memory: one line, at most `line_bytes_max` long, and one read.
class LineReader {
  public:
    // Does not own the descriptors. `stop_fd` becomes readable at a stop.
    LineReader(int fd, int stop_fd, std::size_t line_bytes_max)
        : fd_(fd), stop_fd_(stop_fd), line_bytes_max_(line_bytes_max) {}

    // The next line without its end; the last one needs none. Nothing at the end of the input.
    //   errors  message_too_large (naming the line), cancelled, server_error (read failed)
    Result<std::optional<std::string>> next();

  private:
    // Reads more into buffer_. False at the end of the input.
    Result<bool> fill();

    int fd_;
    int stop_fd_;
    std::size_t line_bytes_max_;
    std::size_t line_number_ = 0;
    std::string buffer_{};
    std::size_t begin_ = 0;  // of the next line in buffer_
    bool ended_ = false;
};

// All of a file, at most `bytes_max`. Not for directories.
//   errors  bad_request (missing, a directory, not readable), message_too_large
Result<std::string> read_file(const std::string& path, std::size_t bytes_max);

}  // namespace telpher::cli
