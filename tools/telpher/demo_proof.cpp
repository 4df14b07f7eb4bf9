#include "tools/telpher/demo_proof.hpp"

#include "tools/telpher/units.hpp"

#include <algorithm>

namespace telpher::cli {

namespace {

std::string money(std::int64_t hundredths) {
    const auto whole = static_cast<std::uint64_t>(std::max<std::int64_t>(hundredths, 0));
    const auto rest = std::to_string(whole % 100);
    return format_count(whole / 100) + (rest.size() == 1 ? ".0" : ".") + rest;
}

std::string list(const std::vector<std::string>& texts) {
    std::string all;
    for (const auto& text : texts) {
        all += (all.empty() ? "" : ", ") + text;
    }
    return all;
}

Proof all_offered(const Account& account, const DemoCount& count, const DemoRun& run) {
    const auto offered = account.offered.get();
    return {"all_offered",
            offered == count.messages && run.queue.offered == count.messages,
            "every order was accepted: " + format_count(offered) + " by the producer's account, " +
                format_count(run.queue.offered) + " by the queue's"};
}

Proof nothing_lost(const Account& account, const DemoCount& count, const DemoRun& run) {
    const auto accounted = count.handled[0] + count.handled[1] + count.unfinished.size();
    std::string text = "nothing was lost: " + format_count(count.handled[0]) + " (worker 1) + " +
                       format_count(count.handled[1]) + " (worker 2)";
    // At most one, the killed worker's, and known to the queue: that is what at-most-once allows.
    const auto in_hands = account.workers[0].in_hands.get();
    const bool in_hands_ok =
        count.unfinished.empty() || (count.unfinished.size() == 1 && run.queue.abandoned == 1 &&
                                     (in_hands == 0 || in_hands == count.unfinished.front()));
    if (!count.unfinished.empty()) {
        text += " + " + std::to_string(count.unfinished.size()) + " (order " +
                std::to_string(count.unfinished.front()) +
                ", in worker 1's hands when it was killed; at-most-once gives it to nobody else)";
    }
    return {"nothing_lost",
            accounted == count.messages && in_hands_ok && run.queue.polled == count.messages,
            text + " = " + format_count(accounted)};
}

Proof in_order_and_once(const Account& account, const DemoCount& count) {
    const auto wrong =
        account.workers[0].wrong_sequences.get() + account.workers[1].wrong_sequences.get();
    return {"in_order_and_once",
            count.twice == 0 && wrong == 0,
            "each order went to one worker, in order: " + std::to_string(count.twice) + " twice, " +
                std::to_string(wrong) + " out of order"};
}

Proof totals_right(const Account& account, const DemoCount& count) {
    const auto wrong =
        account.workers[0].wrong_totals.get() + account.workers[1].wrong_totals.get();
    return {
        "totals_right",
        wrong == 0,
        "each total that a worker computed is the producer's; their sum is " + money(count.total)};
}

Proof death_noticed(const DemoRun& run) {
    return {"death_noticed",
            run.reaped == 1 && run.queue.abandoned <= 1,
            "the death of worker 1 was noticed, what it held was taken back (" +
                std::to_string(run.queue.abandoned) +
                (run.queue.abandoned == 1 ? " message)" : " messages)")};
}

Proof invariants_hold(const DemoRun& run) {
    const bool idle = run.verify.chunks_offered == 0 && run.verify.chunks_claimed == 0;
    return {"invariants_hold",
            run.verify.problems.empty() && idle,
            run.verify.problems.empty()
                ? "verify: every invariant holds over " + format_count(run.verify.chunks) +
                      " chunks of memory, none of them lost"
                : "verify: " + list(run.verify.problems)};
}

Proof nothing_left(const DemoRun& run) {
    return {"nothing_left",
            run.left_behind.empty(),
            run.left_behind.empty() ? "nothing is left in /dev/shm, and no process"
                                    : "left behind: " + list(run.left_behind)};
}

}  // namespace

DemoCount::DemoCount(const SharedAccount& account) : messages(account->messages.get()) {
    constexpr std::size_t kListed = 16;  // more than one is a failure already
    for (std::uint64_t sequence = 1; sequence <= messages; ++sequence) {
        const bool first = account.handled(0, sequence);
        const bool second = account.handled(1, sequence);
        handled[0] += first ? 1 : 0;
        handled[1] += second ? 1 : 0;
        twice += first && second ? 1 : 0;
        if (!first && !second && unfinished.size() < kListed) {
            unfinished.push_back(sequence);
        }
    }
    for (const auto& worker : account->workers) {
        total += static_cast<std::int64_t>(worker.total.get());
    }
}

std::vector<Proof> prove(const Account& account, const DemoCount& count, const DemoRun& run) {
    return {all_offered(account, count, run),
            nothing_lost(account, count, run),
            in_order_and_once(account, count),
            totals_right(account, count),
            death_noticed(run),
            invariants_hold(run),
            nothing_left(run)};
}

}  // namespace telpher::cli
