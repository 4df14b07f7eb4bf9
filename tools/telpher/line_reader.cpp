#include "tools/telpher/line_reader.hpp"

#include "tools/telpher/units.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace telpher::cli {

namespace {

constexpr std::size_t kReadBytes = std::size_t{64} << 10;

Error file_error(const std::string& path, int os_error, const std::string& what) {
    const Status status =
        os_error == EACCES || os_error == EPERM ? Status::not_permitted : Status::bad_request;
    return Error{status, os_error, "cannot read " + path + ": " + what};
}

}  // namespace

Result<std::optional<std::string>> LineReader::next() {
    std::size_t searched = begin_;
    for (;;) {
        const auto end = buffer_.find('\n', searched);
        if (end != std::string::npos || (ended_ && begin_ < buffer_.size())) {
            const auto stop = end != std::string::npos ? end : buffer_.size();
            ++line_number_;
            std::optional<std::string> line(buffer_.substr(begin_, stop - begin_));
            begin_ = end != std::string::npos ? end + 1 : buffer_.size();
            return line;
        }
        if (ended_) {
            return std::optional<std::string>{};
        }
        buffer_.erase(0, begin_);
        begin_ = 0;
        if (buffer_.size() > line_bytes_max_) {
            return Error{Status::message_too_large,
                         0,
                         "line " + std::to_string(line_number_ + 1) +
                             " of the input is longer than " + format_size(line_bytes_max_)};
        }
        searched = buffer_.size();
        const auto more = fill();
        if (!more) {
            return more.error();
        }
        ended_ = !*more;
    }
}

Result<bool> LineReader::fill() {
    for (;;) {
        std::array<pollfd, 2> fds{pollfd{fd_, POLLIN, 0}, pollfd{stop_fd_, POLLIN, 0}};
        if (::poll(fds.data(), fds.size(), -1) < 0) {
            continue;  // EINTR
        }
        if (fds[1].revents != 0) {
            return Status::cancelled;
        }
        std::array<char, kReadBytes> bytes;
        const auto count = ::read(fd_, bytes.data(), bytes.size());
        if (count >= 0) {
            buffer_.append(bytes.data(), static_cast<std::size_t>(count));
            return count > 0;
        }
        if (errno != EINTR && errno != EAGAIN) {
            return Error{Status::bad_request, errno, "cannot read the input"};
        }
    }
}

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return file_error(
            path, errno, errno == ENOENT ? "there is no such file" : "it cannot be opened");
    }
    struct stat facts {};
    if (::fstat(fd, &facts) == 0 && S_ISDIR(facts.st_mode)) {
        ::close(fd);
        return file_error(path, EISDIR, "it is a directory");
    }
    std::string content;
    std::array<char, kReadBytes> bytes;
    for (;;) {
        const auto count = ::read(fd, bytes.data(), bytes.size());
        if (count < 0 && errno == EINTR) {
            continue;
        }
        const int os_error = errno;
        if (count > 0 && content.size() + static_cast<std::size_t>(count) <= bytes_max) {
            content.append(bytes.data(), static_cast<std::size_t>(count));
            continue;
        }
        ::close(fd);
        if (count == 0) {
            return content;
        }
        return count < 0 ? file_error(path, os_error, "reading failed")
                         : Error{Status::message_too_large,
                                 0,
                                 path + " is larger than " + format_size(bytes_max)};
    }
}

}  // namespace telpher::cli
