#pragma once
// Was it a queue? Decides whether what several parties saw of one bounded queue can be explained by
// some order of their operations that keeps real time (linearizability, Wing and Gong's search).

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace telpher::crash {

enum class Verb : std::uint8_t { offer, poll, close };
// unknown: the party died in it; it happened, at some time after the call, or it did not.
enum class Answer : std::uint8_t { ok, full, empty, not_found, damaged, unknown };

struct Operation {
    Verb verb = Verb::offer;
    Answer answer = Answer::ok;
    std::uint32_t value = 0;  // offered, or polled when the answer is ok
    std::uint64_t called = 0;
    std::uint64_t returned = 0;
};

class QueueHistory {
  public:
    explicit QueueHistory(std::uint32_t capacity) : capacity_(capacity) {}

    void clear() { operations_.clear(); }
    void add(const Operation& operation) { operations_.push_back(operation); }
    [[nodiscard]] std::size_t size() const { return operations_.size(); }
    // Empty if some order explains it, else the operations as text.
    [[nodiscard]] std::string judge();
    [[nodiscard]] std::string text() const;

  private:
    [[nodiscard]] bool explain(std::uint64_t done);
    [[nodiscard]] bool fits(const Operation& operation) const;
    // Whether `operation`, which fits now, changes the queue.
    [[nodiscard]] bool changes(const Operation& operation) const;

    std::uint32_t capacity_;
    std::vector<Operation> operations_;
    std::deque<std::uint32_t> content_;
    bool closed_ = false;
};

}  // namespace telpher::crash
