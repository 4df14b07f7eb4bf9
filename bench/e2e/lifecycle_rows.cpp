// Question: how long do beginnings take: a domain, a queue, an attach?
// Method:   attach: a fresh process each time, forked before it ever used the library, connects to
//           a domain of default size; the clock runs from before connect() to after it. attach_SIZE:
//           to a domain whose pool has that size.
//           create_queue: one process makes queues of the default capacity. create_domain: default
//           size, removed each time.
// Not here: exec and dynamic linking of a program, which cost about a millisecond more.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/e2e/stats.hpp"

namespace telpher::bench {

namespace {

double us_since(std::uint64_t before_ns) {
    return static_cast<double>(monotonic_now_ns() - before_ns) / 1000.0;
}

void attach_once(const Context& context, Board& board, const std::string& domain) {
    Side self(context, board, 2, 1);
    ConnectOptions options;
    const std::uint64_t before_ns = monotonic_now_ns();
    const auto client = connect("shm:" + domain, options);
    const double us = us_since(before_ns);
    if (!client) {
        self.fail("connect: " + to_string(client.error()));
    }
    board.add_value(us);
}

// pool_bytes = 0: the default.
void hold_domain(Side& side, const std::string& domain, std::size_t pool_bytes) {
    ServerOptions options = server_options(side.context());
    if (pool_bytes != 0) {
        options.limits = DomainLimits{};
        options.limits->pool_bytes = pool_bytes;
    }
    auto opened = Server::open(domain, options);
    if (!opened && no_room(opened.status())) {
        side.skip(to_string(opened.error()));
        side.sync();
        return;
    }
    Server server = side.must(std::move(opened), "open");
    side.sync();
    side.sync();
    side.must(server.remove_domain(), "remove_domain");
}

void attach_often(Side& side, const std::string& domain, std::uint32_t times) {
    side.sync();
    if (side.skipped()) {
        return;
    }
    for (std::uint32_t i = 0; i < times; ++i) {
        auto child =
            side.must(Child::start(side.context(),
                                   side.context().cpus[1],
                                   [&] { attach_once(side.context(), side.board(), domain); }),
                      "fork");
        side.must(child.wait(side.context()), "attaching process");
    }
    side.sync();
}

Result<std::vector<Reading>> run_attach(const Context& context,
                                        const std::string& row,
                                        std::size_t pool_bytes,
                                        std::uint32_t times) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(context,
                                   board,
                                   domain,
                                   {[&](Side& side) { hold_domain(side, domain, pool_bytes); },
                                    [&](Side& side) { attach_often(side, domain, times); }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{row, "us", sample_of(values_of(*board))}};
}

Result<std::vector<Reading>> run_create_queue(const Context& context) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context, board, domain, {[&](Side& side) {
            Server server = side.must(Server::open(domain, server_options(side.context())), "open");
            for (std::uint32_t i = 0; i < side.context().scale.attaches; ++i) {
                const std::string name = "queue-" + std::to_string(i);
                const std::uint64_t before_ns = monotonic_now_ns();
                const auto queue = server.create_queue(name);
                side.board().add_value(us_since(before_ns));
                if (!queue) {
                    side.fail("create_queue: " + to_string(queue.error()));
                }
            }
            side.must(server.remove_domain(), "remove_domain");
        }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{"create_queue", "us", sample_of(values_of(*board))}};
}

Result<std::vector<Reading>> run_create_domain(const Context& context) {
    const std::string domain = context.new_name();
    SharedBoard board;
    const auto end = run_in_domain(
        context, board, domain, {[&](Side& side) {
            for (std::uint32_t i = 0; i < side.context().scale.attaches / 5 + 1; ++i) {
                const std::uint64_t before_ns = monotonic_now_ns();
                Server server =
                    side.must(Server::open(domain, server_options(side.context())), "open");
                side.board().add_value(us_since(before_ns));
                side.must(server.remove_domain(), "remove_domain");
            }
        }});
    if (!end) {
        return end.error();
    }
    return std::vector<Reading>{{"create_domain", "us", sample_of(values_of(*board))}};
}

}  // namespace

void add_lifecycle_rows(std::vector<Benchmark>& list) {
    list.push_back({"attach", "connect() of a fresh process", false, [](const Context& c) {
                        return run_attach(c, "attach", 0, c.scale.attaches);
                    }});
    list.push_back({"create_queue", "create_queue, capacity 1024", false, run_create_queue});
    list.push_back(
        {"create_domain", "Server::open that creates, default size", false, run_create_domain});
}

void add_attach_growth_rows(std::vector<Benchmark>& list) {
    constexpr std::pair<const char*, std::size_t> kPools[] = {
        {"64m", 64U << 20U}, {"256m", 256U << 20U}, {"1g", 1024U << 20U}};
    for (const auto& [size, bytes] : kPools) {
        const std::string row = std::string("attach_") + size;
        list.push_back({row,
                        std::string("connect() of a fresh process, pool of ") + size,
                        false,
                        [row, bytes = bytes](const Context& c) {
                            return run_attach(c, row, bytes, c.scale.attaches / 5 + 1);
                        }});
    }
}

}  // namespace telpher::bench
