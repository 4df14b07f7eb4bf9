#include "bench/e2e/versions.hpp"

#include <boost/version.hpp>
#include <openssl/crypto.h>

#include <array>
#include <cstdio>
#include <memory>

#ifdef TELPHER_HAS_ZMQ
#include <zmq.h>
#endif
#ifdef TELPHER_HAS_NNG
#include <nng/nng.h>
#endif
#ifdef TELPHER_HAS_REDIS
#include <hiredis/hiredis.h>
#endif
#ifdef TELPHER_HAS_NATS
#include <nats/nats.h>
#endif
#ifdef TELPHER_HAS_ICEORYX
#include <iceoryx_versions.hpp>
#endif
#ifdef TELPHER_HAS_RABBITMQ
#include <amqp.h>
#endif

namespace telpher::bench {

namespace {

[[maybe_unused]] std::string dotted(int major, int minor, int patch) {
    return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

// The first line that a command prints.
[[maybe_unused]] std::string first_line_of(const std::string& command) {
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> pipe(
        popen((command + " 2>/dev/null").c_str(), "r"), &pclose);
    std::array<char, 200> line{};
    if (pipe == nullptr || std::fgets(line.data(), line.size(), pipe.get()) == nullptr) {
        return "unknown";
    }
    std::string text(line.data());
    while (!text.empty() && text.back() == '\n') {
        text.pop_back();
    }
    return text;
}

}  // namespace

std::map<std::string, std::string> versions() {
    std::map<std::string, std::string> all;
    all["Boost"] = dotted(BOOST_VERSION / 100000, BOOST_VERSION / 100 % 1000, BOOST_VERSION % 100);
    all["OpenSSL"] = OpenSSL_version(OPENSSL_VERSION);
#ifdef TELPHER_HAS_ZMQ
    all["ZeroMQ"] = dotted(ZMQ_VERSION_MAJOR, ZMQ_VERSION_MINOR, ZMQ_VERSION_PATCH);
#endif
#ifdef TELPHER_HAS_NNG
    all["nng"] = dotted(NNG_MAJOR_VERSION, NNG_MINOR_VERSION, NNG_PATCH_VERSION);
#endif
#ifdef TELPHER_HAS_REDIS
    all["hiredis"] = dotted(HIREDIS_MAJOR, HIREDIS_MINOR, HIREDIS_PATCH);
    all["Redis"] = first_line_of("redis-server --version");
#endif
#ifdef TELPHER_HAS_NATS
    all["libnats"] = nats_GetVersion();
    all["NATS"] = first_line_of(TELPHER_HAS_NATS " --version");
#endif
#ifdef TELPHER_HAS_ICEORYX
    all["iceoryx"] = ICEORYX_LATEST_RELEASE_VERSION;
#endif
#ifdef TELPHER_HAS_RABBITMQ
    all["librabbitmq"] = amqp_version();
#endif
    return all;
}

std::vector<std::string> missing_peers() {
    std::vector<std::string> missing;
#ifndef TELPHER_HAS_ZMQ
    missing.emplace_back("ZeroMQ");
#endif
#ifndef TELPHER_HAS_NNG
    missing.emplace_back("nng");
#endif
#ifndef TELPHER_HAS_ICEORYX
    missing.emplace_back("iceoryx");
#endif
#ifndef TELPHER_HAS_REDIS
    missing.emplace_back("Redis");
#endif
#ifndef TELPHER_HAS_NATS
    missing.emplace_back("NATS");
#endif
#ifndef TELPHER_HAS_RABBITMQ
    missing.emplace_back("RabbitMQ");
#endif
    return missing;
}

}  // namespace telpher::bench
