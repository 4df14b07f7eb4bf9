#pragma once
// What stands between frames and the socket: nothing, or encryption.
//
//   Threads  one at a time (the connection's lock); nothing blocks
//   Errors   the connection is of no use any more; what seal() gives then is still sent

#include "telpher/result.hpp"

#include "tcp_bridge/bodies.hpp"
#include "tcp_bridge/frame_reader.hpp"

#include <span>

namespace telpher::bridge {

class Channel {
  public:
    Channel() = default;
    Channel(const Channel&) = delete;
    Channel& operator=(const Channel&) = delete;
    virtual ~Channel() = default;

    // Appends to `wire` what is to be sent: `plain`, which is empty afterwards, and whatever else there is to
    // say. Called after each open(), too.
    virtual Result<void> seal(Bytes& plain, Bytes& wire) = 0;
    // What the socket gave, opened, into the reader.
    virtual Result<void> open(std::span<const std::byte> wire, FrameReader& plain) = 0;
};

class PlainChannel final : public Channel {
  public:
    Result<void> seal(Bytes& plain, Bytes& wire) override {
        if (wire.empty()) {
            wire.swap(plain);
        } else {
            wire.insert(wire.end(), plain.begin(), plain.end());
            plain.clear();
        }
        return {};
    }
    Result<void> open(std::span<const std::byte> wire, FrameReader& plain) override {
        plain.append(wire);
        return {};
    }
};

}  // namespace telpher::bridge
