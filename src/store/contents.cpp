#include "src/store/contents.hpp"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace telpher::store {
namespace {

Error senseless(const Record& record, const char* why) {
    return Error{Status::corrupt, 0, "record " + std::to_string(record.header.lsn) + ": " + why};
}

Contents::Data copy_of(Bytes bytes) { return {bytes.begin(), bytes.end()}; }

}  // namespace

void Contents::count(const Place& place, std::uint64_t payload_bytes) {
    if (place.segment != 0) {
        live_of_segment_[place.segment] += record_bytes(payload_bytes);
        live_bytes_ += record_bytes(payload_bytes);
    }
}

void Contents::discount(const Place& place, std::uint64_t payload_bytes) {
    const auto segment = live_of_segment_.find(place.segment);
    if (segment == live_of_segment_.end()) {
        return;
    }
    segment->second -= record_bytes(payload_bytes);
    live_bytes_ -= record_bytes(payload_bytes);
    if (segment->second == 0) {
        live_of_segment_.erase(segment);
    }
}

void Contents::move(Place& place, const Place& to, std::uint64_t payload_bytes) {
    discount(place, payload_bytes);
    place = to;
    count(place, payload_bytes);
}

std::uint64_t Contents::live_bytes(std::uint64_t segment) const {
    const auto found = live_of_segment_.find(segment);
    return found != live_of_segment_.end() ? found->second : 0;
}

Result<void> Contents::apply(const Record& record, const Place& place) {
    if (auto entry = held_.pass(record, place)) {
        set_entry(std::move(*entry));
    }
    switch (record.kind()) {
        case RecordKind::destination:
            define(record, place);
            return {};
        case RecordKind::removed:
            remove(record.header.destination);
            return {};
        case RecordKind::message:
            add_message(record, place);
            return {};
        case RecordKind::state:
            set_state(record, place);
            return {};
        case RecordKind::done:
        case RecordKind::withdrawn:
            return end(record);
        case RecordKind::entry:
            return record.payload.size() < sizeof(EntryKey)
                       ? senseless(record, "its entry has no key")
                       : Result<void>();
        case RecordKind::closed:
            return {};
    }
    return senseless(record, "its kind is unknown");
}

void Contents::define(const Record& record, const Place& place) {
    Destination& destination = destinations_[record.header.destination];
    discount(destination.place, destination.definition.size());
    destination = {copy_of(record.payload), place};
    count(place, record.payload.size());
}

void Contents::remove(std::uint32_t destination) {
    if (const auto found = destinations_.find(destination); found != destinations_.end()) {
        discount(found->second.place, found->second.definition.size());
        destinations_.erase(found);
    }
    for (auto message = messages_.begin(); message != messages_.end();) {
        message = message->second.destination == destination ? erase(message) : std::next(message);
    }
    for (auto entry = entries_.lower_bound({destination, EntryKey{}});
         entry != entries_.end() && entry->first.first == destination;
         entry = entries_.lower_bound({destination, EntryKey{}})) {
        erase(EntryId(entry->first));
    }
}

// The second time it has moved to another segment. Its state stays: the copy of that may not have come to the disk.
void Contents::add_message(const Record& record, const Place& place) {
    LiveMessage& message = messages_[record.header.origin];
    discount(message.place, message.payload_bytes);
    message.destination = record.header.destination;
    message.payload_bytes = record.header.payload_bytes;
    message.place = place;
    count(place, message.payload_bytes);
}

// Of a message that is done: the record is needless, and older than the one that says so.
void Contents::set_state(const Record& record, const Place& place) {
    const auto message = messages_.find(record.header.origin);
    if (message == messages_.end()) {
        return;
    }
    discount(message->second.state_place, message->second.state.size());
    message->second.destination = record.header.destination;
    message->second.state = copy_of(record.payload);
    message->second.state_place = place;
    count(place, message->second.state.size());
}

std::map<Lsn, Contents::LiveMessage>::iterator Contents::erase(
    std::map<Lsn, LiveMessage>::iterator message) {
    discount(message->second.place, message->second.payload_bytes);
    discount(message->second.state_place, message->second.state.size());
    return messages_.erase(message);
}

Result<void> Contents::end(const Record& record) {
    if (record.payload.size() % sizeof(DoneRange) != 0) {
        return senseless(record, "its list of messages that are done has half an entry");
    }
    for (std::size_t at = 0; at < record.payload.size(); at += sizeof(DoneRange)) {
        DoneRange range{};
        std::memcpy(&range, record.payload.data() + at, sizeof range);
        auto message = messages_.lower_bound(range.first);
        while (message != messages_.end() && message->first <= range.last) {
            message = erase(message);
        }
        auto entry = entry_of_.lower_bound(range.first);
        while (record.kind() == RecordKind::withdrawn && entry != entry_of_.end() &&
               entry->first <= range.last) {
            erase(EntryId(std::exchange(entry, std::next(entry))->second));
        }
    }
    return {};
}

void Contents::erase(const EntryId& id) {
    const auto entry = entries_.find(id);
    if (entry == entries_.end()) {
        return;
    }
    discount(entry->second.place, entry_bytes(entry->second));
    entry_of_.erase(entry->second.origin);
    entries_.erase(entry);
}

// The newest counts; of those about messages the one about the newest: an older one may have moved behind it.
void Contents::set_entry(EntryCopy copy) {
    const EntryId id{copy.destination, copy.key};
    Entry& entry = entries_[id];
    if (copy.origin != 0 && copy.origin < entry.origin) {
        return;
    }
    discount(entry.place, entry_bytes(entry));
    entry_of_.erase(entry.origin);
    if (copy.value.empty()) {
        entries_.erase(id);
        return;
    }
    if (copy.origin != 0) {
        entry_of_.insert_or_assign(copy.origin, id);
    }
    entry = {std::move(copy.value), copy.place, copy.origin};
    count(entry.place, entry_bytes(entry));
}

}  // namespace telpher::store
