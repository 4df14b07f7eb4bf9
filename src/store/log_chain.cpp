#include "src/store/log_chain.hpp"

#include <algorithm>
#include <span>
#include <utility>

namespace telpher::store {
namespace {

Result<ChainLink> look_at(Storage& storage, std::uint64_t number) {
    const std::string name = segment_name(number);
    auto file = storage.open(name, Access::read);
    if (!file) {
        return file.error();
    }
    auto bytes = (*file)->size_bytes();
    if (!bytes) {
        return bytes.error();
    }
    SegmentHeader header{};
    auto got = (*file)->read(0, std::as_writable_bytes(std::span(&header, 1)));
    if (!got) {
        return got.error();
    }
    ChainLink link{.facts = {.number = number}, .file_bytes = *bytes};
    auto facts = check_segment_header(header, storage.path_of(name));
    if (facts && facts->number == number) {
        link.facts = std::move(*facts);
    } else if (facts || facts.status() == Status::corrupt) {
        link.why =
            facts ? "it is a copy of segment " + segment_name(facts->number) : facts.error().detail;
    } else {
        return facts.error();
    }
    return link;
}

}  // namespace

Result<std::vector<std::uint64_t>> list_segments(Storage& storage) {
    auto names = storage.list();
    if (!names) {
        return names.error();
    }
    std::vector<std::uint64_t> numbers;
    for (const std::string& name : *names) {
        if (const auto number = segment_number(name)) {
            numbers.push_back(*number);
        }
    }
    std::sort(numbers.begin(), numbers.end());
    return numbers;
}

Result<Chain> read_chain(Storage& storage) {
    auto numbers = list_segments(storage);
    if (!numbers) {
        return numbers.error();
    }
    Chain chain;
    // What the link that was added last says of the one before it.
    std::uint64_t previous = 0;
    for (auto number = numbers->rbegin(); number != numbers->rend(); ++number) {
        auto link = look_at(storage, *number);
        if (!link) {
            return link.error();
        }
        const bool stated = !chain.links.empty() && chain.links.back().why.empty();
        if (stated && *number > previous) {
            chain.overtaken.push_back(std::move(*link));
            continue;
        }
        if (stated && *number != previous) {
            chain.links.back().missing = previous;
        }
        previous = link->facts.previous;
        chain.links.push_back(std::move(*link));
    }
    std::reverse(chain.links.begin(), chain.links.end());
    std::reverse(chain.overtaken.begin(), chain.overtaken.end());
    return chain;
}

}  // namespace telpher::store
