#pragma once
// What one Server or Client shares with the handles made from it.

#include "telpher/client.hpp"
#include "telpher/options.hpp"
#include "telpher/queue.hpp"
#include "telpher/server.hpp"
#include "telpher/topic.hpp"

#include "shm/attachment.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <vector>

namespace telpher::detail {

class Functions;
class DurableSender;
class Parker;
}  // namespace telpher::detail
namespace telpher::store {
class SharedLog;
}  // namespace telpher::store
namespace telpher::detail {

class DomainCore : public std::enable_shared_from_this<DomainCore> {
  public:
    DomainCore(std::shared_ptr<shm::Attachment> attachment, WaitStrategy strategy, bool created);
    // Null: it was moved from, or never connected.
    static DomainCore* of(const Client& client) noexcept { return client.core_.get(); }
    DomainCore(const DomainCore&) = delete;
    DomainCore& operator=(const DomainCore&) = delete;
    ~DomainCore();

    Result<Queue> create_queue(std::string_view name, const QueueOptions& options);
    Result<Queue> create_temporary_queue(const TemporaryQueueOptions& options);
    // A temporary queue's making handle has gone.
    void end_temporary(const shm::Found& found) noexcept;
    Result<std::uint64_t> reply(const MessageView& request, Message message, Duration timeout);
    Result<Queue> find_queue(std::string_view name, const FindOptions& options);
    Result<void> remove_queue(std::string_view name);
    // ---- topics (domain_topics.cpp) ----
    Result<Topic> create_topic(std::string_view name, const TopicOptions& options);
    Result<Topic> find_topic(std::string_view name);
    Result<void> remove_topic(std::string_view name);
    Result<TopicStatus> topic_status(std::string_view name);
    Result<Published> publish(const Message& message,
                              Duration timeout,
                              const std::stop_token& stop);
    Future<Published> publish_async(Message message, Duration timeout, const std::stop_token& stop);
    Result<Subscription> subscribe(std::vector<std::string> patterns,
                                   SampleHandler handler,
                                   SubscribeOptions options);
    // The topic of that name, made with default options if there is none.
    Result<std::shared_ptr<TopicCore>> topic(std::string_view name);
    // The core of `found`, one for all handles.
    Result<std::shared_ptr<TopicCore>> open_topic(const shm::Found& found);
    // The queue that dead letters go to, made unless it exists; `like` names it, and says how large it is made.
    Result<shm::Found> dead_letter_queue(const QueueOptions& like);
    // Of one family, sorted.
    Result<bool> exists(std::string_view name) const;
    Result<std::vector<std::string>> names(shm::Family family) const;
    Result<DomainStatus> status() const;
    Result<std::vector<ProcessInfo>> processes() const;
    Result<VerifyReport> verify() const;
    Result<void> remove();
    void close();
    // The thread behind asynchronous operations, started at the first call; lives as long as this.
    // Error: limit_reached (threads).
    Result<Parker*> parker();
    // The thread behind asynchronous offers of durable messages, as above. Errors: as log(), limit_reached.
    Result<DurableSender*> durable_sender();
    // Makes it look at everything, if it was started: something was closed.
    void nudge_parker() noexcept;

    // The log, opened at the first call. Errors: as open_log (domain_log.hpp).
    Result<store::SharedLog*> log();
    // Of a domain whose log() has succeeded.
    [[nodiscard]] store::SharedLog* log_if_open() const noexcept;

    [[nodiscard]] Functions& functions() noexcept { return *functions_; }

    // ok, closed, forked, domain_removed.
    [[nodiscard]] Status usable() const noexcept;
    [[nodiscard]] shm::Attachment& attachment() const noexcept { return *attachment_; }
    [[nodiscard]] const std::atomic<bool>& closed() const noexcept { return closed_; }
    [[nodiscard]] WaitStrategy strategy() const noexcept { return strategy_; }
    [[nodiscard]] bool created() const noexcept { return created_; }
    [[nodiscard]] const std::string& name() const noexcept { return attachment_->segment().name(); }

    // In the directory, whoever died before us.
    Result<shm::Found> create_in_directory(const shm::DestinationSpec& spec, bool* created);

  private:
    static Result<void> check_capacity(std::uint32_t capacity);
    Result<Queue> make_temporary(const TemporaryQueueOptions& options);
    void end_temporaries() noexcept;
    Result<shm::Found> make_topic(std::string_view name,
                                  const TopicOptions& options,
                                  bool* created);

    std::shared_ptr<shm::Attachment> attachment_;
    std::mutex temporaries_mutex_;  // guards the next two
    std::vector<shm::Found> temporaries_;
    std::uint32_t temporaries_begun_ = 0;
    std::atomic<bool> closed_{false};
    WaitStrategy strategy_;
    bool created_;
    std::shared_mutex topics_mutex_;  // guards topics_
    std::map<std::string, std::shared_ptr<TopicCore>, std::less<>> topics_;
    std::mutex parker_mutex_;  // guards the making of the next two
    std::shared_ptr<Parker> parker_;
    std::shared_ptr<DurableSender> durable_sender_;
    const std::unique_ptr<Functions> functions_;
};

// One attachment per process and domain, shared by all Servers and Clients of the process.
struct OpenRequest {
    std::string_view name;
    OpenMode mode = OpenMode::attach;
    const shm::SegmentPlan* plan = nullptr;  // for create
    Duration wait{};
};
struct Opened {
    std::shared_ptr<shm::Attachment> attachment;
    bool created = false;
};
Result<Opened> open_attachment(const OpenRequest& request);

}  // namespace telpher::detail
