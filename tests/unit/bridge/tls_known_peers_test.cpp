// known_hosts and authorized_peers: what is read from them, and that nothing is lost when many write.
#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tests/unit/bridge/tls_ends.hpp"
#include "tests/unit/support/quiet_fork.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <thread>

namespace telpher::test {
namespace {

using bridge::Pin;

std::string pin_text(unsigned number) {
    std::string digits = std::to_string(number);
    return "sha256:" + std::string(64 - digits.size(), '0') + digits;
}
Pin pin_of(unsigned number) { return Pin::parse(pin_text(number)).value(); }

TEST(TlsPin, is_read_strictly_and_written_in_small_letters) {
    const std::string good = "sha256:" + std::string(62, 'a') + "0F";
    ASSERT_TRUE(Pin::parse(good));
    EXPECT_EQ(Pin::parse(good)->text(), "sha256:" + std::string(62, 'a') + "0f");
    for (const std::string& bad : {std::string(),
                                   std::string("sha256:"),
                                   good.substr(0, good.size() - 1),
                                   good + "0",
                                   good + " ",
                                   "SHA256:" + good.substr(7),
                                   good.substr(7),
                                   "sha256:" + std::string(63, 'a') + "g"}) {
        EXPECT_FALSE(Pin::parse(bad)) << bad;
    }
    EXPECT_NE(pin_of(1), pin_of(2));
}

TEST(TlsKnownPeers, comments_blank_lines_and_a_missing_last_newline_are_fine) {
    const auto peers = bridge::parse_peers(
        "# hosts\n\n  \n cafe:1\t" + pin_text(1) + " \r\n#x\nTea:2 " + pin_text(2), "f");
    ASSERT_TRUE(peers) << peers.error().detail;
    ASSERT_EQ(peers->size(), 2U);
    EXPECT_EQ(peers->front().name, "cafe:1");
    EXPECT_EQ(peers->front().line, 4U);
    EXPECT_EQ(peers->back().pin, pin_of(2));
    EXPECT_EQ(peers->back().line, 6U);
}

TEST(TlsKnownPeers, a_line_that_is_not_understood_makes_the_file_an_error_that_names_it) {
    const std::string good = "cafe:1 " + pin_text(1) + "\n";
    for (const std::string& bad :
         {std::string("cafe:1"),
          std::string("cafe:1 "),
          std::string("cafe:1 sha256:12"),
          pin_text(1),
          "cafe:1 " + pin_text(1) + " roles=admin",
          "cafe:1 md5:1 " + pin_text(1),
          "caf\x01:1 " + pin_text(1),
          "caf\xC3\xA9:1 " + pin_text(1),
          std::string("\0cafe:1 ", 8) + pin_text(1),
          std::string(301, 'x') + " " + pin_text(1),
          std::string(100'000, ' ') + "cafe:1 " + pin_text(1) + std::string(100'000, 'x')}) {
        const auto peers = bridge::parse_peers(good + bad + "\n" + good, "/etc/f");
        EXPECT_EQ(peers.status(), Status::corrupt) << bad.substr(0, 80);
        EXPECT_NE(peers.error().detail.find("/etc/f:2:"), std::string::npos);
        EXPECT_LT(peers.error().detail.size(), 200U);
    }
    // Random bytes: an error, or lines that are good.
    for (std::uint64_t seed = 0; seed < 500; ++seed) {
        static_cast<void>(bridge::parse_peers(text_of(pattern(seed, seed)), "f"));
    }
}

TEST(TlsKnownPeers, a_host_is_remembered_once_and_another_key_is_an_error) {
    const ScratchFolder folder;
    const std::string path = bridge::known_hosts_path(folder.path());
    EXPECT_FALSE(bridge::is_known_host(path, "cafe:1", pin_of(1)).value());
    EXPECT_FALSE(bridge::remember_host(path, "Cafe:1", pin_of(1)).value());
    EXPECT_TRUE(bridge::remember_host(path, "cafe:1", pin_of(1)).value());
    EXPECT_TRUE(bridge::is_known_host(path, "CAFE:1", pin_of(1)).value());
    EXPECT_FALSE(bridge::remember_host(path, "cafe:2", pin_of(2)).value());
    EXPECT_EQ(content_of(path), "cafe:1 " + pin_text(1) + "\ncafe:2 " + pin_text(2) + "\n");
    const auto refused = bridge::remember_host(path, "cafe:2", pin_of(3));
    EXPECT_EQ(refused.status(), Status::not_permitted);
    for (const auto& part : {path + ":2", pin_text(2), pin_text(3)}) {
        EXPECT_NE(refused.error().detail.find(part), std::string::npos) << part;
    }
    EXPECT_EQ(bridge::remember_host(path, "ca fe:1", pin_of(1)).status(), Status::bad_request);
    // While a key is replaced, both may stand there.
    ASSERT_TRUE(
        bridge::replace_config_file(path, content_of(path) + "cafe:2 " + pin_text(3), 0600));
    EXPECT_TRUE(bridge::is_known_host(path, "cafe:2", pin_of(3)).value());
    EXPECT_TRUE(bridge::is_known_host(path, "cafe:2", pin_of(2)).value());
}

TEST(TlsKnownPeers, peers_are_added_and_removed_and_what_people_wrote_stays) {
    const ScratchFolder folder;
    const std::string path = bridge::authorized_peers_path(folder.path());
    ASSERT_TRUE(bridge::create_config_file(path, "# tills\nbar " + pin_text(9), 0644));
    EXPECT_TRUE(bridge::add_peer(path, "alice", pin_of(1)).value());
    EXPECT_FALSE(bridge::add_peer(path, "alice", pin_of(1)).value());
    EXPECT_EQ(bridge::add_peer(path, "alice", pin_of(2)).status(), Status::already_exists);
    EXPECT_EQ(bridge::add_peer(path, "bob", pin_of(1)).status(), Status::already_exists);
    EXPECT_EQ(bridge::add_peer(path, "#bob", pin_of(3)).status(), Status::bad_request);
    EXPECT_EQ(bridge::remove_peer(path, "bar").value(), 1U);
    EXPECT_EQ(bridge::remove_peer(path, "bar").value(), 0U);
    EXPECT_EQ(content_of(path), "# tills\nalice " + pin_text(1) + "\n");
}

TEST(TlsKnownPeers, a_file_that_others_may_write_or_that_is_a_link_is_refused) {
    const ScratchFolder folder;
    const std::string path = bridge::known_hosts_path(folder.path());
    ASSERT_FALSE(bridge::remember_host(path, "cafe:1", pin_of(1)).value());
    ASSERT_EQ(chmod(path.c_str(), 0662), 0);
    EXPECT_EQ(bridge::is_known_host(path, "cafe:1", pin_of(1)).status(), Status::not_permitted);
    EXPECT_EQ(bridge::remember_host(path, "tea:1", pin_of(1)).status(), Status::not_permitted);
    ASSERT_EQ(chmod(path.c_str(), 0644), 0);
    EXPECT_TRUE(bridge::is_known_host(path, "cafe:1", pin_of(1)).value());
    ASSERT_EQ(symlink("known_hosts", folder.file("link").c_str()), 0);
    EXPECT_EQ(bridge::is_known_host(folder.file("link"), "cafe:1", pin_of(1)).status(),
              Status::not_permitted);
}

TEST(TlsKnownPeers, processes_and_threads_that_write_at_once_lose_nothing) {
    constexpr unsigned kProcesses = 3;
    constexpr unsigned kHosts = 20;
    const ScratchFolder folder;
    const std::string path = bridge::known_hosts_path(folder.path());
    std::array<pid_t, kProcesses> children{};
    for (unsigned child = 0; child < kProcesses; ++child) {
        children[child] = test::quiet_fork();
        if (children[child] == 0) {
            bool good = true;
            for (unsigned i = 0; i < kHosts; ++i) {
                const auto host = "p" + std::to_string(child) + ":" + std::to_string(i);
                good = bridge::remember_host(path, host, pin_of(i)).has_value() && good;
            }
            _exit(good ? 0 : 1);
        }
    }
    std::array<std::thread, 2> threads;
    for (unsigned t = 0; t < threads.size(); ++t) {
        threads[t] = std::thread([&path, t] {
            for (unsigned i = 0; i < kHosts; ++i) {
                const auto host = "t" + std::to_string(t) + ":" + std::to_string(i);
                EXPECT_TRUE(bridge::remember_host(path, host, pin_of(i)));
            }
        });
    }
    for (auto& thread : threads) {
        thread.join();
    }
    for (const pid_t child : children) {
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
    }
    const auto peers = bridge::load_peers(path);
    ASSERT_TRUE(peers);
    EXPECT_EQ(peers->size(), (kProcesses + threads.size()) * kHosts);
    // Nothing but the file and its lock is left.
    const std::filesystem::directory_iterator files(folder.path());
    EXPECT_EQ(std::distance(begin(files), end(files)), 2);
}

}  // namespace
}  // namespace telpher::test
