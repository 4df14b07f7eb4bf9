// What a connection sends.

#include "tcp_bridge/connection.hpp"

namespace telpher::bridge {

// At the end of this turn of the loop: everything that it brought leaves in one write.
void Connection::flush() {
    if (flushing_ || writing_ || in_turn_) {
        return;  // at the end of the turn, or of the write
    }
    flushing_ = true;
    asio::post(loop_->context(), [self = shared_from_this()] {
        self->flushing_ = false;
        self->write();
        self->read();
        self->move();
    });
}

void Connection::write() {
    if (writing_) {
        return;
    }
    IoLoop::Spare& spare = loop_->spare();
    sending_.swap(spare.sending);
    sending_.clear();
    early_.take(sending_, kWriteBytes);
    if (session_ != nullptr && state_ == State::serving) {
        session_->out().take(sending_, kWriteBytes);
    }
    if (tls_ != nullptr) {
        seal();
    }
    if (sending_.empty()) {
        give_back();
        if (state_ == State::ending) {
            say_no_more();
        }
        return;
    }
    said_ = Clock::now();
    const std::size_t sent = write_some();
    if (sent == sending_.size()) {
        sending_.clear();
        give_back();
        again();
        return;
    }
    writing_ = true;
    std::visit(
        [&](auto& socket) {
            asio::async_write(
                socket,
                asio::buffer(sending_.data() + sent, sending_.size() - sent),
                [self = shared_from_this()](const asio::error_code& error, std::size_t) {
                    self->writing_ = false;
                    if (error) {
                        self->drop();
                        return;
                    }
                    self->write();
                    self->read();
                    self->move();
                });
        },
        socket_);
}

// What the socket takes at once: mostly all. An error shows in the write that follows.
std::size_t Connection::write_some() {
    asio::error_code ignored;
    return std::visit(
        [&](auto& socket) {
            return socket.write_some(asio::buffer(sending_.data(), sending_.size()), ignored);
        },
        socket_);
}

// What this connection's buffers took, to whose turn is next.
void Connection::give_back() {
    IoLoop::Spare& spare = loop_->spare();
    bridge::give_back(sending_, spare.sending);
    if (session_ != nullptr) {
        session_->out().give_back(spare.queued);
    }
    early_.give_back(spare.queued);
}

// More came while that was sent, or is too much for one write: in a turn of its own, others have theirs.
void Connection::again() {
    const bool more = !early_.empty() || (session_ != nullptr && !session_->out().empty()) ||
                      state_ == State::ending || (tls_ != nullptr && !tls_->pending().empty());
    if (more) {
        flush();
    }
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
