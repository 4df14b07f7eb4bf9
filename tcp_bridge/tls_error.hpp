// What OpenSSL's reasons mean to a person who runs a bridge.
#pragma once

#include "telpher/status.hpp"

#include "tcp_bridge/tls_context.hpp"

namespace telpher::bridge {

// The error behind the last failed call, and clears OpenSSL's queue. Never quotes bytes of the peer.
//
//   not_permitted      this side or the peer does not trust the other
//   version_mismatch   no common protocol version, suite or group
//   corrupt            a record was changed, lost, repeated or brought out of order
//   limit_reached      the peer sent more than is taken in a handshake
//   disconnected       the peer ended the handshake for another reason, which the text names
[[nodiscard]] Error take_tls_error(PeerTrust trust, bool established);

}  // namespace telpher::bridge
