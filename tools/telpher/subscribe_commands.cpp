// telpher sub, tail: print what is published to topics.
//
// Both subscribe. `tail` looks now and then instead of sleeping until it is woken, and lets nobody
// wait for it: publishers do not notice it.

#include "telpher/client.hpp"
#include "telpher/server.hpp"

#include "tools/telpher/message_line.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"
#include "tools/telpher/snapshot.hpp"
#include "tools/telpher/units.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

using Clock = std::chrono::steady_clock;

// Longer than any process lives, short enough that "now + timeout" does not overflow.
constexpr Duration kForEver = std::chrono::hours{24 * 365 * 10};
constexpr Duration kLookEvery = std::chrono::milliseconds(20);
// Printed by one write: a fast topic is lost to a system call for each message.
constexpr std::uint64_t kTogether = 64;

struct FollowOptions {
    Common common;
    std::vector<std::string> patterns;
    std::optional<std::uint64_t> count;
    std::optional<Duration> timeout;
    SubscribeOptions subscribe;
    bool looks_on = false;  // tail
};

Result<Subscription> subscribe(const FollowOptions& options) {
    if (!options.looks_on) {
        auto client = options.common.connect();
        return client ? client->subscribe(options.patterns, options.subscribe)
                      : Result<Subscription>(client.error());
    }
    const auto admin = options.common.admin();
    if (!admin) {
        return admin.error();
    }
    for (const std::string& pattern : options.patterns) {
        // Subscribing to a plain name makes the topic; who only looks on makes nothing. What is no
        // name at all is refused by `subscribe`.
        if (pattern.find_first_of("*>") == std::string::npos && !pattern.empty()) {
            if (const auto status = admin->topic_status(pattern); !status) {
                return status.error();
            }
        }
    }
    Client client = admin->client();
    return client.subscribe(options.patterns, options.subscribe);
}

class Following {
  public:
    Following(const FollowOptions& options, Subscription subscription, Interrupt& interrupt)
        : options_(options), subscription_(std::move(subscription)), interrupt_(interrupt) {}

    ExitCode run() {
        const Error end = print_all();
        tell_last_loss();
        if (end.status == Status::ok || (end.status == Status::cancelled && ends_well())) {
            return kExitOk;
        }
        return print_error(end, json());
    }

  private:
    [[nodiscard]] bool json() const { return options_.common.json; }
    // An interrupt is how one ends what has no count; a reader that has gone saw what it wanted.
    [[nodiscard]] bool ends_well() const { return !options_.count || !interrupt_.interrupted(); }

    // Until there were as many as were asked for (ok), or why not.
    Error print_all() {
        std::uint64_t left = options_.count.value_or(UINT64_MAX);
        while (left > 0) {
            if (stdout_is_gone()) {
                return {};
            }
            const auto samples = next(std::min(left, kTogether));
            if (!samples) {
                return samples.error();
            }
            if (!print(*samples)) {
                return {};  // as at the top
            }
            left -= samples->size();
        }
        return {};
    }

    Result<std::vector<Sample>> next(std::uint64_t max) {
        const Duration timeout = std::min(options_.timeout.value_or(kForEver), kForEver);
        if (!options_.looks_on) {
            return subscription_.next_n(max, timeout, interrupt_.token());
        }
        const auto deadline = Clock::now() + timeout;
        for (;;) {
            auto samples = subscription_.next_n(max);
            if (samples || samples.status() != Status::queue_empty) {
                return samples;
            }
            const auto now = Clock::now();
            if (now >= deadline) {
                return options_.timeout == Duration{} ? Status::queue_empty : Status::timed_out;
            }
            if (!sleep_until(interrupt_, std::min(now + kLookEvery, deadline))) {
                return Status::cancelled;
            }
        }
    }

    // False: the reader has gone.
    bool print(const std::vector<Sample>& samples) {
        std::string lines;
        for (const Sample& sample : samples) {
            if (sample.lost_before() != 0) {
                // Told between the messages that are its neighbours.
                if (!write_out(std::exchange(lines, {}))) {
                    return false;
                }
                tell_loss(sample);
            }
            lines += json()
                         ? json_line(sample,
                                     "\"sequence\":" + std::to_string(sample.sequence()) +
                                         ",\"lost\":" + std::to_string(sample.lost_before()) + ",")
                         : payload_line(sample);
        }
        return write_out(lines);
    }

    void tell_loss(const Sample& sample) {
        const std::uint64_t lost = sample.lost_before();
        told_ += lost;
        const std::string topic(sample.topic());
        print_note("lost " + format_count(lost) + (lost == 1 ? " message of " : " messages of ") +
                       topic + " before number " + std::to_string(sample.sequence()),
                   Json{{"gap", {{"topic", topic}, {"lost", lost}, {"before", sample.sequence()}}}},
                   json());
    }

    // What no message came after.
    void tell_last_loss() {
        const std::uint64_t lost = subscription_.status().lost - told_;
        if (lost != 0) {
            print_note("lost " + format_count(lost) + (lost == 1 ? " message" : " messages") +
                           " at the end",
                       Json{{"gap", {{"topic", nullptr}, {"lost", lost}, {"before", nullptr}}}},
                       json());
        }
    }

    const FollowOptions& options_;
    Subscription subscription_;
    Interrupt& interrupt_;
    std::uint64_t told_ = 0;  // of what was lost
};

ExitCode run_follow(const FollowOptions& options, Interrupt& interrupt) {
    auto subscription = subscribe(options);
    if (!subscription) {
        return print_error(subscription.error(), options.common.json);
    }
    interrupt.watch_stdout();
    return Following(options, std::move(*subscription), interrupt).run();
}

// What both have, after their own options.
void finish_follow(CLI::App& follow,
                   const std::shared_ptr<FollowOptions>& options,
                   Command& command) {
    follow
        .add_option("PATTERN",
                    options->patterns,
                    "Topics: names, or patterns in which * is one level and > (the last) all below")
        ->required();
    follow.add_option("--count", options->count, "End after so many; default: when interrupted")
        ->check(at_least_one())
        ->type_name("N");
    add_duration(
        follow, "--timeout", options->timeout, "Wait so long for each message; default: for ever");
    finish_command(
        follow, options->common, TargetNeed::required, command, [options](Interrupt& interrupt) {
            return run_follow(*options, interrupt);
        });
}

}  // namespace

void add_subscribe_commands(CLI::App& app, Command& command) {
    auto subscriber = std::make_shared<FollowOptions>();
    auto* const sub =
        add_command(app,
                    "sub",
                    "Subscribe to topics and print the payloads of their messages",
                    "  telpher sub prices.espresso -d cafe --from earliest --timeout 1s\n"
                    "  telpher sub 'prices.>' 'alarms.*' -d cafe --count 10 --timeout 1s --json");
    add_from(*sub,
             subscriber->subscribe.from,
             "Begin with what is published from now on, with the history, or with message N; "
             "default latest");
    add_slow(
        *sub,
        subscriber->subscribe.slow,
        "When we are too slow, instead of the topic's own; block only where the topic says so");
    finish_follow(*sub, subscriber, command);

    auto onlooker = std::make_shared<FollowOptions>();
    onlooker->looks_on = true;
    onlooker->subscribe.from = From::earliest();
    onlooker->subscribe.slow = SlowSubscriber::drop_oldest;
    auto* const tail = add_command(app,
                                   "tail",
                                   "Look on at topics: their history, and then what is published",
                                   "  telpher tail prices.espresso -d cafe --timeout 1s\n"
                                   "  telpher tail '>' -d cafe --from latest --timeout 1s --json");
    add_from(*tail,
             onlooker->subscribe.from,
             "Begin with the history, with what is published from now on, or with message N; "
             "default earliest");
    finish_follow(*tail, onlooker, command);
}

}  // namespace telpher::cli
