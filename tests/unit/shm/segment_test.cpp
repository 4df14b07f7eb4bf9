// Laying out and checking segments, and the names of their files. What attaching answers to damaged
// ones: tests/unit/domain/attach_refusal_test.cpp.

#include "shm/segment.hpp"

#include "tests/unit/support/scratch_segment.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

using shm::RegionKind;

TEST(Segment, the_default_domain_fits_into_64_mib) {
    auto header = std::make_unique<shm::SegmentHeader>();
    shm::SegmentPlan plan;
    plan.name = "default";
    ASSERT_TRUE(shm::plan_layout(plan, *header));
    EXPECT_LE(header->segment_bytes, 64U << 20U);
    EXPECT_EQ(header->processes_max, 1024U);
    EXPECT_EQ(header->threads_max, 4096U);
    EXPECT_EQ(header->destinations_max, 4096U);
}

TEST(Segment, every_plan_in_range_passes_the_checks_of_a_reader) {
    for (const std::uint64_t pool : {1ULL << 20U, 24ULL << 20U, 1ULL << 30U, 3ULL << 30U}) {
        for (const std::uint64_t rings : {64ULL << 10U, 20ULL << 20U, 4ULL << 30U}) {
            for (const std::uint32_t few : {1U, 7U, 1024U}) {
                auto header = std::make_unique<shm::SegmentHeader>();
                shm::SegmentPlan plan = small_plan("plan");
                plan.pool_bytes = pool;
                plan.ring_bytes = rings;
                plan.processes_max = plan.threads_max = plan.destinations_max = few;
                ASSERT_TRUE(shm::plan_layout(plan, *header)) << pool << " " << rings;
                header->magic = shm::kMagic;
                header->layout_major = shm::kLayoutMajor;
                header->header_bytes = sizeof(shm::SegmentHeader);
                header->abi_hash = shm::abi_hash();
                header->name_bytes = 4;
                const shm::Uuid boot = shm::boot_id();
                std::memcpy(header->boot_id, boot.data(), boot.size());
                const auto sound = shm::check_header(*header, header->segment_bytes);
                EXPECT_TRUE(sound) << to_string(sound.error());
            }
        }
    }
}

TEST(Segment, regions_and_classes_do_not_overlap) {
    ScratchSegment scratch;
    const shm::Segment& segment = scratch.survivor().segment;
    std::vector<std::pair<const std::byte*, const std::byte*>> pieces;
    for (std::uint32_t kind = 1; kind <= 7; ++kind) {
        const auto region = segment.region(static_cast<RegionKind>(kind));
        ASSERT_FALSE(region.empty()) << kind;
        pieces.emplace_back(region.data(), region.data() + region.size());
    }
    std::sort(pieces.begin(), pieces.end());
    for (std::size_t i = 1; i < pieces.size(); ++i) {
        EXPECT_GE(pieces[i].first, pieces[i - 1].second);
    }
    EXPECT_GE(pieces.front().first, segment.base() + shm::kPageBytes);
    EXPECT_LE(pieces.back().second, segment.base() + segment.size_bytes());
    std::uint64_t end = 0;
    for (const shm::ChunkClass& c : segment.classes()) {
        EXPECT_GE(c.offset, end);
        EXPECT_EQ(c.offset % shm::kCacheLine, 0U);
        end = c.offset + static_cast<std::uint64_t>(c.chunk_bytes) * c.chunk_count;
    }
}

TEST(Segment, another_process_maps_the_same_bytes_and_reads_the_same_facts) {
    ScratchSegment scratch;
    const auto other = scratch.another();
    const shm::Segment& a = scratch.survivor().segment;
    const shm::Segment& b = other->segment;
    EXPECT_NE(a.base(), b.base());
    EXPECT_EQ(a.uuid(), b.uuid());
    EXPECT_EQ(a.name(), b.name());
    EXPECT_EQ(a.size_bytes(), b.size_bytes());
    EXPECT_EQ(a.options_hash(), b.options_hash());
    a.region(RegionKind::rings)[100] = std::byte{42};
    EXPECT_EQ(b.region(RegionKind::rings)[100], std::byte{42});
    a.region(RegionKind::rings)[100] = std::byte{0};
}

TEST(Segment, facts_are_copied_so_that_a_scribble_cannot_move_them) {
    ScratchSegment scratch;
    shm::Segment& segment = scratch.survivor().segment;
    const auto before = segment.region(RegionKind::chunks);
    segment.header().regions[0].offset = ~0ULL;
    segment.header().class_count = 99;
    segment.header().processes_max = 0;
    EXPECT_EQ(segment.region(RegionKind::chunks).data(), before.data());
    EXPECT_EQ(segment.classes().size(), 8U);
    EXPECT_EQ(segment.processes_max(), 8U);
}

TEST(Segment, publish_never_replaces_a_racing_creators_domain) {
    const std::string name = unique_name();
    shm::Segment first = shm::Segment::create(small_plan(name)).value();
    shm::Segment second = shm::Segment::create(small_plan(name)).value();
    ASSERT_TRUE(first.publish());
    EXPECT_EQ(second.publish().status(), Status::already_exists);
    EXPECT_TRUE(first.named());
    EXPECT_FALSE(second.named());
    second.unlink();
    EXPECT_TRUE(first.named()) << "only its own name goes";
    EXPECT_EQ(files_of(name).size(), 2U);
    first.unlink();
    EXPECT_TRUE(files_of(name).empty());
}

TEST(Segment, a_swept_private_file_is_told_at_publish) {
    const std::string name = unique_name();
    shm::Segment segment = shm::Segment::create(small_plan(name)).value();
    segment.unlink();
    EXPECT_EQ(segment.publish().status(), Status::domain_not_found);
    EXPECT_TRUE(files_of(name).empty());
}

TEST(Segment, private_file_names_are_told_from_domain_names) {
    const shm::Uuid uuid{};
    EXPECT_TRUE(shm::is_private_file(shm::private_file("cafe", uuid)));
    EXPECT_TRUE(shm::is_private_file("telpher.a.b." + std::string(32, 'f') + ".12"));
    EXPECT_FALSE(shm::is_private_file(shm::public_file("cafe")));
    EXPECT_FALSE(shm::is_private_file("telpher.x." + std::string(32, 'g') + ".0"));
    EXPECT_FALSE(shm::is_private_file("telpher.x." + std::string(31, 'f') + ".0"));
    EXPECT_FALSE(shm::is_private_file("telpher.x." + std::string(32, 'f') + "."));
    EXPECT_FALSE(shm::is_private_file(""));
    EXPECT_FALSE(shm::is_private_file("."));
}

}  // namespace
}  // namespace telpher::test
