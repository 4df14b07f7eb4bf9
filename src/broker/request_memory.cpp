#include "src/broker/request_memory.hpp"

#include "shm/base/clock.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace telpher::detail {
namespace {

// While it is full, nobody counts more often.
constexpr std::uint64_t kFullNs = 1'000'000;
// A destination that says nothing gets at most a quarter of the table: others shall have room, too.
constexpr std::uint64_t kShareOfTable = 4;
constexpr std::uint64_t kCreditLeast = 64;
constexpr std::uint64_t kBytesCreditLeast = 64U << 10U;
// A longer one is a fingerprint's: what that takes for the same is the same, whatever else the request says.
constexpr std::size_t kIdBytesMax = 255;

std::uint64_t seed_of(const shm::Uuid& uuid) {
    std::uint64_t seed = 0;
    std::memcpy(&seed, uuid.data(), sizeof seed);
    return seed;
}

// Set before the queues are there.
shm::Uuid uuid_of_log(shm::Attachment& attachment) {
    shm::Uuid uuid{};
    std::copy_n(attachment.log().control().log, uuid.size(), uuid.begin());
    return uuid;
}

// Of a function its name, so that what is remembered outlives its servers; of a queue also its life, which is a number
// of the log's if it is durable.
std::uint64_t destination_of(const shm::Found& found, std::uint64_t seed) {
    const bool function = found.family() == shm::Family::function;
    const std::uint64_t life = function ? 0
                               : found.kind() == shm::Kind::durable
                                   ? found.log_number()
                                   : found.generation << 16U ^ found.entry;
    return XXH3_64bits_withSeed(
        found.info.name,
        std::min<std::size_t>(found.info.name_bytes, sizeof found.info.name),
        seed ^ (life + 1) ^ (function ? 1ULL << 63U : 0));
}

void add(XXH3_state_t& state, std::string_view text) {
    // The length, too: "ab" + "c" is not "a" + "bc".
    const std::uint64_t bytes = text.size();
    XXH3_128bits_update(&state, &bytes, sizeof bytes);
    XXH3_128bits_update(&state, text.data(), text.size());
}

shm::Hash128 of(const XXH128_hash_t& hash) { return {hash.low64, hash.high64}; }

// Eight bits of each key's tag are its destination's, so that counting reads words alone.
constexpr int kMarkBits = 8;
std::uint64_t mark_of(std::uint64_t destination) { return destination >> (64 - kMarkBits); }
shm::Hash128 marked(shm::Hash128 key, std::uint64_t destination) {
    // The tag is the high bits of low xor high (shm/idempotency.cpp).
    constexpr std::uint64_t kRest = ~0ULL >> kMarkBits;
    key.high = (key.high & kRest) |
               ((key.low >> (64 - kMarkBits) ^ mark_of(destination)) << (64 - kMarkBits));
    return key;
}

// Records whose keys may be of the destination: a few too many. What has expired and is not ended counts.
std::uint64_t count_marked(const shm::IdempotencyStore& store, std::uint64_t destination) {
    const std::uint64_t mark = mark_of(destination);
    std::uint64_t entries = 0;
    for (std::uint32_t i = 0; i < store.count(); ++i) {
        const std::uint64_t word = store.word_of(i);
        entries += shm::record_state(word) != shm::RecordState::free &&
                           shm::record_tag(word) >> (24 - kMarkBits) == mark
                       ? 1U
                       : 0U;
    }
    return entries;
}

}  // namespace

RequestMemory::RequestMemory(shm::Attachment& attachment, const shm::Found& found)
    : attachment_(attachment),
      info_(found.info),
      entry_(found.entry),
      offers_(found.family() == shm::Family::queue),
      logged_(found.kind() == shm::Kind::durable && attachment.log().on() &&
              static_cast<IdempotencyScope>(info_.idempotency_scope) != IdempotencyScope::client),
      seed_(logged_ ? seed_of(uuid_of_log(attachment)) : seed_of(attachment.segment().uuid())),
      destination_(info_.idempotency != 0 ? destination_of(found, seed_) : 0) {}

shm::Hash128 RequestMemory::key_of(std::string_view id, const Requester& requester) const noexcept {
    // scope, destination, whose: then the id, of at most 255 bytes; a longer one (a fingerprint) by its hash.
    std::array<char, 3 * sizeof(std::uint64_t) + 256> bytes;  // NOLINT: filled as far as it is read
    std::uint64_t whose = 0;
    switch (static_cast<IdempotencyScope>(info_.idempotency_scope)) {
        case IdempotencyScope::principal:
            whose = requester.principal;
            break;
        case IdempotencyScope::client:
            whose = requester.client != 0 ? requester.client : requester.process;
            break;
        case IdempotencyScope::global:
            break;
    }
    const std::uint64_t words[3] = {destination_, info_.idempotency_scope, whose};
    std::memcpy(bytes.data(), words, sizeof words);
    XXH128_hash_t longer;
    if (id.size() > kIdBytesMax) {
        longer = XXH3_128bits_withSeed(id.data(), id.size(), seed_);
        id = {reinterpret_cast<const char*>(&longer), sizeof longer};
    }
    std::memcpy(bytes.data() + sizeof words, id.data(), id.size());
    return marked(of(XXH3_128bits_withSeed(bytes.data(), sizeof words + id.size(), seed_)),
                  destination_);
}

// What the request says, without what may differ between two attempts: ids, times, where replies go.
shm::Hash128 RequestMemory::print_of(const MessageView& request) const noexcept {
    const auto payload = request.payload();
    const std::string_view topic = request.topic();
    // The usual one in one piece: a topic of at most 100 bytes, a short payload, no names of its kind.
    std::array<char, 512> bytes;  // NOLINT: filled as far as it is read
    const detail::MessageHead& head = request.head();
    const std::uint64_t first[2] = {
        topic.size(), head.content | static_cast<std::uint64_t>(payload.size()) << 8U};
    if (head.content != kContentExtended &&
        payload.size() + topic.size() + sizeof first <= bytes.size()) {
        std::memcpy(bytes.data(), first, sizeof first);
        std::memcpy(bytes.data() + sizeof first, topic.data(), topic.size());
        if (!payload.empty()) {
            std::memcpy(bytes.data() + sizeof first + topic.size(), payload.data(), payload.size());
        }
        return of(XXH3_128bits_withSeed(
            bytes.data(), sizeof first + topic.size() + payload.size(), seed_));
    }
    XXH3_state_t state;
    XXH3_INITSTATE(&state);
    XXH3_128bits_reset_withSeed(&state, seed_);
    XXH3_128bits_update(&state, first, sizeof first);
    add(state, topic);
    add(state, request.mimetype());
    add(state, request.charset());
    XXH3_128bits_update(&state, payload.data(), payload.size());
    return of(XXH3_128bits_digest(&state));
}

RequestMemory::Answer RequestMemory::begin(const MessageView& request,
                                           std::string_view id,
                                           const Requester& requester) {
    const std::uint64_t now = shm::monotonic_coarse_ns();
    const bool evicts = (info_.idempotency_flags & shm::kIdempotencyEvicts) != 0;
    const shm::IdempotencyStore::Asked asked{
        key_of(id, requester),
        id.size() > kIdBytesMax ? shm::Hash128{} : print_of(request),
        destination_,
        info_.idempotency_ttl_ns,
        offers_,
        reruns(),
        evicts};
    Answer answer = store().begin(asked, now);
    shm::DirectoryEntry& e = attachment_.directory().entry(entry_);
    const auto count = [](shm::Word& counter, std::uint64_t by = 1) {
        counter.fetch_add(by, std::memory_order_relaxed);  // relaxed: a statistic
    };
    if (answer.found == Found::begun) [[likely]] {
        if (!room(now)) {
            store().withdraw(answer);
            answer.found = Found::full;
        } else if (answer.evicted != 0) {
            count(e.evicted, answer.evicted);
        }
        return answer;
    }
    if (answer.found != Found::full) {
        count(e.duplicates);
    }
    if (answer.found == Found::done) {
        count(e.replays);
    } else if (answer.found == Found::conflict) {
        count(e.conflicts);
    }
    return answer;
}

// Killed in it: the domain is not built yet, and its builder's death ends it.
bool RequestMemory::restore(const shm::Hash128& key,
                            const shm::Hash128& print,
                            std::uint64_t lsn,
                            std::uint64_t ttl_ns) {
    const Answer answer = store().begin(
        {.key = key, .print = print, .destination = destination_, .ttl_ns = ttl_ns, .offer = true},
        shm::monotonic_coarse_ns());
    if (answer.found != Found::begun) {
        return false;
    }
    store().complete(answer, shm::kOfferOutcome | lsn, shm::kNoChunk);
    return true;
}

std::uint64_t RequestMemory::entries_max() noexcept {
    return info_.idempotency_entries_max != 0 ? info_.idempotency_entries_max
                                              : store().count() / kShareOfTable;
}

bool RequestMemory::room(std::uint64_t now_ns) {
    // relaxed: two threads that count at once do no harm
    return credit_.fetch_sub(1, std::memory_order_relaxed) > 0 || count_room(now_ns);
}

void RequestMemory::charge(std::size_t chunk_bytes) noexcept {
    if (info_.idempotency_bytes_max == 0) [[likely]] {
        return;
    }
    const auto bytes = static_cast<std::int64_t>(chunk_bytes);
    // relaxed, both: as in `room`
    if (bytes_credit_.fetch_sub(bytes, std::memory_order_relaxed) <= bytes) {
        credit_.store(0, std::memory_order_relaxed);  // relaxed: as above
    }
}

// Who shares the room: the processes that serve a function, and in ours those who serve it here; of a queue's
// producers nobody knows.
std::uint64_t RequestMemory::sharers() const {
    if (offers_) {
        return 2;
    }
    std::uint64_t servers = 0;
    for (const shm::Word& bits : attachment_.directory().entry(entry_).consumers) {
        // relaxed: a statistic
        servers += static_cast<std::uint64_t>(std::popcount(bits.load(std::memory_order_relaxed)));
    }
    return std::max<std::uint64_t>(servers, 1) *
           std::max<std::uint32_t>(attachment_.directory().serving_here(entry_), 1);
}

// Of one that has begun: it is among the entries that are counted.
bool RequestMemory::count_room(std::uint64_t now_ns) {
    const std::lock_guard hold(mutex_);
    const bool evicts = (info_.idempotency_flags & shm::kIdempotencyEvicts) != 0;
    if (!evicts && now_ns < full_until_ns_) {
        return false;
    }
    const std::uint64_t most = entries_max();
    const std::uint64_t most_bytes =
        info_.idempotency_bytes_max != 0 ? info_.idempotency_bytes_max : ~0ULL >> 8U;
    shm::IdempotencyStore::Usage used{count_marked(store(), destination_), 0};
    // Others' records may have the same mark: nobody's are forgotten, and nobody is refused, by that count.
    if (used.entries > most || info_.idempotency_bytes_max != 0) {
        used = store().usage(destination_, now_ns);
    }
    if (used.entries > most || used.bytes >= most_bytes) {
        if (!evicts) {
            full_until_ns_ = now_ns + kFullNs;
            return false;
        }
        const shm::IdempotencyStore::Usage fewer{
            used.entries > most ? used.entries - most + most / 4 : 0,
            used.bytes >= most_bytes ? used.bytes - most_bytes + most_bytes / 4 : 0};
        const std::uint32_t gone = store().evict(destination_, fewer);
        attachment_.directory().entry(entry_).evicted.fetch_add(
            gone, std::memory_order_relaxed);  // relaxed: a statistic
        used.entries -= std::min<std::uint64_t>(gone, used.entries);
        used.bytes -= std::min(used.bytes, fewer.bytes);
        if (used.entries > most) {
            return false;  // as many are under way
        }
    }
    const std::uint64_t left = most - used.entries;
    const std::uint64_t bytes_left = most_bytes - std::min(used.bytes, most_bytes);
    // A share of the room, since other processes count on the rest; and at least so much that the last places
    // are not counted one by one. What is too many goes with the next eviction.
    const std::uint64_t divisor = evicts ? sharers() : 8;
    // relaxed, both: as above
    credit_.store(static_cast<std::int64_t>(std::max(left / divisor, std::min(left, kCreditLeast))),
                  std::memory_order_relaxed);
    bytes_credit_.store(static_cast<std::int64_t>(std::max(
                            bytes_left / divisor, std::min(bytes_left, kBytesCreditLeast))),
                        std::memory_order_relaxed);  // relaxed: as above
    return true;
}

Error RequestMemory::explain(Found found, std::string_view id) {
    const std::string request = "request id '" + std::string(id) + "'";
    switch (found) {
        case Found::conflict:
            return {Status::idempotency_conflict, 0, request + " was used with another content"};
        case Found::full:
            return {
                Status::limit_reached,
                0,
                "as many requests are remembered as may be (idempotency: entries_max, bytes_max; "
                "limits.idempotency_entries)",
                Outcome::did_not_happen};
        case Found::uncertain:
            return {Status::peer_died,
                    0,
                    request + " had begun when its server died; it was not run again",
                    Outcome::may_have_happened};
        case Found::failed:
            return {Status::handler_error,
                    0,
                    request + " had failed before; it was not run again",
                    Outcome::may_have_happened};
        default:
            return {Status::timed_out,
                    0,
                    request + " is under way elsewhere",
                    Outcome::may_have_happened};
    }
}

Error RequestMemory::id_missing(std::string_view label) {
    return {Status::bad_request,
            0,
            std::string(label) + " demands a request id (Message::with_request_id)",
            Outcome::did_not_happen};
}

IdempotencyFigures RequestMemory::figures() const {
    IdempotencyFigures figures;
    figures.on = on();
    if (!figures.on) {
        return figures;
    }
    const auto used = attachment_.idempotency().usage(destination_, shm::monotonic_coarse_ns());
    figures.entries = used.entries;
    figures.bytes = used.bytes;
    const shm::DirectoryEntry& e = attachment_.directory().entry(entry_);
    // relaxed, all: statistics
    figures.duplicates = e.duplicates.load(std::memory_order_relaxed);
    figures.replays = e.replays.load(std::memory_order_relaxed);      // relaxed: as above
    figures.conflicts = e.conflicts.load(std::memory_order_relaxed);  // relaxed: as above
    figures.evicted = e.evicted.load(std::memory_order_relaxed);      // relaxed: as above
    return figures;
}

}  // namespace telpher::detail
