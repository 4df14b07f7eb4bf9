#include "tcp_bridge/tls_verify.hpp"

#include "tcp_bridge/known_peers.hpp"

#include <openssl/crypto.h>

#include <array>
#include <exception>
#include <string_view>

namespace telpher::bridge {
namespace {

constexpr std::size_t kSubjectBytesMax = 512;
constexpr std::array<unsigned char, 2> kSuiteNumber{0x13, 0x02};  // TLS_AES_256_GCM_SHA384

int verification_index() {
    static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
    return index;
}

Verification* verification_of(const SSL* ssl) {
    return static_cast<Verification*>(SSL_get_ex_data(ssl, verification_index()));
}

Error refused(std::string detail) { return {Status::not_permitted, 0, std::move(detail)}; }

// One line of printable text, whatever the certificate says.
std::string subject_of(const X509* certificate) {
    const OpensslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    char* text = nullptr;
    if (bio == nullptr ||
        X509_NAME_print_ex(bio.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) {
        return {};
    }
    const long size = BIO_get_mem_data(bio.get(), &text);
    return std::string(text, static_cast<std::size_t>(size)).substr(0, kSubjectBytesMax);
}

Result<void> check_authority(X509_STORE_CTX* store, Verification& verification) {
    if (X509_verify_cert(store) == 1) {
        verification.identity.subject = subject_of(X509_STORE_CTX_get0_cert(store));
        return {};
    }
    return refused("no authority of ours vouches for the peer's certificate: " +
                   std::string(X509_verify_cert_error_string(X509_STORE_CTX_get_error(store))));
}

Result<void> check_authorized(const Pin& pin, Verification& verification) {
    const std::string path = authorized_peers_path(verification.context->config_dir());
    const auto peers = load_peers(path);
    if (!peers) {
        return peers.error();
    }
    const auto* const peer = find_pin(*peers, pin);
    if (peer == nullptr) {
        return refused("the peer's key " + pin.text() + " is not in " + path +
                       "; admit it with `telpher trust add NAME " + pin.text() + "`");
    }
    verification.identity.name = peer->name;
    return {};
}

Result<void> check_host(const Pin& pin, const Verification& verification) {
    // Only a look: the peer has yet to prove that the key is its own.
    const auto known =
        is_known_host(known_hosts_path(verification.context->config_dir()), verification.peer, pin);
    return known ? Result<void>{} : known.error();
}

Result<void> check(X509_STORE_CTX* store, Verification& verification) {
    const X509* const certificate = X509_STORE_CTX_get0_cert(store);
    if (certificate == nullptr) {
        return refused("the peer showed no certificate");
    }
    const auto pin = Pin::of(*certificate);
    if (!pin) {
        return pin.error();
    }
    verification.pin = *pin;
    verification.identity.pin = pin->text();
    const TlsContext& context = *verification.context;
    switch (context.trust()) {
        case PeerTrust::anyone:
            return {};
        case PeerTrust::first_use:
            return check_host(*pin, verification);
        case PeerTrust::pinned:
            return *pin == *context.pin() ? Result<void>{}
                                          : refused("the peer's key is " + pin->text() + ", but " +
                                                    context.pin()->text() + " was pinned");
        case PeerTrust::authorized:
            return check_authorized(*pin, verification);
        case PeerTrust::authority:
            return check_authority(store, verification);
        case PeerTrust::psk:
            break;
    }
    return refused("the peer does not know the pre-shared key, and showed a certificate instead");
}

OpensslPtr<SSL_SESSION> psk_session(SSL* ssl, const Psk& psk) {
    OpensslPtr<SSL_SESSION> session(SSL_SESSION_new());
    const SSL_CIPHER* const suite = SSL_CIPHER_find(ssl, kSuiteNumber.data());
    if (session == nullptr || suite == nullptr ||
        SSL_SESSION_set1_master_key(session.get(), psk.bytes().data(), psk.bytes().size()) != 1 ||
        SSL_SESSION_set_cipher(session.get(), suite) != 1 ||
        SSL_SESSION_set_protocol_version(session.get(), TLS1_3_VERSION) != 1) {
        return nullptr;
    }
    return session;
}

}  // namespace

bool attach(SSL* ssl, Verification* verification) {
    return verification_index() >= 0 &&
           SSL_set_ex_data(ssl, verification_index(), verification) == 1;
}

int verify_certificate(X509_STORE_CTX* store, void*) noexcept {
    const auto* const ssl = static_cast<const SSL*>(
        X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    Verification* const verification = verification_of(ssl);
    // No exception may pass through OpenSSL; the only ones here say that memory is used up.
    try {
        auto checked = check(store, *verification);
        if (checked) {
            X509_STORE_CTX_set_error(store, X509_V_OK);
            return 1;
        }
        verification->refusal = checked.error();
    } catch (const std::exception&) {
        verification->refusal = Error{Status::out_of_memory, 0, {}};
    }
    if (X509_STORE_CTX_get_error(store) == X509_V_OK) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    }
    return 0;
}

int use_psk(SSL* ssl,
            const EVP_MD* digest,
            const unsigned char** id,
            std::size_t* id_size,
            SSL_SESSION** session) noexcept {
    const TlsContext& context = *verification_of(ssl)->context;
    *id = nullptr;
    *id_size = 0;
    *session = nullptr;
    // Asked again after a HelloRetryRequest, for a key of the digest that the server chose.
    if (digest != nullptr && EVP_MD_get_type(digest) != NID_sha384) {
        return 1;
    }
    auto made = psk_session(ssl, context.psk());
    if (made == nullptr) {
        return 0;
    }
    *id = reinterpret_cast<const unsigned char*>(context.psk_identity().data());
    *id_size = context.psk_identity().size();
    *session = made.release();
    return 1;
}

int find_psk(SSL* ssl,
             const unsigned char* identity,
             std::size_t identity_size,
             SSL_SESSION** session) noexcept {
    Verification* const verification = verification_of(ssl);
    const std::string& ours = verification->context->psk_identity();
    *session = nullptr;
    if (identity_size != ours.size() || CRYPTO_memcmp(identity, ours.data(), ours.size()) != 0) {
        return 1;  // goes on without a key, and fails since there is no certificate
    }
    auto made = psk_session(ssl, verification->context->psk());
    if (made == nullptr) {
        return 0;
    }
    *session = made.release();
    return 1;
}

}  // namespace telpher::bridge
