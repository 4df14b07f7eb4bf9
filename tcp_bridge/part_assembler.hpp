#pragma once
// Messages out of data frames: whole ones as they are, those in parts when their last part has come.
//
//   Threads  one at a time
//   Memory   what the first part's header announces, at most `message_bytes_max` each and as much in all as
//            `bytes_max`, for at most kPartsMax messages at a time
//   Errors   bad_request; message_too_large for one that is announced as larger than allowed

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/frame_reader.hpp"

#include <cstddef>
#include <map>
#include <optional>
#include <tuple>

namespace telpher::bridge {

inline constexpr std::size_t kPartsMax = 64;

class PartAssembler {
  public:
    PartAssembler(std::size_t message_bytes_max, std::size_t bytes_max)
        : message_bytes_max_(message_bytes_max), bytes_max_(bytes_max) {}

    // The frame's message: its own body if it is whole, else all parts, which `storage` then holds; nullopt:
    // more parts are to come. The view ends with the frame and with `storage`.
    [[nodiscard]] Result<std::optional<std::span<const std::byte>>> add(const Frame& frame,
                                                                        Bytes& storage);
    // Of the messages that are incomplete.
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    // Forgets them: the connection was cut.
    void clear() {
        parts_.clear();
        bytes_ = 0;
    }

  private:
    using Key = std::tuple<FrameType, std::uint16_t, std::uint64_t>;
    struct Parts {
        Bytes body;
        std::size_t announced = 0;  // at most, if compressed
        bool compressed = false;
    };
    [[nodiscard]] Result<std::size_t> announced(const Frame& frame) const;

    const std::size_t message_bytes_max_;
    const std::size_t bytes_max_;
    std::size_t bytes_ = 0;
    std::map<Key, Parts> parts_;
};

}  // namespace telpher::bridge
