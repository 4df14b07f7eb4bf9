#include "tests/unit/store/simulated_disk.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

namespace telpher::test {
namespace {

using store::Bytes;

Error failed(int error) { return Error{Status::storage_failed, error, "the simulated disk"}; }

// Which of `count` versions (0: the one of the last sync) survives; `i` of `n` things that may.
std::size_t survivor(std::size_t count,
                     std::size_t i,
                     std::size_t n,
                     SimulatedDisk::Loss loss,
                     SimulatedDisk::Random& random) {
    using Loss = SimulatedDisk::Loss;
    const auto with = [&](unsigned percent) {
        return random() % 100 < percent ? 1 + random() % (count - 1) : 0;
    };
    switch (loss) {
        case Loss::everything:
            return 0;
        case Loss::nothing:
            return count - 1;
        case Loss::half:
            return with(50);
        case Loss::most:
            return with(10);
        case Loss::few:
            return with(90);
        case Loss::last_kept:
            return i + 1 == n ? count - 1 : 0;
        case Loss::first_kept:
            return i == 0 ? count - 1 : 0;
    }
    return 0;
}

}  // namespace

class SimulatedFile final : public store::File {
  public:
    SimulatedFile(SimulatedDisk& disk, std::shared_ptr<SimulatedDisk::Inode> inode)
        : disk_(disk), inode_(std::move(inode)) {}

    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
        const SimulatedDisk::Data& bytes = inode_->now;
        if (offset >= bytes.size()) {
            return std::size_t{0};
        }
        const std::size_t size = std::min<std::size_t>(out.size(), bytes.size() - offset);
        std::memcpy(out.data(), bytes.data() + offset, size);
        return size;
    }

    Result<void> write(std::uint64_t offset, std::span<const Bytes> parts) override {
        SimulatedDisk::Data all;
        for (const Bytes part : parts) {
            all.insert(all.end(), part.begin(), part.end());
        }
        if (!disk_.change()) {
            SimulatedDisk::write(*inode_, offset, Bytes(all).first(all.size() / 2));
            return failed(disk_.fail_errno);
        }
        SimulatedDisk::write(*inode_, offset, all);
        return {};
    }

    Result<void> reserve(std::uint64_t size_bytes) override {
        if (!disk_.change()) {
            return failed(disk_.fail_errno);
        }
        const std::size_t had = inode_->now.size();
        if (size_bytes > had && disk_.reserved() + (size_bytes - had) > disk_.room) {
            return failed(ENOSPC);
        }
        SimulatedDisk::set_length(*inode_, std::max<std::size_t>(size_bytes, had));
        return {};
    }

    Result<void> truncate(std::uint64_t size_bytes) override {
        if (!disk_.change()) {
            return failed(disk_.fail_errno);
        }
        SimulatedDisk::set_length(*inode_, size_bytes);
        return {};
    }

    Result<void> sync() override {
        if (disk_.change()) {
            if (disk_.lie == SimulatedDisk::Lie::files) {
                return {};
            }
            inode_->stable = inode_->now;
            inode_->unsynced.clear();
            inode_->lengths.clear();
            return {};
        }
        const SimulatedDisk::Data shown = inode_->now;
        SimulatedDisk::settle(*inode_, SimulatedDisk::Loss::half, disk_.failing_);
        inode_->now = shown;
        return failed(disk_.fail_errno);
    }

    Result<std::uint64_t> size_bytes() override { return std::uint64_t{inode_->now.size()}; }

  private:
    SimulatedDisk& disk_;
    std::shared_ptr<SimulatedDisk::Inode> inode_;
};

bool SimulatedDisk::change() {
    ++changes_;
    if (before_change) {
        before_change(changes_);
    }
    return changes_ != fail_at;
}

void SimulatedDisk::write(Inode& inode, std::uint64_t offset, Bytes bytes) {
    if (bytes.empty()) {
        return;
    }
    if (inode.now.size() < offset + bytes.size()) {
        set_length(inode, offset + bytes.size());
    }
    std::memcpy(inode.now.data() + offset, bytes.data(), bytes.size());
    for (std::size_t s = offset / kSector; s <= (offset + bytes.size() - 1) / kSector; ++s) {
        const auto begin = inode.now.begin() + static_cast<std::ptrdiff_t>(s * kSector);
        const std::size_t size = std::min(kSector, inode.now.size() - s * kSector);
        inode.unsynced[s].emplace_back(begin, begin + static_cast<std::ptrdiff_t>(size));
    }
}

void SimulatedDisk::set_length(Inode& inode, std::size_t length) {
    if (length != inode.now.size()) {
        inode.now.resize(length);
        inode.lengths.push_back(length);
    }
}

// What is on disk after a power loss.
void SimulatedDisk::settle(Inode& inode, Loss loss, Random& random) {
    Data result = inode.stable;
    if (!inode.lengths.empty()) {
        const std::size_t kept = survivor(inode.lengths.size() + 1, 0, 1, loss, random);
        result.resize(kept == 0 ? inode.stable.size() : inode.lengths[kept - 1]);
    }
    std::size_t i = 0;
    for (const auto& [sector, versions] : inode.unsynced) {
        const std::size_t kept =
            survivor(versions.size() + 1, i++, inode.unsynced.size(), loss, random);
        const std::size_t begin = sector * kSector;
        if (kept != 0 && begin < result.size()) {
            const Data& version = versions[kept - 1];
            std::memcpy(result.data() + begin,
                        version.data(),
                        std::min(version.size(), result.size() - begin));
        }
    }
    inode.now = inode.stable = std::move(result);
    inode.unsynced.clear();
    inode.lengths.clear();
}

void SimulatedDisk::lose_power(Loss loss, Random& random) {
    std::map<std::string, InodePtr> names = stable_names_;
    for (std::size_t i = 0; i < name_changes_.size(); ++i) {
        if (survivor(2, i, name_changes_.size(), loss, random) != 0) {
            apply(names, name_changes_[i]);
        }
    }
    names_ = stable_names_ = std::move(names);
    name_changes_.clear();
    for (const auto& [name, inode] : names_) {
        settle(*inode, loss, random);
    }
    restart();
}

std::unique_ptr<SimulatedDisk> SimulatedDisk::copy() const {
    std::map<InodePtr, InodePtr> copies;
    const auto copied = [&](const InodePtr& inode) {
        InodePtr& to = copies[inode];
        to = to == nullptr ? std::make_shared<Inode>(*inode) : to;
        return to;
    };
    auto disk = std::make_unique<SimulatedDisk>();
    for (const auto& [name, inode] : names_) {
        disk->names_[name] = copied(inode);
    }
    for (const auto& [name, inode] : stable_names_) {
        disk->stable_names_[name] = copied(inode);
    }
    for (const NameChange& change : name_changes_) {
        disk->name_changes_.push_back(
            {change.gone, change.there, change.inode == nullptr ? nullptr : copied(change.inode)});
    }
    disk->room = room;
    disk->lie = lie;
    return disk;
}

std::uint64_t SimulatedDisk::reserved() const {
    std::uint64_t bytes = 0;
    for (const auto& [name, inode] : names_) {
        bytes += inode->now.size();
    }
    return bytes;
}

void SimulatedDisk::apply(std::map<std::string, InodePtr>& names, const NameChange& change) {
    if (!change.gone.empty()) {
        names.erase(change.gone);
    }
    if (!change.there.empty()) {
        names[change.there] = change.inode;
    }
}

void SimulatedDisk::note(NameChange change) {
    apply(names_, change);
    name_changes_.push_back(std::move(change));
}

Result<void> SimulatedDisk::lock() {
    if (locked_) {
        return Status::not_permitted;
    }
    locked_ = true;
    return {};
}

Result<std::unique_ptr<store::File>> SimulatedDisk::create(const std::string& name) {
    if (!change()) {
        return failed(fail_errno);
    }
    if (names_.contains(name)) {
        return Status::already_exists;
    }
    note({{}, name, std::make_shared<Inode>()});
    return std::unique_ptr<store::File>(std::make_unique<SimulatedFile>(*this, names_[name]));
}

Result<std::unique_ptr<store::File>> SimulatedDisk::open(const std::string& name,
                                                         store::Access /*access*/) {
    const auto found = names_.find(name);
    if (found == names_.end()) {
        return failed(ENOENT);
    }
    return std::unique_ptr<store::File>(std::make_unique<SimulatedFile>(*this, found->second));
}

Result<std::vector<std::string>> SimulatedDisk::list() {
    std::vector<std::string> all;
    for (const auto& [name, inode] : names_) {
        all.push_back(name);
    }
    return all;
}

Result<void> SimulatedDisk::rename(const std::string& from, const std::string& to) {
    if (!change() || !names_.contains(from)) {
        return failed(fail_errno);
    }
    note({from, to, names_[from]});
    return {};
}

Result<void> SimulatedDisk::remove(const std::string& name) {
    if (!change() || !names_.contains(name)) {
        return failed(fail_errno);
    }
    note({name, {}, nullptr});
    return {};
}

Result<void> SimulatedDisk::sync_names() {
    if (!change()) {
        return failed(fail_errno);
    }
    if (lie != Lie::names) {
        stable_names_ = names_;
        name_changes_.clear();
    }
    return {};
}

}  // namespace telpher::test
