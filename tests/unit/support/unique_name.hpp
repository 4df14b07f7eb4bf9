#pragma once
// Names that no other test uses at the same time, and what is left of them in /dev/shm.

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <vector>

namespace telpher::test {

inline std::string unique_name() {
    static std::atomic<unsigned> count{0};
    return "unit-" + std::to_string(getpid()) + "-" +
           std::to_string(count.fetch_add(1, std::memory_order_relaxed));
}

// Files of the domain `name`, public and private ones, without their folder.
inline std::vector<std::string> files_of(const std::string& name) {
    std::vector<std::string> files;
    const std::string file = "telpher." + name;
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
        const std::string found = entry.path().filename().string();
        if (found == file || found.starts_with(file + ".")) {
            files.push_back(found);
        }
    }
    return files;
}

}  // namespace telpher::test
