// The dead are parties whose open file description is closed: their locks go, their words stay.

#include "shm/reaper.hpp"

#include "shm/doorbell.hpp"
#include "tests/unit/support/scratch_segment.hpp"

#include <gtest/gtest.h>

namespace telpher::test {
namespace {

using shm::ChunkState;
using shm::ProcessState;

class ReaperTest : public testing::Test {
  protected:
    Party& survivor() { return scratch_.survivor(); }
    ProcessState process(std::uint32_t slot) {
        return shm::process_state(survivor().process_word(slot));
    }
    shm::Found make_queue() {
        bool created = false;
        return survivor().directory.create({"q", shm::Kind::queue, 4, 4}, &created).value();
    }
    ScratchSegment scratch_;
    std::unique_ptr<Party> victim_ = scratch_.another();
    std::uint32_t dead_ = victim_->slot;  // its slot
};

TEST_F(ReaperTest, leaves_the_living_alone) {
    const std::uint32_t loan = victim_->loan();
    EXPECT_FALSE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().reaper.help_all(survivor().slot), 0U);
    EXPECT_EQ(process(dead_), ProcessState::live);
    EXPECT_EQ(survivor().state(loan), ChunkState::owned);
}

// A pidfd that became readable speaks of the process it was opened for. Its slot may have been left
// and taken by another process before anybody looked.
TEST_F(ReaperTest, a_pidfd_of_a_slots_earlier_life_kills_nobody) {
    const std::uint64_t earlier = victim_->identity;
    victim_->table.leave(dead_);
    const auto next = scratch_.another();
    ASSERT_EQ(next->slot, dead_) << "the slot is used again";
    const std::uint32_t loan = next->loan();
    EXPECT_FALSE(survivor().reaper.help(dead_, survivor().slot, earlier));
    EXPECT_EQ(process(dead_), ProcessState::live);
    EXPECT_EQ(survivor().state(loan), ChunkState::owned);
    EXPECT_TRUE(survivor().reaper.help(dead_, survivor().slot, next->identity))
        << "its own pidfd is believed, though the lock is still there";
}

TEST_F(ReaperTest, frees_loans_and_kept_chunks_and_deliveries) {
    const std::uint32_t loan = victim_->loan();
    const std::uint32_t polled = victim_->loan();
    victim_->word(polled).store(shm::make_word(ChunkState::claimed, dead_, 3),
                                std::memory_order_relaxed);
    const std::uint32_t ours = survivor().loan();
    victim_.reset();
    EXPECT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(loan), ChunkState::free);
    EXPECT_EQ(survivor().state(polled), ChunkState::free);
    EXPECT_EQ(survivor().state(ours), ChunkState::owned);
    EXPECT_EQ(process(dead_), ProcessState::free);
    EXPECT_EQ(survivor().segment.header().reaps.load(std::memory_order_relaxed), 1U);
}

TEST_F(ReaperTest, frees_an_offer_that_was_not_committed) {
    const shm::Found queue = make_queue();
    ASSERT_TRUE(victim_->directory.attach(*victim_->directory.find("q")));
    const std::uint32_t chunk = victim_->loan(1);
    victim_->offer_uncommitted(victim_->own_thread(), chunk, queue.dest());
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(chunk), ChunkState::free);
}

TEST_F(ReaperTest, leaves_a_committed_message_in_its_queue) {
    const shm::Found queue = make_queue();
    ASSERT_TRUE(victim_->directory.attach(*victim_->directory.find("q")));
    const std::uint32_t first = victim_->loan(1);
    const std::uint32_t last = victim_->loan(2);
    shm::ThreadRecord& thread = victim_->own_thread();
    auto ring = *victim_->directory.ring(queue);
    std::uint64_t position = 0;
    ASSERT_EQ(ring.commit(first, dead_, thread, &position), Status::ok);
    ASSERT_EQ(ring.commit(last, dead_, thread, &position), Status::ok);
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(first), ChunkState::offered) << "named by no in-flight word";
    EXPECT_EQ(survivor().state(last), ChunkState::offered) << "named by one, and in the ring";
    auto ours = *survivor().directory.ring(queue);
    std::uint32_t chunk = 0;
    EXPECT_EQ(ours.claim(survivor().slot, &chunk, &position), Status::ok);
    EXPECT_EQ(ours.claim(survivor().slot, &chunk, &position), Status::ok);
    EXPECT_EQ(ours.claim(survivor().slot, &chunk, &position), Status::queue_empty);
}

// A create elsewhere looks whether a removed queue can be recycled: the entry says RECYCLING for a
// moment, and then CLOSED again, because the dead still holds it.
TEST_F(ReaperTest, leaves_a_committed_message_while_somebody_tries_to_recycle_its_queue) {
    const shm::Found queue = make_queue();
    ASSERT_TRUE(victim_->directory.attach(*victim_->directory.find("q")));
    const std::uint32_t chunk = victim_->loan(1);
    auto ring = *victim_->directory.ring(queue);
    std::uint64_t position = 0;
    ASSERT_EQ(ring.commit(chunk, dead_, victim_->own_thread(), &position), Status::ok);
    ASSERT_TRUE(survivor().directory.attach(queue));
    ASSERT_TRUE(survivor().directory.remove("q"));
    survivor()
        .directory.entry(queue.entry)
        .word.store(shm::make_entry_word(shm::EntryState::recycling, queue.generation),
                    std::memory_order_relaxed);
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(chunk), ChunkState::offered);
}

TEST_F(ReaperTest, an_in_flight_word_of_a_queue_that_is_gone_frees_its_chunk) {
    const shm::Found queue = make_queue();
    const std::uint32_t chunk = victim_->loan(1);
    victim_->offer_uncommitted(
        victim_->own_thread(), chunk, shm::make_dest(queue.entry, queue.generation + 1));
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(chunk), ChunkState::free);
}

TEST_F(ReaperTest, an_in_flight_word_with_a_nonsense_destination_is_no_crash) {
    const std::uint32_t chunk = victim_->loan(1);
    victim_->offer_uncommitted(victim_->own_thread(), chunk, ~0ULL);
    victim_.reset();
    EXPECT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(chunk), ChunkState::free);
}

TEST_F(ReaperTest, a_consumed_message_of_a_stale_in_flight_word_belongs_to_its_new_owner) {
    const shm::Found queue = make_queue();
    const std::uint32_t chunk = victim_->loan(1);
    auto ring = *victim_->directory.ring(queue);
    std::uint64_t position = 0;
    ASSERT_EQ(ring.commit(chunk, dead_, victim_->own_thread(), &position), Status::ok);
    std::uint32_t got = 0;
    ASSERT_EQ(ring.claim(survivor().slot, &got, &position), Status::ok);
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(chunk), ChunkState::claimed);
    EXPECT_EQ(shm::word_owner(survivor().word(chunk).load(std::memory_order_relaxed)),
              survivor().slot);
}

TEST_F(ReaperTest, counts_a_delivery_as_abandoned_at_its_queue) {
    const shm::Found queue = make_queue();
    auto ring = *survivor().directory.ring(queue);
    std::uint64_t position = 0;
    ASSERT_EQ(ring.commit(survivor().loan(1), survivor().slot, survivor().own_thread(), &position),
              Status::ok);
    std::uint32_t chunk = 0;
    ASSERT_EQ(ring.claim(dead_, &chunk, &position), Status::ok);
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().directory.entry(queue.entry).abandoned.load(std::memory_order_relaxed),
              1U);
}

TEST_F(ReaperTest, gives_back_thread_records_and_attached_bits) {
    const shm::Found queue = make_queue();
    ASSERT_TRUE(victim_->directory.attach(*victim_->directory.find("q")));
    const shm::ThreadRecord* record = &victim_->own_thread();
    const auto index = static_cast<std::size_t>(record - victim_->threads.data());
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().threads[index].owner.load(std::memory_order_relaxed), 0U);
    EXPECT_EQ(survivor().directory.entry(queue.entry).attached[0].load(std::memory_order_relaxed),
              0U);
}

TEST_F(ReaperTest, rings_every_live_thread_whatever_its_bit_says) {
    shm::ThreadRecord& ours = survivor().own_thread();
    const std::uint32_t before = ours.doorbell.load(std::memory_order_relaxed);
    victim_.reset();
    ASSERT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_NE(ours.doorbell.load(std::memory_order_relaxed), before);
}

TEST_F(ReaperTest, a_second_reaping_finds_nothing_to_do) {
    const std::uint32_t loan = victim_->loan();
    const auto helper = scratch_.another();
    victim_.reset();
    EXPECT_TRUE(helper->reaper.help(dead_, helper->slot));
    EXPECT_FALSE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(survivor().state(loan), ChunkState::free);
    EXPECT_EQ(survivor().segment.header().reaps.load(std::memory_order_relaxed), 1U);
}

// A helper stopped in the middle names the dead in its record: the slot must wait for it, so that
// it can free nothing of a next life when it goes on.
TEST_F(ReaperTest, a_slot_is_not_used_again_while_a_live_helper_names_it) {
    auto stopped = scratch_.another();
    const std::uint64_t identity = victim_->identity;
    victim_.reset();
    ASSERT_EQ(stopped->table.judge(dead_, 0), identity);
    ASSERT_TRUE(stopped->table.begin_reaping(stopped->slot, identity));
    EXPECT_TRUE(survivor().reaper.help(dead_, survivor().slot)) << "helped, not owned";
    EXPECT_EQ(process(dead_), ProcessState::swept);
    EXPECT_NE(scratch_.another()->slot, dead_);
    stopped->table.end_reaping(stopped->slot, identity, true);
    EXPECT_EQ(process(dead_), ProcessState::free);
}

TEST_F(ReaperTest, a_dead_helper_keeps_no_slot) {
    auto helper = scratch_.another();
    const std::uint64_t identity = victim_->identity;
    victim_.reset();
    ASSERT_TRUE(helper->table.judge(dead_, 0) == identity &&
                helper->table.begin_reaping(helper->slot, identity));
    helper.reset();
    survivor().reaper.help_all(survivor().slot);
    survivor().reaper.help_all(survivor().slot);
    EXPECT_EQ(process(dead_), ProcessState::free);
    EXPECT_EQ(survivor().table.others(survivor().slot), 0U);
}

TEST_F(ReaperTest, a_process_that_died_while_joining_is_reaped) {
    survivor().table.record(dead_).word.store(
        shm::make_process_word(ProcessState::joining, victim_->identity & shm::kEpochMask),
        std::memory_order_relaxed);
    victim_.reset();
    EXPECT_TRUE(survivor().reaper.help(dead_, survivor().slot));
    EXPECT_EQ(process(dead_), ProcessState::free);
}

TEST_F(ReaperTest, the_next_life_of_a_slot_has_the_next_epoch) {
    const std::uint64_t before = victim_->identity & shm::kEpochMask;
    victim_.reset();
    survivor().reaper.help(dead_, survivor().slot);
    const auto next = scratch_.another();
    EXPECT_EQ(next->slot, dead_);
    EXPECT_EQ(next->identity & shm::kEpochMask, before + 1);
}

}  // namespace
}  // namespace telpher::test
