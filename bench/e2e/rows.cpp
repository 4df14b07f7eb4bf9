// The list of benchmarks, in the order of the report.
#include "bench/e2e/rows.hpp"

namespace telpher::bench {

namespace {

using AddRows = void (*)(std::vector<Benchmark>&);

void add_part(std::vector<Benchmark>& list, Part part, std::initializer_list<AddRows> adders) {
    const std::size_t before = list.size();
    for (const AddRows add : adders) {
        add(list);
    }
    for (std::size_t i = before; i < list.size(); ++i) {
        list[i].part = part;
    }
}

}  // namespace

Benchmark one_row(std::string name,
                  std::string question,
                  std::function<Result<Sample>(const Context&)> run) {
    auto wrapped = [name,
                    run = std::move(run)](const Context& context) -> Result<std::vector<Reading>> {
        const auto sample = run(context);
        if (!sample) {
            return sample.error();
        }
        return std::vector<Reading>{{name, "ns", *sample}};
    };
    return {std::move(name), std::move(question), true, std::move(wrapped)};
}

std::vector<Benchmark> all_benchmarks() {
    std::vector<Benchmark> list;
    add_part(list,
             Part::core,
             {add_floor_rows,
              add_spsc_rows,
              add_queue_rows,
              add_spsc_one_way_rows,
              add_batch_rows,
              add_fan_rows,
              add_topic_rows,
              add_loan_rows,
              add_large_loan_rows,
              add_size_rows,
              add_blocking_rows,
              add_call_rows,
              add_boost_mq_rows});
    add_part(list,
             Part::sweep,
             {add_depth_rows,
              add_size_growth_rows,
              add_many_queues_rows,
              add_attach_growth_rows,
              add_fan_growth_rows,
              add_topic_growth_rows});
    add_part(list,
             Part::peer,
             {add_mq_peer_rows,
              add_pipe_peer_rows,
              add_socket_peer_rows,
              add_zmq_peer_rows,
              add_zmq_publish_rows,
              add_nng_peer_rows,
              add_iceoryx_peer_rows});
    add_part(
        list,
        Part::core,
        {add_lifecycle_rows, add_memory_rows, add_idle_rows, add_stall_rows, add_durable_rows});
    add_part(list, Part::sweep, {add_recovery_rows});
    add_part(list,
             Part::core,
             {add_bridge_request_rows, add_bridge_hand_over_rows, add_bridge_connection_rows});
    add_part(list, Part::sweep, {add_bridge_growth_rows});
    add_part(
        list, Part::peer, {add_zmq_tcp_rows, add_redis_rows, add_nats_rows, add_rabbitmq_rows});
    return list;
}

}  // namespace telpher::bench
