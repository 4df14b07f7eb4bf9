// Keys and their files: who may read them, what else may lie in their place, and what keygen leaves alone.
#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/identity.hpp"
#include "tests/unit/bridge/tls_ends.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>

namespace telpher::test {
namespace {

using namespace bridge;  // NOLINT(google-build-using-namespace): every name here is one of it

mode_t mode_of(const std::string& path) {
    struct stat facts {};
    EXPECT_EQ(lstat(path.c_str(), &facts), 0) << path;
    return facts.st_mode & 07777U;
}

bool names(const Error& error, const std::string& text) {
    return error.detail.find(text) != std::string::npos;
}

TEST(TlsIdentity, is_made_with_a_key_that_nobody_else_may_read) {
    const ScratchFolder folder;
    const std::string dir = folder.file("a/b/c");
    const mode_t before = umask(0);
    const auto pin = make_identity(dir, "till-1");
    umask(before);
    ASSERT_TRUE(pin) << pin.error().detail;
    EXPECT_EQ(mode_of(dir), 0700U);
    EXPECT_EQ(mode_of(identity_key_path(dir)), 0600U);
    const auto identity = load_identity(identity_certificate_path(dir), identity_key_path(dir));
    ASSERT_TRUE(identity) << identity.error().detail;
    EXPECT_EQ(identity->pin, *pin);
    EXPECT_EQ(EVP_PKEY_get_base_id(identity->key.get()), EVP_PKEY_ED25519);
    // Nothing but the two files is left.
    const std::filesystem::directory_iterator files(dir);
    EXPECT_EQ(std::distance(begin(files), end(files)), 2);
}

TEST(TlsIdentity, is_never_overwritten) {
    const TlsParty party;
    const auto& dir = party.folder.path();
    const std::string key = content_of(identity_key_path(dir));
    const auto again = make_identity(dir, "other");
    EXPECT_EQ(again.status(), Status::already_exists);
    EXPECT_TRUE(names(again.error(), party.pin));
    EXPECT_EQ(content_of(identity_key_path(dir)), key);
}

TEST(TlsIdentity, whose_making_was_killed_halfway_is_finished) {
    const TlsParty party;
    const auto& dir = party.folder.path();
    std::filesystem::remove(identity_certificate_path(dir));
    EXPECT_EQ(make_identity(dir, "party").value().text(), party.pin);
}

TEST(TlsIdentity, is_one_however_many_make_it_at_once) {
    const ScratchFolder folder;
    std::array<std::thread, 4> makers;
    for (auto& maker : makers) {
        maker = std::thread([&] { static_cast<void>(make_identity(folder.path(), "party")); });
    }
    for (auto& maker : makers) {
        maker.join();
    }
    EXPECT_TRUE(
        load_identity(identity_certificate_path(folder.path()), identity_key_path(folder.path())));
}

TEST(TlsIdentity, has_a_name_of_plain_letters) {
    const ScratchFolder folder;
    for (const std::string& name :
         {std::string(), std::string("a b"), std::string("a\nb"), std::string(65, 'a')}) {
        EXPECT_EQ(make_identity(folder.path(), name).status(), Status::bad_request) << name;
    }
}

TEST(TlsIdentity, a_folder_that_others_may_write_to_gets_no_key) {
    const ScratchFolder folder;
    ASSERT_EQ(chmod(folder.path().c_str(), 0777), 0);
    const auto refused = make_identity(folder.path(), "party");
    EXPECT_EQ(refused.status(), Status::not_permitted);
    EXPECT_TRUE(names(refused.error(), "chmod go-w"));
}

TEST(TlsIdentity, a_key_that_others_may_read_or_write_is_refused_with_the_remedy) {
    const TlsParty party;
    const std::string key = identity_key_path(party.folder.path());
    for (const mode_t mode : {0640U, 0604U, 0620U, 0602U, 0644U, 0777U, 0610U}) {
        ASSERT_EQ(chmod(key.c_str(), mode), 0);
        const auto refused = load_identity(identity_certificate_path(party.folder.path()), key);
        EXPECT_EQ(refused.status(), Status::not_permitted);
        EXPECT_TRUE(names(refused.error(), "chmod 600 " + key));
        EXPECT_FALSE(TlsContext::client({.pin = party.pin, .config_dir = party.folder.path()}));
    }
    for (const mode_t mode : {0600U, 0400U}) {
        ASSERT_EQ(chmod(key.c_str(), mode), 0);
        EXPECT_TRUE(load_identity(identity_certificate_path(party.folder.path()), key));
    }
}

TEST(TlsIdentity, what_is_no_regular_file_is_refused_without_waiting) {
    const ScratchFolder folder;
    ASSERT_TRUE(make_psk(folder.file("psk")));
    ASSERT_EQ(symlink("psk", folder.file("link").c_str()), 0);
    ASSERT_EQ(mkfifo(folder.file("pipe").c_str(), 0600), 0);
    ASSERT_EQ(mkdir(folder.file("folder").c_str(), 0700), 0);
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, folder.file("socket").c_str(), sizeof address.sun_path - 1);
    ASSERT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    for (const char* const name : {"link", "pipe", "folder", "socket"}) {
        EXPECT_EQ(load_psk(folder.file(name)).status(), Status::not_permitted) << name;
    }
    close(listener);
    EXPECT_EQ(load_psk("/dev/zero").status(), Status::not_permitted);
    EXPECT_TRUE(is_missing(load_psk(folder.file("none")).error()));
    EXPECT_TRUE(load_psk(folder.file("psk")));
}

TEST(TlsIdentity, another_keys_certificate_is_refused) {
    const TlsParty one;
    const TlsParty two;
    const auto mixed = load_identity(identity_certificate_path(one.folder.path()),
                                     identity_key_path(two.folder.path()));
    EXPECT_EQ(mixed.status(), Status::bad_request);
    EXPECT_TRUE(names(mixed.error(), "another key"));
}

TEST(TlsIdentity, files_that_hold_something_else_are_refused) {
    const ScratchFolder folder;
    const TlsParty party;
    const std::string good = content_of(identity_key_path(party.folder.path()));
    const std::string certificate = content_of(identity_certificate_path(party.folder.path()));
    int count = 0;
    for (const std::string& text : {std::string(),
                                    std::string("nonsense"),
                                    good.substr(0, good.size() - 40),
                                    certificate,
                                    std::string(70'000, '\0'),
                                    certificate + "-----BEGIN CERTIFICATE-----\nAAAA\n"}) {
        const std::string path = folder.file(std::to_string(++count));
        ASSERT_TRUE(create_config_file(path, text, 0600));
        EXPECT_EQ(load_psk(path).status(), Status::bad_request) << count;
        EXPECT_EQ(load_identity(identity_certificate_path(party.folder.path()), path).status(),
                  Status::bad_request)
            << count;
        if (text != certificate) {
            EXPECT_EQ(load_certificates(path).status(), Status::bad_request) << count;
        }
    }
    const std::string path = folder.file("large");
    ASSERT_TRUE(create_config_file(path, std::string(kConfigFileBytesMax + 1, 'x'), 0600));
    EXPECT_EQ(load_psk(path).status(), Status::limit_reached);
}

TEST(TlsIdentity, a_pre_shared_key_is_32_random_bytes_for_this_user_alone) {
    const ScratchFolder folder;
    ASSERT_TRUE(make_psk(folder.file("one")) && make_psk(folder.file("two")));
    EXPECT_EQ(mode_of(folder.file("one")), 0600U);
    EXPECT_EQ(content_of(folder.file("one")).size(), 65U);
    EXPECT_NE(content_of(folder.file("one")), content_of(folder.file("two")));
    EXPECT_EQ(make_psk(folder.file("one")).status(), Status::already_exists);
    ASSERT_TRUE(create_config_file(folder.file("short"), std::string(63, 'a'), 0600));
    EXPECT_EQ(load_psk(folder.file("short")).status(), Status::bad_request);
}

TEST(TlsIdentity, the_folder_is_where_the_environment_says) {
    const char* const before = getenv("TELPHER_CONFIG_DIR");
    const std::string kept = before == nullptr ? "" : before;
    setenv("TELPHER_CONFIG_DIR", "/tmp/x/", 1);
    EXPECT_EQ(config_dir().value(), "/tmp/x");
    EXPECT_EQ(config_dir("/tmp/given").value(), "/tmp/given");
    unsetenv("TELPHER_CONFIG_DIR");
    setenv("XDG_CONFIG_HOME", "/tmp/xdg", 1);
    EXPECT_EQ(config_dir().value(), "/tmp/xdg/telpher");
    setenv("XDG_CONFIG_HOME", "relative", 1);
    const char* const home = getenv("HOME");
    if (home != nullptr && *home == '/') {
        EXPECT_EQ(config_dir().value(), std::filesystem::path(home) / ".config/telpher");
    }
    unsetenv("XDG_CONFIG_HOME");
    if (before != nullptr) {
        setenv("TELPHER_CONFIG_DIR", kept.c_str(), 1);
    }
}

}  // namespace
}  // namespace telpher::test
