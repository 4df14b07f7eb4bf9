// What the demo proves from the account, and how it says so.

#include "tools/telpher/demo.hpp"
#include "tools/telpher/units.hpp"

#include <dirent.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <memory>

namespace telpher::cli {

namespace {

double per_second(std::uint64_t count, std::uint64_t from_ns, std::uint64_t to_ns) {
    return to_ns > from_ns ? static_cast<double>(count) * 1e9 / static_cast<double>(to_ns - from_ns)
                           : 0;
}

std::string ns(std::uint64_t count) {
    return format_duration(std::chrono::nanoseconds(static_cast<std::int64_t>(count)));
}

std::string rate(double value) { return format_count(static_cast<std::uint64_t>(value)) + "/s"; }

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

}  // namespace

DemoReport::DemoReport(const SharedAccount& account, const DemoRun& demo_run)
    : run(demo_run), messages(account->messages.get()) {
    count(account);
    measure(account);
    prove(account);
}

void DemoReport::count(const SharedAccount& account) {
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
}

void DemoReport::measure(const SharedAccount& account) {
    std::uint64_t end_ns = 0;
    for (const auto& worker : account->workers) {
        latency.merge(worker.latency);
        end_ns = std::max(end_ns, worker.last_ns.get());
        total += static_cast<std::int64_t>(worker.total.get());
    }
    // Orders that were still waiting when full speed began are at most a queue full; not told
    // apart.
    const auto paced = account->paced.get();
    const auto full_ns = account->full_speed_ns.get();
    rate_two = per_second(
        run.handled_at_kill - std::min(paced, run.handled_at_kill), full_ns, run.kill_ns);
    rate_one = per_second(handled[0] + handled[1] - run.handled_at_kill, run.kill_ns, end_ns);
    paced_rate = static_cast<double>(account->rate.get());
    stall_before_ns = account->workers[1].stall_before_ns.get();
    stall_after_ns = account->workers[1].stall_after_ns.get();
}

void DemoReport::prove(const SharedAccount& account) {
    const auto& first = account->workers[0];
    const auto& second = account->workers[1];
    const auto offered = account->offered.get();
    proofs.push_back({"all_offered",
                      offered == messages && run.queue.offered == messages,
                      "every order was accepted: " + format_count(offered) +
                          " by the producer's account, " + format_count(run.queue.offered) +
                          " by the queue's"});
    const auto accounted = handled[0] + handled[1] + unfinished.size();
    std::string account_text = "nothing was lost: " + format_count(handled[0]) + " (worker 1) + " +
                               format_count(handled[1]) + " (worker 2)";
    // At most one, the killed worker's, and known to the queue: that is what at-most-once allows.
    const bool in_hands_ok =
        unfinished.empty() ||
        (unfinished.size() == 1 && run.queue.abandoned == 1 &&
         (first.in_hands.get() == 0 || first.in_hands.get() == unfinished.front()));
    if (!unfinished.empty()) {
        account_text +=
            " + " + std::to_string(unfinished.size()) + " (order " +
            std::to_string(unfinished.front()) +
            ", in worker 1's hands when it was killed; at-most-once gives it to nobody else)";
    }
    proofs.push_back({"nothing_lost",
                      accounted == messages && in_hands_ok && run.queue.polled == messages,
                      account_text + " = " + format_count(accounted)});
    proofs.push_back(
        {"in_order_and_once",
         twice == 0 && first.wrong_sequences.get() == 0 && second.wrong_sequences.get() == 0,
         "each order went to one worker, in order: " + std::to_string(twice) + " twice, " +
             std::to_string(first.wrong_sequences.get() + second.wrong_sequences.get()) +
             " out of order"});
    proofs.push_back(
        {"totals_right",
         first.wrong_totals.get() == 0 && second.wrong_totals.get() == 0,
         "each total that a worker computed is the producer's; their sum is " + money(total)});
    proofs.push_back({"death_noticed",
                      run.reaped == 1 && run.queue.abandoned <= 1,
                      "the death of worker 1 was noticed, what it held was taken back (" +
                          std::to_string(run.queue.abandoned) +
                          (run.queue.abandoned == 1 ? " message)" : " messages)")});
    const bool idle = run.verify.chunks_offered == 0 && run.verify.chunks_claimed == 0;
    proofs.push_back({"invariants_hold",
                      run.verify.problems.empty() && idle,
                      run.verify.problems.empty() ? "verify: every invariant holds over " +
                                                        format_count(run.verify.chunks) +
                                                        " chunks of memory, none of them lost"
                                                  : "verify: " + list(run.verify.problems)});
    proofs.push_back({"nothing_left",
                      run.left_behind.empty(),
                      run.left_behind.empty() ? "nothing is left in /dev/shm, and no process"
                                              : "left behind: " + list(run.left_behind)});
}

bool DemoReport::ok() const {
    return std::all_of(
        proofs.begin(), proofs.end(), [](const Proof& proof) { return proof.holds; });
}

std::string DemoReport::to_text() const {
    Table figures({"MEASURED", ""});
    figures.add({"latency at " + rate(paced_rate) + ", offer to worker",
                 "p50 " + ns(latency.percentile(0.5)) + "   p90 " + ns(latency.percentile(0.9)) +
                     "   p99 " + ns(latency.percentile(0.99)) + "   p99.9 " +
                     ns(latency.percentile(0.999)) + "   max " + ns(latency.max())});
    figures.add({"full speed, parsing included",
                 "two workers " + rate(rate_two) + "   one worker " + rate(rate_one)});
    figures.add({"longest wait of worker 2 for an order",
                 ns(stall_after_ns) + " after the kill   " + ns(stall_before_ns) + " before it"});
    std::string text = figures.text() + "\n";
    Table table({"PROVED", ""});
    for (const auto& proof : proofs) {
        table.add({proof.holds ? "  yes" : "  NO", proof.text});
    }
    text += table.text() + "\n";
    std::string seconds(16, '\0');
    seconds.resize(static_cast<std::size_t>(
        std::max(std::snprintf(seconds.data(), seconds.size(), "%.1f s", run.seconds), 0)));
    return text + (ok() ? "All of it holds; " : "NOT all of it holds; ") + format_count(messages) +
           " orders in " + seconds + ".\n";
}

Json DemoReport::to_json() const {
    Json proved = Json::object();
    for (const auto& proof : proofs) {
        proved[proof.name] = proof.holds;
    }
    return Json{
        {"ok", ok()},
        {"domain", run.domain},
        {"source", run.source},
        {"orders", run.orders},
        {"messages", messages},
        {"offered", run.queue.offered},
        {"polled", run.queue.polled},
        {"handled", {{"worker_1", handled[0]}, {"worker_2", handled[1]}}},
        {"in_hands_of_killed", unfinished},
        {"abandoned", run.queue.abandoned},
        {"latency_ns",
         {{"rate_per_s", paced_rate},
          {"count", latency.count()},
          {"p50", latency.percentile(0.5)},
          {"p90", latency.percentile(0.9)},
          {"p99", latency.percentile(0.99)},
          {"p999", latency.percentile(0.999)},
          {"max", latency.max()}}},
        {"throughput_per_s", {{"two_workers", rate_two}, {"one_worker", rate_one}}},
        {"kill",
         {{"pid", run.killed_pid},
          {"after", run.handled_at_kill},
          {"stall_ns", stall_after_ns},
          {"stall_before_ns", stall_before_ns}}},
        {"verify", {{"ok", run.verify.problems.empty()}, {"problems", run.verify.problems}}},
        {"left_behind", run.left_behind},
        {"proved", proved},
        {"seconds", run.seconds}};
}

std::vector<std::string> leftovers_of(const std::string& domain) {
    std::vector<std::string> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/dev/shm"), ::closedir);
    while (const dirent* const entry = directory ? ::readdir(directory.get()) : nullptr) {
        const std::string name = entry->d_name;
        const auto at = name.find(domain);
        // demo-12 is no part of demo-123.
        const bool whole =
            at != std::string::npos &&
            (at + domain.size() == name.size() ||
             std::isdigit(static_cast<unsigned char>(name[at + domain.size()])) == 0);
        if (whole) {
            found.push_back("/dev/shm/" + name);
        }
    }
    if (const auto domains = list_domains();
        domains && std::find(domains->begin(), domains->end(), domain) != domains->end()) {
        found.push_back("domain " + domain);
    }
    return found;
}

}  // namespace telpher::cli
