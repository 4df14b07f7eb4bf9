#pragma once
// What a durable queue is, as the payload of a `destination` record of the log (src/store/FORMAT.md).

#include "telpher/result.hpp"

#include "shm/directory.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace telpher::detail {

struct QueueDefinition {
    std::string name;
    std::string dead_letter;    // empty: none
    shm::DestinationSpec spec;  // without names and dead letters
};

// `dead_letter`: the name of its dead letters' queue.
std::vector<std::byte> encode_definition(const shm::DestinationSpec& spec,
                                         std::string_view name,
                                         std::string_view dead_letter);
// Of a queue that exists.
shm::DestinationSpec spec_of(const shm::Found& found);
// Nothing: it makes no sense, or is of a later version.
std::optional<QueueDefinition> decode_definition(std::span<const std::byte> bytes);

}  // namespace telpher::detail
