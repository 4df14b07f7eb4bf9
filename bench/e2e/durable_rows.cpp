// Question: what does a confirmed message cost beside what the disk takes for a sync?
// Method:   one process, its log in the folder for temporary files, payloads of 256 B. disk_sync: the floor, the same bytes
//           written and synced one after another in a file that was written before. durable_N: offer_async with N offers
//           outstanding, each confirmed by a sync; the same thread polls and acknowledges each message.
// Not here: several processes; consumers elsewhere. Disks that lie about syncs, as most virtual machines' may.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"
#include "bench/temporary_folder.hpp"
#include "src/store/record.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kPayloadBytes = 256;
constexpr off_t kFloorBytes = 1 << 20;

// Each is a thousandth of what others do: a sync takes that much longer.
std::uint64_t syncs_of(const Context& context) {
    return std::max<std::uint64_t>(4, context.scale.slow_messages / 1000);
}

Message durable_message() {
    return Message::text("order", std::string(kPayloadBytes, 'x')).durable();
}

void sync_floor(Side& side, const TemporaryFolder& folder) {
    const int file = ::open(folder.file("floor").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    const std::string zeros(static_cast<std::size_t>(kFloorBytes), '\0');
    if (file < 0 || ::pwrite(file, zeros.data(), zeros.size(), 0) != kFloorBytes ||
        ::fsync(file) != 0) {
        side.fail("the floor's file");
    }
    const std::string record(store::record_bytes(durable_message().size_bytes()), 'x');
    const std::uint64_t syncs = syncs_of(side.context());
    off_t at = 0;
    const std::uint64_t before = ticks();
    for (std::uint64_t i = 0; i < syncs; ++i) {
        if (::pwrite(file, record.data(), record.size(), at) < 0 || ::fdatasync(file) != 0) {
            side.fail("write and sync");
        }
        at = (at + static_cast<off_t>(record.size())) % (kFloorBytes - 4096);
    }
    side.tell_mean(ticks() - before, syncs);
    ::close(file);
}

void offer_durably(Side& side,
                   const std::string& domain,
                   const TemporaryFolder& folder,
                   std::size_t outstanding) {
    ServerOptions options = server_options(side.context());
    options.log_directory = folder.file("log");
    Server server = side.must(Server::open(domain, options), "open");
    Queue queue = side.must(server.create_queue("orders",
                                                {.capacity = 4096,
                                                 .kind = QueueKind::durable,
                                                 .delivery = DeliveryMode::at_least_once}),
                            "create_queue");
    const Message message = durable_message();
    const std::uint64_t messages =
        syncs_of(side.context()) * std::max<std::uint64_t>(1, outstanding / 4);
    std::deque<Future<std::uint64_t>> offers;
    const auto confirm = [&] {
        side.must(offers.front().get(std::chrono::seconds(30)), "offer");
        offers.pop_front();
        Delivery delivery = side.must(queue.poll({}), "poll");
        side.must(delivery.ack(), "ack");
    };
    const std::uint64_t before = ticks();
    for (std::uint64_t i = 0; i < messages; ++i) {
        if (offers.size() == outstanding) {
            confirm();
        }
        offers.push_back(queue.offer_async(message, std::chrono::seconds(30)));
    }
    while (!offers.empty()) {
        confirm();
    }
    side.tell_mean(ticks() - before, messages);
    queue = Queue();
    side.must(server.remove_domain(), "remove_domain");
}

Result<Sample> run_offers(const Context& context, std::size_t outstanding) {
    const std::string domain = context.new_name();
    const TemporaryFolder folder;  // the parent's: it goes whatever happens to the side
    if (!folder) {
        return Error{Status::server_error, errno, "mkdtemp"};
    }
    SharedBoard board;
    const auto end = run_in_domain(context, board, domain, {[&](Side& side) {
                                       offer_durably(side, domain, folder, outstanding);
                                   }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

Result<Sample> run_floor(const Context& context) {
    const TemporaryFolder folder;
    if (!folder) {
        return Error{Status::server_error, errno, "mkdtemp"};
    }
    SharedBoard board;
    const auto end = run_sides(context, board, {[&](Side& side) { sync_floor(side, folder); }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

}  // namespace

void add_durable_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("disk_sync", "the disk: write and fdatasync", run_floor));
    for (const std::size_t outstanding : {1U, 64U, 256U, 1024U}) {
        const std::string count = std::to_string(outstanding);
        list.push_back(
            one_row("durable_" + count,
                    "durable offers, " + count + " outstanding",
                    [outstanding](const Context& c) { return run_offers(c, outstanding); }));
    }
}

}  // namespace telpher::bench
