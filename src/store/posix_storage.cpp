#include "src/store/posix_storage.hpp"

#include "shm/base/os.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

namespace telpher::store {
namespace {

constexpr const char* kLockName = "lock";
constexpr mode_t kFileMode = 0600;
constexpr mode_t kFolderMode = 0700;

class Descriptor {
  public:
    explicit Descriptor(int number) noexcept : number_(number) {}
    Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
        std::swap(number_, other.number_);
        return *this;
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (number_ >= 0) {
            ::close(number_);
        }
    }
    [[nodiscard]] int get() const noexcept { return number_; }
    [[nodiscard]] bool valid() const noexcept { return number_ >= 0; }

  private:
    int number_;
};

Error failed(const char* what, const std::string& path, int error) {
    return Error{
        Status::storage_failed, error, shm::errno_text((what + (" " + path)).c_str(), error)};
}

// Repeats a system call that a signal interrupted: the caller of a library does not know that it made one.
template <class Call>
auto uninterrupted(Call call) {
    auto result = call();
    while (result < 0 && errno == EINTR) {
        result = call();
    }
    return result;
}

class PosixFile final : public File {
  public:
    PosixFile(Descriptor descriptor, std::string path)
        : descriptor_(std::move(descriptor)), path_(std::move(path)) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
        std::size_t done = 0;
        while (done < out.size()) {
            const ssize_t got = uninterrupted([&] {
                return ::pread(descriptor_.get(),
                               out.data() + done,
                               out.size() - done,
                               static_cast<off_t>(offset + done));
            });
            if (got < 0) {
                return failed("read", path_, errno);
            }
            if (got == 0) {
                break;
            }
            done += static_cast<std::size_t>(got);
        }
        return done;
    }

    Result<void> write(std::uint64_t offset, std::span<const Bytes> parts) override {
        std::size_t skip = 0;  // of the first part, behind a short write
        while (!parts.empty()) {
            std::array<iovec, 256> vectors{};
            std::size_t count = 0;
            for (const Bytes part : parts.first(std::min(parts.size(), vectors.size()))) {
                const Bytes rest = part.subspan(count == 0 ? skip : 0);
                vectors[count++] = {const_cast<std::byte*>(rest.data()), rest.size()};
            }
            const ssize_t wrote = uninterrupted([&] {
                return ::pwritev(descriptor_.get(),
                                 vectors.data(),
                                 static_cast<int>(count),
                                 static_cast<off_t>(offset));
            });
            if (wrote < 0) {
                return failed("write", path_, errno);
            }
            offset += static_cast<std::uint64_t>(wrote);
            skip += static_cast<std::size_t>(wrote);
            while (!parts.empty() && skip >= parts.front().size()) {
                skip -= parts.front().size();
                parts = parts.subspan(1);
            }
            if (wrote == 0 && !parts.empty()) {
                return failed("write", path_, ENOSPC);
            }
        }
        return {};
    }

    Result<void> reserve(std::uint64_t size_bytes) override {
        int error = EINTR;
        while (error == EINTR) {
            error = ::posix_fallocate(descriptor_.get(), 0, static_cast<off_t>(size_bytes));
        }
        return error == 0 ? Result<void>() : failed("reserve room for", path_, error);
    }

    Result<void> truncate(std::uint64_t size_bytes) override {
        const int result = uninterrupted(
            [&] { return ::ftruncate(descriptor_.get(), static_cast<off_t>(size_bytes)); });
        return result == 0 ? Result<void>() : failed("truncate", path_, errno);
    }

    // Not repeated: the kernel may have forgotten by then what it could not write.
    Result<void> sync() override {
        return ::fdatasync(descriptor_.get()) == 0 ? Result<void>() : failed("sync", path_, errno);
    }

    Result<std::uint64_t> size_bytes() override {
        struct stat facts {};
        if (::fstat(descriptor_.get(), &facts) != 0) {
            return failed("look at", path_, errno);
        }
        return static_cast<std::uint64_t>(facts.st_size);
    }

  private:
    Descriptor descriptor_;
    std::string path_;
};

class Folder final : public Storage {
  public:
    Folder(Descriptor descriptor, std::string path)
        : folder_(std::move(descriptor)), lock_(-1), path_(std::move(path)) {}

    Result<void> lock() override { return hold(shm::try_lock_byte); }
    Result<void> share() override { return hold(shm::try_share_byte); }

    Result<std::unique_ptr<File>> create(const std::string& name) override {
        Descriptor file(opened(name, O_RDWR | O_CREAT | O_EXCL));
        if (!file.valid()) {
            Error error = failed("create", path_of(name), errno);
            error.status = errno == EEXIST ? Status::already_exists : error.status;
            return error;
        }
        return file_of(std::move(file), name);
    }

    Result<std::unique_ptr<File>> open(const std::string& name, Access access) override {
        Descriptor file(opened(name, access == Access::read ? O_RDONLY : O_RDWR));
        if (!file.valid()) {
            return failed("open", path_of(name), errno);
        }
        struct stat facts {};
        if (::fstat(file.get(), &facts) != 0) {
            return failed("look at", path_of(name), errno);
        }
        if (!S_ISREG(facts.st_mode)) {
            return Error{Status::bad_request, 0, path_of(name) + " is no regular file"};
        }
        return file_of(std::move(file), name);
    }

    Result<std::vector<std::string>> list() override {
        const int copy = ::openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        const std::unique_ptr<DIR, int (*)(DIR*)> entries(
            copy < 0 ? nullptr : ::fdopendir(copy), [](DIR* open) { return ::closedir(open); });
        if (entries == nullptr) {
            const int error = errno;
            if (copy >= 0) {
                ::close(copy);
            }
            return failed("list", path_, error);
        }
        std::vector<std::string> names;
        for (;;) {
            errno = 0;
            // NOLINTNEXTLINE(concurrency-mt-unsafe): each stream belongs to one call
            const dirent* entry = ::readdir(entries.get());
            if (entry == nullptr) {
                break;
            }
            if (const std::string name = entry->d_name; name != "." && name != "..") {
                names.push_back(name);
            }
        }
        return errno == 0 ? Result<std::vector<std::string>>(std::move(names))
                          : failed("list", path_, errno);
    }

    Result<void> rename(const std::string& from, const std::string& to) override {
        return ::renameat(folder_.get(), from.c_str(), folder_.get(), to.c_str()) == 0
                   ? Result<void>()
                   : failed("rename", path_of(from), errno);
    }

    Result<void> remove(const std::string& name) override {
        return ::unlinkat(folder_.get(), name.c_str(), 0) == 0
                   ? Result<void>()
                   : failed("remove", path_of(name), errno);
    }

    Result<void> sync_names() override {
        return ::fsync(folder_.get()) == 0 ? Result<void>() : failed("sync", path_, errno);
    }

    [[nodiscard]] std::string path_of(std::string_view name) const override {
        return path_ + "/" + std::string(name);
    }

  private:
    Result<void> hold(shm::LockResult (*how)(int, std::uint64_t) noexcept) {
        if (!lock_.valid()) {
            lock_ = Descriptor(opened(kLockName, O_RDWR | O_CREAT));
        }
        if (!lock_.valid()) {
            return failed("open", path_of(kLockName), errno);
        }
        switch (how(lock_.get(), 0)) {
            case shm::LockResult::locked:
                return {};
            case shm::LockResult::busy:
                return Error{Status::not_permitted,
                             0,
                             path_ + " is in use: another process holds its file \"" + kLockName +
                                 "\"; end that process, or use another folder"};
            case shm::LockResult::failed:
                break;
        }
        return failed("lock", path_of(kLockName), errno);
    }
    [[nodiscard]] int opened(const std::string& name, int flags) const {
        // Without waiting: a pipe of that name would hold us up for ever.
        constexpr int kAlways = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
        return uninterrupted(
            [&] { return ::openat(folder_.get(), name.c_str(), flags | kAlways, kFileMode); });
    }
    [[nodiscard]] std::unique_ptr<File> file_of(Descriptor file, const std::string& name) const {
        return std::make_unique<PosixFile>(std::move(file), path_of(name));
    }

    Descriptor folder_;
    Descriptor lock_;
    std::string path_;
};

// Its name is on disk when this returns: a log that nobody finds is lost.
Result<void> make_folder(const std::string& path) {
    if (::mkdir(path.c_str(), kFolderMode) != 0) {
        return errno == EEXIST ? Result<void>() : failed("make the folder", path, errno);
    }
    const std::string parent = std::filesystem::path(path + "/..").lexically_normal();
    const Descriptor folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    return folder.valid() && ::fsync(folder.get()) == 0 ? Result<void>()
                                                        : failed("sync", parent, errno);
}

}  // namespace

Result<std::unique_ptr<Storage>> open_folder(const std::string& path, FolderMode mode) {
    if (mode == FolderMode::create) {
        if (auto made = make_folder(path); !made) {
            return made.error();
        }
    }
    Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder.valid()) {
        return failed("open the folder", path, errno);
    }
    if (mode != FolderMode::read && ::faccessat(folder.get(), ".", W_OK | X_OK, AT_EACCESS) != 0) {
        return failed("write in the folder", path, errno);
    }
    return std::unique_ptr<Storage>(std::make_unique<Folder>(std::move(folder), path));
}

}  // namespace telpher::store
