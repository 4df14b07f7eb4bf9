#include "tools/telpher/chaos.hpp"

#include "telpher/server.hpp"

#include "tools/telpher/chaos_account.hpp"
#include "tools/telpher/children.hpp"
#include "tools/telpher/units.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace telpher::cli {
namespace {

using namespace std::chrono_literals;
using SteadyTime = std::chrono::steady_clock::time_point;

constexpr std::size_t kOfEach = 2;  // producers, and consumers
constexpr double kKillsPerSecond = 20;
constexpr auto kDefaultTime = 10s;
constexpr auto kDrainTime = 60s;  // for what is left in the queue

struct ChaosReport {
    std::uint64_t seed = 0;
    Duration duration{};
    std::uint64_t killed_producers = 0;
    std::uint64_t killed_consumers = 0;
    std::uint64_t offered = 0;
    std::uint64_t confirmed = 0;
    std::uint64_t taken = 0;      // different ones
    std::uint64_t not_heard = 0;  // of these, whose producer was killed before it heard that
    std::uint64_t again = 0;
    std::uint64_t lost = 0;
    std::uint64_t wrong = 0;
    std::vector<std::string> problems{};

    [[nodiscard]] bool ok() const { return lost == 0 && wrong == 0 && problems.empty(); }
    [[nodiscard]] Json to_json() const {
        return Json{{"seed", seed},
                    {"duration_ms",
                     std::chrono::duration_cast<std::chrono::milliseconds>(duration).count()},
                    {"killed_producers", killed_producers},
                    {"killed_consumers", killed_consumers},
                    {"offered", offered},
                    {"confirmed", confirmed},
                    {"delivered", taken},
                    {"delivered_and_not_confirmed", not_heard},
                    {"delivered_again", again},
                    {"lost", lost},
                    {"wrong", wrong},
                    {"problems", problems},
                    {"ok", ok()}};
    }
    [[nodiscard]] std::string to_text() const {
        std::string text =
            format_duration(duration) + ", " + std::to_string(killed_producers) +
            " producers and " + std::to_string(killed_consumers) +
            " consumers killed (SIGKILL), seed " + std::to_string(seed) + "\n  confirmed       " +
            format_count(confirmed) + " messages\n  delivered       " + format_count(taken) + ", " +
            format_count(not_heard) +
            " of them not yet confirmed when their producer was killed\n  again           " +
            format_count(again) + ", of consumers that were killed\n  lost            " +
            format_count(lost) + "\n  torn, unknown   " + format_count(wrong) + "\n";
        for (const std::string& problem : problems) {
            text += "  broken          " + printable(problem) + "\n";
        }
        return text + (ok() ? "every confirmed message was delivered, and every invariant of the "
                              "domain holds\n"
                            : "SOMETHING IS WRONG: run it again with --seed " +
                                  std::to_string(seed) + "\n");
    }
};

class Chaos {
  public:
    Chaos(const ChaosOptions& options, Interrupt& interrupt)
        : options_(options), interrupt_(interrupt) {
        report_.seed = options.seed != 0 ? options.seed : std::random_device{}() + 1ULL;
        report_.duration = options.duration.value_or(kDefaultTime);
        random_.seed(report_.seed);
    }
    ~Chaos() {
        children_.end_all();
        server_ = Server{};
        static_cast<void>(remove_domain(domain_, true));
    }
    Chaos(const Chaos&) = delete;
    Chaos& operator=(const Chaos&) = delete;

    Result<ChaosReport> run() {
        auto begun = begin();
        begun = begun ? kill_for_a_while() : begun;
        begun = begun ? finish() : begun;
        if (!begun) {
            return begun.error();
        }
        return report_;
    }

  private:
    struct Process {
        bool producer = false;
        pid_t pid = 0;
    };

    Result<void> begin() {
        auto account = SharedChaos::create();
        if (!account) {
            return account.error();
        }
        account_.emplace(std::move(*account));
        auto server =
            Server::open(domain_, {.mode = OpenMode::create, .lifetime = Lifetime::ephemeral});
        auto queue = server
                         ? server->create_queue(
                               "chaos", {.capacity = 1024, .delivery = DeliveryMode::at_least_once})
                         : Result<Queue>(server.error());
        if (!queue) {
            return queue.error();
        }
        server_ = std::move(*server);
        for (std::size_t i = 0; i < 2 * kOfEach; ++i) {
            if (auto started = start(processes_.at(i), i % 2 == 0); !started) {
                return started;
            }
        }
        return {};
    }
    Result<void> start(Process& process, bool producer) {
        const std::string role = producer ? "producer" : "consumer";
        auto pid = children_.start(role,
                                   {"chaos-role",
                                    domain_,
                                    std::to_string(::getpid()),
                                    std::to_string((*account_).fd()),
                                    role});
        if (!pid) {
            return pid.error();
        }
        process = {producer, *pid};
        return {};
    }
    Result<void> kill_for_a_while() {
        const double mean_s = 1 / options_.kills_per_s.value_or(kKillsPerSecond);
        begun_ = std::chrono::steady_clock::now();
        const SteadyTime end = begun_ + report_.duration;
        ProgressBar progress(!options_.common.json);
        std::exponential_distribution<double> pause(1 / mean_s);
        // What cannot be killed in time is left out: the time is kept rather than the rate.
        for (SteadyTime next = begun_; next < end && std::chrono::steady_clock::now() < end;) {
            next += std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                std::chrono::duration<double>(std::min(pause(random_), 60.0)));
            if (auto slept = sleep_until_or_stopped(std::min(next, end)); !slept) {
                return slept;
            }
            progress.show("killing",
                          std::chrono::duration<double>(std::chrono::steady_clock::now() - begun_) /
                              std::chrono::duration<double>(report_.duration));
            if (auto killed = next < end ? kill_one() : Result<void>(); !killed) {
                return killed;
            }
        }
        return {};
    }
    Result<void> sleep_until_or_stopped(SteadyTime until) {
        for (;;) {
            if (interrupt_.stopped()) {
                return Status::cancelled;
            }
            allow();
            const SteadyTime now = std::chrono::steady_clock::now();
            if (now >= until) {
                return children_.collect();  // none of them ends by itself
            }
            std::this_thread::sleep_until(std::min(until, now + SteadyTime::duration(10ms)));
        }
    }
    // As many messages as there are notes for, over the whole time.
    void allow() {
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begun_;
        const double share = spent / std::chrono::duration<double>(report_.duration);
        (*account_)->allowed = static_cast<std::uint64_t>(std::min(share, 1.0) *
                                                          static_cast<double>(kChaosMessagesMost));
    }
    Result<void> kill_one() {
        std::array<std::size_t, 2 * kOfEach> eligible{};
        std::size_t count = 0;
        for (std::size_t i = 0; i < processes_.size(); ++i) {
            if (options_.victims == Victims::all ||
                processes_.at(i).producer == (options_.victims == Victims::producers)) {
                eligible.at(count++) = i;
            }
        }
        Process& victim = processes_.at(eligible.at(random_() % count));
        children_.kill(victim.pid);
        ++(victim.producer ? report_.killed_producers : report_.killed_consumers);
        return start(victim, victim.producer);
    }
    // Producers end, consumers when the queue is empty behind that.
    Result<void> finish() {
        (*account_)->finish = 1;
        const SteadyTime end = std::chrono::steady_clock::now() + kDrainTime;
        const auto any_runs = [this] {
            return std::any_of(
                processes_.begin(), processes_.end(), [this](const Process& process) {
                    return children_.running(process.pid);
                });
        };
        while (any_runs()) {
            if (auto collected = children_.collect(); !collected) {
                return collected;
            }
            if (interrupt_.stopped()) {
                return Status::cancelled;
            }
            if (std::chrono::steady_clock::now() > end) {
                report_.problems.emplace_back("what is left is not delivered within a minute");
                children_.end_all();
                break;
            }
            std::this_thread::sleep_for(5ms);
        }
        count();
        if (report_.confirmed == 0) {
            report_.problems.emplace_back(
                "no message was confirmed: nobody lived long enough; kill less often (--rate), or "
                "take longer (--for)");
        }
        const auto verified = server_.verify();
        if (!verified) {
            return verified.error();
        }
        report_.problems.insert(
            report_.problems.end(), verified->problems.begin(), verified->problems.end());
        return {};
    }
    void count() {
        const ChaosAccount& account = *account_->operator->();
        const std::uint64_t numbers = std::min(account.next.load(), kChaosMessagesMost);
        for (std::uint64_t number = 0; number < numbers; ++number) {
            const std::uint8_t fate = account.fate.at(number);
            const bool confirmed = (fate & ChaosAccount::confirmed) != 0;
            const bool taken = (fate & ChaosAccount::taken) != 0;
            report_.offered += (fate & ChaosAccount::offered) != 0 ? 1U : 0U;
            report_.confirmed += confirmed ? 1U : 0U;
            report_.taken += taken ? 1U : 0U;
            report_.not_heard += taken && !confirmed ? 1U : 0U;
            report_.lost += confirmed && !taken ? 1U : 0U;
        }
        report_.again = account.again;
        report_.wrong = account.wrong;
    }

    const ChaosOptions& options_;
    Interrupt& interrupt_;
    const std::string domain_ = "chaos-" + std::to_string(::getpid());
    std::mt19937_64 random_;
    SteadyTime begun_;
    std::optional<SharedChaos> account_;
    Server server_;
    std::array<Process, 2 * kOfEach> processes_{};
    Children children_{"telpher chaos"};
    ChaosReport report_;
};

}  // namespace

ExitCode run_chaos(const ChaosOptions& options, Interrupt& interrupt) {
    Chaos chaos(options, interrupt);
    const auto report = chaos.run();
    if (!report) {
        return print_error(report.error(), options.common.json);
    }
    const auto printed =
        options.common.json ? print_json(report->to_json()) : print_text(report->to_text());
    return report->ok() ? printed : kExitError;
}

void add_chaos_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<ChaosOptions>();
    auto* const chaos = add_command(
        app,
        "chaos",
        "Let producers and consumers exchange messages in a domain of their own, kill them at "
        "random "
        "(SIGKILL) and start others, and check that nothing was lost and nothing is broken",
        "  telpher chaos --for 3s\n"
        "  telpher chaos --for 2s --kill consumers --rate 100/s --json");
    add_choice(
        *chaos,
        "--kill",
        {"all", "producers", "consumers"},
        [options](std::size_t index) { options->victims = static_cast<Victims>(index); },
        "Who is killed");
    add_rate(*chaos, "--rate", options->kills_per_s, "Kills; default 20/s");
    add_duration(*chaos, "--for", options->duration, "How long; default 10s");
    chaos
        ->add_option("--seed",
                     options->seed,
                     "Whom and when, of an earlier run; what the system does in between is never "
                     "the same")
        ->type_name("N");
    finish_command(
        *chaos, options->common, TargetNeed::none, command, [options](Interrupt& interrupt) {
            return run_chaos(*options, interrupt);
        });

    auto role = std::make_shared<ChaosRole>();
    auto* const hidden = add_command(app, "chaos-role", "A process of `telpher chaos`", "");
    hidden->group("");
    hidden->add_option("DOMAIN", role->domain)->required();
    hidden->add_option("PARENT", role->parent)->required();
    hidden->add_option("ACCOUNT", role->account_fd)->required();
    hidden->add_option("ROLE", role->role)->required();
    finish_command(*hidden, role->common, TargetNeed::none, command, [role](Interrupt& interrupt) {
        return run_chaos_role(*role, interrupt);
    });
}

}  // namespace telpher::cli
