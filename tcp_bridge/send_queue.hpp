#pragma once
// Frames on their way out: small ones in order, large messages in parts between them.
//
//   Order    small frames as they were pushed; each large message's parts in order; a large message that was
//            pushed before another of its channel begins and ends before it. A small data frame waits behind
//            large ones of its channel, any other frame waits for nothing.
//   Threads  one at a time
//   Memory   what was pushed and not taken; `bytes` tells, its owner bounds it
//   Cost     small bodies are copied once; large ones are moved in and copied once, by part

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/frame.hpp"

#include <algorithm>
#include <cstddef>
#include <deque>
#include <memory>
#include <span>
#include <vector>

namespace telpher::bridge {

// A frame as it travels; its body has kBodyBytesMax bytes at most.
void append_frame(Bytes& out, FrameHead head, std::span<const std::byte> body);

// What is empty keeps no memory; the larger of the two is for the next one.
inline void give_back(Bytes& empty, Bytes& shared) noexcept {
    if (shared.capacity() < empty.capacity()) {
        shared.swap(empty);
    }
    empty = Bytes();
}

class SendQueue {
  public:
    // A frame with a body of any size; head.length and the flag `more` are set here.
    void push(FrameHead head, std::span<const std::byte> body);
    // The same without a copy of a large body, which others may keep.
    void push(FrameHead head, Bytes&& body);
    void push(FrameHead head, std::shared_ptr<const Bytes> body);
    // Whole frames of one channel.
    void push_frames(std::uint16_t channel, std::span<const std::byte> frames);
    // The same bytes again without a frame: the preface.
    void push_raw(std::span<const std::byte> bytes);

    [[nodiscard]] bool empty() const noexcept { return small_.empty() && large_.empty(); }
    // Whether a message waits of which nothing was taken.
    [[nodiscard]] bool has_unbegun() const noexcept {
        return std::any_of(
            large_.begin(), large_.end(), [](const Large& large) { return large.sent == 0; });
    }
    // Not taken yet.
    [[nodiscard]] std::size_t bytes() const noexcept { return small_.size() + large_bytes_; }
    // Appends to `out` what is to be sent next: all small frames, and one part of each channel's oldest large
    // message. Until `out` has about `bytes_max`.
    void take(Bytes& out, std::size_t bytes_max);
    void clear();
    // Memory that many queues take turns with; one that is empty keeps none.
    void borrow(Bytes& shared) noexcept {
        if (small_.capacity() == 0) {
            small_.swap(shared);
        }
    }
    void give_back(Bytes& shared) noexcept {
        if (small_.empty()) {
            bridge::give_back(small_, shared);
        }
    }

  private:
    struct Large {
        FrameHead head;
        std::shared_ptr<const Bytes> body;
        std::size_t sent = 0;
    };
    [[nodiscard]] bool waits(const FrameHead& head) const noexcept;

    Bytes small_;
    std::deque<Large> large_;  // and small data frames behind them
    std::size_t large_bytes_ = 0;
    std::size_t turn_ = 0;
};

}  // namespace telpher::bridge
