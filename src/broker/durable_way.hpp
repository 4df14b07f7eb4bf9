#pragma once
// How far a durable message of an asynchronous offer has come, from its queue to its sender and back.

#include "src/broker/request_memory.hpp"
#include "src/store/shared_log.hpp"

#include <cstdint>
#include <optional>

namespace telpher::detail {

struct DurableWay {
    store::Pending pending{};    // no bytes: it is to be offered by itself
    bool counted = false;        // as on its way to its queue
    std::uint64_t begun_ns = 0;  // when it found room
    // Its request, begun with it; ends when its way is over.
    std::optional<RequestMemory::Answer> request{};
    std::optional<std::uint64_t>
        accepted_before{};  // the number that it had then: nothing is to be done
};

}  // namespace telpher::detail
