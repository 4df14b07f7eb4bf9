// A bridge's frames, whatever they are, against a client's session with every kind of operation under way: each who
// waits is answered once at most and let go once, whether the stream breaks, is cut or ends.
#include "tcp_bridge/remote_session.hpp"
#include "tests/fuzz/frame_script.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <deque>

namespace {

using telpher::fuzz::require;
namespace bridge = telpher::bridge;
using bridge::FrameType;

constexpr std::uint64_t kSecond = 1'000'000'000;

struct Waiting final : bridge::Waiter {
    bool claim() noexcept override { return true; }
    void answer(bridge::Answer) noexcept override {
        require(++answers == 1 && let_gos == 0, "answered once");
    }
    void let_go() noexcept override { require(++let_gos == 1, "let go once"); }
    int answers = 0;
    int let_gos = 0;
};

struct Sink final : bridge::SampleSink {
    void sample(bridge::Answer sample, std::uint64_t) noexcept override {
        require(!over, "nothing behind the end");
        static_cast<void>(sample.view.payload());
    }
    void wake() noexcept override {}
    void ended(const telpher::Error&) noexcept override { over = true; }
    bool over = false;
};

class Client {
  public:
    void connect(bool resumed) {
        session_.connected(now_);
        bridge::Welcome welcome;
        welcome.resumed = resumed;
        welcome.session[0] = std::byte{7};
        welcome.heartbeat_ms = 1000;
        welcome.message_bytes_max = 1U << 20U;
        welcome.outstanding_max = 100;
        welcome.domain = "cafe";
        say(FrameType::welcome, encode(welcome));
    }
    void begin_all() {
        const auto queue = session_.open({bridge::Kind::queue, "q"}, kSecond, waiter(), now_);
        const auto topic = session_.open({bridge::Kind::topic, "t"}, kSecond, waiter(), now_);
        const auto function = session_.open({bridge::Kind::function, "f"}, kSecond, waiter(), now_);
        session_.subscribe({.patterns = {"t"}}, sink_, waiter(), now_);
        begin(FrameType::poll, queue, {});
        begin(FrameType::watch, queue, bridge::Bytes(1));
        begin(FrameType::offer, queue, telpher::fuzz::encoded_message("offer"));
        begin(FrameType::publish, topic, telpher::fuzz::encoded_message("publish"));
        begin(FrameType::call, function, telpher::fuzz::encoded_message("call"));
        begin(FrameType::poll, queue, {});
    }
    // False: the stream is of no use any more.
    bool hear(const bridge::FrameHead& head, std::span<const std::byte> body) {
        const auto bytes = encode(head);
        session_.reader().append(bytes);
        session_.reader().append(body);
        const bool good = session_.received(now_).has_value();
        speak();
        return good;
    }
    void cut() {
        session_.cut({telpher::Status::disconnected, 0, "cut"});
        speak();
        now_ += kSecond / 10;
        static_cast<void>(session_.tick(now_));
        speak();
    }
    void end() {
        session_.end({telpher::Status::closed, 0, {}});
        speak();
        for (const Waiting& waiting : waiters_) {
            require(waiting.let_gos == 1, "everybody is let go");
        }
    }

  private:
    bridge::Waiter* waiter() { return &waiters_.emplace_back(); }
    void begin(FrameType type, std::uint16_t channel, bridge::Bytes body) {
        bridge::Request request;
        request.head.type = type;
        request.head.channel = channel;
        request.body = std::move(body);
        request.timeout_ns = kSecond;
        session_.begin(std::move(request), waiter(), now_);
    }
    void say(FrameType type, const bridge::Bytes& body) {
        bridge::FrameHead head;
        head.type = type;
        head.length = static_cast<std::uint32_t>(body.size());
        require(hear(head, body), "a good frame is taken");
    }
    void speak() {
        bridge::Bytes bytes;
        for (int round = 0; session_.has_output() && round < 1000; ++round) {
            session_.take(bytes, now_);
        }
        auto events = session_.take_events();
        bridge::run(events);
    }

    std::uint64_t now_ = 1000 * kSecond;
    std::deque<Waiting> waiters_;  // outlive the session
    std::shared_ptr<Sink> sink_ = std::make_shared<Sink>();
    bridge::RemoteSession session_{"fuzz"};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    Client client;
    client.connect(false);
    client.begin_all();
    telpher::fuzz::FrameScript script(telpher::fuzz::as_bytes(data, size));
    bridge::Bytes body;
    for (auto head = script.next(8, body); head; head = script.next(8, body)) {
        const bool resumes = static_cast<std::uint8_t>(head->type) == 0xFE;
        if (resumes || static_cast<std::uint8_t>(head->type) == 0xFF) {
            client.cut();
            client.connect(resumes);
        } else if (!client.hear(*head, body)) {
            client.cut();
            break;
        }
    }
    client.end();
    return 0;
}
