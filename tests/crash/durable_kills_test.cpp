// Goal:   producers and consumers of a durable queue that are killed anywhere, and domains whose memory is gone, lose
//         nothing that was confirmed, and deliver nothing that was not offered; the domain is always built again.
//         A producer that is stopped while it writes the log for all holds nobody up for long.
// Method: three producers, one of them with 32 asynchronous offers outstanding, and two consumers on real files; each
//         message's fate is noted in shared memory. One of them is killed after up to 10 ms, and another takes its place;
//         at every 25th kill all are killed, the domain's memory is removed, and it is built from its log. 250 kills;
//         2,000 with TELPHER_SOAK=1. The same with all of them behind a bridge, which is killed, too.

#include "telpher/bridge.hpp"

#include "src/client/domain_core.hpp"
#include "tests/crash/harness.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kMost = 1U << 20U;  // messages
constexpr std::uint8_t kOffered = 1;
constexpr std::uint8_t kConfirmed = 2;
constexpr std::uint8_t kTaken = 4;  // an acknowledgement was begun

struct Account {
    std::atomic<std::uint32_t> next;
    std::atomic<std::uint64_t> delivered;
    std::array<std::atomic<std::uint8_t>, kMost> fate;
};

std::vector<std::byte> payload_of(std::uint32_t number) {
    std::vector<std::byte> payload(8 + number * 37 % 3000);
    fill_numbered(payload, number);
    if (number % 2 == 0) {  // these are compressed in the log
        std::fill(payload.begin() + 8, payload.end(), static_cast<std::byte>(number));
    }
    return payload;
}

class DurableKills : public ::testing::Test {
  protected:
    static constexpr std::size_t kProducers = 3;
    static constexpr std::size_t kConsumers = 2;

    // Builds it, or finds it.
    Server open() {
        ServerOptions options = small_options();
        options.limits = limits_;
        options.log_directory = folder_.file("log");
        options.log_segment_bytes = 256U << 10U;
        options.log_compress_from_bytes = 500;
        auto server = Server::open(domain_.name(), options);
        EXPECT_TRUE(server) << "refused: " << to_string(server.error());
        return server ? std::move(*server) : Server{};
    }
    Result<Queue> queue_of(Server& server) {
        return server.create_queue("q",
                                   {.capacity = 256,
                                    .kind = QueueKind::durable,
                                    .delivery = DeliveryMode::at_least_once,
                                    .lease = 500ms});
    }

    [[nodiscard]] std::string uri() const {
        return bridged_ ? "unix:" + folder_.file("socket") : "shm:" + domain_.name();
    }
    // Again and again while there is no bridge.
    [[nodiscard]] Result<Queue> queue_there(Client* client) const {
        for (const std::uint64_t begun = now_ns();; ::usleep(1000)) {
            auto made = connect(uri(), {.wait = 5s});
            auto queue = made ? made->queue("q") : Result<Queue>(made.error());
            if (queue || !bridged_ || now_ns() - begun > 20'000'000'000) {
                *client = made ? std::move(*made) : Client();
                return queue;
            }
        }
    }
    // Behind a bridge that is killed, what was not answered may have happened or not.
    [[nodiscard]] bool may_fail(Status status) const {
        return status == Status::timed_out ||
               (bridged_ && (status == Status::disconnected || status == Status::closed));
    }

    // Says why; nobody ends by itself.
    static int ended(const char* what, const Error& why) {
        std::fprintf(stderr, "%s ended: %s\n", what, to_string(why).c_str());
        return 1;
    }

    struct Offered {
        std::uint32_t number;
        Future<std::uint64_t> confirmed;
    };

    // `outstanding` 0: waits in the call.
    int produce(std::size_t outstanding) {
        for (;;) {
            Client client;
            auto queue = queue_there(&client);
            if (!queue) {
                return ended("a producer's queue", queue.error());
            }
            if (const int code = produce_into(*queue, outstanding); code != 0) {
                return code;
            }
        }
    }
    // 0: the connection was lost.
    int produce_into(Queue& queue, std::size_t outstanding) {
        std::deque<Offered> offers;
        for (;;) {
            const std::uint32_t number = account_->next.fetch_add(1);
            if (number >= kMost) {
                return ended("a producer", Error{Status::limit_reached, 0, "out of numbers"});
            }
            account_->fate[number].fetch_or(kOffered);
            const Message message =
                Message::bytes("m", "application/octet-stream", payload_of(number)).durable();
            Status status = Status::ok;
            if (outstanding == 0) {
                status = note(number, queue.offer(message, 20s));
            } else {
                offers.push_back({number, queue.offer_async(message, 20s)});
                if (offers.size() == outstanding) {
                    status = note(offers.front().number, offers.front().confirmed.get(20s));
                    offers.pop_front();
                }
            }
            if (status != Status::ok && !may_fail(status)) {
                return 3;
            }
            if (status == Status::disconnected || status == Status::closed) {
                return 0;
            }
        }
    }
    Status note(std::uint32_t number, const Result<std::uint64_t>& offered) {
        if (offered) {
            account_->fate[number].fetch_or(kConfirmed);
        } else if (!may_fail(offered.status())) {
            std::fprintf(stderr, "offer: %s\n", to_string(offered.error()).c_str());
        }
        return offered.status();
    }

    // False: it was never offered, or is another.
    bool sound(const Delivery& delivery, std::uint32_t* number) {
        const auto bytes = delivery.payload();
        std::uint64_t read = kMost;
        if (bytes.size() >= sizeof read) {
            std::memcpy(&read, bytes.data(), sizeof read);
        }
        *number = static_cast<std::uint32_t>(std::min<std::uint64_t>(read, kMost));
        const auto expected = read < kMost ? payload_of(*number) : std::vector<std::byte>();
        return read < kMost && (account_->fate[*number].load() & kOffered) != 0 &&
               std::equal(bytes.begin(), bytes.end(), expected.begin(), expected.end());
    }

    int consume() {
        Client client;
        auto queue = queue_there(&client);
        while (queue) {
            auto delivery = queue->poll(100ms);
            if (!delivery) {
                if (!may_fail(delivery.status())) {
                    return ended("a poll", delivery.error());
                }
                if (delivery.status() != Status::timed_out) {
                    queue = queue_there(&client);
                }
                continue;
            }
            std::uint32_t number = 0;
            if (!sound(*delivery, &number)) {
                return ended("a consumer", Error{Status::corrupt, 0, std::to_string(number)});
            }
            account_->delivered.fetch_add(1);
            account_->fate[number].fetch_or(kTaken);
            static_cast<void>(delivery->ack());
        }
        return ended("a consumer's queue", queue.error());
    }

    int bridge() {
        auto client = connect("shm:" + domain_.name(), {.wait = 5s});
        BridgeOptions options;
        options.unix_path = folder_.file("socket");
        auto bridge = client ? Bridge::start(*client, options) : Result<Bridge>(client.error());
        while (bridge) {
            ::pause();
        }
        return ended("a bridge", bridge.error());
    }

    void start(std::size_t i) {
        children_[i] = std::make_unique<Child>([this, i] {
            if (i == kProducers + kConsumers) {
                return bridge();
            }
            return i >= kProducers ? consume() : produce(i == 0 ? 32 : 0);
        });
    }
    void start_all() {
        children_.resize(kProducers + kConsumers + (bridged_ ? 1U : 0U));
        for (std::size_t i = children_.size(); i > 0; --i) {
            start(i - 1);
        }
    }

    [[nodiscard]] std::uint32_t confirmed() const {
        const std::uint32_t next = std::min(account_->next.load(), kMost);
        return static_cast<std::uint32_t>(std::count_if(
            account_->fate.begin(), account_->fate.begin() + next, [](const auto& fate) {
                return (fate.load() & kConfirmed) != 0;
            }));
    }

    // Everybody is gone, and the domain's memory.
    void restart() {
        for (auto& child : children_) {
            child->kill();
            child.reset();
        }
        domain_.remove_files();
        Server server = open();
        ASSERT_TRUE(queue_of(server));
        const auto verified = server.verify();
        ASSERT_TRUE(verified);
        for (const std::string& problem : verified->problems) {
            ADD_FAILURE() << problem;
        }
    }

    // What was confirmed, and whose acknowledgement was never begun, is there.
    void check_all() {
        Server server = open();
        Queue queue = queue_of(server).value();
        std::vector<std::uint8_t> seen(kMost);
        for (;;) {
            auto delivery = queue.poll(2s);
            if (!delivery) {
                ASSERT_EQ(delivery.status(), Status::timed_out);
                break;
            }
            std::uint32_t number = 0;
            ASSERT_TRUE(sound(*delivery, &number));
            seen[number] = 1;
            ASSERT_TRUE(delivery->ack());
        }
        std::uint32_t confirmed = 0;
        for (std::uint32_t number = 0; number < kMost; ++number) {
            const std::uint8_t fate = account_->fate[number].load();
            confirmed += static_cast<std::uint32_t>((fate & kConfirmed) != 0);
            if ((fate & kConfirmed) != 0 && (fate & kTaken) == 0 && seen[number] == 0) {
                ADD_FAILURE() << "message " << number << " was confirmed, and is lost";
            }
        }
        std::printf("  %u confirmed, %llu deliveries\n",
                    confirmed,
                    static_cast<unsigned long long>(account_->delivered.load()));
    }

    void kill_and_restart();

    Watchdog watchdog_{soak() ? 900U : 200U};
    test::ScratchFolder folder_;
    ScratchDomain domain_{"durable"};
    DomainLimits limits_ = [] {
        DomainLimits limits = *small_options().limits;
        limits.pool_bytes = 4U << 20U;
        return limits;
    }();
    Shared<Account> account_;
    bool bridged_ = false;
    std::vector<std::unique_ptr<Child>> children_;
};

void DurableKills::kill_and_restart() {
    const std::uint32_t kills = scaled(250, 2000);
    Random random(seed());
    {
        Server server = open();
        ASSERT_TRUE(queue_of(server));
    }
    start_all();
    for (std::uint32_t kill = 1; kill <= kills && !HasFailure(); ++kill) {
        ::usleep(random.below(10'000));
        const std::size_t which = random.below(static_cast<std::uint32_t>(children_.size()));
        ASSERT_EQ(children_[which]->wait_for_end(0ms), -1) << "it goes on until then, " << which;
        children_[which]->kill();
        if (kill % 25 == 0) {
            children_[which] = std::make_unique<Child>([] { return 0; });
            restart();
            start_all();
        } else {
            start(which);
        }
    }
    for (std::size_t i = 0; i < children_.size(); ++i) {
        EXPECT_EQ(children_[i]->wait_for_end(0ms), -1);
    }
    restart();
    check_all();
}

TEST_F(DurableKills, and_restarts_lose_nothing_that_was_confirmed) { kill_and_restart(); }

TEST_F(DurableKills, of_a_bridge_and_its_clients_lose_nothing_that_was_confirmed) {
    bridged_ = true;
    kill_and_restart();
}

// Whoever waits overtakes it after a second; what it does when it goes on changes nothing.
TEST_F(DurableKills, a_producer_that_is_stopped_while_it_writes_is_overtaken) {
    std::uint32_t hits = 0;
    {
        Server server = open();
        ASSERT_TRUE(queue_of(server));
        Client client = connect("shm:" + domain_.name()).value();
        shm::Attachment& attachment = detail::DomainCore::of(client)->attachment();
        const auto leads = [&](pid_t pid) {
            const std::uint64_t leader = attachment.log().leader();
            const std::uint32_t slot = shm::identity_slot(leader);
            return leader != 0 && slot < attachment.processes().count() &&
                   attachment.processes().record(slot).pid == static_cast<std::uint64_t>(pid);
        };
        start_all();
        Random random(seed());
        for (std::uint32_t round = 0; round < 3000 && hits < scaled(3, 20); ++round) {
            ::usleep(random.below(3'000));
            Child& child = *children_[random.below(kProducers)];
            child.stop();
            ASSERT_TRUE(child.wait_for_stop(5s));
            if (leads(child.pid())) {
                ++hits;
                const std::uint32_t before = confirmed();
                const std::uint64_t begun = now_ns();
                while (confirmed() < before + 20 && now_ns() - begun < 10'000'000'000) {
                    ::usleep(10'000);
                }
                EXPECT_GE(confirmed(), before + 20) << "the others are held up";
                EXPECT_LT(now_ns() - begun, 4'000'000'000U);
                ::usleep(random.below(300'000));
            }
            child.go_on();
        }
    }
    EXPECT_GT(hits, 0U) << "none was stopped while it led";
    ::usleep(200'000);
    for (auto& child : children_) {
        EXPECT_EQ(child->wait_for_end(0ms), -1) << "it goes on";
    }
    restart();
    check_all();
}

}  // namespace
}  // namespace telpher::crash
