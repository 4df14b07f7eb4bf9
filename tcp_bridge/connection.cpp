#include "tcp_bridge/connection.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {
namespace {

constexpr std::chrono::milliseconds kHeartbeatMin{100};

}  // namespace

Connection::Connection(std::shared_ptr<BridgeCore> bridge,
                       Socket socket,
                       std::string peer,
                       std::string address)
    : bridge_(std::move(bridge)),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      address_(std::move(address)),
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
    if (reading_ || (state_ == State::ending && !lingers_) || queued > kOutMax) {
        return;  // `write` begins again
    }
    reading_ = true;
    const bool plain = chosen_ && tls_ == nullptr;
    if (!plain) {
        raw_.resize(read_bytes());
    }
    const std::span<std::byte> room = plain ? reader_.room(read_bytes()) : std::span(raw_);
    std::visit(
        [&](auto& socket) {
            socket.async_read_some(
                asio::buffer(room.data(), room.size()),
                [self = shared_from_this()](const asio::error_code& error, std::size_t bytes) {
                    self->reading_ = false;
                    if (error) {
                        self->drop();
                        return;
                    }
                    if (self->state_ != State::ending) {
                        if (auto read = self->on_read(bytes); !read) {
                            self->fail(read.error());
                        }
                    }
                    self->read();
                });
        },
        socket_);
}

Result<void> Connection::on_read(std::size_t bytes) {
    heard_ = Clock::now();
    if (chosen_ && tls_ == nullptr) {
        reader_.received(bytes);
        return take();
    }
    raw_.resize(bytes);
    if (!chosen_ && bytes > 0) {
        if (auto chosen = choose(raw_[0]); !chosen) {
            return chosen;
        }
    }
    if (tls_ != nullptr) {
        return open_records();
    }
    reader_.append(raw_);
    raw_ = {};
    return take();
}

// The policy decides, before anything else is looked at. There is nothing that could be negotiated away.
Result<void> Connection::choose(std::byte first) {
    const bool encrypted = first == std::byte{0x16};
    const bool local = std::holds_alternative<asio::local::stream_protocol::socket>(socket_);
    chosen_ = true;
    if (!encrypted) {
        if (bridge_->options().encryption == Encryption::required && !local) {
            return Error{Status::not_permitted, 0, "this bridge serves encrypted connections only"};
        }
        return {};
    }
    if (bridge_->tls() == nullptr || local) {
        return Error{Status::bad_request, 0, "a TLS handshake, and this bridge does not encrypt"};
    }
    auto channel = TlsChannel::make(bridge_->tls(), peer_);
    if (!channel) {
        return channel.error();
    }
    tls_ = std::move(*channel);
    return {};
}

Result<void> Connection::open_records() {
    auto fed = tls_->feed(raw_);
    if (!tls_->pending().empty()) {
        flush();
    }
    if (!fed) {
        tampered_ = session_ != nullptr;
        return fed;
    }
    if (tls_->established() && !prefaced_) {
        const PeerIdentity& peer = tls_->peer();
        principal_ = !peer.name.empty()           ? peer.name
                     : !peer.subject.empty()      ? peer.subject
                     : !peer.psk_identity.empty() ? peer.psk_identity
                     : !peer.pin.empty()          ? peer.pin
                                                  : principal_;
    }
    for (;;) {
        const std::span<std::byte> room = reader_.room(read_bytes());
        const std::size_t bytes = tls_->read(room);
        if (bytes == 0) {
            return {};
        }
        reader_.received(bytes);
        if (auto taken = take(); !taken) {
            return taken;
        }
    }
}

Result<void> Connection::take() {
    if (auto preface = take_preface(); !preface || !prefaced_) {
        return preface;
    }
    return take_frames();
}

void Connection::fail(const Error& why) {
    if (why.status == Status::closed) {
        end({Status::ok, 0, {}});  // GOODBYE is answered by GOODBYE
        return;
    }
    const bool greeting = state_ == State::greeting;
    if (greeting) {
        bridge_->refused();
    }
    bridge_->log(greeting ? LogKind::refused : LogKind::broken, peer_ + ": " + to_string(why));
    if (tampered_) {
        cut();
    } else {
        end(why);
    }
}

Result<void> Connection::take_preface() {
    if (prefaced_) {
        return {};
    }
    const auto first = reader_.peek(kPreface.size());
    const std::size_t count = std::min(first.size(), kPreface.size());
    if (std::memcmp(first.data(), kPreface.data(), count) != 0) {
        return Error{Status::bad_request, 0, "it does not begin with the preface of the protocol"};
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
        if (!*frame || state_ == State::ending) {
            return {};  // behind the end nothing is looked at
        }
        auto done = state_ == State::greeting ? greet(**frame) : session_->on_frame(**frame);
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
    bridge_->greeted(*this);
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
    if (tls_ != nullptr) {
        seal();
    }
    if (sending_.empty()) {
        if (state_ == State::ending) {
            say_no_more();
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

// What `sending_` holds, as records; and what the channel itself has to say.
void Connection::seal() {
    if (!sending_.empty() && !tls_->write(sending_)) {
        sending_.clear();  // it has failed: what is pending tells the peer why
    }
    if (state_ == State::ending && early_.empty()) {
        tls_->close();
    }
    const auto records = tls_->pending();
    sending_.assign(records.begin(), records.end());
    tls_->sent(records.size());
}

}  // namespace telpher::bridge
