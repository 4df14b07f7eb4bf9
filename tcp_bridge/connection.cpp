#include "tcp_bridge/connection.hpp"

#include <algorithm>
#include <cstring>

namespace telpher::bridge {
namespace {

constexpr std::chrono::milliseconds kHeartbeatMin{100};

}  // namespace

Connection::Connection(std::shared_ptr<BridgeCore> bridge,
                       IoLoop& loop,
                       Socket socket,
                       std::string peer,
                       std::string address)
    : bridge_(std::move(bridge)),
      loop_(&loop),
      socket_(std::move(socket)),
      peer_(std::move(peer)),
      address_(std::move(address)),
      heard_(Clock::now()),
      said_(heard_),
      deadline_(heard_ + kHelloPatience) {}

void Connection::start() {
    asio::error_code blocking;  // then `write_some` would wait
    std::visit([&](auto& socket) { socket.non_blocking(true, blocking); }, socket_);
    if (auto* const tcp = std::get_if<asio::ip::tcp::socket>(&socket_)) {
        asio::error_code ignored;
        tcp->set_option(asio::ip::tcp::no_delay(true), ignored);
    }
    read();
}

// ---- in ----------------------------------------------------------------------------------------

void Connection::read() {
    const std::size_t queued = session_ != nullptr ? session_->out().bytes() : early_.bytes();
    if (reading_ || (state_ == State::ending && !lingers_) || queued > kOutMax ||
        moves_to_ != nullptr) {
        return;  // `write` begins again, or `arrive`
    }
    reading_ = true;
    std::visit(
        [&](auto& socket) {
            // Not a read: a connection that waits holds no memory for what may come.
            socket.async_wait(asio::socket_base::wait_read,
                              [self = shared_from_this()](const asio::error_code& error) {
                                  self->reading_ = false;
                                  if (error) {
                                      self->drop();
                                  } else {
                                      self->turn(&Connection::take_from_socket);
                                  }
                              });
        },
        socket_);
}

// What came, all that it asks for, and the answers.
void Connection::turn(Result<void> (Connection::*input)()) {
    IoLoop::Spare& spare = loop_->spare();
    in_turn_ = true;
    reader_.borrow(spare.frames);
    if (session_ != nullptr) {
        session_->out().borrow(spare.queued);
    }
    const auto taken = (this->*input)();
    reader_.give_back(spare.frames);
    in_turn_ = false;
    if (cut_) {
        drop();
        return;
    }
    if (!taken) {
        fail(taken.error());
    } else {
        write();
    }
    read();
    move();
}

std::size_t Connection::read_some(std::span<std::byte> room, asio::error_code& error) {
    return std::visit(
        [&](auto& socket) {
            return socket.read_some(asio::buffer(room.data(), room.size()), error);
        },
        socket_);
}

// Error: what the client did wrong.
Result<void> Connection::take_from_socket() {
    for (int i = 0; i < kReadsPerTurn; ++i) {
        const bool plain = chosen_ && tls_ == nullptr;
        const bool deaf = state_ == State::ending;  // behind the end nothing is looked at
        Bytes& wire = loop_->spare().wire;
        if (!plain || deaf) {
            wire.resize(read_bytes());
        }
        const std::span<std::byte> room =
            plain && !deaf ? reader_.room(read_bytes()) : std::span(wire);
        asio::error_code error;
        const std::size_t bytes = read_some(room, error);
        if (error == asio::error::would_block) {
            return {};
        }
        if (error) {
            cut_ = true;
            return {};
        }
        if (deaf) {
            continue;
        }
        heard_ = Clock::now();
        trimmed_ = false;
        if (plain) {
            reader_.received(bytes);
        }
        auto taken = plain ? take() : on_wire(room.first(bytes));
        const bool full = session_ != nullptr && session_->out().bytes() > kOutMax;
        if (!taken || bytes < room.size() || full || state_ == State::ending ||
            moves_to_ != nullptr) {
            return taken;
        }
    }
    return {};
}

Result<void> Connection::on_wire(std::span<const std::byte> wire) {
    if (!chosen_) {
        if (auto chosen = choose(wire[0]); !chosen) {
            return chosen;
        }
    }
    if (tls_ != nullptr) {
        return open_records(wire);
    }
    reader_.append(wire);
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
    const auto context = bridge_->tls();
    if (context == nullptr || local) {
        return Error{Status::bad_request, 0, "a TLS handshake, and this bridge does not encrypt"};
    }
    auto channel = TlsChannel::make(context, peer_);
    if (!channel) {
        return channel.error();
    }
    tls_ = std::move(*channel);
    return {};
}

Result<void> Connection::open_records(std::span<const std::byte> wire) {
    auto fed = tls_->feed(wire);
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
    while (moves_to_ == nullptr) {
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
    return {};
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
    hello_ = *hello;
    return greet();
}

Result<void> Connection::greet() {
    auto greeted = loop_->greet(hello_, principal_, *this);
    if (!greeted) {
        return greeted.error();
    }
    if (greeted->elsewhere != nullptr) {
        moves_to_ = greeted->elsewhere;  // at the end of this turn
        return {};
    }
    heartbeat_ = std::max(kHeartbeatMin, std::chrono::milliseconds(greeted->welcome.heartbeat_ms));
    FrameHead head;
    head.type = FrameType::welcome;
    early_.push(head, encode(greeted->welcome));
    session_ = std::move(greeted->session);
    state_ = State::serving;
    loop_->greeted(*this);
    reader_.welcome();
    session_->attach(hello_.received, [weak = weak_from_this()] {
        if (const auto self = weak.lock()) {
            self->flush();
        }
    });
    flush();
    return {};
}

}  // namespace telpher::bridge
