#include "bench/e2e/domain.hpp"

#include <algorithm>

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

bool no_room(Status why) {
    return why == Status::message_too_large || why == Status::out_of_memory ||
           why == Status::limit_reached;
}

namespace {

// The domain and its two queues. Empty when the side has skipped.
std::optional<Queues> make_queues(Side& side,
                                  const std::string& domain,
                                  const PairSetup& setup,
                                  Server& server) {
    ServerOptions options = server_options(side.context());
    options.wait_strategy = setup.strategy.value_or(options.wait_strategy);
    if (setup.message_bytes != 0) {
        options.limits = DomainLimits{};
        options.limits->message_bytes = std::max<std::size_t>(setup.message_bytes + 4096, 2048);
        options.limits->pool_bytes = std::max(setup.pool_bytes, options.limits->pool_bytes);
    }
    auto opened = Server::open(domain, options);
    if (!opened && no_room(opened.status())) {
        side.skip(to_string(opened.error()));
        return std::nullopt;
    }
    server = side.must(std::move(opened), "open");
    const QueueOptions how{.capacity = setup.capacity, .delivery = setup.delivery};
    Queues queues{side.must(server.create_queue("there", how), "create_queue"),
                  side.must(server.create_queue("back", how), "create_queue")};
    if (setup.message_bytes != 0) {
        const auto loan = queues.out.loan("order", setup.message_bytes);
        if (!loan && no_room(loan.status())) {
            side.skip(to_string(loan.error()));
            side.must(server.remove_domain(), "remove_domain");
            return std::nullopt;
        }
        if (!loan) {
            side.fail("loan: " + to_string(loan.error()));
        }
    }
    return queues;
}

}  // namespace

Result<Sample> run_queue_pair(const Context& context,
                              const PairSetup& setup,
                              const QueueBody& first,
                              const QueueBody& second) {
    const std::string domain = context.new_name();
    SharedBoard board;
    auto end = run_in_domain(context,
                             board,
                             domain,
                             {[&](Side& side) {
                                  Server server;
                                  auto queues = make_queues(side, domain, setup, server);
                                  side.sync();
                                  if (side.skipped()) {
                                      return;
                                  }
                                  first(side, *queues);
                                  side.sync();
                                  side.must(server.remove_domain(), "remove_domain");
                              },
                              [&](Side& side) {
                                  side.sync();
                                  if (side.skipped()) {
                                      return;
                                  }
                                  Client client = join(side, domain, setup.strategy);
                                  Queues queues{side.must(client.queue("back"), "queue"),
                                                side.must(client.queue("there"), "queue")};
                                  second(side, queues);
                                  side.sync();
                              }});
    if (!end) {
        return end.error();
    }
    return board->sample();
}

}  // namespace telpher::bench
