#include "tcp_bridge/tls_context.hpp"

#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tcp_bridge/tls_verify.hpp"

#include <cerrno>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr const char* kSuite = "TLS_AES_256_GCM_SHA384";
constexpr const char* kGroup = "X25519";
constexpr const char* kSignatures = "ed25519:ecdsa_secp256r1_sha256";
constexpr const char* kSignaturesOfAuthorities =
    "ed25519:ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256";
constexpr const char* kDefaultPskIdentity = "telpher";
constexpr std::size_t kPskIdentityBytesMax = 128;
// Sessions are never resumed; a server still has to say where they belong before OpenSSL takes a PSK.
constexpr std::string_view kSessionContext = "telpher";

Error bad(const std::string& detail) { return {Status::bad_request, 0, detail}; }

}  // namespace

Result<std::shared_ptr<const TlsContext>> TlsContext::client(const Tls& tls, TlsLimits limits) {
    return make_client(tls, PeerTrust::first_use, std::move(limits));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::inspector(const Tls& tls, TlsLimits limits) {
    return make_client(tls, PeerTrust::anyone, std::move(limits));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::make_client(const Tls& tls,
                                                                  PeerTrust unnamed,
                                                                  TlsLimits limits) {
    const int named = int{!tls.pin.empty()} + int{!tls.ca.empty()} + int{!tls.psk.empty()};
    if (named > 1) {
        return bad("of pin, ca and psk only one may say whom to trust");
    }
    const PeerTrust trust = !tls.pin.empty()   ? PeerTrust::pinned
                            : !tls.ca.empty()  ? PeerTrust::authority
                            : !tls.psk.empty() ? PeerTrust::psk
                                               : unnamed;
    std::shared_ptr<TlsContext> context(new TlsContext(TlsRole::client, trust, std::move(limits)));
    if (trust == PeerTrust::pinned) {
        context->pin_ = Pin::parse(tls.pin);
        if (!context->pin_) {
            return bad("\"" + tls.pin.substr(0, 100) +
                       "\" is no pin: sha256: and 64 hexadecimal digits");
        }
    }
    if (auto done = context->set_up(
            {tls.ca, tls.certificate, tls.key, tls.psk, tls.psk_identity, tls.config_dir});
        !done) {
        return done.error();
    }
    return std::shared_ptr<const TlsContext>(std::move(context));
}

Result<std::shared_ptr<const TlsContext>> TlsContext::server(const TlsServer& server,
                                                             TlsLimits limits) {
    const bool authority = server.peers == PeerTrust::authority;
    if (server.peers == PeerTrust::first_use || server.peers == PeerTrust::pinned) {
        return bad("a server trusts anyone, authorized peers, an authority or a pre-shared key");
    }
    if (authority == server.ca.empty()) {
        return bad(authority
                       ? "no file of authorities (ca) is named"
                       : "a file of authorities (ca) is named, but peers are known otherwise");
    }
    std::shared_ptr<TlsContext> context(
        new TlsContext(TlsRole::server, server.peers, std::move(limits)));
    if (auto done = context->set_up({server.ca,
                                     server.certificate,
                                     server.key,
                                     server.psk,
                                     server.psk_identity,
                                     server.config_dir});
        !done) {
        return done.error();
    }
    return std::shared_ptr<const TlsContext>(std::move(context));
}

Result<void> TlsContext::set_up(const Files& files) {
    if (files.certificate.empty() != files.key.empty()) {
        return bad("certificate and key belong together: name both or none");
    }
    // Only where a default of it is needed, so that nobody needs a home folder without a reason.
    const bool needs_dir =
        trust_ == PeerTrust::first_use || trust_ == PeerTrust::authorized ||
        (trust_ == PeerTrust::psk ? files.psk.empty() : files.certificate.empty());
    if (needs_dir) {
        auto dir = bridge::config_dir(files.config_dir);
        if (!dir) {
            return dir.error();
        }
        config_dir_ = *std::move(dir);
    }
    Result<void> done = set_protocol(!files.ca.empty());
    if (done) {
        // With a pre-shared key nobody shows a certificate, and none can be taken for it.
        done = trust_ == PeerTrust::psk ? set_psk(files) : set_identity(files);
    }
    if (done && !files.ca.empty()) {
        done = set_authorities(files.ca);
    }
    if (done) {
        set_callbacks();
    }
    return done;
}

Result<void> TlsContext::set_protocol(bool with_rsa) {
    clear_errors();
    const bool client = role_ == TlsRole::client;
    ssl_ctx_.reset(SSL_CTX_new(client ? TLS_client_method() : TLS_server_method()));
    SSL_CTX* const ctx = ssl_ctx_.get();
    const char* const signatures = with_rsa ? kSignaturesOfAuthorities : kSignatures;
    const auto* const session = reinterpret_cast<const unsigned char*>(kSessionContext.data());
    if (ctx == nullptr || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) != 1 ||
        SSL_CTX_set_ciphersuites(ctx, kSuite) != 1 || SSL_CTX_set1_groups_list(ctx, kGroup) != 1 ||
        SSL_CTX_set1_sigalgs_list(ctx, signatures) != 1 || SSL_CTX_set_num_tickets(ctx, 0) != 1 ||
        SSL_CTX_set_max_early_data(ctx, 0) != 1 || SSL_CTX_set_recv_max_early_data(ctx, 0) != 1 ||
        (!client && SSL_CTX_set_session_id_context(
                        ctx, session, static_cast<unsigned>(kSessionContext.size())) != 1)) {
        return openssl_failed("setting up TLS 1.3");
    }
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    // OpenSSL's own buffers, 34 KiB, are there only while there is something in them.
    SSL_CTX_set_mode(ctx,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                         SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_cert_list(ctx, static_cast<long>(limits_.certificate_bytes_max));
    // The channel hands over one whole record at a time: one call of its BIO instead of two.
    SSL_CTX_set_read_ahead(ctx, 1);
    return {};
}

Result<void> TlsContext::set_identity(const Files& files) {
    const bool named = !files.certificate.empty();
    const auto identity = named ? load_identity(files.certificate, files.key)
                                : load_identity(identity_certificate_path(config_dir_),
                                                identity_key_path(config_dir_));
    if (identity) {
        return use_identity(*identity);
    }
    if (named || !is_missing(identity.error())) {
        return identity.error();
    }
    if (role_ == TlsRole::server) {
        return Error{Status::bad_request,
                     ENOENT,
                     identity.error().detail + "; make an identity with `telpher keygen`"};
    }
    return {};
}

Result<void> TlsContext::use_identity(const Identity& identity) {
    clear_errors();
    SSL_CTX* const ctx = ssl_ctx_.get();
    bool used = SSL_CTX_use_certificate(ctx, identity.certificate.get()) == 1 &&
                SSL_CTX_use_PrivateKey(ctx, identity.key.get()) == 1;
    for (const auto& certificate : identity.chain) {
        used = used && SSL_CTX_add1_chain_cert(ctx, certificate.get()) == 1;
    }
    if (!used) {
        return bad(openssl_text("the certificate cannot be used"));
    }
    own_pin_ = identity.pin;
    return {};
}

Result<void> TlsContext::set_authorities(const std::string& path) {
    const auto certificates = load_certificates(path);
    if (!certificates) {
        return certificates.error();
    }
    clear_errors();
    X509_STORE* const store = SSL_CTX_get_cert_store(ssl_ctx_.get());
    for (const auto& certificate : *certificates) {
        if (X509_STORE_add_cert(store, certificate.get()) != 1) {
            return bad(openssl_text(path + " cannot be used"));
        }
    }
    return {};
}

Result<void> TlsContext::set_psk(const Files& files) {
    psk_identity_ = files.psk_identity.empty() ? kDefaultPskIdentity : files.psk_identity;
    if (psk_identity_.size() > kPskIdentityBytesMax || !is_peer_name(psk_identity_)) {
        return bad("the name of a pre-shared key is 1 to 128 bytes of ASCII without spaces");
    }
    const auto psk = load_psk(files.psk.empty() ? psk_path(config_dir_) : files.psk);
    if (!psk) {
        return psk.error();
    }
    psk_ = *psk;
    return {};
}

void TlsContext::set_callbacks() {
    SSL_CTX* const ctx = ssl_ctx_.get();
    // A server asks everybody for a certificate: its pin is a name for access rules.
    const bool demands = role_ == TlsRole::client || trust_ != PeerTrust::anyone;
    if (role_ == TlsRole::server && trust_ == PeerTrust::psk) {
        SSL_CTX_set_psk_find_session_callback(ctx, &find_psk);
        SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, nullptr);
        return;
    }
    SSL_CTX_set_verify(
        ctx, SSL_VERIFY_PEER | (demands ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nullptr);
    SSL_CTX_set_cert_verify_callback(ctx, &verify_certificate, nullptr);
    if (trust_ == PeerTrust::psk) {
        SSL_CTX_set_psk_use_session_callback(ctx, &use_psk);
    }
}

}  // namespace telpher::bridge
