#include "bench/e2e/options.hpp"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace telpher::bench {

namespace {

constexpr const char* kUsage =
    "usage: telpher_bench [options]\n"
    "  --quick           telpher and its floors, less than three minutes (the default)\n"
    "  --full            more rounds, larger amounts, and how costs grow with size, depth, "
    "processes\n"
    "  --peers           also other people's transports, those that were installed at build time\n"
    "  --only NAME       only benchmarks whose name contains NAME, whichever they are; may be "
    "repeated\n"
    "  --smoke           a few hundred operations of everything: does it work (no figures)\n"
    "  --rounds N        rounds (5; --full: 7)\n"
    "  --messages N      messages and round trips per round\n"
    "  --cpus A,B        processors of the two sides (the first two allowed ones)\n"
    "  --one-cpu         go on although there is only one processor\n"
    "  --wait NAME       wait strategy of telpher: latency, balanced, eco (balanced)\n"
    "  --json FILE       write everything, samples and histograms included; -: there instead of "
    "tables\n"
    "  --plot DIR        draw pictures there (SVG, with gnuplot)\n"
    "  --deadline S      stop after S seconds (3600)\n"
    "  --list            what there is\n";

void make_quick(Scale& scale) {
    scale.name = "quick";
    scale.rounds = 5;
    scale.round_trips = 100'000;
    scale.messages = 2'000'000;
    scale.slow_messages = 200'000;
    scale.kills = 50;
    scale.idle_ms = 3000;
}

void make_smoke(Scale& scale) {
    scale = {.name = "smoke",
             .rounds = 1,
             .round_trips = 300,
             .messages = 2000,
             .slow_messages = 1200,
             .kills = 3,
             .attaches = 3,
             .idle_ms = 100,
             .child_seconds_max = 30};
}

[[noreturn]] void refuse(const std::string& why) {
    std::fprintf(stderr, "telpher_bench: %s\n%s", why.c_str(), kUsage);
    std::exit(2);
}

std::uint64_t number(const std::string& option, const std::string& text) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    constexpr std::uint64_t kMax = 1'000'000'000'000;
    if (error != std::errc() || end != text.data() + text.size() || value == 0 || value > kMax) {
        refuse(option + " wants a number from 1 on, not '" + text + "'");
    }
    return value;
}

// "A,B".
void take_cpus(const std::string& text, Context& context) {
    char behind = '\0';
    if (std::sscanf(text.c_str(), "%d,%d%c", &context.cpus[0], &context.cpus[1], &behind) != 2) {
        refuse("--cpus wants two numbers like 0,1");
    }
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (const int cpu : context.cpus) {
        if (cpu < 0 || cpu >= CPU_SETSIZE || !CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) {
            refuse("--cpus: this process may not use processor " + std::to_string(cpu));
        }
    }
}

// Options with a value. `scale` first, so that --quick can be refined whatever the order.
void take_value(const std::string& option,
                const char* value,
                Context& context,
                Arguments& arguments) {
    if (option == "--only") {
        arguments.only.emplace_back(value);
    } else if (option == "--json") {
        arguments.json = value;
    } else if (option == "--plot") {
        arguments.plot = value;
    } else if (option == "--rounds") {
        context.scale.rounds =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(number(option, value), 1000));
    } else if (option == "--messages") {
        const std::uint64_t messages = number(option, value);
        context.scale.messages = context.scale.slow_messages = context.scale.round_trips = messages;
    } else if (option == "--wait") {
        context.wait_strategy = value;
    } else if (option == "--deadline") {
        arguments.deadline_s = number(option, value);
    } else if (option == "--cpus") {
        take_cpus(value, context);
        arguments.cpus_given = true;
    } else {
        refuse("unknown option " + option);
    }
}

}  // namespace

Arguments parse(int argc, char** argv, Context& context) {
    Arguments arguments;
    make_quick(context.scale);
    for (int i = 1; i < argc; ++i) {  // these set many values: first
        if (std::strcmp(argv[i], "--full") == 0) {
            context.scale = Scale{};
            arguments.sweeps = true;
        } else if (std::strcmp(argv[i], "--smoke") == 0) {
            make_smoke(context.scale);
            arguments.smoke = arguments.peers = arguments.sweeps = true;
        }
    }
    for (int i = 1; i < argc; ++i) {
        const std::string option = argv[i];
        if (option == "--quick" || option == "--full" || option == "--smoke") {
            continue;
        }
        if (option == "--help") {
            std::printf("%s", kUsage);
            std::exit(0);
        } else if (option == "--list") {
            arguments.list = true;
        } else if (option == "--peers") {
            arguments.peers = true;
        } else if (option == "--one-cpu") {
            context.one_cpu = true;
        } else if (i + 1 < argc) {
            take_value(option, argv[++i], context, arguments);
        } else {
            refuse("unknown option or missing value: " + option);
        }
    }
    return arguments;
}

void choose_cpus(Context& context, const Arguments& arguments) {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    const bool alone = CPU_COUNT(&allowed) < 2;
    if (alone && !context.one_cpu && !arguments.smoke) {
        refuse("only one processor: two sides would take turns on it (--one-cpu to go on)");
    }
    if (!arguments.cpus_given) {
        int found = 0;
        for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
            if (!CPU_ISSET(static_cast<unsigned>(cpu), &allowed)) {
                continue;
            }
            if (found < 2) {
                context.cpus[found++] = cpu;
            } else {
                context.more_cpus.push_back(cpu);
            }
        }
        if (alone) {
            context.cpus[1] = context.cpus[0];
        }
    }
    context.one_cpu = context.cpus[0] == context.cpus[1];
}

}  // namespace telpher::bench
