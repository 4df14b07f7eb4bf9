// The fingerprint of a public key: SHA-256 over the key as a certificate carries it (its
// SubjectPublicKeyInfo, DER). It stays the same when the certificate around the key is renewed.
#pragma once

#include "telpher/result.hpp"

#include <openssl/types.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::bridge {

class Pin {
  public:
    // "sha256:" and 64 hexadecimal digits, in any case; nothing for any other text.
    [[nodiscard]] static std::optional<Pin> parse(std::string_view text);
    // Errors: bad_request (a certificate without a key that OpenSSL can write).
    [[nodiscard]] static Result<Pin> of(const X509& certificate);

    // As `parse` reads it, in small letters.
    [[nodiscard]] std::string text() const;

    // In constant time.
    bool operator==(const Pin& other) const noexcept;

  private:
    std::array<std::uint8_t, 32> digest_{};
};

// Two hexadecimal digits, in small letters, for each byte.
[[nodiscard]] std::string to_hex(const std::uint8_t* bytes, std::size_t size);
// Fills `out` from exactly twice as many digits; false for any other text.
[[nodiscard]] bool from_hex(std::string_view digits, std::uint8_t* out, std::size_t size);

}  // namespace telpher::bridge
