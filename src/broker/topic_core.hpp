#pragma once
// A topic as one process sees it: ring, pool, codec and waiting of its publishers, put together.
//
//   Threads   any number at once; one core per topic and connection, shared by all handles.
//   Crash     publish: the chunk is OWNED (reaped), or OFFERED and in flight (resolved by the reaper),
//             or published, and what it evicted is named by the thread's victim word.

#include "telpher/topic.hpp"

#include "shm/attachment.hpp"
#include "shm/topic_ring.hpp"
#include "src/broker/chunk_source.hpp"
#include "src/broker/waiter.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <string>

namespace telpher::detail {

// "drop_oldest" and so on, as TopicStatus::slow.
[[nodiscard]] const char* policy_name(shm::SlowPolicy policy) noexcept;

class TopicCore : public std::enable_shared_from_this<TopicCore> {
  public:
    // Pins the destination. Errors: topic_not_found (gone meanwhile), corrupt.
    static Result<std::shared_ptr<TopicCore>> open(DomainCore& domain, const shm::Found& found);
    TopicCore(DomainCore& domain, const shm::Found& found, const shm::TopicRing& ring);
    TopicCore(const TopicCore&) = delete;
    TopicCore& operator=(const TopicCore&) = delete;
    ~TopicCore();

    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const std::stop_token& stop);
    Result<Published> publish(Loan& loan, Duration timeout, const std::stop_token& stop);
    // publish, and if that has to wait, by the parker (topic_async.cpp).
    Future<Published> publish_async(Message message, Duration timeout, const std::stop_token& stop);
    Result<Loan> loan(const wire::LoanPlan& plan, Duration timeout);
    [[nodiscard]] Result<TopicStatus> status() const;

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] shm::TopicRing& ring() noexcept { return ring_; }
    [[nodiscard]] shm::Attachment& attachment() const noexcept { return attachment_; }
    [[nodiscard]] const shm::Found& found() const noexcept { return found_; }
    // ok, closed, forked, domain_removed.
    [[nodiscard]] Status usable() const noexcept;
    // Of publishes that the parker has; while there are any, later ones queue up behind.
    [[nodiscard]] std::atomic<std::uint32_t>& pending() noexcept { return publishes_pending_; }

  private:
    // What a publishing thread keeps. It belongs to a thread's context for ever; threads beyond the
    // table do without.
    struct alignas(shm::kLinePair) Publisher {
        std::atomic<const shm::ThreadContext*> owner{nullptr};
        shm::RetiredList retired{};
        shm::GateCache gate{};
        std::uint64_t untrimmed_bytes = 0;  // published since the last trim
    };
    static constexpr std::uint32_t kPublishers = 8;

    [[nodiscard]] Status refuse(Duration timeout) const noexcept;
    [[nodiscard]] Error explain(Status status, Duration timeout) const;
    // On failure the chunk is still OWNED by us.
    [[nodiscard]] Result<Published> send(shm::ThreadContext& context,
                                         std::uint32_t chunk,
                                         shm::Lane lane,
                                         Duration timeout,
                                         const std::stop_token& stop);
    [[nodiscard]] Status try_send(shm::ThreadContext& context,
                                  std::uint32_t chunk,
                                  shm::Lane lane,
                                  std::uint64_t* position);
    [[nodiscard]] Status send_later(shm::ThreadContext& context,
                                    std::uint32_t chunk,
                                    shm::Lane lane,
                                    const WaitOptions& options,
                                    std::uint64_t* position);
    [[nodiscard]] Publisher* publisher_of(const shm::ThreadContext& context) noexcept;
    void clean_up(Publisher* mine, std::uint64_t evicted, std::uint64_t bytes) noexcept;
    void trim(Publisher& publisher) noexcept;
    [[nodiscard]] std::uint32_t subscriber_count() noexcept;

    DomainCore& domain_;
    shm::Attachment& attachment_;
    shm::TopicRing ring_;
    shm::Found found_;
    std::string name_;
    std::uint64_t budget_;
    std::atomic<bool> closed_{false};  // never: its connection's flag ends waits
    ChunkSource source_;
    std::atomic<std::uint32_t> publishes_pending_{0};
    std::atomic<std::uint64_t> counted_{0};  // changes of subscribers + 1: 48 | count: 16
    Publisher publishers_[kPublishers];
};

}  // namespace telpher::detail
