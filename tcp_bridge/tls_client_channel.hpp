#pragma once
// A client's encrypted channel, where its connection wants one (channel.hpp).
//
//   Refusals  the handshake's errors end the connection; which of them are final the connection decides
//   Threads   one at a time

#include "tcp_bridge/channel.hpp"
#include "tcp_bridge/tls_channel.hpp"

#include <array>
#include <memory>
#include <string>
#include <utility>

namespace telpher::bridge {

class TlsClientChannel final : public Channel {
  public:
    TlsClientChannel(std::shared_ptr<const TlsContext> context, const std::string& peer) {
        auto made = TlsChannel::make(std::move(context), peer);
        if (made) {
            tls_ = std::move(*made);
        } else {
            broken_ = made.error();
        }
    }

    Result<void> seal(Bytes& plain, Bytes& wire) override {
        if (tls_ == nullptr) {
            return broken_;
        }
        Result<void> sealed;
        if (!plain.empty()) {
            sealed = tls_->write(plain);
            plain.clear();
        }
        const auto records = tls_->pending();
        wire.insert(wire.end(), records.begin(), records.end());
        tls_->sent(records.size());
        return sealed;
    }

    Result<void> open(std::span<const std::byte> wire, FrameReader& plain) override {
        if (tls_ == nullptr) {
            return broken_;
        }
        auto fed = tls_->feed(wire);
        std::array<std::byte, 16'384> some{};
        for (std::size_t bytes = tls_->read(some); bytes != 0; bytes = tls_->read(some)) {
            plain.append(std::span(some).first(bytes));
        }
        return fed;
    }

  private:
    std::unique_ptr<TlsChannel> tls_;
    Error broken_{};
};

}  // namespace telpher::bridge
