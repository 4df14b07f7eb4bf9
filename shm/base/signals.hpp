#pragma once
// Threads of the library's own take no signal of the program: a handler there would run beside our locks.
//
//   Use      while it exists, the calling thread takes none; threads that it starts inherit that, and keep it
//   Threads  each its own
//   Fork     a child has the mask of the thread that forked

#include <pthread.h>

#include <csignal>

namespace telpher::shm {

class SignalsBlocked {
  public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, &before_);
    }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

  private:
    sigset_t before_{};
};

}  // namespace telpher::shm
