// The orders that `telpher demo` ships, in the executable: it works from any directory and
// installed.

#include "tools/telpher/demo_orders.hpp"

// The assembler searches the include folders of the compiler, and the root of the project is one.
asm(R"(
    .pushsection .rodata
    .global telpher_demo_orders_begin
    .hidden telpher_demo_orders_begin
    .global telpher_demo_orders_end
    .hidden telpher_demo_orders_end
telpher_demo_orders_begin:
    .incbin "tools/data/orders.jsonl"
telpher_demo_orders_end:
    .byte 0
    .popsection
)");

extern "C" {
extern const char telpher_demo_orders_begin[];  // NOLINT(modernize-avoid-c-arrays): a symbol
extern const char telpher_demo_orders_end[];    // NOLINT(modernize-avoid-c-arrays): a symbol
}

namespace telpher::cli {

std::string_view shipped_orders() {
    return {telpher_demo_orders_begin,
            static_cast<std::size_t>(telpher_demo_orders_end - telpher_demo_orders_begin)};
}

}  // namespace telpher::cli
