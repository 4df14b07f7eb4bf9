#pragma once
// A disk in memory that loses, tears and reorders what was not synced, and fails when it is told to.
//
//   Writes   reach the disk by sectors of 512 bytes, each on its own: at a power loss a sector is as it was at the last
//            sync, or as any write since made it. A file's length likewise.
//   Names    creating, renaming and removing reach the disk each on its own, renaming as a whole.
//   Sync     one that fails writes some of it and forgets that it had the rest to write: a second one succeeds and
//            writes nothing, and reading goes on to show what is not on disk (as Linux does).

#include "src/store/storage.hpp"

#include <array>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace telpher::test {

class SimulatedDisk final : public store::Storage {
  public:
    static constexpr std::size_t kSector = 512;
    using Random = std::mt19937_64;
    using Data = std::vector<std::byte>;

    // What becomes of each unsynced sector, length and name at a power loss.
    enum class Loss : std::uint8_t { everything, nothing, half, most, few, last_kept, first_kept };
    static constexpr std::array kLosses = {Loss::everything,
                                           Loss::nothing,
                                           Loss::half,
                                           Loss::most,
                                           Loss::few,
                                           Loss::last_kept,
                                           Loss::first_kept};

    // Called before each change, with its number from 1 on.
    std::function<void(std::uint64_t)> before_change;
    // The change of that number fails with this errno; a write is done by half, a sync forgets.
    std::uint64_t fail_at = 0;
    int fail_errno = EIO;
    // What it says that it has synced, and has not.
    enum class Lie : std::uint8_t { none, files, names };
    Lie lie = Lie::none;
    // Bytes that may be reserved in all files together.
    std::uint64_t room = ~0ULL;

    SimulatedDisk() = default;
    [[nodiscard]] std::unique_ptr<SimulatedDisk> copy() const;
    // The machine stops, and starts again.
    void lose_power(Loss loss, Random& random);
    // The process ends, and another one starts.
    void restart() { locked_ = false; }
    [[nodiscard]] std::uint64_t changes() const { return changes_; }
    // The bytes of a file, to be damaged.
    [[nodiscard]] Data& bytes_of(const std::string& name) { return names_.at(name)->now; }

    Result<void> lock() override;
    Result<std::unique_ptr<store::File>> create(const std::string& name) override;
    Result<std::unique_ptr<store::File>> open(const std::string& name,
                                              store::Access access) override;
    Result<std::vector<std::string>> list() override;
    Result<void> rename(const std::string& from, const std::string& to) override;
    Result<void> remove(const std::string& name) override;
    Result<void> sync_names() override;
    [[nodiscard]] std::string path_of(std::string_view name) const override {
        return "disk/" + std::string(name);
    }

  private:
    friend class SimulatedFile;
    struct Inode {
        Data now;
        Data stable;
        // Of each sector that was written since the last sync: as each write left it.
        std::map<std::size_t, std::vector<Data>> unsynced;
        std::vector<std::size_t> lengths;
    };
    using InodePtr = std::shared_ptr<Inode>;
    struct NameChange {
        std::string gone;  // empty: nothing
        std::string there;
        InodePtr inode;
    };

    // False: the change fails now.
    bool change();
    void note(NameChange change);
    static void apply(std::map<std::string, InodePtr>& names, const NameChange& change);
    static void write(Inode& inode, std::uint64_t offset, store::Bytes bytes);
    static void set_length(Inode& inode, std::size_t length);
    static void settle(Inode& inode, Loss loss, Random& random);
    [[nodiscard]] std::uint64_t reserved() const;

    std::map<std::string, InodePtr> names_;
    std::map<std::string, InodePtr> stable_names_;
    std::vector<NameChange> name_changes_;
    std::uint64_t changes_ = 0;
    bool locked_ = false;
    Random failing_{1};
};

}  // namespace telpher::test
