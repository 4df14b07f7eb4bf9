#include "src/client/outbox_core.hpp"

#include "shm/base/os.hpp"
#include "shm/base/signals.hpp"
#include "src/broker/causation.hpp"
#include "src/wire/names.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <new>
#include <system_error>

namespace telpher::detail {
namespace {

constexpr Duration kFlushMax = std::chrono::hours(24 * 365);
constexpr Duration kWaitBase = std::chrono::milliseconds(10);
constexpr Duration kWaitCap = std::chrono::seconds(1);

Error full(std::uint64_t bytes, std::uint64_t more, std::uint64_t most) {
    return Error{Status::limit_reached,
                 0,
                 "outbox_bytes_max is " + std::to_string(most) + ", the outbox holds " +
                     std::to_string(bytes) + " bytes, and this message needs " +
                     std::to_string(more)};
}

// The message as it is put: with a request id, and with what its sender's cause makes it carry on.
Result<Message> marked(const Message& message) {
    Message own(message);
    inherit(own);
    if (own.request_id().empty()) {
        const auto random = shm::random_uuid();
        if (!random) {
            return random.error();
        }
        own.with_request_id(shm::to_string(*random));
    }
    if (auto sound = own.check(); !sound) {
        return sound.error();
    }
    return own;
}

}  // namespace

Result<std::shared_ptr<OutboxCore>> OutboxCore::open(const ConnectOptions& options) try {
    if (auto sound = store::check_compress_from("outbox_compress_from_bytes",
                                                options.outbox_compress_from_bytes);
        !sound) {
        return sound.error();
    }
    auto store = OutboxStore::open(options.outbox, options.outbox_compress_from_bytes);
    if (!store) {
        return store.error();
    }
    std::shared_ptr<OutboxCore> core(new OutboxCore(std::move(*store), options.outbox_bytes_max),
                                     &OutboxCore::end);
    auto read = core->read_what_was_left();
    return read ? Result<std::shared_ptr<OutboxCore>>(std::move(core)) : read.error();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

OutboxCore::OutboxCore(std::unique_ptr<OutboxStore> store, std::uint64_t bytes_max)
    : bytes_max_(bytes_max),
      pid_(::getpid()),
      store_(std::move(store)),
      connect_backoff_(kWaitBase, kWaitCap) {
    std::uint64_t seed = 0;
    // Without it all clients of a bridge that ended come back at the same moments, no more.
    static_cast<void>(shm::fill_random(&seed, sizeof seed));
    random_.seed(seed);
}

OutboxCore::~OutboxCore() { close(); }

// The threads are the parent's, and a condition that one of them waits for can never be destroyed.
void OutboxCore::end(OutboxCore* core) noexcept {
    if (!core->forked()) {
        delete core;
    } else if (core->store_ != nullptr) {
        core->store_->let_go_of_folder();
    }
}

bool OutboxCore::forked() const noexcept { return ::getpid() != pid_; }

Result<void> OutboxCore::read_what_was_left() {
    bytes_ = store_->bytes();
    return store_->each([this](Lsn origin,
                               std::uint32_t destination,
                               const OutboxDestination& to,
                               const OutboxRefusal* refusal) {
        if (refusal != nullptr) {
            refused_.emplace(origin, Refused{destination, to, *refusal});
        } else {
            wait_in_line(origin, destination, to);
        }
    });
}

Result<void> OutboxCore::start(OutboxCourier courier) {
    courier_.emplace(std::move(courier));
    const shm::SignalsBlocked blocked;
    try {
        thread_ = std::thread([this] {
            pthread_setname_np(pthread_self(), "telpher-outbox");
            run();
        });
        return {};
    } catch (const std::system_error& failed) {
        return Error{Status::limit_reached, failed.code().value(), "no thread could be started"};
    }
}

void OutboxCore::stop() noexcept {
    if (forked()) {
        return;
    }
    {
        const std::lock_guard hold(mutex_);
        stopping_ = true;
    }
    stop_.request_stop();
    work_.notify_all();
    settled_.notify_all();
}

void OutboxCore::close() noexcept {
    if (forked()) {
        return;
    }
    stop();
    const std::lock_guard one(close_mutex_);
    if (thread_.joinable()) {
        thread_.join();
    }
    courier_.reset();
    Lock hold(mutex_);
    // Who has put something in before it was stopped, carries it out.
    pen_free_.wait(hold, [this] { return !pen_taken_ && intake_.empty(); });
    if (store_ == nullptr) {
        return;
    }
    if (!unrecorded_.empty() && !disk_failed_) {
        write_round(hold);
    }
    take_pen(hold);
    const std::unique_ptr<OutboxStore> store = std::move(store_);
    hold.unlock();
    static_cast<void>(store->close());  // it only spares the next one a look behind the end
    hold.lock();
    give_pen(hold);
}

// Under mutex_.
Status OutboxCore::usable() const noexcept {
    return stopping_ ? Status::closed : disk_failed_ ? disk_failed_->status : Status::ok;
}

// Under mutex_, or before the thread is there.
void OutboxCore::wait_in_line(Lsn origin, std::uint32_t destination, const OutboxDestination& to) {
    auto line = lines_.find(destination);
    if (line == lines_.end()) {
        line = lines_.emplace(destination, Line{.to = to, .backoff = Backoff(kWaitBase, kWaitCap)})
                   .first;
    }
    line->second.waiting.insert(origin);
    ++pending_;
}

Result<std::string> OutboxCore::put(bool function,
                                    std::string_view name,
                                    const Message& message) try {
    if (forked()) {
        return Status::forked;
    }
    if (auto named = wire::check_name(function ? "function name" : "queue name", name); !named) {
        return named.error();
    }
    if (auto sound = message.check(); !sound) {
        return sound.error();
    }
    const auto own = marked(message);
    if (!own) {
        return own.error();
    }
    const auto bytes = encode_for_outbox(*own);
    if (!bytes) {
        return bytes.error();
    }
    if (bytes->size() > limits::kMessageBytesMaxHighest) {
        return Error{Status::message_too_large,
                     0,
                     "the message has " + std::to_string(bytes->size()) + " bytes, allowed are " +
                         std::to_string(limits::kMessageBytesMaxHighest)};
    }
    const OutboxDestination to{function, std::string(name)};
    Lsn origin = 0;
    std::uint32_t number = 0;
    Change change{.write = [&](OutboxStore& store) -> Result<void> {
                      const std::uint64_t needs = store::record_bytes(bytes->size());
                      if (store.bytes() + needs > bytes_max_) {
                          return full(store.bytes(), needs, bytes_max_);
                      }
                      const auto known = store.number_of(to);
                      if (!known) {
                          return known.error();
                      }
                      const auto put = store.put(*known, *bytes);
                      if (!put) {
                          return put.error();
                      }
                      number = *known;
                      origin = *put;
                      return {};
                  },
                  .note = [&] { wait_in_line(origin, number, to); }};
    auto done = carry_out(change);
    return done ? Result<std::string>(std::string(own->request_id())) : done.error();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

Result<void> OutboxCore::flush(Duration timeout) {
    if (forked()) {
        return Status::forked;
    }
    if (timeout.count() < 0) {
        return Error{Status::bad_request, 0, "timeout is negative, allowed are 0 and more"};
    }
    const auto until = Clock::now() + std::min(timeout, kFlushMax);
    Lock hold(mutex_);
    const auto empty = [this] { return pending_ == 0 && unrecorded_.empty() && !recording_; };
    ++flushing_;
    work_.notify_one();
    settled_.wait_until(hold, until, [&] { return usable() != Status::ok || empty(); });
    --flushing_;
    if (disk_failed_) {
        return *disk_failed_;
    }
    if (empty()) {
        return {};
    }
    if (stopping_) {
        return Status::closed;
    }
    std::string detail = std::to_string(pending_) + " messages are pending in the outbox";
    if (trouble_.status != Status::ok) {
        detail += ", the last attempt ended with " + to_string(trouble_);
    }
    return Error{Status::timed_out, 0, std::move(detail)};
}

Result<std::vector<OutboxFailure>> OutboxCore::failed() const {
    if (forked()) {
        return Status::forked;
    }
    const std::lock_guard hold(mutex_);
    if (stopping_) {
        return Status::closed;
    }
    std::vector<OutboxFailure> failures;
    failures.reserve(refused_.size());
    for (const auto& [origin, one] : refused_) {
        failures.push_back({one.refusal.request_id, one.to.name, one.to.function, one.refusal.why});
    }
    return failures;
}

Result<OutboxStatus> OutboxCore::status() const {
    if (forked()) {
        return Status::forked;
    }
    const std::lock_guard hold(mutex_);
    return OutboxStatus{pending_, delivered_, refused_.size(), bytes_, trouble_};
}

Result<std::size_t> OutboxCore::retry(std::string_view request_id) {
    return forget_refusal(request_id, true);
}
Result<std::size_t> OutboxCore::discard(std::string_view request_id) {
    return forget_refusal(request_id, false);
}

std::vector<std::pair<OutboxStore::Lsn, std::uint32_t>> OutboxCore::refused_as(
    std::string_view id) const {
    std::vector<std::pair<Lsn, std::uint32_t>> those;
    for (const auto& [origin, one] : refused_) {
        if (one.refusal.request_id == id) {
            those.emplace_back(origin, one.destination);
        }
    }
    return those;
}

Result<std::size_t> OutboxCore::forget_refusal(std::string_view request_id, bool take_up) try {
    if (forked()) {
        return Status::forked;
    }
    std::vector<std::pair<Lsn, std::uint32_t>> those;
    // Looked for by who has the pen: of two callers one finds them.
    const auto write = [&](OutboxStore& store) -> Result<void> {
        {
            const std::lock_guard hold(mutex_);
            those = refused_as(request_id);
        }
        if (those.empty()) {
            return Error{
                Status::bad_request,
                0,
                "no message that failed has the request id '" + std::string(request_id) + "'"};
        }
        Result<void> done;
        for (const auto& [origin, destination] : those) {
            done = !done     ? done
                   : take_up ? store.take_up(origin, destination)
                             : store.done(std::span(&origin, 1));
        }
        return done;
    };
    const auto note = [&] {
        for (const auto& [origin, destination] : those) {
            const auto one = refused_.extract(origin);
            if (take_up) {
                wait_in_line(origin, destination, one.mapped().to);
            }
        }
    };
    Change change{.write = write, .note = note};
    auto done = carry_out(change);
    return done ? Result<std::size_t>(those.size()) : done.error();
} catch (const std::bad_alloc&) {
    return Status::out_of_memory;
}

}  // namespace telpher::detail
