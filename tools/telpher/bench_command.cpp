// telpher bench: the benchmark program, found in the same build folder. It is a program of its own, so that the command line
// links none of the libraries that telpher is compared with.

#include "tools/telpher/options.hpp"
#include "tools/telpher/output.hpp"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

constexpr const char* kOnTerminal = "-";  // telpher_bench's name for its standard output

struct BenchOptions {
    bool quick = false;
    bool full = false;
    bool peers = false;
    bool list = false;
    bool smoke = false;
    std::vector<std::string> only{};
    std::optional<std::string> json{};
    std::string plot{};
    std::optional<std::uint32_t> rounds{};
    std::string processors{};
};

// Of the same build: it is not installed, since it needs what it compares telpher with.
std::optional<std::filesystem::path> find_program() {
    std::error_code error;
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (error) {
        return std::nullopt;
    }
    auto path = self.parent_path() / "bench/telpher_bench";
    return ::access(path.c_str(), X_OK) == 0 ? std::optional(std::move(path)) : std::nullopt;
}

std::vector<std::string> words_of(const BenchOptions& options, const std::string& program) {
    std::vector<std::string> words{program};
    const std::pair<bool, const char*> flags[] = {{options.quick, "--quick"},
                                                  {options.full, "--full"},
                                                  {options.smoke, "--smoke"},
                                                  {options.peers, "--peers"},
                                                  {options.list, "--list"}};
    for (const auto& [given, flag] : flags) {
        if (given) {
            words.emplace_back(flag);
        }
    }
    const auto add = [&](const char* option, const std::string& value) {
        words.emplace_back(option);
        words.push_back(value);
    };
    for (const std::string& name : options.only) {
        add("--only", name);
    }
    if (options.json) {
        add("--json", *options.json);
    }
    if (!options.plot.empty()) {
        add("--plot", options.plot);
    }
    if (options.rounds) {
        add("--rounds", std::to_string(*options.rounds));
    }
    if (!options.processors.empty()) {
        add("--cpus", options.processors);
    }
    return words;
}

// Returns only if the program could not be run.
ExitCode run_bench(const BenchOptions& options) {
    const auto program = find_program();
    if (!program) {
        return print_not_found(
            "this build of telpher has no benchmarks: there is no telpher_bench beside it",
            "configure with -DTELPHER_BENCH=ON (the preset release does) and build again",
            options.json.has_value());
    }
    std::vector<std::string> words = words_of(options, program->string());
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    arguments.push_back(nullptr);
    // Both outlive exec: this program blocks signals that the other one waits for.
    std::signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, nullptr);
    ::execv(arguments[0], arguments.data());
    return print_error({Status::server_error, errno, "cannot run " + program->string()},
                       options.json.has_value());
}

}  // namespace

void add_bench_command(CLI::App& app, Command& command) {
    auto options = std::make_shared<BenchOptions>();
    auto* const bench = add_command(app,
                                    "bench",
                                    "Measure telpher beside its floors and, with --peers, beside "
                                    "what else one could use, in one run on this "
                                    "machine; bench/README.md says how to read it. Exits with 1 if "
                                    "something could not be measured",
                                    "  telpher bench\n"
                                    "  telpher bench --full --peers --json run.json --plot plots\n"
                                    "  telpher bench --only ping_pong --only two_lines\n"
                                    "  telpher bench --list");
    auto* const quick =
        bench->add_flag("--quick", options->quick, "Less than three minutes (the default)");
    bench
        ->add_flag("--full",
                   options->full,
                   "More rounds, larger amounts, and how costs grow; less than half an hour")
        ->excludes(quick);
    bench
        ->add_flag(
            "--smoke", options->smoke, "A little of everything, whether it works; no figures")
        ->excludes(quick);
    bench->add_flag("--peers",
                    options->peers,
                    "Other people's transports, too: those that tools/bench-setup installed");
    bench->add_flag("--list", options->list, "What there is to measure");
    bench->add_option("--only", options->only, "Only what has NAME in its name; may be repeated")
        ->type_name("NAME")
        ->expected(1)
        ->take_all();
    bench
        ->add_option("--json",
                     options->json,
                     "Everything as JSON, samples and histograms included: to FILE, or instead of "
                     "the tables")
        ->type_name("[FILE]")
        ->expected(0, 1)
        ->default_str(kOnTerminal);
    bench->add_option("--plot", options->plot, "Draw pictures (SVG) in this folder; needs gnuplot")
        ->type_name("DIR");
    bench->add_option("--rounds", options->rounds, "How often everything is measured in turns")
        ->type_name("N")
        ->check(at_least_one());
    bench->add_option("--cpus", options->processors, "The processors of the two sides")
        ->type_name("A,B");
    bench->callback([&command, options] {
        command.run = [options](Interrupt&) { return run_bench(*options); };
    });
}

}  // namespace telpher::cli
