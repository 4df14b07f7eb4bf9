#include "tcp_bridge/command_thread.hpp"

#include <pthread.h>

#include <csignal>
#include <system_error>
#include <utility>

namespace telpher::bridge {

Result<void> CommandThread::run(Task task) {
    const std::lock_guard hold(mutex_);
    if (stopped_) {
        return Status::closed;
    }
    if (!thread_.joinable()) {
        // No signal of the program runs there.
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before);
        Result<void> started;
        try {
            thread_ = std::thread([this] { serve(); });
        } catch (const std::system_error& failure) {
            started =
                Error{Status::limit_reached, failure.code().value(), "the thread of commands"};
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
        if (!started) {
            return started;
        }
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
    pthread_setname_np(pthread_self(), "telpher-command");
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
