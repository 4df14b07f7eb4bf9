#include "tcp_bridge/remote_connection.hpp"

#include "shm/base/clock.hpp"
#include "shm/base/os.hpp"
#include "tcp_bridge/quiet_thread.hpp"

#include <openssl/crypto.h>

#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace telpher::bridge {
namespace {

using namespace std::chrono_literals;

constexpr auto kHoldPatience = 100ms;
constexpr auto kRoomLook = 10ms;
// Who writes for itself also writes for others, but not for ever.
constexpr int kRoundsMax = 64;
// Unanswered operations from which on others are gathered, and how much of them at most.
constexpr std::size_t kGatherFrom = 8;
constexpr std::size_t kGatherBytes = std::size_t{64} << 10U;
constexpr std::uint32_t kGatherMost = 128;

std::chrono::steady_clock::time_point time_point(std::uint64_t ns) {
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return std::chrono::steady_clock::time_point(
        std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(ns, kMost))));
}

}  // namespace

std::uint64_t RemoteConnection::now() noexcept { return shm::monotonic_ns(); }

RemoteConnection::RemoteConnection(RemoteOptions options)
    : options_(std::move(options)),
      session_(options_.name, options_.limits),
      backoff_(options_.random) {}

RemoteConnection::~RemoteConnection() {
    for (const int descriptor : {poked_descriptor_, nudged_descriptor_}) {
        if (descriptor >= 0) {
            ::close(descriptor);
        }
    }
}

Result<void> RemoteConnection::open() {
    shm::count_forks();
    if (auto random = shm::fill_random(&id_prefix_, sizeof id_prefix_); !random) {
        return random;
    }
    poked_descriptor_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    nudged_descriptor_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (poked_descriptor_ < 0 || nudged_descriptor_ < 0) {
        return Error{Status::limit_reached, errno, shm::errno_text("eventfd", errno)};
    }
    if (!start_quiet_thread("telpher-remote", [self = shared_from_this()] { self->run(); })) {
        finished_ = true;
        return Error{Status::limit_reached, 0, "no thread could be started"};
    }
    return {};
}

Result<std::shared_ptr<RemoteConnection>> RemoteConnection::start(RemoteOptions options) {
    auto connection = std::make_shared<RemoteConnection>(std::move(options));
    if (auto opened = connection->open(); !opened) {
        return opened.error();
    }
    if (auto welcomed = connection->await_welcome(); !welcomed) {
        connection->end();
        return welcomed.error();
    }
    return connection;
}

// Nobody may listen yet, and a bridge that does has its time to answer.
Result<void> RemoteConnection::await_welcome() {
    std::unique_lock hold(mutex_);
    const std::uint64_t began = now();
    const std::uint64_t patient_until = began + options_.wait_ns;
    const std::uint64_t until = std::max(patient_until, began + options_.limits.handshake_ns);
    std::uint64_t failures = 0;
    for (;;) {
        if (session_.up()) {
            return {};
        }
        if (failures_ != failures && (now() >= patient_until || session_.refused())) {
            return failure_;
        }
        failures = failures_;
        if (now() >= until) {
            return failures_ > 0 ? failure_
                                 : Error{Status::timed_out,
                                         0,
                                         to_string(options_.address) + ": nobody answered"};
        }
        changed_.wait_until(hold, time_point(until));
    }
}

bool RemoteConnection::running() noexcept {
    const std::lock_guard hold(mutex_);
    return !session_.ended();
}

Welcome RemoteConnection::welcome() {
    const std::lock_guard hold(mutex_);
    return session_.welcome();
}

wire::Stamp RemoteConnection::stamp(MessageType type) noexcept {
    // relaxed: only unique
    const std::uint64_t number = id_counter_.fetch_add(1, std::memory_order_relaxed) + 1;
    return {MessageId{id_prefix_, number}, shm::wall_coarse_ns(), type};
}

// ---- operations --------------------------------------------------------------------------------

void RemoteConnection::begin(
    Request request, Waiter& waiter, Ticket& ticket, const std::stop_token& stop, Leave how) {
    std::unique_lock hold(mutex_);
    const std::uint64_t began = now();
    std::uint64_t time = began;
    const std::size_t bytes = request.body.size();
    Error error;
    // A WATCH is small, and its caller has no time to spare: there is one for each handle, and member of a set.
    const bool waits = request.head.type != FrameType::watch;
    while (waits && !session_.ended() && !session_.admits(bytes)) {
        if (stop.stop_requested()) {
            error.status = Status::cancelled;
            break;
        }
        if (time - began >= request.timeout_ns) {
            error = {Status::overloaded,
                     0,
                     "too much waits to be sent or answered over this connection; not sent",
                     Outcome::did_not_happen};
            break;
        }
        ++waits_for_room_;
        room_.wait_for(hold, kRoomLook);
        --waits_for_room_;
        time = now();
    }
    if (error.status != Status::ok) {
        hold.unlock();
        if (waiter.claim()) {
            Answer answer;
            answer.error = std::move(error);
            waiter.answer(std::move(answer));
        }
        waiter.let_go();
        return;
    }
    request.timeout_ns -= std::min(request.timeout_ns, time - began);
    ticket = session_.begin(std::move(request), &waiter, time);
    leave(hold, how);
}

bool RemoteConnection::settle(std::uint64_t session_number,
                              std::uint64_t correlation,
                              bool taken) noexcept {
    return with(
        [&](RemoteSession& session, std::uint64_t /*now*/) {
            return session.settle(session_number, correlation, taken);
        },
        Leave::gathered);
}

bool RemoteConnection::may_withdraw(detail::Operation& operation) noexcept {
    switch (operation.kind()) {
        case detail::OperationKind::offer:
        case detail::OperationKind::publish:
            return with([&](RemoteSession& session, std::uint64_t /*now*/) {
                return session.take_back(operation.ticket);
            });
        default:
            return true;  // what is delivered goes back; a call is given up
    }
}

void RemoteConnection::withdrawn(detail::Operation& operation) noexcept {
    with([&](RemoteSession& session, std::uint64_t /*now*/) { session.abandon(operation.ticket); });
}

// ---- writing -----------------------------------------------------------------------------------

// A system call for each of many small operations costs more than all the rest of them. Where an answer is on
// its way, so that nobody is kept waiting by it, they leave together; and so does what follows a batch of answers.
bool RemoteConnection::may_gather() const noexcept {
    return (session_.unanswered() >= kGatherFrom || follows_ > 0) &&
           session_.output_bytes() < kGatherBytes && gathered_ < kGatherMost;
}

void RemoteConnection::leave(std::unique_lock<std::mutex>& hold, Leave how) noexcept {
    // Before `flush`, which unlocks: nobody else may take, and run, a part of what we read before us.
    Events events = take_events();
    bool wake = false;
    if (how == Leave::gathered && session_.has_output() && may_gather()) {
        ++gathered_;
        follows_ -= follows_ > 0 ? 1U : 0U;
        wake = wakes_at_ != 0;  // awake, it looks before it sleeps
    } else {
        flush(hold, false);
    }
    if (io_rests_ && !caller_reads_ &&
        (how != Leave::read_by_caller || session_.unanswered() != 1) && must_read()) {
        io_rests_ = false;
        rest_ns_ = 0;
        wake = true;
    }
    wake = !poked_ && (wake || std::exchange(wake_wanted_, false) ||
                       session_.next_tick() < wakes_at_ || session_.ended());
    poked_ = poked_ || wake;
    if (waits_for_room_ > 0 && session_.admits(0)) {
        room_.notify_all();
    }
    const bool nudges = caller_reads_ && how != Leave::read_by_caller && !events.empty();
    hold.unlock();
    if (wake) {
        poke();
    }
    bridge::run(events);
    if (nudges) {
        nudge();  // its operation may be over
    }
}

Events RemoteConnection::take_events() noexcept {
    Events events = session_.take_events();
    const auto answers = std::count_if(
        events.begin(), events.end(), [](const Event& event) { return event.claimed; });
    if (answers > 0) {
        const auto batch = static_cast<std::size_t>(answers);
        // Halved: single answers between batches do not end what they begin, a few in a row do.
        follows_ = batch >= kGatherFrom
                       ? static_cast<std::uint32_t>(2 * std::min<std::size_t>(batch, kGatherMost))
                       : follows_ / 2;
    }
    return events;
}

// Somebody is owed what the socket brings.
bool RemoteConnection::must_read() const noexcept {
    return session_.unanswered() > 0 || session_.has_subscriptions() || broken_.has_value();
}

void RemoteConnection::poke() noexcept {
    const std::uint64_t one = 1;
    static_cast<void>(::write(poked_descriptor_, &one, sizeof one));  // full: it is readable
}

void RemoteConnection::flush(std::unique_lock<std::mutex>& hold, bool from_io) noexcept {
    if (socket_ < 0 || writing_ || ((blocked_ || hanging_up_) && !from_io)) {
        return;  // whoever writes takes ours along
    }
    writing_ = true;
    blocked_ = false;
    gathered_ = 0;
    for (int round = 0;; ++round) {
        if (wire_sent_ == wire_.size()) {
            wire_.clear();
            wire_sent_ = 0;
            session_.take(plain_, now());
            // An error shows where the socket is read.
            static_cast<void>(channel_->seal(plain_, wire_));
            if (wire_.empty()) {
                break;
            }
        }
        if (!from_io && round == kRoundsMax) {
            blocked_ = true;
            break;
        }
        hold.unlock();
        const ssize_t sent = ::send(socket_,
                                    wire_.data() + wire_sent_,
                                    wire_.size() - wire_sent_,
                                    MSG_NOSIGNAL | MSG_DONTWAIT);
        const int error = errno;
        hold.lock();
        if (sent >= 0) {
            wire_sent_ += static_cast<std::size_t>(sent);
        } else if (error != EINTR) {
            blocked_ = true;  // full; or broken, which the I/O thread sees, too
            break;
        }
    }
    writing_ = false;
    wake_wanted_ = blocked_ && !from_io;
    if (hanging_up_) {
        changed_.notify_all();
    }
}

// ---- the end -----------------------------------------------------------------------------------

namespace {
thread_local const RemoteConnection* t_connection = nullptr;
}  // namespace

bool RemoteConnection::on_io_thread() const noexcept { return t_connection == this; }

void RemoteConnection::end() noexcept {
    if (forked()) {
        return;
    }
    with([](RemoteSession& session, std::uint64_t /*now*/) {
        session.end({Status::closed, 0, {}});
    });
    resumer_.stop();
    std::unique_lock hold(mutex_);
    room_.notify_all();
    if (!on_io_thread()) {
        changed_.wait_for(hold, kHoldPatience, [this] { return finished_; });
    }
}

void RemoteConnection::run() noexcept {
    t_connection = this;
    while (tick()) {
        auto socket =
            dial(options_.address, options_.limits.handshake_ns, [this] { return tick(); });
        if (socket) {
            serve(*socket);
        } else {
            note_failure(socket.error());
        }
        pause(backoff_.next_ns());
    }
    // What the secure channel's library keeps for this thread goes now: once we have said that we have finished, the
    // program may end at any moment, and nobody would.
    OPENSSL_thread_stop();
    const std::lock_guard hold(mutex_);
    finished_ = true;
    changed_.notify_all();
}

}  // namespace telpher::bridge
