#include "bench/e2e/pictures.hpp"

#include <utility>

namespace telpher::bench {

namespace {

constexpr double kKiB = 1024;
constexpr double kMiB = 1024 * kKiB;

// A bar or a distribution of each row.
std::vector<Line> each(std::initializer_list<std::pair<const char*, const char*>> rows) {
    std::vector<Line> lines;
    for (const auto& [label, row] : rows) {
        lines.push_back({label, {{0, row}}});
    }
    return lines;
}

// PREFIX and a suffix for each x.
Line over(std::string label,
          const std::string& prefix,
          std::initializer_list<std::pair<double, const char*>> suffixes) {
    Line line{std::move(label), {}};
    for (const auto& [x, suffix] : suffixes) {
        line.points.push_back({x, prefix + suffix});
    }
    return line;
}

Picture bars(std::string name, std::string title, std::vector<Line> lines) {
    return {std::move(name),
            std::move(title),
            Shape::bars,
            Scaling::as_measured,
            "",
            "ns",
            std::move(lines)};
}

Picture percentiles(std::string name, std::string title, std::vector<Line> lines) {
    return {std::move(name),
            std::move(title),
            Shape::percentiles,
            Scaling::as_measured,
            "share of the round trips",
            "ns",
            std::move(lines)};
}

// What a curve shows over what.
struct Axes {
    Scaling scaling;
    const char* x;
    const char* y;
};
constexpr Axes kPerSecond{Scaling::gigabytes_per_second, "payload, bytes", "GB/s"};

Picture curve(std::string name, std::string title, const Axes& axes, std::vector<Line> lines) {
    return {std::move(name),
            std::move(title),
            Shape::curve,
            axes.scaling,
            axes.x,
            axes.y,
            std::move(lines)};
}

using Sizes = std::initializer_list<std::pair<double, const char*>>;

std::vector<Picture> round_trip_pictures() {
    const auto awake = each({{"telpher queue", "telpher_ping_pong"},
                             {"telpher call", "call"},
                             {"two cache lines (floor)", "two_lines"},
                             {"Boost spsc_queue, 128 B", "spsc_128"},
                             {"Boost message_queue", "boost_mq"},
                             {"iceoryx", "iceoryx"}});
    const auto asleep = each({{"telpher queue, eco", "blocking_asleep"},
                              {"two futexes (floor)", "futex"},
                              {"pipe", "pipe"},
                              {"Unix stream socket", "unix_stream"},
                              {"Unix seqpacket socket", "unix_seqpacket"},
                              {"POSIX mq", "posix_mq"},
                              {"ZeroMQ ipc", "zmq"},
                              {"nng ipc", "nng"}});
    return {bars("round_trip", "Round trip between two processes, 64 B, awake", awake),
            percentiles("round_trip_percentiles", "Round trip, 64 B, awake", awake),
            bars("asleep", "Round trip, 64 B, both sides sleep in the kernel", asleep),
            percentiles("asleep_percentiles", "Round trip, 64 B, both sides sleep", asleep)};
}

std::vector<Picture> one_way_pictures() {
    return {bars("one_way",
                 "One way, 64 B, per message",
                 each({{"telpher queue", "telpher_oneway"},
                       {"telpher queue, batches of 16", "batch_16_oneway"},
                       {"telpher queue, leased and acknowledged", "lease_oneway"},
                       {"Boost spsc_queue (no framing, no recovery)", "spsc_oneway_paced"},
                       {"Boost message_queue", "boost_mq_oneway_try"},
                       {"pipe", "pipe_oneway"},
                       {"Unix stream socket", "unix_stream_oneway"},
                       {"POSIX mq", "posix_mq_oneway"},
                       {"ZeroMQ ipc", "zmq_oneway"},
                       {"nng ipc", "nng_oneway"},
                       {"iceoryx", "iceoryx_oneway"}})),
            bars("large",
                 "One way, 64 KiB filled and read, per message",
                 each({{"telpher loan", "touched_oneway_64k"},
                       {"Boost spsc_queue of payloads", "spsc_oneway_64k"},
                       {"pipe", "pipe_oneway_64k"},
                       {"Unix stream socket", "unix_stream_oneway_64k"},
                       {"ZeroMQ ipc", "zmq_oneway_64k"},
                       {"nng ipc", "nng_oneway_64k"},
                       {"iceoryx", "iceoryx_oneway_64k"}})),
            bars("topic",
                 "Topic, 64 B, one publisher to three subscribers, per publish",
                 each({{"telpher topic, nothing lost", "topic_1_3"},
                       {"ZeroMQ PUB ipc", "zmq_pub_1_3"}}))};
}

std::vector<Picture> size_pictures() {
    const Sizes all{{kKiB, "1k"},
                    {4 * kKiB, "4k"},
                    {16 * kKiB, "16k"},
                    {64 * kKiB, "64k"},
                    {256 * kKiB, "256k"},
                    {kMiB, "1m"},
                    {4 * kMiB, "4m"},
                    {16 * kMiB, "16m"},
                    {64 * kMiB, "64m"},
                    {250e6, "250mb"}};
    const Sizes of_peers{
        {64, "oneway"}, {kKiB, "oneway_1k"}, {64 * kKiB, "oneway_64k"}, {kMiB, "oneway_1m"}};
    const Sizes of_loans{{64 * kKiB, "64k"},
                         {256 * kKiB, "256k"},
                         {kMiB, "1m"},
                         {4 * kMiB, "4m"},
                         {16 * kMiB, "16m"},
                         {64 * kMiB, "64m"}};
    return {curve("size",
                  "One way over the size of a message, filled and read",
                  kPerSecond,
                  {over("telpher loan", "touched_oneway_", all),
                   over("Boost spsc_queue", "spsc_oneway_", all),
                   over("pipe", "pipe_", of_peers),
                   over("Unix stream socket", "unix_stream_", of_peers),
                   over("ZeroMQ ipc", "zmq_", of_peers),
                   over("nng ipc", "nng_", of_peers),
                   over("iceoryx", "iceoryx_", of_peers)}),
            curve("loan",
                  "A loan handed over and back, nobody touches the payload",
                  {Scaling::as_measured, "payload, bytes", "ns"},
                  {over("telpher loan", "large_loan_", of_loans)})};
}

std::vector<Picture> growth_pictures() {
    const Sizes capacities{
        {16, "16"}, {64, "64"}, {256, "256"}, {1024, "1024"}, {4096, "4096"}, {16384, "16384"}};
    return {
        curve("depth",
              "One way, 64 B, over the capacity of the queue",
              {Scaling::millions_per_second, "capacity, messages", "M messages/s"},
              {over("telpher queue", "depth_", capacities)}),
        curve("processes",
              "One queue, 64 B, over its processes (half of them produce)",
              {Scaling::millions_per_second, "processes", "M messages/s"},
              {{"telpher queue",
                {{2, "telpher_oneway"}, {4, "fan_2_2"}, {6, "fan_3_3"}, {8, "fan_4_4"}}}}),
        curve("queues",
              "One producer and one consumer, 64 B, in turns over many queues",
              {Scaling::millions_per_second, "queues", "M messages/s"},
              {over("telpher queues",
                    "queues_",
                    {{1, "1"}, {10, "10"}, {100, "100"}, {1000, "1000"}})}),
        curve("subscribers",
              "A publish, for the publisher alone, over the subscribers",
              {Scaling::as_measured, "subscribers", "ns"},
              {over("telpher topic",
                    "topic_cost_",
                    {{1, "1"}, {2, "2"}, {4, "4"}, {16, "16"}, {64, "64"}})}),
        curve("group_commit",
              "Durable messages of 256 B, each confirmed by a sync",
              {Scaling::millions_per_second, "offers outstanding", "M messages/s"},
              {over("telpher, offer_async",
                    "durable_",
                    {{1, "1"}, {64, "64"}, {256, "256"}, {1024, "1024"}}),
               over("Redis, appendfsync always",
                    "redis_durable_",
                    {{1, "1"}, {64, "64"}, {256, "256"}}),
               {"the disk: write and fdatasync", {{1, "disk_sync"}}}}),
        curve(
            "recovery",
            "A domain is built again from its log",
            {Scaling::as_measured, "log, MiB", "ms"},
            {over("messages of 256 B", "recovery_256_", {{16, "16m"}, {64, "64m"}, {256, "256m"}}),
             over("messages of 4,000 B",
                  "recovery_4000_",
                  {{16, "16m"}, {64, "64m"}, {256, "256m"}})}),
        curve("domain",
              "connect() of a fresh process over the size of the domain",
              {Scaling::as_measured, "pool, MiB", "us"},
              {over("telpher", "attach_", {{64, "64m"}, {256, "256m"}, {1024, "1g"}})})};
}

std::vector<Picture> bridge_bars() {
    const auto round_trips = each({{"telpher bridge", "bridge_rr_64"},
                                   {"telpher bridge, encrypted", "bridge_rr_64_tls"},
                                   {"telpher bridge, Unix socket", "bridge_rr_64_unix"},
                                   {"epoll server (floor)", "raw_rr_64"},
                                   {"epoll server, TLS (floor)", "raw_rr_64_tls"},
                                   {"ZeroMQ", "zmq_tcp_rr_64"},
                                   {"ZeroMQ, CURVE", "zmq_curve_rr_64"},
                                   {"Redis, SET", "redis_rr_64"},
                                   {"NATS, answered by a third process", "nats_rr_64"},
                                   {"RabbitMQ, confirms", "rabbitmq_rr_64"}});
    const char* const request = "Request over TCP until it is acknowledged, 64 B";
    return {
        bars("bridge_round_trip", request, round_trips),
        percentiles("bridge_percentiles", request, round_trips),
        bars("bridge_window",
             "256 requests on their way, 64 B, per message",
             each({{"telpher bridge", "bridge_window_64"},
                   {"telpher bridge, encrypted", "bridge_window_64_tls"},
                   {"epoll server (floor)", "raw_window_64"},
                   {"epoll server, TLS (floor)", "raw_window_64_tls"},
                   {"ZeroMQ", "zmq_tcp_window_64"},
                   {"ZeroMQ, CURVE", "zmq_curve_window_64"},
                   {"Redis, SET", "redis_window_64"},
                   {"NATS, answered by a third process", "nats_window_64"},
                   {"RabbitMQ, confirms", "rabbitmq_window_64"}})),
        bars("hand_over",
             "Remote producer, queue, remote consumer, 64 B, per message",
             each({{"telpher bridge, at most once, each delivery confirmed", "bridge_hand_over"},
                   {"telpher bridge, the same encrypted", "bridge_hand_over_tls"},
                   {"Redis stream, acknowledged", "redis_hand_over"},
                   {"NATS JetStream, acknowledged", "nats_hand_over"},
                   {"RabbitMQ, acknowledged", "rabbitmq_hand_over"}})),
        bars("bridge_fan_out",
             "One remote publisher to ten remote subscribers, 64 B, per delivery",
             each({{"telpher bridge, nothing lost", "bridge_fan_out"},
                   {"telpher bridge, encrypted", "bridge_fan_out_tls"},
                   {"ZeroMQ", "zmq_tcp_fan_out"},
                   {"ZeroMQ, CURVE", "zmq_curve_fan_out"},
                   {"NATS", "nats_fan_out"}}))};
}

std::vector<Picture> bridge_curves() {
    const auto requests =
        [](const std::string& label, const std::string& prefix, const std::string& suffix) {
            Line line{label, {}};
            for (const auto& [bytes, size] : Sizes{{64, "rr_64"},
                                                   {5 * kKiB, "5k_1"},
                                                   {50 * kKiB, "50k_1"},
                                                   {500 * kKiB, "500k"},
                                                   {5 * kMiB, "5m"},
                                                   {50 * kMiB, "50m"}}) {
                line.points.push_back({bytes, std::string(prefix).append(size).append(suffix)});
            }
            return line;
        };
    const Sizes connections{{1, "1"}, {2, "2"}, {4, "4"}, {10, "10"}, {100, "100"}, {1000, "1000"}};
    return {curve("request_size",
                  "Request over TCP until it is acknowledged, over its size",
                  kPerSecond,
                  {requests("bridge", "bridge_", ""),
                   requests("bridge, encrypted", "bridge_", "_tls"),
                   requests("bridge, compressed", "bridge_", "_gzip"),
                   requests("epoll server", "raw_", ""),
                   requests("epoll server, TLS", "raw_", "_tls")}),
            curve("connections",
                  "Requests of 5 KiB over the connections that send them, per message",
                  {Scaling::as_measured, "connections", "ns"},
                  {over("bridge", "bridge_5k_", connections),
                   over("epoll server", "raw_5k_", connections)})};
}

}  // namespace

const std::vector<Picture>& all_pictures() {
    static const std::vector<Picture> pictures = [] {
        std::vector<Picture> all;
        for (const auto make : {round_trip_pictures,
                                one_way_pictures,
                                bridge_bars,
                                size_pictures,
                                growth_pictures,
                                bridge_curves}) {
            for (Picture& picture : make()) {
                all.push_back(std::move(picture));
            }
        }
        return all;
    }();
    return pictures;
}

std::vector<Line> measured_lines(const Picture& picture, const Results& results) {
    std::vector<Line> lines;
    for (const Line& line : picture.lines) {
        Line measured{line.label, {}};
        for (const Point& point : line.points) {
            const Row* const row = results.find(point.row);
            const bool distribution = row != nullptr && row->counts().size() > 1;
            if (row != nullptr && (distribution || picture.shape != Shape::percentiles)) {
                measured.points.push_back(point);
            }
        }
        if (!measured.points.empty()) {
            lines.push_back(std::move(measured));
        }
    }
    return lines;
}

double shown(const Picture& picture, const Point& point, const Results& results) {
    const double measured = results.find(point.row)->p50().median;
    switch (picture.scaling) {
        case Scaling::as_measured:
            return measured;
        case Scaling::millions_per_second:
            return 1000.0 / measured;
        case Scaling::gigabytes_per_second:
            return point.x / measured;
    }
    return measured;
}

}  // namespace telpher::bench
