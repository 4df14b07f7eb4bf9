// Writes a log as a script says it: a helper of the tests of `telpher log`.
//
//   usage: make_log DIR [N]  commands on stdin, one a line; what goes wrong ends it with 1. Messages of at least N
//                            bytes are compressed
//
//   define ID NAME           a destination
//   remove ID
//   put ID NUMBER TOPIC TEXT an encoded text message whose id is NUMBER; prints its origin
//   raw ID TEXT              bytes that are no encoded message; prints its origin
//   state ORIGIN ID TEXT
//   done ORIGIN
//   entry ID CHARACTER TEXT  under a key of 16 times that character; no TEXT: removes it
//   churn ID COUNT           puts so many messages and ends each 20 later: segments come and go
//   commit
//   wait                     prints "waits", and goes on: the log is in use until the next line
//   close

#include "telpher/message.hpp"

#include "src/store/posix_storage.hpp"
#include "src/store/store.hpp"
#include "src/wire/codec.hpp"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <iostream>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

// Small, so that a test of a few hundred messages has several.
constexpr std::uint64_t kSegmentBytes = 16U << 10U;

store::Bytes bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string rest_of(std::istream& line) {
    std::string text;
    std::getline(line >> std::ws, text);
    return text;
}

std::string definition_of(const std::string& name) {
    const auto name_bytes = static_cast<std::uint32_t>(name.size());
    std::string definition(sizeof name_bytes, '\0');
    std::memcpy(definition.data(), &name_bytes, sizeof name_bytes);
    return definition + name + "and what else the writer says";
}

Result<void> put(store::Store& store, std::istream& line) {
    std::uint32_t destination = 0;
    std::uint64_t number = 0;
    std::string topic;
    line >> destination >> number >> topic;
    const Message message = Message::text(topic, rest_of(line));
    std::vector<std::byte> encoded(wire::encoded_bytes(message));
    wire::encode(message, {.id = {1, number}, .timestamp_ns = 1'000'000}, encoded);
    const auto origin = store.put(destination, encoded);
    if (!origin) {
        return origin.error();
    }
    std::cout << *origin << std::endl;
    return {};
}

Result<void> put_raw(store::Store& store, std::istream& line) {
    std::uint32_t destination = 0;
    line >> destination;
    const auto origin = store.put(destination, bytes_of(rest_of(line)));
    if (!origin) {
        return origin.error();
    }
    std::cout << *origin << std::endl;
    return {};
}

Result<void> churn(store::Store& store, std::istream& line) {
    constexpr std::size_t kLive = 20;
    std::uint32_t destination = 0;
    std::uint64_t count = 0;
    line >> destination >> count;
    const std::string payload(700, 'c');
    std::deque<store::Lsn> live;
    for (std::uint64_t number = 0; number < count; ++number) {
        const auto origin = store.put(destination, bytes_of(payload));
        if (!origin) {
            return origin.error();
        }
        live.push_back(*origin);
        auto changed = live.size() > kLive ? store.done({&live.front(), 1}) : Result<void>();
        if (live.size() > kLive) {
            live.pop_front();
        }
        changed = changed ? store.commit() : changed;
        if (!changed) {
            return changed;
        }
    }
    return {};
}

Result<void> set_entry(store::Store& store, std::istream& line) {
    std::uint32_t destination = 0;
    char character = 0;
    line >> destination >> character;
    store::EntryKey key;
    key.fill(static_cast<std::byte>(character));
    return store.set_entry(destination, key, bytes_of(rest_of(line)));
}

Result<void> run(store::Store& store, const std::string& command, std::istream& line) {
    std::uint32_t destination = 0;
    store::Lsn origin = 0;
    if (command == "define") {
        line >> destination;
        return store.define(destination, bytes_of(definition_of(rest_of(line))));
    }
    if (command == "remove") {
        line >> destination;
        return store.remove(destination);
    }
    if (command == "state") {
        line >> origin >> destination;
        return store.set_state(origin, destination, bytes_of(rest_of(line)));
    }
    if (command == "done") {
        line >> origin;
        return store.done({&origin, 1});
    }
    if (command == "wait") {
        std::cout << "waits" << std::endl;
        return {};
    }
    return command == "put"      ? put(store, line)
           : command == "raw"    ? put_raw(store, line)
           : command == "churn"  ? churn(store, line)
           : command == "entry"  ? set_entry(store, line)
           : command == "commit" ? store.commit()
           : command == "close"  ? store.close()
                                 : Result<void>(Error{Status::bad_request, 0, command});
}

int main_of(const std::string& folder, std::int64_t compress_from) {
    const auto storage = store::open_folder(folder, store::FolderMode::create);
    store::LogReport report;
    auto store = storage ? store::Store::open(**storage,
                                              {.name = "cafe", .segment_bytes = kSegmentBytes},
                                              report,
                                              compress_from)
                         : Result<std::unique_ptr<store::Store>>(storage.error());
    auto done = store ? Result<void>() : Result<void>(store.error());
    std::string text;
    while (done && std::getline(std::cin, text)) {
        std::istringstream line(text);
        std::string command;
        line >> command;
        done = run(**store, command, line);
    }
    if (!done) {
        std::cerr << to_string(done.error()) << std::endl;
    }
    return done ? 0 : 1;
}

}  // namespace
}  // namespace telpher::test

int main(int argc, char** argv) {
    return argc == 2 || argc == 3
               ? telpher::test::main_of(argv[1], argc == 3 ? std::atoll(argv[2]) : -1)
               : 2;
}
