#pragma once
// A folder for what a benchmark writes to the disk, beside the system's other temporary files; gone with its object.

#include <stdlib.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace telpher::bench {

class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = std::filesystem::temp_directory_path() / "telpher-bench-XXXXXX";
        path_ = ::mkdtemp(name.data()) == nullptr ? "" : name;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    // False: it could not be made.
    explicit operator bool() const noexcept { return !path_.empty(); }
    [[nodiscard]] const std::string& path() const noexcept { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

}  // namespace telpher::bench
