#include "tests/unit/store/store_model.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <span>

namespace telpher::test {
namespace {

using store::Bytes;

Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string text_of(Bytes bytes) {
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

store::EntryKey key_of(const std::string& text) {
    store::EntryKey key{};
    std::memcpy(key.data(), text.data(), std::min(text.size(), key.size()));
    return key;
}

}  // namespace

StoreModel StoreModel::of(store::Store& store) {
    StoreModel model;
    const store::Contents& contents = store.contents();
    for (const auto& [id, destination] : contents.destinations()) {
        model.destinations[id] = text_of(destination.definition);
    }
    for (const auto& [origin, message] : contents.messages()) {
        auto payload = store.payload(origin);
        model.messages[origin] = {
            message.destination,
            payload ? text_of(*payload) : "?" + std::string(to_string(payload.status())),
            text_of(message.state)};
    }
    for (const auto& [id, entry] : contents.entries()) {
        const std::string key = text_of(id.second);
        model.entries[{id.first, key.substr(0, key.find('\0'))}] = text_of(entry.value);
    }
    return model;
}

void StoreWork::restart(StoreModel model) { possible_ = {std::move(model)}; }

std::string StoreWork::text(std::uint64_t most) {
    std::string text = std::to_string(random_());
    const std::uint64_t size = below(8) == 0 ? below(most) : below(200);
    text.resize(static_cast<std::size_t>(size) + 1, static_cast<char>('a' + below(26)));
    return text;
}

store::Lsn StoreWork::some_message(const StoreModel& model) {
    return std::next(model.messages.begin(),
                     static_cast<std::ptrdiff_t>(below(model.messages.size())))
        ->first;
}

StoreWork::Change StoreWork::put(store::Store& store, StoreModel& next) {
    const auto id = static_cast<std::uint32_t>(1 + below(3));
    // More than a segment holds, now and then.
    const std::string payload = text(below(20) == 0 ? 40'000 : 3'000);
    next.messages[store.log().next_lsn()] = {id, payload, ""};
    possible_.push_back(next);
    auto put = store.put(id, bytes_of(payload));
    return put ? Change() : put.error();
}

StoreWork::Change StoreWork::change(store::Store& store, StoreModel& next) {
    const store::Lsn origin = some_message(next);
    StoreModel::Message& message = next.messages[origin];
    message.destination = static_cast<std::uint32_t>(1 + below(3));
    message.state = text(300);
    possible_.push_back(next);
    return store.set_state(origin, message.destination, bytes_of(message.state));
}

StoreWork::Change StoreWork::finish(store::Store& store, StoreModel& next) {
    std::vector<store::Lsn> origins;
    for (std::uint64_t i = below(4) + 1; i != 0 && !next.messages.empty(); --i) {
        // Mostly the oldest, as queues do.
        origins.push_back(below(4) != 0 ? next.messages.begin()->first : some_message(next));
        next.messages.erase(origins.back());
    }
    possible_.push_back(next);
    return store.done(origins);
}

StoreWork::Change StoreWork::entry(store::Store& store, StoreModel& next) {
    const auto id = static_cast<std::uint32_t>(1 + below(3));
    const std::string key = "key " + std::to_string(below(5));
    const std::string value = below(3) == 0 ? "" : text(500);
    if (value.empty()) {
        next.entries.erase({id, key});
    } else {
        next.entries[{id, key}] = value;
    }
    possible_.push_back(next);
    return store.set_entry(id, key_of(key), bytes_of(value));
}

StoreWork::Change StoreWork::destination(store::Store& store, StoreModel& next) {
    const auto id = static_cast<std::uint32_t>(1 + below(3));
    if (below(4) != 0) {
        next.destinations[id] = text(100);
        possible_.push_back(next);
        return store.define(id, bytes_of(next.destinations[id]));
    }
    next.destinations.erase(id);
    std::erase_if(next.messages, [&](const auto& m) { return m.second.destination == id; });
    std::erase_if(next.entries, [&](const auto& e) { return e.first.first == id; });
    possible_.push_back(next);
    return store.remove(id);
}

StoreWork::Change StoreWork::try_change(store::Store& store,
                                        StoreModel next,
                                        Change (StoreWork::*call)(store::Store&, StoreModel&)) {
    const std::size_t before = possible_.size();
    auto done = (this->*call)(store, next);
    if (!done && !store.log().failed()) {
        possible_.resize(before);  // it says that nothing happened
    }
    return done;
}

bool StoreWork::step(store::Store& store) {
    const std::uint64_t dice = below(100);
    const bool has_messages = !now().messages.empty();
    if (dice < 20) {
        const StoreModel committed = now();
        if (!store.commit()) {
            return false;
        }
        restart(committed);
        return true;
    }
    auto call = &StoreWork::put;
    if (dice >= 50 && dice < 65 && has_messages) {
        call = &StoreWork::change;
    } else if (dice >= 65 && dice < 85 && has_messages) {
        call = &StoreWork::finish;
    } else if (dice >= 85 && dice < 95) {
        call = &StoreWork::entry;
    } else if (dice >= 95) {
        call = &StoreWork::destination;
    }
    return try_change(store, now(), call).has_value();
}

}  // namespace telpher::test
