// What the demo proves from what its processes noted and from what the domain says of itself.
#pragma once

#include "telpher/function.hpp"
#include "telpher/queue.hpp"
#include "telpher/server.hpp"
#include "telpher/topic.hpp"

#include "tools/telpher/demo_account.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace telpher::cli {

// A process that was killed on purpose.
struct Kill {
    int pid = 0;
    std::uint64_t ns = 0;     // when; 0 = not yet
    std::uint64_t after = 0;  // orders handled by then
};

inline constexpr std::uint64_t kKills = 2;  // a worker, a pricer

// What the parent saw; with the account, all that the report needs.
struct DemoRun {
    std::string domain;
    std::string source;  // of the orders
    std::size_t orders = 0;
    Kill worker_kill;
    Kill pricer_kill;
    bool pricer_held = false;  // a request, when it was killed
    QueueStatus queue;
    TopicStatus topic;
    FunctionStatus function;  // when all calls were answered
    std::uint64_t reaped = 0;
    VerifyReport verify;
    std::vector<std::string> left_behind;
    double seconds = 0;
};

// What the notes of all processes add up to.
struct DemoCount {
    explicit DemoCount(const SharedAccount& account);

    std::uint64_t messages = 0;
    std::array<std::uint64_t, kWorkers> handled{};
    std::uint64_t twice = 0;
    std::array<std::uint64_t, kSubscribers> received{};
    std::array<std::uint64_t, kSubscribers> lost{};   // as they were told
    std::array<std::uint64_t, kSubscribers> heard{};  // orders of which a subscriber heard
    // Of these, orders that nobody handled and nobody had in hands.
    std::array<std::uint64_t, kSubscribers> invented{};
    // Taken by no account: in the hands of the killed worker.
    std::vector<std::uint64_t> unfinished;
    std::int64_t total = 0;
    std::uint64_t asked = 0;
    std::uint64_t answered = 0;
    std::uint64_t slowest_call_ns = 0;
    std::array<std::uint64_t, kPricers> priced{};
};

// One thing that the demo proves, or not.
struct Proof {
    std::string name;  // of its JSON field
    bool holds = false;
    std::string text;
};

[[nodiscard]] std::vector<Proof> prove(const Account& account,
                                       const DemoCount& count,
                                       const DemoRun& run);

}  // namespace telpher::cli
