#pragma once
// A queue's options as its control block keeps them.

#include "telpher/options.hpp"
#include "telpher/result.hpp"

#include "shm/directory.hpp"

#include <string>
#include <string_view>

namespace telpher::detail {

// Errors: bad_request, naming option, limits and value.
Result<void> check_queue_options(std::string_view name, const QueueOptions& options);
// For sound options; without the dead letters' entry. Keeps `name`, not `options`.
shm::DestinationSpec queue_spec(std::string_view name, const QueueOptions& options);
// For people: what two queues of one name differ in.
std::string describe(const QueueOptions& options);
std::string describe(const shm::Found& found);

}  // namespace telpher::detail
