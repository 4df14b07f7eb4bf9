#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <nlohmann/json.hpp>

#include <future>
#include <thread>

// A barista takes orders from one queue and confirms each to the queue that its client named.
namespace {

using namespace telpher;
using namespace example;
using namespace std::chrono_literals;
using Json = nlohmann::json;

const Json kEspressos = {{"item", "espresso"}, {"count", 2}};

// Until he is stopped.
void work(std::stop_token stop, Client barista) {
    say("(barista) STARTED");
    for (auto& order : barista.queue("orders")->messages(std::move(stop))) {
        say("(barista) ORDER PROCESSED: ", order.to_json(true));
        // The confirmation takes over the order's request id.
        auto sent = barista.reply(order, Message::json("order-confirmed", order.json()), 1s);
        check(sent.has_value(), "the guest's queue takes the confirmation");
    }
    say("(barista) TERMINATED");
}

struct Guest {
    std::string name;
    Client client;
    Queue replies = client.create_temporary_queue({.capacity = 100}).value();  // ends with it
    int orders = 0;
};

// How it went: ok when the order was confirmed.
Status place_order(Guest& guest, Duration patience) {
    const std::string request_id = guest.name + "--#" + std::to_string(++guest.orders);
    auto orders = guest.client.queue("orders");
    if (!orders) {
        say("(", guest.name, ") FAILED TO PLACE ORDER: ", to_string(orders.status()));
        return orders.status();
    }
    auto order = Message::json("order", kEspressos.dump())
                     .with_request_id(request_id)
                     .reply_to(guest.replies.name());
    if (auto offered = orders->offer(order, 500ms); !offered) {
        say("(", guest.name, ") FAILED TO PLACE ORDER: ", to_string(offered.status()));
        return offered.status();
    }
    say("(", guest.name, ") ORDER: ", order.to_json(true));
    auto confirmation = guest.replies.poll(patience);
    if (!confirmation) {
        say("(", guest.name, ") ORDER NOT CONFIRMED: ", to_string(confirmation.status()));
        return confirmation.status();
    }
    say("(", guest.name, ") ORDER CONFIRMED: ", confirmation->to_json(true));
    check_equal(confirmation->topic(), "order-confirmed");
    check_equal(confirmation->request_id(), request_id);
    check(Json::parse(confirmation->json()) == kEspressos, "what was ordered");
    return Status::ok;
}

// On a thread of its own, as two guests would.
std::future<Status> place_order_async(Guest& guest, Duration patience = 5s) {
    return std::async(std::launch::async, place_order, std::ref(guest), patience);
}

void coffee() {
    const std::string domain = own_domain("coffee");
    auto server = Server::open(domain, {.lifetime = Lifetime::ephemeral}).value();
    auto orders = server.create_queue("orders", {.capacity = 100}).value();
    std::jthread barista(work, connect("shm:" + domain).value());
    Guest guest1{"client-1", connect("shm:" + domain).value()};
    Guest guest2{"client-2", connect("shm:" + domain).value()};

    check_equal(place_order_async(guest1).get(), Status::ok);
    check_equal(place_order_async(guest2).get(), Status::ok);
    check_equal(place_order_async(guest1).get(), Status::ok);
    auto both = place_order_async(guest1);  // at once: each still hears of its own order
    check_equal(place_order_async(guest2).get(), Status::ok);
    check_equal(both.get(), Status::ok);

    barista.request_stop();
    barista.join();
    check_equal(place_order_async(guest1, 50ms).get(), Status::timed_out);  // nobody confirms it
    check_equal(orders.status()->depth, 1U);
    check_equal(guest1.replies.status()->offered, 3U);
    check_equal(guest2.replies.status()->offered, 2U);
    server.remove_queue("orders").value();
    check_equal(place_order_async(guest2).get(), Status::queue_not_found);
}

}  // namespace

int main() { return run({coffee}); }
