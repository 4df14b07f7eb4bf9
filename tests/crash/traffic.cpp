#include "tests/crash/traffic.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr int kProducerShift = 40;  // a number = producer | count
constexpr std::uint64_t kCountMask = (1ULL << kProducerShift) - 1;
constexpr std::uint32_t kBurst = 16;  // offers of a survivor between two naps
constexpr useconds_t kNapUs = 100;
// A survivor waits long: a wake that was lost is seen as a gap of up to a second.
constexpr Duration kSurvivorPatience = 2s;
constexpr Duration kVictimPatience = 5ms;

// Small, larger, (rarely) too large for a hot stack, and (very rarely, where the domain may grow) for
// the first segment.
std::size_t random_size(Random& random, bool grows) {
    if (grows && random.below(256) == 0) {
        return 70'000 + random.below(200'000);
    }
    switch (random.below(16)) {
        case 0:
            return 8 + random.below(12'000);
        case 1:
        case 2:
        case 3:
            return 8 + random.below(1500);
        default:
            return 8 + random.below(120);
    }
}

bool expected_when_busy(Status status) {
    return status == Status::queue_full || status == Status::queue_empty ||
           status == Status::timed_out || status == Status::out_of_memory;
}

}  // namespace

void Pulse::beat() {
    const std::uint64_t now = now_ns();
    const std::uint64_t last = last_ns.exchange(now);
    if (last != 0 && now > last && now - last > gap_ns.load()) {
        gap_ns.store(now - last);
    }
    done.fetch_add(1);
}

void Traffic::make_queue(const QueueOptions& options) const {
    static_cast<void>(domain_.open().create_queue("queue", options).value());
}

void Traffic::fail(const std::string& what) {
    if (books_->failures.fetch_add(1) == 0) {
        what.copy(books_->first_failure, sizeof books_->first_failure - 1);
    }
}

bool Traffic::offer_one(
    Queue& queue, std::uint64_t number, Duration longest, Random& random, Error* error) {
    const std::size_t bytes = random_size(random, domain_.limits().segment_bytes != 0);
    const Duration patience = random.below(4) == 0 ? Duration(0) : longest;
    if (random.below(3) == 0) {
        auto loan = queue.loan("crash", bytes, patience);
        if (!loan) {
            *error = loan.error();
            return false;
        }
        fill_numbered(loan->payload(), number);
        const auto offered = queue.offer(std::move(*loan), patience);
        *error = offered.error();
        return offered.has_value();
    }
    const auto offered = queue.offer(numbered(number, bytes), patience);
    *error = offered.error();
    return offered.has_value();
}

int Traffic::produce(std::uint32_t producer, Pulse* pulse) {
    Random random(seed() + producer);
    ServerOptions options;
    options.wait_strategy = random.below(2) == 0 ? WaitStrategy::eco : WaitStrategy::balanced;
    auto server = Server::open(domain_.name(), options);
    auto queue = server ? server->queue("queue") : Result<Queue>(server.error());
    if (!queue) {
        fail("producer: " + to_string(queue.error()));
        return 1;
    }
    const Duration longest = pulse != nullptr ? kSurvivorPatience : kVictimPatience;
    for (std::uint64_t count = 1; !books_->producers_stop.load();) {
        const std::uint64_t number = static_cast<std::uint64_t>(producer) << kProducerShift | count;
        books_->attempted[producer].store(count);
        Error error;
        if (offer_one(*queue, number, longest, random, &error)) {
            books_->accepted[producer].store(count);
            ++count;
        } else if (!expected_when_busy(error.status)) {
            fail("offer: " + to_string(error));
            return 1;
        }
        if (pulse != nullptr) {
            pulse->beat();
            books_->together.beat();
        }
        // However long it lives and fast the machine is, the books must not fill up.
        const std::uint64_t enough = pulse != nullptr ? kEntriesMax / 4 : kEntriesMax / 1024;
        if (count > enough || (pulse != nullptr && random.below(kBurst) == 0)) {
            usleep(kNapUs);
        }
    }
    return 0;
}

void Traffic::note(std::uint32_t lane_index, const Delivery& delivery) {
    Lane& lane = books_->lanes[lane_index];
    const std::uint64_t at = lane.count.load();
    const std::uint64_t number = number_of(delivery);
    if (number == kTorn || at == kEntriesMax) {
        fail(number == kTorn ? "a torn message" : "the books are full");
        return;
    }
    lane.entries[at] = {number, delivery.sequence()};
    lane.count.store(at + 1);
}

int Traffic::consume(std::uint32_t lane, Pulse* pulse) {
    Random random(seed() + lane + books_->lanes[lane].count.load());
    ServerOptions options;
    options.wait_strategy = random.below(2) == 0 ? WaitStrategy::eco : WaitStrategy::balanced;
    auto server = Server::open(domain_.name(), options);
    auto queue = server ? server->queue("queue") : Result<Queue>(server.error());
    if (!queue) {
        fail("consumer: " + to_string(queue.error()));
        return 1;
    }
    const Duration longest = pulse != nullptr ? kSurvivorPatience : kVictimPatience;
    for (;;) {
        const auto delivery = queue->poll(random.below(4) == 0 ? Duration(0) : longest);
        if (delivery) {
            note(lane, *delivery);
        } else if (!expected_when_busy(delivery.status())) {
            fail("poll: " + to_string(delivery.error()));
            return 1;
        } else if (books_->consumers_stop.load()) {
            return 0;
        }
        if (pulse != nullptr) {
            pulse->beat();
            books_->together.beat();
        }
    }
}

std::string Traffic::audit_books(Queue& queue,
                                 std::uint32_t producers,
                                 std::uint32_t killed_consumers) {
    while (const auto delivery = queue.poll()) {
        note(kLanes - 1, *delivery);
    }
    if (failed()) {
        return books_->first_failure;
    }
    return compare(producers, killed_consumers);
}

std::string Traffic::compare(std::uint32_t producers, std::uint32_t killed_consumers) {
    std::vector<Entry> all;
    for (const Lane& lane : books_->lanes) {
        for (std::uint64_t i = 0; i < lane.count.load(); ++i) {
            if (i != 0 && lane.entries[i].sequence <= lane.entries[i - 1].sequence) {
                return "a consumer polled against the order of the queue";
            }
            all.push_back(lane.entries[i]);
        }
    }
    std::sort(all.begin(), all.end(), [](const Entry& a, const Entry& b) {
        return a.sequence < b.sequence;
    });
    std::vector<std::uint64_t> last(producers, 0);
    std::vector<std::uint64_t> arrived(producers, 0);
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i != 0 && all[i].sequence == all[i - 1].sequence) {
            return "sequence " + std::to_string(all[i].sequence) + " was polled twice";
        }
        const std::uint64_t producer = all[i].number >> kProducerShift;
        const std::uint64_t count = all[i].number & kCountMask;
        if (producer >= producers || count > books_->attempted[producer].load()) {
            return "a message that nobody sent";
        }
        if (count <= last[producer]) {
            return "message " + std::to_string(count) + " of producer " + std::to_string(producer) +
                   " after its message " + std::to_string(last[producer]);
        }
        last[producer] = count;
        ++arrived[producer];
    }
    for (std::uint32_t producer = 0; producer < producers; ++producer) {
        const std::uint64_t accepted = books_->accepted[producer].load();
        sent_ += accepted;
        // What was in the middle of its commit when its producer was killed may have arrived, too.
        lost_ += std::max(accepted, last[producer]) - arrived[producer];
    }
    return lost_ <= killed_consumers ? std::string()
                                     : std::to_string(lost_) + " messages lost, " +
                                           std::to_string(killed_consumers) + " consumers killed";
}

std::string Traffic::summary() const {
    return std::to_string(sent_) + " messages accepted, " + std::to_string(lost_) +
           " in the hands of killed consumers";
}

}  // namespace telpher::crash
