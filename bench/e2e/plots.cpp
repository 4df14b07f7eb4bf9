#include "bench/e2e/plots.hpp"

#include "bench/e2e/pictures.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <system_error>

namespace telpher::bench {

namespace {

constexpr const char* kOurs = "#1f6feb";
constexpr const char* kTheirs = "#8c959f";
// Told apart by those who see few colours, too; telpher's line is also the thick one.
constexpr std::array kColours{kOurs,
                              "#d55e00",
                              "#009e73",
                              "#cc79a7",
                              "#e69f00",
                              "#56b4e9",
                              "#000000",
                              "#7f5f00",
                              "#999999",
                              "#6a3d9a"};
constexpr const char* kHint = "install gnuplot-nox, or leave --plot out";

// Runs gnuplot in `folder` with one argument. Its exit status, or -1.
int run_gnuplot(const std::string& folder, const std::string& argument) {
    const std::string chdir_and_run = "cd \"$1\" && exec gnuplot \"$2\"";
    std::string words[] = {"sh", "-c", chdir_and_run, "sh", folder, argument};
    char* arguments[] = {words[0].data(),
                         words[1].data(),
                         words[2].data(),
                         words[3].data(),
                         words[4].data(),
                         words[5].data(),
                         nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t pid = -1;
    const int failed = posix_spawnp(&pid, "sh", &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    int status = -1;
    if (failed != 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        return -1;
    }
    return WEXITSTATUS(status);
}

// One block of numbers for each line, two empty lines between them.
std::string data_of(const Picture& picture,
                    const std::vector<Line>& lines,
                    const Results& results) {
    std::ostringstream out;
    out.precision(9);
    for (const Line& line : lines) {
        out << "# " << line.label << '\n';
        if (picture.shape != Shape::percentiles) {
            for (const Point& point : line.points) {
                const Spread spread = results.find(point.row)->p50();
                out << point.x << ' ' << shown(picture, point, results) << ' ' << spread.min << ' '
                    << spread.max << " \"" << line.label << "\"\n";
            }
        } else {
            const Counts counts = results.find(line.points.front().row)->counts();
            double all = 0;
            for (const auto& [value, count] : counts) {
                all += static_cast<double>(count);
            }
            double seen = 0;
            for (const auto& [value, count] : counts) {
                seen += static_cast<double>(count);
                if (seen < all) {  // the last one would lie at infinity
                    out << 1.0 / (1.0 - seen / all) << ' ' << value << '\n';
                }
            }
        }
        out << "\n\n";
    }
    return out.str();
}

// Bars lie: names have room beside them.
std::string bars_script(const std::vector<Line>& lines) {
    std::ostringstream out;
    out << "set yrange [" << lines.size()
        << ":-1]\nset ytics out nomirror\nset logscale x\nset grid x\n"
        << "set style fill solid 0.85 noborder\nset boxwidth 0.7\nset lmargin 42\nunset key\n"
        << "low = 10 ** floor(log10(STATS_min) - 0.3)\n"
        << "set xrange [low:STATS_max * 3]\n";
    return out.str();
}

std::string script_of(const Picture& picture,
                      const std::vector<Line>& lines,
                      const Machine& machine) {
    const bool bars = picture.shape == Shape::bars;
    std::ostringstream out;
    out << "# gnuplot " << picture.name << ".gp\n"
        << "set terminal svg size 960," << (bars ? 170 + 34 * lines.size() : 560)
        << " dynamic noenhanced font 'sans-serif,13' background '#ffffff'\nset output '"
        << picture.name << ".svg'\n"
        << "set title \"" << picture.title << "\\n"
        << machine.cpu << ", " << machine.cores << " processors, " << machine.kernel << ", "
        << machine.date << "\"\nset border 3\nset tics nomirror\n";
    const std::string data = "'" + picture.name + ".dat'";
    if (bars) {
        out << "set xlabel '" << picture.y_label << ", logarithmic; shorter is faster'\n"
            << "stats " << data << " using 2 nooutput\n"
            << bars_script(lines) << "plot";
        for (std::size_t i = 0; i < lines.size(); ++i) {
            const char* const colour = lines[i].label.starts_with("telpher") ? kOurs : kTheirs;
            out << (i == 0 ? " " : ", ") << data << " index " << i << " using (($2 + low) / 2):("
                << i << "):(low):2:(" << i << " - 0.35):(" << i
                << " + 0.35):ytic(5) with boxxyerror lc rgb '" << colour << "', " << data
                << " index " << i << " using 2:(" << i
                << "):(sprintf(' %.4g', $2)) with labels left";
        }
        out << '\n';
        return out.str();
    }
    out << "set xlabel '" << picture.x_label << "'\nset ylabel '" << picture.y_label
        << "'\nset logscale xy\nset grid\n"
        << "set key outside right top\n";
    if (picture.shape == Shape::percentiles) {
        out << "set xtics ('0 %%' 1, '50 %%' 2, '90 %%' 10, '99 %%' 100, '99.9 %%' 1e3, '99.99 %%' "
               "1e4, "
               "'99.999 %%' 1e5)\n";
    }
    out << "plot";
    for (std::size_t i = 0; i < lines.size(); ++i) {
        out << (i == 0 ? " " : ", ") << data << " index " << i << " using 1:2 with "
            << (picture.shape == Shape::percentiles ? "lines" : "linespoints pt 7 ps 0.6") << " lw "
            << (i == 0 ? 3 : 1.5) << " lc rgb '" << kColours[i % kColours.size()] << "' title \""
            << lines[i].label << "\"";
    }
    out << '\n';
    return out.str();
}

Result<void> write_file(const std::filesystem::path& path, const std::string& text) {
    std::ofstream out(path);
    out << text;
    out.close();
    if (!out) {
        return Error{Status::server_error, errno, "cannot write " + path.string()};
    }
    return {};
}

}  // namespace

Result<void> ready_to_draw(const std::string& folder) {
    if (run_gnuplot("/", "--version") != 0) {
        return Error{Status::bad_request, 0, std::string("there is no gnuplot; ") + kHint};
    }
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
        return Error{Status::server_error, error.value(), "cannot make the folder " + folder};
    }
    const std::filesystem::path probe = std::filesystem::path(folder) / ".telpher_bench";
    Result<void> able = write_file(probe, "");
    std::filesystem::remove(probe, error);
    return able;
}

Result<void> draw_pictures(const std::string& folder,
                           const Machine& machine,
                           const Results& results) {
    for (const Picture& picture : all_pictures()) {
        const std::vector<Line> lines = measured_lines(picture, results);
        if (lines.empty()) {
            continue;
        }
        const std::filesystem::path base = std::filesystem::path(folder) / picture.name;
        Result<void> written = write_file(base.string() + ".dat", data_of(picture, lines, results));
        if (written) {
            written = write_file(base.string() + ".gp", script_of(picture, lines, machine));
        }
        if (!written) {
            return written;
        }
        if (run_gnuplot(folder, picture.name + ".gp") != 0) {
            return Error{
                Status::server_error, 0, "gnuplot could not draw " + base.string() + ".gp"};
        }
    }
    return {};
}

}  // namespace telpher::bench
