#include "tools/telpher/demo_durable.hpp"

#include "telpher/telpher.hpp"

#include "tools/telpher/children.hpp"
#include "tools/telpher/units.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

namespace telpher::cli {

namespace {

using namespace std::chrono_literals;

constexpr int kProducers = 3;
constexpr auto kWork = 1500ms;
constexpr std::uint64_t kNumbersOfOne = 1'000'000'000;  // of each producer

QueueOptions queue_options() {
    return {
        .capacity = 1U << 16U, .kind = QueueKind::durable, .delivery = DeliveryMode::at_least_once};
}

// Removed at the end, with what is in it.
class Scratch {
  public:
    Scratch() {
        std::string name = std::filesystem::temp_directory_path() / "telpher-demo-XXXXXX";
        if (::mkdtemp(name.data()) != nullptr) {
            path_ = name;
        }
    }
    ~Scratch() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
    [[nodiscard]] bool made() const { return !path_.empty(); }

  private:
    std::string path_;
};

// What the processes noted; a number that a kill cut in half counts as not noted.
std::set<std::uint64_t> read_notes(const std::string& path) {
    std::set<std::uint64_t> numbers;
    std::ifstream file(path, std::ios::binary);
    std::uint64_t number = 0;
    while (file.read(reinterpret_cast<char*>(&number), sizeof number)) {
        numbers.insert(number);
    }
    return numbers;
}

struct Report {
    std::uint64_t confirmed = 0;
    std::uint64_t taken = 0;
    std::uint64_t found = 0;
    std::uint64_t lost = 0;
    std::uint64_t unknown = 0;  // found, and not confirmed: its producer was killed in its offer
    std::chrono::milliseconds built{};

    [[nodiscard]] bool ok() const { return lost == 0 && confirmed != 0; }
    [[nodiscard]] Json to_json() const {
        return Json{{"confirmed", confirmed},
                    {"taken", taken},
                    {"found_after_restart", found},
                    {"of_these_not_confirmed", unknown},
                    {"lost", lost},
                    {"built_ms", built.count()},
                    {"ok", ok()}};
    }
    [[nodiscard]] std::string to_text() const {
        return "durable queue: " + std::to_string(kProducers) + " producers, 1 worker, " +
               format_duration(kWork) + "\n  confirmed          " + format_count(confirmed) +
               " messages, each on disk\n  taken by worker    " + format_count(taken) +
               "\nall of them killed (SIGKILL), the domain's memory removed\n"
               "  built again        in " +
               format_duration(built) + " from the log\n  found              " +
               format_count(found) + ", " + format_count(unknown) +
               " of them not yet confirmed when their producer was killed\n  lost               " +
               format_count(lost) + "\n" +
               (ok() ? "every confirmed message is there, or was taken\n" : "MESSAGES WERE LOST\n");
    }
};

class DurableDemo {
  public:
    explicit DurableDemo(Interrupt& interrupt) : interrupt_(interrupt) {}
    ~DurableDemo() {
        children_.end_all();
        static_cast<void>(remove_domain(domain_, true));
    }
    DurableDemo(const DurableDemo&) = delete;
    DurableDemo& operator=(const DurableDemo&) = delete;

    Result<Report> run() {
        if (!scratch_.made()) {
            return Error{Status::storage_failed, errno, "cannot make a scratch folder"};
        }
        if (auto worked = work(); !worked) {
            return worked.error();
        }
        if (auto removed = remove_domain(domain_, true); !removed) {
            return removed.error();
        }
        return look();
    }

  private:
    Result<Server> open() { return Server::open(domain_, {.log_directory = scratch_.file("log")}); }

    Result<void> work() {
        auto server = open();
        auto queue = server ? server->create_queue("orders", queue_options())
                            : Result<Queue>(server.error());
        if (!queue) {
            return queue.error();
        }
        std::vector<pid_t> pids;
        for (int i = 0; i <= kProducers; ++i) {
            auto pid = children_.start(i == 0 ? "worker" : "producer",
                                       {"demo-durable-role",
                                        domain_,
                                        scratch_.file("notes." + std::to_string(i)),
                                        std::to_string(i)});
            if (!pid) {
                return pid.error();
            }
            pids.push_back(*pid);
        }
        const auto end = std::chrono::steady_clock::now() + kWork;
        while (std::chrono::steady_clock::now() < end) {
            if (interrupt_.stopped()) {
                return Status::cancelled;
            }
            std::this_thread::sleep_for(10ms);
        }
        for (const pid_t pid : pids) {
            if (!children_.running(pid)) {
                return Error{Status::server_error, 0, "a process of the demo ended by itself"};
            }
            children_.kill(pid);
        }
        return {};
    }

    Result<Report> look() {
        const auto begun = std::chrono::steady_clock::now();
        auto server = open();
        auto queue = server ? server->queue("orders") : Result<Queue>(server.error());
        if (!queue) {
            return queue.error();
        }
        Report report;
        report.built = std::chrono::duration_cast<std::chrono::milliseconds>(
            std::chrono::steady_clock::now() - begun);
        std::set<std::uint64_t> confirmed;
        for (int i = 1; i <= kProducers; ++i) {
            confirmed.merge(read_notes(scratch_.file("notes." + std::to_string(i))));
        }
        const std::set<std::uint64_t> taken = read_notes(scratch_.file("notes.0"));
        std::set<std::uint64_t> found;
        // What the worker had is handed out again at once: it is dead.
        for (auto delivery = queue->poll(500ms); delivery; delivery = queue->poll(500ms)) {
            const std::string text(delivery->text());
            found.insert(std::strtoull(text.c_str(), nullptr, 10));
            static_cast<void>(delivery->ack());
        }
        report.confirmed = confirmed.size();
        report.taken = taken.size();
        report.found = found.size();
        for (const std::uint64_t number : confirmed) {
            report.lost +=
                static_cast<std::uint64_t>(!found.contains(number) && !taken.contains(number));
        }
        for (const std::uint64_t number : found) {
            report.unknown += static_cast<std::uint64_t>(!confirmed.contains(number));
        }
        return report;
    }

    Interrupt& interrupt_;
    const std::string domain_ = "demo-durable-" + std::to_string(::getpid());
    Scratch scratch_;
    Children children_;
};

Result<void> produce(Queue& queue, int number, int notes, Interrupt& interrupt) {
    for (std::uint64_t i = 1; !interrupt.stopped(); ++i) {
        const std::uint64_t id = static_cast<std::uint64_t>(number) * kNumbersOfOne + i;
        auto offered = queue.offer(
            Message::text("order", std::to_string(id)).durable(), 10s, interrupt.token());
        if (!offered) {
            return offered.error();
        }
        if (::write(notes, &id, sizeof id) != sizeof id) {
            return Error{Status::storage_failed, errno, "cannot note what was confirmed"};
        }
    }
    return Status::cancelled;
}

// Slower than they are, so that something is left.
Result<void> consume(Queue& queue, int notes, Interrupt& interrupt) {
    while (!interrupt.stopped()) {
        auto delivery = queue.poll(10s, interrupt.token());
        if (!delivery) {
            return delivery.error();
        }
        const std::string text(delivery->text());
        const std::uint64_t id = std::strtoull(text.c_str(), nullptr, 10);
        // First: once it is acknowledged, nobody else will tell of it.
        if (::write(notes, &id, sizeof id) != sizeof id) {
            return Error{Status::storage_failed, errno, "cannot note what was taken"};
        }
        static_cast<void>(delivery->ack());
        std::this_thread::sleep_for(5ms);
    }
    return Status::cancelled;
}

}  // namespace

ExitCode run_demo_durable(bool json, Interrupt& interrupt) {
    DurableDemo demo(interrupt);
    const auto report = demo.run();
    if (!report) {
        return print_error(report.error(), json);
    }
    const auto printed = json ? print_json(report->to_json()) : print_text(report->to_text());
    return report->ok() ? printed : kExitError;
}

ExitCode run_durable_role(const DurableRole& role, Interrupt& interrupt) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    auto client = connect("shm:" + role.domain, {.wait = 5s});
    auto queue = client ? client->queue("orders", {.wait = 5s}) : Result<Queue>(client.error());
    if (!queue) {
        return print_error(queue.error(), false);
    }
    const int notes = ::open(role.notes.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (notes < 0) {
        return print_error(Error{Status::storage_failed, errno, "cannot open " + role.notes},
                           false);
    }
    const auto done = role.number == 0 ? consume(*queue, notes, interrupt)
                                       : produce(*queue, role.number, notes, interrupt);
    ::close(notes);
    return done ? kExitOk : print_error(done.error(), false);
}

}  // namespace telpher::cli
