// Question: what does a call of a function cost, complete messages through the public API?
// Method:   one serving thread whose handler returns its request; 64 B payload, topic "order", timeout 10 s.
//           call: one round trip after the other. call_id: each with a request id of its own, which costs its
//           making and its bytes. call_once: the same to a function that remembers them (the domain's table
//           of 32,768 outcomes, the oldest goes), so that call_once / call_id is what idempotency costs.
//           call_awake: the caller rests 20 us between calls,
//           awake, so that the serving thread has looked in vain for that long and still spins; only the
//           call is timed.
// Not here: large responses, several callers, asynchronous calls.
#include "bench/e2e/domain.hpp"
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <atomic>
#include <cstdio>

namespace telpher::bench {

namespace {

constexpr Duration kWaitMax = std::chrono::seconds(10);
constexpr std::string_view kName = "echo";
// What is measured of the guarantee that a request runs once.
enum class Ids { none, sent, remembered };

class CallPort {
  public:
    CallPort(Side& side, Client& client, Ids ids)
        : side_(side),
          client_(client),
          ids_(ids),
          message_(Message::bytes("order", "application/octet-stream", payload_.bytes())) {}

    void send(std::uint64_t sequence) {
        payload_.number(sequence);
        message_.set_payload(payload_.bytes());
        if (ids_ != Ids::none) {
            char id[24] = {};
            std::snprintf(id, sizeof id, "id-%016llx", static_cast<unsigned long long>(sequence));
            message_.with_request_id(id);
        }
        auto reply = client_.send(kName, message_, kWaitMax);
        if (!reply) [[unlikely]] {
            side_.fail("send: " + to_string(reply.error()));
        }
        got_ = sequence_of(reply->payload());
    }
    [[nodiscard]] std::uint64_t receive() const { return got_; }

  private:
    Side& side_;
    Client& client_;
    const Ids ids_;
    Payload<kLineBytes> payload_{};
    Message message_;
    std::uint64_t got_ = 0;
};

// Side 0 calls (`act`), side 1 serves `amount` calls and sleeps meanwhile.
Result<Sample> run_calls(const Context& context,
                         Amount amount,
                         Ids ids,
                         const std::function<void(Side&, CallPort&)>& act) {
    ServeOptions how;
    if (ids == Ids::remembered) {
        how.idempotency = Idempotency{.when_full = WhenFull::evict_oldest};
    }
    const std::string domain = context.new_name();
    SharedBoard board;
    auto end = run_in_domain(
        context,
        board,
        domain,
        {[&](Side& side) {
             Server server =
                 side.must(Server::open(domain, server_options(side.context())), "open");
             side.sync();
             side.sync();
             Client client = join(side, domain);
             CallPort port(side, client, ids);
             act(side, port);
             side.sync();
             side.must(server.remove_domain(), "remove_domain");
         },
         [&](Side& side) {
             side.sync();
             ServerOptions options;
             options.mode = OpenMode::attach;
             options.wait_strategy = strategy_of(side.context());
             Server server = side.must(Server::open(domain, options), "open");
             std::atomic<std::uint64_t> left{amount.warm_up + amount.measured};
             const Function served = side.must(server.serve(
                                                   kName,
                                                   [&left](const Message& request) {
                                                       // relaxed: only counts
                                                       left.fetch_sub(1, std::memory_order_relaxed);
                                                       return request;
                                                   },
                                                   how),
                                               "serve");
             side.sync();
             side.sync();
             for (std::uint64_t now = left.load(std::memory_order_relaxed); now != 0;
                  now = left.load(std::memory_order_relaxed)) {  // relaxed, both: as above
                 std::this_thread::sleep_for(std::chrono::milliseconds(10));
             }
             side.sync();
             side.sync();
         }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

template <Ids kIds>
Result<Sample> busy(const Context& context) {
    const Amount amount = amount_of(context.scale.round_trips);
    return run_calls(
        context, amount, kIds, [&](Side& side, CallPort& port) { ping(side, port, amount); });
}

Result<Sample> awake(const Context& context) {
    const Amount amount = amount_of(context.scale.round_trips / 30 + 1);
    return run_calls(context, amount, Ids::none, [&](Side& side, CallPort& port) {
        ping_rested(side, port, amount);
    });
}

}  // namespace

void add_call_rows(std::vector<Benchmark>& list) {
    add_two_lines_row(list, "call");
    list.push_back(one_row("call", "telpher function, round trip, 64 B", busy<Ids::none>));
    list.push_back(one_row("call_awake", "the same, answered while the server spins", awake));
    list.push_back(
        one_row("call_id", "telpher function, 64 B, each call with a request id", busy<Ids::sent>));
    list.push_back(
        one_row("call_once", "the same, each remembered, runs once", busy<Ids::remembered>));
}

}  // namespace telpher::bench
