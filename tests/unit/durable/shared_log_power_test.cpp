// Goal:   whatever the disk has forgotten when the power goes, a domain's log holds every message that was confirmed and
//         not ended, none that was not put, and none whose end was confirmed; it can always be read.
// Method: the log as a domain's process writes it, on a simulated disk; before each change to the disk the machine stops
//         there, on copies of the disk, once for each way of losing what was not synced. Half of the workloads compress.
//         8 workloads; 1,000 with TELPHER_SOAK=1. Then each change to the disk fails once.

#include "src/client/domain_core.hpp"
#include "src/store/shared_log.hpp"
#include "src/store/store.hpp"
#include "tests/unit/store/simulated_disk.hpp"
#include "tests/unit/support/sanitizers.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;
using store::Lsn;

// A disk that others hold, too.
class DiskOfAnother final : public store::Storage {
  public:
    explicit DiskOfAnother(SimulatedDisk& disk) : disk_(disk) {}
    Result<void> lock() override { return {}; }
    Result<std::unique_ptr<store::File>> create(const std::string& name) override {
        return disk_.create(name);
    }
    Result<std::unique_ptr<store::File>> open(const std::string& name,
                                              store::Access access) override {
        return disk_.open(name, access);
    }
    Result<std::vector<std::string>> list() override { return disk_.list(); }
    Result<void> rename(const std::string& from, const std::string& to) override {
        return disk_.rename(from, to);
    }
    Result<void> remove(const std::string& name) override { return disk_.remove(name); }
    Result<void> sync_names() override { return disk_.sync_names(); }
    [[nodiscard]] std::string path_of(std::string_view name) const override {
        return disk_.path_of(name);
    }

  private:
    SimulatedDisk& disk_;
};

// What was put, by its text, and what is known of it.
enum class Known : std::uint8_t { put, confirmed, ended, gone };

// A domain whose log has moved to a simulated disk, and one process of it.
class World {
  public:
    static constexpr std::uint64_t kSegment = 64U << 10U;
    World(std::uint64_t seed, bool compressed)
        : random_(seed),
          bytes_most_(compressed ? 16'000 : 6000),
          server_(domain_.open({.limits = limits(),
                                .log_directory = folder_.file("log"),
                                .log_segment_bytes = kSegment,
                                .log_compress_from_bytes = compressed ? 100 : -1})) {
        for (const auto& entry : std::filesystem::directory_iterator(folder_.file("log"))) {
            copy_to_disk(entry.path());
        }
        EXPECT_TRUE(disk.sync_names());
    }

    // One thing that a process does. False: the log has failed, or its disk is full.
    bool step() {
        const std::uint64_t dice = below(10);
        if (dice < 5 || held_.empty()) {
            return held_.size() < 60 ? put(1 + below(8)) : end(30);
        }
        if (dice < 8) {
            return end(1 + below(8));
        }
        if (dice == 8) {
            log_.flush(false);
            return true;
        }
        return sync();
    }

    // What is wrong with what that disk holds; empty: nothing. It is opened, as by whoever builds the domain again.
    std::string problem_of(SimulatedDisk& other) const {
        store::LogReport report;
        const auto opened =
            store::Store::open(other, {.name = domain_.name(), .segment_bytes = kSegment}, report);
        if (!opened) {
            return to_string(opened.error());
        }
        std::set<std::string> found;
        for (const auto& [origin, message] : (*opened)->contents().messages()) {
            const auto payload = (*opened)->payload(origin);
            if (!payload) {
                return to_string(payload.error());
            }
            const std::string text(reinterpret_cast<const char*>(payload->data()), payload->size());
            const auto known = messages_.find(text);
            if (known == messages_.end()) {
                return "message " + std::to_string(origin) + " was never put";
            }
            if (known->second == Known::gone || !found.insert(text).second) {
                return "message " + std::to_string(origin) + " had ended, or is there twice";
            }
        }
        for (const auto& [text, known] : messages_) {
            if (known == Known::confirmed && !found.contains(text)) {
                return "a confirmed message is not there";
            }
        }
        return "";
    }
    // Segments that were cleaned and are gone.
    [[nodiscard]] std::uint64_t cleaned() {
        const std::vector<std::string> names = disk.list().value();
        std::uint64_t oldest = ~std::uint64_t{0};
        for (const std::string& name : names) {
            oldest = std::min(oldest, store::segment_number(name).value_or(oldest));
        }
        return oldest - 1;
    }
    SimulatedDisk::Random& random() { return random_; }

    SimulatedDisk disk;

  private:
    struct Held {
        store::Pending pending;
        std::string text;
    };

    static DomainLimits limits() {
        DomainLimits limits = small_limits();
        limits.pool_bytes = 8U << 20U;
        return limits;
    }
    std::uint64_t below(std::uint64_t n) { return random_() % n; }
    void copy_to_disk(const std::filesystem::path& path) {
        std::ifstream file(path, std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(file), {}};
        const store::Bytes bytes = std::as_bytes(std::span(text));
        auto copy = disk.create(path.filename()).value();
        EXPECT_TRUE(copy->write(0, std::span(&bytes, 1)));
        EXPECT_TRUE(copy->sync());
    }
    // Half of it shrinks, and all of it is unlike any other.
    std::string some_text() {
        std::string text = std::to_string(random_()) + " ";
        const std::uint64_t bytes = below(3) == 0 ? below(bytes_most_) : below(300);
        for (std::uint64_t i = 0; i < bytes; ++i) {
            text += i % 2 == 0 ? static_cast<char>('a' + below(26)) : 'x';
        }
        return text;
    }
    std::uint32_t chunk_of(const std::string& text) {
        shm::ChunkPool& pool = attachment_.pool();
        const std::uint32_t chunk = pool.allocate(
            pool.class_for(text.size() + shm::kMessageOffset), attachment_.slot(), context_.cursor);
        EXPECT_NE(chunk, shm::kNoChunk);
        std::memcpy(pool.message(chunk).data(), text.data(), text.size());
        return chunk;
    }
    void release(std::uint32_t chunk) {
        attachment_.pool().release(chunk, attachment_.slot(), context_.cursor);
    }

    bool put(std::uint64_t count) {
        std::vector<Held> fresh;
        std::vector<store::Pending> pending;
        for (; count != 0; --count) {
            const std::string text = some_text();
            pending.push_back({.chunk = chunk_of(text),
                               .bytes = static_cast<std::uint32_t>(text.size()),
                               .destination = 1,
                               .sync = below(4) != 0});
            fresh.push_back({{}, text});
            messages_[text] = Known::put;
        }
        log_.commit(pending, {10s, nullptr});
        bool sound = true;
        // One that asks for a sync has those synced that were written before it.
        Lsn synced = 0;
        for (const store::Pending& one : pending) {
            synced = one.sync && one.status == Status::ok ? std::max(synced, one.lsn) : synced;
        }
        for (std::size_t i = 0; i < fresh.size(); ++i) {
            fresh[i].pending = pending[i];
            if (pending[i].status != Status::ok) {
                release(pending[i].chunk);
                sound = false;
                continue;
            }
            held_.push_back(std::move(fresh[i]));
        }
        confirm(synced);
        return sound;
    }
    // Whatever was written before what was synced is on disk as well.
    void confirm(Lsn synced) {
        for (const Held& held : held_) {
            Known& known = messages_[held.text];
            known = held.pending.lsn <= synced && known == Known::put ? Known::confirmed : known;
        }
    }
    // Not the first of all: it moves on with the log to the end.
    bool end(std::uint64_t count) {
        for (; count != 0 && held_.size() > 1; --count) {
            const std::uint64_t which = below(4) != 0 ? 0 : below(held_.size() - 1);
            const auto place = held_.begin() + 1 + static_cast<std::ptrdiff_t>(which);
            EXPECT_TRUE(attachment_.log().note_ended(place->pending.lsn));
            log_.finish(place->pending);
            release(place->pending.chunk);
            messages_[place->text] = Known::ended;
            held_.erase(place);
        }
        return true;
    }
    bool sync() {
        if (!log_.sync({10s, nullptr})) {
            return false;
        }
        for (auto& [text, known] : messages_) {
            known = known == Known::ended ? Known::gone : known;
        }
        confirm(~Lsn{0});
        return true;
    }

    SimulatedDisk::Random random_;
    const std::uint64_t bytes_most_;
    ScratchFolder folder_;
    ScratchDomain domain_;
    Server server_;
    Client client_ = connect(domain_.uri()).value();
    shm::Attachment& attachment_ = detail::DomainCore::of(client_)->attachment();
    shm::ThreadContext& context_ = *attachment_.context().value();
    store::SharedLog log_{attachment_,
                          std::make_unique<DiskOfAnother>(disk),
                          {[] {
                               return std::vector<std::pair<std::uint32_t, std::vector<std::byte>>>{
                                   {1, std::vector<std::byte>(20, std::byte{'d'})}};
                           },
                           [](std::uint64_t /*dest*/) { return 1U; }}};
    std::vector<Held> held_;
    std::map<std::string, Known> messages_;
};

class SharedLogPower : public ::testing::Test {
  protected:
    static std::uint64_t workloads() {
        constexpr std::uint64_t kUsual = kSanitizer ? 2 : 8;
        return std::getenv("TELPHER_SOAK") != nullptr ? 1000 : kUsual;
    }
    // The first problem of a workload whose machine stops before each of its changes.
    std::string run(std::uint64_t seed, SimulatedDisk::Lie lie = SimulatedDisk::Lie::none) {
        World world(seed, seed % 2 == 0);
        std::string problem;
        world.disk.lie = lie;
        world.disk.before_change = [&](std::uint64_t change) {
            for (const auto loss : SimulatedDisk::kLosses) {
                if (!problem.empty()) {
                    return;
                }
                const auto copy = world.disk.copy();
                copy->lose_power(loss, world.random());
                ++recoveries_;
                problem = world.problem_of(*copy);
                if (!problem.empty()) {
                    problem += "; seed " + std::to_string(seed) + ", change " +
                               std::to_string(change) + ", loss " +
                               std::to_string(static_cast<int>(loss));
                }
            }
        };
        for (int i = 0; i < 150 && problem.empty(); ++i) {
            EXPECT_TRUE(world.step()) << "seed " << seed << ", step " << i;
        }
        world.disk.before_change = nullptr;
        EXPECT_TRUE(lie != SimulatedDisk::Lie::none || !problem.empty() || world.cleaned() != 0)
            << "seed " << seed << ": no segment went";
        return problem;
    }
    // How many changes the workload makes; the n-th fails.
    std::uint64_t run_failing(std::uint64_t seed, std::uint64_t n, int error) {
        World world(seed, seed % 2 == 0);
        const std::uint64_t before = world.disk.changes();
        world.disk.fail_at = n == 0 ? 0 : before + n;
        world.disk.fail_errno = error;
        for (int i = 0; i < 200 && world.step(); ++i) {
        }
        EXPECT_TRUE(n != 0 || world.cleaned() != 0) << "seed " << seed << ": no segment went";
        const std::uint64_t changes = world.disk.changes() - before;
        using Loss = SimulatedDisk::Loss;
        for (const auto loss : {Loss::everything, Loss::nothing, Loss::half}) {
            const auto copy = world.disk.copy();
            copy->fail_at = 0;
            copy->lose_power(loss, world.random());
            EXPECT_EQ(world.problem_of(*copy), "")
                << "seed " << seed << ", change " << n << ", errno " << error;
        }
        return changes;
    }

    std::uint64_t recoveries_ = 0;
};

TEST_F(SharedLogPower, lost_at_every_change_loses_nothing_that_was_confirmed) {
    std::string problem;
    for (std::uint64_t seed = 1; seed <= workloads() && problem.empty(); ++seed) {
        problem = run(seed);
    }
    EXPECT_EQ(problem, "");
    std::printf("  %llu workloads, %llu recoveries\n",
                static_cast<unsigned long long>(workloads()),
                static_cast<unsigned long long>(recoveries_));
}

// The harness notices: on disks that say that they have synced, and have not.
TEST_F(SharedLogPower, is_noticed_where_files_are_not_synced) {
    EXPECT_NE(run(1, SimulatedDisk::Lie::files), "");
}

TEST_F(SharedLogPower, is_noticed_where_names_are_not_synced) {
    EXPECT_NE(run(1, SimulatedDisk::Lie::names), "");
}

TEST_F(SharedLogPower, a_disk_that_fails_at_any_change_loses_nothing_that_was_confirmed) {
    // Ten times as slow below a sanitizer: every fourth change there, others with the other error.
    constexpr std::uint64_t kStep = kSanitizer ? 4 : 1;
    for (std::uint64_t seed = 1; seed <= (kSanitizer ? 1U : 2U); ++seed) {
        const std::uint64_t changes = run_failing(seed, 0, 0);
        EXPECT_GE(changes, 30U);
        for (std::uint64_t n = 1; n <= changes && !HasFailure(); n += kStep) {
            run_failing(seed, n, EIO);
        }
        for (std::uint64_t n = kSanitizer ? 3 : 1; n <= changes && !HasFailure(); n += kStep) {
            run_failing(seed, n, ENOSPC);
        }
    }
}

}  // namespace
}  // namespace telpher::test
