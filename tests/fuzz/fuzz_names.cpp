// Names, patterns and what else people write: the checks agree with each other, and the matching of
// patterns with its definition, written again in the plainest way.
#include "telpher/limits.hpp"

#include "src/wire/names.hpp"
#include "src/wire/size_text.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <string>
#include <vector>

namespace {

using telpher::Status;
using telpher::fuzz::require;
namespace wire = telpher::wire;

std::vector<std::string_view> levels_of(std::string_view name) {
    std::vector<std::string_view> levels;
    for (;;) {
        const std::size_t dot = name.find('.');
        levels.push_back(name.substr(0, dot));
        if (dot == std::string_view::npos) {
            return levels;
        }
        name.remove_prefix(dot + 1);
    }
}

bool matches_by_definition(std::string_view pattern, std::string_view topic) {
    const auto wanted = levels_of(pattern);
    const auto levels = levels_of(topic);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i] == ">" && i + 1 == wanted.size()) {
            return levels.size() > i;
        }
        if (i >= levels.size() || (wanted[i] != "*" && wanted[i] != levels[i])) {
            return false;
        }
    }
    return levels.size() == wanted.size();
}

void check_one(std::string_view text) {
    const auto name = wire::check_name("name", text);
    const auto pattern = wire::check_topic_pattern(text);
    for (const auto* result : {&name, &pattern}) {
        require(
            *result || (result->status() == Status::bad_request && !result->error().detail.empty()),
            "a refusal is bad_request and says why");
    }
    require(!name || pattern, "a name is a pattern");
    require(!name || !wire::is_wildcard(text), "a name is no wildcard");
    require(!pattern || name || wire::is_wildcard(text), "a pattern without wildcard is a name");
    require(name.has_value() == (!text.empty() && text.size() <= telpher::limits::kNameBytesMax &&
                                 !wire::find_bad_name_byte(text)),
            "a name is 1..100 of its bytes");
    const auto bad = wire::find_bad_charset_byte(text);
    require(!bad || *bad < text.size(), "the bad byte is in the text");
    require(wire::equal_ignoring_case(text, text), "a text equals itself");
    require(!wire::is_json_kind(text, "UTF-8") || wire::is_mimetype(text), "JSON's is a mimetype");
    const auto size = wire::parse_size(text);
    const auto option = wire::parse_size_option(text);
    require(!size || option == static_cast<std::int64_t>(*size), "a size is an option");
    require(!option || *option >= -1, "an option is -1 or a size");
}

}  // namespace

// The input is a pattern and a topic, divided by the first space.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input = telpher::fuzz::as_text(data, size);
    const std::size_t space = std::min(input.find(' '), input.size());
    const std::string_view pattern = input.substr(0, space);
    const std::string_view topic = input.substr(std::min(space + 1, input.size()));
    check_one(pattern);
    check_one(topic);
    if (wire::check_topic_pattern(pattern) && wire::check_name("topic", topic)) {
        const bool matches = wire::topic_matches(pattern, topic);
        require(matches == matches_by_definition(pattern, topic), "matching is as defined");
        require(wire::is_wildcard(pattern) || matches == (pattern == topic),
                "a plain pattern matches itself");
        require(wire::topic_matches(topic, topic), "a topic matches itself");
        require(wire::topic_matches(">", topic), "> matches every topic");
    }
    return 0;
}
