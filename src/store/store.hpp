#pragma once
// A log and what it holds, for one process: messages that stay until they are done, whatever happens.
//
//   Threads    one at a time.
//   Order      changes are on disk in the order of their calls: after a crash all up to some call are there, at least
//              up to the last commit() that succeeded.
//   Space      commit() copies what is still needed out of the oldest segments and drops them, about one segment's worth
//              at a time, so that the files take at most about twice what is needed and three segments.
//   Crash      as the log: killed anywhere, the next open() finds a state between the last commit() and the last call.
//   Errors     of each change: out_of_memory (nothing happened, or the store has failed and says so), storage_failed (the disk is full: nothing happened; or the log has failed: what was not
//              committed is on disk or not), message_too_large, closed.

#include "src/store/contents.hpp"
#include "src/store/log.hpp"
#include "src/store/packed_payload.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace telpher::store {

class Store {
  public:
    // `storage` outlives the store. Errors: as Log::open.
    //   compress_from  messages of at least so many bytes are compressed in their records where that makes them smaller;
    //                  0: all, -1: none
    static Result<std::unique_ptr<Store>> open(Storage& storage,
                                               const LogOptions& options,
                                               LogReport& report,
                                               std::int64_t compress_from = -1);

    Result<void> define(std::uint32_t destination, Bytes definition);
    // With its messages and entries.
    Result<void> remove(std::uint32_t destination);
    // Returns the message's origin: its name from now on.
    Result<Lsn> put(std::uint32_t destination, Bytes payload);
    // The same of what a record holds already, compressed or not.
    Result<Lsn> put_stored(std::uint32_t destination, const StoredPayload& payload);
    // Notes what became of it so far, and where it is now. A message that is done: nothing happens.
    Result<void> set_state(Lsn origin, std::uint32_t destination, Bytes state);
    // Those that are done already are left out.
    Result<void> done(std::span<const Lsn> origins);
    // An empty value removes the entry. `origin`: of the message that it is about, which was put before; 0: of none.
    Result<void> set_entry(std::uint32_t destination,
                           const EntryKey& key,
                           Bytes value,
                           Lsn origin = 0);

    // Returns when every change so far is on disk.
    Result<void> commit();
    Result<void> close();

    // As the changes so far have made it.
    [[nodiscard]] const Contents& contents() const { return contents_; }
    // Of a message that is there. Errors: bad_request (there is none), corrupt, storage_failed.
    Result<std::vector<std::byte>> payload(Lsn origin);
    [[nodiscard]] const Log& log() const { return *log_; }

  private:
    explicit Store(std::int64_t compress_from) : packer_(compress_from) {}
    // The bytes of all parts, one behind the other, stay until they are written.
    Result<Lsn> append(NewRecord record, std::initializer_list<Bytes> parts);
    Result<Lsn> append_kept(const NewRecord& record);
    [[nodiscard]] bool is_due() const;
    Result<void> clean();
    Result<void> copy_message(Lsn origin);
    Result<void> write_if_many();

    std::unique_ptr<Log> log_;
    Contents contents_;
    Packer packer_;
    std::deque<Contents::Data> kept_;
    std::size_t kept_bytes_ = 0;
    std::optional<Error> failure_;
};

}  // namespace telpher::store
