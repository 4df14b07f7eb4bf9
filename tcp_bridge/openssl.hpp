// What the files that call OpenSSL share: owning pointers, and the texts of its errors.
//
//   Errors   OpenSSL queues them per thread, in a queue that this process' other users of OpenSSL see too.
//            Every call that may fail is preceded by clear_errors(), and followed by it or openssl_text().
#pragma once

#include "telpher/result.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>

namespace telpher::bridge {

struct OpensslFree {
    void operator()(BIO* object) const { BIO_free_all(object); }
    void operator()(EVP_PKEY* object) const { EVP_PKEY_free(object); }
    void operator()(EVP_PKEY_CTX* object) const { EVP_PKEY_CTX_free(object); }
    void operator()(SSL* object) const { SSL_free(object); }
    void operator()(SSL_CTX* object) const { SSL_CTX_free(object); }
    void operator()(SSL_SESSION* object) const { SSL_SESSION_free(object); }
    void operator()(X509* object) const { X509_free(object); }
    void operator()(X509_EXTENSION* object) const { X509_EXTENSION_free(object); }
};

template <class T>
using OpensslPtr = std::unique_ptr<T, OpensslFree>;

inline void clear_errors() noexcept { ERR_clear_error(); }

// "WHAT: the last reason", and clears the queue.
inline std::string openssl_text(std::string_view what) {
    const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
    clear_errors();
    return std::string(what) + (reason == nullptr ? "" : ": " + std::string(reason));
}

inline Error openssl_failed(std::string_view what) {
    return {Status::server_error, 0, openssl_text(what)};
}

// Reads from memory that outlives it.
inline OpensslPtr<BIO> bio_of(std::string_view text) {
    return OpensslPtr<BIO>(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

}  // namespace telpher::bridge
