#pragma once
// A thread of the library's own: detached, named, and no signal of the program runs there.

#include <pthread.h>

#include <csignal>
#include <system_error>
#include <thread>
#include <utility>

namespace telpher::bridge {

// `name` has at most 15 characters. False: no thread could be started.
template <typename Body>
[[nodiscard]] bool start_quiet_thread(const char* name, Body body) noexcept {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);  // inherited
    bool started = true;
    try {
        std::thread([name, body = std::move(body)] {
            pthread_setname_np(pthread_self(), name);
            body();
        }).detach();
    } catch (const std::system_error&) {
        started = false;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
}

}  // namespace telpher::bridge
