#include "src/wire/option_text.hpp"

#include <array>
#include <cstdio>
#include <utility>

namespace telpher::wire {

std::string number_text(double value) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%g", value);
    return text.data();
}

Error option_out_of_range(std::string_view option,
                          std::string_view value,
                          std::string_view allowed) {
    std::string text(option);
    text += " is ";
    text += value;
    text += ", allowed are ";
    text += allowed;
    return {Status::bad_request, 0, std::move(text)};
}

}  // namespace telpher::wire
