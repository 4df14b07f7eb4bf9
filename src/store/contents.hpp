#pragma once
// What a log holds that is still needed: the sum of its records.
//
//   Shape    destinations, the messages of each that are not done, and what each keeps by key; for all of it, where it
//            lies in the log. Payloads of messages stay on disk.
//   Memory   a node of an ordered map for each message, with its state; definitions and entries whole.
//   Threads  one at a time.
//   Cost     apply: a search in an ordered map; a `removed`, and relocate(): all messages.

#include "src/store/held_entry.hpp"
#include "src/store/log_reader.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

namespace telpher::store {

class Contents {
  public:
    using Data = std::vector<std::byte>;

    struct Destination {
        Data definition;
        Place place;
    };
    struct LiveMessage {
        std::uint32_t destination = 0;
        std::uint32_t payload_bytes = 0;
        Place place;
        Data state;         // empty: none was noted
        Place state_place;  // of that record; segment 0: there is none
    };
    struct Entry {
        Data value;
        Place place;
        Lsn origin = 0;  // of the message that it is about; 0: of none
    };
    using EntryId = std::pair<std::uint32_t, EntryKey>;

    // Takes note of a record; each in the order of the log. Errors: corrupt (its payload makes no sense).
    Result<void> apply(const Record& record, const Place& place);
    // Tells every place by another one.
    template <class Function>
    void relocate(const Function& moved) {
        for (auto& [id, destination] : destinations_) {
            move(destination.place, moved(destination.place), destination.definition.size());
        }
        for (auto& [origin, message] : messages_) {
            move(message.place, moved(message.place), message.payload_bytes);
            move(message.state_place, moved(message.state_place), message.state.size());
        }
        for (auto& [id, entry] : entries_) {
            move(entry.place, moved(entry.place), entry_bytes(entry));
        }
    }

    [[nodiscard]] const std::map<std::uint32_t, Destination>& destinations() const {
        return destinations_;
    }
    // By their origin: in the order in which they were put.
    [[nodiscard]] const std::map<Lsn, LiveMessage>& messages() const { return messages_; }
    [[nodiscard]] const std::map<EntryId, Entry>& entries() const { return entries_; }

    // What the records that are needed take in that segment, and in all.
    [[nodiscard]] std::uint64_t live_bytes(std::uint64_t segment) const;
    [[nodiscard]] std::uint64_t live_bytes() const { return live_bytes_; }

  private:
    static std::size_t entry_bytes(const Entry& entry) {
        return sizeof(EntryKey) + entry.value.size();
    }
    void count(const Place& place, std::uint64_t payload_bytes);
    void discount(const Place& place, std::uint64_t payload_bytes);
    void move(Place& place, const Place& to, std::uint64_t payload_bytes);
    void define(const Record& record, const Place& place);
    void remove(std::uint32_t destination);
    void add_message(const Record& record, const Place& place);
    void set_state(const Record& record, const Place& place);
    Result<void> end(const Record& record);
    void set_entry(EntryCopy entry);
    void erase(const EntryId& id);
    std::map<Lsn, LiveMessage>::iterator erase(std::map<Lsn, LiveMessage>::iterator message);

    std::map<std::uint32_t, Destination> destinations_;
    std::map<Lsn, LiveMessage> messages_;
    std::map<EntryId, Entry> entries_;
    std::map<Lsn, EntryId> entry_of_;  // by the message that it is about
    HeldEntry held_;
    std::map<std::uint64_t, std::uint64_t> live_of_segment_;
    std::uint64_t live_bytes_ = 0;
};

}  // namespace telpher::store
