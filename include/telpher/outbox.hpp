#pragma once
// An outbox: messages that lie on this client's disk until their destinations have them. ConnectOptions::outbox.
//
//   auto client = telpher::connect("tcp://till.example:7700", {.outbox = "/var/lib/till/outbox"}).value();
//   const std::string id =
//       client.outbox().offer("orders", telpher::Message::text("order", "2 espressos")).value();

#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"
#include "telpher/status.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace telpher {

class Client;

namespace detail {
class OutboxCore;
}  // namespace detail

// A snapshot.
struct OutboxStatus {
    std::uint64_t pending = 0;    // on disk, and not yet confirmed by their destinations
    std::uint64_t delivered = 0;  // confirmed since this client has connected
    std::uint64_t failed = 0;     // refused, and kept aside
    std::uint64_t bytes = 0;  // that pending and failed ones need on disk; the files may be larger
    // Why the last attempt did not deliver, or why the disk takes nothing any more; ok: there is no such trouble.
    Error trouble{};
};

// A message that was refused in a way that another attempt would not change.
struct OutboxFailure {
    std::string request_id;
    std::string destination;  // a queue, or a function
    bool function = false;
    // bad_request, message_too_large, idempotency_conflict, mismatch, not_permitted; expired (its expires_in was over
    // before it could be delivered); corrupt (its bytes on disk are damaged; the request id is empty).
    Error why;
};

// A handle to a client's outbox; copies share it. Made by Client::outbox.
//
//   Survives   once offer() or send() has returned, the message is on this client's disk: the death of the client
//              and a power loss do not lose it. The next client with the same folder sends it again, with the same
//              request id, in the order in which the messages were put. The address is that client's: the folder
//              does not remember one.
//   Once       sent is every message at least once. A client that dies, or is cut, in the moment of a confirmation sends
//              what it could not note as confirmed once more: everything since the last note, which is made 20 ms
//              after a confirmation at the latest, or with the next message that is put. A queue or function with
//              `idempotency` takes it once; with IdempotencyScope::principal or global, since `client` tells
//              a client's lives apart, and a ttl longer than a client may be away.
//   Order      to one destination in the order in which they were put. A message that waits holds up those behind
//              it, but not those to other destinations; one that is refused is kept aside, and the next goes.
//   Confirmed  an offer: it is in the queue. A send: a server's queue of requests has it; whether it was handled
//              the function's dead letters tell. How long it lives there is the domain's matter.
//   Retries    without end, while the domain, the bridge, the queue or function is not there, has no room or is
//              overloaded: after 10 ms, then up to 1 s, or what `overloaded` asks for. Not by ConnectOptions::retry.
//   Life span  expires_in begins when the message is put; deliver_after when it is delivered.
//   Threads    all members any number at once. One of its own (telpher-outbox) delivers, one message after another.
//   Cost       offer, send: one write and one fdatasync, which all threads share that arrive while another one
//              runs. A delivery: a read of the message, and an offer.
//   Memory     about 200 bytes for each message that is pending; the messages stay on disk.
//   Disk       files of 4 MiB, in all about twice what is pending and 12 MiB.
//   Closing    of the client, or the end of its last copy and of the last handle: nothing is sent any more. What is left
//              stays on disk. Takes as long as the attempt under way: at once in shared memory, up to 15 s
//              through a bridge that does not answer.
//   Fork       in a child every call answers `forked`. A child that neither ends, nor executes another program,
//              nor destroys its copies, keeps the folder in use when its parent has ended.
class Outbox {
  public:
    // An empty one: every call answers `closed`.
    Outbox() = default;

    // Puts a message for a queue, which need not exist yet. Returns when it is on disk.
    //
    //   returns  its request id: the message's own, or 32 hexadecimal digits that it is given
    //   errors   nothing was put: bad_request (the name, the message's first violated limit), message_too_large
    //            (beyond 250 MiB), limit_reached (ConnectOptions::outbox_bytes_max, 4096 destinations), closed,
    //            forked, and storage_failed where the disk is full. It may have been put: storage_failed
    //            (the disk cannot be written; the outbox takes and sends nothing any more until the client
    //            connects again), out_of_memory
    Result<std::string> offer(std::string_view queue, const Message& message);
    // Puts a one-way request for a function. As offer.
    Result<std::string> send(std::string_view function, const Message& request);

    // Waits until nothing is pending, and that is noted on disk. Messages that were refused are not waited for.
    //
    //   timeout  0 = only look
    //   errors   timed_out (something is pending still: the text says how much, and the last trouble),
    //            bad_request (negative), storage_failed, closed, forked
    Result<void> flush(Duration timeout);

    // Messages that were refused, in the order in which they were put. Errors: closed, forked.
    [[nodiscard]] Result<std::vector<OutboxFailure>> failed() const;
    // Takes those with that request id up again, in their old places before all that was put later.
    //
    //   returns  how many they were, at least 1
    //   errors   bad_request (there is none), storage_failed, out_of_memory, closed, forked
    Result<std::size_t> retry(std::string_view request_id);
    // Forgets those with that request id. As retry.
    Result<std::size_t> discard(std::string_view request_id);

    // Of a closed outbox: as it was then. Errors: closed (an empty handle), forked.
    [[nodiscard]] Result<OutboxStatus> status() const;
    explicit operator bool() const noexcept { return core_ != nullptr; }

  private:
    friend class Client;
    explicit Outbox(std::shared_ptr<detail::OutboxCore> core) : core_(std::move(core)) {}
    std::shared_ptr<detail::OutboxCore> core_;
};

}  // namespace telpher
