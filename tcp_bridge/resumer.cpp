#include "tcp_bridge/resumer.hpp"

#include "tcp_bridge/quiet_thread.hpp"

namespace telpher::bridge {

bool Resumer::start() noexcept {
    const std::lock_guard hold(state_->mutex);
    return start(state_);
}

// With the lock.
bool Resumer::start(const std::shared_ptr<State>& state) noexcept {
    if (!state->running) {
        state->running = start_quiet_thread("telpher-resume", [state] { run(state); });
    }
    return state->running;
}

void Resumer::resume(detail::Operation& operation) noexcept {
    {
        const std::lock_guard hold(state_->mutex);
        if (start(state_)) {
            state_->operations.push_back(&operation);
            state_->changed.notify_one();
            return;
        }
    }
    // Without a thread for it (there was one when it began to wait): here, or never.
    operation.resume();
    operation.drop();
}

void Resumer::stop() noexcept {
    const std::lock_guard hold(state_->mutex);
    state_->stopped = true;
    state_->changed.notify_one();
}

void Resumer::run(const std::shared_ptr<State>& state) noexcept {
    std::unique_lock hold(state->mutex);
    for (;;) {
        state->changed.wait(hold, [&] { return state->stopped || !state->operations.empty(); });
        if (state->operations.empty()) {
            state->running = false;
            return;
        }
        detail::Operation* operation = state->operations.front();
        state->operations.pop_front();
        hold.unlock();
        operation->resume();
        operation->drop();
        hold.lock();
    }
}

}  // namespace telpher::bridge
