#include "tools/telpher/demo_parent.hpp"

#include "tools/telpher/line_reader.hpp"
#include "tools/telpher/units.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>

namespace telpher::cli {

namespace {

constexpr std::uint64_t kPacedMax = 20'000;
constexpr std::uint64_t kPacedRate = 10'000;  // per second: far below what two workers can take
constexpr std::uint64_t kStandstillNs = 10'000'000'000;
constexpr std::uint64_t kReapWaitNs = 5'000'000'000;

}  // namespace

Result<std::unique_ptr<DemoReport>> Demo::run() {
    using Step = Result<void> (Demo::*)();
    for (const Step step : {&Demo::load_orders,
                            &Demo::make_domain,
                            &Demo::start_processes,
                            &Demo::watch,
                            &Demo::end_others,
                            &Demo::look_at_domain}) {
        if (auto done = (this->*step)(); !done) {
            return interrupt_.stopped() || children_.stopped() ? Error{Status::cancelled, 0, {}}
                                                               : done.error();
        }
    }
    clean_up();
    run_.left_behind = leftovers_of(run_.domain);
    run_.seconds = static_cast<double>(now_ns() - start_ns_) / 1e9;
    return std::make_unique<DemoReport>(*account_, run_);
}

Result<void> Demo::load_orders() {
    run_.source = options_.input.empty() ? "the orders that telpher ships" : options_.input;
    content_ = shipped_orders();
    if (!options_.input.empty()) {
        auto read = read_file(options_.input, kDemoInputBytesMax);
        if (!read) {
            return read.error();
        }
        content_ = std::move(*read);
    }
    auto orders = parse_orders(content_, run_.source);
    if (!orders) {
        return orders.error();
    }
    orders_ = std::move(*orders);
    run_.orders = orders_.size();
    // The producer gets what was checked here, not a file that may change meanwhile.
    orders_fd_ = make_memory_file("telpher-demo-orders", content_.size());
    if (orders_fd_ < 0 || ::pwrite(orders_fd_, content_.data(), content_.size(), 0) !=
                              static_cast<ssize_t>(content_.size())) {
        return Error{Status::out_of_memory, errno, "cannot copy the orders"};
    }
    return {};
}

Result<void> Demo::make_domain() {
    run_.domain = "demo-" + std::to_string(::getpid());
    auto server =
        Server::open(run_.domain, {.mode = OpenMode::create, .lifetime = Lifetime::ephemeral});
    if (!server) {
        return server.error();
    }
    server_ = std::move(*server);
    if (auto checked = check_largest(); !checked) {
        return checked;
    }
    auto queue = server_->create_queue(kDemoQueue, {.capacity = kDemoCapacity});
    if (!queue) {
        return queue.error();
    }
    queue_ = std::move(*queue);
    auto topic = server_->create_topic(kDemoTopic, {.capacity = kDemoTopicCapacity});
    if (!topic) {
        return topic.error();
    }
    say("  producer --> queue orders --> 2 workers --> topic orders.done --> 2 subscribers\n"
        "                                   |                             `--> bridge ~~ TLS 1.3 "
        "~~> 1 subscriber\n"
        "                                   `---> function price, of 2 pricers\n\n"
        "1. made the domain " +
        run_.domain + "; read " + format_count(run_.orders) + " orders from " + run_.source);
    return {};
}

// Offers the largest order to a queue of its own: if it fits, with the longest label, all do.
Result<void> Demo::check_largest() {
    const auto largest =
        std::max_element(orders_.begin(), orders_.end(), [](const auto& a, const auto& b) {
            return a.text.size() < b.text.size();
        });
    auto queue = server_->create_queue("largest", {.capacity = 1});
    if (!queue) {
        return queue.error();
    }
    const auto message =
        Message::json("order", largest->text).with_correlation_id(std::string(64, '9'));
    if (const auto offered = queue->offer(message); !offered) {
        return Error{offered.status(),
                     0,
                     run_.source + ", line " + std::to_string(largest->line) + " (" +
                         format_size(largest->text.size()) + "): " + offered.error().detail};
    }
    const auto taken = queue->poll();
    return taken ? server_->remove_queue("largest") : taken.error();
}

Result<void> Demo::start_one(Role role) {
    const std::string name(kRoleNames.at(index_of(role)));
    const auto started = children_.start(name,
                                         {"demo-role",
                                          run_.domain,
                                          std::to_string(::getpid()),
                                          std::to_string(account_->fd()),
                                          std::to_string(orders_fd_),
                                          name,
                                          keys_});
    if (!started) {
        return started.error();
    }
    pids_.at(index_of(role)) = *started;
    return {};
}

std::string Demo::pids(std::initializer_list<Role> roles) const {
    std::string text;
    for (const auto role : roles) {
        text += (text.empty() ? "" : ", ") + std::to_string(pid_of(role));
    }
    return text;
}

Result<void> Demo::start_processes() {
    std::string folder = "/tmp/telpher-demo-XXXXXX";
    if (::mkdtemp(folder.data()) == nullptr) {
        return Error{Status::server_error, errno, "cannot make a folder in /tmp for keys"};
    }
    keys_ = std::move(folder);
    std::vector<std::int64_t> totals;
    for (const auto& order : orders_) {
        totals.push_back(order.total);
    }
    auto account = SharedAccount::create(options_.messages, totals);
    if (!account) {
        return account.error();
    }
    account_.emplace(std::move(*account));
    auto& figures = **account_;
    figures.paced.set(std::min(kPacedMax, options_.messages / 5));
    figures.rate.set(kPacedRate);
    // Beyond the kills: only a run too short to be killed in time waits there.
    figures.gate.set(options_.messages - options_.messages / 32);
    for (std::size_t index = 0; index < kRoleNames.size(); ++index) {
        if (auto started = start_one(static_cast<Role>(index)); !started) {
            return started;
        }
    }
    say("2. started " + std::to_string(kRoleNames.size()) + " processes: a producer (pid " +
        pids({Role::producer}) + "), two competing workers (" +
        pids({Role::worker_1, Role::worker_2}) + "), two pricers (" +
        pids({Role::pricer_1, Role::pricer_2}) + "), two subscribers (" +
        pids({Role::subscriber, Role::slow_subscriber}) + "), the second one slow, a bridge (" +
        pids({Role::bridge}) + ") and its remote subscriber (" + pids({Role::remote_subscriber}) +
        "), encrypted");
    for (const auto& ready : figures.ready) {
        while (ready.get() == 0) {
            if (auto waited = pause(); !waited) {
                return waited;
            }
        }
    }
    say("3. sending " + format_count(figures.paced.get()) + " orders at " +
        format_count(kPacedRate) + "/s to measure latency, then " +
        format_count(options_.messages - figures.paced.get()) +
        " as fast as it goes; workers ask for the price of one in " + std::to_string(kCallEvery) +
        ", and announce all");
    figures.go.set(1);
    return {};
}

Kill Demo::kill(Role role) {
    const Kill kill{pid_of(role), now_ns(), handled()};
    auto& figures = **account_;
    (role == Role::worker_1 ? figures.worker_kill_ns : figures.pricer_kill_ns).set(kill.ns);
    children_.kill(kill.pid);
    return kill;
}

// The worker in the middle of what is sent at full speed, the pricer in the middle of the rest.
void Demo::kill_when_due() {
    const auto paced = (*account_)->paced.get();
    const auto full = options_.messages - paced;
    if (run_.worker_kill.ns == 0 && handled() >= paced + full / 2) {
        run_.worker_kill = kill(Role::worker_1);
        say("4. killed worker 1 (pid " + std::to_string(run_.worker_kill.pid) +
            ") with SIGKILL after " + format_count(run_.worker_kill.after) +
            " orders; worker 2 goes on alone");
    } else if (run_.worker_kill.ns != 0 && run_.pricer_kill.ns == 0 &&
               handled() >= paced + full / 4 * 3) {
        // In the middle of a call, if it gets one before the orders stop for the kill.
        auto& figures = **account_;
        figures.hold.set(1);
        run_.pricer_held = figures.pricers[0].holds.get() != 0;
        if (!run_.pricer_held && handled() + 1 < figures.gate.get()) {
            return;
        }
        run_.pricer_kill = kill(Role::pricer_1);
        say("5. killed pricer 1 (pid " + std::to_string(run_.pricer_kill.pid) +
            ") with SIGKILL after " + format_count(run_.pricer_kill.after) + " orders, " +
            (run_.pricer_held ? "in the middle of a call; pricer 2 answers that, and all others"
                              : "idle; pricer 2 goes on alone"));
    }
}

// Until the producer has sent everything and the workers have taken it.
Result<void> Demo::watch() {
    auto& figures = **account_;
    const auto messages = options_.messages;
    std::uint64_t progress = 0;
    std::uint64_t progress_ns = now_ns();
    while (running(Role::worker_2)) {
        if (auto waited = pause(); !waited) {
            return waited;
        }
        kill_when_due();
        if (!running(Role::producer)) {
            figures.finish.set(1);
        }
        progress_.show("orders handled",
                       static_cast<double>(handled()) / static_cast<double>(messages));
        if (const auto now = handled() + figures.offered.get(); now != progress) {
            progress = now;
            progress_ns = now_ns();
        } else if (now_ns() - progress_ns > kStandstillNs) {
            return Error{Status::timed_out,
                         0,
                         "nothing moves any more after " + format_count(figures.offered.get()) +
                             " orders offered and " + format_count(handled()) + " handled"};
        }
    }
    progress_.clear();
    return {};
}

// Those that serve the workers or listen to them, once these have ended. A function ends with its last
// server, so its account comes before.
Result<void> Demo::end_others() {
    auto function = server_->function_status(kDemoFunction);
    if (!function) {
        return function.error();
    }
    run_.function = std::move(*function);
    const auto topic = server_->topic_status(kDemoTopic);
    if (!topic) {
        return topic.error();
    }
    (*account_)->published.set(topic->published);
    (*account_)->closing.set(1);
    const auto until_ns = now_ns() + kStandstillNs;
    for (std::size_t index = 0; index < kRoleNames.size(); ++index) {
        while (running(static_cast<Role>(index))) {
            if (auto waited = pause(); !waited) {
                return waited;
            }
            if (now_ns() > until_ns) {
                return Error{Status::timed_out,
                             0,
                             "the " + std::string(kRoleNames.at(index)) + " does not end"};
            }
        }
    }
    return {};
}

// The accounts of queue and topic, once the killed have been noticed and swept up after.
Result<void> Demo::look_at_domain() {
    const auto until_ns = now_ns() + kReapWaitNs;
    do {
        const auto domain = server_->status();
        if (!domain) {
            return domain.error();
        }
        run_.reaped = domain->reaped;
        if (auto waited = pause(); !waited) {
            return waited;
        }
    } while (run_.reaped < kKills && now_ns() < until_ns);
    auto queue = queue_.status();
    auto topic = server_->topic_status(kDemoTopic);
    auto verified = server_->verify();
    if (!queue || !topic || !verified) {
        return !queue ? queue.error() : !topic ? topic.error() : verified.error();
    }
    run_.queue = std::move(*queue);
    run_.topic = std::move(*topic);
    run_.verify = std::move(*verified);
    say("6. all orders are through; checking the account and every invariant of the domain\n");
    return {};
}

void Demo::clean_up() {
    progress_.clear();
    children_.end_all();
    if (server_) {
        queue_ = Queue{};
        [[maybe_unused]] const auto removed = server_->remove_domain();  // leftovers_of tells
        server_->close();
        server_.reset();
    }
    if (!keys_.empty()) {
        std::error_code ignored;
        std::filesystem::remove_all(std::exchange(keys_, {}), ignored);
    }
    if (orders_fd_ >= 0) {
        ::close(std::exchange(orders_fd_, -1));
    }
}

}  // namespace telpher::cli
