#include "shm/directory.hpp"

#include "shm/doorbell.hpp"
#include "tests/unit/support/scratch_segment.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace telpher::test {
namespace {

using shm::EntryState;

class DirectoryTest : public testing::Test {
  protected:
    shm::Directory& directory() { return scratch_.survivor().directory; }
    shm::Found make(const std::string& name, std::uint32_t capacity = 4) {
        bool created = false;
        return directory().create({name, shm::Kind::queue, capacity, capacity}, &created).value();
    }
    void set_state(std::uint32_t entry, EntryState state) {
        shm::Word& word = directory().entry(entry).word;
        word.store(shm::make_entry_word(
                       state, shm::entry_generation(word.load(std::memory_order_relaxed))),
                   std::memory_order_relaxed);
    }
    EntryState state(std::uint32_t entry) {
        return shm::entry_state(directory().entry(entry).word.load(std::memory_order_relaxed));
    }
    // What a holder leaves that is killed before it unlocks; the next lock mends it.
    void leave_busy() {
        scratch_.survivor().segment.header().directory_busy.store(1, std::memory_order_relaxed);
    }
    void offer(const shm::Found& found, std::uint64_t value) {
        Party& party = scratch_.survivor();
        std::uint64_t position = 0;
        ASSERT_EQ(directory().ring(found)->commit(
                      party.loan(value), party.slot, party.threads[0], &position),
                  Status::ok);
    }
    ScratchSegment scratch_;
};

TEST_F(DirectoryTest, finds_what_it_created_with_all_that_was_said) {
    const shm::Found made = make("orders", 100);
    const auto found = directory().find("orders");
    ASSERT_TRUE(found);
    EXPECT_EQ(found->entry, made.entry);
    EXPECT_EQ(found->generation, made.generation);
    EXPECT_EQ(found->name(), "orders");
    EXPECT_EQ(found->info.capacity, 100U);
    EXPECT_EQ(found->info.slots, 128U);
    EXPECT_EQ(found->info.options_hash, 100U);
    EXPECT_FALSE(directory().find("order"));
    EXPECT_FALSE(directory().find("orderss"));
    EXPECT_FALSE(directory().find(""));
}

TEST_F(DirectoryTest, create_returns_what_exists) {
    const shm::Found made = make("a", 5);
    bool created = true;
    const auto again = directory().create({"a", shm::Kind::queue, 7, 7}, &created);
    ASSERT_TRUE(again);
    EXPECT_FALSE(created);
    EXPECT_EQ(again->entry, made.entry);
    EXPECT_EQ(again->info.capacity, 5U) << "the caller compares";
}

TEST_F(DirectoryTest, names_of_the_longest_length_are_kept_whole) {
    const std::string longest(shm::kNameBytesMax, 'n');
    make(longest);
    EXPECT_EQ(directory().find(longest)->name(), longest);
    EXPECT_FALSE(directory().find(longest.substr(1)));
}

TEST_F(DirectoryTest, every_process_finds_what_another_made) {
    const auto other = scratch_.another();
    make("shared");
    ASSERT_TRUE(other->directory.find("shared"));
    const auto ring = other->directory.ring(*other->directory.find("shared"));
    offer(*directory().find("shared"), 42);
    std::uint32_t chunk = 0;
    std::uint64_t position = 0;
    EXPECT_EQ(shm::Ring(*ring).claim(other->slot, &chunk, &position), Status::ok);
}

TEST_F(DirectoryTest, a_removed_name_is_free_at_once_and_old_handles_see_the_end) {
    const shm::Found old = make("q");
    ASSERT_TRUE(directory().attach(old));
    ASSERT_TRUE(directory().remove("q"));
    EXPECT_FALSE(directory().find("q"));
    EXPECT_EQ(state(old.entry), EntryState::closed);
    const shm::Found fresh = make("q");
    EXPECT_NE(fresh.dest(), old.dest());
    EXPECT_NE(fresh.info.ring_offset, old.info.ring_offset) << "the old ring is still in use";
    EXPECT_TRUE(directory().ring(old)->closed());
    EXPECT_FALSE(directory().ring(fresh)->closed());
    directory().detach(old.entry);
}

TEST_F(DirectoryTest, removing_what_is_not_there_is_queue_not_found_naming_it) {
    const auto removed = directory().remove("nobody");
    EXPECT_EQ(removed.status(), Status::queue_not_found);
    EXPECT_NE(removed.error().detail.find("nobody"), std::string::npos);
}

TEST_F(DirectoryTest, a_ring_is_recycled_only_when_nobody_holds_it) {
    const shm::Found found = make("q");
    ASSERT_TRUE(directory().attach(found));
    ASSERT_TRUE(directory().attach(found)) << "a second handle of the same process";
    ASSERT_TRUE(directory().remove("q"));
    for (int held = 2; held > 0; --held) {
        const auto guard = directory().lock();
        directory().recycle();
        EXPECT_EQ(state(found.entry), EntryState::closed) << held << " handles";
        directory().detach(found.entry);
    }
    const auto guard = directory().lock();
    directory().recycle();
    EXPECT_EQ(state(found.entry), EntryState::free);
    EXPECT_FALSE(directory().attach(found)) << "it is gone";
}

TEST_F(DirectoryTest, recycling_frees_and_counts_what_was_never_polled) {
    const shm::Found found = make("q", 3);
    offer(found, 1);
    offer(found, 2);
    ASSERT_EQ(scratch_.survivor().count(shm::ChunkState::offered), 2U);
    ASSERT_TRUE(directory().remove("q"));
    const auto guard = directory().lock();
    directory().recycle();
    EXPECT_EQ(scratch_.survivor().count(shm::ChunkState::offered), 0U);
    EXPECT_EQ(scratch_.survivor().count(shm::ChunkState::claimed), 0U);
    EXPECT_EQ(directory().entry(found.entry).dropped.load(std::memory_order_relaxed), 2U);
}

TEST_F(DirectoryTest, ring_memory_is_used_again_and_starts_empty) {
    std::uint64_t offset = 0;
    for (int life = 0; life < 20; ++life) {
        const shm::Found found = make("q" + std::to_string(life), 900);
        EXPECT_TRUE(offset == 0 || offset == found.info.ring_offset);
        offset = found.info.ring_offset;
        EXPECT_EQ(directory().ring(found)->committed(), 0U);
        EXPECT_FALSE(directory().ring(found)->closed());
        offer(found, 1);
        ASSERT_TRUE(directory().remove("q" + std::to_string(life)));
    }
}

TEST_F(DirectoryTest, the_limit_of_destinations_is_named) {
    for (int i = 0; i < 6; ++i) {
        make("q" + std::to_string(i));
    }
    bool created = false;
    const auto more = directory().create({"more", shm::Kind::queue, 1, 1}, &created);
    EXPECT_EQ(more.status(), Status::limit_reached);
    EXPECT_NE(more.error().detail.find("limits.destinations is 6"), std::string::npos)
        << more.error().detail;
    ASSERT_TRUE(directory().remove("q3"));
    EXPECT_TRUE(directory().create({"more", shm::Kind::queue, 1, 1}, &created));
}

TEST_F(DirectoryTest, the_limit_of_ring_memory_is_named_with_what_is_needed) {
    bool created = false;
    const auto large = directory().create({"large", shm::Kind::queue, 5000, 1}, &created);
    EXPECT_EQ(large.status(), Status::limit_reached);
    for (const char* part : {"5000", "limits.ring_bytes", "65536"}) {
        EXPECT_NE(large.error().detail.find(part), std::string::npos) << large.error().detail;
    }
}

TEST_F(DirectoryTest, a_ring_fits_between_two_others) {
    make("a", 300);
    const shm::Found middle = make("b", 300);
    make("c", 300);
    ASSERT_TRUE(directory().remove("b"));
    EXPECT_EQ(make("d", 300).info.ring_offset, middle.info.ring_offset);
}

TEST_F(DirectoryTest, the_lock_waits_no_longer_than_it_may_and_says_for_whom) {
    const auto other = scratch_.another();
    const auto guard = other->directory.lock();
    ASSERT_TRUE(guard);
    const auto start = std::chrono::steady_clock::now();
    const auto mine = directory().lock(std::chrono::milliseconds(30));
    const auto took = std::chrono::steady_clock::now() - start;
    EXPECT_EQ(mine.status(), Status::timed_out);
    EXPECT_NE(mine.error().detail.find("another process"), std::string::npos);
    EXPECT_GE(took, std::chrono::milliseconds(30));
    EXPECT_LT(took, std::chrono::seconds(2));
}

// ---- what a holder of the lock leaves that is killed in the middle -----------------------------

TEST_F(DirectoryTest, a_half_created_entry_is_taken_back) {
    const shm::Found found = make("half");
    set_state(found.entry, EntryState::creating);
    EXPECT_FALSE(directory().find("half"));
    leave_busy();
    ASSERT_TRUE(directory().lock());
    EXPECT_EQ(state(found.entry), EntryState::free);
    EXPECT_EQ(make("half").entry, found.entry);
}

TEST_F(DirectoryTest, a_half_created_entry_beyond_the_used_ones_is_taken_back) {
    const shm::Found found = make("first");
    shm::DirectoryEntry& next = directory().entry(found.entry + 1);
    next.word.store(shm::make_entry_word(EntryState::creating, 1), std::memory_order_relaxed);
    leave_busy();
    ASSERT_TRUE(directory().lock());
    EXPECT_EQ(state(found.entry + 1), EntryState::free);
}

TEST_F(DirectoryTest, a_half_closed_entry_is_closed) {
    const shm::Found found = make("half");
    ASSERT_TRUE(directory().attach(found));
    set_state(found.entry, EntryState::closed);  // killed before the sentinel
    EXPECT_FALSE(directory().ring(found)->closed());
    leave_busy();
    ASSERT_TRUE(directory().lock());
    EXPECT_TRUE(directory().ring(found)->closed());
    EXPECT_EQ(state(found.entry), EntryState::closed);
}

TEST_F(DirectoryTest, a_half_recycled_entry_is_recycled) {
    const shm::Found found = make("half", 3);
    offer(found, 1);
    ASSERT_TRUE(directory().remove("half"));
    set_state(found.entry, EntryState::recycling);
    leave_busy();
    ASSERT_TRUE(directory().lock());
    EXPECT_EQ(state(found.entry), EntryState::free);
    EXPECT_EQ(scratch_.survivor().count(shm::ChunkState::offered), 0U);
}

TEST_F(DirectoryTest, a_half_recycled_entry_that_somebody_holds_goes_back_to_closed) {
    const shm::Found found = make("half");
    ASSERT_TRUE(directory().attach(found));
    ASSERT_TRUE(directory().remove("half"));
    set_state(found.entry, EntryState::recycling);
    leave_busy();
    ASSERT_TRUE(directory().lock());
    EXPECT_EQ(state(found.entry), EntryState::closed);
    directory().detach(found.entry);
}

TEST_F(DirectoryTest, mending_twice_is_mending_once) {
    const shm::Found live = make("live");
    const shm::Found half = make("half");
    set_state(half.entry, EntryState::creating);
    for (int i = 0; i < 2; ++i) {
        leave_busy();
        ASSERT_TRUE(directory().lock());
    }
    EXPECT_EQ(state(half.entry), EntryState::free);
    EXPECT_EQ(state(live.entry), EntryState::live);
}

// ---- damage ------------------------------------------------------------------------------------

TEST_F(DirectoryTest, a_control_block_that_points_outside_the_rings_has_no_ring) {
    const shm::Found found = make("q", 4);
    const auto damaged = [&found](auto change) {
        shm::Found copy = found;
        change(copy.info);
        return copy;
    };
    EXPECT_TRUE(directory().ring(found));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.slots = 6; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.slots = 4; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.slots = 1U << 31U; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.capacity = 0; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_offset = 0; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_offset += 64; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_offset = ~0ULL - 127; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_offset += 65536; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_bytes = ~0ULL; })));
    EXPECT_FALSE(directory().ring(damaged([](auto& i) { i.ring_bytes = 0; })));
}

TEST_F(DirectoryTest, a_scribbled_table_yields_no_name_beyond_its_bytes) {
    const shm::Found found = make("q");
    directory().entry(found.entry).info.name_bytes = 255;
    EXPECT_LE(directory().at(found.entry)->name().size(), shm::kNameBytesMax);
    scratch_.survivor().segment.header().directory_used.store(~0ULL, std::memory_order_relaxed);
    EXPECT_LE(directory().used(), 6U);
    EXPECT_LE(directory().list().size(), 6U);
    EXPECT_FALSE(directory().at(4'000'000));
}

// What a buggy process scribbled into an entry must not lead a new ring out of the rings' memory.
TEST_F(DirectoryTest, a_damaged_entry_leads_no_new_ring_astray) {
    const shm::Found made = make("a");
    shm::EntryInfo& info = directory().entry(made.entry).info;
    for (const std::uint64_t offset :
         {std::uint64_t{0}, std::uint64_t{1} << 40U, ~std::uint64_t{0}, made.info.ring_offset}) {
        for (const std::uint64_t bytes :
             {std::uint64_t{1}, std::uint64_t{1} << 40U, ~std::uint64_t{0}}) {
            info.ring_offset = offset;
            info.ring_bytes = bytes;
            bool created = false;
            // 256 KiB, in rings' memory of 64.
            const auto large = directory().create({"b", shm::Kind::queue, 10'000, 1}, &created);
            EXPECT_EQ(large.status(), Status::limit_reached) << offset << " " << bytes;
            const auto small = directory().create({"c", shm::Kind::queue, 4, 1}, &created);
            if (small) {
                EXPECT_TRUE(directory().ring(*small)) << offset << " " << bytes;
                ASSERT_TRUE(directory().remove("c"));
                directory().recycle();
            } else {
                EXPECT_EQ(small.status(), Status::limit_reached) << offset << " " << bytes;
            }
        }
    }
}

TEST(DirectorySpace, a_removed_domain_does_not_grow) {
    shm::SegmentPlan plan = small_plan(unique_name());
    plan.segment_bytes_max = 256U << 20U;
    ScratchSegment scratch(plan);
    shm::Segment& segment = scratch.survivor().segment;
    // Between our look at the domain and our lock somebody else has removed it.
    segment.header().state.store(static_cast<std::uint32_t>(shm::DomainState::removed),
                                 std::memory_order_relaxed);
    segment.unlink();
    bool created = false;
    const auto found =
        scratch.survivor().directory.create({"q", shm::Kind::queue, 60'000, 0}, &created);
    EXPECT_EQ(found.status(), Status::domain_removed);
    EXPECT_TRUE(files_of(std::string(segment.name())).empty());
}

}  // namespace
}  // namespace telpher::test
