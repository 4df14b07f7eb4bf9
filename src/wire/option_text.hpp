#pragma once
// Texts about options that are out of their range: which, what it is, what it may be.

#include "telpher/status.hpp"

#include <string>
#include <string_view>

namespace telpher::wire {

// "0.5", "1e+06".
[[nodiscard]] std::string number_text(double value);
// bad_request: "OPTION is VALUE, allowed are ALLOWED".
[[nodiscard]] Error option_out_of_range(std::string_view option,
                                        std::string_view value,
                                        std::string_view allowed);

}  // namespace telpher::wire
