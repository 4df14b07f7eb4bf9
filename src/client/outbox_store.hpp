#pragma once
// What an outbox keeps on disk: messages by destination, and why some of them were refused.
//
//   Shape      a store (src/store) named "outbox" in a folder of its own. A destination's definition is a byte (0 queue,
//              1 function) and its name; a message is encoded as everywhere (src/wire/codec.hpp); a state is empty (none),
//              or: status (1 byte), errno (4), length of the request id (1), the id, a text.
//   Threads    one at a time.
//   Crash      as the store: what commit() confirmed is there when the folder is opened again.

#include "telpher/message.hpp"

#include "src/store/store.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <vector>

namespace telpher::detail {

inline constexpr std::size_t kOutboxDestinationsMax = 4096;

struct OutboxDestination {
    bool function = false;
    std::string name;
    bool operator<(const OutboxDestination& other) const noexcept {
        return std::tie(function, name) < std::tie(other.function, other.name);
    }
};

// Why a message was refused.
struct OutboxRefusal {
    std::string request_id;
    Error why;
};

class OutboxStore {
  public:
    using Lsn = store::Lsn;
    // Makes the folder if only its last part is missing.
    //   errors  not_permitted (another client uses it), corrupt, version_mismatch, storage_failed, out_of_memory
    //   compress_from  as Store::open
    static Result<std::unique_ptr<OutboxStore>> open(const std::string& folder,
                                                     std::int64_t compress_from);

    // The number of a destination, given to it at its first message. Errors: limit_reached (all are in use), and as
    // Store::define.
    Result<std::uint32_t> number_of(const OutboxDestination& destination);
    // Errors, of this and the next ones: as Store's.
    Result<Lsn> put(std::uint32_t destination, store::Bytes encoded) {
        return store_->put(destination, encoded);
    }
    // Errors: bad_request (there is none), corrupt, storage_failed, out_of_memory.
    Result<Message> message(Lsn origin);
    Result<void> refuse(Lsn origin, std::uint32_t destination, const OutboxRefusal& refusal);
    Result<void> take_up(Lsn origin, std::uint32_t destination) {
        return store_->set_state(origin, destination, {});
    }
    Result<void> done(std::span<const Lsn> origins) { return store_->done(origins); }
    Result<void> commit() { return store_->commit(); }
    Result<void> close() { return store_->close(); }
    // In a forked child, whose parent may have been anywhere in this: the folder is the parent's alone.
    void let_go_of_folder() noexcept { storage_.reset(); }

    // What is there, in the order in which it was put. `refused` is null unless it was.
    // Error: corrupt (a definition or state that makes no sense).
    template <typename Visit>
    Result<void> each(Visit&& visit) const {
        for (const auto& [origin, message] : store_->contents().messages()) {
            const auto to = names_.find(message.destination);
            if (to == names_.end()) {
                return senseless(origin, "its destination is not defined");
            }
            if (message.state.empty()) {
                visit(origin, message.destination, to->second, nullptr);
                continue;
            }
            const auto refusal = decode(message.state);
            if (!refusal) {
                return senseless(origin, "its state makes no sense");
            }
            visit(origin, message.destination, to->second, &*refusal);
        }
        return {};
    }
    // What is needed on disk.
    [[nodiscard]] std::uint64_t bytes() const { return store_->contents().live_bytes(); }

  private:
    OutboxStore() = default;
    Result<void> read_names();
    Result<void> make_room();
    static Result<OutboxRefusal> decode(store::Bytes state);
    static Error senseless(Lsn origin, const char* why);

    std::unique_ptr<store::Storage> storage_;
    std::unique_ptr<store::Store> store_;  // uses it
    std::map<OutboxDestination, std::uint32_t> numbers_;
    std::map<std::uint32_t, OutboxDestination> names_;
    std::uint32_t next_number_ = 1;
};

// A message as it lies in an outbox. Error: out_of_memory.
Result<std::vector<std::byte>> encode_for_outbox(const Message& message);

}  // namespace telpher::detail
