// A value or the error that stands in its place; the member names are those of std::expected.
//
//   Returning    `return value;`, `return Status::queue_empty;` or `return Error{...};`
//   Looking      has_value(), bool, status(): no exception, no allocation
//   Taking       `*r`, `r->` after a look (asserted in debug builds), or value(), which throws
//                BadResult when there is none. Nothing else in the library throws.
//   Threads      like any value: one thread at a time, unless all only read
#pragma once

#include "telpher/status.hpp"

#include <cassert>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>

namespace telpher {

// Thrown by value() on a result without one, and by the accessors that say so (Message::text()).
class BadResult : public std::exception {
  public:
    explicit BadResult(Error error);

    [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }
    [[nodiscard]] const Error& error() const noexcept { return error_; }
    [[nodiscard]] Status status() const noexcept { return error_.status; }

  private:
    Error error_;
    std::string text_;
};

namespace detail {

// Out of line, so that a call of value() costs its caller one compare and a cold branch.
[[noreturn]] void throw_bad_result(Error error);

// An error that says `ok` is a mistake in the code that made it; it must not pass for a value.
[[nodiscard]] Error error_not_ok(Error error);

// What error() refers to on a result that has a value.
[[nodiscard]] const Error& no_error() noexcept;

}  // namespace detail

template <class T>
class [[nodiscard]] Result {
    static_assert(!std::is_reference_v<T>, "a result owns its value: use a pointer or a view");
    static_assert(!std::is_same_v<T, Error> && !std::is_same_v<T, Status>,
                  "a value of this type could not be told from an error");

    template <class U>
    static constexpr bool kIsValue =
        std::is_constructible_v<T, U> && !std::is_same_v<std::remove_cvref_t<U>, Result> &&
        !std::is_same_v<std::remove_cvref_t<U>, Error> &&
        !std::is_same_v<std::remove_cvref_t<U>, Status>;

  public:
    using value_type = T;

    template <class U = T>
    requires(kIsValue<U>) explicit(!std::is_convertible_v<U, T>)
        Result(U&& value)  // NOLINT(google-explicit-constructor)
        : state_(std::in_place_index<0>, std::forward<U>(value)) {}

    // A value made in place, without a temporary to move from.
    explicit Result(std::in_place_t) : state_(std::in_place_index<0>) {}

    Result(Error error)  // NOLINT(google-explicit-constructor)
        : state_(std::in_place_index<1>, std::move(error)) {
        if (std::get_if<1>(&state_)->status == Status::ok) [[unlikely]] {
            *std::get_if<1>(&state_) = detail::error_not_ok(std::move(*std::get_if<1>(&state_)));
        }
    }
    Result(Status status)  // NOLINT(google-explicit-constructor)
        : Result(Error{status, 0, {}}) {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    // Status::ok when there is a value.
    [[nodiscard]] Status status() const noexcept {
        const Error* error = std::get_if<1>(&state_);
        return error != nullptr ? error->status : Status::ok;
    }

    // The error; on a result that has a value, one that says `ok`.
    [[nodiscard]] const Error& error() const& noexcept {
        const Error* error = std::get_if<1>(&state_);
        return error != nullptr ? *error : detail::no_error();
    }
    [[nodiscard]] Error error() && noexcept {
        Error* error = std::get_if<1>(&state_);
        return error != nullptr ? std::move(*error) : Error{};
    }

    // The value; throws BadResult if there is none.
    T& value() & { return checked(); }
    const T& value() const& { return const_cast<Result*>(this)->checked(); }
    T&& value() && { return std::move(checked()); }

    [[nodiscard]] T& operator*() & noexcept { return unchecked(); }
    [[nodiscard]] const T& operator*() const& noexcept { return unchecked(); }
    [[nodiscard]] T&& operator*() && noexcept { return std::move(unchecked()); }
    [[nodiscard]] T* operator->() noexcept { return &unchecked(); }
    [[nodiscard]] const T* operator->() const noexcept { return &unchecked(); }

    template <class U>
    [[nodiscard]] T value_or(U&& other) const& {
        return has_value() ? unchecked() : static_cast<T>(std::forward<U>(other));
    }
    template <class U>
    [[nodiscard]] T value_or(U&& other) && {
        return has_value() ? std::move(unchecked()) : static_cast<T>(std::forward<U>(other));
    }

  private:
    T& checked() {
        if (!has_value()) [[unlikely]] {
            detail::throw_bad_result(error());
        }
        return *std::get_if<0>(&state_);
    }
    T& unchecked() noexcept {
        assert(has_value());
        return *std::get_if<0>(&state_);
    }
    const T& unchecked() const noexcept {
        assert(has_value());
        return *std::get_if<0>(&state_);
    }

    std::variant<T, Error> state_;
};

// Success or an error. `return {};` and `return Status::ok;` are success.
template <>
class [[nodiscard]] Result<void> {
  public:
    using value_type = void;

    Result() noexcept = default;
    Result(Error error) {  // NOLINT(google-explicit-constructor)
        if (error.status != Status::ok) {
            error_ = std::move(error);
        }
    }
    Result(Status status) {  // NOLINT(google-explicit-constructor)
        if (status != Status::ok) {
            error_ = Error{status, 0, {}};
        }
    }

    [[nodiscard]] bool has_value() const noexcept { return !error_.has_value(); }
    explicit operator bool() const noexcept { return has_value(); }
    [[nodiscard]] Status status() const noexcept { return error_ ? error_->status : Status::ok; }
    [[nodiscard]] const Error& error() const& noexcept {
        return error_ ? *error_ : detail::no_error();
    }
    [[nodiscard]] Error error() && noexcept { return error_ ? std::move(*error_) : Error{}; }

    // Throws BadResult if this is an error.
    void value() const {
        if (error_) [[unlikely]] {
            detail::throw_bad_result(*error_);
        }
    }
    void operator*() const noexcept { assert(has_value()); }

  private:
    std::optional<Error> error_;
};

}  // namespace telpher
