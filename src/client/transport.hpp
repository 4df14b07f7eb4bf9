#pragma once
// The seam between `connect` and the transports: a table of URI schemes. `shm` is built in; the TCP
// component adds its own by defining a SchemeRegistration in an object that is always linked.

#include "telpher/client.hpp"

#include <string_view>

namespace telpher::detail {

using SchemeFactory = Result<Client> (*)(std::string_view uri, const ConnectOptions& options);

// Registers `factory` for URIs that begin with `scheme` and a colon. Before main; at most 8
// schemes.
struct SchemeRegistration {
    SchemeRegistration(std::string_view scheme, SchemeFactory factory);
};

}  // namespace telpher::detail
