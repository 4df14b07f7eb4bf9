// Question: how much memory do a default domain, a queue and an attached process take?
// Method:   memory_domain: blocks of the domain's files in /dev/shm, each inode once. memory_queue:
//           queues of capacity 1024 are made until the domain says limit_reached; ring memory /
//           their number. memory_process: RssAnon of a process that attached and sent and received
//           a thousand messages. memory_1000_queues: what a process grows by that makes a thousand
//           queues and keeps their handles, in pages of the segment and in memory of its own.
// Not here: pages of the segment that a process has touched (RssShmem): they exist once for all.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"

#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <string_view>
#include <thread>

namespace telpher::bench {

namespace {

constexpr double kKiB = 1024.0;

Sample one_value(double value) { return {value, value, value, value}; }

double shm_kib_of(const std::string& domain) {
    std::set<ino_t> seen;
    double bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
        struct stat facts = {};
        if (entry.path().filename().string().find(domain) != std::string::npos &&
            stat(entry.path().c_str(), &facts) == 0 && seen.insert(facts.st_ino).second) {
            bytes += static_cast<double>(facts.st_blocks) * 512.0;
        }
    }
    return bytes / kKiB;
}

// A line of /proc/self/status: "RssAnon:", "RssShmem:".
double status_kib(std::string_view name) {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with(name)) {
            return std::stod(line.substr(name.size()));
        }
    }
    return 0;
}
double rss_anon_kib() { return status_kib("RssAnon:"); }

void use_queue(Side& side, Queue& queue) {
    const Message message = Message::text("order", "two espressos");
    for (int i = 0; i < 1000; ++i) {
        side.must(queue.offer(message), "offer");
        side.must(queue.poll(), "poll");
    }
}

Result<std::vector<Reading>> run_domain(const Context& context) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end =
        run_in_domain(context,
                      board,
                      domain,
                      {[&](Side& side) {
                           Server server = side.must(
                               Server::open(domain, server_options(side.context())), "open");
                           Queue queue = side.must(server.create_queue("used"), "create_queue");
                           side.sync();
                           side.sync();
                           side.board().add_value(shm_kib_of(domain));
                           side.must(server.remove_domain(), "remove_domain");
                       },
                       [&](Side& side) {
                           const double before = rss_anon_kib();
                           side.sync();
                           Client client = join(side, domain);
                           Queue queue = side.must(client.queue("used"), "queue");
                           use_queue(side, queue);
                           const double after = rss_anon_kib();
                           side.board().add_value(after);
                           side.board().add_value(after - before);
                           side.sync();
                       }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{"memory_process", "KiB", one_value(board->values[0])},
                                {"memory_process_added", "KiB", one_value(board->values[1])},
                                {"memory_domain", "KiB", one_value(board->values[2])}};
}

Result<std::vector<Reading>> run_queue(const Context& context) {
    constexpr std::size_t kRingBytes = std::size_t{4} << 20U;
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context, board, domain, {[&](Side& side) {
            ServerOptions options = server_options(side.context());
            options.limits = DomainLimits{};
            options.limits->ring_bytes = kRingBytes;
            options.limits->segment_bytes = 0;  // no growth: what fits is counted
            Server server = side.must(Server::open(domain, options), "open");
            std::vector<Queue> queues;
            for (;;) {
                auto queue = server.create_queue("queue-" + std::to_string(queues.size()));
                if (queue.status() == Status::limit_reached) {
                    break;
                }
                queues.push_back(side.must(std::move(queue), "create_queue"));
            }
            if (queues.empty()) {
                side.fail("not even one queue fits");
            }
            side.board().add_value(static_cast<double>(kRingBytes) / kKiB /
                                   static_cast<double>(queues.size()));
            side.must(server.remove_domain(), "remove_domain");
        }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{"memory_queue", "KiB", one_value(board->values[0])}};
}

Result<std::vector<Reading>> run_thousand(const Context& context) {
    constexpr int kQueues = 1000;
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context, board, domain, {[&](Side& side) {
            ServerOptions options = server_options(side.context());
            options.limits = DomainLimits{};
            options.limits->ring_bytes = std::size_t{64} << 20U;
            Server server = side.must(Server::open(domain, options), "open");
            Queue used = side.must(server.create_queue("used"), "create_queue");
            use_queue(side, used);
            // The janitor thread maps the pool's pages beside us: let it finish.
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
            const double shm = status_kib("RssShmem:");
            const double anon = rss_anon_kib();
            std::vector<Queue> queues;
            for (int i = 0; i < kQueues; ++i) {
                queues.push_back(
                    side.must(server.create_queue("queue-" + std::to_string(i)), "create_queue"));
            }
            side.board().add_value(status_kib("RssShmem:") - shm);
            side.board().add_value(rss_anon_kib() - anon);
            for (Queue& queue : queues) {
                use_queue(side, queue);
            }
            side.must(server.remove_domain(), "remove_domain");
        }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{"memory_1000_queues", "KiB", one_value(board->values[0])},
                                {"memory_1000_handles", "KiB", one_value(board->values[1])}};
}

}  // namespace

void add_memory_rows(std::vector<Benchmark>& list) {
    list.push_back({"memory_domain",
                    "files of a default domain, RssAnon of a process in it",
                    false,
                    run_domain});
    list.push_back({"memory_queue", "ring memory of a queue of 1024", false, run_queue});
    list.push_back({"memory_1000_queues",
                    "growth of a process that makes a thousand queues of 1024: segment, own memory",
                    false,
                    run_thousand});
}

}  // namespace telpher::bench
