#pragma once
// The client's end of a lease that its bridge's session holds.
//
//   Threads   as a Delivery: one at a time.
//   Life      keeps the connection. What is not settled goes back when it is let go, when the lease expires
//             at the bridge, or with the session.

#include "telpher/loan.hpp"

#include "tcp_bridge/remote_events.hpp"

#include <memory>

namespace telpher::bridge {

class RemoteHandle;

// `answer` is that of a DELIVERY which was leased, `delivery` was made of it.
void lend(Delivery& delivery, std::shared_ptr<RemoteHandle> client, const Answer& answer);

}  // namespace telpher::bridge
