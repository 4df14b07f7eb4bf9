#pragma once
// Files of domains without attaching to them: listing, sweeping leftovers, removing by force.

#include "telpher/result.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace telpher::shm {

struct Leftover {
    std::string file;
    std::string reason;
};

// Names of domains with a public file that this user may open. Error: server_error (/dev/shm
// unreadable).
Result<std::vector<std::string>> list_domain_files();

// Private files that no creator holds and no public name leads to; domains marked removed;
// ephemeral domains all of whose processes are dead. Deletes them unless `dry_run`. A domain in use
// is never touched.
Result<std::vector<Leftover>> sweep(bool dry_run);

// Takes the names of domain `name` away, whatever its file holds. Errors: domain_not_found,
// bad_request, not_permitted (processes are attached and `force` is not set; or the file is another
// user's), timed_out (a stopped process holds its directory lock). Of several at once, one succeeds.
Result<void> remove_files(std::string_view name, bool force);

}  // namespace telpher::shm
