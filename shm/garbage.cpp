#include "shm/garbage.hpp"

#include "shm/base/step.hpp"
#include "shm/directory.hpp"
#include "shm/process_table.hpp"
#include "shm/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>

namespace telpher::shm {
namespace {

Result<std::vector<std::string>> list_files() {
    DIR* folder = opendir(std::string(kShmFolder).c_str());
    if (folder == nullptr) {
        return Error{Status::server_error, errno, errno_text("opening /dev/shm", errno)};
    }
    std::vector<std::string> files;
    while (const dirent* item =
               readdir(folder)) {  // NOLINT(concurrency-mt-unsafe): the stream is ours alone
        if (std::string_view(item->d_name).starts_with(kFilePrefix)) {
            files.emplace_back(item->d_name);
        }
    }
    closedir(folder);
    std::sort(files.begin(), files.end());
    return files;
}

// A descriptor of a file whose content nobody has checked.
class RawFile {
  public:
    explicit RawFile(const std::string& file)
        : descriptor_(open(path_of(file).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {}
    RawFile(const RawFile&) = delete;
    RawFile& operator=(const RawFile&) = delete;
    ~RawFile() {
        if (descriptor_ >= 0) {
            close(descriptor_);
        }
    }
    [[nodiscard]] int descriptor() const { return descriptor_; }
    [[nodiscard]] bool ours() const {
        struct stat facts {};
        return fstat(descriptor_, &facts) == 0 && S_ISREG(facts.st_mode) &&
               (facts.st_uid == geteuid() || geteuid() == 0);
    }
    [[nodiscard]] bool is(const std::string& file) const {
        struct stat mine {};
        struct stat found {};
        return fstat(descriptor_, &mine) == 0 && lstat(path_of(file).c_str(), &found) == 0 &&
               mine.st_ino == found.st_ino && mine.st_dev == found.st_dev;
    }
    // Whether any process, thread or creator holds a lock in it.
    [[nodiscard]] bool in_use() const {
        struct flock lock {};
        lock.l_type = F_WRLCK;
        lock.l_whence = SEEK_SET;
        lock.l_start = static_cast<off_t>(kLockBase);
        lock.l_len = static_cast<off_t>(kCreatorLock - kLockBase + 1);
        return fcntl(descriptor_, F_OFD_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
    }

  private:
    int descriptor_;
};

// The domain's name in a private file name.
std::string domain_of(const std::string& file) {
    const std::size_t last = file.rfind('.');
    return file.substr(kFilePrefix.size(), last - 33 - kFilePrefix.size());
}

// Why a file may go, empty if it may not. `file` is private or public.
std::string why_garbage(const std::string& file, const RawFile& raw) {
    if (raw.in_use()) {
        return {};
    }
    if (is_private_file(file) && !is_first_file(file)) {
        // A data segment goes with its domain's first segment, which is always there before it.
        return RawFile(sibling_file(file, 0)).descriptor() < 0 && errno == ENOENT
                   ? "a data segment of a domain that is gone"
                   : "";
    }
    if (is_private_file(file) && !raw.is(public_file(domain_of(file)))) {
        return "left behind by a process that was killed while it made or removed a domain";
    }
    const auto segment = Segment::open(file);
    if (!segment) {
        return {};
    }
    // S2: pairs with segment.cpp:S1.
    if (segment->header().state.load(std::memory_order_acquire) ==
        static_cast<std::uint32_t>(DomainState::removed)) {
        return "a removed domain whose remover was killed";
    }
    return segment->ephemeral() ? "an ephemeral domain all of whose processes are dead" : "";
}

enum class Names { one, both };  // of a file: the one it was found by, or the private one too

// Takes a name away from a file, under the file's directory lock, as everybody who takes names does:
// so that no attacher is between two steps, and no new domain has the name. 0, EAGAIN (somebody else
// holds the lock), ENOENT (the name is gone, or leads to another file), or unlink's errno.
// Killed after the mark: whoever meets the name next takes it away.
int take_away(const std::string& file, const RawFile& raw, Names names) {
    if (try_lock_byte(raw.descriptor(), kDirectoryLock) != LockResult::locked) {
        return EAGAIN;
    }
    int error = ENOENT;
    if (raw.is(file)) {
        auto segment = Segment::open(file);
        if (segment && !is_private_file(file)) {
            SHM_STEP("sweep.mark");
            // S3: pairs with attachment.cpp:S2. Whoever opened the file before sees it after
            // joining.
            segment->header().state.store(static_cast<std::uint32_t>(DomainState::removed),
                                          std::memory_order_seq_cst);
        }
        SHM_STEP("sweep.unlink");
        error = ::unlink(path_of(file).c_str()) == 0 ? 0 : errno;
        if (error == 0 && segment && names == Names::both) {
            segment->unlink();  // what is left: the private name
        }
    }
    unlock_byte(raw.descriptor(), kDirectoryLock);
    return error;
}

Error gone_meanwhile(std::string_view name) {
    return {
        Status::domain_not_found, 0, "domain '" + std::string(name) + "' was removed meanwhile"};
}

Error not_removed(int error) {
    return {Status::not_permitted, error, errno_text("removing the file", error)};
}

}  // namespace

Result<std::vector<std::string>> list_domain_files() {
    auto files = list_files();
    if (!files) {
        return files.error();
    }
    std::vector<std::string> names;
    for (const std::string& file : *files) {
        if (!is_private_file(file) && RawFile(file).descriptor() >= 0) {
            names.push_back(file.substr(kFilePrefix.size()));
        }
    }
    return names;
}

Result<std::vector<Leftover>> sweep(bool dry_run) {
    std::vector<Leftover> all;
    // Twice: taking a public name away turns its private file into garbage.
    for (int round = 0; round < (dry_run ? 1 : 2); ++round) {
        auto files = list_files();
        if (!files) {
            return files.error();
        }
        for (const std::string& file : *files) {
            const RawFile raw(file);
            if (raw.descriptor() < 0 || !raw.ours()) {
                continue;
            }
            std::string reason = why_garbage(file, raw);
            if (!reason.empty() && (dry_run || take_away(file, raw, Names::one) == 0)) {
                all.push_back({path_of(file), std::move(reason)});
            }
        }
    }
    return all;
}

Result<void> remove_files(std::string_view name, bool force) {
    if (auto named = check_domain_name(name); !named) {
        return named;
    }
    const std::string file = public_file(name);
    const RawFile raw(file);
    if (raw.descriptor() < 0) {
        const int error = errno;
        struct stat facts {};
        if (lstat(path_of(file).c_str(), &facts) != 0) {
            return Error{Status::domain_not_found,
                         error,
                         "no domain '" + std::string(name) + "' on this machine"};
        }
        if (!force) {
            return Error{
                Status::not_permitted,
                error,
                errno_text(path_of(file).c_str(), error) + "; use force to take the name away"};
        }
        if (::unlink(path_of(file).c_str()) == 0) {
            return {};
        }
        return errno == ENOENT ? gone_meanwhile(name) : not_removed(errno);
    }
    if (raw.in_use() && !force) {
        return Error{Status::not_permitted,
                     0,
                     "processes are attached to domain '" + std::string(name) +
                         "'; use force to remove it under them"};
    }
    const auto deadline = std::chrono::steady_clock::now() + kDirectoryPatience;
    for (;;) {
        const int error = take_away(file, raw, Names::both);
        if (error == 0) {
            return {};
        }
        if (error == ENOENT) {
            return gone_meanwhile(name);
        }
        if (error != EAGAIN) {
            return not_removed(error);
        }
        if (std::chrono::steady_clock::now() >= deadline) {
            return Error{Status::timed_out,
                         0,
                         "another process (stopped?) holds the directory lock of domain '" +
                             std::string(name) + "'"};
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace telpher::shm
