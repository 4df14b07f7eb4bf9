#pragma once
// Memory for a message that is to be sent, whatever it takes within a time: the pool, what the dead
// and publishers left, growth of the domain, and at last what others give back.
//
//   Threads   any number at once; each passes its own context.
//   Crash     what was taken is OWNED by us (reaped); growth as DataSegments::add.

#include "telpher/loan.hpp"
#include "telpher/options.hpp"

#include "shm/attachment.hpp"
#include "src/wire/codec.hpp"

#include <atomic>
#include <stop_token>

namespace telpher::detail {

class ChunkSource {
  public:
    // What ends a wait: of the handle and of its connection; null = nothing does.
    struct Closed {
        const std::atomic<bool>* handle = nullptr;
        const std::atomic<bool>* connection = nullptr;
    };
    // `head_bytes`: what stands in a chunk before the message. All outlive the calls.
    ChunkSource(shm::Attachment& attachment, Closed closed, std::size_t head_bytes = 0);

    // Takes what it waits off `timeout`. Errors: message_too_large, out_of_memory, cancelled, closed,
    // domain_removed, forked.
    Result<std::uint32_t> allocate(shm::ThreadContext& context,
                                   std::size_t message_bytes,
                                   Duration& timeout,
                                   const std::stop_token& stop);
    // The same for a message of at most small_bytes_max(), without waiting: kNoChunk = ask `allocate`.
    [[nodiscard]] std::uint32_t allocate_small(shm::ThreadContext& context,
                                               std::size_t message_bytes) noexcept {
        shm::ChunkPool& pool = attachment_.pool();
        return pool.allocate(
            pool.class_for(message_bytes + offset_), attachment_.slot(), context.cursor);
    }
    // The caller has checked the handle and the quota. Errors: as allocate, and limit_reached
    // (threads).
    Result<Loan> loan(const wire::LoanPlan& plan, Duration timeout);

    // Of a message; and of one in a chunk of the first segment.
    [[nodiscard]] std::size_t bytes_max() const noexcept { return bytes_max_; }
    [[nodiscard]] std::size_t small_bytes_max() const noexcept { return small_bytes_max_; }

  private:
    [[nodiscard]] Status usable() const noexcept;
    [[nodiscard]] std::uint32_t try_allocate(shm::ThreadContext& context,
                                             std::size_t chunk_bytes) noexcept;
    [[nodiscard]] Result<std::uint32_t> make_room(shm::ThreadContext& context,
                                                  std::size_t chunk_bytes,
                                                  Duration timeout);
    [[nodiscard]] Status wait_for_memory(shm::ThreadContext& context,
                                         std::size_t chunk_bytes,
                                         Duration& timeout,
                                         const std::stop_token& stop,
                                         std::uint32_t* chunk);

    shm::Attachment& attachment_;
    const Closed closed_;
    const std::size_t offset_;  // of the message in a chunk
    std::size_t bytes_max_;
    std::size_t small_bytes_max_;
};

}  // namespace telpher::detail
