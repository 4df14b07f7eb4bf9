#pragma once
// A function as its callers see it: where requests go, and how answers come back.
//
//   Threads   any number at once.
//   Crash     caller: its request is OWNED (reaped), in flight (resolved by the reaper), queued (a
//             server discards it) or ended (freed by whoever finds the caller gone): shm/call.hpp.
//   Lifetime  pins the function's rings; holds the attachment, not the Client.

#include "telpher/function.hpp"
#include "telpher/message.hpp"
#include "telpher/result.hpp"

#include "shm/attachment.hpp"
#include "shm/call.hpp"
#include "src/broker/call_measure.hpp"
#include "src/broker/call_quantiles.hpp"
#include "src/broker/call_wait.hpp"
#include "src/broker/chunk_source.hpp"
#include "src/broker/request_memory.hpp"

#include <memory>
#include <string>

namespace telpher::detail {

// How often a request is given to a further server after the one that had begun it died: a request
// that kills its servers must end.
inline constexpr std::uint32_t kAttemptsMax = 4;
inline constexpr const char* kRunsElsewhere = "a request of the same id was under way elsewhere";

class CallTarget {
  public:
    // Pins the function. `closed`, of the connection, must outlive all calls. Error: function_not_found (gone meanwhile), corrupt.
    static Result<std::shared_ptr<CallTarget>> open(std::shared_ptr<shm::Attachment> attachment,
                                                    const shm::Found& found,
                                                    const std::atomic<bool>& closed);
    CallTarget(std::shared_ptr<shm::Attachment> attachment,
               const shm::Found& found,
               const shm::Ring& ring,
               const shm::Ring& lane,
               const std::atomic<bool>& closed);
    CallTarget(const CallTarget&) = delete;
    CallTarget& operator=(const CallTarget&) = delete;
    ~CallTarget();

    Result<Message> call(const Message& request, const CallOptions& options);
    Result<void> post(const Message& request, const CallOptions& options);
    [[nodiscard]] Result<FunctionStatus> status() const;
    // What `timeout`, which was checked, comes to now.
    [[nodiscard]] Duration resolve(const Timeout& timeout) {
        return quantiles_.resolve(timeout, measure_.counts(), shm::monotonic_coarse_ns());
    }
    [[nodiscard]] CallMeasure& measure() noexcept { return measure_; }

    // ---- a call in steps, for those who do not wait here ----------------------------------------
    // Sends; the answer rings thread record `thread`. The chunk of the call. Errors: as Client::send, did
    // not happen.
    Result<std::uint32_t> begin(const Message& request,
                                shm::ThreadContext& context,
                                std::uint64_t thread,
                                const CallOptions& options,
                                CallClock& clock);
    // The result, or `queue_empty`: pending. Sends a failed request again if it may (counted in `attempts`).
    Result<Message> advance(std::uint32_t chunk,
                            shm::ThreadContext& context,
                            std::uint32_t& attempts);
    // Of an answered call: whether a request of its id runs elsewhere. Then it is sent again after a pause.
    [[nodiscard]] bool deferred(std::uint32_t chunk) const noexcept {
        return calls_.look(chunk, slot_) == shm::Calls::Look::replied && calls_.deferred(chunk);
    }
    // The result of a call that was deferred: a request of its id may have run, whatever became of this one.
    [[nodiscard]] static Result<Message> truthful(Result<Message> result, bool was_deferred);
    // Sends a deferred call again. ok, or why not: the call is over.
    Result<void> send_again(std::uint32_t chunk, shm::ThreadContext& context);
    // Whether requests with an id may be sent again, whatever became of them.
    [[nodiscard]] bool remembers() const noexcept { return memory_.on(); }
    // Gives the call up because of `reason`; its result, if that came meanwhile; `queue_empty` if a
    // server has it that was thought gone (function_not_found).
    Result<Message> give_up(std::uint32_t chunk, Status reason);

    // Whether `advance` would get on; asked before the thread that the call names goes to sleep.
    [[nodiscard]] bool moved_last(std::uint32_t chunk) const noexcept {
        return calls_.look_before_sleep(chunk, slot_) != shm::Calls::Look::pending ||
               (gone() && calls_.queued(chunk));
    }
    // Whether the function was closed; a later one of that name is another.
    [[nodiscard]] bool gone() const noexcept;
    [[nodiscard]] const shm::Found& found() const noexcept { return found_; }

  private:
    Result<Message> wait_for(const Message& request,
                             const CallOptions& options,
                             shm::ThreadContext& context);
    [[nodiscard]] Status commit(shm::ThreadContext& context,
                                std::uint32_t chunk,
                                const CallOptions& options,
                                CallClock& clock);
    [[nodiscard]] Error refused(Status status) const;
    [[nodiscard]] Status pause(Duration time, const CallOptions& options, CallClock& clock) const;
    Result<Message> take(std::uint32_t chunk, shm::ThreadContext& context);
    Result<Message> failed(std::uint32_t chunk);
    [[nodiscard]] Error answered_with(std::uint64_t word, std::uint64_t error_id) const;
    [[nodiscard]] Error remembered_as(Status status, Outcome effect, std::uint64_t error_id) const;
    void release(std::uint32_t chunk) noexcept;
    [[nodiscard]] shm::DirectoryEntry& entry() const noexcept {
        return attachment_->directory().entry(found_.entry);
    }
    [[nodiscard]] std::string label() const;

    std::shared_ptr<shm::Attachment> attachment_;
    shm::Ring ring_;
    shm::Ring lane_;
    shm::Calls calls_;
    const shm::Found found_;
    const std::uint32_t slot_;
    RequestMemory memory_;      // its options, and its figures
    const bool resends_;        // a request whose server died goes to another one
    const std::uint64_t user_;  // of this process
    ChunkSource source_;
    CallMeasure measure_;
    CallQuantiles quantiles_;
};

// The figures of a function.
FunctionStatus function_status(shm::Attachment& attachment,
                               const shm::Found& found,
                               const shm::Ring& ring,
                               const shm::Ring& lane);
// The name in the directory of the function without one: no name that check_name accepts.
inline constexpr std::string_view kDefaultFunction = "*";

}  // namespace telpher::detail
