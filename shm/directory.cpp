#include "shm/directory.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/step.hpp"
#include "shm/doorbell.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <new>
#include <thread>

namespace telpher::shm {
namespace {

constexpr std::size_t kInfoWords = sizeof(EntryInfo) / sizeof(std::uint64_t);

// Entries are read without a lock while they may be rewritten: every word is atomic, and the
// entry's own word, read before and after, tells whether they belong together.
void store_info(EntryInfo& to, const EntryInfo& from) noexcept {
    std::uint64_t words[kInfoWords];
    std::memcpy(words, &from, sizeof words);
    auto* out = reinterpret_cast<std::uint64_t*>(&to);
    for (std::size_t i = 0; i < kInfoWords; ++i) {
        // E1: pairs with E2. A reader that sees one of these words sees CREATING (or later) in the
        // entry's word.
        std::atomic_ref<std::uint64_t>(out[i]).store(words[i], std::memory_order_release);
    }
}
EntryInfo load_info(EntryInfo& from) noexcept {
    std::uint64_t words[kInfoWords];
    auto* in = reinterpret_cast<std::uint64_t*>(&from);
    for (std::size_t i = 0; i < kInfoWords; ++i) {
        // E2: pairs with E1.
        words[i] = std::atomic_ref<std::uint64_t>(in[i]).load(std::memory_order_acquire);
    }
    EntryInfo info{};
    std::memcpy(static_cast<void*>(&info), words, sizeof words);
    return info;
}

// Whether `taken` before the deadline; asks again after growing pauses. The kernel has no byte lock
// with a time limit, and ThreadSanitizer does not know the mutex with a monotonic one.
template <typename Taken>
bool look_until(std::chrono::steady_clock::time_point deadline, Taken&& taken) {
    auto pause = std::chrono::microseconds(20);
    while (!taken()) {
        if (std::chrono::steady_clock::now() >= deadline) {
            return false;
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(pause * 2, std::chrono::microseconds(1000));
    }
    return true;
}

}  // namespace

const char* to_string(Family family) noexcept {
    return family == Family::topic ? "topic" : family == Family::function ? "function" : "queue";
}

Status not_found_status(Family family) noexcept {
    return family == Family::topic      ? Status::topic_not_found
           : family == Family::function ? Status::function_not_found
                                        : Status::queue_not_found;
}

std::uint64_t name_hash(std::string_view name, Family family) noexcept {
    std::uint64_t hash = 0xcbf29ce484222325ULL + static_cast<std::uint64_t>(family);
    for (const char c : name) {
        hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
    }
    return hash;
}

void Directory::start(Segment* segment, ChunkPool* pool, std::uint32_t slot) noexcept {
    segment_ = segment;
    pool_ = pool;
    slot_ = slot;
    entries_ = reinterpret_cast<DirectoryEntry*>(segment->region(RegionKind::directory).data());
    threads_ = {reinterpret_cast<ThreadRecord*>(segment->region(RegionKind::threads).data()),
                segment->threads_max()};
    entry_count_ = segment->destinations_max();
    rings_ = segment->region(RegionKind::rings);
    idempotency_ = IdempotencyStore(segment->region(RegionKind::idempotency), pool, slot);
    attach_counts_.assign(entry_count_, 0);
    serve_counts_.assign(entry_count_, 0);
}

std::uint32_t Directory::used() const noexcept {
    // E3: pairs with E4. Entries below are initialised.
    const std::uint64_t used = segment_->header().directory_used.load(std::memory_order_acquire);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(used, entry_count_));
}

Result<Directory::Guard> Directory::lock(std::chrono::nanoseconds patience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    if (!look_until(deadline, [this] { return mutex_.try_lock(); })) {
        return Error{Status::timed_out, 0, "another thread holds the directory lock of the domain"};
    }
    if (!look_until(deadline, [this] {
            return try_lock_byte(segment_->descriptor(), kDirectoryLock) == LockResult::locked;
        })) {
        mutex_.unlock();
        return Error{Status::timed_out,
                     0,
                     "another process (stopped?) holds the directory lock of the domain"};
    }
    SHM_STEP("directory.locked");
    // relaxed: only lock holders touch it, and the lock orders them
    if (segment_->header().directory_busy.load(std::memory_order_relaxed) != 0) {
        mend();
    }
    SHM_STEP("directory.busy");
    // relaxed: as above
    segment_->header().directory_busy.store(1, std::memory_order_relaxed);
    return Guard(this);
}

void Directory::unlock() noexcept {
    SHM_STEP("directory.idle");
    // relaxed: only lock holders touch it, and the lock orders them
    segment_->header().directory_busy.store(0, std::memory_order_relaxed);
    SHM_STEP("directory.unlock");
    unlock_byte(segment_->descriptor(), kDirectoryLock);
    mutex_.unlock();
}

Directory::Guard::~Guard() {
    if (directory_ != nullptr) {
        directory_->unlock();
    }
}

std::optional<Found> Directory::read(std::uint32_t index, bool recycling) const noexcept {
    DirectoryEntry& e = entries_[index];
    for (int attempt = 0; attempt < 64; ++attempt) {
        // E5: pairs with E6. Everything written before the entry became LIVE is visible.
        const std::uint64_t word = e.word.load(std::memory_order_acquire);
        const EntryState state = entry_state(word);
        // RECYCLING may go back to CLOSED: until FREE the words and the ring are as they were.
        if (state != EntryState::live && state != EntryState::closed &&
            !(recycling && state == EntryState::recycling)) {
            return std::nullopt;
        }
        Found found{index, entry_generation(word), state, load_info(e.info)};
        // E5: pairs with E6. Unchanged generation: the words belong together (a change between
        // CREATING and LIVE always raises it).
        const std::uint64_t again = e.word.load(std::memory_order_acquire);
        if (entry_generation(again) == found.generation) {
            found.info.name_bytes = static_cast<std::uint8_t>(
                std::min<std::size_t>(found.info.name_bytes, kNameBytesMax));
            return found;
        }
    }
    return std::nullopt;
}

std::optional<Found> Directory::at(std::uint32_t index) const noexcept {
    return index < entry_count_ ? read(index) : std::nullopt;
}

std::optional<Found> Directory::pinned(std::uint32_t index) const noexcept {
    return index < entry_count_ ? read(index, true) : std::nullopt;
}

std::optional<Found> Directory::find(std::string_view name, Family family) const noexcept {
    const std::uint64_t hash = name_hash(name, family);
    const std::uint32_t count = used();
    for (std::uint32_t i = 0; i < count; ++i) {
        // E2: pairs with E1. A first look; `read` makes sure.
        if (std::atomic_ref<std::uint64_t>(entries_[i].info.name_hash)
                .load(std::memory_order_acquire) != hash) {
            continue;
        }
        const auto found = read(i);
        if (found && found->state == EntryState::live && found->family() == family &&
            found->name() == name) {
            return found;
        }
    }
    return std::nullopt;
}

std::vector<Found> Directory::list() const {
    std::vector<Found> all;
    const std::uint32_t count = used();
    for (std::uint32_t i = 0; i < count; ++i) {
        if (auto found = read(i)) {
            all.push_back(*found);
        }
    }
    return all;
}

Result<Found> Directory::create(const DestinationSpec& spec, bool* created) {
    auto guard = lock();
    if (!guard) {
        return guard.error();
    }
    *created = false;
    if (auto existing = find(spec.name, family_of(spec.kind))) {
        if (spec.kind == Kind::function) {
            start_serving(existing->entry);
        }
        return *existing;
    }
    recycle();
    std::uint32_t index = 0;
    const std::uint32_t count = used();
    // relaxed: changed only under the lock, which we hold
    while (index < count &&
           entry_state(entries_[index].word.load(std::memory_order_relaxed)) != EntryState::free) {
        ++index;
    }
    if (index == entry_count_) {
        return Error{Status::limit_reached,
                     0,
                     "limits.destinations is " + std::to_string(entry_count_) + ", all are in use"};
    }
    const Shape shape = shape_of(spec);
    const auto offset = make_space(shape.bytes);
    if (!offset) {
        Error error = offset.error();
        error.detail = "capacity " + std::to_string(spec.capacity) + ": " + error.detail;
        return error;
    }
    *created = true;
    Found made = write_entry(index, spec, shape, *offset);
    if (made.family() == Family::topic) {
        wake_all(segment_->directory_waiters(), threads_);  // subscriptions by pattern
    }
    if (spec.kind == Kind::function) {
        // Killed before it: nobody serves it, and the next holder of the lock closes it.
        start_serving(index);
    }
    return made;
}

// A queue needs a slot more than messages, for the sentinel; in a topic it takes the place of one.
Directory::Shape Directory::shape_of(const DestinationSpec& spec) {
    const std::uint64_t capacity = spec.capacity;
    if (spec.kind == Kind::topic) {
        const std::uint64_t slots = std::max<std::uint64_t>(2, std::bit_ceil(capacity));
        return {slots, 0, ring_bytes(slots) + topic_bytes(spec.subscribers_max)};
    }
    const std::uint64_t slots = std::max<std::uint64_t>(2, std::bit_ceil(capacity + 1));
    const std::uint64_t latency = spec.kind == Kind::function ? sizeof(LatencyCounts) : 0;
    return {slots,
            returns_slots(slots),
            ring_bytes(slots) + ring_bytes(returns_slots(slots)) + latency};
}

// Turns a free entry into a LIVE one: CREATING, contents, ring, LIVE. Killed before LIVE: `mend`
// frees it.
Found Directory::write_entry(std::uint32_t index,
                             const DestinationSpec& spec,
                             const Shape& shape,
                             std::uint64_t offset) {
    EntryInfo info{};
    info.name_hash = name_hash(spec.name, family_of(spec.kind));
    info.kind = static_cast<std::uint8_t>(spec.kind);
    info.name_bytes = static_cast<std::uint8_t>(spec.name.size());
    spec.name.copy(info.name, kNameBytesMax);
    info.capacity = spec.capacity;
    info.slots = static_cast<std::uint32_t>(shape.slots);
    info.ring_offset = offset;
    info.ring_bytes = shape.bytes;
    if (shape.second_slots != 0) {
        info.returns_offset = offset + ring_bytes(shape.slots);
        info.returns_max = static_cast<std::uint32_t>(shape.second_slots) - 1;
    }
    if (spec.kind == Kind::function) {
        info.histogram_offset =
            info.returns_offset + ring_bytes(shape.second_slots);  // zeroed with the rings
    }
    if (spec.kind == Kind::topic) {
        info.subscribers_offset = offset + ring_bytes(shape.slots);
        info.subscribers_max = spec.subscribers_max;
        info.history = spec.history;
        info.policy = static_cast<std::uint8_t>(spec.policy);
        info.disconnect_after = spec.disconnect_after;
    }
    info.byte_budget = spec.byte_budget;
    info.owner = spec.owner;
    info.flags = spec.flags;
    info.delivery = spec.delivery;
    info.lease_ns = spec.lease_ns;
    info.deliveries_max = spec.deliveries_max;
    info.durable_log_id = spec.log_id;
    info.dead_letter_entry = spec.dead_letter_entry;
    info.dead_letter_generation = spec.dead_letter_generation;
    info.idempotency = spec.idempotency.on;
    info.idempotency_scope = spec.idempotency.scope;
    info.idempotency_flags = spec.idempotency.flags;
    info.idempotency_entries_max = spec.idempotency.entries_max;
    info.idempotency_bytes_max = spec.idempotency.bytes_max;
    info.idempotency_ttl_ns = spec.idempotency.ttl_ns;
    info.options_hash = spec.options_hash;
    info.created_ns = spec.created_ns != 0 ? spec.created_ns : read_clock(CLOCK_REALTIME);
    DirectoryEntry& e = entries_[index];
    // relaxed: changed only under the lock, which we hold
    const std::uint64_t generation = entry_generation(e.word.load(std::memory_order_relaxed)) + 1;
    SHM_STEP("directory.create.creating");
    // E6: pairs with E5. Readers of the old words see that the generation moved.
    e.word.store(make_entry_word(EntryState::creating, generation), std::memory_order_release);
    SHM_STEP("directory.create.info");
    store_info(e.info, info);
    SHM_STEP("directory.create.counters");
    for (Word* counter : {&e.expired,
                          &e.abandoned,
                          &e.redelivered,
                          &e.dropped,
                          &e.dropped_told,
                          &e.errors,
                          &e.late,
                          &e.timed_out,
                          &e.lease_look,
                          &e.lease_expired,
                          &e.dead_lettered,
                          &e.duplicates,
                          &e.replays,
                          &e.conflicts,
                          &e.evicted}) {
        counter->store(0, std::memory_order_relaxed);  // relaxed: published by E6
    }
    for (Word& bits : e.consumers) {
        bits.store(0, std::memory_order_relaxed);  // relaxed: published by E6
    }
    SHM_STEP("directory.create.ring");
    std::memset(static_cast<void*>(segment_->base() + offset),
                0,
                info.ring_bytes);  // nobody has it attached
    SHM_STEP("directory.create.used");
    if (index >= used()) {
        // E4: pairs with E3.
        segment_->header().directory_used.store(index + 1, std::memory_order_release);
    }
    SHM_STEP("directory.create.live");
    // E6: pairs with E5.
    e.word.store(make_entry_word(EntryState::live, generation), std::memory_order_release);
    SHM_STEP("directory.create.generation");
    segment_->header().directory_generation.fetch_add(
        1, std::memory_order_relaxed);  // relaxed: a hint to look again
    return Found{index, generation, EntryState::live, info};
}

Result<Found> Directory::remove(std::string_view name, Family family) {
    auto guard = lock();
    if (!guard) {
        return guard.error();
    }
    auto found = find(name, family);
    if (!found) {
        return Error{
            not_found_status(family),
            0,
            std::string("no ") + to_string(family) + " '" + std::string(name) + "' in this domain"};
    }
    if (const Status status = close_entry(*found); status != Status::ok) {
        return Error{status,
                     0,
                     std::string("the control block or ring of ") + to_string(family) + " '" +
                         std::string(name) + "' is damaged"};
    }
    found->state = EntryState::closed;
    return *found;
}

// Nothing is accepted from here on, and everybody who waits is rung. A closer killed before the
// sentinel is in is finished by `mend`. The caller holds the lock.
Status Directory::close_entry(const Found& found) {
    auto ring = this->ring(found);
    if (!ring) {
        return Status::corrupt;
    }
    SHM_STEP("directory.remove.closed");
    // E6: pairs with E5. No new handle from here on. seq_cst: a caller marks itself, then looks at this
    // word; we store it, then look at the marks (E7).
    entries_[found.entry].word.store(make_entry_word(EntryState::closed, found.generation),
                                     std::memory_order_seq_cst);
    const Status status = ring->close();
    SHM_STEP("directory.remove.generation");
    segment_->header().directory_generation.fetch_add(
        1, std::memory_order_relaxed);  // relaxed: a hint to look again
    wake_all(ring->control().items, threads_);
    wake_all(ring->control().space, threads_);
    if (found.family() == Family::function) {
        ring_callers();
    }
    return status;
}

}  // namespace telpher::shm
