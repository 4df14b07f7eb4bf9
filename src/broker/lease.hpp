#pragma once
// How a leased message goes back: for queues, futures and whoever lets a delivery go.
//
//   Crash   as shm/leases.hpp: at every step the message is leased, parked, in its lane, or a dead letter.

#include "telpher/loan.hpp"

namespace telpher::detail {

// `held` is a lease of this process, and empty afterwards: the message is handed out again, not before
// `due_us` of the lease clock (0: at once). ok, lease_expired, queue_not_found (dropped and counted).
Status return_lease(Held& held, ReturnReason reason, std::uint64_t due_us) noexcept;
// To the dead letters, or dropped and counted. ok, lease_expired, queue_not_found; limit_reached
// (threads): nothing changed.
Status bury_lease(Held& held, ReturnReason reason) noexcept;

}  // namespace telpher::detail
