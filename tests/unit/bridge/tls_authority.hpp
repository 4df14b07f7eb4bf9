#pragma once
// An authority that issues certificates.

#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/openssl.hpp"
#include "tests/unit/bridge/tls_ends.hpp"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <string>

namespace telpher::test {

using bridge::OpensslPtr;

struct CertificateFiles {
    std::string certificate;
    std::string key;
};

inline OpensslPtr<X509> make_certificate(EVP_PKEY* key,
                                         const std::string& name,
                                         const std::string& alternative,
                                         EVP_PKEY* issuer_key,
                                         const X509* issuer) {
    static long serial = 1;
    OpensslPtr<X509> made(X509_new());
    X509_set_version(made.get(), X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.get()), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(made.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(made.get()), 3600);
    X509_NAME* const subject = X509_get_subject_name(made.get());
    X509_NAME_add_entry_by_txt(subject,
                               "CN",
                               MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()),
                               -1,
                               -1,
                               0);
    X509_set_issuer_name(made.get(), issuer == nullptr ? subject : X509_get_subject_name(issuer));
    X509_set_pubkey(made.get(), key);
    X509V3_CTX context{};
    X509V3_set_ctx_nodb(&context);
    const auto add = [&](int kind, const std::string& value) {
        const OpensslPtr<X509_EXTENSION> extension(
            X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str()));
        X509_add_ext(made.get(), extension.get(), -1);
    };
    add(NID_basic_constraints, issuer == nullptr ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (!alternative.empty()) {
        add(NID_subject_alt_name, alternative);
    }
    X509_sign(made.get(), issuer_key, nullptr);
    return made;
}

inline std::string pem_of(const X509* certificate) {
    const OpensslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_X509(bio.get(), certificate);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

inline std::string pem_of(EVP_PKEY* key) {
    const OpensslPtr<BIO> bio(BIO_new(BIO_s_mem()));
    PEM_write_bio_PKCS8PrivateKey(bio.get(), key, nullptr, nullptr, 0, nullptr, nullptr);
    char* text = nullptr;
    const long size = BIO_get_mem_data(bio.get(), &text);
    return {text, static_cast<std::size_t>(size)};
}

inline OpensslPtr<EVP_PKEY> make_ed25519() {
    return OpensslPtr<EVP_PKEY>(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
}

class Authority {
  public:
    Authority()
        : key_(make_ed25519()),
          certificate_(make_certificate(key_.get(), "authority", "", key_.get(), nullptr)) {
        EXPECT_TRUE(bridge::create_config_file(path(), pem_of(certificate_.get()), 0644));
    }

    [[nodiscard]] std::string path() const { return folder_.file("ca.crt"); }

    [[nodiscard]] CertificateFiles issue(const ScratchFolder& folder,
                                         const std::string& name,
                                         const std::string& alternative) const {
        const auto key = make_ed25519();
        const auto made =
            make_certificate(key.get(), name, alternative, key_.get(), certificate_.get());
        const CertificateFiles files{folder.file(name + ".crt"), folder.file(name + ".key")};
        EXPECT_TRUE(bridge::create_config_file(files.certificate, pem_of(made.get()), 0644));
        EXPECT_TRUE(bridge::create_config_file(files.key, pem_of(key.get()), 0600));
        return files;
    }

  private:
    ScratchFolder folder_;
    OpensslPtr<EVP_PKEY> key_;
    OpensslPtr<X509> certificate_;
};

}  // namespace telpher::test
