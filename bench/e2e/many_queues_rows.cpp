// Question: what does it cost that messages go through many queues instead of one?
// Method:   queues_N: a producer offers messages of 64 B to N queues of capacity 64 in turns, a consumer polls them in the
//           same order; each message is checked.
// Not here: waiting for any of many queues (WaitSet).
#include "bench/e2e/domain.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <vector>

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(10);
constexpr std::uint32_t kQueueCapacity = 64;

std::string queue_name(std::uint32_t i) { return "queue-" + std::to_string(i); }

Result<Sample> run_queues(const Context& context, std::uint32_t count) {
    const std::uint64_t messages = context.scale.messages / 4 + count;
    const std::uint64_t warm_up = messages / 10 + count;
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             Server server = side.must(Server::open(domain, server_options(context)), "open");
             std::vector<Queue> queues;
             for (std::uint32_t i = 0; i < count; ++i) {
                 queues.push_back(side.must(
                     server.create_queue(queue_name(i), {.capacity = kQueueCapacity}), "create"));
             }
             Payload<kLineBytes> payload;
             Message message = Message::bytes("order", "application/octet-stream", {});
             side.sync();
             side.sync();
             for (std::uint64_t number = 1; number <= warm_up + messages; ++number) {
                 payload.number(number);
                 message.set_payload(payload.bytes());
                 side.must(queues[number % count].offer(message, kWaitMax), "offer");
             }
             side.sync();
             side.must(server.remove_domain(), "remove_domain");
         },
         [&](Side& side) {
             side.sync();
             Client client = join(side, domain);
             std::vector<Queue> queues;
             for (std::uint32_t i = 0; i < count; ++i) {
                 queues.push_back(side.must(client.queue(queue_name(i)), "queue"));
             }
             side.sync();
             std::uint64_t before = 0;
             for (std::uint64_t number = 1; number <= warm_up + messages; ++number) {
                 const auto delivery = queues[number % count].poll(kWaitMax);
                 if (!delivery || sequence_of(delivery->payload()) != number) [[unlikely]] {
                     side.fail("message " + std::to_string(number) + " is another, or none");
                 }
                 before = number == warm_up ? ticks() : before;
             }
             side.tell_mean(ticks() - before, messages);
             side.sync();
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

}  // namespace

void add_many_queues_rows(std::vector<Benchmark>& list) {
    for (const std::uint32_t count : {1U, 10U, 100U, 1000U}) {
        list.push_back(one_row(
            "queues_" + std::to_string(count),
            "one producer, one consumer, in turns over " + std::to_string(count) + " queues, 64 B",
            [count](const Context& c) { return run_queues(c, count); }));
    }
}

}  // namespace telpher::bench
