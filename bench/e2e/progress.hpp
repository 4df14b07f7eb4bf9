#pragma once
// How far a run is, on stderr: a bar that moves where that is a terminal, the names of what was measured where not.

#include <cstddef>
#include <cstdint>
#include <string>

namespace telpher::bench {

class Progress {
  public:
    // `steps`: benchmarks of all rounds together.
    Progress(std::size_t steps, std::uint32_t rounds);
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    ~Progress();
    void round(std::uint32_t number);
    void step(const std::string& name);
    // A line of its own, and the bar goes on below it.
    void say(const std::string& text);

  private:
    void clear() const;
    void draw(const std::string& name) const;

    bool terminal_;
    std::size_t steps_;
    std::size_t done_ = 0;
    std::uint32_t rounds_;
    std::uint32_t round_ = 0;
    std::uint64_t begun_ns_;
};

}  // namespace telpher::bench
