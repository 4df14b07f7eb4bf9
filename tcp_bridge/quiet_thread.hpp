#pragma once
// Threads of the library's own: named, and no signal of the program runs there.

#include "telpher/result.hpp"

#include "shm/base/signals.hpp"

#include <pthread.h>

#include <system_error>
#include <thread>
#include <utility>

namespace telpher::bridge {

// `name` has at most 15 characters. Error: limit_reached (threads).
template <typename Body>
[[nodiscard]] Result<std::thread> quiet_thread(const char* name, Body body) {
    const shm::SignalsBlocked blocked;
    try {
        return std::thread([name, body = std::move(body)]() mutable {
            pthread_setname_np(pthread_self(), name);
            body();
        });
    } catch (const std::system_error& failure) {
        return Error{Status::limit_reached, failure.code().value(), "no thread could be started"};
    }
}

// The same, detached. False: no thread could be started.
template <typename Body>
[[nodiscard]] bool start_quiet_thread(const char* name, Body body) noexcept {
    auto thread = quiet_thread(name, std::move(body));
    if (thread) {
        thread->detach();
    }
    return thread.has_value();
}

}  // namespace telpher::bridge
