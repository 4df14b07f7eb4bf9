#pragma once
// Pictures of a run, drawn by gnuplot.

#include "bench/e2e/report.hpp"

#include <string>

namespace telpher::bench {

// Whether gnuplot is there and the folder can be made. Errors: bad_request (there is no gnuplot), server_error with errno.
Result<void> ready_to_draw(const std::string& folder);

// Writes NAME.svg for every picture that has rows, with NAME.dat and NAME.gp, from which `gnuplot NAME.gp`, there,
// draws it again. Errors: as above; server_error if gnuplot fails.
Result<void> draw_pictures(const std::string& folder,
                           const Machine& machine,
                           const Results& results);

}  // namespace telpher::bench
