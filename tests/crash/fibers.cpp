#include "tests/crash/fibers.hpp"

#include "shm/base/step.hpp"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

namespace telpher::crash {
namespace {

constexpr std::size_t kStackBytes = 256 * 1024;
constexpr std::uint64_t kStepsMax = 20'000;
constexpr int kNobody = -1;

struct Fiber {
    ucontext_t context{};
    std::unique_ptr<std::byte[]> stack = std::make_unique<std::byte[]>(kStackBytes);
    bool ended = false;
};

// One place where a schedule could have gone another way.
struct Choice {
    std::uint32_t taken = 0;
    std::uint32_t options = 1;
};

class Explorer {
  public:
    explicit Explorer(const Exploration& exploration)
        : exploration_(exploration), fibers_(exploration.parties.size()) {}

    Explored run();
    void at_step(const char* name);
    std::uint64_t clock() const { return clock_; }

  private:
    static void enter(unsigned int index);
    void run_schedule();
    bool next_schedule();
    std::uint32_t choose(std::uint32_t options);
    // The party that is `nth` among those that can go on, `except` left out.
    int runnable(std::uint32_t nth, int except) const;
    std::uint32_t runnable_count(int except) const;
    std::string interleaving();

    const Exploration& exploration_;
    std::vector<Fiber> fibers_;
    std::vector<Choice> trail_;
    std::vector<std::string> record_;
    ucontext_t home_{};
    std::size_t depth_ = 0;  // in trail_
    std::uint64_t clock_ = 0;
    std::uint64_t steps_ = 0;
    std::uint64_t schedule_started_ = 0;
    int current_ = kNobody;
    int preemptions_left_ = 0;
    bool death_left_ = false;
    bool wedged_ = false;
    bool recording_ = false;
};

Explorer* g_explorer = nullptr;  // a step hook has no argument

void hook(const char* name) { g_explorer->at_step(name); }

std::uint32_t Explorer::choose(std::uint32_t options) {
    if (depth_ == trail_.size()) {
        trail_.push_back({0, options});
    }
    if (trail_[depth_].options != options) {
        std::fputs("a schedule did not run twice alike: reset() leaves something behind\n", stderr);
        std::abort();
    }
    return trail_[depth_++].taken;
}

int Explorer::runnable(std::uint32_t nth, int except) const {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
        if (!fibers_[i].ended && static_cast<int>(i) != except && nth-- == 0) {
            return static_cast<int>(i);
        }
    }
    return kNobody;
}

std::uint32_t Explorer::runnable_count(int except) const {
    std::uint32_t count = 0;
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
        count += !fibers_[i].ended && static_cast<int>(i) != except ? 1U : 0U;
    }
    return count;
}

void Explorer::at_step(const char* name) {
    ++clock_;
    if (current_ == kNobody) {
        return;  // reset, judge
    }
    ++steps_;
    if (recording_) {
        record_.push_back(std::string(1, static_cast<char>('A' + current_)) + ":" + name);
    }
    Fiber& me = fibers_[static_cast<std::size_t>(current_)];
    if (clock_ - schedule_started_ > kStepsMax) {
        wedged_ = true;
        swapcontext(&me.context, &home_);  // never resumed
    }
    const std::uint32_t others = preemptions_left_ == 0 ? 0 : runnable_count(current_);
    const std::uint32_t deaths = death_left_ && current_ == exploration_.mortal ? 1 : 0;
    const std::uint32_t taken = others + deaths == 0 ? 0 : choose(1 + others + deaths);
    if (taken == 0) {
        return;
    }
    if (taken > others) {
        death_left_ = false;
        me.ended = true;
        if (recording_) {
            record_.push_back(std::string(1, static_cast<char>('A' + current_)) + " dies");
        }
        swapcontext(&me.context, &home_);  // never resumed
    }
    --preemptions_left_;
    current_ = runnable(taken - 1, current_);
    swapcontext(&me.context, &fibers_[static_cast<std::size_t>(current_)].context);
}

void Explorer::enter(unsigned int index) {
    Explorer& self = *g_explorer;
    self.exploration_.parties[index]();
    self.fibers_[index].ended = true;
    swapcontext(&self.fibers_[index].context, &self.home_);
}

void Explorer::run_schedule() {
    for (std::size_t i = 0; i < fibers_.size(); ++i) {
        Fiber& fiber = fibers_[i];
        fiber.ended = false;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = kStackBytes;
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context,
                    reinterpret_cast<void (*)()>(&Explorer::enter),
                    1,
                    static_cast<unsigned>(i));
    }
    depth_ = 0;
    preemptions_left_ = exploration_.preemptions;
    death_left_ = exploration_.mortal != kNobody;
    schedule_started_ = clock_;
    while (!wedged_) {
        const std::uint32_t left = runnable_count(kNobody);
        if (left == 0) {
            break;
        }
        current_ = runnable(left == 1 ? 0 : choose(left), kNobody);
        swapcontext(&home_, &fibers_[static_cast<std::size_t>(current_)].context);
    }
    current_ = kNobody;
}

// Moves on to the next schedule in depth-first order. False after the last.
bool Explorer::next_schedule() {
    while (!trail_.empty()) {
        if (++trail_.back().taken < trail_.back().options) {
            return true;
        }
        trail_.pop_back();
    }
    return false;
}

// Runs the schedule in trail_ again and tells who did what.
std::string Explorer::interleaving() {
    recording_ = true;
    record_.clear();
    wedged_ = false;
    exploration_.reset();
    run_schedule();
    recording_ = false;
    std::string text;
    for (const std::string& step : record_) {
        text += "\n  " + step;
    }
    return text;
}

Explored Explorer::run() {
    Explored result;
    shm::step_hook = hook;
    do {
        exploration_.reset();
        run_schedule();
        ++result.schedules;
        result.problem = wedged_ ? "wedged: a schedule does not end" : exploration_.judge();
        if (!result.problem.empty()) {
            result.problem += interleaving();
            break;
        }
        result.complete = !next_schedule();
    } while (!result.complete && result.schedules < exploration_.schedules_max);
    shm::step_hook = nullptr;
    result.steps = steps_;
    return result;
}

}  // namespace

Explored explore(const Exploration& exploration) {
    Explorer explorer(exploration);
    g_explorer = &explorer;
    Explored result = explorer.run();
    g_explorer = nullptr;
    return result;
}

std::uint64_t steps_so_far() { return g_explorer == nullptr ? 0 : g_explorer->clock(); }

}  // namespace telpher::crash
