#include "tcp_bridge/config_files.hpp"

#include "shm/base/os.hpp"
#include "tcp_bridge/pin.hpp"

#include <openssl/crypto.h>

#include <fcntl.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::bridge {
namespace {

class Descriptor {
  public:
    explicit Descriptor(int number) : number_(number) {}
    ~Descriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    [[nodiscard]] int get() const noexcept { return number_; }
    [[nodiscard]] int release() noexcept { return std::exchange(number_, -1); }

  private:
    int number_;
};

Error system_error(const std::string& what, int error) {
    return {Status::server_error, error, shm::errno_text(what.c_str(), error)};
}

Error file_refused(const std::string& detail) { return {Status::not_permitted, 0, detail}; }

// nullptr for a variable that is not set or empty.
const char* variable(const char* name) {
    const char* const value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): never set by us
    return value == nullptr || *value == '\0' ? nullptr : value;
}

std::string home() {
    if (const char* const set = variable("HOME")) {
        return set;
    }
    std::array<char, 4096> memory{};
    passwd entry{};
    passwd* found = nullptr;
    getpwuid_r(geteuid(), &entry, memory.data(), memory.size(), &found);
    return found == nullptr ? std::string() : std::string(found->pw_dir);
}

std::string without_slash(std::string path) {
    while (path.size() > 1 && path.back() == '/') {
        path.pop_back();
    }
    return path;
}

std::string folder_of(const std::string& path) {
    const auto slash = path.rfind('/');
    return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string octal(mode_t mode) {
    std::array<char, 8> text{};
    std::snprintf(text.data(), text.size(), "%04o", mode & 07777U);
    return text.data();
}

Result<void> check_facts(const std::string& path, const struct stat& facts, FileKind kind) {
    if (!S_ISREG(facts.st_mode)) {
        return file_refused(path + " is no regular file");
    }
    if (kind == FileKind::open) {
        return {};
    }
    if (facts.st_uid != geteuid() && facts.st_uid != 0) {
        return file_refused(path + " belongs to user " + std::to_string(facts.st_uid) +
                            ", neither to this one nor to root; make a file of your own");
    }
    const bool secret = kind == FileKind::secret;
    if ((facts.st_mode & (secret ? 077U : 022U)) != 0) {
        return file_refused(
            path + " has mode " + octal(facts.st_mode) + ": others may " +
            (secret ? "read or write it; run `chmod 600 " : "write it; run `chmod go-w ") + path +
            "`" + (secret ? ", and make a new one if somebody may have read it" : ""));
    }
    return {};
}

Result<FileText> read_all(const std::string& path, int descriptor, std::size_t size) {
    if (size > kConfigFileBytesMax) {
        return Error{Status::limit_reached, 0, path + " is larger than 1 MiB"};
    }
    // Sized once: a string that grew would leave copies of a secret behind.
    std::string text(size + 1, '\0');
    std::size_t got = 0;
    while (got < text.size()) {
        const auto bytes = ::read(descriptor, text.data() + got, text.size() - got);
        if (bytes < 0 && errno == EINTR) {
            continue;
        }
        if (bytes < 0) {
            return system_error("reading " + path, errno);
        }
        if (bytes == 0) {
            break;
        }
        got += static_cast<std::size_t>(bytes);
    }
    text.resize(got);
    return FileText(std::move(text));
}

Result<void> write_all(const std::string& path,
                       int descriptor,
                       std::string_view text,
                       mode_t mode) {
    while (!text.empty()) {
        const auto written = ::write(descriptor, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return system_error("writing " + path, errno);
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    // The mode as asked for, whatever the umask took away.
    if (fchmod(descriptor, mode) != 0 || fsync(descriptor) != 0) {
        return system_error("writing " + path, errno);
    }
    return {};
}

void sync_folder(const std::string& path) {
    const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() >= 0) {
        fsync(folder.get());  // a file system that cannot is left to its own care
    }
}

// Writes a file beside `path`, then gives it that name by link (never in another's place) or rename.
Result<void> publish(const std::string& path, std::string_view text, mode_t mode, bool replace) {
    std::array<std::uint8_t, 8> random{};
    if (auto filled = shm::fill_random(random.data(), random.size()); !filled) {
        return filled;
    }
    const std::string name = path + "." + to_hex(random.data(), random.size()) + ".new";
    const Descriptor file(
        ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0) {
        return system_error("making " + name, errno);
    }
    Result<void> done = write_all(name, file.get(), text, mode);
    if (done && replace && ::rename(name.c_str(), path.c_str()) != 0) {
        done = system_error("replacing " + path, errno);
    } else if (done && !replace && ::link(name.c_str(), path.c_str()) != 0) {
        done = errno == EEXIST ? Error{Status::already_exists, EEXIST, path + " exists already"}
                               : system_error("making " + path, errno);
    }
    if (!replace || !done) {
        ::unlink(name.c_str());
    }
    if (done) {
        sync_folder(path);
    }
    return done;
}

}  // namespace

Result<std::string> config_dir(const std::string& given) {
    if (!given.empty()) {
        return without_slash(given);
    }
    if (const char* const set = variable("TELPHER_CONFIG_DIR")) {
        return without_slash(set);
    }
    // A relative one is to be ignored (XDG Base Directory Specification).
    if (const char* const set = variable("XDG_CONFIG_HOME"); set != nullptr && *set == '/') {
        return without_slash(set) + "/telpher";
    }
    const std::string at_home = home();
    if (at_home.empty()) {
        return Error{Status::bad_request, 0, "no home folder: set TELPHER_CONFIG_DIR"};
    }
    return without_slash(at_home) + "/.config/telpher";
}

Result<void> make_config_dir(const std::string& dir) {
    for (std::size_t at = 0; at != std::string::npos;) {
        at = dir.find('/', at + 1);
        if (::mkdir(dir.substr(0, at).c_str(), 0700) != 0 && errno != EEXIST &&
            at == std::string::npos) {
            return system_error("making the folder " + dir, errno);
        }
    }
    struct stat facts {};
    if (::stat(dir.c_str(), &facts) != 0) {
        return system_error("looking at the folder " + dir, errno);
    }
    if (!S_ISDIR(facts.st_mode)) {
        return file_refused(dir + " is no folder");
    }
    if ((facts.st_mode & 022U) != 0) {
        return file_refused("the folder " + dir + " has mode " + octal(facts.st_mode) +
                            ": others may write to it; run `chmod go-w " + dir + "`");
    }
    return {};
}

FileText::~FileText() { OPENSSL_cleanse(text_.data(), text_.size()); }

FileText& FileText::operator=(FileText&& other) noexcept {
    std::swap(text_, other.text_);
    return *this;
}

Result<FileText> read_config_file(const std::string& path, FileKind kind) {
    // Never waits for whoever would write to a named pipe of this name.
    const int follow = kind == FileKind::open ? 0 : O_NOFOLLOW;
    const Descriptor file(
        ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | follow));
    if (file.get() < 0) {
        const int error = errno;
        if (error == ENOENT || error == ENOTDIR) {
            return Error{Status::bad_request, ENOENT, path + " does not exist"};
        }
        if (error == ELOOP) {
            return Error{Status::not_permitted,
                         error,
                         path + " is a symbolic link; put the file itself there"};
        }
        if (error == EACCES) {
            return Error{Status::not_permitted, error, path + " may not be read by this user"};
        }
        return error == ENXIO ? file_refused(path + " is no regular file")
                              : system_error("opening " + path, error);
    }
    struct stat facts {};
    if (fstat(file.get(), &facts) != 0) {
        return system_error("looking at " + path, errno);
    }
    if (auto checked = check_facts(path, facts, kind); !checked) {
        return checked.error();
    }
    return read_all(path, file.get(), static_cast<std::size_t>(facts.st_size));
}

bool is_missing(const Error& error) noexcept { return error.os_error == ENOENT; }

Result<void> create_config_file(const std::string& path, std::string_view text, mode_t mode) {
    return publish(path, text, mode, false);
}

Result<void> replace_config_file(const std::string& path, std::string_view text, mode_t mode) {
    return publish(path, text, mode, true);
}

Result<ConfigLock> ConfigLock::take(const std::string& path) {
    constexpr auto kWait = std::chrono::seconds(2);
    constexpr auto kPause = std::chrono::milliseconds(2);
    Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0) {
        return system_error("opening " + path, errno);
    }
    const auto end = std::chrono::steady_clock::now() + kWait;
    for (;;) {
        const auto result = shm::try_lock_byte(file.get(), 0);
        if (result == shm::LockResult::locked) {
            return ConfigLock(file.release());
        }
        if (result == shm::LockResult::failed) {
            return system_error("locking " + path, errno);
        }
        if (std::chrono::steady_clock::now() > end) {
            return Error{Status::timed_out, 0, path + " is locked by another process"};
        }
        std::this_thread::sleep_for(kPause);
    }
}

ConfigLock::~ConfigLock() {
    if (descriptor_ >= 0) {
        ::close(descriptor_);  // gives the lock back
    }
}

ConfigLock::ConfigLock(ConfigLock&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

}  // namespace telpher::bridge
