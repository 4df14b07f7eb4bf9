#include "tcp_bridge/command_thread.hpp"

#include "tcp_bridge/quiet_thread.hpp"

#include <utility>

namespace telpher::bridge {

Result<void> CommandThread::run(Task task) {
    const std::lock_guard hold(mutex_);
    if (stopped_) {
        return Status::closed;
    }
    if (!thread_.joinable()) {
        auto thread = quiet_thread("telpher-command", [this] { serve(); });
        if (!thread) {
            return thread.error();
        }
        thread_ = std::move(*thread);
    }
    tasks_.push_back(std::move(task));
    wakes_.notify_one();
    return {};
}

void CommandThread::stop() noexcept {
    {
        const std::lock_guard hold(mutex_);
        stopped_ = true;
        tasks_.clear();
        wakes_.notify_one();
    }
    if (thread_.joinable()) {
        thread_.join();
    }
}

void CommandThread::serve() {
    std::unique_lock hold(mutex_);
    for (;;) {
        wakes_.wait(hold, [this] { return stopped_ || !tasks_.empty(); });
        if (stopped_) {
            return;
        }
        const Task task = std::move(tasks_.front());
        tasks_.pop_front();
        hold.unlock();
        task();
        hold.lock();
    }
}

}  // namespace telpher::bridge
