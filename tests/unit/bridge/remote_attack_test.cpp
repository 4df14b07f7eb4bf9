// Somebody between a remote client and its bridge: with a key of its own, or without any.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tcp_bridge/frame.hpp"
#include "tcp_bridge/identity.hpp"
#include "tests/unit/bridge/loopback.hpp"
#include "tests/unit/bridge/tls_authority.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <string>
#include <thread>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

// A bridge with files of its own.
class Side {
  public:
    explicit Side(const BridgeTls& tls, std::uint16_t port = 0)
        : server_(domain_.open({.limits = small_limits()})),
          bridge_(Bridge::start(connect(domain_.uri()).value(),
                                {.listen = "127.0.0.1:" + std::to_string(port),
                                 .encryption = Encryption::required,
                                 .tls = tls})
                      .value()) {}
    [[nodiscard]] std::uint16_t port() const { return bridge_.port(); }
    [[nodiscard]] std::string uri() const { return "tcp://127.0.0.1:" + std::to_string(port()); }
    [[nodiscard]] std::uint32_t sessions() const { return bridge_.status().sessions; }

  private:
    ScratchDomain domain_;
    Server server_;
    Bridge bridge_;
};

Status connects(const Side& side, const Tls& tls) {
    return connect(side.uri(), {.encrypt = true, .tls = tls}).status();
}

// Goal: who sits in between with a key of its own is refused in every way to trust, and is told nothing.
TEST(RemoteAttack, a_bridge_with_another_key_is_refused_in_every_trust_mode) {
    const ScratchFolder files;
    const std::string pin = bridge::make_identity(files.file("bridge"), "bridge").value().text();
    ASSERT_TRUE(bridge::make_identity(files.file("other"), "bridge"));
    const Tls pinned{.pin = pin, .config_dir = files.file("client")};
    const Tls first_use{.config_dir = files.file("client")};
    std::uint16_t port = 0;
    {
        const Side good({.config_dir = files.file("bridge")});
        EXPECT_EQ(connects(good, pinned), Status::ok);
        EXPECT_EQ(connects(good, first_use), Status::ok);
        EXPECT_EQ(connects(good, first_use), Status::ok);
        port = good.port();
    }
    const Side other({.config_dir = files.file("other")}, port);
    EXPECT_EQ(connects(other, pinned), Status::not_permitted);
    EXPECT_EQ(connects(other, first_use), Status::not_permitted);
    EXPECT_EQ(other.sessions(), 0U);
}

TEST(RemoteAttack, a_bridge_that_another_authority_vouches_for_is_refused) {
    const Authority authority;
    const Authority stranger;
    const ScratchFolder files;
    const auto mine = authority.issue(files, "till", "DNS:till.example");
    const Tls tls{.ca = authority.path(), .certificate = mine.certificate, .key = mine.key};
    const auto serve = [&](const Authority& by, const std::string& name) {
        const auto own = by.issue(files, name, "IP:127.0.0.1");
        return BridgeTls{.peers = Peers::authority,
                         .ca = authority.path(),
                         .certificate = own.certificate,
                         .key = own.key};
    };
    const Side good(serve(authority, "bridge"));
    EXPECT_EQ(connects(good, tls), Status::ok);
    const Side other(serve(stranger, "foreign"));
    EXPECT_EQ(connects(other, tls), Status::not_permitted);
    EXPECT_EQ(other.sessions(), 0U);
    // And the other way round.
    const auto foreign = stranger.issue(files, "thief", "DNS:till.example");
    const std::uint32_t before = good.sessions();
    EXPECT_NE(
        connects(good,
                 {.ca = authority.path(), .certificate = foreign.certificate, .key = foreign.key}),
        Status::ok);
    EXPECT_EQ(good.sessions(), before);
}

TEST(RemoteAttack, a_bridge_with_another_pre_shared_key_is_refused) {
    const ScratchFolder files;
    ASSERT_TRUE(bridge::make_psk(files.file("ours")));
    ASSERT_TRUE(bridge::make_psk(files.file("theirs")));
    const Tls tls{.psk = files.file("ours")};
    const Side good({.peers = Peers::psk, .psk = files.file("ours")});
    EXPECT_EQ(connects(good, tls), Status::ok);
    const Side other({.peers = Peers::psk, .psk = files.file("theirs")});
    EXPECT_NE(connects(other, tls), Status::ok);
    EXPECT_EQ(other.sessions(), 0U);
}

// Accepts one connection, answers what comes first with `answer`, and keeps what it hears until the end.
std::string heard_by_plain_peer(const std::string& answer, const Tls& tls) {
    const LoopbackListener listener;
    std::string heard;
    std::thread peer([&] {
        const int client = listener.accept();
        std::array<char, 4096> buffer{};
        for (bool first = true;; first = false) {
            const ssize_t got = recv(client, buffer.data(), buffer.size(), 0);
            if (got <= 0) {
                break;
            }
            heard.append(buffer.data(), static_cast<std::size_t>(got));
            if (first) {
                send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
            }
        }
        close(client);
    });
    const auto client = connect("tcp://127.0.0.1:" + std::to_string(listener.port()),
                                {.encrypt = true, .tls = tls});
    EXPECT_FALSE(client);
    peer.join();
    return heard;
}

// Goal: a client that is to encrypt says a ClientHello and nothing else, whatever comes back in the clear.
TEST(RemoteAttack, encryption_that_is_stripped_hears_no_plain_byte) {
    const ScratchFolder files;
    bridge::FrameHead welcome;
    welcome.type = bridge::FrameType::welcome;
    const auto frame = bridge::encode(welcome);
    const std::string plain(reinterpret_cast<const char*>(frame.data()), frame.size());
    for (const std::string& answer : {plain,
                                      std::string("tlpherv1") + plain,
                                      std::string("HTTP/1.1 200 OK\r\n\r\n"),
                                      std::string("\x15\x03\x01\x00\x02\x02\x46", 7)}) {
        const std::string heard = heard_by_plain_peer(answer, {.config_dir = files.file("client")});
        ASSERT_GT(heard.size(), 5U);
        EXPECT_EQ(heard[0], '\x16');
        const std::size_t hello = 5 + (std::size_t{static_cast<unsigned char>(heard[3])} << 8U) +
                                  static_cast<unsigned char>(heard[4]);
        // Behind it an alert may stand, which says only that this is no TLS.
        EXPECT_TRUE(heard.size() == hello || (heard.size() == hello + 7 && heard[hello] == '\x15'))
            << heard.size() << " bytes, of which the hello has " << hello;
        EXPECT_EQ(heard.find("tlpherv1"), std::string::npos);
    }
}

}  // namespace
}  // namespace telpher::test
