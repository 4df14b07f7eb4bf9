#pragma once
// The report: for people on the terminal, for machines as JSON.

#include "bench/e2e/results.hpp"

#include <string>

namespace telpher::bench {

// The facts without which a figure means nothing.
struct Machine {
    std::string cpu;
    std::string kernel;
    std::string compiler;
    std::string build;  // optimised, assertions
    std::string date;   // UTC
    std::string load_before;
    std::string load_after;
    std::string scheduler;  // what this process, and all that it starts, run under
    long cores = 0;
};
Machine look_at_machine();
std::string load_average();

// What went wrong, and how much went well.
void print_smoke(const Results& results);
void print_report(const Context& context, const Machine& machine, const Results& results);
// Whether the file can be written. Errors: server_error with errno.
Result<void> ready_to_write(const std::string& path);
// Errors: server_error with errno.
Result<void> write_json(const std::string& path,
                        const Context& context,
                        const Machine& machine,
                        const Results& results);

}  // namespace telpher::bench
