#pragma once
// The command line of telpher_bench.

#include "bench/e2e/harness.hpp"

#include <string>
#include <vector>

namespace telpher::bench {

inline constexpr const char* kStandardOutput = "-";

struct Arguments {
    std::vector<std::string> only;
    std::string json;     // a file, kStandardOutput, or nothing
    std::string plot;     // a folder, or nothing
    bool peers = false;   // other people's transports, too
    bool sweeps = false;  // how costs grow, too
    bool list = false;
    bool smoke = false;  // figures mean nothing and are not printed
    bool cpus_given = false;
    std::uint64_t deadline_s = 3600;
};

// Exits with a usage text if it cannot make sense of them, or after --help.
Arguments parse(int argc, char** argv, Context& context);

// The first two processors that this process may use, unless told otherwise. Exits if there is only
// one.
void choose_cpus(Context& context, const Arguments& arguments);

}  // namespace telpher::bench
