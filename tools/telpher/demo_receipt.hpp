// What a worker of the demo publishes of an order that it has handled.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace telpher::cli {

struct Receipt {
    std::uint64_t order = 0;
    std::uint64_t worker = 0;  // 1, 2
    std::int64_t cents = 0;

    [[nodiscard]] std::string text() const {
        return std::string(kOrder) + std::to_string(order) + std::string(kWorker) +
               std::to_string(worker) + ",\"cents\":" + std::to_string(cents) + "}";
    }

    // Whose it is, from its beginning; whether all of it is right is for text() to tell.
    static std::optional<Receipt> read(std::string_view text) {
        Receipt receipt;
        const bool begins =
            take(text, kOrder, receipt.order) && take(text, kWorker, receipt.worker);
        return begins ? std::optional(receipt) : std::nullopt;
    }

  private:
    static constexpr std::string_view kOrder = "{\"order\":";
    static constexpr std::string_view kWorker = ",\"worker\":";

    // Takes `before` and the number behind it off the front of `text`.
    static bool take(std::string_view& text, std::string_view before, std::uint64_t& number) {
        if (!text.starts_with(before)) {
            return false;
        }
        text.remove_prefix(before.size());
        const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
        text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
        return parsed.ec == std::errc{};
    }
};

}  // namespace telpher::cli
