// Whose keys are trusted: known_hosts (bridges that this user's clients have met) and authorized_peers
// (clients that a bridge admits).
//
//   Format    a line per key: NAME sha256:HEX. NAME is HOST:PORT in known_hosts. Lines that are empty or
//             begin with # are kept. Any other line, a field more included, makes the whole file an
//             error that names it: a rule that is not understood must not be passed over.
//   Bounds    1 MiB, 512 bytes a line
//   Writing   under a lock (FILE.lock), a new file renamed over the old one: processes that write at
//             once lose nothing, and nobody ever reads half a file
//   Threads   any number at once; all of it may block on the disk
#pragma once

#include "telpher/result.hpp"

#include "tcp_bridge/pin.hpp"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace telpher::bridge {

struct KnownPeer {
    std::string name;
    Pin pin;
    std::size_t line = 0;  // in its file, from 1
};

[[nodiscard]] std::string known_hosts_path(const std::string& dir);
[[nodiscard]] std::string authorized_peers_path(const std::string& dir);

// Printable ASCII without spaces and #, 1 to 300 bytes; capitals are made small in known_hosts.
[[nodiscard]] bool is_peer_name(std::string_view name);

// Errors: corrupt, naming `path` and the line.
Result<std::vector<KnownPeer>> parse_peers(std::string_view text, const std::string& path);
// None of a file that does not exist. Errors: as parse_peers; not_permitted, server_error.
Result<std::vector<KnownPeer>> load_peers(const std::string& path);

// The peer with this key, if there is one.
[[nodiscard]] const KnownPeer* find_pin(const std::vector<KnownPeer>& peers, const Pin& pin);

// Whether known_hosts has this host with this key; false = it has no key of this host.
// Errors: not_permitted (it has other keys: names the line and both pins); as load_peers.
Result<bool> is_known_host(const std::string& path, std::string_view host, const Pin& pin);
// The same, and records the key of a host that has none. True = it was known.
Result<bool> remember_host(const std::string& path, std::string_view host, const Pin& pin);

// Admits a peer. False = it was admitted already. Errors: already_exists (the name has another key),
// bad_request (no name), as load_peers.
Result<bool> add_peer(const std::string& path, std::string_view name, const Pin& pin);
// Takes away every line of the name; how many there were.
Result<std::size_t> remove_peer(const std::string& path, std::string_view name);

}  // namespace telpher::bridge
