#pragma once
// A child process of one that has threads.

#include <sys/types.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <thread>

namespace telpher::test {

// Whether every other thread of this process sleeps.
inline bool others_sleep() {
    const std::string self = std::to_string(::gettid());
    std::error_code gone;  // a thread that ends meanwhile
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", gone)) {
        if (task.path().filename() == self) {
            continue;
        }
        std::ifstream file(task.path() / "stat");
        std::string stat;
        std::getline(file, stat);
        const std::size_t name_end = stat.rfind(") ");  // a name may hold anything
        if (name_end != std::string::npos && stat[name_end + 2] != 'S') {
            return false;
        }
    }
    return true;
}

// As fork(), at a moment when the other threads sleep, or after a second of trying.
//
// The AddressSanitizer of clang 14 and gcc 12 forks with its allocator's locks as they are: the child of a moment in
// which another thread allocates can never allocate. On a busy machine a janitor that has just started does: beside
// three busy processes 3 of 100 children hung.
inline pid_t quiet_fork() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(1);
    while (!others_sleep() && std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return ::fork();
}

}  // namespace telpher::test
