// Building a domain from its log.

#include "shm/base/clock.hpp"
#include "shm/lease_keeper.hpp"
#include "src/broker/chunk_source.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/domain_log.hpp"
#include "src/client/logged_requests.hpp"
#include "src/client/queue_definition.hpp"
#include "src/store/log.hpp"
#include "src/store/log_segments.hpp"
#include "src/store/posix_storage.hpp"
#include "src/wire/codec.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace telpher::detail {
namespace {

using store::Lsn;
using store::Record;
using store::RecordKind;

// Reads the log once: messages go into chunks as they are met, and are given back when they end.
class Builder {
  public:
    explicit Builder(DomainCore& domain)
        : domain_(domain),
          attachment_(domain.attachment()),
          source_(attachment_, {nullptr, &domain.closed()}, sizeof(shm::LeaseBlock)) {}

    Result<void> build();

  private:
    struct Message {
        std::uint32_t destination = 0;
        std::uint32_t chunk = 0;
        std::uint32_t bytes = 0;
        shm::LoggedShare share = 0;
        std::optional<store::MessageState> state{};
        bool moved = false;  // its queue has another number now
    };

    Result<void> apply(const Record& record);
    Result<void> add(const Record& record);
    Result<void> end(const Record& record);
    void forget(std::uint32_t destination);
    void release(const Message& message);
    Result<void> open(const std::string& path);
    [[nodiscard]] std::vector<std::uint32_t> numbers_in_order() const;
    Result<void> make_queues();
    Result<void> make_queue(std::uint32_t number, const QueueDefinition& definition);
    void prepare(Lsn lsn, const Message& message, std::uint32_t most);
    void enqueue(Lsn lsn, Message& message);
    Result<void> note_all();

    DomainCore& domain_;
    shm::Attachment& attachment_;
    ChunkSource source_;
    shm::ThreadContext* context_ = nullptr;
    std::map<std::uint32_t, QueueDefinition> definitions_;
    std::map<Lsn, Message> messages_;
    std::map<std::uint32_t, shm::Found> queues_;  // by their number in the log
    LoggedRequests requests_;
    std::set<std::uint32_t> used_;  // queues that ever had a message, or a request
    std::uint32_t highest_ = 0;
};

Result<void> Builder::apply(const Record& record) {
    const std::uint32_t number = record.header.destination;
    highest_ = std::max(highest_, number);
    switch (record.kind()) {
        case RecordKind::destination: {
            auto definition = decode_definition(record.payload);
            if (!definition) {
                return Error{
                    Status::version_mismatch,
                    0,
                    "queue " + std::to_string(number) +
                        " of the log is described in a way that this program does not know"};
            }
            definitions_.insert_or_assign(number, std::move(*definition));
            return {};
        }
        case RecordKind::removed:
            forget(number);
            return {};
        case RecordKind::message:
            used_.insert(number);
            return add(record);
        case RecordKind::entry:
            used_.insert(number);
            return {};
        case RecordKind::state:
            if (const auto found = messages_.find(record.header.origin);
                found != messages_.end() && record.payload.size() == sizeof(store::MessageState)) {
                found->second.destination = number;
                found->second.state.emplace();
                std::memcpy(&*found->second.state, record.payload.data(), record.payload.size());
            }
            return {};
        case RecordKind::done:
        case RecordKind::withdrawn:
            return end(record);
        default:
            return {};
    }
}

Result<void> Builder::add(const Record& record) {
    // Most come in order: no search.
    const std::size_t before = messages_.size();
    const auto place = messages_.try_emplace(messages_.end(), record.header.origin);
    if (messages_.size() == before) {
        return {};  // the same one, where it lies now
    }
    Duration none{};
    auto chunk = source_.allocate(*context_, record.payload.size(), none, {});
    if (!chunk) {
        messages_.erase(place);
        Error error = chunk.error();
        error.detail.insert(0, "the messages of the log do not fit into the domain's limits: ");
        return error;
    }
    const auto room = attachment_.pool().message(*chunk).subspan(sizeof(shm::LeaseBlock));
    std::copy(record.payload.begin(), record.payload.end(), room.begin());
    place->second = {.destination = record.header.destination,
                     .chunk = *chunk,
                     .bytes = static_cast<std::uint32_t>(record.payload.size()),
                     .share = shm::share_of(record.header.payload_bytes, record.payload.size())};
    return {};
}

void Builder::release(const Message& message) {
    attachment_.pool().release(message.chunk, attachment_.slot(), context_->cursor);
}

Result<void> Builder::end(const Record& record) {
    if (record.payload.size() % sizeof(store::DoneRange) != 0) {
        return Error{Status::corrupt, 0, "a record of messages that ended has an odd length"};
    }
    for (std::size_t at = 0; at < record.payload.size(); at += sizeof(store::DoneRange)) {
        store::DoneRange range{};
        std::memcpy(&range, record.payload.data() + at, sizeof range);
        for (auto m = messages_.lower_bound(range.first);
             m != messages_.end() && m->first <= range.last;
             m = messages_.erase(m)) {
            release(m->second);
        }
    }
    return {};
}

void Builder::forget(std::uint32_t destination) {
    definitions_.erase(destination);
    for (auto m = messages_.begin(); m != messages_.end();) {
        if (m->second.destination == destination) {
            release(m->second);
            m = messages_.erase(m);
        } else {
            ++m;
        }
    }
}

Result<void> Builder::open(const std::string& path) {
    auto folder = store::open_folder(path, store::FolderMode::create);
    if (!folder) {
        return folder.error();
    }
    shm::LogControl& control = attachment_.log().control();
    store::LogReport report;
    store::ReadOptions reading;
    reading.visit = [&](const Record& record, const store::Place& place) {
        requests_.take(record, place);
        return apply(record);
    };
    auto log = store::Log::open(**folder,
                                {.name = domain_.name(), .segment_bytes = control.segment_bytes},
                                reading,
                                report);
    if (!log) {
        return log.error();
    }
    const store::Place at = (*log)->end();
    const shm::Uuid uuid = (*log)->uuid();
    std::copy(uuid.begin(), uuid.end(), control.log);
    const std::uint64_t place = shm::make_log_place(at.segment, at.offset);
    // relaxed, all: published by the state, `ready`
    for (shm::Slot* slot : {&control.position, &control.synced}) {
        slot->pos.store(place, std::memory_order_relaxed);  // relaxed: as above
        slot->ref.store(shm::make_log_next((*log)->next_lsn(), 0),
                        std::memory_order_relaxed);  // relaxed: as above
    }
    log->reset();
    static_cast<void>(
        (*folder)->remove(store::kSpareName));  // made by Log::open; costs room, nothing else
    return {};
}

Result<void> Builder::make_queue(std::uint32_t number, const QueueDefinition& definition) {
    shm::DestinationSpec spec = definition.spec;
    spec.name = definition.name;
    spec.log_id |= number;
    if (!definition.dead_letter.empty()) {
        const auto dead = attachment_.directory().find(definition.dead_letter);
        if (!dead) {
            return Error{Status::corrupt,
                         0,
                         "queue '" + definition.name + "' has dead letters '" +
                             definition.dead_letter + "', which the log does not know"};
        }
        spec.dead_letter_entry = dead->entry + 1;
        spec.dead_letter_generation = static_cast<std::uint32_t>(dead->generation);
    }
    bool created = false;
    auto found = attachment_.directory().create(spec, &created);
    if (!found) {
        return found.error();
    }
    queues_.emplace(number, *found);
    return {};
}

// Of two with the same name one was removed: its removal, or the other's making, had not been noted. The one that was
// used is the one that was there, the last of several.
std::vector<std::uint32_t> Builder::numbers_in_order() const {
    std::vector<std::uint32_t> numbers;
    std::vector<std::uint32_t> unused;
    for (const auto& [number, definition] : definitions_) {
        (used_.contains(number) ? numbers : unused).push_back(number);
    }
    std::reverse(numbers.begin(), numbers.end());
    numbers.insert(numbers.end(), unused.begin(), unused.end());
    return numbers;
}

// Queues that others send their dead letters to come first.
Result<void> Builder::make_queues() {
    const std::vector<std::uint32_t> numbers = numbers_in_order();
    for (const bool with_letters : {false, true}) {
        for (const std::uint32_t number : numbers) {
            const QueueDefinition& definition = definitions_.at(number);
            if (definition.dead_letter.empty() != with_letters) {
                if (auto made = make_queue(number, definition); !made) {
                    return made;
                }
            }
        }
    }
    return {};
}

// Before each attempt to bring it where it waits. `most`: deliveries there; 0: any number.
void Builder::prepare(Lsn lsn, const Message& message, std::uint32_t most) {
    const shm::Leases leases = attachment_.leases();
    leases.open(message.chunk);
    leases.set_logged(message.chunk, lsn, message.share);
    if (!message.state) {
        return;
    }
    // It is handed out at least once more: nobody had it when the domain ended, or nobody has answered.
    leases.set_deliveries(message.chunk, std::min(message.state->deliveries, most - 1));
    if (message.state->reason != 0) {
        const auto from = queues_.find(message.state->origin_destination);
        const std::uint32_t entry =
            from != queues_.end() ? from->second.entry : shm::kDeadEntryUnknown;
        // relaxed: the chunk is ours, and published by its commit
        leases.block(message.chunk)
            .dead.store(shm::make_dead(message.state->dead_wall_ms, entry, message.state->reason),
                        std::memory_order_relaxed);  // relaxed: as above
    }
}

// Into the queue's ring; what has no room there, because it was lent or delayed when the domain ended, through its
// returns lane, as soon as there is some.
void Builder::enqueue(Lsn lsn, Message& message) {
    const auto queue = queues_.find(message.destination);
    const auto bytes = attachment_.pool()
                           .message(message.chunk)
                           .subspan(sizeof(shm::LeaseBlock))
                           .first(message.bytes);
    auto view = wire::decode(bytes);
    if (queue == queues_.end() || !view) {
        release(message);
        attachment_.log().note_ended(lsn);
        return;
    }
    const shm::Found& found = queue->second;
    message.moved = found.log_number() != message.destination;
    prepare(lsn, message, found.info.deliveries_max);
    const std::uint64_t now = shm::monotonic_ns() / 1000;
    std::uint64_t due = 1;
    if (const auto delay = view->delay()) {
        const auto sent = std::chrono::duration_cast<std::chrono::milliseconds>(
            view->timestamp().time_since_epoch());
        const auto at = sent.count() + delay->count();
        const auto wall = static_cast<std::int64_t>(shm::wall_coarse_ns() / 1'000'000);
        due = at > wall ? now + static_cast<std::uint64_t>(at - wall) * 1000 : 1;
    }
    auto ring = attachment_.directory().ring(found);
    const bool later = due > 1;
    std::uint64_t position = 0;
    const Status status =
        later || !ring
            ? Status::queue_full
            : ring->commit(message.chunk, attachment_.slot(), *context_->record, &position);
    if (status != Status::ok) {
        prepare(lsn, message, found.info.deliveries_max);
        attachment_.leases().park_offer(message.chunk, found.dest(), due);
        shm::LeaseKeeper::look_by(attachment_.directory().entry(found.entry), due);
    }
}

// What the log says of queues and moved messages comes to the beginning of the segment that was just begun.
Result<void> Builder::note_all() {
    auto log = open_log(attachment_);
    if (!log) {
        return log.error();
    }
    constexpr std::chrono::seconds kPatience{30};
    for (const auto& [number, found] : queues_) {
        if (found.log_number() != number) {
            continue;
        }
        const QueueDefinition& definition = definitions_.at(number);
        const auto payload =
            encode_definition(spec_of(found), definition.name, definition.dead_letter);
        if (auto noted = (*log)->append(
                {.kind = RecordKind::destination, .destination = number, .payload = payload},
                kPatience);
            !noted) {
            return noted;
        }
    }
    for (const auto& [lsn, message] : messages_) {
        if (message.moved) {
            const store::MessageState state = message.state.value_or(store::MessageState{});
            if (auto noted =
                    (*log)->append({.kind = RecordKind::state,
                                    .destination = queues_.at(message.destination).log_number(),
                                    .origin = lsn,
                                    .payload = std::as_bytes(std::span(&state, 1))},
                                   kPatience);
                !noted) {
                return noted;
            }
        }
    }
    return {};
}

Result<void> Builder::build() {
    auto context = attachment_.context();
    if (!context) {
        return context.error();
    }
    context_ = *context;
    shm::LogControl& control = attachment_.log().control();
    // relaxed: a name
    control.builder.store(attachment_.identity(), std::memory_order_relaxed);
    if (auto opened = open(attachment_.log().path()); !opened) {
        return opened;
    }
    // relaxed: published by the state
    control.destinations.store(highest_, std::memory_order_relaxed);
    if (auto made = make_queues(); !made) {
        return made;
    }
    const auto waits = [this](Lsn lsn) { return messages_.contains(lsn); };
    for (const Lsn lsn : requests_.brought_again(waits)) {
        if (const auto gone = messages_.extract(lsn)) {
            release(gone.mapped());
            attachment_.log().note_withdrawn(lsn);
        }
    }
    for (auto& [lsn, message] : messages_) {
        enqueue(lsn, message);
    }
    requests_.restore(attachment_, queues_);
    if (auto noted = note_all(); !noted) {
        return noted;
    }
    // DL3: pairs with shm/log_table.cpp:LG16. Whoever is admitted sees all of it.
    control.state.store(static_cast<std::uint32_t>(shm::LogState::ready),
                        std::memory_order_release);
    attachment_.poke_janitor();
    return {};
}

}  // namespace

Result<void> build_from_log(DomainCore& domain) { return Builder(domain).build(); }

}  // namespace telpher::detail
