#pragma once
// One subscriber: a cursor in each of its topics, what it lost, and how it waits.
//
//   Threads   `take` one at a time; `end`, `status` and the end of samples any number beside it.
//   Crash     its records are freed by the reaper; nothing else of it is shared.

#include "telpher/topic.hpp"

#include "src/broker/topic_core.hpp"

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace telpher::detail {

// The subscriber's place in one topic.
struct TopicReader {
    static constexpr std::uint32_t kInPlaceMax = shm::kHazards - 1;  // one is for copying

    std::shared_ptr<TopicCore> topic;
    shm::SubscriberRecord* record = nullptr;
    shm::SlowPolicy policy = shm::SlowPolicy::drop_oldest;
    std::uint64_t cursor = 0;
    std::uint64_t unpublished = 0;  // messages read since the shared cursor was stored
    // It is stored that seldom while there is more to read: others trim by it, and may wait for it.
    std::uint64_t tell_every = 64;
    std::uint64_t lost = 0;         // ever
    std::uint64_t lost_before = 0;  // since the last sample
    bool ended = false;
    Status end = Status::ok;
    std::atomic<std::uint32_t> pinned{0};  // bits of hazards in use
};

// What the thread that runs handlers shares with whoever waits for its end; outlives the core.
struct Handling {
    std::mutex mutex;
    std::condition_variable changed;
    bool finished = true;     // there is no thread, or it has let go of the core
    bool given_away = false;  // a handler was given to the executor and has not returned
    std::thread::id on{};     // where a handler runs
};

class SubscriptionCore : public std::enable_shared_from_this<SubscriptionCore> {
  public:
    SubscriptionCore(std::shared_ptr<DomainCore> domain,
                     std::vector<std::string> patterns,
                     SubscribeOptions options);
    SubscriptionCore(const SubscriptionCore&) = delete;
    SubscriptionCore& operator=(const SubscriptionCore&) = delete;
    ~SubscriptionCore();

    // Joins its topics. Errors: limit_reached (subscribers), not_permitted (block), those of making
    // a topic.
    Result<void> start();
    // Runs `handler` on a thread of its own, or on the executor. Error: limit_reached (threads).
    Result<void> run(SampleHandler handler);
    Result<Sample> next(Duration timeout, const std::stop_token& stop);
    Result<std::vector<Sample>> next_n(std::size_t max,
                                       Duration timeout,
                                       const std::stop_token& stop);
    void end() noexcept;
    [[nodiscard]] SubscriptionStatus status() const;
    [[nodiscard]] bool handled() const noexcept { return handled_; }
    static void unpin(TopicReader& reader, std::uint32_t hazard) noexcept;

  private:
    // ok, queue_empty, or why not: each leaves the sample as it was.
    [[nodiscard]] Status take(Sample& sample, Error* error);
    [[nodiscard]] Status take_from(TopicReader& reader, Sample& sample, Error* error);
    [[nodiscard]] Status read(TopicReader& reader, std::uint64_t ref, Sample& sample, Error* error);
    [[nodiscard]] Status read_in_place(TopicReader& reader,
                                       std::uint64_t ref,
                                       Sample& sample,
                                       Error* error);
    [[nodiscard]] static Status decode(std::span<const std::byte> bytes,
                                       MessageView& view,
                                       Error* error);
    void lose(TopicReader& reader, std::uint64_t count) noexcept;
    void disconnect() noexcept;
    void tell_cursor(TopicReader& reader) noexcept;
    void tell_cursors() noexcept;
    [[nodiscard]] Status next_into(Sample& sample,
                                   Error* error,
                                   Duration timeout,
                                   const std::stop_token& stop);
    [[nodiscard]] Status wait(shm::ThreadContext& context,
                              std::uint64_t deadline_ns,
                              const std::stop_token& stop);
    [[nodiscard]] Status sleep(shm::ThreadContext& context,
                               std::uint64_t deadline_ns,
                               const std::stop_token& stop);
    [[nodiscard]] Status reason(const std::stop_token& stop) const noexcept;
    [[nodiscard]] bool maybe() const noexcept;
    [[nodiscard]] bool ready() const noexcept;
    [[nodiscard]] Error explain(Status status, Duration timeout) const;
    Result<void> join(const shm::Found& found, const From& from);
    Result<void> follow();
    void forget_removed();
    [[nodiscard]] bool wanted(const std::string& topic) const noexcept;
    [[nodiscard]] std::uint64_t directory_generation() const noexcept;
    void handle();
    void handle_one(const Sample& sample) noexcept;
    void run_handler(const Sample& sample) noexcept;
    void give_away(const Sample& sample) noexcept;

    std::shared_ptr<DomainCore> domain_;
    shm::Attachment& attachment_;
    std::vector<std::string> patterns_;
    bool wild_ = false;
    SubscribeOptions options_;
    SampleHandler handler_;
    bool handled_ = false;
    std::vector<std::unique_ptr<TopicReader>> readers_;  // its length changes under readers_mutex_
    mutable std::mutex readers_mutex_;
    std::size_t turn_ = 0;
    std::uint64_t seen_generation_ = ~0ULL;
    std::atomic<bool> ended_{false};
    std::atomic<std::uint64_t> received_{0};
    std::atomic<std::uint64_t> lost_{0};
    std::atomic<std::uint64_t> expired_{0};
    std::atomic<std::uint64_t> handler_errors_{0};
    const std::shared_ptr<Handling> handling_ = std::make_shared<Handling>();
    std::atomic<bool> running_{false};
};

}  // namespace telpher::detail
