// A client's frames, whatever they are, against a session of the bridge and a real domain: each operation is answered
// once at most, what is said can be read, and the queue's account holds: what was accepted and not confirmed is there.
#include "telpher/telpher.hpp"

#include "tcp_bridge/server_session.hpp"
#include "tests/fuzz/frame_script.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/unit/support/scratch_domain.hpp"

#include <chrono>
#include <set>
#include <thread>
#include <utility>

namespace {

using namespace std::chrono_literals;
using telpher::fuzz::require;
namespace bridge = telpher::bridge;
using bridge::FrameType;

struct World {
    telpher::test::ScratchDomain domain;
    telpher::Server server =
        domain.open({.limits = telpher::DomainLimits{
                         .message_bytes = 1U << 20U, .pool_bytes = 8U << 20U, .segment_bytes = 0}});
    telpher::Client client = telpher::connect(domain.uri()).value();
    std::shared_ptr<bridge::SessionHost> host = std::make_shared<bridge::SessionHost>();
    std::shared_ptr<bridge::CodecTools> tools = std::make_shared<bridge::CodecTools>();
    telpher::Queue queue = server.create_queue("q", {.capacity = 4}).value();
    telpher::Function function =
        server.serve("f", [](const telpher::Message& request) { return request; }).value();

    bool commanded = false;  // commands have changed it

    // One queue, empty; as it was, whatever commands have done to it: an offer to another one would miss in the account.
    void have_queue() {
        if (std::exchange(commanded, false)) {
            const auto queues = host->admin.queues().value();
            for (const auto& other : queues) {
                if (other.name != "q" && !other.name.starts_with("temporary.")) {
                    static_cast<void>(server.remove_queue(other.name));
                }
            }
        }
        auto made = server.create_queue("q", {.capacity = 4});
        if (!made) {
            static_cast<void>(server.remove_queue("q"));
            made = server.create_queue("q", {.capacity = 4});
        }
        queue = std::move(*made);
        static_cast<void>(queue.purge());
    }
    World() { host->admin = telpher::Admin::of(client).value(); }
};

class Peer {
  public:
    Peer(World& world, bool compresses)
        : world_(world),
          inbox_(std::make_shared<bridge::Inbox>()),
          session_(std::make_shared<bridge::ServerSession>(
              world.client,
              world.host,
              inbox_,
              bridge::SessionLimits{.message_bytes_max = 1U << 20U,
                                    .outstanding_max = 64,
                                    .subscriptions_max = 2,
                                    .channels_max = 6},
              bridge::Authorize{},
              "fuzz")) {
        if (compresses) {
            session_->compress(world.tools, bridge::kCodecGzip, 0);
        }
        session_->attach(0, [] {});
    }

    // False: the session has ended, or the client has broken the protocol.
    bool say(const bridge::FrameHead& head, std::span<const std::byte> body) {
        commands_ = commands_ || head.type == FrameType::command;
        world_.commanded = world_.commanded || commands_;
        const bool first = head.correlation == last_ + 1;
        last_ += first ? 1U : 0U;
        if (head.type == FrameType::offer) {
            tried_.insert(head.correlation);
        }
        if (first && head.type == FrameType::offer) {
            offered_.insert(head.correlation);
        } else if (head.type != FrameType::offer) {
            offered_.erase(
                head.correlation);  // in parts, and another operation took its number: who knows
        }
        const bool good = session_->on_frame({head, body}).has_value();
        const bool settles = head.type == FrameType::confirm || head.type == FrameType::put_back;
        if (good && settles && delivered_.erase(head.correlation) != 0) {
            confirmed_ += head.type == FrameType::confirm ? 1U : 0U;
        }
        hear();
        return good;
    }
    // Its connection is cut, and another one resumes it.
    void cut() {
        session_->detach();
        hear();
        answered_.clear();
        session_->attach(0, [] {});
        hear();
    }
    void end() {
        session_->end();
        require(session_->out().empty(), "an ended session says nothing");
        // What had begun ends in its own time, and holds the inbox until then: beside it only we and the session do.
        const auto until = std::chrono::steady_clock::now() + 5s;
        do {
            require(std::chrono::steady_clock::now() < until, "what had begun ends");
            for (auto& task : inbox_->take()) {
                task();
            }
            if (inbox_.use_count() > 2) {
                std::this_thread::sleep_for(50us);
            }
        } while (inbox_.use_count() > 2);
        for (auto& task : inbox_->take()) {
            task();  // pushed just before it let go
        }
        if (commands_) {
            return;  // they purge queues, and remove them
        }
        const std::uint64_t depth = world_.queue.status().value().depth;
        require(depth + confirmed_ >= accepted_, "what was accepted and not confirmed is there");
        require(depth + confirmed_ <= tried_.size(), "nothing is there twice");
    }
    [[nodiscard]] std::uint64_t last() const { return last_; }

  private:
    void hear() {
        for (auto& task : inbox_->take()) {
            task();
        }
        bridge::Bytes bytes;
        while (!session_->out().empty()) {
            session_->out().take(bytes, 1U << 20U);
        }
        bridge::FrameReader reader;
        reader.welcome();
        reader.append(bytes);
        for (auto frame = reader.next();; frame = reader.next()) {
            require(frame.has_value(), "what is said can be read");
            if (!*frame) {
                break;
            }
            heard((*frame)->head, (*frame)->body);
        }
        require(reader.waiting() == 0, "whole frames are said");
    }
    void heard(const bridge::FrameHead& head, std::span<const std::byte> body) {
        if (head.type == FrameType::sample || head.type == FrameType::end ||
            (head.flags & bridge::kFlagMore) != 0) {
            return;
        }
        require(head.correlation != 0 && head.correlation <= last_, "the answer to an operation");
        require(answered_.insert(head.correlation).second, "answered once");
        if (head.type == FrameType::delivery) {
            delivered_.insert(head.correlation);
        }
        // Resumed, it is said again: counted once.
        if (head.type == FrameType::result && body.empty() &&
            offered_.erase(head.correlation) != 0) {
            accepted_ += head.argument != 0 ? 1U : 0U;
        }
    }

    World& world_;
    bool commands_ = false;
    std::shared_ptr<bridge::Inbox> inbox_;
    std::shared_ptr<bridge::ServerSession> session_;
    std::uint64_t last_ = 0;
    std::uint64_t accepted_ = 0;
    std::uint64_t confirmed_ = 0;
    std::set<std::uint64_t>
        tried_;  // whoever announced the number: an offer of each is made once at most
    std::set<std::uint64_t> offered_;
    std::set<std::uint64_t> answered_;
    std::set<std::uint64_t> delivered_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static World world;
    world.have_queue();
    Peer peer(world, size % 2 == 1);
    telpher::fuzz::FrameScript script(telpher::fuzz::as_bytes(data, size));
    bridge::Bytes body;
    for (auto head = script.next(peer.last(), body); head; head = script.next(peer.last(), body)) {
        if (static_cast<std::uint8_t>(head->type) == 0xFF) {
            peer.cut();
        } else if (bridge::is_known(head->type) && !peer.say(*head, body)) {
            break;
        }
    }
    peer.end();
    return 0;
}
