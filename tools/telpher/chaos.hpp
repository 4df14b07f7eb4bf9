// telpher chaos: processes that exchange messages are killed at random, and the books are held against each other.
#pragma once

#include "tools/telpher/options.hpp"

#include <cstdint>
#include <optional>
#include <string>

namespace telpher::cli {

enum class Victims : std::uint8_t { all, producers, consumers };

struct ChaosOptions {
    Common common;
    Victims victims = Victims::all;
    std::optional<double> kills_per_s;
    std::optional<Duration> duration;
    std::uint64_t seed = 0;  // 0: another one each time
};

ExitCode run_chaos(const ChaosOptions& options, Interrupt& interrupt);

// A process of it.
struct ChaosRole {
    Common common;
    std::string domain;
    int parent = 0;
    int account_fd = -1;
    std::string role;  // "producer", "consumer"
};
ExitCode run_chaos_role(const ChaosRole& role, Interrupt& interrupt);

}  // namespace telpher::cli
