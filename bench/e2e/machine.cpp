// What a figure depends on: the machine, the compiler, and whose code else ran.
#include "bench/e2e/report.hpp"

#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <ctime>
#include <fstream>

namespace telpher::bench {

std::string load_average() {
    std::ifstream file("/proc/loadavg");
    std::string one;
    std::string five;
    file >> one >> five;
    return one + " " + five;
}

Machine look_at_machine() {
    Machine machine;
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
        if (line.starts_with("model name")) {
            machine.cpu = line.substr(line.find(':') + 2);
            break;
        }
    }
    utsname name{};
    uname(&name);
    machine.kernel = std::string(name.sysname) + " " + name.release + " " + name.machine;
#if defined(__clang__)
    machine.compiler = "clang " __clang_version__;
#else
    machine.compiler = "gcc " __VERSION__;
#endif
#if defined(__OPTIMIZE__)
    machine.build = "optimised";
#else
    machine.build = "NOT OPTIMISED";
#endif
    machine.cores = sysconf(_SC_NPROCESSORS_ONLN);
    machine.load_before = load_average();
    sched_param priority{};
    sched_getparam(0, &priority);
    machine.scheduler = sched_getscheduler(0) == SCHED_FIFO
                            ? "SCHED_FIFO " + std::to_string(priority.sched_priority)
                        : sched_getscheduler(0) == SCHED_OTHER ? "SCHED_OTHER"
                                                               : "another";
    const std::time_t now = std::time(nullptr);
    tm utc{};
    gmtime_r(&now, &utc);
    char date[32];
    std::strftime(date, sizeof(date), "%Y-%m-%d %H:%M UTC", &utc);
    machine.date = date;
    return machine;
}

}  // namespace telpher::bench
