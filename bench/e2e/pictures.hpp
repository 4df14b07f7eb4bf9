#pragma once
// What is put side by side: which rows make one picture. The terminal's bars, the plots and the README's table
// all come from here.

#include "bench/e2e/results.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace telpher::bench {

enum class Shape : std::uint8_t {
    bars,         // one figure of each row: who is how fast
    percentiles,  // the whole distribution of each row
    curve,        // how a figure grows over x
};

// How a row's nanoseconds (microseconds, milliseconds: its unit) are shown.
enum class Scaling : std::uint8_t {
    as_measured,
    millions_per_second,   // of messages
    gigabytes_per_second,  // x is the payload in bytes
};

struct Point {
    double x = 0;  // 0 in bars and percentiles
    std::string row;
};
struct Line {
    std::string label;
    std::vector<Point> points;
};

struct Picture {
    std::string name;  // of its files
    std::string title;
    Shape shape = Shape::bars;
    Scaling scaling = Scaling::as_measured;
    std::string x_label;
    std::string y_label;
    std::vector<Line> lines;  // telpher's first
};
const std::vector<Picture>& all_pictures();

// The lines that were measured, with what was: without rows that this run does not have.
std::vector<Line> measured_lines(const Picture& picture, const Results& results);
// The median over the rounds of a row that was measured, scaled.
double shown(const Picture& picture, const Point& point, const Results& results);

}  // namespace telpher::bench
