// What is judged of a machine; how it is looked at is in host_facts.cpp.

#include "tools/telpher/host_checks.hpp"

#include "tools/telpher/units.hpp"

#include <utility>

namespace telpher::cli {
namespace {

constexpr std::uint64_t kNoLimit = ~std::uint64_t{0};
constexpr std::uint64_t kDescriptorsOfBridge = 4096;
constexpr std::uint64_t kAddressBytes = std::uint64_t{5}
                                        << 30U;  // with all that a domain may grow to
constexpr std::uint64_t kAddressBytesLeast = 2 * kDomainBytes;  // with the program and its threads
constexpr std::uint64_t kTickMostNs = 10'000'000;
constexpr std::int64_t kYear2024 = 1'704'067'200;
constexpr const char* kInitialPidNamespace = "4026531836";

HostCheck ok(std::string name, std::string found) {
    return {std::move(name), Health::ok, std::move(found)};
}

HostCheck check_shared_memory(const HostFacts::Shm& shm) {
    HostCheck check{"shared memory", Health::failure, "", ""};
    if (!shm.there || !shm.writable) {
        check.found = shm.there ? "no file can be made in /dev/shm" : "there is no /dev/shm";
        check.fix = shm.there ? "make it writable for this user: chmod 1777 /dev/shm, as root"
                              : "mount it: mount -t tmpfs -o mode=1777 tmpfs /dev/shm, as root";
        return check;
    }
    check.found = format_size(shm.free_bytes) + " of " + format_size(shm.bytes) + " are free";
    check.fix =
        "give it more: mount -o remount,size=1G /dev/shm as root, or --shm-size=1g for a "
        "container; or make domains with smaller limits (ServerOptions::limits)";
    if (shm.free_bytes < kDomainBytes) {
        check.found += ", a domain with default limits takes " + format_size(kDomainBytes);
        return check;
    }
    check.health = Health::warning;
    if (!shm.tmpfs) {
        check.found += ", but it is no tmpfs: memory may be written to a disk";
        check.fix = "mount a tmpfs there";
    } else if (shm.free_bytes < kRoomyBytes) {
        check.found += ": domains have little room to grow";
    } else {
        return ok(check.name, check.found);
    }
    return check;
}

HostCheck check_processors(const HostFacts& facts) {
    if (!facts.cmpxchg16b) {
        return {"processor",
                Health::failure,
                "no CMPXCHG16B",
                "use an x86-64 processor made since 2008, or let the virtual machine have it"};
    }
    const std::string found =
        std::to_string(facts.processors) + (facts.processors == 1 ? " processor" : " processors");
    return facts.processors > 1
               ? ok("processor", found)
               : HostCheck{"processor",
                           Health::warning,
                           found + ": who waits for a message takes time from who sends it",
                           "use WaitStrategy::eco, or give this process more (taskset, cpuset)"};
}

// How the death of a process is noticed.
HostCheck check_kernel(const HostFacts& facts) {
    if (!facts.ofd_locks || !facts.proc) {
        return {"kernel",
                Health::failure,
                facts.proc ? "no locks of open file descriptions in /dev/shm"
                           : "/proc does not show this process",
                facts.proc ? "use Linux 3.15 or later, and a tmpfs" : "mount /proc"};
    }
    return facts.pidfd ? ok("kernel", "locks, pidfd and /proc work")
                       : HostCheck{"kernel",
                                   Health::warning,
                                   "pidfd_open does not work: deaths are noticed within seconds, "
                                   "not at once",
                                   "use Linux 5.3 or later, and let the sandbox's system call "
                                   "filter pass pidfd_open"};
}

HostCheck check_namespace(const HostFacts& facts) {
    const std::string& inode = facts.pid_namespace;
    if (inode.empty()) {
        return {"namespaces", Health::warning, "the PID namespace is unknown", "mount /proc"};
    }
    return ok("namespaces",
              inode == kInitialPidNamespace
                  ? "the host's"
                  : "a container's (pid:[" + inode +
                        "]); processes that share a domain need the same /dev/shm, and notice "
                        "deaths at once only inside the same PID namespace");
}

HostCheck check_limits(const HostFacts& facts) {
    const std::string descriptors = facts.descriptors == kNoLimit
                                        ? "descriptors without limit"
                                        : format_count(facts.descriptors) + " descriptors";
    const std::string address = facts.address_bytes == kNoLimit
                                    ? "address space without limit"
                                    : format_size(facts.address_bytes) + " of address space";
    HostCheck check = ok("limits", descriptors + ", " + address);
    if (facts.address_bytes < kAddressBytes) {
        const bool enough = facts.address_bytes >= kAddressBytesLeast;
        check.health = enough ? Health::warning : Health::failure;
        check.found += enough ? ": domains grow less far in this process"
                              : ": a domain with default limits does not fit";
        check.fix =
            "ulimit -v unlimited; or make domains with smaller limits "
            "(ServerOptions::limits), for which address space is set aside";
    } else if (facts.descriptors < kDescriptorsOfBridge) {
        check.health = Health::warning;
        check.found += ": a bridge needs one for each connection";
        check.fix = "ulimit -n 65536, or LimitNOFILE= of its service";
    }
    return check;
}

HostCheck check_domains(const HostFacts& facts) {
    if (!facts.domains_error.empty()) {
        return {"domains",
                Health::failure,
                facts.domains_error,
                "run `telpher ls` to see which domain it is"};
    }
    const std::string found =
        std::to_string(facts.domains.size()) + (facts.domains.size() == 1 ? " domain" : " domains");
    return facts.stale.empty()
               ? ok("domains", found + ", nothing left behind")
               : HostCheck{"domains",
                           Health::warning,
                           found + ", " + std::to_string(facts.stale.size()) +
                               " files of processes that were killed: " + facts.stale.front() +
                               (facts.stale.size() > 1 ? ", ..." : ""),
                           "run `telpher gc`"};
}

HostCheck check_clock(const HostFacts& facts) {
    const std::string found = (facts.clock_source.empty() ? "unknown" : facts.clock_source) +
                              ", coarse tick " +
                              format_duration(std::chrono::nanoseconds(facts.coarse_tick_ns));
    if (facts.wall_s < kYear2024) {
        return {"clock",
                Health::failure,
                found + "; the date is before 2024: messages expire, and certificates are refused",
                "set the clock (timedatectl set-ntp true)"};
    }
    const bool slow = facts.clock_source == "hpet" || facts.clock_source == "acpi_pm" ||
                      facts.clock_source == "jiffies";
    if (slow || facts.coarse_tick_ns > kTickMostNs) {
        return {"clock",
                Health::warning,
                found + (slow ? ": reading it is slow" : ": timeouts are as coarse"),
                slow ? "boot with clocksource=tsc where the processor's is stable"
                     : "use a kernel with CONFIG_HZ=250 or more"};
    }
    return ok("clock", found);
}

HostCheck check_crypto(const HostFacts& facts) {
    if (!facts.tls13) {
        return {"encryption",
                Health::failure,
                facts.openssl + " makes no TLS 1.3",
                "use OpenSSL 3 with TLS 1.3, and a policy (openssl.cnf) that allows it"};
    }
    if (!facts.identity_error.empty()) {
        return {"encryption",
                Health::failure,
                facts.openssl + "; this user's key: " + facts.identity_error,
                "mend the file's mode, or move it away and run `telpher keygen`"};
    }
    return ok(
        "encryption",
        facts.openssl + (facts.identity.empty() ? ", no key of this user yet (`telpher keygen`)"
                                                : ", this user's key is " + facts.identity));
}

}  // namespace

std::vector<HostCheck> judge(const HostFacts& facts) {
    return {check_shared_memory(facts.shm),
            check_processors(facts),
            check_kernel(facts),
            check_namespace(facts),
            check_limits(facts),
            check_domains(facts),
            check_clock(facts),
            check_crypto(facts)};
}

}  // namespace telpher::cli
