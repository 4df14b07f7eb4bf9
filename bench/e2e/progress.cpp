#include "bench/e2e/progress.hpp"

#include "bench/e2e/clock.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace telpher::bench {

namespace {

constexpr std::size_t kBarWidth = 30;

}  // namespace

Progress::Progress(std::size_t steps, std::uint32_t rounds)
    : terminal_(isatty(STDERR_FILENO) == 1),
      steps_(std::max<std::size_t>(1, steps)),
      rounds_(rounds),
      begun_ns_(monotonic_now_ns()) {}

Progress::~Progress() {
    if (terminal_) {
        clear();
    } else {
        std::fprintf(stderr, "\n");
    }
}

void Progress::round(std::uint32_t number) {
    round_ = number;
    if (!terminal_) {
        std::fprintf(stderr, "%sround %u/%u: ", number == 1 ? "" : "\n", number, rounds_);
    }
}

void Progress::step(const std::string& name) {
    if (terminal_) {
        draw(name);
    } else {
        std::fprintf(stderr, "%s ", name.c_str());
    }
    ++done_;
}

void Progress::say(const std::string& text) {
    if (terminal_) {
        clear();
    }
    std::fprintf(stderr, "%s%s\n", terminal_ ? "" : "\n", text.c_str());
}

void Progress::clear() const { std::fprintf(stderr, "\r\033[K"); }

void Progress::draw(const std::string& name) const {
    const std::size_t full = std::min(kBarWidth, done_ * kBarWidth / steps_);
    const auto seconds = static_cast<unsigned>((monotonic_now_ns() - begun_ns_) / 1'000'000'000U);
    std::fprintf(stderr,
                 "\r\033[K[%s%s] %3zu %%  %u:%02u  round %u/%u  %s",
                 std::string(full, '#').c_str(),
                 std::string(kBarWidth - full, '.').c_str(),
                 done_ * 100 / steps_,
                 seconds / 60,
                 seconds % 60,
                 round_,
                 rounds_,
                 name.c_str());
}

}  // namespace telpher::bench
