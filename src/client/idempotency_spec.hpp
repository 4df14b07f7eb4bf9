#pragma once
// The options of a destination that remembers its requests: checked, as they lie in its control block, and
// told to people.

#include "telpher/idempotency.hpp"
#include "telpher/result.hpp"

#include "shm/directory.hpp"

#include <optional>
#include <string>

namespace telpher::detail {

// Error: bad_request, naming option, value and range.
Result<void> check_idempotency(const std::optional<Idempotency>& options);
shm::IdempotencySpec idempotency_spec(const std::optional<Idempotency>& options);
// Goes on with `hash`, by everything that must be equal for two to be the same.
std::uint64_t idempotency_hash(std::uint64_t hash, const std::optional<Idempotency>& options);
// "" or " and idempotency (...)".
std::string describe(const shm::IdempotencySpec& spec);
// Of a control block.
shm::IdempotencySpec idempotency_spec(const shm::EntryInfo& info);

}  // namespace telpher::detail
