// How a connection comes to the I/O thread that has the session it resumes: on its old thread it is taken out of
// everything that may still call it, on its new one it says HELLO again.

#include "tcp_bridge/connection.hpp"

#include <unistd.h>

#include <type_traits>
#include <utility>

namespace telpher::bridge {

// Once nothing of it is under way here: a flush and a write call this again.
void Connection::move() {
    if (moves_to_ == nullptr || flushing_ || writing_ || state_ != State::greeting) {
        return;
    }
    asio::error_code error;
    std::visit(
        [&](auto& socket) {
            const auto protocol = socket.local_endpoint(error).protocol();
            std::decay_t<decltype(socket)> moved(moves_to_->context());
            const int descriptor = error ? -1 : socket.release(error);
            if (!error) {
                static_cast<void>(moved.assign(protocol, descriptor, error));
            }
            if (error && descriptor >= 0) {
                ::close(descriptor);
            }
            socket = std::move(moved);
        },
        socket_);
    if (error) {  // the peer has gone already, or descriptors cannot be watched
        drop();
        return;
    }
    const auto self = shared_from_this();
    IoLoop& to = *std::exchange(moves_to_, nullptr);
    IoLoop& from = *std::exchange(loop_, &to);
    from.leaves(self, to);
    to.post([self] { self->arrive(); });
}

void Connection::arrive() {
    const bool serves = loop_->arrives(shared_from_this());
    if (loop_->ended()) {
        drop();  // nobody would send what it is told
        return;
    }
    if (!serves) {
        turn_out({Status::closed, 0, "the bridge ends"});
        return;
    }
    asio::error_code ignored;
    std::visit([&](auto& socket) { socket.non_blocking(true, ignored); }, socket_);
    turn(&Connection::greet_again);
}

Result<void> Connection::greet_again() {
    auto greeted = greet();
    return greeted ? take_frames() : greeted;  // what came behind HELLO
}

}  // namespace telpher::bridge
