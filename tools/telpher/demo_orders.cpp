#include "tools/telpher/demo_orders.hpp"

#include "telpher/message.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace telpher::cli {

namespace {

// A number of hundredths, or 0 for what is no price: an order may be any object.
std::int64_t hundredths(const nlohmann::json& item, const char* key) {
    const auto found = item.find(key);
    if (found == item.end() || !found->is_number()) {
        return 0;
    }
    const double value = found->get<double>() * 100;
    return std::abs(value) < 1e15 ? std::llround(value) : 0;
}

std::int64_t quantity_of(const nlohmann::json& item) {
    const auto found = item.find("quantity");
    const bool usable = found != item.end() && found->is_number_unsigned() && *found <= 1'000'000U;
    return usable ? found->get<std::int64_t>() : 1;
}

Result<Order> parse_order(std::string_view text, std::size_t line) {
    const auto where = "line " + std::to_string(line) + ": ";
    if (const auto checked = Message::json("order", text).check(); !checked) {
        return Error{checked.status(), 0, where + checked.error().detail};
    }
    const auto total = total_of(text);
    if (!total) {
        return Error{Status::bad_request, 0, where + "this is JSON, but no object {...}"};
    }
    return Order{text, line, *total};
}

}  // namespace

std::optional<std::int64_t> total_of(std::string_view order) {
    const auto object = nlohmann::json::parse(order, nullptr, false);  // no exceptions
    if (!object.is_object()) {
        return std::nullopt;
    }
    std::int64_t total = 0;
    if (const auto items = object.find("items"); items != object.end() && items->is_array()) {
        for (const auto& item : *items) {
            if (item.is_object()) {
                // Unsigned, because a file may hold any numbers: an overflow wraps, the same for
                // all.
                total = static_cast<std::int64_t>(
                    static_cast<std::uint64_t>(total) +
                    static_cast<std::uint64_t>(quantity_of(item)) *
                        static_cast<std::uint64_t>(hundredths(item, "price")));
            }
        }
    }
    return total;
}

Result<std::vector<Order>> parse_orders(std::string_view content, const std::string& source) {
    std::vector<Order> orders;
    std::size_t line = 0;
    while (!content.empty()) {
        ++line;
        const auto end = content.find('\n');
        const auto text = content.substr(0, end);
        content.remove_prefix(end == std::string_view::npos ? content.size() : end + 1);
        if (text.find_first_not_of(" \t\r") == std::string_view::npos) {
            continue;
        }
        const auto order = parse_order(text, line);
        if (!order) {
            return Error{order.status(), 0, source + ", " + order.error().detail};
        }
        orders.push_back(*order);
    }
    if (orders.empty()) {
        return Error{
            Status::bad_request, 0, source + " is empty: one JSON object per line is needed"};
    }
    return orders;
}

}  // namespace telpher::cli
