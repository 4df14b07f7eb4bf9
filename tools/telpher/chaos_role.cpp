// The processes that `telpher chaos` kills.

#include "telpher/client.hpp"
#include "telpher/queue.hpp"

#include "tools/telpher/chaos.hpp"
#include "tools/telpher/chaos_account.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace telpher::cli {
namespace {

using namespace std::chrono_literals;

// More than there are producers that may take a number at once.
constexpr std::uint64_t kChaosSpare = 1024;

// Until it is in the queue, or is not to be offered any more.
Result<void> offer_chaos(Queue& queue,
                         std::uint64_t number,
                         ChaosAccount& account,
                         const Interrupt& interrupt) {
    account.fate[number].fetch_or(ChaosAccount::offered);
    for (;;) {
        const auto done = queue.offer(chaos_message(number), 1s, interrupt.token());
        if (done) {
            account.fate[number].fetch_or(ChaosAccount::confirmed);
            return {};
        }
        const bool full = done.status() == Status::timed_out;
        if (!full || account.finish != 0) {
            return full || done.status() == Status::cancelled ? Result<void>() : done.error();
        }
    }
}

Result<void> produce_chaos(Queue& queue, ChaosAccount& account, const Interrupt& interrupt) {
    while (!interrupt.stopped() && account.finish == 0) {
        if (account.next >= std::min(account.allowed.load(), kChaosMessagesMost - kChaosSpare)) {
            std::this_thread::sleep_for(1ms);
            continue;
        }
        if (auto offered = offer_chaos(queue, account.next.fetch_add(1), account, interrupt);
            !offered) {
            return offered;
        }
    }
    return {};
}

// Takes note first: once a message is acknowledged, nobody else will tell of it.
void take_note(const Delivery& delivery, ChaosAccount& account) {
    const auto number = number_of_chaos(delivery);
    if (!number) {
        account.wrong.fetch_add(1);
        return;
    }
    const auto before = account.fate[*number].fetch_or(ChaosAccount::taken);
    account.wrong.fetch_add((before & ChaosAccount::offered) == 0 ? 1 : 0);
    account.again.fetch_add((before & ChaosAccount::taken) != 0 ? 1 : 0);
}

Result<void> consume_chaos(Queue& queue, ChaosAccount& account, const Interrupt& interrupt) {
    while (!interrupt.stopped()) {
        const bool finish = account.finish != 0;
        auto delivery = queue.poll(100ms, interrupt.token());
        if (delivery) {
            take_note(*delivery, account);
            static_cast<void>(delivery->ack());
        } else if (delivery.status() == Status::timed_out) {
            if (finish) {
                return {};
            }
        } else if (delivery.status() != Status::cancelled) {
            return delivery.error();
        }
    }
    return {};
}

}  // namespace

ExitCode run_chaos_role(const ChaosRole& role, Interrupt& interrupt) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != role.parent) {
        return kExitError;  // it died before it could be seen
    }
    auto account = SharedChaos::attach(role.account_fd);
    auto client = account ? connect("shm:" + role.domain) : Result<Client>(account.error());
    auto queue = client ? client->queue("chaos") : Result<Queue>(client.error());
    if (!queue) {
        return print_error(queue.error(), false);
    }
    const Result<void> done = role.role == "producer"
                                  ? produce_chaos(*queue, *account->operator->(), interrupt)
                                  : consume_chaos(*queue, *account->operator->(), interrupt);
    return done ? kExitOk : print_error(done.error(), false);
}

}  // namespace telpher::cli
