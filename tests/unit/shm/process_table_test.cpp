#include "shm/process_table.hpp"

#include "tests/unit/support/scratch_segment.hpp"

#include <gtest/gtest.h>

#include <unistd.h>

#include <memory>
#include <vector>

namespace telpher::test {
namespace {

using shm::ProcessState;

TEST(ProcessTable, a_process_describes_itself) {
    ScratchSegment scratch;
    const auto all = scratch.survivor().table.list();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].slot, scratch.survivor().slot);
    EXPECT_EQ(all[0].pid, static_cast<std::uint32_t>(getpid()));
    EXPECT_EQ(all[0].state, ProcessState::live);
    EXPECT_FALSE(all[0].command.empty());
    EXPECT_NE(all[0].joined_ns, 0U);
}

TEST(ProcessTable, each_process_has_a_slot_of_its_own_until_none_is_left) {
    ScratchSegment scratch;
    std::vector<std::unique_ptr<Party>> parties;
    for (std::uint32_t i = 1; i < 8; ++i) {
        parties.push_back(scratch.another());
        EXPECT_EQ(parties.back()->slot, i);
    }
    EXPECT_EQ(scratch.survivor().table.others(scratch.survivor().slot), 7U);
    EXPECT_EQ(scratch.another()->slot, shm::kProcessesMax);
}

TEST(ProcessTable, a_slot_that_was_left_is_used_again_in_its_next_epoch) {
    ScratchSegment scratch;
    auto first = scratch.another();
    const std::uint32_t slot = first->slot;
    const std::uint64_t identity = first->identity;
    first->table.leave(slot);
    EXPECT_EQ(shm::process_state(scratch.survivor().process_word(slot)), ProcessState::free);
    const auto second = scratch.another();
    EXPECT_EQ(second->slot, slot);
    EXPECT_NE(second->identity, identity);
}

TEST(ProcessTable, a_dead_process_is_dead_only_when_its_lock_is_gone) {
    ScratchSegment scratch;
    auto other = scratch.another();
    const std::uint32_t slot = other->slot;
    const std::uint64_t identity = other->identity;
    EXPECT_EQ(scratch.survivor().table.judge(slot, 0), 0U);
    other.reset();
    EXPECT_EQ(scratch.survivor().table.judge(slot, 0), identity);
    EXPECT_EQ(shm::process_state(scratch.survivor().process_word(slot)), ProcessState::dead);
    EXPECT_EQ(scratch.survivor().table.judge(slot, 0), identity) << "until it is reaped";
}

TEST(ProcessTable, nobody_judges_an_empty_slot) {
    ScratchSegment scratch;
    for (std::uint32_t slot = 1; slot < 8; ++slot) {
        EXPECT_EQ(scratch.survivor().table.judge(slot, 0), 0U);
    }
}

TEST(ProcessTable, a_slot_of_a_dead_process_is_not_joined_before_it_is_reaped) {
    ScratchSegment scratch;
    auto other = scratch.another();
    const std::uint32_t slot = other->slot;
    other.reset();
    EXPECT_NE(scratch.another()->slot, slot);
}

TEST(ProcessTable, reaping_what_is_reaped_is_refused) {
    ScratchSegment scratch;
    auto other = scratch.another();
    const std::uint64_t identity = other->identity;
    other.reset();
    Party& survivor = scratch.survivor();
    EXPECT_FALSE(survivor.table.begin_reaping(survivor.slot, identity)) << "nobody judged it yet";
    ASSERT_EQ(survivor.table.judge(shm::identity_slot(identity), 0), identity);
    ASSERT_TRUE(survivor.table.begin_reaping(survivor.slot, identity));
    survivor.table.end_reaping(survivor.slot, identity, true);
    EXPECT_FALSE(survivor.table.begin_reaping(survivor.slot, identity));
    EXPECT_EQ(survivor.table.record(survivor.slot).reaping.load(std::memory_order_relaxed), 0U);
}

TEST(ProcessTable, an_incomplete_reaping_leaves_the_dead_to_the_next) {
    ScratchSegment scratch;
    auto other = scratch.another();
    const std::uint64_t identity = other->identity;
    other.reset();
    Party& survivor = scratch.survivor();
    ASSERT_EQ(survivor.table.judge(shm::identity_slot(identity), 0), identity);
    ASSERT_TRUE(survivor.table.begin_reaping(survivor.slot, identity));
    survivor.table.end_reaping(survivor.slot, identity, false);
    EXPECT_EQ(survivor.table.judge(shm::identity_slot(identity), 0), identity);
}

}  // namespace
}  // namespace telpher::test
