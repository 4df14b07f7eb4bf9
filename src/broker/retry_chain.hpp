#pragma once
// Whether this thread serves a request whose caller retries: then nothing that it calls is retried, and
// its own requests pass that on. A chain of three with four attempts each would make 64 otherwise.

namespace telpher::detail {

// Of this thread. Handlers run on the thread that claimed their request, from their begin to their end.
inline constinit thread_local bool t_no_retry = false;

class RetryChain {
  public:
    explicit RetryChain(bool no_retry) noexcept : before_(t_no_retry) { t_no_retry = no_retry; }
    RetryChain(const RetryChain&) = delete;
    RetryChain& operator=(const RetryChain&) = delete;
    ~RetryChain() { t_no_retry = before_; }

  private:
    bool before_;
};

}  // namespace telpher::detail
