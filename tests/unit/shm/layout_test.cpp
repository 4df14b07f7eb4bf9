// The format of a segment: these numbers are in files of running domains. A change here is a change
// of the layout version.

#include "shm/layout.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>

namespace telpher::shm {
namespace {

TEST(Layout, every_structure_has_the_size_that_the_format_says) {
    EXPECT_EQ(sizeof(ChunkHeader), 16U);
    EXPECT_EQ(sizeof(Slot), 16U);
    EXPECT_EQ(alignof(Slot), 16U);
    EXPECT_EQ(sizeof(WaiterMap), 640U);
    EXPECT_EQ(sizeof(RingControl), 1536U);
    EXPECT_EQ(sizeof(ProcessRecord), 128U);
    EXPECT_EQ(sizeof(ThreadRecord), 128U);
    EXPECT_EQ(sizeof(EntryInfo), 360U);
    EXPECT_EQ(sizeof(DirectoryEntry), 768U);
    EXPECT_EQ(sizeof(ChunkClass), 24U);
    EXPECT_EQ(sizeof(Region), 24U);
    EXPECT_LE(sizeof(SegmentHeader), kPageBytes);
}

TEST(Layout, every_field_that_changes_lies_where_the_format_says) {
    EXPECT_EQ(offsetof(RingControl, tail), 0U);
    EXPECT_EQ(offsetof(RingControl, head), 128U);
    EXPECT_EQ(offsetof(RingControl, items), 256U);
    EXPECT_EQ(offsetof(RingControl, space), 896U);
    EXPECT_EQ(offsetof(ThreadRecord, inflight), 8U);
    EXPECT_EQ(offsetof(ThreadRecord, doorbell), 24U);
    EXPECT_EQ(offsetof(ProcessRecord, reaping), 8U);
    EXPECT_EQ(offsetof(EntryInfo, name), 256U);
    EXPECT_EQ(offsetof(DirectoryEntry, info), 64U);
    EXPECT_EQ(offsetof(DirectoryEntry, attached), 512U);
    EXPECT_EQ(offsetof(SegmentHeader, magic), 0U);
    EXPECT_EQ(offsetof(SegmentHeader, segment_bytes), 64U);
    EXPECT_EQ(offsetof(SegmentHeader, state) % kLinePair, 0U);
    EXPECT_EQ(offsetof(SegmentHeader, join_generation) % kLinePair, 0U);
}

TEST(Layout, what_lies_in_the_segment_has_no_pointer_and_no_destructor) {
    EXPECT_TRUE(std::is_standard_layout_v<SegmentHeader>);
    EXPECT_TRUE(std::is_trivially_destructible_v<SegmentHeader>);
    EXPECT_TRUE(std::is_standard_layout_v<DirectoryEntry>);
    EXPECT_TRUE(std::is_standard_layout_v<RingControl>);
    EXPECT_TRUE(std::is_trivially_copyable_v<EntryInfo>);
}

TEST(Layout, a_chunk_word_keeps_state_owner_and_generation_apart) {
    for (const std::uint64_t generation : {std::uint64_t{0}, std::uint64_t{1}, kGenerationMask}) {
        for (const std::uint32_t owner : {0U, 1U, 4095U}) {
            for (int state = 0; state <= 10; ++state) {
                const auto word = make_word(static_cast<ChunkState>(state), owner, generation);
                EXPECT_EQ(word_state(word), static_cast<ChunkState>(state));
                EXPECT_EQ(word_owner(word), owner);
                EXPECT_EQ(word_generation(word), generation);
            }
        }
    }
    EXPECT_EQ(word_owner(make_word(ChunkState::free, 0, kGenerationMask + 1)), 0U)
        << "the generation must not carry into the owner";
}

TEST(Layout, a_reference_names_chunk_and_generation_and_never_the_sentinels) {
    const std::uint64_t ref = make_ref(0x12'3456'789AULL, 0xABCDE);
    EXPECT_EQ(ref_chunk(ref), 0xABCDEU);
    EXPECT_TRUE(ref_names(ref, 0x12'3456'789AULL));
    EXPECT_TRUE(ref_names(ref, 0x12'3456'789AULL | 1ULL << 40U)) << "40 bits are compared";
    EXPECT_FALSE(ref_names(ref, 0x12'3456'789BULL));
    EXPECT_GT(ref_chunk(kClosedRef), kChunksMax);
    EXPECT_GE(ref_chunk(kNoRef), kChunksMax);
}

TEST(Layout, identities_destinations_and_entry_words_round_trip) {
    EXPECT_EQ(identity_slot(make_identity(1023, 77)), 1023U);
    EXPECT_NE(make_identity(0, 0), 0U) << "0 means nobody";
    EXPECT_EQ(dest_entry(make_dest(4095, 12)), 4095U);
    EXPECT_EQ(dest_generation(make_dest(4095, 12)), 12U);
    EXPECT_EQ(entry_state(make_entry_word(EntryState::recycling, 9)), EntryState::recycling);
    EXPECT_EQ(entry_generation(make_entry_word(EntryState::recycling, 9)), 9U);
    EXPECT_EQ(process_state(make_process_word(ProcessState::swept, 5)), ProcessState::swept);
    EXPECT_EQ(process_epoch(make_process_word(ProcessState::swept, 5)), 5U);
}

TEST(Layout, the_magic_number_reads_as_text) {
    const std::uint64_t magic = kMagic;
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(&magic), 8), "TELPHER1");
}

}  // namespace
}  // namespace telpher::shm
