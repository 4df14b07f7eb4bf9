#include "tests/crash/sleeper.hpp"

#include <unistd.h>

#include <fstream>

namespace telpher::crash {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kPatienceNs = 500'000'000;

}  // namespace

ServerOptions sleepy_options() {
    ServerOptions options = small_options();
    options.wait_strategy = WaitStrategy::eco;
    return options;
}

bool Sleeper::consume(Queue& queue) {
    const auto delivery = queue.poll(1h);
    return delivery && number_of(*delivery) != kTorn;
}

bool Sleeper::produce(Queue& queue) { return queue.offer(numbered(7, 48), 1h).has_value(); }

Sleeper::Sleeper(const ScratchDomain& domain, std::string name, const Work& work)
    : child_([&] {
          auto server = Server::open(domain.name(), sleepy_options());
          auto queue = server->queue(name);
          while (queue && work(*queue)) {
              done_->fetch_add(1);
          }
          return 1;
      }) {}

std::optional<std::uint64_t> Sleeper::wait_for(std::uint64_t count) const {
    const std::uint64_t started = now_ns();
    while (done() < count) {
        if (now_ns() - started > kPatienceNs) {
            return std::nullopt;
        }
        usleep(50);
    }
    return now_ns() - started;
}

bool Sleeper::wait_for_sleep() const {
    const std::uint64_t started = now_ns();
    int asleep = 0;  // looks in a row: it may have waited for a page or a lock the first time
    while (asleep < 3) {
        if (now_ns() - started > kPatienceNs) {
            return false;
        }
        std::ifstream file("/proc/" + std::to_string(child_.pid()) + "/stat");
        std::string word[3];
        file >> word[0] >> word[1] >> word[2];
        asleep = word[2] == "S" ? asleep + 1 : 0;
        usleep(50);
    }
    return true;
}

}  // namespace telpher::crash
