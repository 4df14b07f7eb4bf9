#pragma once
// The smallest coroutine: starts at once, frees itself at its end, returns nothing.

#include <coroutine>
#include <exception>

namespace telpher::test {

struct FireAndForget {
    struct promise_type {
        FireAndForget get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };
};

}  // namespace telpher::test
