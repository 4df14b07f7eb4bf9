#pragma once
// What every peer is asked for: a ping-pong of 64 B, and one way 64 B, 1 KiB and 64 KiB, with the
// loops and payloads of the telpher rows.
//
// A Link<kBytes> is made by the parent and destroyed by it; a
//   Link::Port(Side&, Link&, bool first)   is one side's end, with send and receive of drivers.hpp

#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <algorithm>
#include <functional>
#include <memory>
#include <string>

namespace telpher::bench {

inline constexpr std::size_t kPeerLargeBytes = 65536;  // as telpher's row of 64 KiB

// What a system call did not do.
[[nodiscard]] std::string errno_text(const char* what);

template <template <std::size_t> class Link, std::size_t kBytes>
Result<Sample> peer_round_trip(const Context& context) {
    Link<kBytes> link(context);
    if (!link.why_not().empty()) {
        return skipped(link.why_not());
    }
    const Amount amount =
        amount_of(std::min(context.scale.round_trips, context.scale.slow_messages / 20));
    return run_pair(
        context,
        [&](Side& side) {
            typename Link<kBytes>::Port port(side, link, true);
            ping(side, port, amount);
        },
        [&](Side& side) {
            typename Link<kBytes>::Port port(side, link, false);
            pong(side, port, amount);
        });
}

template <template <std::size_t> class Link, std::size_t kBytes>
Result<Sample> peer_one_way(const Context& context) {
    Link<kBytes> link(context);
    if (!link.why_not().empty()) {
        return skipped(link.why_not());
    }
    const Amount amount = amount_of(context.scale.slow_messages / (kBytes > 4096 ? 20U : 2U) + 1);
    return run_pair(
        context,
        [&](Side& side) {
            typename Link<kBytes>::Port port(side, link, true);
            produce(side, port, amount);
        },
        [&](Side& side) {
            typename Link<kBytes>::Port port(side, link, false);
            consume(side, port, amount);
        });
}

// The four rows of a peer, called NAME, NAME_oneway, NAME_oneway_1k, NAME_oneway_64k.
template <template <std::size_t> class Link>
void add_peer(std::vector<Benchmark>& list, const std::string& name, const std::string& what) {
    list.push_back(one_row(name, what + ", round trip, 64 B", peer_round_trip<Link, 64>));
    list.push_back(one_row(name + "_oneway", what + ", one way, 64 B", peer_one_way<Link, 64>));
    list.push_back(
        one_row(name + "_oneway_1k", what + ", one way, 1 KiB", peer_one_way<Link, 1024>));
    list.push_back(one_row(
        name + "_oneway_64k", what + ", one way, 64 KiB", peer_one_way<Link, kPeerLargeBytes>));
}

}  // namespace telpher::bench
