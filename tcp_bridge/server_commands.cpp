// What a session asks of the bridge itself: commands, and the temporary queues that are its own.

#include "src/wire/codec.hpp"
#include "tcp_bridge/commands.hpp"
#include "tcp_bridge/message_bytes.hpp"
#include "tcp_bridge/server_session.hpp"

namespace telpher::bridge {
namespace {

// It runs to its end.
class UncancelledOperation final : public ServerOperation {
  public:
    void cancel() noexcept override {}
    [[nodiscard]] bool is_poll() const noexcept override { return false; }
};

}  // namespace

void ServerSession::run_command(const FrameHead& head, std::span<const std::byte> body) {
    const std::uint64_t correlation = head.correlation;
    const auto view = wire::decode(body);
    if (!view) {
        answer(correlation, Error{Status::bad_request, 0, view.error().detail});
        return;
    }
    if (view->topic() == commands::kSettle) {
        settle(correlation, *view);
        return;
    }
    if (view->topic() == commands::kSettleMany) {
        settle_many(correlation, *view);
        return;
    }
    const std::string destination = destination_of(*view);
    const std::string_view verb = verb_of_command(view->topic());
    if (!verb.empty() && !allowed(verb, destination)) {
        answer(correlation,
               Error{Status::not_permitted,
                     0,
                     principal_ + " may not " + std::string(verb) + " '" + destination + "'"});
        return;
    }
    if (view->topic() == commands::kTemporaryQueue) {
        make_temporary(correlation, *view);
        return;
    }
    begin_command(
        correlation,
        [admin = host_->admin, command = view->to_message()]() mutable {
            return bridge::run_command(admin, command.view());
        },
        &ServerSession::answer_command);
}

// `work` is done on the thread of commands, `done` is told its result on ours.
template <typename Work, typename Outcome>
void ServerSession::begin_command(std::uint64_t correlation,
                                  Work work,
                                  void (ServerSession::*done)(std::uint64_t, Outcome)) {
    operations_[correlation] = std::make_shared<UncancelledOperation>();
    auto queued = host_->thread->run([weak = weak_from_this(),
                                      inbox = inbox_,
                                      correlation,
                                      work = std::move(work),
                                      done]() mutable {
        // Shared, because a task is copied, and a queue ends with its owner.
        auto outcome = std::make_shared<Outcome>(work());
        inbox->push([weak, correlation, outcome, done] {
            if (const auto self = weak.lock()) {
                ((*self).*done)(correlation, std::move(*outcome));
            }
        });
    });
    if (!queued) {
        answer(correlation, queued.error());
    }
}

void ServerSession::answer_command(std::uint64_t correlation, Result<Message> reply) {
    if (!reply) {
        answer(correlation, reply.error());
        return;
    }
    Bytes bytes = bytes_of(*reply);
    if (bytes.size() > limits_.message_bytes_max) {
        answer(correlation,
               Error{Status::message_too_large,
                     0,
                     "the reply has " + std::to_string(bytes.size()) +
                         " bytes, messages of this domain at most " +
                         std::to_string(limits_.message_bytes_max)});
        return;
    }
    FrameHead head;
    head.type = FrameType::response;
    answer(correlation, head, std::move(bytes));
}

// A client of its own makes them: what one client may have, each session may.
void ServerSession::make_temporary(std::uint64_t correlation, const MessageView& command) {
    FieldReader in(command.payload());
    TemporaryQueueOptions options;
    in.field(options.capacity);
    if (!in.ok()) {
        answer(correlation,
               Error{Status::bad_request, 0, "temporary_queue: the capacity is missing"});
        return;
    }
    if (!temporary_client_) {
        // This process is attached: nothing is waited for.
        auto client = connect("shm:" + host_->admin.domain());
        if (!client) {
            answer(correlation, client.error());
            return;
        }
        temporary_client_ = std::move(*client);
    }
    begin_command(
        correlation,
        [client = *temporary_client_, options]() mutable {
            return client.create_temporary_queue(options);
        },
        &ServerSession::answer_temporary);
}

void ServerSession::answer_temporary(std::uint64_t correlation, Result<Queue> made) {
    if (ended_) {
        return;  // and the queue with us
    }
    if (!made) {
        answer(correlation, made.error());
        return;
    }
    std::string name = made->name();
    FieldWriter out;
    out.field(name);
    temporaries_[std::move(name)].owner = std::move(*made);
    answer_command(correlation, reply_message(out));
}

// The first channel of a temporary queue is its handle: the queue ends with it.
void ServerSession::opened_temporary(const std::string& name, std::uint16_t channel) {
    const auto known = temporaries_.find(name);
    if (known != temporaries_.end() && known->second.channel == 0) {
        known->second.channel = channel;
    }
}

void ServerSession::closed_temporary(const std::string& name, std::uint16_t channel) {
    const auto known = temporaries_.find(name);
    if (known != temporaries_.end() && known->second.channel == channel) {
        temporaries_.erase(known);
    }
}

// All sessions are one process to the domain, which lets the process poll.
bool ServerSession::may_poll(const std::string& name) const {
    return !name.starts_with("temporary.") || temporaries_.contains(name);
}

}  // namespace telpher::bridge
