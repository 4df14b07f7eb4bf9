// Takes orders from the queue of the demo, in competition with another worker, has the function compute
// some of them again, and announces each on the topic.

#include "telpher/message.hpp"
#include "telpher/queue.hpp"
#include "telpher/topic.hpp"

#include "tools/telpher/demo_label.hpp"
#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/demo_receipt.hpp"
#include "tools/telpher/demo_roles.hpp"

#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

class Worker {
  public:
    Worker(RoleContext& context, Role role, Queue queue, Topic topic)
        : context_(context),
          account_(context.account),
          role_(role),
          index_(role == Role::worker_1 ? 0 : 1),
          own_(account_->workers.at(index_)),
          queue_(std::move(queue)),
          topic_(std::move(topic)) {}

    Result<void> run() {
        context_.ready(role_);
        for (;;) {
            // Asked before the queue: what comes in between is not left there.
            const bool last_look = account_->finish.get() != 0;
            const auto delivery = queue_.poll(20ms, context_.interrupt.token());
            if (delivery) {
                if (auto handled = handle(*delivery); !handled) {
                    return handled;
                }
            } else if (delivery.status() != Status::timed_out) {
                return delivery.error();
            } else if (last_look) {
                return {};
            }
        }
    }

  private:
    // Errors: a call that was not answered, an announcement that was not taken; also because the worker is stopped.
    Result<void> handle(const Delivery& delivery) {
        const auto taken_ns = now_ns();
        const auto sequence = delivery.sequence();
        own_.in_hands.set(sequence);
        const auto label = Label::read(delivery.correlation_id());
        const auto total = total_of(text_of(delivery.payload()));
        const bool known = sequence <= account_->messages.get();
        if (!label || label->numbers[0] != sequence || sequence <= last_ || !known) {
            own_.wrong_sequences.add(1);
        } else if (!total || static_cast<std::uint64_t>(*total) != label->numbers[2]) {
            own_.wrong_totals.add(1);
        } else {
            own_.total.add(label->numbers[2]);
            measure(sequence, taken_ns, label->numbers[1]);
        }
        last_ = sequence;
        if (sequence % kCallEvery == 0) {
            if (auto asked = ask_price(delivery, total); !asked) {
                return asked;
            }
        }
        if (auto announced = announce(sequence, total); !announced) {
            return announced;
        }
        if (known && !account_.mark_handled(index_, sequence)) {
            own_.wrong_sequences.add(1);
        }
        own_.handled.add(1);
        own_.last_ns.set(now_ns());
        own_.in_hands.set(0);
        return {};
    }

    // Another process computes the total, too: whoever serves the function at the moment.
    Result<void> ask_price(const Delivery& delivery, std::optional<std::int64_t> total) {
        request_.assign(delivery);
        request_.with_correlation_id({});  // so that what fits the queue fits the call
        own_.asked.add(1);
        const auto asked_ns = now_ns();
        const auto reply = context_.client.send(
            kDemoFunction, request_, kCallTimeout, {.stop = context_.interrupt.token()});
        const auto took_ns = now_ns() - asked_ns;
        if (!reply) {
            return Error{reply.status(),
                         reply.error().os_error,
                         "the price of order " + std::to_string(delivery.sequence()) + ": " +
                             reply.error().detail};
        }
        own_.answered.add(1);
        if (!total || text_of(reply->payload()) != std::to_string(*total)) {
            own_.wrong_prices.add(1);
        }
        own_.slowest_call_ns.raise_to(took_ns);
        if (delivery.sequence() <= account_->paced.get()) {
            own_.calls.record(took_ns);
        }
        return {};
    }

    // Tells all who follow the topic. Killed before or after it, never in between: whole or not at all.
    Result<void> announce(std::uint64_t sequence, std::optional<std::int64_t> total) {
        const auto text = Receipt{sequence, index_ + 1, total.value_or(0)}.text();
        const auto published = topic_.publish(
            Message::json(kDemoTopic, text), kPublishTimeout, context_.interrupt.token());
        return published ? Result<void>{} : published.error();
    }

    // The producer reads the clock before it offers, so whatever delays the offer counts too.
    void measure(std::uint64_t sequence, std::uint64_t taken_ns, std::uint64_t offered_ns) {
        if (sequence <= account_->paced.get()) {
            own_.latency.record(taken_ns > offered_ns ? taken_ns - offered_ns : 0);
            return;
        }
        if (previous_ns_ != 0) {
            own_.stall_ns.at(kills_before(taken_ns)).raise_to(taken_ns - previous_ns_);
        }
        previous_ns_ = taken_ns;
    }

    [[nodiscard]] std::size_t kills_before(std::uint64_t ns) const {
        const auto before = [ns](const Figure& kill_ns) {
            return kill_ns.get() != 0 && ns >= kill_ns.get();
        };
        return (before(account_->worker_kill_ns) ? 1U : 0U) +
               (before(account_->pricer_kill_ns) ? 1U : 0U);
    }

    static constexpr auto kCallTimeout = 5s;     // far beyond what a death costs: nobody may hang
    static constexpr auto kPublishTimeout = 5s;  // for memory; no subscriber makes it wait
    RoleContext& context_;
    SharedAccount& account_;
    Role role_;
    std::size_t index_;
    WorkerAccount& own_;
    Queue queue_;
    Topic topic_;
    Message request_;
    std::uint64_t last_ = 0;
    std::uint64_t previous_ns_ = 0;  // when the last order at full speed was taken
};

}  // namespace

Result<void> run_worker(RoleContext& context, Role role) {
    auto queue = context.client.queue(kDemoQueue);
    if (!queue) {
        return queue.error();
    }
    auto topic = context.client.topic(kDemoTopic);
    return topic ? Worker(context, role, std::move(*queue), std::move(*topic)).run()
                 : topic.error();
}

}  // namespace telpher::cli
