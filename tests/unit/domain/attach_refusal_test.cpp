// What attaching answers to a file that is no sound domain: the right status, a text that says why,
// no crash, nothing changed and nothing left.

#include "shm/layout.hpp"
#include "tests/unit/domain/attach_refusals.hpp"
#include "tests/unit/domain/attach_refusals_header.hpp"
#include "tests/unit/domain/shm_without_room.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdio>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <vector>

namespace telpher::test {
namespace {
class AttachRefusal : public testing::TestWithParam<Refusal> {};
std::string name_of(const testing::TestParamInfo<Refusal>& info) { return info.param.name; }
INSTANTIATE_TEST_SUITE_P(Bytes, AttachRefusal, testing::ValuesIn(files_of_wrong_bytes()), name_of);
INSTANTIATE_TEST_SUITE_P(Kinds, AttachRefusal, testing::ValuesIn(files_of_another_kind()), name_of);
INSTANTIATE_TEST_SUITE_P(Owners, AttachRefusal, testing::ValuesIn(files_of_others()), name_of);
INSTANTIATE_TEST_SUITE_P(Builds,
                         AttachRefusal,
                         testing::ValuesIn(headers_of_other_builds()),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Counts, AttachRefusal, testing::ValuesIn(counts_out_of_range()), name_of);
INSTANTIATE_TEST_SUITE_P(Regions, AttachRefusal, testing::ValuesIn(regions_and_classes()), name_of);

TEST_P(AttachRefusal, is_refused_with_a_reason) {
    const Refusal& refusal = GetParam();
    if (refusal.root_only && geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away: run as root to see it refused";
    }
    const ScratchDomain domain;
    domain.make();
    refusal.spoil(Victim(domain.path()));
    const auto before = files_of(domain.name());
    const auto client = connect(domain.uri());
    const auto server = Server::open(domain.name(), {.mode = OpenMode::attach});
    EXPECT_EQ(to_string(client.status()), to_string(refusal.status)) << client.error().detail;
    EXPECT_EQ(to_string(server.status()), to_string(refusal.status)) << server.error().detail;
    for (const char* text : refusal.texts) {
        EXPECT_NE(client.error().detail.find(text), std::string::npos)
            << "no '" << text << "' in: " << client.error().detail;
    }
    EXPECT_EQ(files_of(domain.name()), before) << "refusing must change nothing";
    if (refusal.status != Status::domain_not_found) {
        const auto opened = Server::open(domain.name());
        EXPECT_EQ(to_string(opened.status()), to_string(refusal.status))
            << "nor may it be replaced";
    }
    std::filesystem::remove_all(domain.path());  // a folder is beyond ScratchDomain
}

// Scorecard row 11: the cases of this table and of small_shm_test.cpp.
TEST(AttachRefusals, are_more_than_sixty_cases_each_of_its_own) {
    std::set<std::string> names;
    std::size_t cases = 0;
    for (const auto& part : {files_of_wrong_bytes(),
                             files_of_another_kind(),
                             files_of_others(),
                             headers_of_other_builds(),
                             counts_out_of_range(),
                             regions_and_classes()}) {
        for (const Refusal& refusal : part) {
            names.insert(refusal.name);
            EXPECT_FALSE(refusal.texts.empty()) << refusal.name;
            ++cases;
        }
    }
    const std::size_t rooms = shm_without_room().size();
    std::printf("  %zu files that are no sound domain, %zu /dev/shm without room\n", cases, rooms);
    EXPECT_EQ(names.size(), cases);
    EXPECT_GE(cases + rooms, 60U);
}

// ---- near the edge, but sound ------------------------------------------------------------------

class AttachAcceptance : public testing::TestWithParam<Refusal> {};
INSTANTIATE_TEST_SUITE_P(
    Files,
    AttachAcceptance,
    testing::Values(Refusal{"untouched", [](const Victim&) {}, Status::ok, {}},
                    Refusal{"a_higher_minor_version",
                            put(offsetof(SegmentHeader, layout_minor), std::uint16_t{9}),
                            Status::ok,
                            {}},
                    Refusal{"open_to_a_group", mode(0660), Status::ok, {}},
                    Refusal{"of_another_owner_open_to_our_group",
                            [](const Victim& v) {
                                ASSERT_EQ(chmod(v.path(), 0660) + chown(v.path(), 65534, getegid()),
                                          0);
                            },
                            Status::ok,
                            {},
                            true},
                    Refusal{"an_unknown_optional_region",
                            [](const Victim& v) {
                                const auto count =
                                    v.get<std::uint32_t>(offsetof(SegmentHeader, region_count));
                                v.put(Victim::region(count), shm::Region{99, 1, 0, 4096, 4096});
                                v.put(offsetof(SegmentHeader, region_count), count + 1);
                            },
                            Status::ok,
                            {}}),
    name_of);

TEST_P(AttachAcceptance, is_attached) {
    if (GetParam().root_only && geteuid() != 0) {
        GTEST_SKIP() << "only root can give a file away: run as root to see it accepted";
    }
    const ScratchDomain domain;
    domain.make();
    GetParam().spoil(Victim(domain.path()));
    const auto client = connect(domain.uri());
    EXPECT_TRUE(client) << to_string(client.error());
}

TEST(Attach, a_hole_in_the_file_is_filled_before_it_can_become_a_signal) {
    const ScratchDomain domain;
    domain.make();
    const int file = open(domain.path().c_str(), O_RDWR | O_CLOEXEC);
    struct stat facts {};
    ASSERT_EQ(fstat(file, &facts), 0);
    ASSERT_EQ(
        fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, facts.st_size - 65536, 65536),
        0);
    const auto client = connect(domain.uri());
    EXPECT_TRUE(client) << to_string(client.error());
    ASSERT_EQ(fstat(file, &facts), 0);
    EXPECT_GE(facts.st_blocks * 512, facts.st_size);
    close(file);
}

TEST(Attach, a_domain_whose_remover_was_killed_is_cleaned_away) {
    const ScratchDomain domain;
    domain.make();
    Victim(domain.path())
        .put(offsetof(SegmentHeader, state), static_cast<std::uint32_t>(shm::DomainState::removed));
    EXPECT_EQ(connect(domain.uri()).status(), Status::domain_not_found);
    EXPECT_TRUE(files_of(domain.name()).empty());
    EXPECT_TRUE(domain.open().created()) << "the name is free again";
}

TEST(Attach, a_renamed_file_is_refused_under_its_new_name) {
    const ScratchDomain domain;
    const ScratchDomain other;
    domain.make();
    ASSERT_EQ(rename(domain.path().c_str(), other.path().c_str()), 0);
    const auto client = connect(other.uri());
    EXPECT_EQ(client.status(), Status::corrupt);
    EXPECT_NE(client.error().detail.find("another name"), std::string::npos);
}

TEST(Attach, names_shaped_like_internal_files_are_refused) {
    const std::string uuid = "0123456789abcdef0123456789abcdef";
    for (const std::string& name : {"x." + uuid + ".0", "a.b." + uuid + ".17"}) {
        EXPECT_EQ(connect("shm:" + name).status(), Status::bad_request) << name;
        EXPECT_EQ(Server::open(name).status(), Status::bad_request) << name;
    }
    EXPECT_EQ(connect("shm:x." + uuid).status(), Status::domain_not_found);
    EXPECT_EQ(connect("shm:x." + uuid + ".k").status(), Status::domain_not_found);
}

}  // namespace
}  // namespace telpher::test
