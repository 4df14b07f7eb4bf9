#pragma once
// Brings the messages of an outbox to their destinations: one attempt at a time, over one connection, which it
// makes anew when it has ended.
//
//   Threads   one at a time.
//   Cost      an attempt: an offer or a one-way request; the first to a queue finds it, too.

#include "telpher/client.hpp"

#include "src/client/outbox_store.hpp"

#include <map>
#include <optional>
#include <stop_token>
#include <string>

namespace telpher::detail {

// What became of a message.
enum class Fate : std::uint8_t {
    delivered,
    refused,  // and would be again
    waits     // another attempt may end otherwise
};

// Of an attempt that ended with `error`, over a connection that is there still.
[[nodiscard]] Fate fate_of(const Error& error) noexcept;

class OutboxCourier {
  public:
    // `way`: a connection that is there already, or nothing. `how` says how to make another one.
    OutboxCourier(std::string uri, const ConnectOptions& how, std::optional<Client> way);

    // Whether there is a connection, as far as is known.
    [[nodiscard]] bool ready() const noexcept { return way_.has_value(); }
    // Makes one, without waiting for the domain. Through a bridge it may take as long as `connect` says.
    Result<void> connect();

    struct Attempt {
        Fate fate = Fate::delivered;
        Error why{};  // unless delivered
    };
    // Waits for room at most so long. Afterwards the connection may have to be made again.
    Attempt deliver(const OutboxDestination& to,
                    const Message& message,
                    Duration timeout,
                    const std::stop_token& stop);

  private:
    Result<void> send(const OutboxDestination& to,
                      const Message& message,
                      Duration timeout,
                      const std::stop_token& stop);

    const std::string uri_;
    ConnectOptions how_;
    std::optional<Client> way_;
    std::map<std::string, Queue, std::less<>> queues_;
};

}  // namespace telpher::detail
