// What `telpher doctor` says of a machine.

#include "tools/telpher/host_checks.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

namespace telpher::cli {
namespace {

constexpr std::uint64_t kNone = ~std::uint64_t{0};

HostFacts healthy() {
    HostFacts facts;
    facts.shm = {true, true, true, std::uint64_t{8} << 30U, std::uint64_t{7} << 30U};
    facts.processors = 4;
    facts.cmpxchg16b = facts.pidfd = facts.ofd_locks = facts.proc = facts.tls13 = true;
    facts.pid_namespace = "4026531836";
    facts.descriptors = 65536;
    facts.address_bytes = kNone;
    facts.clock_source = "tsc";
    facts.coarse_tick_ns = 4'000'000;
    facts.wall_s = 1'800'000'000;
    facts.openssl = "OpenSSL 3.0";
    return facts;
}

struct Trouble {
    const char* check;
    Health health;
    const char* found;  // a part of it
    std::function<void(HostFacts&)> make;
};

TEST(HostChecks, nothing_is_wrong_with_a_healthy_machine) {
    for (const HostCheck& check : judge(healthy())) {
        EXPECT_EQ(check.health, Health::ok) << check.name << ": " << check.found;
        EXPECT_FALSE(check.found.empty()) << check.name;
        EXPECT_TRUE(check.fix.empty()) << check.name;
    }
}

TEST(HostChecks, each_trouble_is_told_alone_with_what_to_do) {
    const std::vector<Trouble> troubles{
        {"shared memory", Health::failure, "no /dev/shm", [](auto& f) { f.shm = {}; }},
        {"shared memory", Health::failure, "no file", [](auto& f) { f.shm.writable = false; }},
        {"shared memory", Health::failure, "takes", [](auto& f) { f.shm.free_bytes = 1U << 20U; }},
        {"shared memory",
         Health::warning,
         "little room",
         [](auto& f) { f.shm.free_bytes = 64U << 20U; }},
        {"shared memory", Health::warning, "no tmpfs", [](auto& f) { f.shm.tmpfs = false; }},
        {"processor", Health::warning, "1 processor", [](auto& f) { f.processors = 1; }},
        {"processor", Health::failure, "CMPXCHG16B", [](auto& f) { f.cmpxchg16b = false; }},
        {"kernel", Health::warning, "pidfd_open", [](auto& f) { f.pidfd = false; }},
        {"kernel", Health::failure, "locks", [](auto& f) { f.ofd_locks = false; }},
        {"kernel", Health::failure, "/proc", [](auto& f) { f.proc = false; }},
        {"namespaces", Health::warning, "unknown", [](auto& f) { f.pid_namespace = ""; }},
        {"limits", Health::warning, "1,024", [](auto& f) { f.descriptors = 1024; }},
        {"limits", Health::warning, "1 GiB", [](auto& f) { f.address_bytes = 1U << 30U; }},
        {"limits", Health::failure, "64 MiB", [](auto& f) { f.address_bytes = 64U << 20U; }},
        {"domains",
         Health::warning,
         "left.0",
         [](auto& f) {
             f.stale = {"left.0", "left.1"};
         }},
        {"domains", Health::failure, "denied", [](auto& f) { f.domains_error = "denied"; }},
        {"clock", Health::warning, "hpet", [](auto& f) { f.clock_source = "hpet"; }},
        {"clock", Health::warning, "coarse", [](auto& f) { f.coarse_tick_ns = 20'000'000; }},
        {"clock", Health::failure, "2024", [](auto& f) { f.wall_s = 0; }},
        {"encryption", Health::failure, "TLS 1.3", [](auto& f) { f.tls13 = false; }},
        {"encryption", Health::failure, "mode", [](auto& f) { f.identity_error = "mode 0644"; }},
    };
    for (const Trouble& trouble : troubles) {
        HostFacts facts = healthy();
        trouble.make(facts);
        for (const HostCheck& check : judge(facts)) {
            const bool meant = check.name == trouble.check;
            EXPECT_EQ(check.health, meant ? trouble.health : Health::ok)
                << check.name << " of " << trouble.found;
            EXPECT_EQ(check.fix.empty(), !meant) << check.name << " of " << trouble.found;
            if (meant) {
                EXPECT_NE(check.found.find(trouble.found), std::string::npos) << check.found;
            }
        }
    }
}

TEST(HostChecks, a_container_is_told_what_it_must_share) {
    HostFacts facts = healthy();
    facts.pid_namespace = "4026532000";
    const std::vector<HostCheck> checks = judge(facts);
    const auto found = std::find_if(checks.begin(), checks.end(), [](const HostCheck& check) {
        return check.name == "namespaces";
    });
    ASSERT_NE(found, checks.end());
    EXPECT_EQ(found->health, Health::ok);
    EXPECT_NE(found->found.find("4026532000"), std::string::npos);
}

}  // namespace
}  // namespace telpher::cli
