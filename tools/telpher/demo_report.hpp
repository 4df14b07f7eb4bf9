// What the demo tells in the end: as text, or as one JSON object.
#pragma once

#include "tools/telpher/demo_proof.hpp"
#include "tools/telpher/output.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace telpher::cli {

struct DemoReport {
    DemoReport(const SharedAccount& account, const DemoRun& run);

    [[nodiscard]] bool ok() const;
    [[nodiscard]] std::string to_text() const;
    [[nodiscard]] Json to_json() const;

    DemoRun run;
    DemoCount count;
    LatencyHistogram latency;
    double paced_rate = 0;
    double rate_two = 0;  // full speed, two workers, messages per second
    double rate_one = 0;  // after the kill
    LatencyHistogram calls;
    std::array<std::uint64_t, 3> stall_ns{};  // before the kills, after the first, after both
    std::vector<Proof> proofs;

  private:
    void measure(const SharedAccount& account);
};

// Names in /dev/shm that belong to the domain, and the domain itself while it is still listed.
[[nodiscard]] std::vector<std::string> leftovers_of(const std::string& domain);

}  // namespace telpher::cli
