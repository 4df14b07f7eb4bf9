#include "tools/telpher/snapshot.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

namespace telpher::cli {

Result<std::vector<ProcessInfo>> other_processes(const Admin& admin) {
    auto processes = admin.processes();
    if (processes && !admin.remote()) {
        std::erase_if(*processes, [](const ProcessInfo& process) {
            return process.pid == static_cast<std::uint32_t>(::getpid());
        });
    }
    return processes;
}

Result<Snapshot> take_snapshot(const Admin& admin) {
    auto processes = other_processes(admin);
    if (!processes) {
        return processes.error();
    }
    auto queues = admin.queues();
    if (!queues) {
        return queues.error();
    }
    auto topics = admin.topics();
    if (!topics) {
        return topics.error();
    }
    auto domain = admin.status();
    if (!domain) {
        return domain.error();
    }
    return Snapshot{std::move(*domain),
                    std::move(*queues),
                    std::move(*topics),
                    std::move(*processes),
                    std::chrono::steady_clock::now()};
}

bool keeps_alive(const Snapshot& snapshot) {
    return snapshot.domain.lifetime == Lifetime::ephemeral && snapshot.domain.processes <= 1;
}

Json to_json(const ProcessInfo& process) {
    return Json{{"pid", process.pid},
                {"command", process.command},
                {"state", process.state},
                {"attached_ms", process.attached_for.count()},
                {"slot", process.slot}};
}

std::string joined(const std::string& queues,
                   std::size_t queue_count,
                   const std::string& topics,
                   std::size_t topic_count) {
    if (topic_count == 0) {
        return queues;
    }
    return queue_count == 0 ? topics : queues + "\n" + topics;
}

bool sleep_until(const Interrupt& interrupt, std::chrono::steady_clock::time_point when) {
    constexpr auto kLongest = std::chrono::hours(1);  // poll counts milliseconds in an int
    for (;;) {
        const auto left = when - std::chrono::steady_clock::now();
        if (interrupt.stopped() || stdout_is_gone()) {
            return false;
        }
        if (left.count() <= 0) {
            return true;
        }
        pollfd stop{interrupt.fd(), POLLIN, 0};
        const auto wait = std::chrono::ceil<std::chrono::milliseconds>(
            std::min<std::chrono::nanoseconds>(left, kLongest));
        static_cast<void>(::poll(&stop, 1, static_cast<int>(wait.count())));
    }
}

}  // namespace telpher::cli
