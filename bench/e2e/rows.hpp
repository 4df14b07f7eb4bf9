#pragma once
// The list of benchmarks. Each file *_rows.cpp adds its own; the order is that of the report.

#include "bench/e2e/harness.hpp"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace telpher::bench {

// One figure of one round. A benchmark may give several.
struct Reading {
    std::string row;
    std::string unit;  // "ns", "us", "KiB", "%", "1/s"
    Sample sample{};
};

// When it runs, unless --only names it.
enum class Part : std::uint8_t {
    core,   // telpher and its floors: always
    sweep,  // how a cost grows: with --full
    peer,   // other people's transports: with --peers
};

struct Benchmark {
    std::string name;
    std::string question;
    bool every_round = true;  // false: once per run, with its own repetitions inside
    std::function<Result<std::vector<Reading>>(const Context&)> run;
    Part part = Part::core;
};

// A benchmark of one row in nanoseconds, called like the row.
Benchmark one_row(std::string name,
                  std::string question,
                  std::function<Result<Sample>(const Context&)> run);

void add_floor_rows(std::vector<Benchmark>& list);
// "two_lines_BESIDE": a virtual machine's lines may take three times as long a few seconds later.
void add_two_lines_row(std::vector<Benchmark>& list, const std::string& beside);
void add_spsc_rows(std::vector<Benchmark>& list);
void add_spsc_one_way_rows(std::vector<Benchmark>& list);
void add_boost_mq_rows(std::vector<Benchmark>& list);
void add_queue_rows(std::vector<Benchmark>& list);
void add_batch_rows(std::vector<Benchmark>& list);
void add_fan_rows(std::vector<Benchmark>& list);
void add_topic_rows(std::vector<Benchmark>& list);
void add_large_loan_rows(std::vector<Benchmark>& list);
void add_size_rows(std::vector<Benchmark>& list);
void add_blocking_rows(std::vector<Benchmark>& list);
void add_call_rows(std::vector<Benchmark>& list);
// Other people's transports, bench/peers/.
void add_mq_peer_rows(std::vector<Benchmark>& list);
void add_pipe_peer_rows(std::vector<Benchmark>& list);
void add_socket_peer_rows(std::vector<Benchmark>& list);
void add_zmq_peer_rows(std::vector<Benchmark>& list);  // adds nothing where ZeroMQ is not installed
void add_zmq_publish_rows(std::vector<Benchmark>& list);
void add_nng_peer_rows(std::vector<Benchmark>& list);
void add_iceoryx_peer_rows(std::vector<Benchmark>& list);
void add_loan_rows(std::vector<Benchmark>& list);
void add_idle_rows(std::vector<Benchmark>& list);
void add_lifecycle_rows(std::vector<Benchmark>& list);
void add_memory_rows(std::vector<Benchmark>& list);
void add_stall_rows(std::vector<Benchmark>& list);
void add_durable_rows(std::vector<Benchmark>& list);
// How costs grow: with depth, size, processes, the domain; with a log.
void add_depth_rows(std::vector<Benchmark>& list);
void add_size_growth_rows(std::vector<Benchmark>& list);
void add_many_queues_rows(std::vector<Benchmark>& list);
void add_attach_growth_rows(std::vector<Benchmark>& list);
void add_fan_growth_rows(std::vector<Benchmark>& list);
void add_topic_growth_rows(std::vector<Benchmark>& list);
void add_recovery_rows(std::vector<Benchmark>& list);
// The TCP bridge and its floors, bench/bridge/.
void add_bridge_request_rows(std::vector<Benchmark>& list);
void add_bridge_hand_over_rows(std::vector<Benchmark>& list);
void add_bridge_connection_rows(std::vector<Benchmark>& list);
void add_bridge_growth_rows(std::vector<Benchmark>& list);
// Its peers; each adds nothing where its library is not installed.
void add_zmq_tcp_rows(std::vector<Benchmark>& list);
void add_redis_rows(std::vector<Benchmark>& list);
void add_nats_rows(std::vector<Benchmark>& list);
void add_rabbitmq_rows(std::vector<Benchmark>& list);

std::vector<Benchmark> all_benchmarks();

}  // namespace telpher::bench
