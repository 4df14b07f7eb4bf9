#include "tests/unit/bridge/record_relay.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

namespace telpher::test {
namespace {

constexpr std::size_t kHeaderBytes = 5;

bool send_all(int to, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
}

}  // namespace

RecordRelay::RecordRelay(std::uint16_t port) : target_(port), thread_([this] { run(); }) {}

RecordRelay::~RecordRelay() {
    stop_ = true;
    thread_.join();
}

void RecordRelay::plan(Harm harm, bool to_bridge, std::size_t index) {
    const std::lock_guard hold(mutex_);
    harm_ = harm;
    harm_to_bridge_ = to_bridge;
    harm_index_ = index;
    done_ = harm == Harm::none;
}

void RecordRelay::look_for(std::string text) {
    const std::lock_guard hold(mutex_);
    text_ = std::move(text);
}

void RecordRelay::run() {
    listener_.serve(stop_, [this](int client) { relay(client); });
}

void RecordRelay::relay(int client) {
    const int bridge = connect_to(target_);
    if (bridge >= 0) {
        ++connections_;
        std::array<Leg, 2> legs{Leg{client, bridge}, Leg{bridge, client}};
        for (bool open = true; open && !stop_;) {
            std::array<pollfd, 2> watched{pollfd{client, POLLIN, 0}, pollfd{bridge, POLLIN, 0}};
            poll(watched.data(), watched.size(), LoopbackListener::kLookMs);
            for (std::size_t i = 0; i < 2 && open; ++i) {
                open = watched[i].revents == 0 || move(legs[i], i == 0);
            }
        }
        close(bridge);
    }
}

bool RecordRelay::move(Leg& leg, bool to_bridge) {
    std::array<std::byte, 16384> buffer;
    const ssize_t got = recv(leg.from, buffer.data(), buffer.size(), 0);
    if (got <= 0) {
        return false;
    }
    leg.partial.insert(leg.partial.end(), buffer.begin(), buffer.begin() + got);
    for (;;) {
        const Bytes& bytes = leg.partial;
        if (bytes.size() < kHeaderBytes) {
            return true;
        }
        const std::size_t size = kHeaderBytes + (std::to_integer<std::size_t>(bytes[3]) << 8U) +
                                 std::to_integer<std::size_t>(bytes[4]);
        if (bytes.size() < size) {
            return true;
        }
        Bytes record(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
        leg.partial.erase(leg.partial.begin(),
                          leg.partial.begin() + static_cast<std::ptrdiff_t>(size));
        if (!pass(leg, to_bridge, std::move(record))) {
            return false;
        }
    }
}

bool RecordRelay::pass(Leg& leg, bool to_bridge, Bytes record) {
    Harm harm = Harm::none;
    const std::size_t index = leg.records++;
    Bytes& kept = kept_[to_bridge ? 1 : 0];
    Bytes out = record;
    {
        const std::lock_guard hold(mutex_);
        const bool ready = harm_ != Harm::splice || !kept.empty();
        if (!done_ && harm_to_bridge_ == to_bridge && index >= harm_index_ && ready) {
            harm = harm_;
            done_ = true;
        }
        watch(leg, record);
    }
    switch (harm) {
        case Harm::none:
            break;
        case Harm::drop:
            out.clear();
            break;
        case Harm::repeat:
            out.insert(out.end(), record.begin(), record.end());
            break;
        case Harm::swap:
            leg.held = std::exchange(out, {});
            return true;
        case Harm::splice:
            out = kept;
            break;
        case Harm::flip:
            out[kHeaderBytes + (index * 7) % (out.size() - kHeaderBytes)] ^= std::byte{0x10};
            break;
        case Harm::truncate:
            out.resize(out.size() - 1);
            static_cast<void>(send_all(leg.to, out));
            return false;
    }
    if (!leg.held.empty()) {
        out.insert(out.end(), leg.held.begin(), leg.held.end());
        leg.held.clear();
    }
    kept = std::move(record);
    return send_all(leg.to, out);
}

void RecordRelay::watch(Leg& leg, const Bytes& bytes) {
    bytes_ += bytes.size();
    if (text_.empty()) {
        return;
    }
    leg.tail.insert(leg.tail.end(), bytes.begin(), bytes.end());
    const auto* const letters = reinterpret_cast<const std::byte*>(text_.data());
    if (std::search(leg.tail.begin(), leg.tail.end(), letters, letters + text_.size()) !=
        leg.tail.end()) {
        seen_ = true;
    }
    if (leg.tail.size() > text_.size()) {
        leg.tail.erase(leg.tail.begin(),
                       leg.tail.end() - static_cast<std::ptrdiff_t>(text_.size()));
    }
}

}  // namespace telpher::test
