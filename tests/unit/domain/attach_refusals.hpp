#pragma once
// The table of attach_refusal_test.cpp: files that are no sound domain, each with the status and the
// words it is refused with. Those whose header alone is spoiled are in attach_refusals_header.hpp.

#include "shm/layout.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using shm::SegmentHeader;

// The file of a sound, closed domain, to be spoiled.
class Victim {
  public:
    explicit Victim(std::string path) : path_(std::move(path)) {}

    [[nodiscard]] const char* path() const { return path_.c_str(); }
    template <typename T>
    void put(std::size_t at, T value) const {
        const int file = open(path(), O_WRONLY | O_CLOEXEC);
        ASSERT_EQ(pwrite(file, &value, sizeof value, static_cast<off_t>(at)),
                  static_cast<ssize_t>(sizeof value));
        close(file);
    }
    template <typename T>
    [[nodiscard]] T get(std::size_t at) const {
        T value{};
        const int file = open(path(), O_RDONLY | O_CLOEXEC);
        EXPECT_EQ(pread(file, &value, sizeof value, static_cast<off_t>(at)),
                  static_cast<ssize_t>(sizeof value));
        close(file);
        return value;
    }
    [[nodiscard]] std::uint64_t size() const {
        struct stat facts {};
        return stat(path(), &facts) == 0 ? static_cast<std::uint64_t>(facts.st_size) : 0;
    }
    void resize(std::uint64_t bytes) const {
        ASSERT_EQ(truncate(path(), static_cast<off_t>(bytes)), 0);
    }
    void vanish() const { ASSERT_EQ(unlink(path()), 0); }
    // Offset in the header of region `i`, and of chunk class `k`.
    static std::size_t region(std::size_t i) {
        return offsetof(SegmentHeader, regions) + i * sizeof(shm::Region);
    }
    static std::size_t chunk_class(std::size_t k) {
        return offsetof(SegmentHeader, classes) + k * sizeof(shm::ChunkClass);
    }

  private:
    std::string path_;
};

struct Refusal {
    const char* name;
    std::function<void(const Victim&)> spoil;
    Status status;
    std::vector<const char*> texts;  // parts of the error's detail
    bool root_only = false;
};
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.name; }

// Overwrites one field of the header.
template <typename T>
std::function<void(const Victim&)> put(std::size_t at, T value) {
    return [at, value](const Victim& victim) { victim.put(at, value); };
}
std::function<void(const Victim&)> mode(mode_t mode) {
    return [mode](const Victim& victim) { ASSERT_EQ(chmod(victim.path(), mode), 0); };
}
std::function<void(const Victim&)> instead(std::function<void(const char*)> make) {
    return [make](const Victim& victim) {
        victim.vanish();
        make(victim.path());
    };
}
void make_file(const char* path, std::size_t bytes) {
    const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ASSERT_GE(file, 0);
    const std::string content(bytes, 'x');
    ASSERT_EQ(write(file, content.data(), bytes), static_cast<ssize_t>(bytes));
    close(file);
}
void make_socket(const char* path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    const int descriptor = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_EQ(bind(descriptor, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    close(descriptor);
}

std::vector<Refusal> files_of_wrong_bytes() {
    return {
        {"nothing_there",
         [](const Victim& v) { v.vanish(); },
         Status::domain_not_found,
         {"no domain"}},
        {"an_empty_file",
         [](const Victim& v) { v.resize(0); },
         Status::corrupt,
         {"has 0 bytes", "4096"}},
        {"one_byte",
         [](const Victim& v) { v.resize(1); },
         Status::corrupt,
         {"has 1 bytes", "4096"}},
        {"a_page_less_one_byte",
         [](const Victim& v) { v.resize(4095); },
         Status::corrupt,
         {"has 4095 bytes"}},
        {"the_header_alone",
         [](const Victim& v) { v.resize(4096); },
         Status::corrupt,
         {"has 4096 bytes", "truncated"}},
        {"one_page_missing",
         [](const Victim& v) { v.resize(v.size() - 4096); },
         Status::corrupt,
         {"truncated"}},
        {"one_byte_missing",
         [](const Victim& v) { v.resize(v.size() - 1); },
         Status::corrupt,
         {"truncated"}},
        {"one_page_too_many",
         [](const Victim& v) { v.resize(v.size() + 4096); },
         Status::corrupt,
         {"extended"}},
        {"a_foreign_file",
         instead([](const char* path) { make_file(path, 9000); }),
         Status::corrupt,
         {"not a telpher segment", "magic"}},
        {"a_terabyte_of_nothing",
         [](const Victim& v) { v.resize(1ULL << 40U); },
         Status::corrupt,
         {"has 1099511627776 bytes", "extended"}},
        {"zeros",
         [](const Victim& v) {
             const std::uint64_t bytes = v.size();
             v.resize(0);
             v.resize(bytes);
         },
         Status::corrupt,
         {"not a telpher segment", "magic"}},
    };
}

std::vector<Refusal> files_of_another_kind() {
    return {
        {"a_symbolic_link",
         instead([](const char* path) { ASSERT_EQ(symlink("/dev/shm/nowhere", path), 0); }),
         Status::not_permitted,
         {"symbolic link"}},
        {"a_symbolic_link_to_a_sound_domain",
         [](const Victim& v) {
             // What was the domain lies beside it: a link that leads to a sound segment.
             const std::string beside = std::string(v.path()) + ".beside";
             ASSERT_EQ(rename(v.path(), beside.c_str()) + symlink(beside.c_str(), v.path()), 0);
         },
         Status::not_permitted,
         {"symbolic link", "squats"}},
        {"a_link_that_leads_in_circles",
         instead([](const char* path) { ASSERT_EQ(symlink(path, path), 0); }),
         Status::not_permitted,
         {"symbolic link"}},
        {"a_device",
         instead([](const char* path) {
             ASSERT_EQ(mknod(path, S_IFCHR | 0600, makedev(1, 3)), 0);  // that of /dev/null
         }),
         Status::corrupt,
         {"not a regular file"},
         true},
        {"a_fifo",
         instead([](const char* path) { ASSERT_EQ(mkfifo(path, 0600), 0); }),
         Status::corrupt,
         {"not a regular file"}},
        {"a_folder",
         instead([](const char* path) { ASSERT_EQ(mkdir(path, 0700), 0); }),
         Status::corrupt,
         {"folder"}},
        {"a_socket",
         instead([](const char* path) { make_socket(path); }),
         Status::corrupt,
         {"socket"}},
    };
}

std::vector<Refusal> files_of_others() {
    return {
        {"readable_by_others", mode(0644), Status::not_permitted, {"mode 0644", "0600 and 0660"}},
        {"writable_by_others", mode(0666), Status::not_permitted, {"mode 0666"}},
        {"everything_for_everybody", mode(0777), Status::not_permitted, {"mode 0777"}},
        {"executable", mode(0700), Status::not_permitted, {"mode 0700"}},
        {"another_owner",
         [](const Victim& v) { ASSERT_EQ(chown(v.path(), 65534, 65534), 0); },
         Status::not_permitted,
         {"belongs to user 65534"},
         true},
        {"another_owner_and_a_foreign_group",
         [](const Victim& v) {
             ASSERT_EQ(chmod(v.path(), 0660) + chown(v.path(), 65534, 65533), 0);
         },
         Status::not_permitted,
         {"belongs to user 65534"},
         true},
    };
}

}  // namespace
}  // namespace telpher::test
