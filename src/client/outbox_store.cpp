#include "src/client/outbox_store.hpp"

#include "shm/base/clock.hpp"
#include "src/store/posix_storage.hpp"
#include "src/wire/codec.hpp"

#include <array>
#include <cstring>
#include <new>
#include <set>
#include <utility>

namespace telpher::detail {
namespace {

// A client has little to keep, and reserves two of them: not the 64 MiB of a domain's log.
constexpr std::uint64_t kSegmentBytes = 4U << 20U;
constexpr std::size_t kStateHeadBytes = 6;

void append(std::vector<std::byte>& to, std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    to.insert(to.end(), bytes.begin(), bytes.end());
}

std::string stored_text(store::Bytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

Result<std::vector<std::byte>> encode_for_outbox(const Message& message) try {
    std::vector<std::byte> bytes(wire::encoded_bytes(message));
    // From here on its life span runs.
    wire::encode(message, {.timestamp_ns = shm::wall_coarse_ns()}, bytes);
    return bytes;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<std::unique_ptr<OutboxStore>> OutboxStore::open(const std::string& folder,
                                                       std::int64_t compress_from) try {
    std::unique_ptr<OutboxStore> opened(new OutboxStore);
    auto storage = store::open_folder(folder, store::FolderMode::create);
    if (!storage) {
        return storage.error();
    }
    opened->storage_ = std::move(*storage);
    store::LogReport report;
    auto kept = store::Store::open(*opened->storage_,
                                   {.name = "outbox", .segment_bytes = kSegmentBytes},
                                   report,
                                   compress_from);
    if (!kept) {
        Error error = std::move(kept).error();
        if (error.status == Status::not_permitted) {
            error.detail = "the outbox " + error.detail + "; one client at a time may use it";
        }
        return error;
    }
    opened->store_ = std::move(*kept);
    if (auto read = opened->read_names(); !read) {
        return read.error();
    }
    return opened;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<void> OutboxStore::read_names() {
    for (const auto& [number, destination] : store_->contents().destinations()) {
        const store::Bytes definition = destination.definition;
        if (definition.empty() || std::to_integer<unsigned>(definition[0]) > 1) {
            return Error{Status::corrupt,
                         0,
                         storage_->path_of("") + ": destination " + std::to_string(number) +
                             " of the outbox makes no sense"};
        }
        OutboxDestination named{definition[0] != std::byte{0}, stored_text(definition.subspan(1))};
        numbers_[named] = number;
        names_[number] = std::move(named);
        next_number_ = std::max(next_number_, number + 1);
    }
    return {};
}

Result<std::uint32_t> OutboxStore::number_of(const OutboxDestination& destination) {
    if (const auto known = numbers_.find(destination); known != numbers_.end()) {
        return known->second;
    }
    if (numbers_.size() >= kOutboxDestinationsMax) {
        if (auto made = make_room(); !made) {
            return made.error();
        }
    }
    std::vector<std::byte> definition{std::byte{destination.function}};
    append(definition, destination.name);
    if (auto defined = store_->define(next_number_, definition); !defined) {
        return defined.error();
    }
    numbers_[destination] = next_number_;
    names_[next_number_] = destination;
    return next_number_++;
}

// Forgets the destinations that nothing is left for.
Result<void> OutboxStore::make_room() {
    std::set<std::uint32_t> used;
    for (const auto& [origin, message] : store_->contents().messages()) {
        used.insert(message.destination);
    }
    if (used.size() >= kOutboxDestinationsMax) {
        return Error{Status::limit_reached,
                     0,
                     "messages to " + std::to_string(kOutboxDestinationsMax) +
                         " destinations wait in the outbox, allowed are as many"};
    }
    for (auto known = names_.begin(); known != names_.end();) {
        if (used.contains(known->first)) {
            ++known;
            continue;
        }
        if (auto removed = store_->remove(known->first); !removed) {
            return removed;
        }
        numbers_.erase(known->second);
        known = names_.erase(known);
    }
    return {};
}

Result<Message> OutboxStore::message(Lsn origin) try {
    const auto bytes = store_->payload(origin);
    if (!bytes) {
        return bytes.error();
    }
    const auto view = wire::decode(*bytes);
    if (!view) {
        return view.error();
    }
    Message message(*view);
    // A copy of a message that was sent leaves it out; this one was only kept.
    if (const auto delay = view->delay()) {
        message.deliver_after(*delay);
    }
    return message;
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<void> OutboxStore::refuse(Lsn origin,
                                 std::uint32_t destination,
                                 const OutboxRefusal& refusal) try {
    std::vector<std::byte> state(kStateHeadBytes);
    const auto errno_bits = static_cast<std::uint32_t>(refusal.why.os_error);
    state[0] = static_cast<std::byte>(refusal.why.status);
    std::memcpy(state.data() + 1, &errno_bits, sizeof errno_bits);
    static_assert(limits::kRequestIdBytesMax <= 255, "its length is one byte");
    state[5] = static_cast<std::byte>(refusal.request_id.size());
    append(state, refusal.request_id);
    append(state, refusal.why.detail);
    return store_->set_state(origin, destination, state);
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<OutboxRefusal> OutboxStore::decode(store::Bytes state) {
    const std::size_t id_bytes =
        state.size() < kStateHeadBytes ? 0 : std::to_integer<std::size_t>(state[5]);
    if (state.size() < kStateHeadBytes + id_bytes) {
        return Status::corrupt;
    }
    std::uint32_t errno_bits = 0;
    std::memcpy(&errno_bits, state.data() + 1, sizeof errno_bits);
    return OutboxRefusal{stored_text(state.subspan(kStateHeadBytes, id_bytes)),
                         Error{static_cast<Status>(state[0]),
                               static_cast<int>(errno_bits),
                               stored_text(state.subspan(kStateHeadBytes + id_bytes))}};
}

Error OutboxStore::senseless(Lsn origin, const char* why) {
    return Error{
        Status::corrupt, 0, "message " + std::to_string(origin) + " of the outbox: " + why};
}

}  // namespace telpher::detail
