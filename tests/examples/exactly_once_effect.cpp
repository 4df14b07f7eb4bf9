// A payment service whose servers, clients and bridge are killed at random, and whose connections are cut.
// Every payment is booked exactly once, and the proof is printed.
//
//   usage: exactly_once_effect [KILLS]      (80; TELPHER_SOAK=1: 2,500)
//
// What makes it so:
//   * a client gives each payment a request id, and sends it, with that id, until it is answered,
//   * the function remembers request ids: a payment that was booked is not booked again, it is answered again,
//   * of a payment whose server died in the middle nobody knows: it runs again, and its handler, which can tell,
//     looks into the account book first. That is the only look into the book; all other payments go without.

#include "telpher/bridge.hpp"
#include "telpher/telpher.hpp"

#include "tests/examples/exactly_once_relay.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <thread>

using namespace telpher;
using namespace std::chrono_literals;

namespace {

constexpr int kServers = 2;
constexpr int kLocalClients = 2;
constexpr int kClients = 4;  // the others come through the bridge

// What survives every process but the last.
struct Shared {
    std::atomic<std::uint16_t> bridge_port{0};
    std::atomic<std::uint16_t> relay_port{0};
    std::atomic<bool> closing{false};  // a client ends with its payment answered
    std::atomic<bool> closed{false};   // then who answers them
    std::array<std::atomic<std::uint64_t>, kClients> paid{};  // payments that its client heard of
    std::atomic<std::uint64_t> replays{0};
    std::atomic<std::uint64_t> reruns{0};
    std::atomic<std::uint64_t> found_in_book{0};  // of these, booked before their server died
    std::atomic<std::uint64_t> repeated{0};       // payments that were sent more than once
    std::atomic<std::uint64_t> wrong{0};
};

struct World {
    std::string domain;
    std::string book;  // a file: one line for each payment
    Shared* shared;
};

[[noreturn]] void give_up(const std::string& what) {
    std::cerr << what << std::endl;
    _exit(3);
}

// ---- the account book ----------------------------------------------------------------------------

// One write of one line: there completely, or not at all.
void write_payment(const World& world, const std::string& id) {
    const int book = open(world.book.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    const std::string line = id + "\n";
    if (book < 0 || write(book, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
        give_up("the book cannot be written");
    }
    close(book);
}

bool is_booked(const World& world, const std::string& id) {
    std::ifstream book(world.book);
    for (std::string line; std::getline(book, line);) {
        if (line == id) {
            return true;
        }
    }
    return false;
}

// ---- the processes -------------------------------------------------------------------------------

ServerOptions domain_options() {
    ServerOptions options;
    options.limits = DomainLimits{.idempotency_entries = 1U << 20U};
    return options;
}

int run_server(const World& world) {
    auto server = Server::open(world.domain, domain_options());
    if (!server) {
        give_up("server: " + to_string(server.error()));
    }
    const auto book = [&world](const Message& payment) {
        const std::string id(payment.request_id());
        world.shared->reruns += payment.rerun() ? 1U : 0U;
        if (payment.rerun() && is_booked(world, id)) {
            ++world.shared->found_in_book;
        } else {
            write_payment(world, id);
        }
        return Message::text("booked", id);
    };
    auto pay = server->serve("pay",
                             book,
                             {.threads = 2,
                              .idempotency = Idempotency{.scope = IdempotencyScope::global,
                                                         .ttl = 1h,
                                                         .entries_max = 1U << 20U,
                                                         .when_uncertain = WhenUncertain::rerun,
                                                         .required = true}});
    if (!pay) {
        give_up("serve: " + to_string(pay.error()));
    }
    while (!world.shared->closed && pay->running()) {
        std::this_thread::sleep_for(1ms);
    }
    return 0;
}

int run_bridge(const World& world) {
    auto client = connect("shm:" + world.domain, {.wait = 10s});
    if (!client) {
        give_up("bridge: " + to_string(client.error()));
    }
    BridgeOptions options;
    options.listen = "127.0.0.1:" + std::to_string(world.shared->bridge_port.load());
    Result<Bridge> bridge = Bridge::start(std::move(*client), options);
    if (!bridge) {
        give_up("bridge: " + to_string(bridge.error()));
    }
    world.shared->bridge_port = bridge->port();
    while (!world.shared->closed) {
        std::this_thread::sleep_for(1ms);
    }
    return 0;
}

// Pays one after another, each until it is answered. Killed anywhere, the next one goes on with the payment
// that is not crossed off yet, under its id.
int run_client(const World& world, int index) {
    const bool local = index < kLocalClients;
    const std::string uri =
        local ? "shm:" + world.domain
              : "tcp://127.0.0.1:" + std::to_string(world.shared->relay_port.load());
    std::atomic<std::uint64_t>& paid = world.shared->paid[static_cast<std::size_t>(index)];
    Client client;
    while (!world.shared->closing) {
        if (!client.running()) {
            auto made = connect(uri, {.wait = 1s});
            if (!made) {
                std::this_thread::sleep_for(1ms);
                continue;
            }
            client = std::move(*made);
        }
        const std::string id = "c" + std::to_string(index) + "-" + std::to_string(paid + 1);
        const Message payment = Message::text("payment", id).with_request_id(id);
        for (int attempt = 1;; ++attempt) {
            const auto reply = client.send("pay", payment, 500ms, {.wait_for_server = 200ms});
            if (reply) {
                world.shared->replays += reply->replayed() ? 1U : 0U;
                world.shared->repeated += attempt > 1 ? 1U : 0U;
                world.shared->wrong += reply->text() == id ? 0U : 1U;
                ++paid;
                break;
            }
            world.shared->wrong += reply.status() == Status::idempotency_conflict ? 1U : 0U;
            if (!client.running() || reply.status() == Status::closed) {
                break;  // connects again, and goes on with the same payment
            }
            if (reply.error().outcome() == Outcome::did_not_happen) {
                std::this_thread::sleep_for(1ms);
            }
        }
        std::this_thread::sleep_for(300us);
    }
    return 0;
}

// ---- children ------------------------------------------------------------------------------------

pid_t start(const std::function<int()>& role) {
    const pid_t child = fork();
    if (child < 0) {
        give_up("no process can be started");
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(role());
    }
    return child;
}

void end(pid_t child, int signal) {
    kill(child, signal);
    waitpid(child, nullptr, 0);
}

}  // namespace

int main(int count, char** arguments) {
    const char* const soak = std::getenv("TELPHER_SOAK");
    const int kills = count > 1                         ? std::atoi(arguments[1])
                      : soak != nullptr && *soak == '1' ? 2500
                                                        : 80;
    World world;
    world.domain = "example.exactly-once." + std::to_string(getpid());
    world.book = "/tmp/telpher-" + world.domain + ".book";
    world.shared = new (mmap(
        nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared;
    close(open(world.book.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));

    // Each child can be started again; nothing of telpher runs in this process meanwhile.
    std::map<std::string, std::pair<pid_t, std::function<int()>>> children;
    const auto begin = [&](const std::string& name, std::function<int()> role) {
        const pid_t child = start(role);
        children[name] = {child, std::move(role)};
    };
    const auto wait_for = [](const std::atomic<std::uint16_t>& port) {
        for (int i = 0; port == 0 && i < 10'000; ++i) {
            std::this_thread::sleep_for(1ms);
        }
    };
    for (int i = 0; i < kServers; ++i) {
        begin("server " + std::to_string(i), [&world] { return run_server(world); });
    }
    begin("bridge", [&world] { return run_bridge(world); });
    wait_for(world.shared->bridge_port);
    const pid_t relay = start([&world] {
        return example::run_relay(world.shared->bridge_port, world.shared->relay_port);
    });
    wait_for(world.shared->relay_port);
    for (int i = 0; i < kClients; ++i) {
        begin("client " + std::to_string(i), [&world, i] { return run_client(world, i); });
    }

    const auto seed = std::random_device{}();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    std::map<std::string, int> killed;
    for (int i = 0; i < kills; ++i) {
        std::this_thread::sleep_for(std::chrono::microseconds(2'000 + random() % 18'000));
        const auto at = static_cast<std::ptrdiff_t>(random() % (children.size() + 2));
        if (at >= static_cast<std::ptrdiff_t>(children.size())) {
            kill(relay, SIGUSR1);  // cuts every connection
            ++killed["connections cut"];
            continue;
        }
        auto& [name, child] = *std::next(children.begin(), at);
        end(child.first, SIGKILL);
        child.first = start(child.second);
        ++killed[name.substr(0, name.find(' ')) + " killed"];
    }
    std::this_thread::sleep_for(300ms);
    world.shared->closing = true;
    for (const char* kind : {"client", "bridge", "server"}) {
        for (auto& [name, child] : children) {
            if (name.rfind(kind, 0) == 0) {
                waitpid(child.first, nullptr, 0);
            }
        }
        world.shared->closed = true;
    }
    end(relay, SIGKILL);

    // ---- the proof ----
    std::map<std::string, int> booked;
    std::ifstream book(world.book);
    for (std::string line; std::getline(book, line);) {
        ++booked[line];
    }
    std::uint64_t requested = 0;
    std::uint64_t missing = 0;
    for (int i = 0; i < kClients; ++i) {
        const std::uint64_t paid = world.shared->paid[static_cast<std::size_t>(i)];
        requested += paid;
        for (std::uint64_t n = 1; n <= paid; ++n) {
            missing +=
                booked.count("c" + std::to_string(i) + "-" + std::to_string(n)) == 0 ? 1U : 0U;
        }
    }
    const auto twice = std::count_if(
        booked.begin(), booked.end(), [](const auto& payment) { return payment.second > 1; });
    Server server = Server::open(world.domain, domain_options()).value();
    static_cast<void>(server.processes());
    const VerifyReport report = server.verify().value();
    for (const auto& [what, times] : killed) {
        std::cout << what << ": " << times << "\n";
    }
    std::cout << "payments requested " << requested << ", booked " << booked.size() << ", missing "
              << missing << ", booked twice " << twice << "\n"
              << "sent again " << world.shared->repeated << ", answered again "
              << world.shared->replays << ", run again " << world.shared->reruns
              << " (of these booked before " << world.shared->found_in_book << ")\n"
              << "problems of the domain " << report.problems.size() << std::endl;
    for (const std::string& problem : report.problems) {
        std::cout << "  " << problem << "\n";
    }
    const bool exact = booked.size() == requested && missing == 0 && twice == 0 && requested > 0 &&
                       world.shared->wrong == 0 && report.problems.empty();
    std::cout << (exact ? "each payment is booked exactly once" : "NOT exactly once") << std::endl;
    static_cast<void>(server.remove_domain());
    // A server that was killed while it made the domain left a file, which `telpher gc` would remove.
    for (const auto& file : std::filesystem::directory_iterator("/dev/shm")) {
        if (file.path().filename().string().starts_with("telpher." + world.domain + ".")) {
            unlink(file.path().c_str());
        }
    }
    unlink(world.book.c_str());
    return exact ? 0 : 1;
}
