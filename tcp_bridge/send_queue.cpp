#include "tcp_bridge/send_queue.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {

bool SendQueue::waits(const FrameHead& head) const noexcept {
    return carries_message(head.type) &&
           std::any_of(large_.begin(), large_.end(), [&head](const Large& large) {
               return large.head.channel == head.channel && large.head.type == head.type;
           });
}

void append_frame(Bytes& out, FrameHead head, std::span<const std::byte> body) {
    head.length = static_cast<std::uint32_t>(body.size());
    const auto bytes = encode(head);
    out.insert(out.end(), bytes.begin(), bytes.end());
    out.insert(out.end(), body.begin(), body.end());
}

void SendQueue::push_frames(std::uint16_t channel, std::span<const std::byte> frames) {
    const bool waits = std::any_of(large_.begin(), large_.end(), [channel](const Large& large) {
        return large.head.channel == channel;
    });
    if (!waits) {
        push_raw(frames);
        return;
    }
    while (frames.size() >= kHeadBytes) {
        FrameHead head;
        std::memcpy(&head, frames.data(), sizeof head);
        push(head, frames.subspan(kHeadBytes, head.length));
        frames = frames.subspan(kHeadBytes + head.length);
    }
}

void SendQueue::push(FrameHead head, std::span<const std::byte> body) {
    if (body.size() <= kBodyBytesMax && !waits(head)) {
        append_frame(small_, head, body);
        return;
    }
    push(head, Bytes(body.begin(), body.end()));
}

void SendQueue::push(FrameHead head, Bytes&& body) {
    if (body.size() <= kBodyBytesMax && !waits(head)) {
        append_frame(small_, head, body);
        return;
    }
    push(head, std::make_shared<const Bytes>(std::move(body)));
}

void SendQueue::push(FrameHead head, std::shared_ptr<const Bytes> body) {
    if (body->size() <= kBodyBytesMax && !waits(head)) {
        append_frame(small_, head, *body);
        return;
    }
    large_bytes_ += body->size() + kHeadBytes;
    large_.push_back({head, std::move(body), 0});
}

void SendQueue::push_raw(std::span<const std::byte> bytes) {
    small_.insert(small_.end(), bytes.begin(), bytes.end());
}

void SendQueue::take(Bytes& out, std::size_t bytes_max) {
    if (out.empty()) {
        out.swap(small_);
    } else {
        out.insert(out.end(), small_.begin(), small_.end());
    }
    small_.clear();
    // Round robin over the large ones; of one channel and type only the first may send.
    for (std::size_t round = 0; round < large_.size() && out.size() < bytes_max; ++round) {
        turn_ = turn_ < large_.size() ? turn_ : 0;
        Large& large = large_[turn_];
        const bool first = std::none_of(large_.begin(),
                                        large_.begin() + static_cast<std::ptrdiff_t>(turn_),
                                        [&](const Large& before) {
                                            return before.head.channel == large.head.channel &&
                                                   before.head.type == large.head.type;
                                        });
        if (!first) {
            ++turn_;
            continue;
        }
        const std::size_t bytes = std::min(kBodyBytesMax, large.body->size() - large.sent);
        FrameHead head = large.head;
        const bool more = large.sent + bytes < large.body->size();
        head.flags = static_cast<std::uint8_t>(head.flags | (more ? kFlagMore : 0));
        append_frame(out, head, std::span(*large.body).subspan(large.sent, bytes));
        large.sent += bytes;
        large_bytes_ -= bytes;
        if (more) {
            ++turn_;
        } else {
            large_bytes_ -= kHeadBytes;
            large_.erase(large_.begin() + static_cast<std::ptrdiff_t>(turn_));
            round = 0;
        }
    }
}

void SendQueue::clear() {
    small_.clear();
    large_.clear();
    large_bytes_ = 0;
    turn_ = 0;
}

}  // namespace telpher::bridge
