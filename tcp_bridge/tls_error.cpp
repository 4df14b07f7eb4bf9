#include "tcp_bridge/tls_error.hpp"

#include "tcp_bridge/openssl.hpp"

#include <openssl/sslerr.h>

#include <array>
#include <string>

namespace telpher::bridge {
namespace {

struct Meaning {
    int reason;
    Status status;
    const char* text;
};

constexpr const char* kNothingInCommon =
    "no common protocol: TLS 1.3, TLS_AES_256_GCM_SHA384, X25519 and Ed25519 or ECDSA P-256 are "
    "needed";
constexpr const char* kChanged = "a record was changed, lost, repeated or brought out of order";

constexpr std::array kMeanings{
    Meaning{SSL_R_UNSUPPORTED_PROTOCOL, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_WRONG_VERSION_NUMBER, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_WRONG_SSL_VERSION, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_NO_SHARED_CIPHER, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_NO_SHARED_GROUPS, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_NO_SUITABLE_KEY_SHARE, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_BAD_KEY_SHARE, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_UNKNOWN_CIPHER_RETURNED, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_WRONG_CIPHER_RETURNED, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_WRONG_SIGNATURE_TYPE, Status::version_mismatch, kNothingInCommon},
    Meaning{SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC, Status::corrupt, kChanged},
    Meaning{SSL_R_BAD_RECORD_TYPE, Status::corrupt, kChanged},
    Meaning{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE,
            Status::not_permitted,
            "the peer showed no certificate, and this side admits only whom it knows"},
    Meaning{SSL_R_CERTIFICATE_VERIFY_FAILED,
            Status::not_permitted,
            "the peer's certificate is not trusted"},
    Meaning{
        SSL_R_BINDER_DOES_NOT_VERIFY, Status::not_permitted, "the peer has another pre-shared key"},
    Meaning{SSL_R_BAD_SIGNATURE, Status::not_permitted, "the peer does not hold the key it shows"},
    Meaning{SSL_R_EXCESSIVE_MESSAGE_SIZE,
            Status::limit_reached,
            "the peer's certificate, or another message of the handshake, is too large"},
};

constexpr int kAlertHandshakeFailure = 40;
constexpr int kAlertBadCertificate = 42;
constexpr int kAlertCertificateUnknown = 46;
constexpr int kAlertUnknownCa = 48;
constexpr int kAlertAccessDenied = 49;
constexpr int kAlertDecryptError = 51;
constexpr int kAlertProtocolVersion = 70;
constexpr int kAlertInsufficientSecurity = 71;
constexpr int kAlertUnknownPsk = 115;
constexpr int kAlertCertificateRequired = 116;
constexpr int kAlertMax = 255;

Status status_of_alert(int alert) {
    if ((alert >= kAlertBadCertificate && alert <= kAlertCertificateUnknown) ||
        alert == kAlertUnknownCa || alert == kAlertAccessDenied || alert == kAlertDecryptError ||
        alert == kAlertUnknownPsk || alert == kAlertCertificateRequired) {
        return Status::not_permitted;
    }
    return alert == kAlertHandshakeFailure || alert == kAlertProtocolVersion ||
                   alert == kAlertInsufficientSecurity
               ? Status::version_mismatch
               : Status::disconnected;
}

Error error_of_alert(int alert, PeerTrust trust, bool established) {
    const std::string name = SSL_alert_desc_string_long(alert);
    Error error{
        status_of_alert(alert), 0, "the peer ended the connection with the alert \"" + name + "\""};
    if (trust == PeerTrust::psk && !established && alert != kAlertProtocolVersion) {
        // A wrong key is an "illegal parameter" to OpenSSL, and an unknown name a "handshake failure".
        error.status = Status::not_permitted;
        error.detail += ": it may have another pre-shared key, or know it by another name";
    } else if (error.status == Status::version_mismatch) {
        error.detail +=
            ": " + std::string(kNothingInCommon) + ", and a pre-shared key if it asks for one";
    } else if (error.status == Status::not_permitted) {
        error.detail += ": it does not trust the key or certificate of this side";
    }
    return error;
}

}  // namespace

Error take_tls_error(PeerTrust trust, bool established) {
    const auto code = ERR_peek_last_error();
    const int reason = ERR_GET_REASON(code);
    clear_errors();
    if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason >= SSL_AD_REASON_OFFSET &&
        reason <= SSL_AD_REASON_OFFSET + kAlertMax) {
        return error_of_alert(reason - SSL_AD_REASON_OFFSET, trust, established);
    }
    for (const auto& meaning : kMeanings) {
        if (ERR_GET_LIB(code) == ERR_LIB_SSL && meaning.reason == reason) {
            // What was agreed on is not unlearnt: after the handshake the record itself is wrong.
            const bool changed = established && meaning.status == Status::version_mismatch;
            return {
                changed ? Status::corrupt : meaning.status, 0, changed ? kChanged : meaning.text};
        }
    }
    const char* const text = ERR_reason_error_string(code);
    return {established ? Status::corrupt : Status::disconnected,
            0,
            std::string(established ? "the peer broke the protocol" : "the handshake failed") +
                (text == nullptr ? "" : ": " + std::string(text))};
}

}  // namespace telpher::bridge
