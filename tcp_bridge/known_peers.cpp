#include "tcp_bridge/known_peers.hpp"

#include "tcp_bridge/config_files.hpp"

#include <algorithm>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr std::size_t kLineBytesMax = 512;
constexpr std::size_t kPeerNameBytesMax = 300;
constexpr std::string_view kBlanks = " \t";

struct Line {
    std::string_view text;  // without its newline
    std::size_t number = 0;
};

// The next line of `text`, which it is taken from.
Line next_line(std::string_view& text, std::size_t number) {
    const auto end = text.find('\n');
    const Line line{text.substr(0, end), number};
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    return line;
}

bool is_comment(std::string_view line) {
    const auto first = line.find_first_not_of(" \t\r");
    return first == std::string_view::npos || line[first] == '#';
}

std::optional<KnownPeer> parse_line(const Line& line) {
    auto text = line.text;
    if (text.ends_with('\r')) {
        text.remove_suffix(1);
    }
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    const auto name_end = text.find_first_of(kBlanks);
    if (text.size() > kLineBytesMax || name_end == std::string_view::npos) {
        return std::nullopt;
    }
    const auto name = text.substr(0, name_end);
    text.remove_prefix(text.find_first_not_of(kBlanks, name_end) == std::string_view::npos
                           ? text.size()
                           : text.find_first_not_of(kBlanks, name_end));
    text = text.substr(0, text.find_last_not_of(kBlanks) + 1);
    const auto pin = Pin::parse(text);
    if (!pin || !is_peer_name(name)) {
        return std::nullopt;
    }
    return KnownPeer{std::string(name), *pin, line.number};
}

std::string small_letters(std::string_view text) {
    std::string result(text);
    std::transform(result.begin(), result.end(), result.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return result;
}

Result<std::string> text_of(const std::string& path) {
    const auto file = read_config_file(path, FileKind::trusted);
    if (file) {
        return std::string(file->view());
    }
    return is_missing(file.error()) ? Result<std::string>(std::string()) : file.error();
}

Error no_name(std::string_view name) {
    return {Status::bad_request,
            0,
            name.size() > kPeerNameBytesMax
                ? "the name of a peer is longer than 300 bytes"
                : "the name of a peer is made of printable ASCII without spaces and #"};
}

Error mismatch(const std::string& path, const KnownPeer& known, const Pin& pin) {
    return {
        Status::not_permitted,
        0,
        known.name + " shows the key " + pin.text() + ", but " + path + ":" +
            std::to_string(known.line) + " knows it by " + known.pin.text() +
            ": somebody may sit in between; if its key was changed on purpose, remove that line"};
}

// `text` with one line more.
std::string with_line(std::string text, const std::string& name, const Pin& pin) {
    if (!text.empty() && text.back() != '\n') {
        text += '\n';
    }
    return text + name + ' ' + pin.text() + '\n';
}

Result<bool> host_in(const std::vector<KnownPeer>& peers,
                     const std::string& path,
                     const std::string& host,
                     const Pin& pin) {
    const KnownPeer* other = nullptr;
    for (const auto& peer : peers) {
        if (small_letters(peer.name) == host) {
            // A host may have several keys, while one replaces the other.
            if (peer.pin == pin) {
                return true;
            }
            other = other == nullptr ? &peer : other;
        }
    }
    return other == nullptr ? Result<bool>(false) : mismatch(path, *other, pin);
}

// Runs `change` on the file's text, alone among all processes, and writes the text that it returns.
template <class Change>
Result<void> rewrite(const std::string& path, const Change& change) {
    const auto slash = path.rfind('/');
    if (auto made = make_config_dir(slash == std::string::npos ? "." : path.substr(0, slash));
        !made) {
        return made;
    }
    const auto lock = ConfigLock::take(path + ".lock");
    if (!lock) {
        return lock.error();
    }
    auto text = text_of(path);
    if (!text) {
        return text.error();
    }
    auto peers = parse_peers(*text, path);
    if (!peers) {
        return peers.error();
    }
    Result<std::optional<std::string>> changed = change(*std::move(text), *peers);
    if (!changed) {
        return changed.error();
    }
    if (!changed->has_value()) {
        return {};
    }
    if ((*changed)->size() > kConfigFileBytesMax) {
        return Error{Status::limit_reached, 0, path + " would grow beyond 1 MiB"};
    }
    return replace_config_file(path, **changed, 0600);
}

using Changed = Result<std::optional<std::string>>;

}  // namespace

std::string known_hosts_path(const std::string& dir) { return dir + "/known_hosts"; }
std::string authorized_peers_path(const std::string& dir) { return dir + "/authorized_peers"; }

bool is_peer_name(std::string_view name) {
    return !name.empty() && name.size() <= kPeerNameBytesMax &&
           std::all_of(
               name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7F && c != '#'; });
}

Result<std::vector<KnownPeer>> parse_peers(std::string_view text, const std::string& path) {
    std::vector<KnownPeer> peers;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto line = next_line(text, number);
        if (is_comment(line.text)) {
            continue;
        }
        auto peer = parse_line(line);
        if (!peer) {
            return Error{Status::corrupt,
                         0,
                         path + ":" + std::to_string(number) +
                             ": not a line of the form NAME sha256:HEX; correct or remove it"};
        }
        peers.push_back(*std::move(peer));
    }
    return peers;
}

Result<std::vector<KnownPeer>> load_peers(const std::string& path) {
    const auto text = text_of(path);
    return text ? parse_peers(*text, path) : text.error();
}

const KnownPeer* find_pin(const std::vector<KnownPeer>& peers, const Pin& pin) {
    const auto found = std::find_if(
        peers.begin(), peers.end(), [&pin](const KnownPeer& peer) { return peer.pin == pin; });
    return found == peers.end() ? nullptr : &*found;
}

Result<bool> is_known_host(const std::string& path, std::string_view host, const Pin& pin) {
    const auto peers = load_peers(path);
    return peers ? host_in(*peers, path, small_letters(host), pin) : peers.error();
}

Result<bool> remember_host(const std::string& path, std::string_view host, const Pin& pin) {
    if (!is_peer_name(host)) {
        return no_name(host);
    }
    // Without the lock first: after the first meeting nothing is written.
    auto known = is_known_host(path, host, pin);
    if (!known || *known) {
        return known;
    }
    bool was_known = false;
    const auto done = rewrite(path, [&](std::string text, const auto& peers) -> Changed {
        const std::string name = small_letters(host);
        const auto found = host_in(peers, path, name, pin);
        if (!found) {
            return found.error();
        }
        was_known = *found;
        return was_known ? Changed(std::optional<std::string>())
                         : Changed(with_line(std::move(text), name, pin));
    });
    return done ? Result<bool>(was_known) : done.error();
}

Result<bool> add_peer(const std::string& path, std::string_view name, const Pin& pin) {
    if (!is_peer_name(name)) {
        return no_name(name);
    }
    bool added = false;
    const auto done = rewrite(path, [&](std::string text, const auto& peers) -> Changed {
        for (const auto& peer : peers) {
            if (peer.name == name && peer.pin == pin) {
                return std::optional<std::string>();
            }
            if (peer.name == name || peer.pin == pin) {
                return Error{Status::already_exists,
                             0,
                             path + ":" + std::to_string(peer.line) + " has " + peer.name +
                                 " with " + peer.pin.text() + "; remove it first"};
            }
        }
        added = true;
        return std::optional<std::string>(with_line(std::move(text), std::string(name), pin));
    });
    return done ? Result<bool>(added) : done.error();
}

Result<std::size_t> remove_peer(const std::string& path, std::string_view name) {
    std::size_t removed = 0;
    const auto done = rewrite(path, [&](const std::string& text, const auto& peers) -> Changed {
        std::string kept;
        std::string_view rest = text;
        for (std::size_t number = 1; !rest.empty(); ++number) {
            const auto line = next_line(rest, number);
            const bool goes = std::any_of(peers.begin(), peers.end(), [&](const KnownPeer& peer) {
                return peer.line == number && peer.name == name;
            });
            removed += goes ? 1 : 0;
            kept += goes ? std::string() : std::string(line.text) + '\n';
        }
        return removed == 0 ? std::optional<std::string>() : std::optional<std::string>(kept);
    });
    return done ? Result<std::size_t>(removed) : done.error();
}

}  // namespace telpher::bridge
