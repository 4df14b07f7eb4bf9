// Sends the orders of the demo: first at a steady rate, then as fast as it goes.

#include "telpher/queue.hpp"

#include "tools/telpher/demo_label.hpp"
#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/demo_roles.hpp"
#include "tools/telpher/line_reader.hpp"

#include <array>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

class Producer {
  public:
    Producer(RoleContext& context, Queue queue)
        : context_(context),
          account_(context.account),
          queue_(std::move(queue)),
          interrupt_(context.interrupt) {}

    Result<void> run(const std::vector<Order>& orders) {
        // Checked and encoded once; a round only changes the label, and allocates nothing.
        std::vector<Message> messages;
        messages.reserve(orders.size());
        for (const auto& order : orders) {
            messages.push_back(Message::json("order", order.text));
        }
        context_.ready(Role::producer);
        wait_for(account_->go, interrupt_);
        start_ns_ = now_ns();
        for (std::uint64_t index = 0; index < account_->messages.get(); ++index) {
            wait_for_turn(index);
            const auto at = static_cast<std::size_t>(index % orders.size());
            if (auto sent = send(messages[at], index + 1, orders[at].total); !sent) {
                return sent;
            }
        }
        return {};
    }

  private:
    void wait_for_turn(std::uint64_t index) {
        if (index < account_->paced.get()) {
            sleep_until(start_ns_ + index * 1'000'000'000 / account_->rate.get());
        } else if (index == account_->paced.get()) {
            account_->full_speed_ns.set(now_ns());
        }
        if (index == account_->gate.get()) {
            wait_for(account_->pricer_kill_ns, interrupt_);
        }
    }

    Result<void> send(Message& message, std::uint64_t sequence, std::int64_t total) {
        std::array<char, 80> text{};
        const Label label{{sequence, now_ns(), static_cast<std::uint64_t>(total)}};
        message.with_correlation_id(label.write(text));
        for (;;) {
            const auto offered = queue_.offer(message, 200ms, interrupt_.token());
            if (offered) {
                account_->offered.set(sequence);
                return *offered == sequence ? Result<void>{}
                                            : Error{Status::corrupt,
                                                    0,
                                                    "order " + std::to_string(sequence) +
                                                        " got number " + std::to_string(*offered)};
            }
            // Workers that are slow are no error; ones that stand still are the parent's to notice.
            const auto status = offered.status();
            if (status != Status::timed_out && status != Status::out_of_memory) {
                return offered.error();
            }
        }
    }

    RoleContext& context_;
    SharedAccount& account_;
    Queue queue_;
    Interrupt& interrupt_;
    std::uint64_t start_ns_ = 0;
};

}  // namespace

Result<void> run_producer(RoleContext& context) {
    auto queue = context.client.queue(kDemoQueue);
    if (!queue) {
        return queue.error();
    }
    const auto content =
        read_file("/proc/self/fd/" + std::to_string(context.options.orders_fd), kDemoInputBytesMax);
    const auto orders =
        content ? parse_orders(*content, "orders") : Result<std::vector<Order>>(content.error());
    return orders ? Producer(context, std::move(*queue)).run(*orders) : orders.error();
}

}  // namespace telpher::cli
