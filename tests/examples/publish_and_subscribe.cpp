#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <future>

// One client publishes, the handler of another one is called.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;

Message news() {
    auto message = Message::text("test", "hello").with_request_id("1");
    say("PUBLISHING: ", message.to_json(true));
    return message;
}

void check_published(const Published& published) {
    say("PUBLISHED: number ", published.sequence, " to ", published.subscribers);
    check_equal(published.sequence, 1U);
    check_equal(published.subscribers, 1U);
}

void check_received(std::future<Message> received) {
    if (received.wait_for(5s) != std::future_status::ready) {
        return check(false, "the subscriber's handler was not called");
    }
    const Message message = received.get();
    check_equal(message.type(), MessageType::publish);
    check_equal(message.request_id(), "1");
    check_equal(message.topic(), "test");
    check_equal(message.text(), "hello");
}

// Publishes by `publish`, which a subscriber is to hear.
template <typename Publish>
void publish_by(const std::string& domain, Publish publish) {
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto client1 = connect("shm:" + domain).value();
    auto client2 = connect("shm:" + domain).value();
    std::promise<Message> received;
    const auto handler = [&received](const Message& message) {
        say("SUBSCRIBED: ", message.to_json(true));
        received.set_value(message);
    };
    auto subscription = client1.subscribe("test", handler).value();

    check_published(publish(client2).value());
    check_received(received.get_future());
    subscription.unsubscribe();  // as its destructor does; the client goes on
    check_equal(client2.publish(news())->subscribers, 0U);
}

void synchronous() {
    publish_by(own_domain("publish"), [](Client& client) { return client.publish(news()); });
}

void asynchronous() {
    publish_by(own_domain("publish_async"), [](Client& client) {
        auto publishing = client.publish_async(news(), 300ms);
        return publishing.get(1s);
    });
}

}  // namespace

int main() { return run({synchronous, asynchronous}); }
