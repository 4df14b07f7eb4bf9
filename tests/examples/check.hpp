// What the examples share: checks, lines that threads do not mix, domains that no other run uses.
#pragma once

#include <unistd.h>

#include <atomic>
#include <exception>
#include <initializer_list>
#include <iostream>
#include <string>
#include <string_view>
#include <syncstream>

namespace example {

// One line on standard output, whole even when several threads print.
template <typename... Parts>
void say(const Parts&... parts) {
    std::osyncstream line(std::cout);
    line << std::boolalpha;
    (line << ... << parts) << std::endl;
}

// Two runs at once must not meet in one domain.
inline std::string own_domain(std::string_view name) {
    return "example." + std::string(name) + "." + std::to_string(getpid());
}

// What fails is told and remembered; the program goes on, so that its domain is always removed.
inline std::atomic<bool> failed = false;

// Not std::source_location, which clang 14 lacks.
inline void check(bool good,
                  std::string_view what,
                  const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
    if (!good) {
        failed = true;
        std::osyncstream(std::cerr) << file << ":" << line << ": " << what << std::endl;
    }
}

template <typename T>
std::string shown(const T& value) {
    if constexpr (requires { std::string(to_string(value)); }) {
        return std::string(to_string(value));  // a Status, a MessageType, a FieldValue
    } else if constexpr (requires { std::string(value); }) {
        return '"' + std::string(value) + '"';
    } else {
        return std::to_string(value);
    }
}

template <typename Actual, typename Expected>
void check_equal(const Actual& actual,
                 const Expected& expected,
                 const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
    if (!(actual == expected)) {
        check(false, shown(actual) + " instead of " + shown(expected), file, line);
    }
}

// Runs them one after another; the exit status of their program.
inline int run(std::initializer_list<void (*)()> examples) {
    try {
        for (auto* const one : examples) {
            one();
        }
    } catch (const std::exception& error) {
        check(false, error.what());
    }
    return failed ? 1 : 0;
}

}  // namespace example
