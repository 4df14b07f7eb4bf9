#include "tcp_bridge/identity.hpp"

#include "shm/base/os.hpp"
#include "tcp_bridge/config_files.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr std::size_t kNameBytesMax = 64;          // of a common name (RFC 5280, upper bounds)
constexpr std::size_t kCertificatesMax = 256;      // in one file
constexpr long kBackdatedS = -86400;               // for peers whose clock is slow
constexpr const char* kNoEnd = "99991231235959Z";  // no well-defined end (RFC 5280, 4.1.2.5)

bool is_name(const std::string& name) {
    return !name.empty() && name.size() <= kNameBytesMax &&
           std::all_of(name.begin(), name.end(), [](char c) {
               return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '.' || c == '_' || c == '-' || c == '@';
           });
}

// OpenSSL would otherwise ask for a password on the terminal.
int no_password(char*, int, int, void*) { return -1; }

bool add_extension(X509* certificate, int kind, const char* value) {
    X509V3_CTX context{};
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, nullptr, nullptr, 0);
    const OpensslPtr<X509_EXTENSION> extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
    return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_serial_and_dates(X509* certificate) {
    std::array<std::uint8_t, 16> random{};
    if (!shm::fill_random(random.data(), random.size())) {
        return false;
    }
    random[0] = static_cast<std::uint8_t>((random[0] & 0x7FU) | 1U);  // positive, of full length
    BIGNUM* const number = BN_bin2bn(random.data(), static_cast<int>(random.size()), nullptr);
    const bool serial = number != nullptr &&
                        BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
    BN_free(number);
    return serial && X509_gmtime_adj(X509_getm_notBefore(certificate), kBackdatedS) != nullptr &&
           ASN1_TIME_set_string(X509_getm_notAfter(certificate), kNoEnd) == 1;
}

// A container for the key, which is what peers pin: nobody looks at its dates or its name.
OpensslPtr<X509> self_signed(EVP_PKEY* key, const std::string& name) {
    OpensslPtr<X509> certificate(X509_new());
    if (certificate == nullptr || X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
        !set_serial_and_dates(certificate.get())) {
        return nullptr;
    }
    X509_NAME* const subject = X509_get_subject_name(certificate.get());
    const auto* const text = reinterpret_cast<const unsigned char*>(name.data());
    const bool made =
        X509_NAME_add_entry_by_txt(
            subject, "CN", MBSTRING_UTF8, text, static_cast<int>(name.size()), -1, 0) == 1 &&
        X509_set_issuer_name(certificate.get(), subject) == 1 &&
        X509_set_pubkey(certificate.get(), key) == 1 &&
        add_extension(certificate.get(), NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(certificate.get(), NID_key_usage, "critical,digitalSignature") &&
        add_extension(certificate.get(), NID_ext_key_usage, "serverAuth,clientAuth") &&
        X509_sign(certificate.get(), key, nullptr) > 0;  // no digest: Ed25519 has its own
    return made ? std::move(certificate) : nullptr;
}

// The text that `write` puts into a BIO, empty if it fails. The BIO's memory is overwritten when freed.
template <class Write>
FileText pem_text(const Write& write) {
    const OpensslPtr<BIO> bio(BIO_new(BIO_s_secmem()));
    char* data = nullptr;
    if (bio == nullptr || write(bio.get()) != 1) {
        return FileText(std::string());
    }
    const long size = BIO_get_mem_data(bio.get(), &data);
    return FileText(std::string(data, static_cast<std::size_t>(size)));
}

Result<OpensslPtr<EVP_PKEY>> load_key(const std::string& path) {
    auto text = read_config_file(path, FileKind::secret);
    if (!text) {
        return text.error();
    }
    clear_errors();
    OpensslPtr<EVP_PKEY> key(
        PEM_read_bio_PrivateKey(bio_of(text->view()).get(), nullptr, no_password, nullptr));
    // Only that it failed: OpenSSL's reasons may quote what they stumbled over.
    clear_errors();
    if (key == nullptr) {
        return Error{
            Status::bad_request, 0, path + " holds no private key in PEM without a password"};
    }
    return key;
}

Result<Pin> pin_of_file(const std::string& path) {
    auto certificates = load_certificates(path);
    return certificates ? Pin::of(*certificates->front()) : Result<Pin>(certificates.error());
}

Result<OpensslPtr<EVP_PKEY>> make_key(const std::string& path) {
    OpensslPtr<EVP_PKEY> key(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
    if (key == nullptr) {
        return openssl_failed("making an Ed25519 key");
    }
    const FileText text = pem_text([&key](BIO* bio) {
        return PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
    if (text.view().empty()) {
        return openssl_failed("writing an Ed25519 key");
    }
    if (auto made = create_config_file(path, text.view(), 0600); !made) {
        return made.error();
    }
    return key;
}

}  // namespace

std::string identity_key_path(const std::string& dir) { return dir + "/identity.key"; }
std::string identity_certificate_path(const std::string& dir) { return dir + "/identity.crt"; }
std::string psk_path(const std::string& dir) { return dir + "/psk"; }

Result<Pin> make_identity(const std::string& dir, const std::string& name) {
    if (!is_name(name)) {
        return Error{
            Status::bad_request, 0, "the name of an identity is 1 to 64 letters, digits and ._-@"};
    }
    if (auto made = make_config_dir(dir); !made) {
        return made.error();
    }
    const std::string path = identity_certificate_path(dir);
    if (auto existing = pin_of_file(path); existing || !is_missing(existing.error())) {
        return Error{Status::already_exists,
                     0,
                     path + " exists already" +
                         (existing ? "; its pin is " + existing->text() : std::string())};
    }
    // The key first: with it alone the work can be finished later, a certificate alone is of no use.
    auto key = make_key(identity_key_path(dir));
    if (!key && key.status() == Status::already_exists) {
        key = load_key(identity_key_path(dir));
    }
    if (!key) {
        return key.error();
    }
    clear_errors();
    const auto certificate = self_signed(key->get(), name);
    if (certificate == nullptr) {
        return openssl_failed("making a certificate");
    }
    const FileText text =
        pem_text([&certificate](BIO* bio) { return PEM_write_bio_X509(bio, certificate.get()); });
    if (auto made = create_config_file(path, text.view(), 0644); !made) {
        return made.error();
    }
    return Pin::of(*certificate);
}

Result<std::vector<OpensslPtr<X509>>> load_certificates(const std::string& path) {
    auto text = read_config_file(path, FileKind::open);
    if (!text) {
        return text.error();
    }
    clear_errors();
    const auto bio = bio_of(text->view());
    std::vector<OpensslPtr<X509>> certificates;
    while (certificates.size() < kCertificatesMax) {
        OpensslPtr<X509> next(PEM_read_bio_X509(bio.get(), nullptr, no_password, nullptr));
        if (next == nullptr) {
            break;
        }
        certificates.push_back(std::move(next));
    }
    // The file's end, or a certificate that is none.
    const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
    clear_errors();
    if (certificates.empty() || !at_end) {
        return Error{
            Status::bad_request, 0, path + " holds no certificates in PEM, or a broken one"};
    }
    return certificates;
}

Result<Identity> load_identity(const std::string& certificate_path, const std::string& key_path) {
    // The key first: whether others may read it matters more than any other fault.
    auto key = load_key(key_path);
    if (!key) {
        return key.error();
    }
    auto certificates = load_certificates(certificate_path);
    if (!certificates) {
        return certificates.error();
    }
    if (X509_check_private_key(certificates->front().get(), key->get()) != 1) {
        clear_errors();
        return Error{Status::bad_request,
                     0,
                     certificate_path + " is the certificate of another key than " + key_path};
    }
    const auto pin = Pin::of(*certificates->front());
    if (!pin) {
        return pin.error();
    }
    Identity identity{*std::move(key), std::move(certificates->front()), {}, *pin};
    certificates->erase(certificates->begin());
    identity.chain = *std::move(certificates);
    return identity;
}

Psk::~Psk() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

Result<void> make_psk(const std::string& path) {
    std::array<std::uint8_t, 32> bytes{};
    if (auto filled = shm::fill_random(bytes.data(), bytes.size()); !filled) {
        return filled;
    }
    const FileText text(to_hex(bytes.data(), bytes.size()) + "\n");
    OPENSSL_cleanse(bytes.data(), bytes.size());
    return create_config_file(path, text.view(), 0600);
}

Result<Psk> load_psk(const std::string& path) {
    const auto text = read_config_file(path, FileKind::secret);
    if (!text) {
        return text.error();
    }
    auto digits = text->view();
    while (digits.ends_with('\n') || digits.ends_with('\r')) {
        digits.remove_suffix(1);
    }
    Psk psk;
    if (!from_hex(digits, psk.bytes_.data(), psk.bytes_.size())) {
        return Error{
            Status::bad_request,
            0,
            path + " is not a key of 64 hexadecimal digits, as `telpher keygen --psk` makes it"};
    }
    return psk;
}

}  // namespace telpher::bridge
