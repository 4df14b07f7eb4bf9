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

std::vector<Picture> local_pictures() {
    const auto round_trips = each({{"telpher queue", "telpher_ping_pong"},
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
    return {
        {"round_trip",
         "Round trip between two processes, 64 B, awake",
         Shape::bars,
         {},
         "",
         "ns",
         round_trips},
        {"round_trip_percentiles",
         "Round trip, 64 B, awake",
         Shape::percentiles,
         {},
         "share of round trips",
         "ns",
         round_trips},
        {"asleep",
         "Round trip, 64 B, both sides sleep in the kernel",
         Shape::bars,
         {},
         "",
         "ns",
         asleep},
        {"asleep_percentiles",
         "Round trip, 64 B, both sides sleep",
         Shape::percentiles,
         {},
         "share of round trips",
         "ns",
         asleep},
        {"one_way",
         "One way, 64 B, per message",
         Shape::bars,
         {},
         "",
         "ns",
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
               {"iceoryx", "iceoryx_oneway"}})},
        {"large",
         "One way, 64 KiB filled and read, per message",
         Shape::bars,
         {},
         "",
         "ns",
         each({{"telpher loan", "touched_oneway_64k"},
               {"Boost spsc_queue of payloads", "spsc_oneway_64k"},
               {"pipe", "pipe_oneway_64k"},
               {"Unix stream socket", "unix_stream_oneway_64k"},
               {"ZeroMQ ipc", "zmq_oneway_64k"},
               {"nng ipc", "nng_oneway_64k"},
               {"iceoryx", "iceoryx_oneway_64k"}})},
        {"topic",
         "Topic, 64 B, one publisher to three subscribers, per publish",
         Shape::bars,
         {},
         "",
         "ns",
         each({{"telpher topic, nothing lost", "topic_1_3"}, {"ZeroMQ PUB ipc", "zmq_pub_1_3"}})},
    };
}

std::vector<Picture> growth_pictures() {
    using Sizes = std::initializer_list<std::pair<double, const char*>>;
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
    return {
        {"size",
         "One way over the size of a message, filled and read",
         Shape::curve,
         Scaling::gigabytes_per_second,
         "payload, bytes",
         "GB/s",
         {over("telpher loan", "touched_oneway_", all),
          over("Boost spsc_queue", "spsc_oneway_", all),
          over("pipe", "pipe_", of_peers),
          over("Unix stream socket", "unix_stream_", of_peers),
          over("ZeroMQ ipc", "zmq_", of_peers),
          over("nng ipc", "nng_", of_peers),
          over("iceoryx", "iceoryx_", of_peers)}},
        {"loan",
         "A loan handed over and back, nobody touches the payload",
         Shape::curve,
         {},
         "payload, bytes",
         "ns",
         {over("telpher loan",
               "large_loan_",
               {{64 * kKiB, "64k"},
                {256 * kKiB, "256k"},
                {kMiB, "1m"},
                {4 * kMiB, "4m"},
                {16 * kMiB, "16m"},
                {64 * kMiB, "64m"}})}},
        {"depth",
         "One way, 64 B, over the capacity of the queue",
         Shape::curve,
         Scaling::millions_per_second,
         "capacity, messages",
         "M messages/s",
         {over("telpher queue",
               "depth_",
               {{16, "16"},
                {64, "64"},
                {256, "256"},
                {1024, "1024"},
                {4096, "4096"},
                {16384, "16384"}})}},
        {"processes",
         "One queue, 64 B, over its processes (half of them produce)",
         Shape::curve,
         Scaling::millions_per_second,
         "processes",
         "M messages/s",
         {{"telpher queue",
           {{2, "telpher_oneway"}, {4, "fan_2_2"}, {6, "fan_3_3"}, {8, "fan_4_4"}}}}},
        {"subscribers",
         "A publish, for the publisher alone, over the subscribers",
         Shape::curve,
         {},
         "subscribers",
         "ns",
         {over("telpher topic",
               "topic_cost_",
               {{1, "1"}, {2, "2"}, {4, "4"}, {16, "16"}, {64, "64"}})}},
        {"group_commit",
         "Durable messages of 256 B, each confirmed by a sync",
         Shape::curve,
         Scaling::millions_per_second,
         "offers outstanding",
         "M messages/s",
         {over("telpher, offer_async",
               "durable_",
               {{1, "1"}, {64, "64"}, {256, "256"}, {1024, "1024"}}),
          over("Redis, appendfsync always", "redis_durable_", {{1, "1"}, {64, "64"}, {256, "256"}}),
          {"the disk: write and fdatasync", {{1, "disk_sync"}}}}},
        {"recovery",
         "A domain is built again from its log",
         Shape::curve,
         {},
         "log, MiB",
         "ms",
         {over("messages of 256 B", "recovery_256_", {{16, "16m"}, {64, "64m"}, {256, "256m"}}),
          over(
              "messages of 4,000 B", "recovery_4000_", {{16, "16m"}, {64, "64m"}, {256, "256m"}})}},
        {"domain",
         "connect() of a fresh process over the size of the domain",
         Shape::curve,
         {},
         "pool, MiB",
         "us",
         {over("telpher", "attach_", {{64, "64m"}, {256, "256m"}, {1024, "1g"}})}},
    };
}

std::vector<Picture> bridge_pictures() {
    const auto round_trips = each({{"telpher bridge", "bridge_rr_64"},
                                   {"telpher bridge, encrypted", "bridge_rr_64_tls"},
                                   {"telpher bridge, Unix socket", "bridge_rr_64_unix"},
                                   {"epoll server (floor)", "raw_rr_64"},
                                   {"epoll server, TLS (floor)", "raw_rr_64_tls"},
                                   {"ZeroMQ", "zmq_tcp_rr_64"},
                                   {"ZeroMQ, CURVE", "zmq_curve_rr_64"},
                                   {"Redis", "redis_rr_64"},
                                   {"NATS", "nats_rr_64"},
                                   {"RabbitMQ", "rabbitmq_rr_64"}});
    using Sizes = std::initializer_list<std::pair<double, const char*>>;
    const auto sizes = [](const std::string& suffix) {
        Line line;
        for (const auto& [bytes, size] : Sizes{{64, "rr_64"},
                                               {5 * kKiB, "5k_1"},
                                               {50 * kKiB, "50k_1"},
                                               {500 * kKiB, "500k"},
                                               {5 * kMiB, "5m"},
                                               {50 * kMiB, "50m"}}) {
            line.points.push_back({bytes, size + suffix});
        }
        return line;
    };
    const auto named =
        [&](const std::string& label, const std::string& prefix, const std::string& suffix) {
            Line line = sizes(suffix);
            line.label = label;
            for (Point& point : line.points) {
                point.row = prefix + point.row;
            }
            return line;
        };
    const Sizes connections{{1, "1"}, {2, "2"}, {4, "4"}, {10, "10"}, {100, "100"}, {1000, "1000"}};
    return {
        {"bridge_round_trip",
         "Request over TCP until it is acknowledged, 64 B",
         Shape::bars,
         {},
         "",
         "ns",
         round_trips},
        {"bridge_percentiles",
         "Request over TCP until it is acknowledged, 64 B",
         Shape::percentiles,
         {},
         "share of requests",
         "ns",
         round_trips},
        {"bridge_window",
         "256 requests on their way, 64 B, per message",
         Shape::bars,
         {},
         "",
         "ns",
         each({{"telpher bridge", "bridge_window_64"},
               {"telpher bridge, encrypted", "bridge_window_64_tls"},
               {"epoll server (floor)", "raw_window_64"},
               {"epoll server, TLS (floor)", "raw_window_64_tls"},
               {"ZeroMQ", "zmq_tcp_window_64"},
               {"ZeroMQ, CURVE", "zmq_curve_window_64"},
               {"Redis", "redis_window_64"},
               {"NATS JetStream", "nats_window_64"},
               {"RabbitMQ, confirms", "rabbitmq_window_64"}})},
        {"hand_over",
         "Remote producer, queue, remote consumer that acknowledges, 64 B, per message",
         Shape::bars,
         {},
         "",
         "ns",
         each({{"telpher bridge", "bridge_hand_over"},
               {"telpher bridge, encrypted", "bridge_hand_over_tls"},
               {"Redis stream", "redis_hand_over"},
               {"NATS JetStream", "nats_hand_over"},
               {"RabbitMQ", "rabbitmq_hand_over"}})},
        {"bridge_fan_out",
         "One remote publisher to ten remote subscribers, 64 B, per delivery",
         Shape::bars,
         {},
         "",
         "ns",
         each({{"telpher bridge, nothing lost", "bridge_fan_out"},
               {"telpher bridge, encrypted", "bridge_fan_out_tls"},
               {"ZeroMQ", "zmq_tcp_fan_out"},
               {"ZeroMQ, CURVE", "zmq_curve_fan_out"},
               {"NATS", "nats_fan_out"}})},
        {"request_size",
         "Request over TCP until it is acknowledged, over its size",
         Shape::curve,
         Scaling::gigabytes_per_second,
         "payload, bytes",
         "GB/s",
         {named("bridge", "bridge_", ""),
          named("bridge, encrypted", "bridge_", "_tls"),
          named("bridge, compressed", "bridge_", "_gzip"),
          named("epoll server", "raw_", ""),
          named("epoll server, TLS", "raw_", "_tls")}},
        {"connections",
         "Requests of 5 KiB over the connections that send them, per message",
         Shape::curve,
         {},
         "connections",
         "ns",
         {over("bridge", "bridge_5k_", connections), over("epoll server", "raw_5k_", connections)}},
    };
}

}  // namespace

const std::vector<Picture>& all_pictures() {
    static const std::vector<Picture> pictures = [] {
        std::vector<Picture> all = local_pictures();
        for (auto&& more : {bridge_pictures(), growth_pictures()}) {
            all.insert(all.end(), more.begin(), more.end());
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
