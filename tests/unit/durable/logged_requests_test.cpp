// Goal:   what a log says of requests counts as it is meant: torn, void, brought again, or nonsense.
// Method: logs written record by record, behind what a queue wrote.
#include "src/client/logged_requests.hpp"

#include "src/store/log.hpp"
#include "src/store/posix_storage.hpp"
#include "src/store/store.hpp"
#include "tests/unit/durable/durable_requests.hpp"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <memory>
#include <span>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

struct Entry {
    std::array<std::byte, 16> key{};
    store::RememberedRequest request{};

    [[nodiscard]] std::vector<std::byte> bytes() const {
        std::vector<std::byte> all(sizeof key + sizeof request);
        std::memcpy(all.data(), key.data(), sizeof key);
        std::memcpy(all.data() + sizeof key, &request, sizeof request);
        return all;
    }
};

// The log of a queue that has accepted one request, whose message is done, as a process left it that was killed: then
// what the test adds.
class DurableRequestsLog : public DurableRequests {
  protected:
    void begin() {
        make({});
        ASSERT_TRUE(queue_.offer(order("a"), 5s));
        queue_ = Queue{};
        server_ = Server{};
        ASSERT_TRUE(remove_domain(domain_.name(), true));
        folder_of_log_ = store::open_folder(log_, store::FolderMode::existing).value();
        store::LogReport report;
        store::ReadOptions reading;
        reading.visit = [&](const store::Record& record, const store::Place& /*place*/) {
            if (record.kind() == store::RecordKind::entry) {
                std::memcpy(entry_.key.data(), record.payload.data(), sizeof entry_.key);
                std::memcpy(&entry_.request,
                            record.payload.data() + sizeof entry_.key,
                            sizeof entry_.request);
                origin_ = record.header.origin;
                destination_ = record.header.destination;
            } else if (record.kind() == store::RecordKind::message) {
                message_.assign(record.payload.begin(), record.payload.end());
                ++messages_;
            }
            return Result<void>();
        };
        log_file_ = store::Log::open(*folder_of_log_,
                                     {.name = domain_.name(), .segment_bytes = 64U << 10U},
                                     reading,
                                     report)
                        .value();
        ASSERT_EQ(messages_, 1);
        ASSERT_NE(origin_, 0U);
    }
    void add(store::RecordKind kind, store::Bytes payload, store::Lsn origin = 0) {
        ASSERT_TRUE(log_file_->append(
            {.kind = kind,
             .destination = store::RecordKind::withdrawn == kind ? 0 : destination_,
             .origin = origin,
             .payload = payload}));
        ASSERT_TRUE(log_file_->sync());
    }
    void withdraw(store::Lsn origin) {
        const store::DoneRange range{origin, origin};
        add(store::RecordKind::withdrawn, std::as_bytes(std::span(&range, 1)));
    }
    void end() {
        log_file_.reset();
        folder_of_log_.reset();
        server_ = open();
        queue_ = server_.queue("orders").value();
    }

    std::unique_ptr<store::Storage> folder_of_log_;
    std::unique_ptr<store::Log> log_file_;
    Entry entry_;
    std::vector<std::byte> message_;
    store::Lsn origin_ = 0;
    std::uint32_t destination_ = 0;
    int messages_ = 0;
};

TEST_F(DurableRequestsLog, that_never_came_to_their_queue_may_be_offered_again) {
    begin();
    withdraw(origin_);
    end();
    EXPECT_EQ(take_all(), 0U);
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
    restart();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 0U) << "accepted, the second time";
}

// The power went between the two records.
TEST_F(DurableRequestsLog, without_their_message_count_for_nothing) {
    begin();
    withdraw(origin_);
    add(store::RecordKind::entry, entry_.bytes(), log_file_->next_lsn() + 1);
    end();
    EXPECT_EQ(take_all(), 0U);
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
}

// Its first message never came to its queue, and the machine ended before that was noted.
TEST_F(DurableRequestsLog, that_were_brought_again_come_once) {
    begin();
    entry_.request.made_wall_ms += 1;
    const store::Lsn second = log_file_->next_lsn() + 1;
    add(store::RecordKind::entry, entry_.bytes(), second);
    add(store::RecordKind::message, message_);
    end();
    EXPECT_EQ(queue_.offer(order("a"), 5s).value(), second);
    EXPECT_EQ(queue_.poll(0ms).value().sequence(), second);
    EXPECT_EQ(take_all(), 1U);
    restart();
    EXPECT_EQ(take_all(), 0U);
}

TEST_F(DurableRequestsLog, that_came_again_when_their_time_was_over_are_two_messages) {
    begin();
    entry_.request.made_wall_ms = entry_.request.expires_wall_ms;
    entry_.request.expires_wall_ms += 1000;
    add(store::RecordKind::entry, entry_.bytes(), log_file_->next_lsn() + 1);
    add(store::RecordKind::message, message_);
    end();
    EXPECT_EQ(take_all(), 2U);
}

TEST_F(DurableRequestsLog, that_make_no_sense_are_passed_by) {
    begin();
    Entry forever = entry_;
    forever.key.fill(std::byte{7});
    forever.request.expires_wall_ms = std::numeric_limits<std::uint64_t>::max();
    add(store::RecordKind::entry, forever.bytes(), 1);
    auto short_one = entry_.bytes();
    short_one.resize(20);
    short_one[0] = std::byte{1};
    add(store::RecordKind::entry, short_one, 2);
    end();
    EXPECT_EQ(take_all(), 1U);
    EXPECT_EQ(queue_.status().value().idempotency.entries, 2U) << "for the queue's time at most";
    EXPECT_TRUE(server_.verify().value().problems.empty());
}

// Two made the queue at once, and the one that lost was killed before it noted that its number is nobody's.
TEST_F(DurableRequestsLog, of_a_queue_with_two_numbers_are_those_of_the_one_that_was_used) {
    begin();
    std::vector<std::byte> definition;
    const store::ReadOptions reading{
        .visit = [&](const store::Record& record, const store::Place& /*place*/) {
            if (record.kind() == store::RecordKind::destination) {
                definition.assign(record.payload.begin(), record.payload.end());
            }
            return Result<void>();
        }};
    ASSERT_TRUE(store::read_log(*folder_of_log_, reading));
    const std::uint32_t used = destination_;
    for (const std::uint32_t number : {0U, used + 1}) {
        destination_ = number;
        add(store::RecordKind::destination, definition);
    }
    end();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 1U);
    restart();
    ASSERT_TRUE(queue_.offer(order("a"), 5s));
    EXPECT_EQ(take_all(), 0U);
}

TEST(LoggedRequests, of_one_id_cost_no_more_than_others) {
    detail::LoggedRequests requests;
    Entry entry;
    entry.request.expires_wall_ms = std::numeric_limits<std::uint64_t>::max();
    const std::vector<std::byte> payload = entry.bytes();
    const auto begun = std::chrono::steady_clock::now();
    for (store::Lsn i = 1; i <= 200'000; ++i) {
        store::Record record{};
        record.header.kind = static_cast<std::uint8_t>(store::RecordKind::entry);
        record.header.lsn = i + 1'000'000;
        record.header.origin = i;
        record.payload = payload;
        requests.take(record, {});
    }
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);  // the square of it: hours
    EXPECT_EQ(requests.brought_again([](store::Lsn /*origin*/) { return true; }).size(), 199'999U);
    EXPECT_TRUE(requests.brought_again([](store::Lsn /*origin*/) { return false; }).empty());
}

// Salvaged ones name their message by its new number; a store that cleans keeps that.
TEST(StoreEntries, of_withdrawn_messages_are_gone_and_the_newest_message_counts) {
    ScratchFolder folder;
    const auto storage = store::open_folder(folder.path(), store::FolderMode::existing).value();
    store::LogReport report;
    auto store = store::Store::open(*storage, {.name = "entries"}, report).value();
    const std::array<std::byte, 3> value{std::byte{1}, std::byte{2}, std::byte{3}};
    const store::EntryKey key{std::byte{9}};
    const store::Lsn first = store->put(1, value).value();
    const store::Lsn second = store->put(1, value).value();
    ASSERT_TRUE(store->set_entry(1, key, value, second));
    ASSERT_TRUE(store->set_entry(1, key, store::Bytes(value).first(1), first));
    const store::Contents::EntryId id{1, key};
    EXPECT_EQ(store->contents().entries().at(id).origin, second);
    EXPECT_EQ(store->contents().entries().at(id).value.size(), 3U);
    ASSERT_TRUE(store->done(std::vector{second}));
    EXPECT_TRUE(store->contents().entries().contains(id)) << "accepted, and done";
    ASSERT_TRUE(store->commit());
}

}  // namespace
}  // namespace telpher::test
