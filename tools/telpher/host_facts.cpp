// Looks at the machine; what it means is in host_checks.cpp.

#include "telpher/server.hpp"

#include "shm/base/os.hpp"
#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/identity.hpp"
#include "tools/telpher/host_checks.hpp"

#include <openssl/crypto.h>
#include <openssl/ssl.h>

#include <cpuid.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <fstream>

namespace telpher::cli {
namespace {

// Makes a file there, without a name that others could see for long, and tries a lock on it.
void try_shared_memory(HostFacts& facts) {
    struct statfs space {};
    facts.shm.there = statfs("/dev/shm", &space) == 0;
    if (!facts.shm.there) {
        return;
    }
    const auto block = static_cast<std::uint64_t>(space.f_bsize);
    facts.shm.tmpfs = space.f_type == TMPFS_MAGIC;
    facts.shm.bytes = space.f_blocks * block;
    facts.shm.free_bytes = space.f_bavail * block;
    std::string name = "/dev/shm/telpher-doctor-XXXXXX";
    const int file = mkostemp(name.data(), O_CLOEXEC);
    if (file < 0) {
        return;
    }
    unlink(name.c_str());
    facts.shm.writable = true;
    facts.ofd_locks = shm::try_lock_byte(file, 0) == shm::LockResult::locked;
    close(file);
}

void ask_kernel(HostFacts& facts) {
    cpu_set_t usable;
    CPU_ZERO(&usable);
    if (sched_getaffinity(0, sizeof usable, &usable) == 0) {
        facts.processors = static_cast<unsigned>(CPU_COUNT(&usable));
    }
    unsigned a = 0;
    unsigned b = 0;
    unsigned c = 0;
    unsigned d = 0;
    facts.cmpxchg16b = __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_CMPXCHG16B) != 0;
    const auto pidfd = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    facts.pidfd = pidfd >= 0;
    if (facts.pidfd) {
        close(pidfd);
    }
    facts.proc = shm::process_start_time(static_cast<std::uint32_t>(getpid())) != 0;
    const std::uint64_t inode = shm::pid_namespace();
    facts.pid_namespace = inode != 0 ? std::to_string(inode) : "";
}

std::uint64_t soft_limit(int resource) {
    struct rlimit limit {};
    if (getrlimit(static_cast<__rlimit_resource_t>(resource), &limit) != 0) {
        return 0;
    }
    return limit.rlim_cur == RLIM_INFINITY ? ~std::uint64_t{0} : limit.rlim_cur;
}

void ask_clock(HostFacts& facts) {
    std::ifstream source("/sys/devices/system/clocksource/clocksource0/current_clocksource");
    std::getline(source, facts.clock_source);
    struct timespec tick {};
    if (clock_getres(CLOCK_MONOTONIC_COARSE, &tick) == 0) {
        facts.coarse_tick_ns = static_cast<std::uint64_t>(tick.tv_sec) * 1'000'000'000U +
                               static_cast<std::uint64_t>(tick.tv_nsec);
    }
    facts.wall_s = time(nullptr);
}

void ask_domains(HostFacts& facts) {
    const auto names = list_domains();
    const auto garbage = collect_garbage(true);
    if (!names || !garbage) {
        facts.domains_error = to_string(!names ? names.error() : garbage.error());
        return;
    }
    facts.domains = *names;
    for (const Garbage& file : *garbage) {
        facts.stale.push_back(file.file);
    }
}

void ask_crypto(HostFacts& facts) {
    facts.openssl = OpenSSL_version(OPENSSL_VERSION);
    SSL_CTX* const context = SSL_CTX_new(TLS_client_method());
    facts.tls13 = context != nullptr && SSL_CTX_set_min_proto_version(context, TLS1_3_VERSION) == 1;
    SSL_CTX_free(context);
    const auto dir = bridge::config_dir();
    if (!dir) {
        return;  // no home: it has no key either
    }
    const auto identity = bridge::load_identity(bridge::identity_certificate_path(*dir),
                                                bridge::identity_key_path(*dir));
    if (identity) {
        facts.identity = identity->pin.text();
    } else if (!bridge::is_missing(identity.error())) {
        facts.identity_error = identity.error().detail;
    }
}

}  // namespace

HostFacts look_at_host() {
    HostFacts facts;
    try_shared_memory(facts);
    ask_kernel(facts);
    facts.descriptors = soft_limit(RLIMIT_NOFILE);
    facts.address_bytes = soft_limit(RLIMIT_AS);
    ask_clock(facts);
    ask_domains(facts);
    ask_crypto(facts);
    return facts;
}

}  // namespace telpher::cli
