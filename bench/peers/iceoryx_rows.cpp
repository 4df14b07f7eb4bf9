// Question: what does iceoryx cost between two processes of a host?
// Method:   untyped publishers and subscribers of iceoryx 2.0: a loan that is filled by a copy, published, taken
//           and read in place. The publisher waits for the consumer and the subscriber blocks the producer, so
//           nothing is lost. take() in a loop: its documentation names polling as the fastest way to wait.
//           Queues of 256 for 64 B and 1 KiB (the most that it allows), of 64 and 8 for 64 KiB and 1 MiB.
//           A RouDi for each row, from /dev/shm to SIGTERM, with memory pools of its own; log level off.
//           RouDi's names are fixed: the rows are skipped where one runs or has left its memory.
//           iceoryx_oneway_1m: the loops and amounts of touched_oneway_1m.
// Not here: WaitSet and Listener, which sleep; requests; larger queues.
#include "bench/peers/keeper.hpp"
#include "bench/peers/peer.hpp"

#ifdef TELPHER_HAS_ICEORYX

#include <fcntl.h>
#include <grp.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_publisher.hpp>
#include <iceoryx_posh/popo/untyped_subscriber.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>
#include <thread>

namespace telpher::bench {

namespace {

constexpr std::size_t kIceMiB = 1024UL * 1024UL;
constexpr int kConnectLooks = 10'000;  // of a millisecond
constexpr const char* kFirst = "-first";
constexpr const char* kSecond = "-second";

// Every pool has room for what two full queues and their ends hold; each size for its payload, aligned.
constexpr const char* kRouDiConfig =
    "[general]\n"
    "version = 1\n"
    "[[segment]]\n"
    "[[segment.mempool]]\n"
    "size = 128\n"
    "count = 1024\n"
    "[[segment.mempool]]\n"
    "size = 1152\n"
    "count = 1024\n"
    "[[segment.mempool]]\n"
    "size = 65664\n"
    "count = 256\n"
    "[[segment.mempool]]\n"
    "size = 1048704\n"
    "count = 32\n";

constexpr std::uint64_t depth_of(std::size_t bytes) {
    return bytes <= 1024 ? iox::MAX_SUBSCRIBER_QUEUE_CAPACITY : bytes <= kPeerLargeBytes ? 64 : 8;
}

// What a RouDi makes and removes. The segment of its clients' chunks is called like the group.
std::vector<std::string> files_of_roudi() {
    std::vector<std::string> files{"/dev/shm/iceoryx_mgmt", "/tmp/roudi", "/tmp/roudi.lock"};
    if (const group* own = getgrgid(getegid())) {
        files.push_back(std::string("/dev/shm/") + own->gr_name);
    }
    return files;
}

// Why no RouDi can be started here; empty: one can.
std::string why_no_roudi() {
    const int lock = open("/tmp/iox-unique-roudi.lock", O_RDONLY | O_CLOEXEC);
    const bool held = lock >= 0 ? flock(lock, LOCK_EX | LOCK_NB) != 0
                                : errno != ENOENT;  // EACCES: another user's
    if (lock >= 0) {
        close(lock);
    }
    if (held) {
        return "a RouDi runs here already";
    }
    for (const std::string& file : files_of_roudi()) {
        std::error_code ignored;
        if (std::filesystem::exists(file, ignored)) {
            return file + " is there although no RouDi runs: remove it if nobody needs it";
        }
    }
    return {};
}

// In the keeper. A RouDi that was killed leaves all of its files, a client that was killed its socket.
void clean_up(const std::string& name, bool orderly, const std::string& output) {
    std::vector<std::string> files;
    if (!orderly && output.find("Reserving") != std::string::npos) {  // it made them, no other did
        files = files_of_roudi();
    }
    for (const char* side : {kFirst, kSecond}) {
        files.push_back("/tmp/" + name + side);
        files.push_back("/tmp/" + name + side + ".lock");
    }
    for (const std::string& file : files) {
        unlink(file.c_str());
    }
}

class RouDi {
  public:
    RouDi(const Context& context, const std::string& name)
        : config_(kRouDiConfig), why_not_(why_no_roudi()) {
        if (!why_not_.empty()) {
            return;
        }
        KeeperPlan plan;
        plan.servers = {
            {TELPHER_HAS_ICEORYX, "-c", config_.path(), "-l", "off", "-k", "0", "-m", "off"}};
        plan.patience_s = 5;
        plan.life_s = context.scale.child_seconds_max + 10;
        plan.clean = [name](bool orderly, const std::string& output) {
            clean_up(name, orderly, output);
        };
        keeper_.emplace(context, plan);
        if (const auto ready = keeper_->wait_until_said("RouDi is ready for clients", 20); !ready) {
            failed_ = "RouDi: " + ready.error().detail;
        }
    }
    // Why none was started: another's is there.
    [[nodiscard]] const std::string& why_not() const noexcept { return why_not_; }
    // Why the one that was started did not come up.
    [[nodiscard]] const std::string& failed() const noexcept { return failed_; }

  private:
    MemoryFile config_;
    std::string why_not_;
    std::string failed_{};
    std::optional<Keeper> keeper_;
};

// One side's connection to RouDi. iceoryx ends it when a program returns from main; a side of a benchmark does not.
class IceRuntime {
  public:
    explicit IceRuntime(const std::string& name) {
        iox::log::LogManager::GetLogManager().SetDefaultLogLevel(
            iox::log::LogLevel::kOff, iox::log::LogLevelOutput::kHideLogLevel);
        runtime_ = &iox::runtime::PoshRuntime::initRuntime(
            iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
    }
    IceRuntime(const IceRuntime&) = delete;
    IceRuntime& operator=(const IceRuntime&) = delete;
    // Says good-bye to RouDi and removes this side's socket. The process ends by _exit: never destroyed twice.
    ~IceRuntime() { runtime_->~PoshRuntime(); }

  private:
    iox::runtime::PoshRuntime* runtime_;
};

iox::capro::ServiceDescription service_of(const std::string& name, bool there) {
    using iox::capro::IdString_t;
    return {IdString_t("telpher-bench"),
            IdString_t(iox::cxx::TruncateToCapacity, name),
            there ? IdString_t("there") : IdString_t("back")};
}

template <std::size_t kBytes>
class IceoryxLink {
  public:
    explicit IceoryxLink(const Context& context)
        : name_("telpher-" + context.new_name()), roudi_(context, name_) {}
    [[nodiscard]] const std::string& why_not() const noexcept { return roudi_.why_not(); }
    void check(Side& side) const {
        if (!roudi_.failed().empty()) {
            side.fail(roudi_.failed());
        }
    }

    class Port {
      public:
        Port(Side& side, IceoryxLink& link, bool first)
            : side_(side),
              runtime_((link.check(side), link.name_ + (first ? kFirst : kSecond))),
              out_(service_of(link.name_, first), publisher_options()),
              in_(service_of(link.name_, !first), subscriber_options()) {
            using iox::SubscribeState;
            for (int look = 0;
                 in_.getSubscriptionState() != SubscribeState::SUBSCRIBED || !out_.hasSubscribers();
                 ++look) {
                if (look == kConnectLooks) {
                    side.fail("iceoryx: nobody has subscribed");
                }
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            }
        }

        void send(std::uint64_t sequence) {
            own_->number(sequence);
            auto loan = out_.loan(kBytes, alignof(Payload<kBytes>));
            if (loan.has_error()) [[unlikely]] {
                side_.fail("iceoryx: loan");
            }
            std::memcpy(loan.value(), own_->words.data(), kBytes);
            out_.publish(loan.value());
        }
        std::uint64_t receive() {
            for (;;) {
                auto taken = in_.take();
                if (!taken.has_error()) {
                    const auto* bytes = static_cast<const std::byte*>(taken.value());
                    const std::uint64_t sequence = sequence_of({bytes, kBytes});
                    in_.release(taken.value());
                    return sequence;
                }
                if (taken.get_error() != iox::popo::ChunkReceiveResult::NO_CHUNK_AVAILABLE) {
                    side_.fail("iceoryx: take");
                }
                side_.context().relax();
            }
        }

      private:
        static iox::popo::PublisherOptions publisher_options() {
            iox::popo::PublisherOptions options;
            options.subscriberTooSlowPolicy = iox::popo::ConsumerTooSlowPolicy::WAIT_FOR_CONSUMER;
            return options;
        }
        static iox::popo::SubscriberOptions subscriber_options() {
            iox::popo::SubscriberOptions options;
            options.queueCapacity = depth_of(kBytes);
            options.queueFullPolicy = iox::popo::QueueFullPolicy::BLOCK_PRODUCER;
            return options;
        }

        Side& side_;
        IceRuntime runtime_;  // before those that it makes
        iox::popo::UntypedPublisher out_;
        iox::popo::UntypedSubscriber in_;
        std::unique_ptr<Payload<kBytes>> own_ = std::make_unique<Payload<kBytes>>();
    };

  private:
    std::string name_;
    RouDi roudi_;
};

Result<Sample> iceoryx_megabytes(const Context& context) {
    using Link = IceoryxLink<kIceMiB>;
    Link link(context);
    if (!link.why_not().empty()) {
        return skipped(link.why_not());
    }
    const Amount amount =
        amount_of(std::max<std::uint64_t>(32, context.scale.slow_messages * 1024 / kIceMiB));
    return run_pair(
        context,
        [&](Side& side) {
            Link::Port port(side, link, true);
            produce(side, port, amount);
        },
        [&](Side& side) {
            Link::Port port(side, link, false);
            consume(side, port, amount);
        });
}

}  // namespace

void add_iceoryx_peer_rows(std::vector<Benchmark>& list) {
    add_peer<IceoryxLink>(list, "iceoryx", "iceoryx, publish and take, polling");
    list.push_back(one_row(
        "iceoryx_oneway_1m", "iceoryx, filled and read, one way, 1 MiB", iceoryx_megabytes));
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_iceoryx_peer_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif
