// What offer and pub share: payloads from the command line, a file or the lines of stdin, with
// headers, as often and as fast as was asked for.
#pragma once

#include "telpher/message.hpp"
#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"
#include "tools/telpher/signals.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace telpher::cli {

struct PayloadOptions {
    std::optional<std::string> text;  // "-" = lines of stdin
    std::string file;
    std::uint64_t repeat = 1;
    std::optional<double> rate;
    std::string request_id;
    std::optional<Duration> ttl;
    std::optional<Duration> delay;  // of offers
    std::string reply_to;
    std::string mimetype;
    bool durable = false;  // of offers

    // Not both of TEXT and --file, and not neither.
    [[nodiscard]] bool one_source() const { return text.has_value() == file.empty(); }
};

// `options` must live as long as the command.
void add_payload_options(CLI::App& command, PayloadOptions& options);

// Says that one_source() is false.
[[nodiscard]] ExitCode print_payload_usage(const std::string& command, bool json);

// Sends every message, by `send`, one after the other; each has passed Message::check.
//
//   errors  cancelled (the interrupt), what is wrong with the source or a message, and those of
//           `send`: the first one ends it
[[nodiscard]] Result<void> send_payloads(const PayloadOptions& options,
                                         const std::string& topic,
                                         Interrupt& interrupt,
                                         const std::function<Result<void>(const Message&)>& send);

// The numbers that the sent messages were given.
class SentNumbers {
  public:
    void add(std::uint64_t sequence) {
        first_ = count_ == 0 ? sequence : first_;
        last_ = sequence;
        ++count_;
    }
    [[nodiscard]] std::uint64_t count() const { return count_; }
    // first_sequence and last_sequence, null when nothing was sent.
    void put_into(Json& object) const;
    // ", number 3", ", numbers 3 to 9", or nothing.
    [[nodiscard]] std::string text() const;

  private:
    std::uint64_t count_ = 0;
    std::uint64_t first_ = 0;
    std::uint64_t last_ = 0;
};

}  // namespace telpher::cli
