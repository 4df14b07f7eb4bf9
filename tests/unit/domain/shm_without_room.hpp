#pragma once
// The table of small_shm_test.cpp: folders for shared memory in which no domain can be made.

#include "telpher/status.hpp"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

struct NoRoom {
    const char* name;
    const char* folder;   // where a tmpfs is mounted
    const char* options;  // with these
    std::function<void()> spoil;
    Status status;
    std::vector<const char*> texts;  // parts of the error
};
[[maybe_unused]] void PrintTo(const NoRoom& room, std::ostream* out) { *out << room.name; }

void fill_shm() {
    std::FILE* other = std::fopen("/dev/shm/filler", "w");
    const std::string block(1U << 16U, 'x');
    while (std::fwrite(block.data(), 1, block.size(), other) == block.size()) {
    }
    std::fclose(other);
}
void protect_shm() {
    static_cast<void>(!mount(nullptr, "/dev/shm", nullptr, MS_REMOUNT | MS_RDONLY, nullptr));
}

std::vector<NoRoom> shm_without_room() {
    const auto nothing = [] {};
    return {
        {"of_one_page",
         "/dev/shm",
         "size=4k",
         nothing,
         Status::out_of_memory,
         {"needs", "are free"}},
        {"of_one_mib",
         "/dev/shm",
         "size=1m",
         nothing,
         Status::out_of_memory,
         {"needs", "1048576 are free", "limits.pool_bytes"}},
        {"full", "/dev/shm", "size=8m", fill_shm, Status::out_of_memory, {"needs", "are free"}},
        {"without_a_file_to_spare",
         "/dev/shm",
         "nr_inodes=1",
         nothing,
         Status::out_of_memory,
         {"/dev/shm", "No space left"}},
        {"read_only",
         "/dev/shm",
         "size=8m",
         protect_shm,
         Status::server_error,
         {"/dev/shm", "Read-only file system"}},
        {"that_is_not_there",
         "/dev",
         "size=8m",
         nothing,
         Status::server_error,
         {"/dev/shm does not exist", "mount a tmpfs"}},
    };
}

}  // namespace
}  // namespace telpher::test
