// telpher demo --durable: everything is killed, and every confirmed message is there again.
#pragma once

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <string>

namespace telpher::cli {

// Three producers and a worker of a durable queue are killed outright, the domain's memory is removed, as a restart of the
// machine would do, and the domain is built again from its log. Everything lies in a scratch folder.
ExitCode run_demo_durable(bool json, Interrupt& interrupt);

// One of these processes. Notes the numbers of what was confirmed, or taken, in a file, 8 bytes each.
struct DurableRole {
    Common common;
    std::string domain;
    std::string notes;
    int number = 0;  // of a producer; 0 = the worker
};
ExitCode run_durable_role(const DurableRole& role, Interrupt& interrupt);

}  // namespace telpher::cli
