// The orders of the demo: one JSON object per line, checked, and what a worker makes of one.
#pragma once

#include "telpher/result.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::cli {

// The file in the executable.
[[nodiscard]] std::string_view shipped_orders();

// What the items of an order cost, in hundredths: the work that a worker does. 0 for an object
// without priced items, nothing for a text that is no JSON object.
[[nodiscard]] std::optional<std::int64_t> total_of(std::string_view order);

struct Order {
    std::string_view text;
    std::size_t line = 0;  // 1, 2, ... in the file
    std::int64_t total = 0;
};

// Splits and checks; the orders refer into `content`. Lines of white space are skipped.
//   errors  bad_request, naming the line: no JSON object on it, or no orders at all
Result<std::vector<Order>> parse_orders(std::string_view content, const std::string& source);

}  // namespace telpher::cli
