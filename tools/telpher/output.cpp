#include "tools/telpher/output.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace telpher::cli {

namespace {

bool write_all(int fd, std::string_view text) {
    while (!text.empty()) {
        const auto written = ::write(fd, text.data(), text.size());
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
    return true;
}

void write_error_line(std::string_view text) {
    const bool colour = colours(STDERR_FILENO);
    std::string line = colour ? "\x1b[31mtelpher:\x1b[0m " : "telpher: ";
    line += text;
    line += '\n';
    [[maybe_unused]] const bool written = write_all(STDERR_FILENO, line);  // nobody left to tell
}

ExitCode print_error_object(const Error& error, const StatusInfo& info, ExitCode code) {
    const Json object{{"error",
                       {{"status", info.name},
                        {"detail", error.detail},
                        {"cause", info.cause},
                        {"fix", info.fix},
                        {"os_error", error.os_error},
                        {"exit_code", static_cast<int>(code)}}}};
    [[maybe_unused]] const bool written = write_all(STDERR_FILENO, dump(object) + '\n');
    return code;
}

ExitCode print_bad_request(std::string_view detail,
                           std::string_view fix,
                           ExitCode code,
                           bool json) {
    if (json) {
        StatusInfo info = describe(Status::bad_request);
        info.fix = fix;
        return print_error_object(Error{Status::bad_request, 0, std::string(detail)}, info, code);
    }
    write_error_line(printable(detail) + "; " + std::string(fix));
    return code;
}

// Columns on a terminal, near enough: code points, not bytes.
std::size_t width(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
        return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
    }));
}

}  // namespace

ExitCode exit_code(Status status) {
    switch (status) {
        case Status::ok:
            return kExitOk;
        case Status::bad_request:
            return kExitUsage;
        case Status::timed_out:
        case Status::queue_empty:
        case Status::queue_full:
            return kExitTimeout;
        case Status::domain_not_found:
        case Status::domain_removed:
        case Status::queue_not_found:
        case Status::topic_not_found:
        case Status::function_not_found:
            return kExitNotFound;
        case Status::not_permitted:
            return kExitDenied;
        default:
            return kExitError;
    }
}

bool write_out(std::string_view text) { return write_all(STDOUT_FILENO, text); }

ExitCode print_text(std::string_view text) {
    if (write_out(text) || errno == EPIPE) {
        return kExitOk;
    }
    return print_error(Error{Status::server_error, errno, "cannot write the result to stdout"},
                       false);
}

ExitCode print_json(const Json& json) { return print_text(dump(json) + '\n'); }

ExitCode print_error(const Error& error, bool json) {
    const ExitCode code = exit_code(error.status);
    if (json) {
        return print_error_object(error, describe(error.status), code);
    }
    write_error_line(printable(to_string(error)));
    return code;
}

ExitCode print_usage_error(std::string_view detail, std::string_view fix, bool json) {
    return print_bad_request(detail, fix, kExitUsage, json);
}

ExitCode print_not_found(std::string_view detail, std::string_view fix, bool json) {
    return print_bad_request(detail, fix, kExitNotFound, json);
}

void print_note(std::string_view text, const Json& object, bool json) {
    const std::string line = json ? dump(object) : "telpher: " + printable(text);
    [[maybe_unused]] const bool written = write_all(STDERR_FILENO, line + '\n');
}

std::string dump(const Json& json) {
    return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Table::Table(std::vector<std::string> names) : right_(names.size(), false) {
    rows_.push_back(std::move(names));
}

Table& Table::align_right(std::vector<std::size_t> columns) {
    for (const auto column : columns) {
        right_.at(column) = true;
    }
    return *this;
}

void Table::add(std::vector<std::string> row) {
    for (auto& cell : row) {
        cell = printable(cell);
    }
    row.resize(right_.size());
    rows_.push_back(std::move(row));
}

std::string Table::text() const {
    std::vector<std::size_t> widths(right_.size(), 0);
    for (const auto& row : rows_) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], width(row[column]));
        }
    }
    std::string text;
    for (const auto& row : rows_) {
        const bool bold = &row == &rows_.front() && colours(STDOUT_FILENO);
        text += bold ? "\x1b[1m" : "";
        for (std::size_t column = 0; column < row.size(); ++column) {
            const std::string gap(widths[column] - width(row[column]), ' ');
            const bool last = column + 1 == row.size();
            text += right_[column] ? gap + row[column] : row[column] + (last ? "" : gap);
            text += last ? "" : "  ";
        }
        text.erase(text.find_last_not_of(' ') + 1);
        text += bold ? "\x1b[0m\n" : "\n";
    }
    return text;
}

std::string printable(std::string_view text) {
    std::string result;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F) {
            std::array<char, 8> escaped{};
            std::snprintf(escaped.data(), escaped.size(), "\\x%02x", static_cast<unsigned>(byte));
            result += escaped.data();
        } else {
            result += c;
        }
    }
    return result;
}

bool is_terminal(int fd) { return ::isatty(fd) == 1; }

bool colours(int fd) {
    // no-color.org: present and not empty switches colours off, whatever it says.
    const char* const no_color = std::getenv("NO_COLOR");
    const char* const terminal = std::getenv("TERM");
    return is_terminal(fd) && (no_color == nullptr || *no_color == '\0') &&
           (terminal == nullptr || std::string_view(terminal) != "dumb");
}

ProgressBar::ProgressBar(bool wanted) : enabled_(wanted && is_terminal(STDERR_FILENO)) {}

void ProgressBar::show(std::string_view label, double fraction) {
    const int percent = static_cast<int>(std::clamp(fraction, 0.0, 1.0) * 100);
    if (!enabled_ || percent == percent_) {
        return;
    }
    percent_ = percent;
    constexpr int kWidth = 40;
    const auto filled = static_cast<std::size_t>(percent * kWidth / 100);
    std::string line =
        "\r  [" + std::string(filled, '#') + std::string(kWidth - filled, '.') + "] ";
    line += std::to_string(percent) + "% " + std::string(label) + "\x1b[K";
    [[maybe_unused]] const bool written = write_all(STDERR_FILENO, line);
}

void ProgressBar::clear() {
    if (enabled_ && percent_ >= 0) {
        [[maybe_unused]] const bool written = write_all(STDERR_FILENO, "\r\x1b[K");
    }
    percent_ = -1;
}

}  // namespace telpher::cli
