#include "tcp_bridge/pin.hpp"

#include "tcp_bridge/openssl.hpp"

#include <openssl/crypto.h>

namespace telpher::bridge {
namespace {

constexpr std::string_view kPrefix = "sha256:";

int digit_value(char digit) {
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

}  // namespace

std::string to_hex(const std::uint8_t* bytes, std::size_t size) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::string text;
    text.reserve(2 * size);
    for (std::size_t i = 0; i < size; ++i) {
        text += kDigits[bytes[i] >> 4U];
        text += kDigits[bytes[i] & 15U];
    }
    return text;
}

bool from_hex(std::string_view digits, std::uint8_t* out, std::size_t size) {
    if (digits.size() != 2 * size) {
        return false;
    }
    for (std::size_t i = 0; i < size; ++i) {
        const int high = digit_value(digits[2 * i]);
        const int low = digit_value(digits[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = static_cast<std::uint8_t>(16 * high + low);
    }
    return true;
}

std::optional<Pin> Pin::parse(std::string_view text) {
    Pin pin;
    if (!text.starts_with(kPrefix) ||
        !from_hex(text.substr(kPrefix.size()), pin.digest_.data(), pin.digest_.size())) {
        return std::nullopt;
    }
    return pin;
}

Result<Pin> Pin::of(const X509& certificate) {
    clear_errors();
    unsigned char* der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(&certificate), &der);
    Pin pin;
    unsigned written = 0;
    const bool made = size > 0 && EVP_Digest(der,
                                             static_cast<std::size_t>(size),
                                             pin.digest_.data(),
                                             &written,
                                             EVP_sha256(),
                                             nullptr) == 1;
    OPENSSL_free(der);
    if (!made || written != pin.digest_.size()) {
        return Error{Status::bad_request, 0, openssl_text("the certificate has no usable key")};
    }
    return pin;
}

std::string Pin::text() const {
    return std::string(kPrefix) + to_hex(digest_.data(), digest_.size());
}

bool Pin::operator==(const Pin& other) const noexcept {
    return CRYPTO_memcmp(digest_.data(), other.digest_.data(), digest_.size()) == 0;
}

}  // namespace telpher::bridge
