#include "src/store/held_entry.hpp"

#include <algorithm>
#include <utility>

namespace telpher::store {

std::optional<EntryCopy> HeldEntry::pass(const Record& record, const Place& place) {
    const RecordHeader& header = record.header;
    std::optional<EntryCopy> held = std::exchange(held_, std::nullopt);
    if (record.kind() != RecordKind::entry || record.payload.size() < sizeof(EntryKey)) {
        const bool follows = held && record.kind() == RecordKind::message &&
                             header.lsn == held->origin && header.origin == held->origin;
        return follows ? std::move(held) : std::nullopt;
    }
    EntryCopy entry{.destination = header.destination, .origin = header.origin, .place = place};
    std::copy_n(record.payload.begin(), entry.key.size(), entry.key.begin());
    entry.value.assign(record.payload.begin() + sizeof(EntryKey), record.payload.end());
    if (header.origin == header.lsn + 1) {
        held_ = std::move(entry);
        return std::nullopt;
    }
    return entry;
}

}  // namespace telpher::store
