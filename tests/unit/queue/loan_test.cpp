#include "telpher/loan.hpp"

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

namespace telpher::test {
namespace {

struct Frame {
    std::uint64_t sequence;
    std::uint8_t pixels[1000];
};
struct OtherFrame {
    std::uint64_t sequence;
    std::uint8_t pixels[1000];
};

class LoanTest : public testing::Test {
  protected:
    std::uint64_t in_use() const {
        const VerifyReport report = server_.verify().value();
        EXPECT_TRUE(report.problems.empty()) << report.problems.front();
        return report.chunks_owned + report.chunks_claimed + report.chunks_offered;
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 2}).value();
};

TEST_F(LoanTest, a_loan_is_read_where_it_was_written) {
    Loan loan = queue_.loan("image", 2000).value();
    ASSERT_EQ(loan.payload().size(), 2000U);
    std::memset(loan.payload().data(), 7, 2000);
    const std::byte* written = loan.payload().data();
    ASSERT_EQ(queue_.offer(std::move(loan)).value(), 1U);
    const Delivery delivery = queue_.poll().value();
    EXPECT_EQ(delivery.topic(), "image");
    EXPECT_EQ(delivery.payload().data(), written) << "no copy";
    EXPECT_EQ(delivery.payload().size(), 2000U);
    EXPECT_EQ(delivery.payload()[1999], std::byte{7});
}

TEST_F(LoanTest, a_shrunk_loan_carries_what_was_used) {
    Loan loan = queue_.loan("t", 1000).value();
    loan.shrink(5000);
    EXPECT_EQ(loan.payload().size(), 1000U);
    std::memcpy(loan.payload().data(), "abc", 3);
    loan.shrink(3);
    ASSERT_TRUE(queue_.offer(std::move(loan)));
    EXPECT_EQ(queue_.poll()->payload().size(), 3U);
}

TEST_F(LoanTest, an_empty_payload_is_a_message_too) {
    ASSERT_TRUE(queue_.offer(queue_.loan("t", 0).value()));
    EXPECT_TRUE(queue_.poll()->payload().empty());
}

TEST_F(LoanTest, an_unsent_loan_goes_back_by_itself) {
    static_cast<void>(queue_.loan("t", 60'000));  // one chunk is kept for reuse
    const std::uint64_t before = in_use();
    { const Loan loan = queue_.loan("t", 60'000).value(); }
    EXPECT_EQ(in_use(), before);
}

TEST_F(LoanTest, assigning_to_a_loan_gives_the_old_one_back) {
    static_cast<void>(queue_.loan("t", 60'000));  // one chunk is kept for reuse
    const std::uint64_t before = in_use();
    Loan loan = queue_.loan("t", 60'000).value();
    loan = queue_.loan("t", 50'000).value();
    EXPECT_EQ(in_use(), before + 1);
    loan = Loan{};
    EXPECT_EQ(in_use(), before);
}

TEST_F(LoanTest, moved_from_only_on_success) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "1")));
    ASSERT_TRUE(queue_.offer(Message::text("t", "2")));
    Loan loan = queue_.loan("t", 8).value();
    std::memcpy(loan.payload().data(), "12345678", 8);
    EXPECT_EQ(queue_.offer(std::move(loan)).status(), Status::queue_full);
    ASSERT_TRUE(loan) << "still ours";  // NOLINT(bugprone-use-after-move): that is the point
    EXPECT_EQ(loan.payload()[7], std::byte{'8'});
    ASSERT_TRUE(queue_.poll());
    EXPECT_TRUE(queue_.offer(std::move(loan)));
    EXPECT_FALSE(loan);  // NOLINT(bugprone-use-after-move)
}

TEST_F(LoanTest, offering_a_loan_twice_is_a_bad_request_and_sends_nothing) {
    Loan loan = queue_.loan("t", 8).value();
    ASSERT_TRUE(queue_.offer(std::move(loan)));
    const auto again = queue_.offer(std::move(loan));  // NOLINT(bugprone-use-after-move)
    EXPECT_EQ(again.status(), Status::bad_request);
    EXPECT_NE(again.error().detail.find("loan is empty"), std::string::npos);
    EXPECT_EQ(queue_.status()->offered, 1U);
}

TEST_F(LoanTest, of_another_domain_is_refused_and_stays_whole) {
    const ScratchDomain elsewhere;
    Server other = elsewhere.open();
    Queue foreign = other.create_queue("q").value();
    Loan loan = foreign.loan("t", 8).value();
    const auto offered = queue_.offer(std::move(loan));
    EXPECT_EQ(offered.status(), Status::bad_request);
    EXPECT_NE(offered.error().detail.find("another domain"), std::string::npos);
    EXPECT_TRUE(foreign.offer(std::move(loan)));  // NOLINT(bugprone-use-after-move)
}

TEST_F(LoanTest, may_be_offered_to_another_queue_of_its_domain) {
    Queue second = server_.create_queue("second").value();
    ASSERT_TRUE(second.offer(queue_.loan("t", 8).value()));
    EXPECT_TRUE(second.poll());
    EXPECT_EQ(queue_.poll().status(), Status::queue_empty);
}

TEST_F(LoanTest, the_largest_chunk_can_be_filled_and_not_one_byte_more) {
    std::size_t largest = 0;
    for (std::size_t bytes = 65'000; bytes <= 65'536; ++bytes) {
        const auto loan = queue_.loan("t", bytes);
        if (!loan) {
            EXPECT_EQ(loan.status(), Status::message_too_large);
            EXPECT_NE(loan.error().detail.find("65520"), std::string::npos) << loan.error().detail;
            break;
        }
        largest = bytes;
    }
    ASSERT_GT(largest, 65'000U);
    const std::string text(largest, 'x');
    EXPECT_TRUE(queue_.offer(Message::text("t", text)));
    EXPECT_EQ(queue_.poll()->text(), text);
    EXPECT_EQ(queue_.offer(Message::text("t", text + "x")).status(), Status::message_too_large);
    EXPECT_EQ(queue_.loan("t", ~std::size_t{0}).status(), Status::message_too_large);
    EXPECT_EQ(queue_.loan("t", ~std::size_t{0} - 100).status(), Status::message_too_large);
}

TEST_F(LoanTest, a_typed_loan_is_aligned_and_read_in_place) {
    auto frame = queue_.loan<Frame>().value();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(frame.get()) % 64, 0U);
    frame->sequence = 42;
    frame->pixels[999] = 9;
    ASSERT_TRUE(queue_.offer(std::move(frame)));
    const auto polled = queue_.poll_as<Frame>();
    ASSERT_TRUE(polled);
    EXPECT_EQ(polled.status(), Status::ok);
    EXPECT_EQ(polled->sequence, 42U);
    EXPECT_EQ((*polled).pixels[999], 9);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(polled.get()) % 64, 0U);
}

TEST_F(LoanTest, polling_another_type_is_a_mismatch) {
    ASSERT_TRUE(queue_.offer(queue_.loan<OtherFrame>().value()));
    const auto same_size = queue_.poll_as<Frame>();
    EXPECT_FALSE(same_size);
    EXPECT_EQ(same_size.status(), Status::mismatch);
    ASSERT_TRUE(queue_.offer(queue_.loan<std::uint32_t>().value()));
    EXPECT_EQ(queue_.poll_as<std::int32_t>().status(), Status::mismatch);
    ASSERT_TRUE(queue_.offer(Message::text("t", "text")));
    const auto untyped = queue_.poll_as<Frame>();
    EXPECT_EQ(untyped.status(), Status::mismatch);
    EXPECT_NE(untyped.error().detail.find("typed loan"), std::string::npos);
    EXPECT_EQ(queue_.poll_as<Frame>().status(), Status::queue_empty);
    EXPECT_EQ(queue_.poll_as<Frame>(std::chrono::milliseconds(1)).status(), Status::timed_out);
}

TEST_F(LoanTest, a_typed_message_that_was_shrunk_is_never_read_as_a_whole) {
    auto frame = queue_.loan<Frame>().value();
    frame.untyped().shrink(8);
    ASSERT_TRUE(queue_.offer(std::move(frame)));
    const auto polled = queue_.poll_as<Frame>();
    EXPECT_FALSE(polled);
    EXPECT_EQ(polled.status(), Status::corrupt) << "its type says more bytes than it has";
}

TEST_F(LoanTest, a_delivery_moves_between_threads) {
    ASSERT_TRUE(queue_.offer(Message::text("t", "from here")));
    Delivery delivery = queue_.poll().value();
    std::thread([moved = std::move(delivery)]() mutable {
        EXPECT_EQ(moved.text(), "from here");
        moved.release();
        EXPECT_FALSE(moved);
    }).join();
    EXPECT_FALSE(delivery);  // NOLINT(bugprone-use-after-move): moved from is empty
    in_use();
}

TEST_F(LoanTest, a_loan_of_one_thread_is_offered_by_another) {
    Loan loan = queue_.loan("t", 8).value();
    std::thread([this, moved = std::move(loan)]() mutable {
        EXPECT_TRUE(queue_.offer(std::move(moved)));
    }).join();
    EXPECT_TRUE(queue_.poll());
}

TEST_F(LoanTest, a_queue_can_have_every_chunk_and_gives_all_back) {
    Queue large = server_.create_queue("large", {.capacity = 4000}).value();
    std::uint64_t offered = 0;
    while (large.offer(Message::text("t", "small"))) {
        ++offered;
    }
    EXPECT_EQ(large.offer(Message::text("t", "small")).status(), Status::out_of_memory);
    EXPECT_GT(offered, 1000U);
    for (std::uint64_t i = 0; i < offered; ++i) {
        ASSERT_TRUE(large.poll());
    }
    EXPECT_LE(in_use(), 8U * 4U) << "no more than what a thread keeps for reuse";
    EXPECT_TRUE(large.offer(Message::text("t", "small")));
}

}  // namespace
}  // namespace telpher::test
