// Whom a channel trusts: each mode, and everybody that it must refuse, on the side that has to.
#include "tcp_bridge/config_files.hpp"
#include "tests/unit/bridge/tls_authority.hpp"
#include "tests/unit/bridge/tls_ends.hpp"

namespace telpher::test {
namespace {

using bridge::PeerTrust;
using bridge::TlsContext;

Context client_of(const Tls& tls) { return TlsContext::client(tls).value(); }
Context server_of(const bridge::TlsServer& server) { return TlsContext::server(server).value(); }

bool says(const std::optional<Error>& error, std::string_view text) {
    return error && error->detail.find(text) != std::string::npos;
}

void expect_talk(Ends& ends) {
    ASSERT_TRUE(ends.established()) << (ends.client_error ? ends.client_error->detail : "") << " / "
                                    << (ends.server_error ? ends.server_error->detail : "");
    EXPECT_TRUE(ends.client->write(bytes_of("1 espresso")));
    EXPECT_TRUE(ends.server->write(bytes_of("coming")));
    ends.pump();
    EXPECT_EQ(text_of(drain(*ends.server)), "1 espresso");
    EXPECT_EQ(text_of(drain(*ends.client)), "coming");
    EXPECT_EQ(ends.client->channel_binding().value(), ends.server->channel_binding().value());
    EXPECT_EQ(ends.client->protocol(), "TLSv1.3");
    EXPECT_EQ(ends.client->suite(), "TLS_AES_256_GCM_SHA384");
    EXPECT_EQ(ends.client->group(), "X25519");
}

TEST(TlsHandshake, a_host_is_trusted_on_first_use_and_recorded) {
    const TlsParty server;
    const ScratchFolder home;
    const std::string hosts = bridge::known_hosts_path(home.path());
    for (const bool first : {true, false}) {
        Ends ends(client_of({.config_dir = home.path()}),
                  server_of({.config_dir = server.folder.path()}));
        EXPECT_EQ(bridge::load_peers(hosts).value().size(), first ? 0U : 1U);
        ends.pump();
        expect_talk(ends);
        EXPECT_EQ(ends.client->peer().first_use, first);
        EXPECT_EQ(ends.client->peer().pin, server.pin);
    }
    const auto peers = bridge::load_peers(hosts).value();
    ASSERT_EQ(peers.size(), 1U);
    EXPECT_EQ(peers.front().name, kHost);
    EXPECT_EQ(peers.front().pin.text(), server.pin);
}

TEST(TlsHandshake, a_known_host_with_another_key_is_refused_naming_both) {
    const TlsParty server;
    const TlsParty impostor;
    const ScratchFolder home;
    Ends first(client_of({.config_dir = home.path()}),
               server_of({.config_dir = server.folder.path()}));
    first.pump();
    ASSERT_TRUE(first.established());
    Ends second(client_of({.config_dir = home.path()}),
                server_of({.config_dir = impostor.folder.path()}));
    EXPECT_TRUE(second.client->write(bytes_of("secret order")));
    second.pump();
    EXPECT_FALSE(second.client->established());
    ASSERT_TRUE(second.client_error);
    EXPECT_EQ(second.client_error->status, Status::not_permitted);
    EXPECT_TRUE(says(second.client_error, server.pin) && says(second.client_error, impostor.pin));
    EXPECT_TRUE(says(second.client_error, bridge::known_hosts_path(home.path()) + ":1"));
    // The server hears that it is not trusted, and gets nothing to read.
    ASSERT_TRUE(second.server_error);
    EXPECT_EQ(second.server_error->status, Status::not_permitted);
    EXPECT_TRUE(drain(*second.server).empty());
    EXPECT_EQ(bridge::load_peers(bridge::known_hosts_path(home.path())).value().size(), 1U);
}

TEST(TlsHandshake, a_pin_admits_its_key_and_no_other) {
    const TlsParty server;
    const TlsParty other;
    const ScratchFolder home;
    Ends good(client_of({.pin = server.pin, .config_dir = home.path()}),
              server_of({.config_dir = server.folder.path()}));
    good.pump();
    expect_talk(good);
    EXPECT_FALSE(std::filesystem::exists(bridge::known_hosts_path(home.path())));

    Ends bad(client_of({.pin = other.pin, .config_dir = home.path()}),
             server_of({.config_dir = server.folder.path()}));
    bad.pump();
    EXPECT_FALSE(bad.client->established());
    ASSERT_TRUE(bad.client_error && bad.server_error);
    EXPECT_EQ(bad.client_error->status, Status::not_permitted);
    EXPECT_TRUE(says(bad.client_error, server.pin) && says(bad.client_error, other.pin));
    EXPECT_EQ(bad.server_error->status, Status::not_permitted);
}

TEST(TlsHandshake, a_server_admits_authorized_peers_only) {
    const TlsParty server;
    const TlsParty alice;
    const TlsParty mallory;
    const std::string list = bridge::authorized_peers_path(server.folder.path());
    ASSERT_TRUE(bridge::add_peer(list, "alice", bridge::Pin::parse(alice.pin).value()).value());
    const auto context =
        server_of({.peers = PeerTrust::authorized, .config_dir = server.folder.path()});
    const auto with = [&](const TlsParty& party) {
        return client_of({.pin = server.pin, .config_dir = party.folder.path()});
    };
    Ends good(with(alice), context);
    good.pump();
    expect_talk(good);
    EXPECT_EQ(good.server->peer().name, "alice");
    EXPECT_EQ(good.server->peer().pin, alice.pin);

    Ends unknown(with(mallory), context);
    EXPECT_TRUE(unknown.client->write(bytes_of("order")));
    unknown.pump();
    EXPECT_FALSE(unknown.server->established());
    ASSERT_TRUE(unknown.client_error && unknown.server_error);
    EXPECT_TRUE(says(unknown.server_error, mallory.pin) && says(unknown.server_error, list));
    EXPECT_EQ(unknown.server_error->status, Status::not_permitted);
    EXPECT_EQ(unknown.client_error->status, Status::not_permitted);
    EXPECT_TRUE(drain(*unknown.server).empty());

    const ScratchFolder nobody;
    Ends without(client_of({.pin = server.pin, .config_dir = nobody.path()}), context);
    without.pump();
    EXPECT_FALSE(without.server->established());
    EXPECT_TRUE(says(without.server_error, "no certificate"));
    EXPECT_EQ(without.client_error->status, Status::not_permitted);

    // Holds from the next connection on, with the same context.
    ASSERT_EQ(bridge::remove_peer(list, "alice").value(), 1U);
    Ends gone(with(alice), context);
    gone.pump();
    EXPECT_FALSE(gone.server->established());
}

TEST(TlsHandshake, a_list_that_cannot_be_understood_admits_nobody) {
    const TlsParty server;
    const TlsParty alice;
    const std::string list = bridge::authorized_peers_path(server.folder.path());
    ASSERT_TRUE(bridge::create_config_file(list, "alice " + alice.pin + " roles=none\n", 0600));
    Ends ends(client_of({.pin = server.pin, .config_dir = alice.folder.path()}),
              server_of({.peers = PeerTrust::authorized, .config_dir = server.folder.path()}));
    ends.pump();
    EXPECT_FALSE(ends.server->established());
    EXPECT_TRUE(says(ends.server_error, list + ":1"));
}

TEST(TlsHandshake, a_server_without_a_policy_still_learns_the_key_of_who_has_one) {
    const TlsParty server;
    const TlsParty alice;
    Ends ends(client_of({.pin = server.pin, .config_dir = alice.folder.path()}),
              server_of({.config_dir = server.folder.path()}));
    ends.pump();
    expect_talk(ends);
    EXPECT_EQ(ends.server->peer().pin, alice.pin);
}

TEST(TlsHandshake, an_authority_vouches_for_both_ends) {
    const Authority authority;
    const ScratchFolder files;
    const auto bridge_files = authority.issue(files, "bridge", "DNS:cafe.example");
    const auto client_files = authority.issue(files, "till-1", "DNS:till-1.example");
    const auto server = server_of({.peers = PeerTrust::authority,
                                   .ca = authority.path(),
                                   .certificate = bridge_files.certificate,
                                   .key = bridge_files.key});
    Ends ends(client_of({.ca = authority.path(),
                         .certificate = client_files.certificate,
                         .key = client_files.key}),
              server);
    ends.pump();
    expect_talk(ends);
    EXPECT_EQ(ends.server->peer().subject, "CN=till-1");
    EXPECT_EQ(ends.client->peer().subject, "CN=bridge");
}

TEST(TlsHandshake, an_authority_vouches_for_nobody_elses_certificates) {
    const Authority authority;
    const Authority stranger;
    const ScratchFolder files;
    const auto good = authority.issue(files, "bridge", "DNS:cafe.example");
    const auto elsewhere = authority.issue(files, "other", "DNS:tea.example");
    const auto foreign = stranger.issue(files, "foreign", "DNS:cafe.example");
    const auto server_with = [&](const auto& own) {
        return server_of({.peers = PeerTrust::authority,
                          .ca = authority.path(),
                          .certificate = own.certificate,
                          .key = own.key});
    };
    const auto client_with = [&](const auto& own) {
        return client_of({.ca = authority.path(), .certificate = own.certificate, .key = own.key});
    };
    Ends wrong_server(client_with(good), server_with(foreign));
    wrong_server.pump();
    EXPECT_TRUE(says(wrong_server.client_error, "no authority of ours"));
    EXPECT_FALSE(wrong_server.client->established());
    // Its authority is ours, its name is not.
    Ends wrong_name(client_with(good), server_with(elsewhere));
    wrong_name.pump();
    EXPECT_TRUE(says(wrong_name.client_error, "hostname mismatch"));
    Ends wrong_client(client_with(foreign), server_with(good));
    wrong_client.pump();
    EXPECT_TRUE(says(wrong_client.server_error, "no authority of ours"));
    EXPECT_EQ(wrong_client.client_error->status, Status::not_permitted);
    EXPECT_FALSE(wrong_client.server->established());
}

TEST(TlsHandshake, a_pre_shared_key_is_enough_for_both_ends) {
    const ScratchFolder files;
    ASSERT_TRUE(bridge::make_psk(files.file("key")));
    Ends ends(
        client_of({.psk = files.file("key"), .psk_identity = "till-1"}),
        server_of({.peers = PeerTrust::psk, .psk = files.file("key"), .psk_identity = "till-1"}));
    ends.pump();
    expect_talk(ends);
    EXPECT_EQ(ends.client->peer().psk_identity, "till-1");
    EXPECT_EQ(ends.server->peer().psk_identity, "till-1");
    EXPECT_EQ(ends.server->peer().pin, "");
}

TEST(TlsHandshake, another_pre_shared_key_or_name_or_none_is_refused) {
    const ScratchFolder files;
    const TlsParty party;
    ASSERT_TRUE(bridge::make_psk(files.file("key")) && bridge::make_psk(files.file("other")));
    const auto server = server_of({.peers = PeerTrust::psk, .psk = files.file("key")});
    Ends wrong_key(client_of({.psk = files.file("other")}), server);
    wrong_key.pump();
    EXPECT_TRUE(says(wrong_key.server_error, "another pre-shared key"));
    EXPECT_EQ(wrong_key.client_error->status, Status::not_permitted);
    Ends wrong_name(client_of({.psk = files.file("key"), .psk_identity = "till-1"}), server);
    wrong_name.pump();
    EXPECT_TRUE(wrong_name.server_error && wrong_name.client_error);
    EXPECT_EQ(wrong_name.client_error->status, Status::not_permitted);
    Ends without(client_of({.pin = party.pin, .config_dir = party.folder.path()}), server);
    without.pump();
    EXPECT_TRUE(without.server_error && without.client_error);
    // A server that ignores the key and shows a certificate instead is not taken for the other end.
    Ends ignored(client_of({.psk = files.file("key")}),
                 server_of({.config_dir = party.folder.path()}));
    ignored.pump();
    EXPECT_TRUE(says(ignored.client_error, "does not know the pre-shared key"));
    for (const auto* const ends : {&wrong_key, &wrong_name, &without, &ignored}) {
        EXPECT_FALSE(ends->client->established() || ends->server->established());
    }
}

TEST(TlsHandshake, an_inspector_finishes_with_anyone_and_records_nothing) {
    const TlsParty server;
    const ScratchFolder home;
    Ends ends(TlsContext::inspector({.config_dir = home.path()}).value(),
              server_of({.config_dir = server.folder.path()}));
    ends.pump();
    ASSERT_TRUE(ends.established());
    EXPECT_EQ(ends.client->peer().pin, server.pin);
    EXPECT_TRUE(std::filesystem::is_empty(home.path()));
}

TEST(TlsHandshake, options_that_contradict_each_other_are_refused) {
    const TlsParty party;
    const auto pin = party.pin;
    EXPECT_EQ(TlsContext::client({.pin = pin, .ca = "x"}).status(), Status::bad_request);
    EXPECT_EQ(TlsContext::client({.pin = pin, .psk = "x"}).status(), Status::bad_request);
    EXPECT_EQ(TlsContext::client({.pin = "sha256:12"}).status(), Status::bad_request);
    EXPECT_EQ(TlsContext::client({.pin = pin, .certificate = "x"}).status(), Status::bad_request);
    EXPECT_EQ(TlsContext::server({.peers = PeerTrust::authority}).status(), Status::bad_request);
    EXPECT_EQ(TlsContext::server({.peers = PeerTrust::pinned}).status(), Status::bad_request);
    const ScratchFolder empty;
    const auto without = TlsContext::server({.config_dir = empty.path()});
    EXPECT_EQ(without.status(), Status::bad_request);
    EXPECT_NE(without.error().detail.find("telpher keygen"), std::string::npos);
    const auto context = client_of({.pin = pin, .config_dir = empty.path()});
    for (const char* const peer : {"", "cafe", "cafe:", ":1", "a b:1", "cafe:1\n"}) {
        EXPECT_EQ(bridge::TlsChannel::make(context, peer).status(), Status::bad_request) << peer;
    }
}

TEST(TlsHandshake, no_text_of_an_error_holds_a_secret) {
    const ScratchFolder files;
    const TlsParty party;
    ASSERT_TRUE(bridge::make_psk(files.file("key")) && bridge::make_psk(files.file("other")));
    const auto psk = bridge::read_config_file(files.file("key"), bridge::FileKind::secret).value();
    const std::string key_path = bridge::identity_key_path(party.folder.path());
    const auto key = bridge::read_config_file(key_path, bridge::FileKind::secret).value();
    std::vector<std::string> texts;
    const auto note = [&texts](const auto& result) { texts.push_back(result.error().detail); };
    Ends wrong(client_of({.psk = files.file("key")}),
               server_of({.peers = PeerTrust::psk, .psk = files.file("other")}));
    wrong.pump();
    texts.push_back(wrong.client_error->detail);
    texts.push_back(wrong.server_error->detail);
    // Each file in the place of another kind, and cut short.
    note(TlsContext::client({.psk = key_path}));
    note(TlsContext::client({.pin = party.pin, .certificate = files.file("key"), .key = key_path}));
    note(TlsContext::client({.pin = party.pin, .certificate = key_path, .key = files.file("key")}));
    const std::string half(key.view().substr(0, key.view().size() / 2));
    ASSERT_TRUE(bridge::create_config_file(files.file("half"), half, 0600));
    note(TlsContext::client({.pin = party.pin, .certificate = "x", .key = files.file("half")}));
    const std::string line(key.view().substr(key.view().find('\n') + 1, 32));
    for (const auto& text : texts) {
        EXPECT_FALSE(text.empty());
        EXPECT_EQ(text.find(psk.view().substr(0, 16)), std::string::npos) << text;
        EXPECT_EQ(text.find(line), std::string::npos) << text;
    }
}

}  // namespace
}  // namespace telpher::test
