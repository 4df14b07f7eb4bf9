#pragma once
// The table of attach_refusal_test.cpp: files and headers that are no sound domain, each with the
// status and the words it is refused with.

#include "shm/layout.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
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

std::vector<Refusal> files_that_are_no_segment() {
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
        {"a_symbolic_link",
         instead([](const char* path) { ASSERT_EQ(symlink("/dev/shm/nowhere", path), 0); }),
         Status::not_permitted,
         {"symbolic link"}},
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

std::vector<Refusal> headers_of_other_builds() {
    return {
        {"a_wrong_magic_number",
         put(offsetof(SegmentHeader, magic), std::uint64_t{1}),
         Status::corrupt,
         {"magic"}},
        {"an_older_major_version",
         put(offsetof(SegmentHeader, layout_major), std::uint16_t{0}),
         Status::version_mismatch,
         {"version 0", "reads 1"}},
        {"a_newer_major_version",
         put(offsetof(SegmentHeader, layout_major), std::uint16_t{2}),
         Status::version_mismatch,
         {"version 2", "reads 1"}},
        {"an_unknown_feature",
         put(offsetof(SegmentHeader, features), std::uint64_t{1}),
         Status::version_mismatch,
         {"feature bits 1"}},
        {"another_abi_hash",
         put(offsetof(SegmentHeader, abi_hash), std::uint64_t{1}),
         Status::version_mismatch,
         {"ABI hash"}},
        {"another_header_size",
         put(offsetof(SegmentHeader, header_bytes), std::uint32_t{64}),
         Status::version_mismatch,
         {"structure sizes"}},
        {"another_boot",
         put(offsetof(SegmentHeader, boot_id), std::uint64_t{1}),
         Status::corrupt,
         {"boot id"}},
        {"another_size_in_the_header",
         put(offsetof(SegmentHeader, segment_bytes), std::uint64_t{1} << 40U),
         Status::corrupt,
         {"its header says 1099511627776"}},
        {"an_unknown_state",
         put(offsetof(SegmentHeader, state), std::uint32_t{3}),
         Status::corrupt,
         {"state", "is 3"}},
        {"another_name_inside",
         put(offsetof(SegmentHeader, name), 'Z'),
         Status::corrupt,
         {"another name"}},
        {"a_nonsense_name_inside",
         put(offsetof(SegmentHeader, name), '/'),
         Status::corrupt,
         {"another name"}},
    };
}

std::vector<Refusal> counts_out_of_range() {
    const auto count = [](const char* name, std::size_t at, std::uint32_t value, const char* text) {
        return Refusal{name, put(at, value), Status::corrupt, {text}};
    };
    return {
        count("no_processes",
              offsetof(SegmentHeader, processes_max),
              0,
              "processes is 0, allowed are 1..1024"),
        count("too_many_processes",
              offsetof(SegmentHeader, processes_max),
              1025,
              "processes is 1025, allowed are 1..1024"),
        count("no_threads",
              offsetof(SegmentHeader, threads_max),
              0,
              "threads is 0, allowed are 1..4096"),
        count("too_many_threads", offsetof(SegmentHeader, threads_max), 4097, "threads is 4097"),
        count("no_destinations", offsetof(SegmentHeader, destinations_max), 0, "destinations is 0"),
        count("too_many_destinations",
              offsetof(SegmentHeader, destinations_max),
              ~0U,
              "destinations is 4294967295"),
        count("no_chunk_classes", offsetof(SegmentHeader, class_count), 0, "chunk classes is 0"),
        count("too_many_chunk_classes",
              offsetof(SegmentHeader, class_count),
              17,
              "chunk classes is 17, allowed are 1..16"),
        count("no_regions", offsetof(SegmentHeader, region_count), 0, "regions is 0"),
        count("too_many_regions",
              offsetof(SegmentHeader, region_count),
              33,
              "regions is 33, allowed are 1..32"),
        count("no_name", offsetof(SegmentHeader, name_bytes), 0, "bytes of the name is 0"),
        count("a_name_too_long",
              offsetof(SegmentHeader, name_bytes),
              101,
              "bytes of the name is 101"),
        count("an_unknown_lifetime", offsetof(SegmentHeader, lifetime), 2, "lifetime is 2"),
    };
}

std::vector<Refusal> regions_and_classes() {
    constexpr std::size_t kOffset = offsetof(shm::Region, offset);
    constexpr std::size_t kBytes = offsetof(shm::Region, bytes);
    constexpr std::size_t kKind = offsetof(shm::Region, kind);
    const std::size_t first = Victim::region(0);
    const std::size_t klass = Victim::chunk_class(1);
    return {
        {"a_region_beyond_the_end",
         put(first + kOffset, std::uint64_t{1} << 30U),
         Status::corrupt,
         {"region 0", "outside the segment"}},
        {"a_region_whose_end_overflows",
         put(first + kBytes, ~std::uint64_t{0}),
         Status::corrupt,
         {"region 0", "outside"}},
        {"a_region_whose_offset_overflows",
         put(first + kOffset, ~std::uint64_t{4095}),
         Status::corrupt,
         {"region 0", "outside"}},
        {"a_region_on_the_header",
         put(first + kOffset, std::uint64_t{0}),
         Status::corrupt,
         {"region 0"}},
        {"a_region_off_its_page",
         put(first + kOffset, std::uint64_t{4097}),
         Status::corrupt,
         {"region 0"}},
        {"a_region_too_small",
         put(first + kBytes, std::uint64_t{128}),
         Status::corrupt,
         {"region 0", "fewer"}},
        {"a_region_there_twice",
         put(Victim::region(1) + kKind, std::uint32_t{1}),
         Status::corrupt,
         {"region 1", "twice"}},
        {"a_region_missing",
         put(offsetof(SegmentHeader, region_count), std::uint32_t{6}),
         Status::corrupt,
         {"missing"}},
        {"an_unknown_required_region",
         put(first + kKind, std::uint32_t{99}),
         Status::version_mismatch,
         {"kind 99", "required and unknown"}},
        {"a_class_of_no_size", put(klass, std::uint32_t{0}), Status::corrupt, {"chunk class 1"}},
        {"a_class_of_odd_size", put(klass, std::uint32_t{200}), Status::corrupt, {"chunk class 1"}},
        {"a_class_of_huge_chunks",
         put(klass, std::uint32_t{1} << 31U),
         Status::corrupt,
         {"chunk class 1"}},
        {"a_class_without_chunks",
         put(klass + 4, std::uint32_t{0}),
         Status::corrupt,
         {"chunk class 1"}},
        {"a_class_of_too_many_chunks",
         put(klass + 4, ~std::uint32_t{0}),
         Status::corrupt,
         {"chunk class 1"}},
        {"a_class_with_another_first_number",
         put(klass + 8, std::uint32_t{64}),
         Status::corrupt,
         {"chunk class 1"}},
        {"a_class_outside_its_region",
         put(klass + 16, std::uint64_t{4096}),
         Status::corrupt,
         {"chunk class 1", "outside"}},
        {"a_class_whose_offset_overflows",
         put(klass + 16, ~std::uint64_t{63}),
         Status::corrupt,
         {"chunk class 1", "outside"}},
    };
}

}  // namespace
}  // namespace telpher::test
