#include "bench/e2e/domain.hpp"

namespace telpher::bench {

Result<void> run_in_domain(const Context& context,
                           SharedBoard& board,
                           const std::string& domain,
                           const std::vector<Body>& bodies) {
    Result<void> end = run_sides(context, board, bodies);
    if (end) {
        return end;
    }
    Context patient =
        context;  // cleaning up is not subject to the deadline that may just have passed
    patient.deadline_ns = ~0ULL;
    patient.patient = true;
    auto cleaner =
        Child::start(patient, -1, [&] { static_cast<void>(remove_domain(domain, true)); });
    if (cleaner) {
        static_cast<void>(cleaner->wait(patient));
    }
    return end;
}

Result<Sample> run_queue_pair(const Context& context,
                              const QueueBody& first,
                              const QueueBody& second) {
    const std::string domain = context.new_name();
    SharedBoard board;
    auto end =
        run_in_domain(context,
                      board,
                      domain,
                      {[&](Side& side) {
                           Server server = side.must(
                               Server::open(domain, server_options(side.context())), "open");
                           Queues queues{side.must(server.create_queue("there"), "create_queue"),
                                         side.must(server.create_queue("back"), "create_queue")};
                           side.sync();
                           first(side, queues);
                           side.sync();
                           side.must(server.remove_domain(), "remove_domain");
                       },
                       [&](Side& side) {
                           side.sync();
                           Client client = join(side, domain);
                           Queues queues{side.must(client.queue("back"), "queue"),
                                         side.must(client.queue("there"), "queue")};
                           second(side, queues);
                           side.sync();
                       }});
    if (!end) {
        return end.error();
    }
    return board->sample;
}

}  // namespace telpher::bench
