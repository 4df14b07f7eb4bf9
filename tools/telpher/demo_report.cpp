// What the demo measured, and how it tells that and what it proved.

#include "tools/telpher/demo_report.hpp"

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

Json percentiles_of(const LatencyHistogram& times, double rate_per_s) {
    return {{"rate_per_s", rate_per_s},
            {"count", times.count()},
            {"p50", times.percentile(0.5)},
            {"p90", times.percentile(0.9)},
            {"p99", times.percentile(0.99)},
            {"p999", times.percentile(0.999)},
            {"max", times.max()}};
}

}  // namespace

DemoReport::DemoReport(const SharedAccount& account, const DemoRun& demo_run)
    : run(demo_run), count(account), proofs(prove(*account, count, run)) {
    measure(account);
}

void DemoReport::measure(const SharedAccount& account) {
    std::uint64_t end_ns = 0;
    for (const auto& worker : account->workers) {
        latency.merge(worker.latency);
        calls.merge(worker.calls);
        end_ns = std::max(end_ns, worker.last_ns.get());
    }
    // Orders that were still waiting when full speed began are at most a queue full; not told
    // apart.
    const auto paced = account->paced.get();
    const auto full_ns = account->full_speed_ns.get();
    rate_two = per_second(run.worker_kill.after - std::min(paced, run.worker_kill.after),
                          full_ns,
                          run.worker_kill.ns);
    rate_one = per_second(
        count.handled[0] + count.handled[1] - run.worker_kill.after, run.worker_kill.ns, end_ns);
    paced_rate = static_cast<double>(account->rate.get());
    for (std::size_t index = 0; index < stall_ns.size(); ++index) {
        stall_ns.at(index) = account->workers[1].stall_ns.at(index).get();
    }
}

bool DemoReport::ok() const {
    return std::all_of(
        proofs.begin(), proofs.end(), [](const Proof& proof) { return proof.holds; });
}

std::string DemoReport::to_text() const {
    Table figures({"MEASURED", ""});
    const auto percentiles = [](const LatencyHistogram& times) {
        return "p50 " + ns(times.percentile(0.5)) + "   p90 " + ns(times.percentile(0.9)) +
               "   p99 " + ns(times.percentile(0.99)) + "   p99.9 " + ns(times.percentile(0.999)) +
               "   max " + ns(times.max());
    };
    figures.add({"latency at " + rate(paced_rate) + ", offer to worker", percentiles(latency)});
    figures.add({"calls of the function at " + rate(paced_rate / kCallEvery), percentiles(calls)});
    figures.add(
        {"full speed", "two workers " + rate(rate_two) + "   one worker " + rate(rate_one)});
    figures.add({"longest wait of worker 2 for an order",
                 ns(stall_ns[0]) + " before the kills   " + ns(stall_ns[1]) +
                     " after worker 1's   " + ns(stall_ns[2]) + " after pricer 1's"});
    std::string text = figures.text() + "\n";
    Table table({"PROVED", ""});
    for (const auto& proof : proofs) {
        table.add({proof.holds ? "  yes" : "  NO", proof.text});
    }
    text += table.text() + "\n";
    std::string seconds(16, '\0');
    seconds.resize(static_cast<std::size_t>(
        std::max(std::snprintf(seconds.data(), seconds.size(), "%.1f s", run.seconds), 0)));
    return text + (ok() ? "All of it holds; " : "NOT all of it holds; ") +
           format_count(count.messages) + " orders in " + seconds + ".\n";
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
        {"messages", count.messages},
        {"offered", run.queue.offered},
        {"polled", run.queue.polled},
        {"handled", {{"worker_1", count.handled[0]}, {"worker_2", count.handled[1]}}},
        {"in_hands_of_killed", count.unfinished},
        {"abandoned", run.queue.abandoned},
        {"latency_ns", percentiles_of(latency, paced_rate)},
        {"throughput_per_s", {{"two_workers", rate_two}, {"one_worker", rate_one}}},
        {"kill",
         {{"pid", run.worker_kill.pid},
          {"after", run.worker_kill.after},
          {"stall_ns", stall_ns[1]},
          {"stall_before_ns", stall_ns[0]}}},
        {"function",
         {{"name", run.function.name},
          {"calls", run.function.calls},
          {"answered", count.answered},
          {"priced", {{"pricer_1", count.priced[0]}, {"pricer_2", count.priced[1]}}},
          {"redelivered", run.function.redelivered},
          {"call_ns", percentiles_of(calls, paced_rate / kCallEvery)},
          {"slowest_call_ns", count.slowest_call_ns},
          {"kill",
           {{"pid", run.pricer_kill.pid},
            {"after", run.pricer_kill.after},
            {"in_a_call", run.pricer_held},
            {"stall_ns", stall_ns[2]}}}}},
        {"topic",
         {{"name", run.topic.name},
          {"published", run.topic.published},
          {"subscriber", {{"received", count.received[0]}, {"lost", count.lost[0]}}},
          {"slow_subscriber", {{"received", count.received[1]}, {"lost", count.lost[1]}}},
          {"remote_subscriber", {{"received", count.received[2]}, {"lost", count.lost[2]}}}}},
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
