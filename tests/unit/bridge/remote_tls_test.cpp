// A remote client over TLS 1.3: each way to trust a bridge, and what is refused.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tcp_bridge/identity.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tests/unit/support/clock.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>
#include <string>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class RemoteTls : public testing::Test {
  protected:
    RemoteTls()
        : folder_(std::filesystem::temp_directory_path() /
                  ("telpher-tls-" + std::to_string(::getpid()) + "-" +
                   testing::UnitTest::GetInstance()->current_test_info()->name())),
          pin_(bridge::make_identity(dir("bridge"), "bridge").value().text()) {
        server_.create_queue("orders").value();
    }
    ~RemoteTls() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::string dir(const std::string& who) const { return (folder_ / who).string(); }

    void serve(Encryption encryption, Peers peers = Peers::anyone) {
        bridge_ = Bridge::start(connect(domain_.uri()).value(),
                                {.listen = "127.0.0.1:0",
                                 .encryption = encryption,
                                 .tls = {.peers = peers, .config_dir = dir("bridge")}})
                      .value();
        uri_ = "tcp://127.0.0.1:" + std::to_string(bridge_.port());
    }
    Result<Client> client(const Tls& tls) { return connect(uri_, {.encrypt = true, .tls = tls}); }
    // One message there and back.
    static void expect_works(Client& client) {
        Queue orders = client.queue("orders").value();
        ASSERT_TRUE(orders.offer(Message::text("t", std::string(300'000, 'x')), 10s));
        EXPECT_EQ(orders.poll(10s)->text().size(), 300'000U);
    }

    std::filesystem::path folder_;
    const std::string pin_;
    ScratchDomain domain_;
    Server server_ = domain_.open(
        {.limits = DomainLimits{
             .message_bytes = 1U << 20U, .pool_bytes = 8U << 20U, .segment_bytes = 64U << 20U}});
    Bridge bridge_;
    std::string uri_;
};

TEST_F(RemoteTls, first_use_is_recorded_and_another_key_later_is_refused) {
    serve(Encryption::required);
    const Tls own{.config_dir = dir("client")};
    Client first = client(own).value();
    expect_works(first);
    Client second = client(own).value();
    expect_works(second);
    const std::uint16_t port = bridge_.port();
    bridge_.stop();
    first.close();
    // Somebody else, at the same address.
    bridge::make_identity(dir("other"), "other").value();
    bridge_ = Bridge::start(connect(domain_.uri()).value(),
                            {.listen = "127.0.0.1:" + std::to_string(port),
                             .encryption = Encryption::required,
                             .tls = {.config_dir = dir("other")}})
                  .value();
    const auto refused = client(own);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().detail.find("known_hosts"), std::string::npos)
        << to_string(refused.error());
}

TEST_F(RemoteTls, a_pinned_key_is_served_and_another_pin_is_refused) {
    serve(Encryption::allowed);
    Client pinned = client({.pin = pin_, .config_dir = dir("client")}).value();
    expect_works(pinned);
    std::string wrong = pin_;
    wrong.back() = wrong.back() == '0' ? '1' : '0';
    EXPECT_FALSE(client({.pin = wrong, .config_dir = dir("client")}));
    // `allowed`: who does not ask for it is served in the clear.
    Client plain = connect(uri_).value();
    expect_works(plain);
}

TEST_F(RemoteTls, plain_clients_are_refused_where_encryption_is_required) {
    serve(Encryption::required);
    const auto plain = connect(uri_);
    EXPECT_EQ(plain.status(), Status::not_permitted) << to_string(plain.error());
}

TEST_F(RemoteTls, a_client_that_is_to_encrypt_never_speaks_in_the_clear) {
    serve(Encryption::off);
    EXPECT_FALSE(client({.config_dir = dir("client")}));
    EXPECT_EQ(bridge_.status().sessions, 0U);
}

TEST_F(RemoteTls, only_authorized_keys_are_served_where_they_are_asked_for) {
    const std::string mine = bridge::make_identity(dir("client"), "till").value().text();
    serve(Encryption::required, Peers::authorized);
    EXPECT_FALSE(client({.pin = pin_, .config_dir = dir("client")}));
    ASSERT_TRUE(bridge::add_peer(
        bridge::authorized_peers_path(dir("bridge")), "till", bridge::Pin::parse(mine).value()));
    Client admitted = client({.pin = pin_, .config_dir = dir("client")}).value();
    expect_works(admitted);
}

TEST_F(RemoteTls, asking_who_a_client_is_needs_encryption) {
    EXPECT_EQ(Bridge::start(connect(domain_.uri()).value(),
                            {.listen = "127.0.0.1:0",
                             .encryption = Encryption::allowed,
                             .tls = {.peers = Peers::authorized, .config_dir = dir("bridge")}})
                  .status(),
              Status::bad_request);
}

}  // namespace
}  // namespace telpher::test
