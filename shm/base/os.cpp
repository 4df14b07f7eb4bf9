#include "shm/base/os.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace telpher::shm {

std::atomic<std::uint32_t> g_fork_count{
    0};  // process-wide by nature: a child must know that it is one

namespace {

std::atomic<void (*)()> g_in_child{nullptr};

void after_fork_in_child() {
    // relaxed: the child has one thread
    g_fork_count.fetch_add(1, std::memory_order_relaxed);
    // relaxed: as above
    if (auto* action = g_in_child.load(std::memory_order_relaxed)) {
        action();
    }
}

std::string read_small_file(const char* path) {
    std::string text;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) {
        return text;
    }
    char buffer[1024];
    const ssize_t got = read(descriptor, buffer, sizeof buffer);
    if (got > 0) {
        text.assign(buffer, static_cast<std::size_t>(got));
    }
    close(descriptor);
    return text;
}

struct flock byte_lock(short type, std::uint64_t offset) {
    struct flock lock {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = static_cast<off_t>(offset);
    lock.l_len = 1;
    return lock;
}

}  // namespace

Result<void> fill_random(void* out, std::size_t size_bytes) {
    auto* bytes = static_cast<unsigned char*>(out);
    while (size_bytes != 0) {
        const ssize_t got = getrandom(bytes, size_bytes, 0);
        if (got < 0) {
            if (errno == EINTR) {
                continue;
            }
            return Error{Status::server_error, errno, errno_text("getrandom", errno)};
        }
        bytes += got;
        size_bytes -= static_cast<std::size_t>(got);
    }
    return {};
}

Result<Uuid> random_uuid() {
    Uuid uuid{};
    if (auto filled = fill_random(uuid.data(), uuid.size()); !filled) {
        return filled.error();
    }
    uuid[6] = static_cast<std::uint8_t>((uuid[6] & 0x0FU) | 0x40U);  // version 4, RFC 4122
    uuid[8] = static_cast<std::uint8_t>((uuid[8] & 0x3FU) | 0x80U);
    return uuid;
}

std::string to_string(const Uuid& uuid) {
    std::string text;
    for (const std::uint8_t byte : uuid) {
        char digits[3];
        std::snprintf(digits, sizeof digits, "%02x", byte);
        text += digits;
    }
    return text;
}

Uuid boot_id() {
    Uuid id{};
    std::size_t digit = 0;
    for (const char c : read_small_file("/proc/sys/kernel/random/boot_id")) {
        int value = -1;
        if (c >= '0' && c <= '9') {
            value = c - '0';
        } else if (c >= 'a' && c <= 'f') {
            value = c - 'a' + 10;
        }
        if (value >= 0 && digit < 32) {
            id[digit / 2] = static_cast<std::uint8_t>(id[digit / 2] << 4 | value);
            ++digit;
        }
    }
    return id;
}

std::uint64_t pid_namespace() {
    struct stat facts {};
    return stat("/proc/self/ns/pid", &facts) == 0 ? facts.st_ino : 0;
}

std::uint64_t process_start_time(std::uint32_t pid) {
    char path[40];
    std::snprintf(path, sizeof path, "/proc/%u/stat", pid);
    const std::string text = read_small_file(path);
    // The command (field 2) may hold blanks and parentheses: count fields from the last ')'.
    const std::size_t end = text.rfind(')');
    if (end == std::string::npos) {
        return 0;
    }
    std::size_t at = end + 1;
    for (int field = 2; field < 22; ++field) {
        at = text.find(' ', at);
        if (at == std::string::npos) {
            return 0;
        }
        ++at;
    }
    return std::strtoull(text.c_str() + at, nullptr, 10);
}

std::string errno_text(const char* what, int error) {
    char buffer[128];
    return std::string(what) + ": " + strerror_r(error, buffer, sizeof buffer);
}

void count_forks() {
    static const bool registered = [] {
        return pthread_atfork(nullptr, nullptr, after_fork_in_child) == 0;
    }();
    static_cast<void>(registered);
}

void watch_forks(void (*in_child)()) {
    count_forks();
    g_in_child.store(in_child,
                     std::memory_order_relaxed);  // relaxed: read only after a later fork by this
                                                  // thread or ordered by the registry's mutex
}

LockResult try_lock_byte(int descriptor, std::uint64_t offset) noexcept {
    struct flock lock = byte_lock(F_WRLCK, offset);
    if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) {
        return LockResult::locked;
    }
    return errno == EAGAIN || errno == EACCES ? LockResult::busy : LockResult::failed;
}

LockResult try_share_byte(int descriptor, std::uint64_t offset) noexcept {
    struct flock lock = byte_lock(F_RDLCK, offset);
    if (fcntl(descriptor, F_OFD_SETLK, &lock) == 0) {
        return LockResult::locked;
    }
    return errno == EAGAIN || errno == EACCES ? LockResult::busy : LockResult::failed;
}

void unlock_byte(int descriptor, std::uint64_t offset) noexcept {
    struct flock lock = byte_lock(F_UNLCK, offset);
    static_cast<void>(fcntl(descriptor, F_OFD_SETLK, &lock));
}

bool byte_is_locked(int descriptor, std::uint64_t offset) noexcept {
    struct flock lock = byte_lock(F_WRLCK, offset);
    return fcntl(descriptor, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

}  // namespace telpher::shm
