// telpher tls-probe: who answers at an address, and what a client of this user would make of it.

#include "tcp_bridge/config_files.hpp"
#include "tcp_bridge/known_peers.hpp"
#include "tcp_bridge/tls_channel.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/tcp_socket.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>

namespace telpher::cli {
namespace {

using Deadline = TcpSocket::Deadline;
using Channel = bridge::TlsChannel;

constexpr Duration kDefaultTimeout = std::chrono::seconds(5);
// How long a peer that has finished the handshake may take to say that it does not admit us.
constexpr Duration kRefusalTime = std::chrono::seconds(1);

struct ProbeOptions {
    Common common;
    std::string peer;
    std::optional<Duration> timeout;
};

struct Address {
    std::string host;
    std::string port;
};

// HOST:PORT or [HOST]:PORT, also as tcp://HOST:PORT.
std::optional<Address> parse_address(const std::string& peer) {
    const auto colon = peer.rfind(':');
    if (colon == std::string::npos || colon == 0 || colon + 1 == peer.size() ||
        peer.find_first_not_of("0123456789", colon + 1) != std::string::npos ||
        !bridge::is_peer_name(peer)) {
        return std::nullopt;
    }
    std::string host = peer.substr(0, colon);
    if (host.front() == '[' && host.back() == ']') {
        host = host.substr(1, host.size() - 2);
    }
    return Address{host, peer.substr(colon + 1)};
}

struct Probe {
    std::string peer;
    std::string protocol;
    std::string suite;
    std::string group;
    std::string pin;
    std::string trust;               // known, first_use or mismatch
    std::optional<bool> admitted;    // whether the peer takes our key; nothing if it did not say
    std::optional<Error> objection;  // of this side
};

Result<void> send_pending(TcpSocket& socket,
                          Channel& channel,
                          Deadline deadline,
                          const Interrupt& interrupt) {
    const std::size_t size = channel.pending().size();
    auto sent = socket.send(channel.pending(), deadline, interrupt);
    channel.sent(size);
    return sent;
}

// One turn: what is pending out, what came in. False = the peer has closed.
Result<bool> turn(TcpSocket& socket,
                  Channel& channel,
                  Deadline deadline,
                  const Interrupt& interrupt) {
    if (auto sent = send_pending(socket, channel, deadline, interrupt); !sent) {
        return sent.error();
    }
    std::array<std::byte, 16384> wire{};
    const auto got = socket.receive(wire, deadline, interrupt);
    if (!got || *got == 0) {
        return got ? Result<bool>(false) : got.error();
    }
    if (auto fed = channel.feed(std::span(wire).first(*got)); !fed) {
        // The peer is told why.
        [[maybe_unused]] const auto told = send_pending(socket, channel, deadline, interrupt);
        return fed.error();
    }
    // What a peer says unasked is not looked at.
    while (channel.read(wire) > 0) {
    }
    return true;
}

Result<void> shake_hands(TcpSocket& socket,
                         Channel& channel,
                         Deadline deadline,
                         const Interrupt& interrupt) {
    while (!channel.established()) {
        const auto more = turn(socket, channel, deadline, interrupt);
        if (!more) {
            return more.error();
        }
        if (!*more) {
            return Error{
                Status::disconnected, 0, "the peer closed the connection in the handshake"};
        }
    }
    return {};
}

// Says good-bye: whoever does not admit our key says so instead of the same.
std::optional<bool> is_admitted(TcpSocket& socket,
                                Channel& channel,
                                Deadline deadline,
                                const Interrupt& interrupt) {
    channel.close();
    const auto soon = std::min(deadline, std::chrono::steady_clock::now() + kRefusalTime);
    for (;;) {
        const auto more = turn(socket, channel, soon, interrupt);
        if (!more && more.status() == Status::not_permitted) {
            return false;
        }
        if (channel.peer_closed()) {
            return true;
        }
        if (!more || !*more) {
            return std::nullopt;
        }
    }
}

// What a client would say of this key; nothing is recorded.
void judge(Probe& probe, const std::string& dir) {
    const auto pin = bridge::Pin::parse(probe.pin);
    const auto known =
        bridge::is_known_host(bridge::known_hosts_path(dir), probe.peer, pin.value());
    if (known) {
        probe.trust = *known ? "known" : "first_use";
        return;
    }
    probe.trust = known.status() == Status::not_permitted ? "mismatch" : "unknown";
    probe.objection = known.error();
}

Result<Probe> run_handshake(const std::string& peer,
                            const Address& address,
                            Deadline deadline,
                            const Interrupt& interrupt) {
    const auto dir = bridge::config_dir();
    const auto context = dir ? bridge::TlsContext::inspector({.config_dir = *dir})
                             : Result<std::shared_ptr<const bridge::TlsContext>>(dir.error());
    if (!context) {
        return context.error();
    }
    auto channel = Channel::make(*context, peer);
    if (!channel) {
        return channel.error();
    }
    auto socket = TcpSocket::connect(address.host, address.port, deadline, interrupt);
    if (!socket) {
        return socket.error();
    }
    if (auto done = shake_hands(*socket, **channel, deadline, interrupt); !done) {
        return done.error();
    }
    Probe probe{peer,
                std::string((*channel)->protocol()),
                std::string((*channel)->suite()),
                std::string((*channel)->group()),
                (*channel)->peer().pin,
                {},
                is_admitted(*socket, **channel, deadline, interrupt),
                {}};
    judge(probe, *dir);
    return probe;
}

std::string trust_text(const Probe& probe) {
    if (probe.trust == "known") {
        return "known: known_hosts has this key";
    }
    if (probe.trust == "first_use") {
        return "first use: a client would trust this key now, and record it in known_hosts";
    }
    return probe.trust + ": a client would not connect";
}

std::string probe_text(const Probe& probe) {
    const std::string admitted = !probe.admitted   ? "the peer did not say"
                                 : *probe.admitted ? "yes"
                                                   : "no: the peer does not take this side's key";
    return "peer      " + probe.peer + "\nprotocol  " + probe.protocol + "\nsuite     " +
           probe.suite + "\ngroup     " + probe.group + "\npin       " + probe.pin +
           "\ntrust     " + trust_text(probe) + "\nadmitted  " + admitted + "\n";
}

Json probe_json(const Probe& probe) {
    return Json{{"peer", probe.peer},
                {"protocol", probe.protocol},
                {"suite", probe.suite},
                {"group", probe.group},
                {"pin", probe.pin},
                {"trust", probe.trust},
                {"admitted", probe.admitted ? Json(*probe.admitted) : Json(nullptr)}};
}

ExitCode run_probe(const ProbeOptions& options, const Interrupt& interrupt) {
    constexpr std::string_view kScheme = "tcp://";
    const bool json = options.common.json;
    const std::string peer =
        options.peer.starts_with(kScheme) ? options.peer.substr(kScheme.size()) : options.peer;
    const auto address = parse_address(peer);
    if (!address) {
        return print_usage_error("\"" + options.peer + "\" is no HOST:PORT",
                                 "name a host and a number, as 127.0.0.1:33333 or [::1]:33333",
                                 json);
    }
    const auto deadline =
        std::chrono::steady_clock::now() + options.timeout.value_or(kDefaultTimeout);
    const auto probe = run_handshake(peer, *address, deadline, interrupt);
    if (!probe) {
        Error error = probe.error();
        error.detail = peer + ": " + error.detail;
        return print_error(error, json);
    }
    const ExitCode printed = json ? print_json(probe_json(*probe)) : print_text(probe_text(*probe));
    if (printed != kExitOk) {
        return printed;
    }
    if (probe->objection) {
        return print_error(*probe->objection, json);
    }
    return probe->admitted.value_or(true)
               ? kExitOk
               : print_error({Status::not_permitted, 0, peer + " does not admit this side's key"},
                             json);
}

}  // namespace

void add_tls_probe_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<ProbeOptions>();
    auto* const probe =
        add_command(app,
                    "tls-probe",
                    "Show who answers at an address, and whether it would be trusted",
                    "  telpher tls-probe 127.0.0.1:33333\n"
                    "  telpher tls-probe [::1]:33333 --timeout 2s --json");
    probe->add_option("HOST:PORT", options->peer, "Where the bridge listens")->required();
    add_duration(*probe, "--timeout", options->timeout, "How long to try; default 5s");
    finish_command(
        *probe, options->common, TargetNeed::none, command, [options](Interrupt& interrupt) {
            return run_probe(*options, interrupt);
        });
}

}  // namespace telpher::cli
