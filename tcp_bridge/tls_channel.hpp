// One secure channel, without a socket: bytes of the wire in and out on one side, plaintext on the other.
//
//   Turn       feed() what the socket gave, read() until it gives nothing, write() all there is to say at
//              once (each call seals full records of 16 KiB and one rest: 64 B each alone cost thirty times
//              as much as together), send pending() and tell by sent() how much of it left
//   Errors     an error of feed() ends the channel: send what is pending (it tells the peer why), then
//              close the socket. Its text is for the log, names both pins, and holds no secret.
//   Promises   what read() gives is what the peer wrote, in its order, from its first byte on; whatever
//              else happens on the wire, it ends in an error or without peer_closed()
//   Bounds     64 KiB of handshake, 256 KiB kept until it is done, 8 MiB to send, 4 MiB unread
//   Threads    one at a time. Nothing blocks, but the first meeting of a host writes known_hosts.
#pragma once

#include "telpher/result.hpp"

#include "tcp_bridge/byte_queue.hpp"
#include "tcp_bridge/tls_context.hpp"
#include "tcp_bridge/tls_records.hpp"
#include "tcp_bridge/tls_verify.hpp"
#include "tcp_bridge/tls_wire.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

namespace telpher::bridge {

inline constexpr std::size_t kKeptBytesMax = std::size_t{256} << 10U;
inline constexpr std::size_t kPendingBytesMax = std::size_t{8} << 20U;
inline constexpr std::size_t kUnreadBytesMax = std::size_t{4} << 20U;

class TlsChannel {
  public:
    // `peer` is HOST:PORT, by which a client's known_hosts knows it, and whose HOST an authority must vouch
    // for; a server may say what it likes. A client's first bytes are pending at once.
    // Errors: bad_request (no HOST:PORT), server_error.
    static Result<std::unique_ptr<TlsChannel>> make(std::shared_ptr<const TlsContext> context,
                                                    std::string_view peer);
    ~TlsChannel();
    TlsChannel(const TlsChannel&) = delete;
    TlsChannel& operator=(const TlsChannel&) = delete;

    // Opens what came from the wire; what comes after the peer's close_notify is not looked at.
    // Errors: as tls_error.hpp, and limit_reached (a flood; or 4 MiB unread: then nothing was taken, and
    // read() mends it).
    Result<void> feed(std::span<const std::byte> wire);
    // Takes plaintext that came; 0 = there is none now.
    [[nodiscard]] std::size_t read(std::span<std::byte> out);

    // Seals all of it, or none. Before the handshake's end it is kept.
    // Errors: overloaded (8 MiB pending, or 256 KiB kept: later again), closed, or what ended the channel.
    Result<void> write(std::span<const std::byte> plain);
    // Bytes for the wire, valid until the next call that is not const.
    [[nodiscard]] std::span<const std::byte> pending() const noexcept { return wire_.out.bytes(); }
    void sent(std::size_t bytes) noexcept { wire_.out.take(bytes); }

    // Gives back the memory that nothing is in: for a channel that is quiet.
    void trim() noexcept {
        reader_.trim();
        unread_.trim();
        kept_.trim();
        wire_.out.trim();
    }

    // Our handshake is complete. A client's peer may still refuse it: only its first data proves that
    // it does not.
    [[nodiscard]] bool established() const noexcept { return established_; }
    [[nodiscard]] const PeerIdentity& peer() const noexcept { return verification_.identity; }
    // What both ends of this connection know, and nobody else (RFC 9266): for proofs that must not be
    // carried over to another connection. Errors: bad_request (not established).
    Result<std::array<std::byte, 32>> channel_binding() const;
    // "TLSv1.3", "TLS_AES_256_GCM_SHA384", "X25519"; empty before the handshake's end.
    [[nodiscard]] std::string_view protocol() const;
    [[nodiscard]] std::string_view suite() const;
    [[nodiscard]] std::string_view group() const;

    // Says that nothing will follow: close_notify is pending. What the peer still sends is read as before.
    void close();
    // The peer said that nothing will follow. A connection that ends without it was cut.
    [[nodiscard]] bool peer_closed() const noexcept { return peer_closed_; }

  private:
    explicit TlsChannel(std::shared_ptr<const TlsContext> context);

    static void see_message(int written,
                            int version,
                            int type,
                            const void* bytes,
                            std::size_t size,
                            SSL* ssl,
                            void* self);

    Result<void> set_up();
    Result<void> set_expected_name();
    Result<void> shake_hands();
    Result<void> finish_handshake();
    Result<void> open_record(std::span<const std::byte> record);
    Result<void> open_plaintext();
    Result<void> seal(std::span<const std::byte> plain);
    Result<void> renew_key(std::size_t bytes);
    Result<void> fail(Error error);
    Result<void> fail_by_openssl();

    std::shared_ptr<const TlsContext> context_;
    Verification verification_;
    TlsWire wire_;
    OpensslPtr<SSL> ssl_;  // refers to all of the above, and ends before them
    RecordReader reader_;
    RecordBudget budget_;
    ByteQueue unread_;
    ByteQueue kept_;
    std::optional<Error> failure_;
    std::size_t handshake_bytes_ = 0;
    std::uint32_t messages_ = 0;  // of the handshake protocol, in the record that is being opened
    // Since our last change of keys.
    std::uint64_t sealed_records_ = 0;
    std::uint64_t sealed_bytes_ = 0;
    std::uint64_t keyed_ns_ = 0;
    bool established_ = false;
    bool closing_ = false;
    bool peer_closed_ = false;
};

}  // namespace telpher::bridge
