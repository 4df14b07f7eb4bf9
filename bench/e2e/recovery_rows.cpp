// Question: how long does a domain take to be built again from its log, whose messages all wait?
// Method:   a queue is filled with durable messages of that payload until the log has about so many MiB, confirmed by the page cache
//           (not a sync: the log is the same); the domain's memory is removed, as a reboot would; the clock runs from before
//           Server::open to behind it. Three times, with the log in the page cache.
// Not here: a disk that must be read; logs that were cleaned; compressed ones (micro_bench, rebuild).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"
#include "bench/temporary_folder.hpp"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <string>

namespace telpher::bench {

namespace {

constexpr Duration kPatientlyMax = std::chrono::seconds(30);
constexpr std::size_t kRecordOverhead =
    163;  // of a message in the log, about: 1,177,348 of 256 B take 470 MiB
constexpr int kRepetitions = 3;

void fill(Side& side,
          const std::string& domain,
          const ServerOptions& options,
          std::size_t payload_bytes,
          std::uint64_t messages) {
    Server server = side.must(Server::open(domain, options), "open");
    Queue queue = side.must(server.create_queue("orders",
                                                {.capacity = static_cast<std::uint32_t>(messages),
                                                 .kind = QueueKind::durable,
                                                 .delivery = DeliveryMode::at_least_once,
                                                 .durability = Durability::process}),
                            "create_queue");
    const Message message = Message::text("order", std::string(payload_bytes, 'x')).durable();
    std::deque<Future<std::uint64_t>> offers;
    const auto confirm = [&] {
        side.must(offers.front().get(kPatientlyMax), "offer");
        offers.pop_front();
    };
    for (std::uint64_t i = 0; i < messages; ++i) {
        if (offers.size() == 256) {
            confirm();
        }
        offers.push_back(queue.offer_async(message, kPatientlyMax));
    }
    while (!offers.empty()) {
        confirm();
    }
}

struct Log {
    std::string folder;
    std::size_t bytes;
    std::size_t payload_bytes;
};

void recover(Side& side, const std::string& domain, const Log& log) {
    ServerOptions options = server_options(side.context());
    options.mode = OpenMode::open_or_create;
    options.log_directory = log.folder;
    options.limits =
        DomainLimits{.ring_bytes = std::size_t{256} << 20U, .segment_bytes = std::size_t{4} << 30U};
    const std::uint64_t messages = log.bytes / (log.payload_bytes + kRecordOverhead);
    fill(side, domain, options, log.payload_bytes, messages);
    for (int i = 0; i < kRepetitions; ++i) {
        side.must(remove_domain(domain, true), "remove_domain");
        const std::uint64_t before_ns = monotonic_now_ns();
        Server server = side.must(Server::open(domain, options), "open again");
        side.board().add_value(static_cast<double>(monotonic_now_ns() - before_ns) / 1e6);
        Queue queue = side.must(server.queue("orders"), "queue");
        if (side.must(queue.status(), "status").depth != messages) {
            side.fail("messages are missing behind a recovery");
        }
    }
    side.must(remove_domain(domain, true), "remove_domain");
}

Result<std::vector<Reading>> run_recovery(const Context& context,
                                          const std::string& row,
                                          std::size_t log_bytes,
                                          std::size_t payload_bytes) {
    // A short run has a short log.
    const std::size_t bytes = context.scale.slow_messages < 10'000 ? log_bytes / 64 : log_bytes;
    const std::string domain = context.new_name();
    const TemporaryFolder folder;  // the parent's: it goes whatever happens to the side
    if (!folder) {
        return Error{Status::server_error, errno, "mkdtemp"};
    }
    SharedBoard board;
    const Log log{folder.file("log"), bytes, payload_bytes};
    const auto end =
        run_in_domain(context, board, domain, {[&](Side& side) { recover(side, domain, log); }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{row, "ms", sample_of(values_of(*board))}};
}

}  // namespace

void add_recovery_rows(std::vector<Benchmark>& list) {
    for (const std::size_t payload_bytes : {256U, 4000U}) {
        for (const std::size_t mib : {16U, 64U, 256U}) {
            const std::string row =
                "recovery_" + std::to_string(payload_bytes) + "_" + std::to_string(mib) + "m";
            list.push_back({row,
                            "a domain from a log of " + std::to_string(mib) + " MiB, messages of " +
                                std::to_string(payload_bytes) + " B",
                            false,
                            [=](const Context& context) {
                                return run_recovery(context, row, mib << 20U, payload_bytes);
                            }});
        }
    }
}

}  // namespace telpher::bench
