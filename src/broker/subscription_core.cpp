#include "src/broker/subscription_core.hpp"

#include "shm/base/clock.hpp"
#include "src/client/domain_core.hpp"
#include "src/wire/names.hpp"

#include <algorithm>
#include <bit>

namespace telpher::detail {
namespace {

constexpr std::uint32_t kCopyHazard = TopicReader::kInPlaceMax;

}  // namespace

SubscriptionCore::SubscriptionCore(std::shared_ptr<DomainCore> domain,
                                   std::vector<std::string> patterns,
                                   SubscribeOptions options)
    : domain_(std::move(domain)),
      attachment_(domain_->attachment()),
      patterns_(std::move(patterns)),
      wild_(std::any_of(patterns_.begin(),
                        patterns_.end(),
                        [](const std::string& pattern) { return wire::is_wildcard(pattern); })),
      options_(std::move(options)) {}

// Its records go; a sample that is still read in place keeps the whole core.
SubscriptionCore::~SubscriptionCore() {
    if (attachment_.forked()) {
        return;
    }
    for (auto& reader : readers_) {
        reader->topic->ring().leave(*reader->record);
        // A publisher may wait for us.
        shm::wake_all(reader->topic->ring().control().space, attachment_.threads());
    }
}

// ---- reading -----------------------------------------------------------------------------------

void SubscriptionCore::lose(TopicReader& reader, std::uint64_t count) noexcept {
    reader.cursor += count;
    reader.lost += count;
    reader.lost_before += count;
    reader.record->lost.store(reader.lost, std::memory_order_relaxed);  // relaxed: a statistic
    if (reader.policy == shm::SlowPolicy::disconnect &&
        reader.lost > reader.topic->found().info.disconnect_after) {
        disconnect();
    }
    // relaxed: one writer
    lost_.store(lost_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
}

// Too slow for one of its topics, the subscription ends with all of them: that one alone would end
// unnoticed, and who follows a pattern would join it again.
void SubscriptionCore::disconnect() noexcept {
    for (auto& reader : readers_) {
        if (reader->ended) {
            continue;
        }
        reader->ended = true;
        reader->end = Status::disconnected;
        reader->topic->ring().retire_subscriber(*reader->record);
        // A publisher may wait for us.
        shm::wake_all(reader->topic->ring().control().space, attachment_.threads());
    }
}

// Tells publishers how far we are. Killed before it: they wait for a dead subscriber until it is
// reaped.
void SubscriptionCore::tell_cursor(TopicReader& reader) noexcept {
    reader.unpublished = 0;
    SHM_STEP("topic.cursor");
    if (reader.policy != shm::SlowPolicy::block) {
        // T16: pairs with shm/topic_ring.cpp:T17.
        reader.record->cursor.store(reader.cursor, std::memory_order_release);
        return;
    }
    // W1: pairs with shm/doorbell.hpp:W3: stored first, the waiters looked at second.
    reader.record->cursor.store(reader.cursor, std::memory_order_seq_cst);
    shm::WaiterMap& space = reader.topic->ring().control().space;
    // W3: pairs with shm/doorbell.hpp:W1.
    if (space.summary.load(std::memory_order_seq_cst) != 0) {
        shm::wake_each(space, attachment_.threads());
    }
}

void SubscriptionCore::tell_cursors() noexcept {
    for (auto& reader : readers_) {
        if (reader->unpublished != 0 && !reader->ended) {
            tell_cursor(*reader);
        }
    }
}

Status SubscriptionCore::decode(std::span<const std::byte> bytes, MessageView& view, Error* error) {
    if (!wire::decode_in_place(bytes, view)) [[unlikely]] {
        auto rare = wire::decode(bytes);
        if (!rare) {
            *error = std::move(rare).error();
            return Status::corrupt;
        }
        view = *rare;
    }
    return view.head().expires_ms != 0 && view.expired(std::chrono::system_clock::now())
               ? Status::expired
               : Status::ok;
}

// none = it was evicted or trimmed under our hands.
Status SubscriptionCore::read(TopicReader& reader,
                              std::uint64_t ref,
                              Sample& sample,
                              Error* error) {
    shm::TopicRing& ring = reader.topic->ring();
    const std::size_t bytes = attachment_.pool().message(shm::ref_chunk(ref)).size();
    if (bytes > Sample::kBufferBytes || !ring.may_copy(ref)) {
        return read_in_place(reader, ref, sample, error);
    }
    const std::span<std::byte> copy{sample.buffer_, bytes};
    if (!ring.copy(ref, copy)) {
        return Status::none;
    }
    sample.buffered_ = true;
    return decode(copy, sample, error);
}

Status SubscriptionCore::read_in_place(TopicReader& reader,
                                       std::uint64_t ref,
                                       Sample& sample,
                                       Error* error) {
    shm::TopicRing& ring = reader.topic->ring();
    // H7: pairs with H8. A hazard whose bit is clear was cleared before.
    const std::uint32_t used = reader.pinned.load(std::memory_order_acquire);
    const auto place = static_cast<std::uint32_t>(std::countr_one(used));
    const bool stays = place < TopicReader::kInPlaceMax;
    shm::Word& hazard = reader.record->hazards[stays ? place : kCopyHazard];
    if (!ring.pin(hazard, ref)) {
        return Status::none;
    }
    const std::span<const std::byte> bytes = attachment_.pool().message(shm::ref_chunk(ref));
    const Status status = decode(bytes, sample, error);
    if (status == Status::ok && stays) {
        // relaxed: set by this thread alone
        reader.pinned.fetch_or(1U << place, std::memory_order_relaxed);
        sample.reader_ = &reader;
        sample.hazard_ = place;
        sample.keeps_ = shared_from_this();
        return status;
    }
    if (status == Status::ok) {
        auto copy = std::make_shared<Message>(sample.to_message());
        static_cast<MessageView&>(sample) = copy->view();
        sample.keeps_ = std::move(copy);
    }
    shm::TopicRing::unpin(hazard);
    return status;
}

void SubscriptionCore::unpin(TopicReader& reader, std::uint32_t hazard) noexcept {
    if (reader.topic->attachment().forked()) {
        return;  // the parent's
    }
    shm::TopicRing::unpin(reader.record->hazards[hazard]);
    // H8: pairs with H7: the hazard is cleared before it is used again.
    reader.pinned.fetch_and(~(1U << hazard), std::memory_order_release);
}

// ok, queue_empty, ended topics as topic_not_found or disconnected, out_of_memory, corrupt.
Status SubscriptionCore::take_from(TopicReader& reader, Sample& sample, Error* error) {
    shm::TopicRing& ring = reader.topic->ring();
    if (reader.policy == shm::SlowPolicy::latest_only && ring.maybe_at(reader.cursor)) {
        const std::uint64_t tail = ring.tail();
        if (tail > reader.cursor + 1) {
            lose(reader, tail - 1 - reader.cursor);
        }
    }
    std::uint64_t gone = shm::kNoRef;
    while (!reader.ended) {
        std::uint64_t cursor = reader.cursor;
        std::uint64_t ref = 0;
        Status status = ring.look(&cursor, &ref);
        if (status == Status::gap) {
            lose(reader, cursor - reader.cursor);
            continue;
        }
        if (status == Status::topic_not_found) {
            reader.ended = true;
            reader.end = status;
            return status;
        }
        if (status != Status::ok) {
            return status;
        }
        if (ref == gone) {
            lose(reader, 1);  // trimmed: its place is still there, its message is not
            continue;
        }
        status = read(reader, ref, sample, error);
        if (status == Status::none) {
            gone = ref;
            continue;
        }
        ++reader.cursor;
        if (++reader.unpublished >= reader.tell_every) [[unlikely]] {
            tell_cursor(reader);
        }
        ring.look_ahead(cursor);
        if (status == Status::expired) {
            // relaxed: one writer
            expired_.store(expired_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            continue;
        }
        if (status == Status::ok) {
            sample.sequence_ = reader.topic->found().info.sequence_base + reader.cursor;
            sample.lost_before_ = std::exchange(reader.lost_before, 0);
        }
        return status;
    }
    return reader.end;
}

Status SubscriptionCore::take(Sample& sample, Error* error) {
    const std::size_t count = readers_.size();
    if (count == 1) [[likely]] {
        const Status status = take_from(*readers_[0], sample, error);
        if (status == Status::ok) [[likely]] {
            // relaxed: one writer
            received_.store(received_.load(std::memory_order_relaxed) + 1,
                            std::memory_order_relaxed);
        }
        return wild_ && readers_[0]->ended ? Status::queue_empty : status;
    }
    Status end = Status::queue_empty;
    std::size_t ended = 0;
    for (std::size_t i = 0; i < count; ++i) {
        TopicReader& reader = *readers_[(turn_ + i) % count];
        if (reader.ended) {
            if (reader.end == Status::disconnected) {
                return reader.end;
            }
            end = reader.end;
            ++ended;
            continue;
        }
        const Status status = take_from(reader, sample, error);
        if (status == Status::ok) [[likely]] {
            turn_ = (turn_ + i + 1) % count;  // the others are not starved by a busy one
            // relaxed: one writer
            received_.store(received_.load(std::memory_order_relaxed) + 1,
                            std::memory_order_relaxed);
            return status;
        }
        if (status == Status::disconnected) {
            return status;
        }
        if (reader.ended) {
            end = reader.end;
            ++ended;
        } else if (status != Status::queue_empty) {
            return status;
        }
    }
    return ended == count && !wild_ ? end : Status::queue_empty;
}

Error SubscriptionCore::explain(Status status, Duration timeout) const {
    switch (status) {
        case Status::bad_request:
            return {status,
                    0,
                    handled_
                        ? std::string("the subscription has a handler, which is given its messages")
                        : "timeout is " + std::to_string(timeout.count()) +
                              " ns, allowed are 0 and more"};
        case Status::topic_not_found:
            return {status, 0, "every topic of the subscription was removed"};
        case Status::disconnected:
            return {status,
                    0,
                    "the subscriber lost more messages than its topic allows "
                    "(TopicOptions::disconnect_after)"};
        case Status::domain_removed:
            return {status, 0, "domain '" + domain_->name() + "' was removed"};
        case Status::out_of_memory:
            return {status,
                    0,
                    "a data segment of the domain cannot be mapped into this process (ulimit -v, "
                    "vm.max_map_count, open files)"};
        case Status::corrupt:
            return {status, 0, "a topic's ring is damaged: positions or references make no sense"};
        default:
            return {status, 0, {}};
    }
}

Result<Sample> SubscriptionCore::next(Duration timeout, const std::stop_token& stop) {
    Result<Sample> result(std::in_place);
    Error error;
    const Status status =
        handled_ ? Status::bad_request : next_into(*result, &error, timeout, stop);
    if (status != Status::ok) [[unlikely]] {
        result = error.status == Status::ok ? explain(status, timeout) : std::move(error);
    }
    return result;
}

Result<std::vector<Sample>> SubscriptionCore::next_n(std::size_t max,
                                                     Duration timeout,
                                                     const std::stop_token& stop) {
    if (max == 0) {
        return Error{Status::bad_request, 0, "max is 0, allowed are 1 and more"};
    }
    auto first = next(timeout, stop);
    if (!first) {
        return first.error();
    }
    std::vector<Sample> all;
    all.push_back(std::move(*first));
    Error error;
    while (all.size() < max) {
        Sample sample;
        if (take(sample, &error) != Status::ok) {
            break;  // told by the next call, if it stays so
        }
        all.push_back(std::move(sample));
    }
    return all;
}

}  // namespace telpher::detail
