// Question: what does moving one cache line, or two, to another processor and back cost on this
// machine? Method:   two processes spin on words in anonymous shared memory. `line`: sequence and
// answer in one
//           line. `two_lines`: a payload line is filled, then a flag line, and both are read; the
//           least that a queue with 64-byte payloads can do without writing the payload into its
//           slot.
// Not here: anything a library does. These are the floors that the other rows are divided by.
#include "bench/e2e/drivers.hpp"
#include "bench/e2e/payload.hpp"
#include "bench/e2e/rows.hpp"

#include <atomic>

namespace telpher::bench {

namespace {

struct Lines {
    alignas(128) std::atomic<std::uint64_t> flag{0};
    alignas(128) std::array<std::uint64_t, 8> payload{};
};

// The flag counts half trips: odd = on its way there, even = on its way back.
class LinePort {
  public:
    LinePort(const Context& context, Lines& lines, bool answers)
        : context_(context), lines_(lines), answers_(answers), awaited_(answers ? 1 : 2) {}

    void send(std::uint64_t sequence) {
        // F1: pairs with F2. Hands both lines over; in TwoLinesPort it publishes the payload.
        lines_.flag.store(answers_ ? 2 * sequence : 2 * sequence - 1, std::memory_order_release);
    }
    std::uint64_t receive() {
        // F2: pairs with F1.
        while (lines_.flag.load(std::memory_order_acquire) != awaited_) {
            context_.relax();
        }
        awaited_ += 2;
        return (awaited_ - 1) / 2;
    }

  protected:
    const Context& context_;
    Lines& lines_;

  private:
    bool answers_;
    std::uint64_t awaited_;
};

class TwoLinesPort : private LinePort {
  public:
    using LinePort::LinePort;

    void send(std::uint64_t sequence) {
        own_.number(sequence);
        std::memcpy(lines_.payload.data(), own_.words.data(), kLineBytes);
        LinePort::send(sequence);
    }
    std::uint64_t receive() {
        LinePort::receive();
        return sequence_of(std::as_bytes(std::span(lines_.payload)));
    }

  private:
    Payload<kLineBytes> own_{};
};

template <typename Port>
Result<Sample> floor_round_trip(const Context& context) {
    Shared<Lines> lines;
    const Amount amount = amount_of(context.scale.round_trips);
    return run_pair(
        context,
        [&](Side& side) {
            Port port(side.context(), *lines, false);
            ping(side, port, amount);
        },
        [&](Side& side) {
            Port port(side.context(), *lines, true);
            pong(side, port, amount);
        });
}

}  // namespace

void add_floor_rows(std::vector<Benchmark>& list) {
    list.push_back(one_row("line", "round trip of one cache line", floor_round_trip<LinePort>));
    list.push_back(one_row("two_lines",
                           "round trip of a payload line and a flag line",
                           floor_round_trip<TwoLinesPort>));
}

void add_two_lines_row(std::vector<Benchmark>& list, const std::string& beside) {
    list.push_back(one_row("two_lines_" + beside,
                           "two_lines once more, beside the rows that follow",
                           floor_round_trip<TwoLinesPort>));
}

}  // namespace telpher::bench
