#include "shm/audit.hpp"

#include <chrono>
#include <map>
#include <thread>
#include <utility>

namespace telpher::shm {
namespace {

constexpr std::size_t kReportsMax = 10;

std::vector<bool> live_processes(Attachment& attachment) {
    std::vector<bool> live(kProcessesMax + 1, false);
    for (const ProcessFacts& facts : attachment.processes().list()) {
        live[facts.slot] =
            facts.state == ProcessState::live || facts.state == ProcessState::joining;
    }
    return live;
}

// What is wrong with a record, empty if nothing.
std::string judge(const IdempotencyStore& store,
                  std::uint32_t record,
                  std::uint64_t word,
                  const std::vector<bool>& live) {
    const RecordState state = record_state(word);
    if (state > RecordState::failed) {
        return "is in state " + std::to_string(word >> 60) + ", which this version does not use";
    }
    const std::uint32_t owner = record_owner(word);
    if (state != RecordState::free && !at_rest(state) && (owner >= live.size() || !live[owner])) {
        return "is at work for process slot " + std::to_string(owner) + ", which is not live";
    }
    return state == RecordState::free || state == RecordState::writing || store.in_place(record)
               ? std::string()
               : "lies where its key does not belong";
}

}  // namespace

void audit_idempotency(Attachment& attachment, std::vector<std::string>& problems) {
    using Doubt = std::pair<std::uint64_t, bool>;  // its word; whether another has its key
    const IdempotencyStore& store = attachment.idempotency();
    std::vector<bool> live = live_processes(attachment);
    std::map<std::pair<std::uint64_t, std::uint64_t>, std::uint32_t> keys;
    std::map<std::uint32_t, Doubt> doubtful;
    for (std::uint32_t i = 0; i < store.count(); ++i) {
        const std::uint64_t word = store.word_of(i);
        const RecordState state = record_state(word);
        const bool known = state != RecordState::free && state != RecordState::writing &&
                           state != RecordState::proposed;
        const Hash128 key = store.key_of(i);
        const bool second = known && !keys.try_emplace({key.low, key.high}, i).second;
        if (second || !judge(store, i, word, live).empty()) {
            doubtful.emplace(i, Doubt{word, second});
        }
    }
    if (doubtful.empty()) {
        return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    attachment.check_deaths();
    live = live_processes(attachment);
    std::size_t told = 0;
    for (const auto& [record, doubt] : doubtful) {
        const std::string wrong = judge(store, record, doubt.first, live);
        // A record of which another has the key since is none while that one's word stands, too.
        const Hash128 key = store.key_of(record);
        const auto other = keys.find({key.low, key.high});
        const bool twice = doubt.second && other != keys.end() && other->second != record &&
                           store.key_of(other->second) == key &&
                           record_state(store.word_of(other->second)) != RecordState::free;
        if (store.word_of(record) == doubt.first && (twice || !wrong.empty()) &&
            told++ < kReportsMax) {
            problems.push_back("record " + std::to_string(record) + " of the idempotency store " +
                               (wrong.empty() ? "is of a key that another has, too" : wrong));
        }
    }
}

}  // namespace telpher::shm
