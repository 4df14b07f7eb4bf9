// Looking at a message without taking it.

#include "src/broker/queue_core.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

namespace telpher::detail {
namespace {

constexpr std::size_t kPaddingMax = 64;
constexpr std::uint32_t kRoundsMax = 1000;  // copies of messages that were taken meanwhile

// Copies words that others may be writing: what was copied is used only if the chunk's word is the
// same before and after (a sequence lock, as in H. Boehm, "Can seqlocks get along with programming
// language memory models?", 2012). ThreadSanitizer knows nothing of that check and is told not to
// look; a builtin, because it would look into std::atomic_ref.
__attribute__((noinline, no_sanitize("thread"))) void copy_words(std::vector<std::uint64_t>& to,
                                                                 std::span<const std::byte> from) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(from.data());
    for (std::size_t i = 0; i < to.size(); ++i) {
        // R4: pairs with shm/chunk_pool.hpp:P1. The chunk's word is read again after these.
        to[i] = __atomic_load_n(&words[i], __ATOMIC_ACQUIRE);
    }
}

// What the header's lengths say, at most what there is; they may be another message's.
std::size_t bytes_said(const std::vector<std::uint64_t>& head, std::size_t bytes_max) {
    MessageHead said{};
    std::memcpy(static_cast<void*>(&said), head.data(), sizeof said);
    const std::size_t bytes =
        sizeof said + said.extension_bytes + said.topic_bytes + kPaddingMax + said.payload_bytes;
    return std::min((bytes + 7) / 8 * 8, bytes_max);
}

}  // namespace

Result<Message> QueueCore::peek() const {
    if (const Status status = refuse_consumer({}); status != Status::ok) {
        return explain(status, {});
    }
    shm::ChunkPool& pool = attachment_.pool();
    std::vector<std::uint64_t> copy;
    const shm::Ring* ring = lane_.readable() ? &lane_ : &ring_;
    // R2: pairs with shm/ring_inline.hpp:R1.
    std::uint64_t position = ring->control().head.load(std::memory_order_acquire);
    for (std::uint32_t round = 0; round < kRoundsMax;) {
        std::uint32_t chunk = 0;
        std::uint64_t word = 0;
        const Status status = ring->front(position, &chunk, &word);
        if (status == Status::queue_empty && ring == &lane_) {
            ring = &ring_;
            // R2: as above.
            position = ring->control().head.load(std::memory_order_acquire);
            continue;
        }
        if (status != Status::ok) {
            return explain(status, {});
        }
        const std::span<const std::byte> message = message_in(chunk);
        copy.resize(sizeof(MessageHead) / sizeof(std::uint64_t));
        copy_words(copy, message);
        copy.resize(bytes_said(copy, message.size()) / sizeof(std::uint64_t));
        copy_words(copy, message);
        const bool dead = leased_ && attachment_.leases().dead_seen(chunk) != 0;
        // relaxed: the words of the copy were read with acquire
        if (pool.header(chunk)->word.load(std::memory_order_relaxed) != word) {
            ++round;
            continue;
        }
        auto view = wire::decode(std::as_bytes(std::span(copy)));
        if (!view) {
            return view.error();
        }
        if (dead || !view->expired(std::chrono::system_clock::now())) {
            return view->to_message();
        }
        ++position;
    }
    return Error{Status::timed_out, 0, "consumers of '" + name_ + "' took each message away first"};
}

}  // namespace telpher::detail
