#include "src/store/salvage.hpp"

#include "src/store/contents.hpp"
#include "src/store/log_chain.hpp"
#include "src/store/record_reader.hpp"
#include "src/store/store.hpp"

#include <algorithm>
#include <map>
#include <new>
#include <string>
#include <utility>

namespace telpher::store {
namespace {

// So much is in memory before it is written.
constexpr std::uint64_t kSalvageBatchBytes = 4U << 20U;

class Salvage {
  public:
    Salvage(Storage& from, Storage& to) : from_(from), to_(to) {}

    Result<Salvaged> run() {
        if (auto locked = from_.lock(); !locked) {
            return locked.error();
        }
        auto read = read_log(from_,
                             {.visit =
                                  [this](const Record& record, const Place& place) {
                                      // A record that makes no sense is as good as lost.
                                      static_cast<void>(contents_.apply(record, place));
                                      return Result<void>();
                                  },
                              .list_damage = true});
        if (!read) {
            return read.error();
        }
        result_.read = std::move(*read);
        if (auto begun = begin(); !begun) {
            return begun.error();
        }
        auto copied = copy();
        copied = copied ? store_->close() : copied;
        return copied ? Result<Salvaged>(std::move(result_)) : copied.error();
    }

  private:
    Result<void> begin() {
        const auto& segments = result_.read.segments;
        const auto known = std::find_if(segments.begin(), segments.end(), [](const auto& segment) {
            return segment.facts.log != shm::Uuid{};
        });
        if (known == segments.end()) {
            return Error{Status::bad_request, 0, from_.path_of("") + " holds no readable log"};
        }
        seed_ = seed_of(known->facts.log);
        auto there = list_segments(to_);
        if (!there) {
            return there.error();
        }
        if (!there->empty()) {
            return Error{Status::already_exists, 0, to_.path_of("") + " holds a log already"};
        }
        LogReport report;
        auto store = Store::open(to_, {.name = known->facts.name}, report);
        if (!store) {
            return store.error();
        }
        store_ = std::move(*store);
        return {};
    }

    Result<void> copy() {
        for (const auto& [id, destination] : contents_.destinations()) {
            if (auto done = written(store_->define(id, destination.definition)); !done) {
                return done;
            }
        }
        RecordReader reader(from_, seed_);
        for (const auto& [origin, message] : contents_.messages()) {
            // As it is on disk: that it can be decompressed was seen when all was read.
            auto payload = reader.stored(message.place);
            if (payload.status() == Status::out_of_memory) {
                return payload.error();  // it is not lost
            }
            if (!payload) {
                ++result_.lost;
                continue;
            }
            batch_bytes_ += payload->bytes.size();
            if (auto done = copy_message(origin, message, *payload); !done) {
                return done;
            }
        }
        for (const auto& [id, entry] : contents_.entries()) {
            ++result_.entries;
            // One whose message is done is about none that is known here.
            const auto origin = origins_.find(entry.origin);
            if (auto done =
                    written(store_->set_entry(id.first,
                                              id.second,
                                              entry.value,
                                              origin != origins_.end() ? origin->second : 0));
                !done) {
                return done;
            }
        }
        return store_->commit();
    }

    Result<void> copy_message(Lsn origin,
                              const Contents::LiveMessage& message,
                              const StoredPayload& payload) {
        auto put = store_->put_stored(message.destination, payload);
        if (!put) {
            return put.error();
        }
        ++result_.messages;
        origins_.emplace(origin, *put);
        return written(message.state_place.segment == 0
                           ? Result<void>()
                           : store_->set_state(*put, message.destination, message.state));
    }

    Result<void> written(Result<void> done) {
        if (done && batch_bytes_ >= kSalvageBatchBytes) {
            batch_bytes_ = 0;
            return store_->commit();
        }
        return done;
    }

    Storage& from_;
    Storage& to_;
    Contents contents_;
    Salvaged result_;
    std::map<Lsn, Lsn> origins_;  // of messages, in the new log
    Seed seed_ = 0;
    std::unique_ptr<Store> store_;
    std::uint64_t batch_bytes_ = 0;
};

}  // namespace

Result<Salvaged> salvage(Storage& from, Storage& to) try {
    return Salvage(from, to).run();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

}  // namespace telpher::store
