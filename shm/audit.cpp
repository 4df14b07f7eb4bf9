#include "shm/audit.hpp"

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

namespace telpher::shm {
namespace {

constexpr std::size_t kProblemsMax = 50;

class Auditor {
  public:
    explicit Auditor(Attachment& attachment) : a_(attachment) {}

    Audit run() {
        a_.check_deaths();
        collect_processes();
        if (const Status status = a_.pool().learn(); status != Status::ok) {
            report("a data segment cannot be mapped: " + std::string(to_string(status)));
        }
        for (const Found& found : a_.directory().list()) {
            ++audit_.queues;
            check_ring(found);
        }
        check_chunks();
        check_threads();
        audit_idempotency(a_, audit_.problems);
        check_settings();
        return std::move(audit_);
    }

  private:
    void report(std::string text) {
        if (audit_.problems.size() < kProblemsMax) {
            audit_.problems.push_back(std::move(text));
        }
    }

    void collect_processes() {
        live_.assign(kProcessesMax + 1, false);
        for (const ProcessFacts& facts : a_.processes().list()) {
            const bool live =
                facts.state == ProcessState::live || facts.state == ProcessState::joining;
            live_[facts.slot] = live;
            audit_.processes += live ? 1U : 0U;
        }
    }

    [[nodiscard]] std::uint64_t word_of(std::uint32_t chunk) const {
        // R4: pairs with ring_inline.hpp:C0.
        return a_.pool().header(chunk)->word.load(std::memory_order_acquire);
    }

    // Rules 3 and 5: the distance of head and tail, hints that lead, positions that make no sense.
    void check_ring(const Found& found) {
        if (found.family() == Family::topic) {
            check_topic(found);
            return;
        }
        const auto ring = a_.directory().ring(found);
        const std::string name = std::string(to_string(found.family())) + " '" + found.name() + "'";
        if (!ring || !a_.directory().returns_lane(found)) {
            report(name + ": its control block points outside the rings' memory");
            return;
        }
        if (found.family() == Family::function && a_.directory().latency(found) == nullptr) {
            report(name + ": its histogram lies elsewhere than behind its rings");
        }
        // R2: pairs with ring_inline.hpp:R1. Hints first: they must not lead what is read later.
        const std::uint64_t head_hint = ring->control().head.load(std::memory_order_acquire);
        const std::uint64_t tail_hint =
            ring->control().tail.load(std::memory_order_acquire);  // R2: as above
        const std::uint64_t claimed = ring->claimed();
        const std::uint64_t committed = ring->committed();
        if (head_hint > ring->claimed()) {
            report(name + ": the head hint " + std::to_string(head_hint) +
                   " leads the first unclaimed position");
        }
        if (tail_hint > ring->committed()) {
            report(name + ": the tail hint " + std::to_string(tail_hint) +
                   " leads the first unfilled position");
        }
        if (claimed > committed) {
            report(name + ": more claimed (" + std::to_string(claimed) + ") than committed (" +
                   std::to_string(committed) + ")");
        }
        // No more than there are slots, whatever damaged hints say; what is too many is told below.
        const std::uint64_t end = std::min(committed, claimed + ring->slots());
        for (std::uint64_t position = claimed; position < end; ++position) {
            Slot& slot = ring->slot(position);
            // R5: pairs with ring_inline.hpp:C1.
            const std::uint64_t pos = slot.pos.load(std::memory_order_acquire);
            const std::uint64_t ref = slot.ref.load(std::memory_order_acquire);  // R5: as above
            if (pos > position + 1) {
                continue;  // consumed and refilled meanwhile
            }
            if (pos != position + 1) {
                report(name + ": position " + std::to_string(position) +
                       " below the tail is not filled");
            } else if (ref != kClosedRef && a_.pool().reach(ref_chunk(ref)) != Status::ok) {
                report(name + ": position " + std::to_string(position) + " names no chunk");
            }
        }
        collect_refs(found);
        if (static_cast<std::int64_t>(committed - ring->claimed()) >
            static_cast<std::int64_t>(ring->capacity())) {
            report(name + ": holds more than its capacity of " + std::to_string(ring->capacity()));
        }
    }

    void check_topic(const Found& found) {
        const auto topic = a_.directory().topic(found);
        const std::string name = "topic '" + found.name() + "'";
        if (!topic) {
            report(name + ": its control block points outside the rings' memory");
            return;
        }
        // R2: pairs with ring_inline.hpp:R1.
        const std::uint64_t tail_hint = topic->control().tail.load(std::memory_order_acquire);
        const std::uint64_t floor = topic->floor();
        const std::uint64_t tail = topic->tail();
        if (tail_hint > topic->tail() || floor > topic->tail()) {
            report(name + ": the tail hint " + std::to_string(tail_hint) + " or the floor " +
                   std::to_string(floor) + " leads the first unfilled position");
        }
        for (std::uint64_t position = tail - std::min<std::uint64_t>(tail, topic->slots());
             position < tail;
             ++position) {
            Slot& slot = topic->slot(position);
            // R5: pairs with ring_inline.hpp:C1.
            const std::uint64_t pos = slot.pos.load(std::memory_order_acquire);
            const std::uint64_t ref = slot.ref.load(std::memory_order_acquire);  // R5: as above
            if (pos < position + 1) {
                report(name + ": position " + std::to_string(position) +
                       " below the tail is not filled");
            } else if (pos == position + 1 && ref != kClosedRef &&
                       a_.pool().reach(ref_chunk(ref)) != Status::ok) {
                report(name + ": position " + std::to_string(position) + " names no chunk");
            }
        }
        collect_refs(found);
        check_subscribers(*topic, name);
    }

    void check_subscribers(const TopicRing& topic, const std::string& name) {
        for (SubscriberRecord& record : topic.subscribers()) {
            // H5: pairs with topic_ring.cpp:H6.
            const std::uint64_t owner = record.owner.load(std::memory_order_seq_cst);
            // T17: pairs with topic_ring.cpp:T16.
            const std::uint64_t cursor = record.cursor.load(std::memory_order_seq_cst);
            if (owner != 0 && !a_.processes().alive(owner)) {
                report(name + ": a subscriber belongs to a process that is not live");
            } else if (owner != 0 && cursor > topic.tail()) {
                report(name + ": the cursor " + std::to_string(cursor) +
                       " of a subscriber leads the tail " + std::to_string(topic.tail()));
            }
        }
    }

    // Of both rings.
    void collect_refs(const Found& found) {
        for (const auto& ring : {a_.directory().ring(found), a_.directory().returns_lane(found)}) {
            for (std::uint64_t i = 0; ring && i < ring->slots(); ++i) {
                Slot& slot = ring->slot(i);
                // R5: pairs with ring_inline.hpp:C1.
                if (slot.pos.load(std::memory_order_acquire) != 0) {
                    refs_.insert(slot.ref.load(std::memory_order_acquire));  // R5: as above
                }
            }
        }
    }

    // What is wrong with a chunk, empty if nothing.
    [[nodiscard]] std::string judge(std::uint32_t chunk, std::uint64_t word) {
        const std::uint32_t owner = word_owner(word);
        switch (word_state(word)) {
            case ChunkState::free:
                return {};
            case ChunkState::parked:
                return queue_exists(chunk) ? std::string() : "is PARKED, and its queue is gone";
            case ChunkState::lingering:
                return has_live_reader(chunk) ? std::string() : "LINGERS, and nobody reads it";
            case ChunkState::kept:
                return a_.idempotency().keeps(chunk, word)
                           ? std::string()
                           : "is KEPT, and no record of the idempotency store names it";
            case ChunkState::owned:
            case ChunkState::moving:
            case ChunkState::claimed:
                return owner < live_.size() && live_[owner]
                           ? std::string()
                           : "belongs to process slot " + std::to_string(owner) +
                                 ", which is not live";
            case ChunkState::offered:
                if (refs_.contains(make_ref(word_generation(word), chunk)) ||
                    in_flight(owner, make_ref(word_generation(word), chunk)) ||
                    in_closed_topic(chunk)) {
                    return {};
                }
                return "is OFFERED, and in no ring";
            case ChunkState::retired:
                return owner == kNobodysChunk || (owner < live_.size() && live_[owner])
                           ? std::string()
                           : "is RETIRED by process slot " + std::to_string(owner) +
                                 ", which is not live";
            case ChunkState::replied:
            case ChunkState::failed:
                return caller_lives(chunk) ? std::string()
                                           : "holds an answer for process slot " +
                                                 std::to_string(owner) + ", whose life is over";
            case ChunkState::orphaned:
                return owner < live_.size() && live_[owner]
                           ? std::string()
                           : "is ORPHANED, and its server in process slot " +
                                 std::to_string(owner) + " is not live";
            default:
                return "is in state " + std::to_string(word >> 60) +
                       ", which this version does not use";
        }
    }

    [[nodiscard]] bool queue_exists(std::uint32_t chunk) const {
        // relaxed: written before OFFERED
        const std::uint64_t dest = a_.pool().header(chunk)->dest.load(std::memory_order_relaxed);
        const auto found = a_.directory().pinned(dest_entry(dest));
        return found && found->generation == dest_generation(dest) && found->leased();
    }

    [[nodiscard]] bool has_live_reader(std::uint32_t chunk) const {
        for (const Word& word : a_.leases().block(chunk).readers) {
            const std::uint64_t reader =
                word.load(std::memory_order_relaxed);  // relaxed: looked at again
            if (reader != 0 && reader_holder(reader) < live_.size() &&
                live_[reader_holder(reader)]) {
                return true;
            }
        }
        return false;
    }

    // The sentinel of a topic takes the place of a message, which goes when the topic does.
    [[nodiscard]] bool in_closed_topic(std::uint32_t chunk) const {
        // relaxed: written before OFFERED
        const std::uint64_t dest = a_.pool().header(chunk)->dest.load(std::memory_order_relaxed);
        const auto found = a_.directory().pinned(dest_entry(dest));
        return found && found->generation == dest_generation(dest) &&
               found->family() == Family::topic && found->state != EntryState::live;
    }

    // Of an answered or failed call: whether the life of the process that it belongs to goes on.
    [[nodiscard]] bool caller_lives(std::uint32_t chunk) { return a_.calls().wanted(chunk); }

    [[nodiscard]] bool in_flight(std::uint32_t owner, std::uint64_t ref) {
        for (ThreadRecord& thread : a_.threads()) {
            // T2: pairs with thread_context.cpp:T1.
            const std::uint64_t identity = thread.owner.load(std::memory_order_acquire);
            if (identity != 0 && identity_slot(identity) == owner && owner < live_.size() &&
                live_[owner] &&
                // relaxed: what seems wrong is looked at again
                (thread.inflight.load(std::memory_order_relaxed) == ref ||
                 thread.victim.load(std::memory_order_relaxed) == ref)) {  // relaxed: as above
                return true;
            }
        }
        return false;
    }

    // Rule 1: every chunk in exactly one state, with a live owner or in a ring.
    void check_chunks() {
        std::vector<std::pair<std::uint32_t, std::uint64_t>> doubtful;
        for (std::uint32_t k = 0; k < a_.pool().class_count(); ++k) {
            const ChunkClass& c = a_.pool().chunk_class(k);
            for (std::uint32_t i = 0; i < c.chunk_count; ++i) {
                const std::uint64_t word = word_of(c.first_chunk + i);
                count(word);
                if (word_state(word) == ChunkState::offered ||
                    !judge(c.first_chunk + i, word).empty()) {
                    doubtful.emplace_back(c.first_chunk + i, word);
                }
            }
        }
        // An offer in progress, or a message committed after we looked at its ring: look again.
        for (int round = 0; round < 3 && !doubtful.empty(); ++round) {
            refs_.clear();
            for (const Found& found : a_.directory().list()) {
                collect_refs(found);
            }
            collect_live_again();
            std::erase_if(doubtful, [this](const auto& d) {
                return word_of(d.first) != d.second || judge(d.first, d.second).empty();
            });
            if (!doubtful.empty()) {
                std::this_thread::sleep_for(std::chrono::milliseconds(5));
            }
        }
        for (const auto& [chunk, word] : doubtful) {
            report("chunk " + std::to_string(chunk) + " " + judge(chunk, word));
        }
    }

    void collect_live_again() {
        audit_.processes = 0;
        collect_processes();
    }

    void count(std::uint64_t word) {
        ++audit_.chunks;
        switch (word_state(word)) {
            case ChunkState::free:
                ++audit_.free;
                break;
            case ChunkState::owned:
                ++audit_.owned;
                break;
            case ChunkState::offered:
                ++audit_.offered;
                break;
            case ChunkState::claimed:
                ++audit_.claimed;
                break;
            case ChunkState::retired:
                ++audit_.retired;
                break;
            case ChunkState::parked:
            case ChunkState::moving:
                ++audit_.parked;
                break;
            case ChunkState::lingering:
                ++audit_.lingering;
                break;
            case ChunkState::kept:
                ++audit_.kept;
                break;
            case ChunkState::replied:
            case ChunkState::failed:
            case ChunkState::orphaned:
                ++audit_.ended_calls;
                break;
            default:
                break;
        }
    }

    // Each is one word, so that no kill leaves half a one.
    void check_settings() {
        for (std::uint32_t i = 0; i < kSettings; ++i) {
            if (!a_.settings().sound(i)) {
                report(std::string("setting ") + kSettingRules[i].name +
                       " is out of its range, and counts as not set");
            }
        }
    }

    // No thread record of a dead process.
    void check_threads() {
        std::vector<std::uint32_t> doubtful;
        for (std::uint32_t i = 0; i < a_.threads().size(); ++i) {
            if (orphan(i)) {
                doubtful.push_back(i);
            }
        }
        if (doubtful.empty()) {
            return;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        a_.check_deaths();
        collect_live_again();
        for (const std::uint32_t i : doubtful) {
            if (orphan(i)) {
                report("thread record " + std::to_string(i) +
                       " belongs to a process that is not live");
            }
        }
    }

    [[nodiscard]] bool orphan(std::uint32_t i) {
        // T2: pairs with thread_context.cpp:T1.
        const std::uint64_t identity = a_.threads()[i].owner.load(std::memory_order_acquire);
        return identity != 0 &&
               (identity_slot(identity) >= live_.size() || !live_[identity_slot(identity)]);
    }

    Attachment& a_;
    Audit audit_;
    std::vector<bool> live_;
    std::set<std::uint64_t> refs_;
};

}  // namespace

Audit audit(Attachment& attachment) { return Auditor(attachment).run(); }

}  // namespace telpher::shm
