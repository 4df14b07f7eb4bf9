#include "telpher/result.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace telpher {
namespace {

Result<int> seven() { return 7; }
Result<int> full() { return Status::queue_full; }
Result<void> done() { return {}; }
Result<void> failed() { return Error{Status::peer_died, 3, "gone"}; }
Result<std::unique_ptr<int>> owned() { return std::make_unique<int>(7); }

TEST(Result, a_value_is_there_and_says_ok) {
    const auto result = seven();
    EXPECT_TRUE(result.has_value());
    EXPECT_TRUE(static_cast<bool>(result));
    EXPECT_EQ(result.status(), Status::ok);
    EXPECT_EQ(result.error().status, Status::ok);
    EXPECT_EQ(*result, 7);
    EXPECT_EQ(result.value(), 7);
    EXPECT_EQ(result.value_or(1), 7);
}

TEST(Result, a_status_is_an_error_without_detail) {
    const auto result = full();
    EXPECT_FALSE(result);
    EXPECT_EQ(result.status(), Status::queue_full);
    EXPECT_EQ(result.error(), (Error{Status::queue_full, 0, ""}));
    EXPECT_EQ(result.value_or(1), 1);
}

TEST(Result, value_of_an_error_throws_the_error) {
    try {
        (void)Result<int>{Error{Status::corrupt, 5, "at 12"}}.value();
        FAIL() << "value() returned";
    } catch (const BadResult& bad) {
        EXPECT_EQ(bad.status(), Status::corrupt);
        EXPECT_EQ(bad.error(), (Error{Status::corrupt, 5, "at 12"}));
        EXPECT_EQ(std::string{bad.what()}, to_string(bad.error()));
    }
    EXPECT_THROW(failed().value(), BadResult);
    EXPECT_NO_THROW(done().value());
}

TEST(Result, a_move_only_value_moves_out) {
    auto result = owned();
    EXPECT_EQ(**result, 7);
    const std::unique_ptr<int> taken = std::move(result).value();
    EXPECT_EQ(*taken, 7);
    EXPECT_EQ(*owned().value(), 7);
    EXPECT_EQ(*owned().value_or(nullptr), 7);
    EXPECT_EQ(*result, nullptr);
    static_assert(!std::is_copy_constructible_v<Result<std::unique_ptr<int>>>);
    static_assert(std::is_nothrow_move_constructible_v<Result<std::unique_ptr<int>>>);
}

TEST(Result, an_error_passes_from_one_type_to_another) {
    const auto outer = []() -> Result<std::string> {
        auto inner = full();
        if (!inner) {
            return std::move(inner).error();
        }
        return std::to_string(*inner);
    };
    EXPECT_EQ(outer().status(), Status::queue_full);
}

TEST(Result, converts_from_what_its_value_converts_from) {
    const Result<std::string> text = "espresso";
    EXPECT_EQ(text->size(), 8U);
    static_assert(std::is_convertible_v<const char*, Result<std::string>>);
    static_assert(!std::is_convertible_v<int, Result<std::unique_ptr<int>>>);
    static_assert(!std::is_constructible_v<Result<int>, std::string>);
    static_assert(!std::is_convertible_v<int*, Result<std::unique_ptr<int>>>,
                  "what is explicit for the value is explicit for the result");
}

TEST(Result, an_error_that_says_ok_does_not_pass_for_a_value) {
    const Result<int> result{Status::ok};
    EXPECT_FALSE(result.has_value());
    EXPECT_EQ(result.status(), Status::server_error);
}

TEST(Result, of_void_is_success_or_an_error) {
    EXPECT_TRUE(done());
    EXPECT_EQ(done().status(), Status::ok);
    EXPECT_TRUE(Result<void>{Status::ok});
    EXPECT_FALSE(failed());
    EXPECT_EQ(failed().error(), (Error{Status::peer_died, 3, "gone"}));
    Result<void> result = done();
    result = failed();
    EXPECT_EQ(result.status(), Status::peer_died);
    result = {};
    EXPECT_TRUE(result);
}

TEST(Result, can_be_assigned_over_either_kind) {
    Result<std::string> result = std::string(100, 'x');
    result = Status::timed_out;
    EXPECT_EQ(result.status(), Status::timed_out);
    result = std::string{"again"};
    EXPECT_EQ(*result, "again");
    Result<std::string> copy = result;
    EXPECT_EQ(*copy, *result);
}

}  // namespace
}  // namespace telpher
