// Who this side is: an Ed25519 key and a self-signed certificate that carries it, and pre-shared keys.
//
//   Files    identity.key (0600), identity.crt and psk (0600) of the configuration folder
//   Making   whole or not at all, and never in the place of a file that exists
//   Loading  refuses secret files that others may read, symbolic links and anything but files
//   Secrets  appear in no text of an error
#pragma once

#include "telpher/result.hpp"

#include "tcp_bridge/openssl.hpp"
#include "tcp_bridge/pin.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace telpher::bridge {

struct Identity {
    OpensslPtr<EVP_PKEY> key;
    OpensslPtr<X509> certificate;
    std::vector<OpensslPtr<X509>> chain;  // what leads from the certificate to its authority
    Pin pin;
};

[[nodiscard]] std::string identity_key_path(const std::string& dir);
[[nodiscard]] std::string identity_certificate_path(const std::string& dir);
[[nodiscard]] std::string psk_path(const std::string& dir);

// Makes both files, and the folder. `name` is the certificate's common name: letters, digits and
// ._-@, at most 64. Where only the key exists, because a process was killed between the two, its
// certificate is made. About 10 ms of waiting for the disk.
// Errors: already_exists (naming the pin), bad_request, not_permitted, server_error.
Result<Pin> make_identity(const std::string& dir, const std::string& name);

// Errors: bad_request (os_error ENOENT: there is none; or no PEM, or the two do not belong together),
// not_permitted.
Result<Identity> load_identity(const std::string& certificate_path, const std::string& key_path);

// Certificates of authorities. Errors: bad_request (no PEM, or none in it), not_permitted.
Result<std::vector<OpensslPtr<X509>>> load_certificates(const std::string& path);

// 32 random bytes, overwritten when they are no longer used.
class Psk {
  public:
    Psk() = default;
    ~Psk();
    Psk(const Psk&) = default;
    Psk(Psk&&) = default;
    Psk& operator=(const Psk&) = default;
    Psk& operator=(Psk&&) = default;

    [[nodiscard]] const std::array<std::uint8_t, 32>& bytes() const noexcept { return bytes_; }

  private:
    friend Result<Psk> load_psk(const std::string& path);
    std::array<std::uint8_t, 32> bytes_{};
};

// Writes a new key as 64 hexadecimal digits. Errors: as make_identity.
Result<void> make_psk(const std::string& path);
// Errors: bad_request (missing, or not 64 hexadecimal digits), not_permitted.
Result<Psk> load_psk(const std::string& path);

}  // namespace telpher::bridge
