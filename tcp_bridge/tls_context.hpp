// What all secure channels of one client or bridge share: its identity, whom it trusts, its limits.
//
//   Protocol   TLS 1.3 only, TLS_AES_256_GCM_SHA384, X25519; signatures by Ed25519 or ECDSA on P-256, and
//              RSA-PSS where authorities vouch. No tickets, no resumption, no early data (it can be
//              replayed), no compression, no renegotiation: there is nothing to negotiate downwards.
//   Peers      are known by the SHA-256 of their public keys, by authorities, or by a pre-shared key
//   Threads    immutable after it is made: any number of channels on any threads. A new configuration is
//              a new context; known_hosts and authorized_peers are read at each handshake, so that
//              `telpher trust rm` holds from the next connection on.
#pragma once

#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include "shm/base/clock.hpp"
#include "tcp_bridge/identity.hpp"
#include "tcp_bridge/tls_records.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace telpher::bridge {

enum class TlsRole : std::uint8_t { client, server };

enum class PeerTrust : std::uint8_t {
    anyone,  // server: asked for a certificate, need not have one. Client: only to look (tls-probe)
    first_use,   // client: the key that known_hosts has, which is recorded at the first meeting
    pinned,      // client: this very key
    authorized,  // server: the keys of authorized_peers
    authority,   // whoever an authority vouches for; a client checks the name or address as well
    psk,         // whoever has the pre-shared key
};

// What a bridge needs to know.
struct TlsServer {
    PeerTrust peers = PeerTrust::anyone;  // anyone, authorized, authority or psk
    std::string ca{};                     // with authority
    std::string certificate{};            // default: the identity of the configuration folder
    std::string key{};
    std::string psk{};           // with psk; default: psk in the configuration folder
    std::string psk_identity{};  // default "telpher"
    std::string config_dir{};
};

// Thresholds, and the clock that the last one is measured by. Changed by tests only.
struct TlsLimits {
    RecordLimits records{};
    std::size_t handshake_bytes_max = std::size_t{64} << 10U;
    std::size_t certificate_bytes_max = std::size_t{16} << 10U;
    // Our own key is renewed after so many records, bytes or nanoseconds, whichever comes first; far
    // below the 2^24.5 records that AES-GCM may seal under one key (RFC 8446, 5.5).
    std::uint64_t rekey_records = std::uint64_t{1} << 22U;
    std::uint64_t rekey_bytes = std::uint64_t{64} << 30U;
    std::uint64_t rekey_ns = std::uint64_t{3600} * 1'000'000'000U;
    std::function<std::uint64_t()> clock_ns = &shm::monotonic_coarse_ns;
};

class TlsContext {
  public:
    // Errors: bad_request (a file is missing or holds something else; options that exclude each other),
    // not_permitted (a secret file that others may read). A client without an identity has none to show.
    static Result<std::shared_ptr<const TlsContext>> client(const Tls& tls, TlsLimits limits = {});
    static Result<std::shared_ptr<const TlsContext>> server(const TlsServer& server,
                                                            TlsLimits limits = {});
    // A client that finishes the handshake with anyone, to tell who it was: nothing may be sent to them.
    static Result<std::shared_ptr<const TlsContext>> inspector(const Tls& tls,
                                                               TlsLimits limits = {});

    ~TlsContext() = default;
    TlsContext(const TlsContext&) = delete;
    TlsContext& operator=(const TlsContext&) = delete;

    [[nodiscard]] TlsRole role() const noexcept { return role_; }
    [[nodiscard]] PeerTrust trust() const noexcept { return trust_; }
    [[nodiscard]] const TlsLimits& limits() const noexcept { return limits_; }
    // What peers pin this side by; nothing without a certificate.
    [[nodiscard]] const std::optional<Pin>& own_pin() const noexcept { return own_pin_; }

    // For the channel and the callbacks.
    [[nodiscard]] SSL_CTX* ssl_ctx() const noexcept { return ssl_ctx_.get(); }
    [[nodiscard]] const std::optional<Pin>& pin() const noexcept { return pin_; }
    [[nodiscard]] const std::string& config_dir() const noexcept { return config_dir_; }
    [[nodiscard]] const Psk& psk() const noexcept { return psk_; }
    [[nodiscard]] const std::string& psk_identity() const noexcept { return psk_identity_; }

  private:
    // What client and server are told alike.
    struct Files {
        std::string ca;
        std::string certificate;
        std::string key;
        std::string psk;
        std::string psk_identity;
        std::string config_dir;
    };

    TlsContext(TlsRole role, PeerTrust trust, TlsLimits limits)
        : role_(role), trust_(trust), limits_(std::move(limits)) {}

    static Result<std::shared_ptr<const TlsContext>> make_client(const Tls& tls,
                                                                 PeerTrust unnamed,
                                                                 TlsLimits limits);
    Result<void> set_up(const Files& files);
    Result<void> set_protocol(bool with_rsa);
    Result<void> set_identity(const Files& files);
    Result<void> use_identity(const Identity& identity);
    Result<void> set_authorities(const std::string& path);
    Result<void> set_psk(const Files& files);
    void set_callbacks();

    TlsRole role_;
    PeerTrust trust_;
    TlsLimits limits_;
    OpensslPtr<SSL_CTX> ssl_ctx_;
    std::optional<Pin> pin_;
    std::optional<Pin> own_pin_;
    std::string config_dir_;
    Psk psk_;
    std::string psk_identity_;
};

}  // namespace telpher::bridge
