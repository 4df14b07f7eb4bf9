// What each row is held against.
#include "bench/e2e/results.hpp"

namespace telpher::bench {

namespace {

std::vector<Target> core_targets() {
    const std::vector<std::string> kSpscOneWay = {"spsc_oneway", "spsc_oneway_paced"};
    const std::vector<std::string> kMqOneWay = {"boost_mq_oneway", "boost_mq_oneway_try"};
    return {
        {"ping-pong / two lines", {"telpher_ping_pong"}, {"two_lines"}, false, 2.2},
        {"ping-pong / spsc of 128 B", {"telpher_ping_pong"}, {"spsc_128"}, false, 1.1},
        {"boost mq / ping-pong", {"boost_mq"}, {"telpher_ping_pong"}, true, 4.0},
        {"one way, faster spsc / telpher", kSpscOneWay, {"telpher_oneway"}, true, 1.3},
        {"one way, faster boost mq / telpher", kMqOneWay, {"telpher_oneway"}, true, 15.0},
        {"loan 64 B / two lines", {"loan_64"}, {"two_lines_loan"}, false, 2.2},
        {"loan 1 KiB / two lines", {"loan_1k"}, {"two_lines_loan"}, false, 2.2},
        {"loan 4 KiB / two lines", {"loan_4k"}, {"two_lines_loan"}, false, 2.2},
        {"loan 16 KiB / two lines", {"loan_16k"}, {"two_lines_loan"}, false, 2.2},
        {"loan 64 KiB / two lines", {"loan_64k"}, {"two_lines_loan"}, false, 2.2},
        {"idle blocked process, % CPU", {"idle_cpu"}, {}, false, 0.005},
        {"attach, us", {"attach"}, {}, false, 1000},
        {"create queue, us", {"create_queue"}, {}, false, 100},
        {"stall after a kill, p50, us", {"stall_kill"}, {}, false, 1000},
        {"stall after a kill, p99, us", {"stall_kill"}, {}, false, 10'000, Figure::p99},
        {"default domain, KiB of /dev/shm", {"memory_domain"}, {}, false, 48 * 1024},
        {"queue of 1024, KiB", {"memory_queue"}, {}, false, 64},
        {"RssAnon of an attached process, KiB", {"memory_process"}, {}, false, 8 * 1024},
    };
}

// Of batches, several parties, sizes and sleeping.
std::vector<Target> queue_targets() {
    const std::vector<std::string> kOneWay = {"telpher_oneway"};
    return {
        {"one way / batches of 16", kOneWay, {"batch_16_oneway"}, true, 1.05},
        {"one way / 2 producers, 1 consumer", kOneWay, {"fan_2_1"}, true, 0.85},
        {"one way / 1 producer, 2 consumers", kOneWay, {"fan_1_2"}, true, 0.85},
        {"one way / 2 producers, 2 consumers", kOneWay, {"fan_2_2"}, true, 0.85},
        {"one way 1 KiB, spsc / telpher", {"spsc_oneway_1k"}, {"touched_oneway_1k"}, true, 1.2},
        {"one way 16 KiB, spsc / telpher", {"spsc_oneway_16k"}, {"touched_oneway_16k"}, true, 1.0},
        {"loan 64 KiB and header / two lines",
         {"large_loan_64k"},
         {"two_lines_large_loan"},
         false,
         2.5},
        {"loan 256 KiB / two lines", {"large_loan_256k"}, {"two_lines_large_loan"}, false, 2.5},
        {"loan 1 MiB / two lines", {"large_loan_1m"}, {"two_lines_large_loan"}, false, 2.5},
        {"loan 4 MiB / two lines", {"large_loan_4m"}, {"two_lines_large_loan"}, false, 2.5},
        {"loan 16 MiB / two lines", {"large_loan_16m"}, {"two_lines_large_loan"}, false, 2.5},
        {"loan 64 MiB / two lines", {"large_loan_64m"}, {"two_lines_large_loan"}, false, 2.5},
        {"1 MiB there and back / its floor", {"touched_1m"}, {"floor_1m"}, false, 1.1},
        {"answered while spinning / two lines",
         {"blocking_awake"},
         {"two_lines_awake"},
         false,
         2.6},
        {"call / two lines", {"call"}, {"two_lines_call"}, false, 1.6},
        {"call answered while spinning / two lines",
         {"call_awake"},
         {"two_lines_call"},
         false,
         1.9},
        {"a call that runs once / with an id", {"call_once"}, {"call_id"}, false, 1.25},
        {"lease and ack, one way / one way", {"lease_oneway"}, {"telpher_oneway"}, false, 1.30},
        {"both asleep / futex", {"blocking_asleep"}, {"futex"}, false, 1.15},
    };
}

std::vector<Target> topic_targets() {
    return {
        {"ZeroMQ 1 -> 3 / topic 1 -> 3", {"zmq_pub_1_3"}, {"topic_1_3"}, true, 10.0},
        {"publish beside 2 subscribers / 1", {"topic_cost_2"}, {"topic_cost_1"}, false, 1.15},
        {"topic / beside one that never reads", {"topic_free"}, {"topic_stopped"}, true, 0.95},
    };
}

// The first is the floor's or the peer's row, so that 1 is as fast as it.
std::vector<Target> bridge_targets() {
    const auto of = [](const std::string& text,
                       const std::string& floor,
                       const std::string& row,
                       double share) {
        return Target{text, {floor}, {row}, true, share};
    };
    return {
        of("bridge: round trip 64 B, raw / telpher", "raw_rr_64", "bridge_rr_64", 0.8),
        of("bridge: round trip 64 B, raw / telpher, encrypted",
           "raw_rr_64_tls",
           "bridge_rr_64_tls",
           0.8),
        of("bridge: window 256, 64 B", "raw_window_64", "bridge_window_64", 0.35),
        of("bridge: window 256, 64 B, encrypted",
           "raw_window_64_tls",
           "bridge_window_64_tls",
           0.35),
        of("bridge: window 256, 1 KiB", "raw_window_1k", "bridge_window_1k", 0.45),
        of("bridge: window 256, 1 KiB, encrypted",
           "raw_window_1k_tls",
           "bridge_window_1k_tls",
           0.35),
        of("bridge: 5 KiB, 1 connection", "raw_5k_1", "bridge_5k_1", 0.8),
        of("bridge: 5 KiB, 10 connections", "raw_5k_10", "bridge_5k_10", 0.8),
        of("bridge: 5 KiB, 100 connections", "raw_5k_100", "bridge_5k_100", 0.8),
        of("bridge: 500 KiB", "raw_500k", "bridge_500k", 0.7),
        of("bridge: 500 KiB, encrypted", "raw_500k_tls", "bridge_500k_tls", 0.9),
        of("bridge: 5 MiB", "raw_5m", "bridge_5m", 0.7),
        of("bridge: 5 MiB, encrypted", "raw_5m_tls", "bridge_5m_tls", 0.9),
        of("bridge: connect", "raw_connect", "bridge_connect", 0.8),
        of("bridge: connect, encrypted", "raw_connect_tls", "bridge_connect_tls", 0.8),
        of("hand-over, Redis stream / telpher", "redis_hand_over", "bridge_hand_over", 5.0),
        of("fan-out, ZeroMQ / telpher", "zmq_tcp_fan_out", "bridge_fan_out", 1.0),
        of("fan-out, ZeroMQ plain / telpher encrypted",
           "zmq_tcp_fan_out",
           "bridge_fan_out_tls",
           0.4),
        {"bridge: KiB of an idle connection", {"bridge_idle"}, {}, false, 4},
        {"bridge: KiB of an idle connection, encrypted", {"bridge_idle_tls"}, {}, false, 24},
    };
}

}  // namespace

const std::vector<Target>& all_targets() {
    static const std::vector<Target> targets = [] {
        std::vector<Target> all = core_targets();
        for (Target& target : queue_targets()) {
            all.push_back(std::move(target));
        }
        for (Target& target : bridge_targets()) {
            all.push_back(std::move(target));
        }
        for (Target& target : topic_targets()) {
            all.push_back(std::move(target));
        }
        return all;
    }();
    return targets;
}

}  // namespace telpher::bench
