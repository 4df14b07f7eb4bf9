#pragma once
// A domain's log: opened by each process that needs it, read by the one that makes the domain.

#include "telpher/options.hpp"

#include "shm/attachment.hpp"
#include "src/store/shared_log.hpp"

#include <memory>
#include <string>

namespace telpher::detail {

class DomainCore;

// The log of the domain, one for all handles of this process, opened at the first call. Errors: bad_request (it has
// none), storage_failed, not_permitted (another domain has the folder).
Result<store::SharedLog*> open_log(shm::Attachment& attachment);
// The same if it is open; else null.
store::SharedLog* log_if_open(shm::Attachment& attachment) noexcept;

// Writes what ended, if much of it waits, or with `all` whatever there is, which is then on disk: where messages are
// acknowledged and none are offered. Nothing happens where the log cannot be opened: it waits in memory.
void relieve_log(shm::Attachment& attachment, bool all) noexcept;

// The folder as the domain keeps it: absolute. Errors: bad_request.
Result<std::string> check_log_options(const ServerOptions& options);

// Makes a durable queue: its description is on disk before it exists. Errors: as open_log and SharedLog::append.
//   crash  killed in between: it exists, empty, when the domain is built again
Result<shm::Found> create_durable(DomainCore& domain,
                                  shm::DestinationSpec& spec,
                                  std::string_view dead_letter,
                                  bool* created);
// A durable queue was removed. Errors: as SharedLog::append.
//   crash  killed before it: the queue exists, with its messages, when the domain is built again
Result<void> note_removal(DomainCore& domain, const shm::Found& found);

// Builds a domain that was just made, and that nobody else is admitted to, from its log. On error the domain is to be
// removed.
//   errors  as store::read_log and store::Log::open, and out_of_memory (its messages do not fit into the domain's
//           limits), limit_reached
//   crash   killed anywhere: the log is as it was; the domain is removed by whoever meets it next
Result<void> build_from_log(DomainCore& domain);

// Waits until the domain is built, if it has a log. domain_not_found: its builder died, and it was removed; timed_out: its
// builder lives, and has not come to its end in two minutes.
Status await_log(shm::Attachment& attachment);

}  // namespace telpher::detail
