// The moments of a handshake in which OpenSSL asks whether the peer is to be trusted.
//
//   Reached   by the Verification of the channel, which is hung on its SSL object
//   Refusals  are kept there, in words: OpenSSL itself only tells that something refused
#pragma once

#include "telpher/result.hpp"

#include "tcp_bridge/openssl.hpp"
#include "tcp_bridge/pin.hpp"
#include "tcp_bridge/tls_context.hpp"

#include <cstddef>
#include <optional>
#include <string>

namespace telpher::bridge {

// Who the peer proved to be. Complete when the channel is established.
struct PeerIdentity {
    std::string pin{};           // "sha256:HEX"; empty when it showed no certificate
    std::string name{};          // in authorized_peers
    std::string psk_identity{};  // the name of the pre-shared key
    std::string subject{};       // of the certificate that an authority vouched for (RFC 2253)
    bool first_use = false;      // its key was trusted for the first time, and recorded
};

struct Verification {
    const TlsContext* context = nullptr;
    std::string peer;  // HOST:PORT, as in known_hosts
    PeerIdentity identity;
    std::optional<Pin> pin;
    std::optional<Error> refusal;
};

// Makes `verification`, which must outlive `ssl`, what the callbacks below work on.
[[nodiscard]] bool attach(SSL* ssl, Verification* verification);

// OpenSSL's callbacks.
int verify_certificate(X509_STORE_CTX* store, void* unused) noexcept;
int use_psk(SSL* ssl,
            const EVP_MD* digest,
            const unsigned char** id,
            std::size_t* id_size,
            SSL_SESSION** session) noexcept;
int find_psk(SSL* ssl,
             const unsigned char* identity,
             std::size_t identity_size,
             SSL_SESSION** session) noexcept;

}  // namespace telpher::bridge
