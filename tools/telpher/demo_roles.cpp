// The hidden processes of the demo: the producer and a worker, each an executable run of its own.

#include "telpher/client.hpp"

#include "tools/telpher/demo.hpp"
#include "tools/telpher/demo_account.hpp"
#include "tools/telpher/demo_orders.hpp"
#include "tools/telpher/line_reader.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

// What an order carries beside its text, as correlation id: its number, when it was offered, its
// total.
struct Label {
    std::array<std::uint64_t, 3> numbers{};

    [[nodiscard]] std::string_view write(std::array<char, 80>& text) const {
        char* end = text.data();
        for (const auto number : numbers) {
            end = std::to_chars(end, text.data() + text.size(), number).ptr;
            *end++ = ' ';
        }
        return {text.data(), static_cast<std::size_t>(end - text.data()) - 1};
    }

    static std::optional<Label> read(std::string_view text) {
        Label label;
        const char* at = text.data();
        for (auto& number : label.numbers) {
            const auto parsed = std::from_chars(at, text.data() + text.size(), number);
            if (parsed.ec != std::errc{}) {
                return std::nullopt;
            }
            at = parsed.ptr + 1;
        }
        return label;
    }
};

// The process that started this one. A role ends with it, so that a demo that is killed outright
// leaves no processes, and with the last of them its ephemeral domain goes too.
class Parent {
  public:
    Parent(int pid, const Interrupt& interrupt)
        : pid_(pid),
          descriptor_(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0U))),
          interrupt_(interrupt) {
        ::prctl(PR_SET_PDEATHSIG, kDeathSignal);
    }
    // The signal comes when the parent's first thread has ended, its last one may still be in the
    // domain. Who leaves before that is not the last one there, and leaves the domain to nobody.
    ~Parent() {
        if (descriptor_ >= 0) {
            pollfd gone{descriptor_, POLLIN, 0};
            ::poll(&gone, 1, interrupt_.signal() == kDeathSignal ? kExitWaitMs : 0);
            ::close(descriptor_);
        }
    }
    Parent(const Parent&) = delete;
    Parent& operator=(const Parent&) = delete;

    [[nodiscard]] bool alive() const { return ::getppid() == pid_; }

  private:
    static constexpr int kDeathSignal = SIGHUP;  // not what the parent sends when it lives
    static constexpr int kExitWaitMs = 1000;     // shorter than the parent waits at a real hang-up
    int pid_;
    int descriptor_;  // of the process, readable when all of it has ended
    const Interrupt& interrupt_;
};

void sleep_until(std::uint64_t at_ns) {
    const timespec at{static_cast<time_t>(at_ns / 1'000'000'000),
                      static_cast<long>(at_ns % 1'000'000'000)};
    ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr);
}

// Looks every 100 us until the figure is set, or the demo is stopped.
void wait_for(const Figure& figure, const Interrupt& interrupt) {
    while (figure.get() == 0 && !interrupt.stopped()) {
        sleep_until(now_ns() + 100'000);
    }
}

class Producer {
  public:
    Producer(SharedAccount& account, Queue queue, Interrupt& interrupt)
        : account_(account), queue_(std::move(queue)), interrupt_(interrupt) {}

    Result<void> run(const std::vector<Order>& orders) {
        // Checked and encoded once; a round only changes the label, and allocates nothing.
        std::vector<Message> messages;
        messages.reserve(orders.size());
        for (const auto& order : orders) {
            messages.push_back(Message::json("order", order.text));
        }
        account_->ready.set(1);
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
            wait_for(account_->kill_ns, interrupt_);
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

    SharedAccount& account_;
    Queue queue_;
    Interrupt& interrupt_;
    std::uint64_t start_ns_ = 0;
};

class Worker {
  public:
    Worker(SharedAccount& account, std::size_t index, Queue queue)
        : account_(account),
          index_(index),
          own_(account->workers.at(index)),
          queue_(std::move(queue)) {}

    Result<void> run(const std::stop_token& stop) {
        own_.ready.set(1);
        for (;;) {
            const auto delivery = queue_.poll(20ms, stop);
            if (delivery) {
                handle(*delivery);
            } else if (delivery.status() != Status::timed_out) {
                return delivery.error();
            } else if (account_->finish.get() != 0) {
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

    SharedAccount& account_;
    std::size_t index_;
    WorkerAccount& own_;
    Queue queue_;
    std::uint64_t last_ = 0;
    std::uint64_t previous_ns_ = 0;  // when the last order at full speed was taken
};

Result<void> run_role(const RoleOptions& options, Interrupt& interrupt) {
    ::prctl(PR_SET_TIMERSLACK, 1UL);  // 10,000/s needs sleeps exact to microseconds
    auto account = SharedAccount::attach(options.account_fd);
    auto client = account ? connect("shm:" + options.domain) : Result<Client>(account.error());
    auto queue = client ? client->queue(std::string(kDemoQueue)) : Result<Queue>(client.error());
    // After the client: the parent is waited for before the client leaves the domain.
    const Parent parent(options.parent_pid, interrupt);
    if (!parent.alive()) {
        return Status::cancelled;
    }
    if (!queue) {
        return queue.error();
    }
    if (options.worker > 0) {
        return Worker(*account, options.worker - 1, std::move(*queue)).run(interrupt.token());
    }
    const auto content =
        read_file("/proc/self/fd/" + std::to_string(options.orders_fd), kDemoInputBytesMax);
    const auto orders =
        content ? parse_orders(*content, "orders") : Result<std::vector<Order>>(content.error());
    return orders ? Producer(*account, std::move(*queue), interrupt).run(*orders) : orders.error();
}

}  // namespace

ExitCode run_demo_role(const RoleOptions& options, Interrupt& interrupt) {
    const auto done = run_role(options, interrupt);
    if (done) {
        return kExitOk;
    }
    // A role that is stopped, or whose domain the parent has taken away, has nothing to say.
    const bool stopped = interrupt.stopped() || done.status() == Status::cancelled;
    return stopped ? kExitStopped : print_error(done.error(), false);
}

}  // namespace telpher::cli
