// How a connection ends: refused, told why, cut, too late, or with its bridge.

#include "tcp_bridge/connection.hpp"

#include <algorithm>

namespace telpher::bridge {
namespace {

constexpr auto kEndPatience = std::chrono::seconds(1);
constexpr auto kQuiet = std::chrono::milliseconds(100);

}  // namespace

void Connection::tick(Clock::time_point now) {
    switch (state_) {
        case State::greeting:
            if (now >= deadline_) {
                bridge_->log(LogKind::refused, peer_ + ": no HELLO in time");
                bridge_->refused();
                drop();
            }
            return;
        case State::ending:
            if (now >= deadline_) {
                close_socket();
            }
            return;
        case State::serving:
            break;
    }
    session_->on_tick(now);
    if (!trimmed_ && now - std::max(heard_, said_) >= kQuiet) {
        trimmed_ = true;
        session_->trim();
        if (tls_ != nullptr) {
            tls_->trim();
        }
    }
    if (now - heard_ > 3 * heartbeat_) {
        bridge_->log(LogKind::silent, peer_ + ": nothing heard for three heartbeats");
        drop();
        return;
    }
    if (now - said_ >= heartbeat_ && !writing_) {
        FrameHead head;
        head.type = FrameType::heartbeat;
        head.argument = session_->received();
        early_.push(head, std::span<const std::byte>{});
        write();
    }
}

void Connection::end(const Error& why) {
    if (state_ == State::ending) {
        return;
    }
    FrameHead head;
    head.type = state_ == State::greeting ? FrameType::refused : FrameType::goodbye;
    if (session_ != nullptr) {
        if (why.status == Status::closed) {
            head.argument = session_->not_begun_from();
        }
        session_->end();
        loop_->left(std::exchange(session_, nullptr));
        lingers_ = true;
    }
    state_ = State::ending;
    loop_->greeted(*this);
    deadline_ = Clock::now() + kEndPatience;
    early_.push(head, encode(Ending{why}));
    flush();
}

// Somebody on the way may have changed its records, who must not be able to end the client's session. What is pending
// of the channel tells the client that this connection is of no use.
void Connection::cut() {
    const auto session = std::exchange(session_, nullptr);
    session->detach();
    loop_->left(session);
    lingers_ = true;
    state_ = State::ending;
    deadline_ = Clock::now() + kEndPatience;
    flush();
}

// Whether a plain frame is what it waits for: nothing is said in the clear to who may want to encrypt.
bool Connection::speaks_plain() const {
    return chosen_ ? tls_ == nullptr
                   : bridge_->options().encryption == Encryption::off ||
                         std::holds_alternative<asio::local::stream_protocol::socket>(socket_);
}

void Connection::turn_out(const Error& why) {
    bridge_->refused();
    bridge_->log(LogKind::refused, peer_ + ": " + to_string(why));
    if (speaks_plain()) {
        end(why);
    } else {
        drop();
    }
}

void Connection::drop() {
    if (session_ != nullptr) {
        const auto session = std::exchange(session_, nullptr);
        session->detach();
        loop_->left(session);
    }
    state_ = State::ending;
    close_socket();
}

void Connection::say_no_more() {
    if (!lingers_) {
        close_socket();
    } else if (!std::exchange(silenced_, true)) {
        asio::error_code ignored;
        std::visit(
            [&](auto& socket) { socket.shutdown(asio::socket_base::shutdown_send, ignored); },
            socket_);
        read();  // until the peer ends, too, or the deadline
    }
}

void Connection::close_socket() {
    asio::error_code ignored;
    std::visit([&](auto& socket) { socket.close(ignored); }, socket_);
    loop_->closed(shared_from_this());
}

}  // namespace telpher::bridge
