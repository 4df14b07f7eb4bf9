// Question: what does RabbitMQ cost a client over TCP, beside the bridge?
// Method:   a broker of its own for all three rows of a round, on the first processor as the bridge is, with an epmd
//           of its own, in a folder of its own, on ports of loopback that were free. RabbitMQ's own settings, no
//           plugins; classic queues that are not durable, transient messages of 64 B, the default exchange.
//           librabbitmq, blocking, which sets TCP_NODELAY; a channel with publisher confirms; heartbeats off.
//           rabbitmq_rr_64: published and confirmed, one after another. rabbitmq_window_64: the same, 256 on their
//           way. Behind a phase the queue is purged: as many were in it as were confirmed.
//           rabbitmq_hand_over: published with 256 unconfirmed, consumed with a prefetch of 256, every 64
//           acknowledged together; from the common start to the consumer's last message. In order, none lost.
// Not here: TLS, durable and quorum queues, exchanges, clusters. The broker's start is not measured.
#include "bench/bridge/requests.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/peers/keeper.hpp"
#include "bench/temporary_folder.hpp"

#ifdef TELPHER_HAS_RABBITMQ

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kRabbitBytes = 64;
constexpr std::uint64_t kRabbitWindow = 256;
constexpr std::uint64_t kRabbitBatch = 64;  // acknowledged together
constexpr amqp_channel_t kRabbitChannel = 1;
constexpr int kRabbitFrameBytes = 131'072;  // what RabbitMQ proposes
constexpr int kRabbitStartSeconds = 90;     // it takes five, but others may build here

// Ports that nobody has now: of AMQP, of Erlang's distribution, of epmd.
std::array<std::uint16_t, 3> free_ports() {
    std::array<std::uint16_t, 3> ports{};
    std::array<int, 3> sockets{};
    for (std::size_t i = 0; i < ports.size(); ++i) {
        sockets[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        auto* const generic = reinterpret_cast<sockaddr*>(&address);
        if (bind(sockets[i], generic, size) == 0 && getsockname(sockets[i], generic, &size) == 0) {
            ports[i] = ntohs(address.sin_port);
        }
    }
    for (const int one : sockets) {  // only now, so that they differ
        close(one);
    }
    return ports;
}

class RabbitBroker {
  public:
    explicit RabbitBroker(const Context& context) : ports_(free_ports()) {
        std::ofstream(folder_.file("plugins")) << "[].\n";
        std::ofstream(folder_.file("rabbitmq.conf")) << "loopback_users.guest = true\n";
        std::ofstream(folder_.file("env.conf")) << "\n";
        const std::string epmd_port = std::to_string(ports_[2]);
        KeeperPlan plan;
        plan.servers = {{TELPHER_HAS_EPMD, "-address", "127.0.0.1", "-port", epmd_port},
                        {TELPHER_HAS_RABBITMQ}};
        plan.environment = {
            {"HOME", folder_.path()},  // of the Erlang cookie
            {"ERL_EPMD_ADDRESS", "127.0.0.1"},
            {"ERL_EPMD_PORT", epmd_port},
            {"RABBITMQ_NODENAME", "telpher-" + context.new_name() + "@localhost"},
            {"RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1"},
            {"RABBITMQ_NODE_PORT", std::to_string(ports_[0])},
            {"RABBITMQ_DIST_PORT", std::to_string(ports_[1])},
            {"RABBITMQ_MNESIA_BASE", folder_.path()},
            {"RABBITMQ_LOG_BASE", folder_.path()},
            {"RABBITMQ_LOGS", "-"},
            {"RABBITMQ_CONF_ENV_FILE", folder_.file("env.conf")},
            {"RABBITMQ_CONFIG_FILE", folder_.file("rabbitmq.conf")},
            {"RABBITMQ_ENABLED_PLUGINS_FILE", folder_.file("plugins")},
            // The script becomes Erlang's process then, instead of waiting beside it.
            {"RABBITMQ_ALLOW_INPUT", "1"},
            {"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
             "-noinput -kernel inet_dist_use_interface {127,0,0,1}"}};
        plan.cpu = context.cpu_of(0);
        plan.life_s = kRabbitStartSeconds + 3 * context.scale.child_seconds_max;
        plan.clean = [folder = folder_.path()](bool, const std::string&) {
            std::error_code ignored;
            std::filesystem::remove_all(folder, ignored);
        };
        if (folder_) {
            keeper_.emplace(context, plan);
        }
    }
    Result<void> wait_until_ready() {
        return keeper_ ? keeper_->wait_until_said("started TCP listener", kRabbitStartSeconds)
                       : Error{Status::server_error, 0, "mkdtemp"};
    }
    [[nodiscard]] int port() const noexcept { return ports_[0]; }

  private:
    const std::array<std::uint16_t, 3> ports_;
    const TemporaryFolder folder_;
    std::optional<Keeper> keeper_;
};

amqp_bytes_t amqp_text(const char* text) { return amqp_cstring_bytes(text); }

// A connection with one channel.
class RabbitLink {
  public:
    RabbitLink(Side& side, int port) : side_(side), connection_(amqp_new_connection()) {
        amqp_socket_t* const socket = amqp_tcp_socket_new(connection_);
        check(socket != nullptr && amqp_socket_open(socket, "127.0.0.1", port) == AMQP_STATUS_OK,
              "connect");
        check(amqp_login(connection_,
                         "/",
                         0,
                         kRabbitFrameBytes,
                         0,
                         AMQP_SASL_METHOD_PLAIN,
                         "guest",
                         "guest"),
              "login");
        amqp_channel_open(connection_, kRabbitChannel);
        check_answer("channel");
    }
    RabbitLink(const RabbitLink&) = delete;
    RabbitLink& operator=(const RabbitLink&) = delete;
    ~RabbitLink() {
        amqp_connection_close(connection_, AMQP_REPLY_SUCCESS);
        amqp_destroy_connection(connection_);
    }

    void check(bool good, const char* what) {
        if (!good) {
            side_.fail(std::string("RabbitMQ: ") + what);
        }
    }
    void check(const amqp_rpc_reply_t& reply, const char* what) {
        const auto& [type, method, error] = reply;
        if (type == AMQP_RESPONSE_LIBRARY_EXCEPTION) {
            side_.fail(std::string("RabbitMQ: ") + what + ": " + amqp_error_string2(error));
        }
        check(type == AMQP_RESPONSE_NORMAL, what);
    }
    void check_answer(const char* what) { check(amqp_get_rpc_reply(connection_), what); }
    void declare(const char* queue) {
        amqp_queue_declare(
            connection_, kRabbitChannel, amqp_text(queue), 0, 0, 0, 1, amqp_empty_table);
        check_answer("declare");
    }
    // How many were in it.
    std::uint64_t purge(const char* queue) {
        const auto* const done = amqp_queue_purge(connection_, kRabbitChannel, amqp_text(queue));
        check_answer("purge");
        return done->message_count;
    }
    [[nodiscard]] amqp_connection_state_t get() const noexcept { return connection_; }

  private:
    Side& side_;
    amqp_connection_state_t connection_;
};

// Publishes and counts what is confirmed. A Port of requests.hpp.
class RabbitPublisher {
  public:
    RabbitPublisher(Side& side, int port, const char* queue)
        : link_(side, port), queue_(queue), payload_(kRabbitBytes) {
        amqp_confirm_select(link_.get(), kRabbitChannel);
        link_.check_answer("confirm");
        transient_._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
        transient_.delivery_mode = 1;
    }
    void request(std::uint64_t number) {
        payload_.number(number);
        // librabbitmq only reads it.
        auto* const bytes = const_cast<std::byte*>(payload_.bytes().data());
        link_.check(amqp_basic_publish(link_.get(),
                                       kRabbitChannel,
                                       amqp_empty_bytes,
                                       amqp_text(queue_),
                                       0,
                                       0,
                                       &transient_,
                                       {kRabbitBytes, bytes}) == AMQP_STATUS_OK,
                    "publish");
    }
    std::size_t settle() {
        const std::uint64_t before = confirmed_;
        while (confirmed_ == before || amqp_frames_enqueued(link_.get()) != 0 ||
               amqp_data_in_buffer(link_.get()) != 0) {
            amqp_frame_t frame{};
            timeval patience{10, 0};
            const int got = amqp_simple_wait_frame_noblock(link_.get(), &frame, &patience);
            link_.check(got == AMQP_STATUS_OK && frame.frame_type == AMQP_FRAME_METHOD &&
                            frame.payload.method.id == AMQP_BASIC_ACK_METHOD,
                        "a message was not confirmed");
            take(*static_cast<const amqp_basic_ack_t*>(frame.payload.method.decoded));
        }
        amqp_maybe_release_buffers(link_.get());
        return confirmed_ - before;
    }

  private:
    void take(const amqp_basic_ack_t& confirm) {
        if (confirm.multiple != 0) {
            confirmed_ = std::max(confirmed_, confirm.delivery_tag);
        } else {
            early_.insert(confirm.delivery_tag);
        }
        while (!early_.empty() && *early_.begin() <= confirmed_ + 1) {
            confirmed_ = std::max(confirmed_, *early_.begin());
            early_.erase(early_.begin());
        }
    }

    RabbitLink link_;
    const char* queue_;
    PayloadBytes payload_;
    amqp_basic_properties_t transient_{};
    std::uint64_t confirmed_ = 0;    // all up to this one
    std::set<std::uint64_t> early_;  // and these: singly and before others
};

// ---- published and confirmed -------------------------------------------------------------------

void purge_behind_phases(Side& side, int port) {
    RabbitLink link(side, port);
    link.declare("orders");
    side.sync();
    auto& words = side.board().words;
    std::uint64_t taken = 0;
    while (!over(side)) {
        const std::uint64_t sent = words[kSent].load(std::memory_order_relaxed);  // relaxed: pacing
        if (sent > taken) {
            link.check(link.purge("orders") == sent - taken, "a message was lost");
            taken = sent;
            words[kTaken].store(taken, std::memory_order_relaxed);  // relaxed: pacing
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    side.sync();
}

Result<Sample> rabbit_requests(const Context& context, int port, std::uint32_t window) {
    RequestPlan plan;
    plan.window = window;
    plan.messages = context.scale.slow_messages / (window == 1 ? 40 : 4);
    plan.phase = std::clamp<std::uint64_t>(plan.messages / 2, 1, 8192);
    return run_pair(
        context,
        [port](Side& side) { purge_behind_phases(side, port); },
        [&](Side& side) {
            ask(side, plan, [&](std::uint32_t) {
                return std::make_unique<RabbitPublisher>(side, port, "orders");
            });
        });
}

// ---- through a queue ---------------------------------------------------------------------------

void publish_jobs(Side& side, int port, std::uint64_t messages) {
    side.sync();  // there is a queue
    RabbitPublisher publisher(side, port, "jobs");
    side.sync();
    std::uint64_t confirmed = 0;
    for (std::uint64_t number = 1; number <= messages; ++number) {
        publisher.request(number);
        if (number - confirmed == kRabbitWindow) {
            confirmed += publisher.settle();
        }
    }
    while (confirmed < messages) {
        confirmed += publisher.settle();
    }
    side.sync();
}

void consume_jobs(Side& side, int port, std::uint64_t messages) {
    RabbitLink link(side, port);
    link.declare("jobs");
    amqp_basic_qos(link.get(), kRabbitChannel, 0, kRabbitWindow, 0);
    link.check_answer("prefetch");
    amqp_basic_consume(
        link.get(), kRabbitChannel, amqp_text("jobs"), amqp_empty_bytes, 0, 0, 0, amqp_empty_table);
    link.check_answer("consume");
    side.sync();
    side.sync();
    const std::uint64_t before = ticks();
    for (std::uint64_t seen = 1; seen <= messages; ++seen) {
        amqp_maybe_release_buffers(link.get());
        amqp_envelope_t envelope{};
        timeval patience{10, 0};
        link.check(amqp_consume_message(link.get(), &envelope, &patience, 0), "consume");
        const auto bytes = std::as_bytes(std::span(
            static_cast<const char*>(envelope.message.body.bytes), envelope.message.body.len));
        link.check(sequence_of(bytes) == seen, "a message was lost");
        if (seen % kRabbitBatch == 0 || seen == messages) {
            link.check(amqp_basic_ack(link.get(), kRabbitChannel, envelope.delivery_tag, 1) == 0,
                       "ack");
        }
        amqp_destroy_envelope(&envelope);
    }
    side.tell_mean(ticks() - before, messages);
    side.sync();
}

Result<Sample> rabbit_hand_over(const Context& context, int port) {
    const std::uint64_t messages = context.scale.slow_messages / 4;
    Context placed = context;  // broker, producer, consumer: as the sides of the other hand-overs
    placed.cpus[0] = context.cpu_of(2);
    return run_pair(
        placed,
        [&](Side& side) { consume_jobs(side, port, messages); },
        [&](Side& side) { publish_jobs(side, port, messages); });
}

Result<std::vector<Reading>> rabbit_rows(const Context& context) {
    RabbitBroker broker(context);
    if (const auto ready = broker.wait_until_ready(); !ready) {
        return ready.error();
    }
    const int port = broker.port();
    std::vector<Reading> readings;
    const auto add = [&](const char* row, const Result<Sample>& sample) -> Result<void> {
        if (!sample) {
            return Error{sample.status(), 0, std::string(row) + ": " + sample.error().detail};
        }
        readings.push_back({row, "ns", *sample});
        return {};
    };
    if (auto end = add("rabbitmq_rr_64", rabbit_requests(context, port, 1)); !end) {
        return end.error();
    }
    if (auto end = add("rabbitmq_window_64", rabbit_requests(context, port, kRabbitWindow)); !end) {
        return end.error();
    }
    if (auto end = add("rabbitmq_hand_over", rabbit_hand_over(context, port)); !end) {
        return end.error();
    }
    return readings;
}

}  // namespace

void add_rabbitmq_rows(std::vector<Benchmark>& list) {
    list.push_back({"rabbitmq",
                    "RabbitMQ, 64 B: confirmed one by one, 256 on their way, through a queue",
                    true,
                    rabbit_rows});
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_rabbitmq_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif
