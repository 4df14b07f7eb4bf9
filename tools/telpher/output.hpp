// What the command line prints: results to stdout, errors to stderr, as tables or JSON, and with
// which code it exits.
#pragma once

#include "telpher/status.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::cli {

// Keys in the order in which they were put in: people read this too.
using Json = nlohmann::ordered_json;

enum ExitCode : int {
    kExitOk = 0,
    kExitError = 1,
    kExitUsage = 2,
    kExitTimeout = 3,  // also: empty, full
    kExitNotFound = 4,
    kExitDenied = 5,
};

[[nodiscard]] ExitCode exit_code(Status status);

// Writes all of `text` to stdout at once, not through a buffer: what is printed must not be lost
// with the process. False if the reader has gone or the disk is full.
[[nodiscard]] bool write_out(std::string_view text);

// As write_out, for the one result of a command. A reader that has gone saw what it wanted
// (kExitOk).
[[nodiscard]] ExitCode print_text(std::string_view text);
[[nodiscard]] ExitCode print_json(const Json& json);

// Prints why a command failed (what happened, why, what to do) to stderr, and returns its exit
// code. With `json` one object: {"error": {status, detail, cause, fix, os_error, exit_code}}.
ExitCode print_error(const Error& error, bool json);
// The same for arguments that cannot be understood.
ExitCode print_usage_error(std::string_view detail, std::string_view fix, bool json);
// The same for something that was named and that there is none of, and that no status stands for.
ExitCode print_not_found(std::string_view detail, std::string_view fix, bool json);

// Tells something beside the results that is no failure, on stderr: as text, or as one object.
void print_note(std::string_view text, const Json& object, bool json);

// JSON text, with bytes that are not UTF-8 replaced.
[[nodiscard]] std::string dump(const Json& json);

// Aligned columns under a line of names.
class Table {
  public:
    explicit Table(std::vector<std::string> names);
    // A cell that is a number is aligned to the right if its column was named in `right_aligned`.
    Table& align_right(std::vector<std::size_t> columns);
    void add(std::vector<std::string> row);
    [[nodiscard]] bool empty() const { return rows_.size() == 1; }
    [[nodiscard]] std::string text() const;

  private:
    std::vector<std::vector<std::string>> rows_;  // the first holds the names
    std::vector<bool> right_;
};

// Control characters of names and payloads must not reach a terminal as such.
[[nodiscard]] std::string printable(std::string_view text);

// Whether colours and progress bars may go to the descriptor.
[[nodiscard]] bool colours(int fd);
[[nodiscard]] bool is_terminal(int fd);

// A line on stderr that is drawn over itself, only on a terminal.
class ProgressBar {
  public:
    explicit ProgressBar(bool wanted);
    ~ProgressBar() { clear(); }
    ProgressBar(const ProgressBar&) = delete;
    ProgressBar& operator=(const ProgressBar&) = delete;

    void show(std::string_view label, double fraction);
    void clear();

  private:
    bool enabled_;
    int percent_ = -1;  // what is drawn now
};

}  // namespace telpher::cli
