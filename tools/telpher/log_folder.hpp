// What the commands on log folders share: opening one, and reading it while another process may write it.
//
// All but salvage look without the folder's lock. What a process that writes does meanwhile (segments that go, records
// that are half there) looks like a fault only once: they read again, and believe what is there twice.
#pragma once

#include "telpher/message_view.hpp"
#include "telpher/result.hpp"

#include "src/store/contents.hpp"
#include "src/store/log_reader.hpp"
#include "src/store/storage.hpp"
#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <CLI/CLI.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace telpher::cli {

struct OpenedLog {
    std::unique_ptr<store::Storage> storage;  // nothing: why was printed
    ExitCode refused = kExitOk;
};
// A folder with at least one segment, for reading.
[[nodiscard]] OpenedLog open_log(const std::string& folder, bool json);
// Whether a process has it open, to write it.
[[nodiscard]] bool log_in_use(const std::string& folder);

// `begin` forgets what an earlier reading found. An error of `visit` ends the reading.
struct LogPass {
    std::function<void()> begin;
    std::function<Result<void>(const store::Record&, const store::Place&)> visit;
};
// Reads all that is readable; damage is in the report.
//   errors   cancelled (the interrupt), and those of read_log but corrupt; another user's files are not_permitted
[[nodiscard]] Result<store::LogReport> read_settled(store::Storage& storage,
                                                    const Interrupt& interrupt,
                                                    const LogPass& pass);
// Whether a reading failed because a segment went meanwhile, so that it has to begin again.
[[nodiscard]] bool segment_went(const Error& error);

// What a log holds.
struct LogView {
    struct LsnRange {
        store::Lsn first = 0;
        store::Lsn last = 0;
    };

    store::LogReport report;  // its damages: also records that make no sense
    store::Contents contents;
    std::map<std::uint64_t, LsnRange> read;  // by segment: what was readable

    // The first segment whose header is readable; all say the same of the log.
    [[nodiscard]] const store::SegmentFacts& facts() const;
    [[nodiscard]] std::string name_of(std::uint32_t destination) const;
    [[nodiscard]] std::uint64_t records() const;
};
[[nodiscard]] Result<LogView> view_log(store::Storage& storage, const Interrupt& interrupt);

// "DIR/log.0000000000000002: offset 5000, record 17: WHY"
[[nodiscard]] std::string text_of(const store::Damage& damage, const store::Storage& storage);
[[nodiscard]] Json json_of(const std::vector<store::Damage>& damages,
                           const store::Storage& storage);
// After the results of a command that is not about damage: says on stderr that they are not all, if they are not.
[[nodiscard]] ExitCode print_damage(const std::string& folder,
                                    const store::LogReport& report,
                                    ExitCode printed,
                                    bool json);

// What a record of the kind `message` holds; it lives as long as the payload. Errors: corrupt (no encoded message).
[[nodiscard]] Result<MessageView> message_of(store::Bytes payload);

[[nodiscard]] std::string hex(std::span<const std::byte> bytes);

// The commands that are files of their own.
void add_log_dump(CLI::App& log, Command& command);
void add_log_diff(CLI::App& log, Command& command);

}  // namespace telpher::cli
