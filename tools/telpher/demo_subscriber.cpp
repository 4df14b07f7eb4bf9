// Follows the topic of the demo: one subscriber as fast as it can, one slow on purpose, one over the bridge.

#include "telpher/topic.hpp"

#include "tools/telpher/demo_receipt.hpp"
#include "tools/telpher/demo_roles.hpp"

#include <utility>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

class Subscriber {
  public:
    Subscriber(RoleContext& context, Role role, Subscription subscription)
        : context_(context),
          account_(context.account),
          role_(role),
          index_(role == Role::subscriber        ? 0
                 : role == Role::slow_subscriber ? 1
                                                 : 2),
          own_(account_->subscribers.at(index_)),
          subscription_(std::move(subscription)) {}

    Result<void> run() {
        context_.ready(role_);
        for (;;) {
            // Asked before the topic, as a worker does. From then on the slow one hurries.
            const bool last_look = account_->closing.get() != 0;
            const auto sample = subscription_.next(20ms, context_.interrupt.token());
            if (sample) {
                note(*sample);
                if (role_ == Role::slow_subscriber && !last_look) {
                    sleep_until(now_ns() + kSlowNs);
                }
            } else if (sample.status() != Status::timed_out) {
                return sample.error();
            } else if (last_look && heard_all()) {
                return {};
            }
        }
    }

  private:
    // What comes over TCP may take longer than one look. The parent bounds how long.
    [[nodiscard]] bool heard_all() const {
        return role_ != Role::remote_subscriber ||
               own_.last_sequence.get() >= account_->published.get();
    }
    void note(const Sample& sample) {
        if (sample.sequence() != own_.last_sequence.get() + sample.lost_before() + 1) {
            own_.wrong_sequences.add(1);
        }
        own_.last_sequence.set(sample.sequence());
        own_.lost.add(sample.lost_before());
        own_.received.add(1);
        if (!is_whole(text_of(sample.payload()))) {
            own_.wrong_receipts.add(1);
        }
    }

    // Of an order that it never heard of before, with what this order costs, and no byte besides.
    [[nodiscard]] bool is_whole(std::string_view text) const {
        auto receipt = Receipt::read(text);
        if (!receipt || receipt->order == 0 || receipt->order > account_->messages.get() ||
            receipt->worker == 0 || receipt->worker > kWorkers) {
            return false;
        }
        receipt->cents = account_.total(receipt->order);
        return receipt->text() == text && account_.mark_heard(index_, receipt->order);
    }

    static constexpr std::uint64_t kSlowNs = 1'000'000;  // ten times the pace of the orders
    RoleContext& context_;
    SharedAccount& account_;
    Role role_;
    std::size_t index_;
    SubscriberAccount& own_;
    Subscription subscription_;
};

}  // namespace

Result<void> run_subscriber(RoleContext& context, Role role) {
    if (role == Role::remote_subscriber) {
        auto client = connect_to_bridge(context);
        if (!client) {
            return client.error();
        }
        context.client = std::move(*client);
    }
    auto subscription = context.client.subscribe(kDemoTopic, {.slow = SlowSubscriber::drop_oldest});
    if (!subscription) {
        return subscription.error();
    }
    auto done = Subscriber(context, role, std::move(*subscription)).run();
    if (role == Role::remote_subscriber) {
        context.client.close();
        context.account->remote_done.set(1);
    }
    return done;
}

}  // namespace telpher::cli
