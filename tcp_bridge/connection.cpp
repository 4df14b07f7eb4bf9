#include "tcp_bridge/connection.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {
namespace {

constexpr auto kEndPatience = std::chrono::seconds(1);
constexpr std::chrono::milliseconds kHeartbeatMin{100};

Bytes ending_body(const Error& why) { return encode(Ending{why}); }

}  // namespace

Connection::Connection(std::shared_ptr<BridgeCore> bridge,
                       Socket socket,
                       std::string peer,
                       std::string principal)
    : bridge_(std::move(bridge)),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      principal_(std::move(principal)),
      heard_(Clock::now()),
      said_(heard_),
      deadline_(heard_ + kHelloPatience) {}

void Connection::start() {
    if (auto* const tcp = std::get_if<asio::ip::tcp::socket>(&socket_)) {
        asio::error_code ignored;
        tcp->set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    read();
}

// ---- in ----------------------------------------------------------------------------------------

void Connection::read() {
    const std::size_t queued = session_ != nullptr ? session_->out().bytes() : early_.bytes();
    if (reading_ || state_ == State::ending || queued > kOutMax) {
        return;  // `write` begins again
    }
    reading_ = true;
    const std::span<std::byte> room = reader_.room(kReadBytes);
    std::visit(
        [&](auto& socket) {
            socket.async_read_some(
                asio::buffer(room.data(), room.size()),
                [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
                    self->reading_ = false;
                    if (error) {
                        self->drop();
                    } else {
                        self->on_read(bytes);
                    }
                });
        },
        socket_);
}

void Connection::on_read(std::size_t bytes) {
    heard_ = Clock::now();
    reader_.received(bytes);
    auto taken = take_preface();
    if (taken && prefaced_) {
        taken = take_frames();
    }
    if (!taken) {
        if (taken.status() == Status::closed) {
            end({Status::ok, 0, {}});
        } else {
            bridge_->log(peer_ + ": " + to_string(taken.error()));
            end(taken.error());
        }
        return;
    }
    read();
}

Result<void> Connection::take_preface() {
    if (prefaced_) {
        return {};
    }
    const auto first = reader_.peek(kPreface.size());
    const std::size_t count = std::min(first.size(), kPreface.size());
    if (std::memcmp(first.data(), kPreface.data(), count) != 0) {
        return Error{Status::bad_request,
                     0,
                     first[0] == std::byte{0x16}
                         ? "a TLS handshake, and this bridge does not encrypt"
                         : "it does not begin with the preface of the protocol"};
    }
    if (first.size() >= kPreface.size()) {
        reader_.skip(kPreface.size());
        prefaced_ = true;
    }
    return {};
}

Result<void> Connection::take_frames() {
    for (;;) {
        const auto frame = reader_.next();
        if (!frame) {
            return frame.error();
        }
        if (!*frame) {
            return {};
        }
        const auto done = state_ == State::greeting ? greet(**frame) : session_->on_frame(**frame);
        if (!done) {
            return done;
        }
    }
}

Result<void> Connection::greet(const Frame& frame) {
    if (frame.head.type != FrameType::hello) {
        return Error{Status::bad_request,
                     0,
                     std::string(to_string(frame.head.type)) + " comes before HELLO"};
    }
    const auto hello = decode_hello(frame.body);
    if (!hello) {
        return hello.error();
    }
    auto greeted = bridge_->greet(*hello, principal_, *this);
    if (!greeted) {
        return greeted.error();
    }
    heartbeat_ = std::max(kHeartbeatMin, std::chrono::milliseconds(greeted->welcome.heartbeat_ms));
    FrameHead head;
    head.type = FrameType::welcome;
    early_.push(head, encode(greeted->welcome));
    session_ = std::move(greeted->session);
    state_ = State::serving;
    reader_.welcome();
    session_->attach(hello->received, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
            self->flush();
        }
    });
    flush();
    return {};
}

// ---- out ---------------------------------------------------------------------------------------

// At the end of this turn of the loop: everything that it brought leaves in one write.
void Connection::flush() {
    if (flushing_ || writing_) {
        return;
    }
    flushing_ = true;
    asio::post(bridge_->context(), [self = shared_from_this()] {
        self->flushing_ = false;
        self->write();
    });
}

void Connection::write() {
    if (writing_) {
        return;
    }
    sending_.clear();
    early_.take(sending_, kWriteBytes);
    if (session_ != nullptr && state_ == State::serving) {
        session_->out().take(sending_, kWriteBytes);
    }
    if (sending_.empty()) {
        if (state_ == State::ending) {
            close_socket();
        }
        return;
    }
    writing_ = true;
    said_ = Clock::now();
    std::visit(
        [&](auto& socket) {
            asio::async_write(
                socket,
                asio::buffer(sending_.data(), sending_.size()),
                [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                    self->writing_ = false;
                    if (error) {
                        self->drop();
                        return;
                    }
                    self->write();
                    self->read();
                });
        },
        socket_);
}

// ---- end ---------------------------------------------------------------------------------------

void Connection::tick(Clock::time_point now) {
    switch (state_) {
        case State::greeting:
            if (now >= deadline_) {
                bridge_->log(peer_ + ": no HELLO in time");
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
    if (now - heard_ > 3 * heartbeat_) {
        bridge_->log(peer_ + ": nothing heard for three heartbeats");
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
        session_->end();
        bridge_->left(std::exchange(session_, nullptr));
    }
    state_ = State::ending;
    deadline_ = Clock::now() + kEndPatience;
    early_.push(head, ending_body(why));
    flush();
}

void Connection::drop() {
    if (session_ != nullptr) {
        const auto session = std::exchange(session_, nullptr);
        session->detach();
        bridge_->left(session);
    }
    state_ = State::ending;
    close_socket();
}

void Connection::close_socket() {
    asio::error_code ignored;
    std::visit([&](auto& socket) { socket.close(ignored); }, socket_);
    bridge_->closed(shared_from_this());
}

}  // namespace telpher::bridge
