// Takes orders from the queue of the demo, in competition with another worker.

#include "telpher/queue.hpp"

#include "tools/telpher/demo_label.hpp"
#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/demo_roles.hpp"

#include <string_view>
#include <utility>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

class Worker {
  public:
    Worker(RoleContext& context, Role role, Queue queue)
        : context_(context),
          account_(context.account),
          role_(role),
          index_(role == Role::worker_1 ? 0 : 1),
          own_(account_->workers.at(index_)),
          queue_(std::move(queue)) {}

    Result<void> run() {
        context_.ready(role_);
        for (;;) {
            // Asked before the queue: what comes in between is not left there.
            const bool last_look = account_->finish.get() != 0;
            const auto delivery = queue_.poll(20ms, context_.interrupt.token());
            if (delivery) {
                handle(*delivery);
            } else if (delivery.status() != Status::timed_out) {
                return delivery.error();
            } else if (last_look) {
                return {};
            }
        }
    }

  private:
    void handle(const Delivery& delivery) {
        const auto taken_ns = now_ns();
        own_.in_hands.set(delivery.sequence());
        const auto label = Label::read(delivery.correlation_id());
        const auto payload = delivery.payload();
        const auto total =
            total_of({reinterpret_cast<const char*>(payload.data()), payload.size()});
        if (!label || label->numbers[0] != delivery.sequence() || delivery.sequence() <= last_) {
            own_.wrong_sequences.add(1);
        } else if (!total || static_cast<std::uint64_t>(*total) != label->numbers[2]) {
            own_.wrong_totals.add(1);
        } else {
            own_.total.add(label->numbers[2]);
            measure(delivery.sequence(), taken_ns, label->numbers[1]);
        }
        last_ = delivery.sequence();
        if (last_ > account_->messages.get() || !account_.mark_handled(index_, last_)) {
            own_.wrong_sequences.add(1);
        }
        own_.handled.add(1);
        own_.last_ns.set(now_ns());
        own_.in_hands.set(0);
    }

    // The producer reads the clock before it offers, so whatever delays the offer counts too.
    void measure(std::uint64_t sequence, std::uint64_t taken_ns, std::uint64_t offered_ns) {
        if (sequence <= account_->paced.get()) {
            own_.latency.record(taken_ns > offered_ns ? taken_ns - offered_ns : 0);
            return;
        }
        if (previous_ns_ != 0) {
            const auto kill_ns = account_->kill_ns.get();
            auto& stall =
                kill_ns != 0 && taken_ns >= kill_ns ? own_.stall_after_ns : own_.stall_before_ns;
            stall.raise_to(taken_ns - previous_ns_);
        }
        previous_ns_ = taken_ns;
    }

    RoleContext& context_;
    SharedAccount& account_;
    Role role_;
    std::size_t index_;
    WorkerAccount& own_;
    Queue queue_;
    std::uint64_t last_ = 0;
    std::uint64_t previous_ns_ = 0;  // when the last order at full speed was taken
};

}  // namespace

Result<void> run_worker(RoleContext& context, Role role) {
    auto queue = context.client.queue(kDemoQueue);
    return queue ? Worker(context, role, std::move(*queue)).run() : queue.error();
}

}  // namespace telpher::cli
