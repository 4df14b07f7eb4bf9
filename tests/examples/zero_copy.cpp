#include "telpher/telpher.hpp"

#include <iostream>

struct Frame {
    std::uint64_t sequence;
    std::byte pixels[64 * 1024];
};

int main() {
    using namespace telpher;
    using namespace std::chrono_literals;
    auto server = Server::open("cafe.frames", {.lifetime = Lifetime::ephemeral}).value();
    auto frames = server.create_queue("frames").value();
    for (std::uint64_t sequence = 1; sequence <= 3; ++sequence) {
        auto frame = frames.loan<Frame>(10ms).value();  // memory inside the segment
        frame->sequence = sequence;
        frames.offer(std::move(frame), 10ms).value();  // no copy; moved from only on success
    }
    while (auto frame = frames.poll_as<Frame>()) {  // read in place, released at the brace
        std::cout << frame->sequence << std::endl;
    }
}
