#pragma once
// The floor under a bridge: requests and acknowledgements on sockets, without a message, a queue or a session.
//
//   Wire     request: length u32, payload; acknowledgement: the number in the payload's first word, u64
//   Server   one thread, epoll, level triggered; one read of up to 256 KiB, one write of all acknowledgements
//            that it brought; payloads are read line by line where they lie, and not kept
//   Client   blocking sockets; requests of a window leave in one write, acknowledgements are read as they come
//   TLS      1.3, TLS_AES_256_GCM_SHA384, X25519, by OpenSSL on the socket

#include "bench/bridge/requests.hpp"

#include <openssl/ssl.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace telpher::bench {

struct SslFree {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
};
using SslContext = std::unique_ptr<SSL_CTX, SslFree>;

// A folder that holds a bridge's identity for the time of one row.
class KeyFolder {
  public:
    explicit KeyFolder(const Context& context);
    KeyFolder(const KeyFolder&) = delete;
    KeyFolder& operator=(const KeyFolder&) = delete;
    ~KeyFolder();
    [[nodiscard]] const std::string& path() const noexcept { return path_; }

  private:
    std::string path_;
};
// Makes the identity. In the serving side.
void make_keys(Side& side, const std::string& folder);

// A blocking connection to 127.0.0.1, without delay.
int connect_to(Side& side, std::uint16_t port);
int listen_on_loopback(Side& side, std::uint16_t* port);
SslContext server_context(Side& side, const std::string& folder);
SslContext client_context(Side& side);
// A handshake, done.
std::unique_ptr<SSL, SslFree> handshake(Side& side, SSL_CTX* context, int socket, bool client);

// Serves until the asking side is done. `folder`: of keys; empty: plain.
void serve_raw(Side& side, const std::string& folder);

class RawPort {
  public:
    RawPort(Side& side, const RequestPlan& plan);
    RawPort(const RawPort&) = delete;
    RawPort& operator=(const RawPort&) = delete;
    ~RawPort();
    void request(std::uint64_t number);
    std::size_t settle();

  private:
    std::size_t read(void* to, std::size_t bytes);

    Side& side_;
    int socket_;
    SslContext context_;
    std::unique_ptr<SSL, SslFree> ssl_;
    PayloadBytes payload_;
    std::vector<std::byte> out_;
    std::vector<std::byte> in_;
    std::size_t held_ = 0;  // of an acknowledgement that was cut
    std::uint64_t answered_ = 0;
};

}  // namespace telpher::bench
