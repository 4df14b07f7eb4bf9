#pragma once
// A function as its server sees it: threads that claim requests, call the handler, and answer.
//
//   Threads    those of the handle, named telpher-serve; the members any number at once.
//   Lifetime   each thread holds this object, this object the Server's connection; the last thread to go
//              ends the serving, whoever asked for it.
//   Crash      a claimed request is FAILED by the reaper; the response's chunk is OWNED, handed over, or
//              answered (shm/call.hpp). The function ends with its last server: Directory::unserved.

#include "telpher/function.hpp"

#include "shm/attachment.hpp"
#include "shm/call.hpp"
#include "src/broker/chunk_source.hpp"
#include "src/broker/request_memory.hpp"
#include "src/broker/waiter.hpp"

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace telpher::detail {

class DomainCore;

inline constexpr std::uint32_t kServeThreadsMax = 64;

class Serving : public std::enable_shared_from_this<Serving> {
  public:
    // `found` counts this process as a server of it already (Directory::create): started or not, this
    // ends it. Errors: limit_reached (threads), function_not_found, corrupt.
    static Result<std::shared_ptr<Serving>> start(std::shared_ptr<DomainCore> domain,
                                                  const shm::Found& found,
                                                  Handler handler,
                                                  const ServeOptions& options);
    Serving(std::shared_ptr<DomainCore> domain,
            const shm::Found& found,
            const std::pair<shm::Ring, shm::Ring>& rings,
            Handler handler,
            const ServeOptions& options);
    Serving(const Serving&) = delete;
    Serving& operator=(const Serving&) = delete;
    ~Serving();

    void stop() noexcept;
    [[nodiscard]] bool running() const noexcept;
    [[nodiscard]] Result<FunctionStatus> status() const;
    [[nodiscard]] const std::string& name() const noexcept { return name_; }

  private:
    // What one thread needs again and again.
    struct Work {
        shm::ThreadContext& context;
        Message request{};
        bool thrown = false;  // the handler threw
        // What is remembered of the request; nothing: nothing is.
        std::optional<RequestMemory::Answer> remembered{};
    };

    Result<void> start_threads(std::uint32_t count);
    void run(shm::ThreadContext& context);
    void end() noexcept;
    [[nodiscard]] Status claim(std::uint32_t* chunk) noexcept;
    void serve(Work& work, std::uint32_t chunk);
    // Whether the request is to be begun; answered or freed if not.
    [[nodiscard]] bool begin(Work& work, std::uint32_t chunk, MessageView& view, bool oneway);
    [[nodiscard]] Result<Message> handle(Work& work, const MessageView& view);
    void fail(Work& work, std::uint32_t chunk, const Error& error, bool oneway);
    // Ends a one-way request that was not handled.
    void condemn(Work& work, std::uint32_t chunk, ReturnReason reason);
    // Of a function that remembers its requests: whether this one is to run; answered or freed if not.
    [[nodiscard]] bool recall(Work& work,
                              std::uint32_t chunk,
                              const MessageView& view,
                              bool oneway);
    void turn_away(Work& work,
                   std::uint32_t chunk,
                   const RequestMemory::Answer& answer,
                   bool oneway);
    void replay(Work& work, std::uint32_t chunk, const RequestMemory::Answer& answer, bool oneway);
    void remember(Work& work, Message* response);
    void remember_failure(Work& work, const Error& error, std::uint64_t error_id);
    [[nodiscard]] std::string id_of(const Message& request) const;
    void respond(Work& work, std::uint32_t chunk, const MessageView& view, Message& response);
    [[nodiscard]] Result<void> put_response(Work& work, std::uint32_t chunk, Message& response);
    void answer(Work& work, std::uint32_t chunk, const Message* response);
    // An answer whose status says what is known of the effect.
    [[nodiscard]] static constexpr std::uint64_t word_of(Status status) noexcept {
        return shm::make_outcome(static_cast<std::uint8_t>(status), 0);
    }
    void refuse(Work& work, std::uint32_t chunk, std::uint64_t outcome, std::uint64_t error_id);
    void answer_without(Work& work,
                        std::uint32_t chunk,
                        std::uint64_t outcome,
                        std::uint64_t error_id);
    std::uint64_t report(Work& work, Status status, const std::string& text) noexcept;
    void count(shm::Word& counter) const noexcept;

    std::shared_ptr<DomainCore> domain_;
    shm::Attachment& attachment_;
    shm::Ring ring_;
    shm::Ring lane_;
    shm::Calls calls_;
    const shm::Found found_;
    const std::string name_;
    RequestMemory memory_;
    const bool whole_;  // requests stay as they are: another server may have to run them
    Handler handler_;
    ServeOptions options_;
    ChunkSource source_;  // for responses; no close ends its wait, and they are sent after all
    ChunkSource kept_;    // for those that are remembered
    std::atomic<bool> stopping_{false};
    std::atomic<std::uint32_t> running_{0};
    std::mutex threads_mutex_;  // guards threads_, and is held by who joins them
    std::vector<std::thread> threads_;
};

}  // namespace telpher::detail
