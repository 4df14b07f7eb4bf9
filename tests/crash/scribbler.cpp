#include "tests/crash/scribbler.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kHeldMax = 8;  // loans and deliveries kept for a while
constexpr const char* kQueues[] = {"q0", "q1", "q2", "q3"};

template <typename T, std::size_t kCount>
const T& one_of(Random& random, const T (&values)[kCount]) {
    return values[random.below(kCount)];
}

// How long this thread has stood in line for a processor, ready to run: the machine's business, not
// a call's. 0 where the kernel does not tell.
std::uint64_t stood_in_line_ns() {
    static thread_local const int file =
        ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    char text[100] = {};
    unsigned long long ran = 0;
    unsigned long long waited = 0;
    return file >= 0 && pread(file, text, sizeof text - 1, 0) > 0 &&
                   std::sscanf(text, "%llu %llu", &ran, &waited) == 2
               ? waited
               : 0;
}

}  // namespace

const char* name_of(Aim aim) {
    static constexpr const char* kNames[] = {"everywhere",
                                             "header",
                                             "processes",
                                             "threads",
                                             "directory",
                                             "waiters",
                                             "hints",
                                             "rings",
                                             "chunks",
                                             "data",
                                             "mixed"};
    static_assert(std::size(kNames) == static_cast<std::size_t>(Aim::count));
    return kNames[static_cast<std::size_t>(aim)];
}

const char* name_of(Call call) {
    static constexpr const char* kNames[] = {
        "open",           "close",     "create_queue", "find_queue", "remove_queue",
        "offer",          "offer_n",   "poll",         "poll_n",     "loan",
        "offer a loan",   "release",   "peek",         "purge",      "Queue::status",
        "Server::status", "processes", "verify",       "list",       "nothing"};
    static_assert(std::size(kNames) == UserLog::kCalls + 1);
    return kNames[static_cast<std::size_t>(call)];
}

// ---- Pen ---------------------------------------------------------------------------------------

Pen::Pen(const std::string& domain, std::uint64_t from) : random_(from) {
    const std::string path = "/dev/shm/telpher." + domain;
    const int file = open(path.c_str(), O_RDWR | O_CLOEXEC);
    struct stat facts {};
    if (file < 0 || fstat(file, &facts) != 0) {
        return;
    }
    size_bytes_ = static_cast<std::size_t>(facts.st_size);
    void* memory = mmap(nullptr, size_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        return;
    }
    base_ = static_cast<std::byte*>(memory);
    const auto& header = *reinterpret_cast<const shm::SegmentHeader*>(base_);
    regions_.assign(header.regions, header.regions + header.region_count);
    classes_.assign(header.classes, header.classes + header.class_count);
}

Pen::~Pen() {
    if (base_ != nullptr) {
        munmap(base_, size_bytes_);
    }
}

std::size_t Pen::within(shm::RegionKind kind) {
    for (const shm::Region& region : regions_) {
        if (region.kind == static_cast<std::uint32_t>(kind)) {
            return region.offset + random_.below(static_cast<std::uint32_t>(region.bytes));
        }
    }
    return 0;
}

std::size_t Pen::target(Aim aim) {
    switch (aim) {
        case Aim::header:
            // Half of the writes at the words that change while the domain lives.
            return random_.below(2) == 0 ? random_.below(sizeof(shm::SegmentHeader))
                                         : offsetof(shm::SegmentHeader, state) +
                                               random_.below(sizeof(shm::SegmentHeader) -
                                                             offsetof(shm::SegmentHeader, state));
        case Aim::processes:
            return within(shm::RegionKind::processes);
        case Aim::threads:
            return within(shm::RegionKind::threads);
        case Aim::directory:
            return within(shm::RegionKind::directory);
        case Aim::waiters:
            return within(shm::RegionKind::pool_waiters);
        case Aim::hints:
            return within(shm::RegionKind::slab_hints);
        case Aim::rings:
            return within(shm::RegionKind::rings);
        case Aim::data:
            return random_.below(8) == 0 ? offsetof(shm::SegmentHeader, segment_count)
                                         : within(shm::RegionKind::data_segments);
        case Aim::chunks: {
            const shm::ChunkClass& c =
                classes_[random_.below(static_cast<std::uint32_t>(classes_.size()))];
            constexpr std::uint32_t kWords = 80;  // the two words, the message's header and texts
            // Mostly the chunks that are in use: the first ones of a class.
            const std::uint32_t chunk =
                random_.below(random_.below(4) == 0 ? c.chunk_count : std::min(c.chunk_count, 16U));
            return c.offset + static_cast<std::size_t>(chunk) * c.chunk_bytes +
                   random_.below(kWords);
        }
        default:
            return random_.below(static_cast<std::uint32_t>(size_bytes_));
    }
}

std::uint64_t Pen::nonsense(std::uint64_t old) {
    switch (random_.below(8)) {
        case 0:
            return random_.next();
        case 1:
            return old ^ (1ULL << random_.below(64));
        case 2:
            return old + random_.below(64) - 32;
        case 3:
            return random_.below(70);
        case 4:
            return ~std::uint64_t{0} - random_.below(4);
        case 5:
            return last_;  // what stood elsewhere: the right shape in the wrong place
        case 6:
            return 1ULL << random_.below(64);
        default:
            return old & ~(0xFFULL << random_.below(57));
    }
}

void Pen::scribble(Aim aim) {
    if (base_ == nullptr) {
        return;
    }
    if (aim == Aim::mixed) {
        aim = static_cast<Aim>(random_.below(static_cast<std::uint32_t>(Aim::mixed)));
    }
    const std::size_t at = target(aim);
    if (random_.below(4) == 0) {
        auto* byte = reinterpret_cast<std::uint8_t*>(base_ + at);
        // relaxed: nobody waits for nonsense
        std::atomic_ref<std::uint8_t>(*byte).store(static_cast<std::uint8_t>(random_.next()),
                                                   std::memory_order_relaxed);
        return;
    }
    auto& word = *reinterpret_cast<std::uint64_t*>(base_ + at / 8 * 8);
    // relaxed: as above
    const std::uint64_t old = std::atomic_ref<std::uint64_t>(word).load(std::memory_order_relaxed);
    // relaxed: as above
    std::atomic_ref<std::uint64_t>(word).store(nonsense(old), std::memory_order_relaxed);
    last_ = old;
}

// ---- User --------------------------------------------------------------------------------------

User::User(std::string domain, UserLog& log, std::uint64_t from)
    : domain_(std::move(domain)), log_(log), random_(from) {}

void User::note(const Error& error) {
    log_.outcomes[static_cast<std::size_t>(error.status)].fetch_add(1);
    if (error.status == Status::corrupt) {
        log_.reports.fetch_add(1);
    }
}

template <typename F>
auto User::timed(Call call, F&& run) {
    const std::uint64_t in_line = stood_in_line_ns();
    const std::uint64_t start = now_ns();
    log_.call.store(call);
    log_.since_ns.store(start);
    auto result = run();
    const std::uint64_t wall = now_ns() - start;
    log_.since_ns.store(0);
    const std::uint64_t took = wall - std::min(wall, stood_in_line_ns() - in_line);
    log_.calls.fetch_add(1);
    auto& slowest = log_.slowest_ns[static_cast<std::size_t>(call)];
    if (took > slowest.load()) {
        slowest.store(took);
    }
    note(result.error());
    return result;
}

Queue* User::any_queue() {
    return queues_.empty() ? nullptr
                           : &queues_[random_.below(static_cast<std::uint32_t>(queues_.size()))];
}

void User::open() {
    auto opened =
        timed(Call::open, [this] { return Server::open(domain_, {.mode = OpenMode::attach}); });
    if (!opened) {
        usleep(200);  // for good, probably: leave the others the processor
        return;
    }
    server_ = std::move(*opened);
    for (const char* name : kQueues) {
        auto queue = timed(Call::find_queue, [this, name] { return server_->queue(name); });
        if (queue) {
            queues_.push_back(std::move(*queue));
        }
    }
}

void User::end() {
    static_cast<void>(timed(Call::close, [this] {
        loans_.clear();
        deliveries_.clear();
        queues_.clear();
        server_.reset();
        return Result<void>();
    }));
}

// Mostly small; now and then too large for a chunk of the first segment: the domain grows.
std::size_t User::size_of_next() {
    const std::uint32_t dice = random_.below(160);
    return dice == 0 ? 150'000 : dice < 20 ? 2000 : random_.below(90);
}

void User::send(Queue& queue) {
    const Duration timeout = random_.below(4) == 0 ? 2ms : 0ms;
    const Message message = Message::text("topic", std::string(size_of_next(), 'x'));
    if (random_.below(6) == 0) {
        const std::vector<Message> several(5, message);
        static_cast<void>(timed(Call::offer_n, [&] { return queue.offer_n(several, timeout); }));
        return;
    }
    const auto offered = timed(Call::offer, [&] { return queue.offer(message, timeout); });
    if (offered.status() == Status::queue_not_found) {
        std::erase_if(queues_, [&queue](const Queue& held) { return &held == &queue; });
    }
}

void User::take(Queue& queue) {
    const Duration timeout = random_.below(4) == 0 ? 2ms : 0ms;
    if (random_.below(6) == 0) {
        auto several = timed(Call::poll_n, [&] { return queue.poll_n(5, timeout); });
        return;
    }
    auto delivery = timed(Call::poll, [&] { return queue.poll(timeout); });
    if (!delivery) {
        return;
    }
    // Everything that can be read of it, while the nonsense goes on.
    static_cast<void>(timed(Call::release, [&delivery] {
        const Message copy = delivery->to_message();
        return copy.to_json().empty() || delivery->to_json().empty() ? Result<void>(Status::corrupt)
                                                                     : Result<void>();
    }));
    if (deliveries_.size() < kHeldMax && random_.below(3) == 0) {
        deliveries_.push_back(std::move(*delivery));
    } else if (!deliveries_.empty() && random_.below(3) == 0) {
        static_cast<void>(timed(Call::release, [this] {
            deliveries_.clear();
            return Result<void>();
        }));
    }
}

void User::use_loan(Queue& queue) {
    if (loans_.size() < kHeldMax) {
        auto loan = timed(Call::loan, [&] {
            return queue.loan("topic", random_.below(4) == 0 ? 5000 : 100, random_.below(2) * 1ms);
        });
        if (loan) {
            std::fill(loan->payload().begin(), loan->payload().end(), std::byte{7});
            loans_.push_back(std::move(*loan));
        }
    }
    if (!loans_.empty() && random_.below(2) == 0) {
        Loan loan = std::move(loans_.back());
        loans_.pop_back();
        loan.shrink(random_.below(200));
        static_cast<void>(
            timed(Call::offer_loan, [&] { return queue.offer(std::move(loan), 0ms); }));
    }
}

void User::manage() {
    const char* name = one_of(random_, kQueues);
    if (random_.below(4) != 0) {
        QueueOptions options;
        options.capacity = one_of(random_, {1U, 16U, 100U});
        options.kind = random_.below(2) == 0 ? QueueKind::bounded : QueueKind::circular;
        auto made = timed(Call::create_queue, [&] { return server_->create_queue(name, options); });
        if (made) {
            queues_.push_back(std::move(*made));
        }
        if (queues_.size() > kHeldMax) {
            queues_.erase(queues_.begin());
        }
        return;
    }
    static_cast<void>(timed(Call::remove_queue, [&] { return server_->remove_queue(name); }));
}

void User::look(Queue& queue) {
    switch (random_.below(3)) {
        case 0:
            static_cast<void>(timed(Call::queue_status, [&] { return queue.status(); }));
            break;
        case 1:
            static_cast<void>(timed(Call::peek, [&] { return queue.peek(); }));
            break;
        default:
            static_cast<void>(timed(Call::purge, [&] { return queue.purge(); }));
            break;
    }
}

void User::look_at_domain() {
    switch (random_.below(8)) {
        case 0: {
            const auto report = timed(Call::verify, [this] { return server_->verify(); });
            if (report && !report->problems.empty()) {
                log_.reports.fetch_add(1);
            }
            break;
        }
        case 1:
        case 2:
            static_cast<void>(timed(Call::processes, [this] { return server_->processes(); }));
            break;
        case 3:
        case 4:
            static_cast<void>(timed(Call::list, [this] { return server_->queues(); }));
            break;
        default:
            static_cast<void>(timed(Call::domain_status, [this] { return server_->status(); }));
            break;
    }
}

void User::step() {
    if (!server_) {
        open();
        return;
    }
    Queue* queue = any_queue();
    const std::uint32_t what = random_.below(400);
    if (what == 0) {
        end();
    } else if (what < 16) {
        manage();
    } else if (what < 40 || queue == nullptr) {
        look_at_domain();
    } else if (what < 90) {
        look(*queue);
    } else if (what < 150) {
        use_loan(*queue);
    } else if (what < 280) {
        send(*queue);
    } else {
        take(*queue);
    }
}

}  // namespace telpher::crash
