#include "tcp_bridge/frame_reader.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {

void FrameReader::borrow(std::vector<std::byte>& shared) {
    const std::size_t held = end_ - begin_;
    if (shared.size() < std::max<std::size_t>(held, 1)) {
        return;  // another one has it, or nobody had one yet
    }
    if (held > 0) {
        std::memcpy(shared.data(), buffer_.data() + begin_, held);
    }
    buffer_.swap(shared);
    shared = {};
    begin_ = 0;
    end_ = held;
}

void FrameReader::give_back(std::vector<std::byte>& shared) {
    std::vector<std::byte> rest(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
                                buffer_.begin() + static_cast<std::ptrdiff_t>(end_));
    buffer_.swap(rest);
    if (shared.size() < rest.size()) {
        shared.swap(rest);
    }
    end_ -= begin_;
    begin_ = 0;
}

std::span<std::byte> FrameReader::room(std::size_t bytes) {
    if (buffer_.size() - end_ < bytes && begin_ > 0) {
        std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    if (buffer_.size() - end_ < bytes) {
        buffer_.resize(end_ + bytes);
    }
    return {buffer_.data() + end_, buffer_.size() - end_};
}

void FrameReader::received(std::size_t bytes) noexcept {
    end_ = std::min(end_ + bytes, buffer_.size());
}

void FrameReader::append(std::span<const std::byte> bytes) {
    if (bytes.empty()) {
        return;
    }
    std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
    received(bytes.size());
}

Result<std::optional<Frame>> FrameReader::next() {
    if (broken_) {
        return *broken_;
    }
    for (;;) {
        const std::span<const std::byte> left{buffer_.data() + begin_, end_ - begin_};
        if (left.size() < kHeadBytes) {
            return std::optional<Frame>{};
        }
        const auto head = decode_head(left, body_bytes_max_);
        if (!head) {
            broken_ = head.error();
            return *broken_;
        }
        const std::size_t bytes = kHeadBytes + head->length;
        if (left.size() < bytes) {
            return std::optional<Frame>{};
        }
        begin_ += bytes;
        if (is_known(head->type)) {
            return std::optional<Frame>{Frame{*head, left.subspan(kHeadBytes, head->length)}};
        }
    }
}

}  // namespace telpher::bridge
