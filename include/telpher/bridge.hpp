#pragma once
// The TCP bridge: lets programs on other hosts, or in other containers, use a domain as if they were here.
//
//   auto bridge = Bridge::start(connect("shm:cafe").value(), {.listen = "127.0.0.1:33333"}).value();
//
// Programs that use it link telpher::telpher.

#include "telpher/client.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace telpher {

namespace bridge {
class BridgeCore;
}

// Whether clients may encrypt (TLS 1.3; SECURITY.md), or must.
enum class Encryption : std::uint8_t { off, allowed, required };

// Whom an encrypting bridge serves: anyone; the keys of authorized_peers (`telpher trust`); whoever an
// authority vouches for; who has the pre-shared key. All but `anyone` need Encryption::required.
enum class Peers : std::uint8_t { anyone, authorized, authority, psk };

// Of an encrypting bridge; empty paths: those of the configuration folder, whose identity is made if there is none.
struct BridgeTls {
    Peers peers = Peers::anyone;
    std::string ca{};           // certificates of authorities, with Peers::authority
    std::string certificate{};  // the bridge's own
    std::string key{};
    std::string psk{};
    std::string psk_identity{};
    std::string config_dir{};  // empty: the user's own
};

struct BridgeOptions {
    // "HOST:PORT"; port 0 = a free one, which `port` tells; empty = no TCP. Beyond loopback only with
    // Encryption::required and Peers other than anyone, or if `insecure`.
    std::string listen{};
    // Path of a Unix socket, made with mode 0600; empty = none. Never encrypted.
    std::string unix_path{};
    Encryption encryption = Encryption::off;
    BridgeTls tls{};
    bool insecure = false;
    // I/O threads, 1 to 64; a new connection is served by the one that has the fewest.
    std::uint32_t threads = 1;
    std::uint32_t connections_max = 1024;  // clients, those included whose connection is cut
    // Connections that have not said who they are. Beyond it the oldest one goes, of the address that has the most:
    // a good client is through in milliseconds.
    std::uint32_t greeting_max = 64;
    // New connections of one address (of IPv6: of one /64 network): so many a second, after so many at once.
    // 0 a second: any number.
    std::uint32_t connects_per_second = 1000;
    std::uint32_t connects_burst = 2000;
    std::uint32_t outstanding_max =
        4096;  // operations of a client that have no acknowledged answer
    // Messages of at least this many encoded bytes travel compressed, in both directions, where that makes
    // them smaller; 0 = all, -1 = none. A client's own wish goes before it.
    std::int64_t compress_from_bytes = -1;
    Duration heartbeat = std::chrono::seconds(5);
    Duration grace = std::chrono::seconds(10);  // how long the session of a cut connection is kept
    // A line for a log: a connection that was refused, or broke the protocol. Printable ASCII; of a kind 10 a second at
    // most, then how many more there were. On a thread of the bridge's, one line at a time.
    std::function<void(std::string_view)> on_log{};
};

// A snapshot.
struct BridgeStatus {
    std::uint32_t connections = 0;
    std::uint32_t sessions = 0;  // those of cut connections included
    std::uint64_t accepted = 0;  // connections ever
    std::uint64_t refused =
        0;  // of them: too many or too often, or no HELLO that could be answered
};

// A running bridge. Move-only.
//
//   Destructor   as `stop`.
//   Threads      all members any number at once.
//   Fork         in a child nothing happens.
//   Crash        killed: what it held is reaped as any process', polled messages that no client had
//                confirmed are counted as abandoned; its clients connect again to the next one.
class Bridge {
  public:
    Bridge() = default;
    // Errors: bad_request (addresses, limits, files of keys), not_permitted (an address beyond loopback; a
    // secret file that others may read), already_exists (the address is in use), limit_reached (threads,
    // descriptors), those of `client`.
    static Result<Bridge> start(Client client, BridgeOptions options);
    Bridge(Bridge&&) noexcept = default;
    Bridge& operator=(Bridge&&) noexcept;
    Bridge(const Bridge&) = delete;
    Bridge& operator=(const Bridge&) = delete;
    ~Bridge();

    // Accepts nobody any more, tells every client GOODBYE, and ends. At most a second; if another thread drains, as
    // long as that takes.
    void stop() noexcept;
    // The same, but what was begun may end first, for so long: offers, calls, messages that are to be confirmed. Polls
    // are not waited for; what waits for room, and what begins meanwhile, goes to its client's next bridge.
    void drain(Duration patience) noexcept;
    // Reads the files of keys and authorities again, for connections to come; those there are go on. Tells what was
    // read. Errors: as start; what was there before stays.
    Result<std::string> reload();
    // Whether it serves: not after `stop`, nor after the end of its domain.
    [[nodiscard]] bool running() const noexcept;
    // Of the TCP address; 0 = none.
    [[nodiscard]] std::uint16_t port() const noexcept;
    [[nodiscard]] BridgeStatus status() const;
    explicit operator bool() const noexcept { return core_ != nullptr; }

  private:
    explicit Bridge(std::shared_ptr<bridge::BridgeCore> core) : core_(std::move(core)) {}
    std::shared_ptr<bridge::BridgeCore> core_;
};

}  // namespace telpher
