// The files of the configuration folder: read only when nobody else can have tampered with them, and
// written so that another process, or a kill, never shows half of one.
//
//   Checks   as ssh makes them: regular files only, no symbolic links, owned by this user or root;
//            `secret` files may be readable by nobody else, `trusted` ones writable by nobody else
//   Threads  any number at once; all of it may block on the disk
#pragma once

#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace telpher::bridge {

// `open` files are certificates: links are followed, since those of a system usually are links.
enum class FileKind : std::uint8_t { secret, trusted, open };

inline constexpr std::size_t kConfigFileBytesMax = std::size_t{1} << 20U;

// `given`, or $TELPHER_CONFIG_DIR, $XDG_CONFIG_HOME/telpher, ~/.config/telpher, without a slash at the
// end. Errors: bad_request (none of them is set).
Result<std::string> config_dir(const std::string& given = {});
// Makes the folder (0700) and its parents where missing. Errors: not_permitted (others may write to
// it), server_error.
Result<void> make_config_dir(const std::string& dir);

// A file's text; forgotten with its owner: the memory is overwritten first.
class FileText {
  public:
    explicit FileText(std::string text) : text_(std::move(text)) {}
    ~FileText();
    FileText(FileText&& other) noexcept : text_(std::move(other.text_)) {}
    FileText& operator=(FileText&& other) noexcept;
    FileText(const FileText&) = delete;
    FileText& operator=(const FileText&) = delete;

    [[nodiscard]] std::string_view view() const noexcept { return text_; }

  private:
    std::string text_;
};

// Errors: bad_request (os_error ENOENT: there is none), not_permitted (what the checks above refuse,
// with the command that mends it), limit_reached (above 1 MiB), server_error.
Result<FileText> read_config_file(const std::string& path, FileKind kind);
[[nodiscard]] bool is_missing(const Error& error) noexcept;

// Makes `path`, whole or not at all, on the disk when this returns. Errors: already_exists, server_error.
Result<void> create_config_file(const std::string& path, std::string_view text, mode_t mode);
// The same, in the place of a file that may exist.
Result<void> replace_config_file(const std::string& path, std::string_view text, mode_t mode);

// Held by one process and thread at a time, and given back by whoever dies with it.
class ConfigLock {
  public:
    // Waits up to 2 s. Errors: timed_out, server_error.
    static Result<ConfigLock> take(const std::string& path);
    ~ConfigLock();
    ConfigLock(ConfigLock&& other) noexcept;
    ConfigLock& operator=(ConfigLock&&) = delete;
    ConfigLock(const ConfigLock&) = delete;
    ConfigLock& operator=(const ConfigLock&) = delete;

  private:
    explicit ConfigLock(int descriptor) : descriptor_(descriptor) {}
    int descriptor_;
};

}  // namespace telpher::bridge
