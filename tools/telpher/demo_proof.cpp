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

std::string duration(std::uint64_t ns) {
    return format_duration(std::chrono::nanoseconds(static_cast<std::int64_t>(ns)));
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

// Every call has one answer. The killed worker may have asked and not lived to hear it; the killed
// pricer may have computed what the other one then computed again.
Proof calls_answered(const Account& account, const DemoCount& count, const DemoRun& run) {
    const auto& function = run.function;
    const auto wrong =
        account.workers[0].wrong_prices.get() + account.workers[1].wrong_prices.get();
    const auto& killed = account.workers[0];
    const auto& other = account.workers[1];
    const bool all_heard = other.asked.get() == other.answered.get() &&
                           killed.asked.get() - killed.answered.get() <= count.unfinished.size();
    const auto priced = count.priced[0] + count.priced[1];
    const bool all_answered = function.calls >= count.answered && function.calls <= count.asked &&
                              function.errors == 0 && function.timed_out == 0;
    const bool computed = priced >= count.answered &&
                          priced <= function.calls + function.redelivered &&
                          function.redelivered <= 1;
    const bool taken_over = !run.pricer_held || function.redelivered == 1;
    return {"calls_answered",
            wrong == 0 && all_heard && all_answered && computed && taken_over,
            "every call of the function was answered, with the right price: " +
                format_count(count.answered) + ", computed by pricer 1 (" +
                format_count(count.priced[0]) + ", then killed) and pricer 2 (" +
                format_count(count.priced[1]) + ", " + format_count(function.redelivered) +
                " taken over from pricer 1); the slowest took " + duration(count.slowest_call_ns)};
}

Proof totals_right(const Account& account, const DemoCount& count) {
    const auto wrong =
        account.workers[0].wrong_totals.get() + account.workers[1].wrong_totals.get();
    return {
        "totals_right",
        wrong == 0,
        "each total that a worker computed is the producer's; their sum is " + money(count.total)};
}

// Each order handled was announced, and the one in the killed worker's hands either was or was not.
Proof published_once(const Account& account, const DemoCount& count, const DemoRun& run) {
    const bool in_hands =
        !count.unfinished.empty() && account.workers[0].in_hands.get() == count.unfinished.front();
    const auto handled = count.handled[0] + count.handled[1];
    const auto published = run.topic.published;
    std::string text =
        "each order handled was announced on the topic: " + format_count(handled) + " orders";
    if (published > handled) {
        text += " + " + format_count(published - handled) + " (worker 1's last, before its death)";
    }
    return {"published_once",
            published == handled || (in_hands && published == handled + 1),
            text + " = " + format_count(published) + " by the topic's account"};
}

// Exactly what was published since it subscribed, which it did before the first order.
Proof followed(const Account& account,
               const DemoCount& count,
               const DemoRun& run,
               std::size_t index) {
    const auto& own = account.subscribers.at(index);
    const auto received = count.received.at(index);
    const auto lost = count.lost.at(index);
    const auto wrong = own.wrong_sequences.get() + own.wrong_receipts.get();
    const bool exact =
        received + lost == run.topic.published && own.last_sequence.get() == run.topic.published;
    const bool each_once = count.heard.at(index) == received && count.invented.at(index) == 0;
    constexpr std::array<const char*, kSubscribers> kKinds{"", "slow ", "remote "};
    constexpr std::array<const char*, kSubscribers> kNames{
        "subscriber_exact", "slow_subscriber_exact", "remote_subscriber_exact"};
    return {kNames.at(index),
            exact && each_once && wrong == 0,
            "the " + std::string(kKinds.at(index)) + "subscriber got " + format_count(received) +
                ", " + format_count(wrong) + " of them torn or out of order, and was told of " +
                format_count(lost) + " that it lost: " + format_count(received + lost)};
}

Proof deaths_noticed(const DemoRun& run) {
    return {"deaths_noticed",
            run.reaped == kKills && run.queue.abandoned <= 1,
            "the deaths of worker 1 and pricer 1 were noticed, what they held was taken back (" +
                format_count(run.queue.abandoned) + " of the queue, " +
                format_count(run.function.redelivered) + " of the function)"};
}

Proof invariants_hold(const DemoRun& run) {
    // Nothing is on its way any more but what the topic keeps.
    const bool idle =
        run.verify.chunks_offered == run.topic.depth && run.verify.chunks_claimed == 0;
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
        const bool nobodys = !first && !second;
        if (nobodys && unfinished.size() < kListed) {
            unfinished.push_back(sequence);
        }
        const bool announced = !nobodys || account->workers[0].in_hands.get() == sequence;
        for (std::size_t index = 0; index < kSubscribers; ++index) {
            const bool known = account.heard(index, sequence);
            heard.at(index) += known ? 1 : 0;
            invented.at(index) += known && !announced ? 1 : 0;
        }
    }
    for (const auto& worker : account->workers) {
        total += static_cast<std::int64_t>(worker.total.get());
        asked += worker.asked.get();
        answered += worker.answered.get();
        slowest_call_ns = std::max(slowest_call_ns, worker.slowest_call_ns.get());
    }
    for (std::size_t index = 0; index < kSubscribers; ++index) {
        received.at(index) = account->subscribers.at(index).received.get();
        lost.at(index) = account->subscribers.at(index).lost.get();
    }
    for (std::size_t index = 0; index < kPricers; ++index) {
        priced.at(index) = account->pricers.at(index).priced.get();
    }
}

std::vector<Proof> prove(const Account& account, const DemoCount& count, const DemoRun& run) {
    return {all_offered(account, count, run),
            nothing_lost(account, count, run),
            in_order_and_once(account, count),
            calls_answered(account, count, run),
            totals_right(account, count),
            published_once(account, count, run),
            followed(account, count, run, 0),
            followed(account, count, run, 1),
            followed(account, count, run, 2),
            deaths_noticed(run),
            invariants_hold(run),
            nothing_left(run)};
}

}  // namespace telpher::cli
