// Question: what does Redis cost a client over TCP, beside the bridge?
// Method:   a redis-server of its own (nothing is saved, but where it says so), on the first processor; hiredis, blocking.
//           redis_durable_N: RPUSH of 256 B with N on their way, each answered when it is synced (appendonly).
//           redis_rr_64: SET of 64 B, one after another. redis_window_64: the same, 256 on their way.
//           redis_hand_over: a stream with a consumer group: XADD (256 on their way), XREADGROUP of up to 256,
//           XACK of each batch; from the common start to the consumer's last message. In order, none lost.
// Not here: TLS, which hiredis 0.14 does not have.
#include "bench/bridge/raw_floor.hpp"
#include "bench/e2e/rows.hpp"
#include "bench/temporary_folder.hpp"

#ifdef TELPHER_HAS_REDIS

#include <hiredis/hiredis.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace telpher::bench {

namespace {

constexpr std::size_t kPayloadBytes = 64;
constexpr std::uint64_t kWindow = 256;

struct ReplyFree {
    void operator()(redisReply* reply) const noexcept { freeReplyObject(reply); }
    void operator()(redisContext* context) const noexcept { redisFree(context); }
};
using Reply = std::unique_ptr<redisReply, ReplyFree>;
using Connected = std::unique_ptr<redisContext, ReplyFree>;

Connected connect_redis(std::uint16_t port) {
    return Connected(redisConnect("127.0.0.1", static_cast<int>(port)));
}

class Link {
  public:
    explicit Link(Side& side)
        : side_(side),
          // relaxed: it was told before a meeting
          redis_(connect_redis(static_cast<std::uint16_t>(
              side.board().words[kPort].load(std::memory_order_relaxed)))) {
        if (redis_ == nullptr || redis_->err != 0) {
            side.fail("redisConnect");
        }
    }
    void begin(const std::vector<std::string_view>& command) {
        std::vector<const char*> words;
        std::vector<std::size_t> lengths;
        for (const std::string_view word : command) {
            words.push_back(word.data());
            lengths.push_back(word.size());
        }
        redisAppendCommandArgv(
            redis_.get(), static_cast<int>(words.size()), words.data(), lengths.data());
    }
    Reply answer() {
        void* reply = nullptr;
        if (redisGetReply(redis_.get(), &reply) != REDIS_OK) {
            side_.fail(std::string("redis: ") + redis_->errstr);
        }
        Reply got(static_cast<redisReply*>(reply));
        if (got->type == REDIS_REPLY_ERROR) {
            side_.fail(std::string("redis: ") + got->str);
        }
        return got;
    }
    Reply ask(const std::vector<std::string_view>& command) {
        begin(command);
        return answer();
    }

  private:
    Side& side_;
    Connected redis_;
};

std::string_view text_of(const PayloadBytes& payload) {
    return {reinterpret_cast<const char*>(payload.bytes().data()), payload.bytes().size()};
}

enum class Kept : std::uint8_t { nowhere, synced };

// The server, until the others meet for the last time.
void serve_redis(Side& side,
                 int meetings,
                 const TemporaryFolder& folder,
                 Kept kept = Kept::nowhere) {
    std::uint16_t port = 0;
    ::close(listen_on_loopback(side, &port));
    const std::string port_text = std::to_string(port);
    std::vector<const char*> words{"redis-server",
                                   "--bind",
                                   "127.0.0.1",
                                   "--port",
                                   port_text.c_str(),
                                   "--save",
                                   "",
                                   "--logfile",
                                   "/dev/null",
                                   "--dir",
                                   folder.path().c_str()};
    if (kept == Kept::synced) {
        words.insert(words.end(), {"--appendonly", "yes", "--appendfsync", "always"});
    }
    words.push_back(nullptr);
    auto server = side.must(Child::start(side.context(),
                                         -1,
                                         [&] {
                                             execvp(words[0], const_cast<char**>(words.data()));
                                             _exit(1);
                                         }),
                            "fork");
    for (int i = 0; i < 500; ++i) {
        const Connected first = connect_redis(port);
        if (first != nullptr && first->err == 0) {
            break;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    side.board().words[kPort].store(port, std::memory_order_relaxed);  // relaxed: a meeting
    for (int i = 0; i < meetings; ++i) {
        side.sync();
    }
    server.kill();  // before its folder goes
}

class RedisPort {
  public:
    RedisPort(Side& side, const RequestPlan& plan, const char* command)
        : link_(side), payload_(plan.payload_bytes), command_(command) {}
    void request(std::uint64_t number) {
        payload_.number(number);
        link_.begin({command_, "order", text_of(payload_)});
        ++asked_;
    }
    std::size_t settle() {
        // Half a window together: who asks one by one sends and reads as often.
        const std::uint64_t count = std::max<std::uint64_t>(1, asked_ / 2);
        for (std::uint64_t i = 0; i < count; ++i) {
            static_cast<void>(link_.answer());
        }
        asked_ -= count;
        return count;
    }

  private:
    Link link_;
    PayloadBytes payload_;
    const char* command_;
    std::uint64_t asked_ = 0;
};

Result<Sample> run_requests(const Context& context, RequestPlan plan, Kept kept = Kept::nowhere) {
    plan.messages = std::max(plan.messages, plan.phase);
    const TemporaryFolder folder;  // the parent's: it goes whatever happens to the sides
    if (!folder) {
        return Error{Status::server_error, errno, "mkdtemp"};
    }
    return run_pair(
        context,
        [&](Side& side) { serve_redis(side, 2, folder, kept); },
        [&](Side& side) {
            // Nothing is to be taken out behind a phase.
            // relaxed: the same thread reads it
            side.board().words[kTaken].store(~0ULL >> 1U, std::memory_order_relaxed);
            ask(side, plan, [&](std::uint32_t) {
                return std::make_unique<RedisPort>(
                    side, plan, kept == Kept::synced ? "RPUSH" : "SET");
            });
        });
}

// ---- a stream ----------------------------------------------------------------------------------

void add_all(Side& side, std::uint64_t messages) {
    side.sync();
    Link link(side);
    PayloadBytes payload(kPayloadBytes);
    side.sync();
    std::uint64_t answered = 0;
    for (std::uint64_t number = 1; number <= messages; ++number) {
        payload.number(number);
        link.begin({"XADD", "orders", "*", "p", text_of(payload)});
        if (number - answered == kWindow) {
            for (; answered < number - kWindow / 2; ++answered) {
                static_cast<void>(link.answer());
            }
        }
    }
    for (; answered < messages; ++answered) {
        static_cast<void>(link.answer());
    }
    side.sync();
}

void read_all(Side& side, std::uint64_t messages) {
    side.sync();
    Link link(side);
    link.ask({"XGROUP", "CREATE", "orders", "group", "$", "MKSTREAM"});
    const std::string count = std::to_string(kWindow);
    std::uint64_t seen = 0;
    side.sync();
    const std::uint64_t before = ticks();
    while (seen < messages) {
        const Reply read = link.ask({"XREADGROUP",
                                     "GROUP",
                                     "group",
                                     "me",
                                     "COUNT",
                                     count,
                                     "BLOCK",
                                     "5000",
                                     "STREAMS",
                                     "orders",
                                     ">"});
        if (read->type != REDIS_REPLY_ARRAY) {
            side.fail("XREADGROUP gave nothing");
        }
        const redisReply* const entries = read->element[0]->element[1];
        std::vector<std::string_view> acknowledge{"XACK", "orders", "group"};
        for (std::size_t i = 0; i < entries->elements; ++i) {
            const redisReply* const id = entries->element[i]->element[0];
            const redisReply* const payload = entries->element[i]->element[1]->element[1];
            acknowledge.emplace_back(id->str, static_cast<std::size_t>(id->len));
            const auto bytes =
                std::as_bytes(std::span(payload->str, static_cast<std::size_t>(payload->len)));
            if (sequence_of(bytes) != ++seen) {
                side.fail("a message was lost");
            }
        }
        link.ask(acknowledge);
    }
    side.tell_mean(ticks() - before, messages);
    side.sync();
}

Result<Sample> run_stream(const Context& context) {
    const std::uint64_t messages = context.scale.slow_messages;
    const TemporaryFolder folder;
    if (!folder) {
        return Error{Status::server_error, errno, "mkdtemp"};
    }
    SharedBoard board;
    const auto end = run_sides(context,
                               board,
                               {[&](Side& side) { serve_redis(side, 3, folder); },
                                [&](Side& side) { add_all(side, messages); },
                                [&](Side& side) { read_all(side, messages); }});
    return end ? Result<Sample>(board->sample()) : Result<Sample>(end.error());
}

RequestPlan plan_of(const Context& context, std::uint32_t window, std::uint64_t share) {
    RequestPlan plan;
    plan.window = window;
    plan.messages = context.scale.slow_messages / share;
    plan.phase = std::clamp<std::uint64_t>(plan.messages / 2, 1, 8192);
    return plan;
}

}  // namespace

void add_redis_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("redis_rr_64", "Redis, SET of 64 B", [](const Context& context) {
        return run_requests(context, plan_of(context, 1, 20));
    }));
    list.push_back(one_row("redis_window_64", "Redis, SET, 256 on their way", [](const Context& c) {
        return run_requests(c, plan_of(c, kWindow, 1));
    }));
    for (const std::uint32_t window : {1U, 64U, 256U}) {
        const std::string count = std::to_string(window);
        list.push_back(
            one_row("redis_durable_" + count,
                    "Redis, RPUSH of 256 B, appendfsync always, " + count + " on their way",
                    [window](const Context& c) {
                        RequestPlan plan = plan_of(c, window, 4000 / window);
                        plan.payload_bytes = 256;
                        return run_requests(c, plan, Kept::synced);
                    }));
    }
    list.push_back(one_row("redis_hand_over", "Redis, XADD, XREADGROUP, XACK, 64 B", run_stream));
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_redis_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif
