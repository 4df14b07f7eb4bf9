#pragma once
// The command line of telpher_bench.

#include "bench/e2e/harness.hpp"

#include <string>
#include <vector>

namespace telpher::bench {

struct Arguments {
    std::vector<std::string> only;
    std::string json;
    bool list = false;
    bool smoke = false;  // figures mean nothing and are not printed
    bool cpus_given = false;
    std::uint64_t deadline_s = 900;
};

// Exits with a usage text if it cannot make sense of them, or after --help.
Arguments parse(int argc, char** argv, Context& context);

// The first two processors that this process may use, unless told otherwise. Exits if there is only
// one.
void choose_cpus(Context& context, const Arguments& arguments);

}  // namespace telpher::bench
