#pragma once
// Frames out of a stream of bytes, however it is cut.
//
//   Shape    one buffer that holds at most one frame and what a read brought behind it.
//   Threads  one at a time
//   Memory   a frame and what a read brings; between `give_back` and `borrow` what it holds of a frame that
//            a read cut, 24 bytes and 64 KiB at most
//   Errors   the first one stays: a stream that was wrong once has no next frame
//   Cost     a frame's bytes are copied once, by whoever reads them from the socket; a frame that a read
//            cut in two is moved to the buffer's beginning

#include "tcp_bridge/frame.hpp"

#include <optional>
#include <vector>

namespace telpher::bridge {

struct Frame {
    FrameHead head;
    std::span<const std::byte> body;  // in the reader, until its next call
};

class FrameReader {
  public:
    // Bodies are at most kBodyBytesMaxEarly bytes until `welcome`.
    FrameReader() = default;
    // From now on they may have kBodyBytesMax.
    void welcome() noexcept { body_bytes_max_ = kBodyBytesMax; }

    // Memory that many readers take turns with, a connection's turn each: who holds nothing needs none.
    void borrow(std::vector<std::byte>& shared);
    void give_back(std::vector<std::byte>& shared);

    // Where the next bytes of the stream belong; at least `bytes` of room. Ends the last frame.
    [[nodiscard]] std::span<std::byte> room(std::size_t bytes);
    // So many were written there.
    void received(std::size_t bytes) noexcept;
    // room and received, with a copy.
    void append(std::span<const std::byte> bytes);

    // At most `bytes` of what was not given out yet; and past them: for what comes before the first frame.
    [[nodiscard]] std::span<const std::byte> peek(std::size_t bytes) const noexcept {
        return {buffer_.data() + begin_, bytes < end_ - begin_ ? bytes : end_ - begin_};
    }
    void skip(std::size_t bytes) noexcept { begin_ += peek(bytes).size(); }

    // The next frame; nullopt: it is not complete. Frames of optional unknown types are passed over. Errors:
    // as decode_head.
    [[nodiscard]] Result<std::optional<Frame>> next();
    // Bytes that wait for the rest of their frame.
    [[nodiscard]] std::size_t waiting() const noexcept { return end_ - begin_; }

  private:
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;  // of the first frame that was not given out
    std::size_t end_ = 0;    // of what was received
    std::size_t body_bytes_max_ = kBodyBytesMaxEarly;
    std::optional<Error> broken_;
};

}  // namespace telpher::bridge
