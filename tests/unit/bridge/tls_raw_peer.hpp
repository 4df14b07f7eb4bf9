#pragma once
// A peer that keeps to none of the channel's rules: OpenSSL with the settings of a test, and records
// sealed by hand with the keys of a connection.

#include "tcp_bridge/openssl.hpp"
#include "tcp_bridge/pin.hpp"
#include "tests/unit/bridge/tls_authority.hpp"
#include "tests/unit/bridge/tls_ends.hpp"

#include <openssl/hmac.h>

#include <array>
#include <functional>
#include <map>
#include <string>

namespace telpher::test {

class RawPeer {
  public:
    using SetUp = std::function<void(SSL_CTX*)>;

    explicit RawPeer(
        bool client, const SetUp& set_up = [](SSL_CTX*) {}) {
        context_.reset(SSL_CTX_new(client ? TLS_client_method() : TLS_server_method()));
        SSL_CTX_set_keylog_callback(context_.get(), [](const SSL* ssl, const char* line) {
            static_cast<RawPeer*>(SSL_get_app_data(ssl))->note_key(line);
        });
        if (!client) {
            key_ = make_ed25519();
            const auto made = make_certificate(key_.get(), "raw", "", key_.get(), nullptr);
            SSL_CTX_use_certificate(context_.get(), made.get());
            SSL_CTX_use_PrivateKey(context_.get(), key_.get());
            pin = bridge::Pin::of(*made).value().text();
        }
        set_up(context_.get());
        ssl_.reset(SSL_new(context_.get()));
        SSL_set_app_data(ssl_.get(), this);
        SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        client ? SSL_set_connect_state(ssl_.get()) : SSL_set_accept_state(ssl_.get());
        SSL_do_handshake(ssl_.get());
    }

    [[nodiscard]] SSL* ssl() const { return ssl_.get(); }
    [[nodiscard]] bool established() const { return SSL_is_init_finished(ssl_.get()) == 1; }

    void feed(std::span<const std::byte> wire) {
        BIO_write(SSL_get_rbio(ssl_.get()), wire.data(), static_cast<int>(wire.size()));
        std::array<char, 4096> out{};
        while (SSL_read(ssl_.get(), out.data(), static_cast<int>(out.size())) > 0) {
        }
        ERR_clear_error();
    }
    [[nodiscard]] Bytes take() const {
        BIO* const bio = SSL_get_wbio(ssl_.get());
        Bytes wire(BIO_ctrl_pending(bio));
        if (!wire.empty()) {
            BIO_read(bio, wire.data(), static_cast<int>(wire.size()));
        }
        return wire;
    }

    // Seals the next record of this client by hand: any content, of any type, with any padding.
    Bytes seal(std::span<const std::byte> content, std::uint8_t type, std::size_t padding = 0) {
        Bytes inner(content.begin(), content.end());
        inner.push_back(static_cast<std::byte>(type));
        inner.resize(inner.size() + padding);
        const std::size_t sealed = inner.size() + 16;
        Bytes record{std::byte{23},
                     std::byte{3},
                     std::byte{3},
                     static_cast<std::byte>(sealed >> 8U),
                     static_cast<std::byte>(sealed & 0xFFU)};
        const auto key = expand("key", 32);
        auto nonce = expand("iv", 12);
        for (unsigned i = 0; i < 8; ++i) {
            nonce[11 - i] ^= static_cast<unsigned char>(sequence_ >> (8 * i));
        }
        ++sequence_;
        record.resize(5 + sealed);
        auto* const out = reinterpret_cast<unsigned char*>(record.data());
        EVP_CIPHER_CTX* const cipher = EVP_CIPHER_CTX_new();
        int size = 0;
        EVP_EncryptInit_ex(cipher, EVP_aes_256_gcm(), nullptr, key.data(), nonce.data());
        EVP_EncryptUpdate(cipher, nullptr, &size, out, 5);
        EVP_EncryptUpdate(cipher,
                          out + 5,
                          &size,
                          reinterpret_cast<const unsigned char*>(inner.data()),
                          static_cast<int>(inner.size()));
        EVP_EncryptFinal_ex(cipher, out + 5 + size, &size);
        EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_GCM_GET_TAG, 16, out + 5 + inner.size());
        EVP_CIPHER_CTX_free(cipher);
        return record;
    }

    std::string pin;

  private:
    void note_key(const std::string& line) {
        secrets_[line.substr(0, line.find(' '))] = line.substr(line.rfind(' ') + 1);
    }

    // HKDF-Expand-Label (RFC 8446, 7.1) of what this client seals with; one block is enough.
    std::vector<unsigned char> expand(const std::string& label, std::size_t size) {
        std::array<std::uint8_t, 48> secret{};
        EXPECT_TRUE(
            bridge::from_hex(secrets_["CLIENT_TRAFFIC_SECRET_0"], secret.data(), secret.size()));
        const std::string full = "tls13 " + label;
        std::string info{'\0', static_cast<char>(size), static_cast<char>(full.size())};
        info += full + '\0' + '\x01';
        std::vector<unsigned char> block(48);
        unsigned written = 0;
        HMAC(EVP_sha384(),
             secret.data(),
             static_cast<int>(secret.size()),
             reinterpret_cast<const unsigned char*>(info.data()),
             info.size(),
             block.data(),
             &written);
        block.resize(size);
        return block;
    }

    OpensslPtr<SSL_CTX> context_;
    OpensslPtr<EVP_PKEY> key_;
    OpensslPtr<SSL> ssl_;
    std::map<std::string, std::string> secrets_;
    std::uint64_t sequence_ = 0;
};

// Carries bytes between a channel and such a peer; the channel's first error.
inline std::optional<Error> pump(bridge::TlsChannel& channel, RawPeer& peer) {
    std::optional<Error> error;
    for (;;) {
        const auto there = take_pending(channel);
        peer.feed(there);
        const auto back = peer.take();
        if (there.empty() && back.empty()) {
            return error;
        }
        if (auto fed = channel.feed(back); !fed && !error) {
            error = fed.error();
        }
    }
}

}  // namespace telpher::test
