#pragma once
// What a store should hold, kept in the simplest way, and random work that changes both.

#include "src/store/store.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {

struct StoreModel {
    struct Message {
        std::uint32_t destination = 0;
        std::string payload;
        std::string state;
        bool operator==(const Message&) const = default;
    };
    std::map<std::uint32_t, std::string> destinations;
    std::map<store::Lsn, Message> messages;
    std::map<std::pair<std::uint32_t, std::string>, std::string> entries;
    bool operator==(const StoreModel&) const = default;

    // What the store holds; a payload that cannot be read is "?STATUS".
    static StoreModel of(store::Store& store);
};

// Random calls of a store. The model is changed first and put into `possible`: from then on that is one of the states
// that a crash may leave. A commit that succeeds leaves one.
class StoreWork {
  public:
    explicit StoreWork(std::uint64_t seed) : random_(seed) {}

    static store::LogOptions options() {
        return {.name = "test", .segment_bytes = store::kSegmentBytesLeast};
    }

    // One call, or a commit. False if it failed.
    bool step(store::Store& store);
    // From now on the store is known to be like this.
    void restart(StoreModel model);

    [[nodiscard]] const std::vector<StoreModel>& possible() const { return possible_; }
    [[nodiscard]] const StoreModel& now() const { return possible_.back(); }
    std::mt19937_64& random() { return random_; }

  private:
    using Change = Result<void>;
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    std::string text(std::uint64_t most);
    store::Lsn some_message(const StoreModel& model);
    Change put(store::Store& store, StoreModel& next);
    Change change(store::Store& store, StoreModel& next);
    Change finish(store::Store& store, StoreModel& next);
    Change entry(store::Store& store, StoreModel& next);
    Change destination(store::Store& store, StoreModel& next);
    Change try_change(store::Store& store,
                      StoreModel next,
                      Change (StoreWork::*call)(store::Store&, StoreModel&));

    std::mt19937_64 random_;
    std::vector<StoreModel> possible_{StoreModel{}};
};

}  // namespace telpher::test
