#include "telpher/telpher.hpp"

#include "tests/examples/check.hpp"

#include <nlohmann/json.hpp>

#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>

// The kinds of payload a message may have. None of these messages is sent.
namespace {

using namespace telpher;
using namespace example;
using Json = nlohmann::json;

// Prints it, and gives back what it printed as an object.
Json printed(const Message& message) {
    message.check().value();  // a message that violates a limit says so here, or when it is sent
    const std::string text = message.to_json(true);
    say(text);
    Json object = Json::parse(text);
    check(object["request-id"] == "1", "the request id");
    return object;
}

void plain_text() {
    const auto object = printed(Message::text("test", "hello").with_request_id("1"));
    check(object["topic"] == "test", "the topic");
    check(object["payload-mimetype"] == "text/plain", "plain text");
    check(object["payload-charset"] == "UTF-8", "in UTF-8");
    check(object["payload-text"] == "hello", "the text");
}

void text_of_a_mimetype() {
    const auto object =
        printed(Message::text("test", "text/html", "UTF-8", "<b>hello</b>").with_request_id("1"));
    check(object["payload-mimetype"] == "text/html", "the mimetype");
    check(object["payload-charset"] == "UTF-8", "the charset");
    check(object["payload-text"] == "<b>hello</b>", "the text");
}

void text_in_json() {
    constexpr std::string_view kOrder = R"({"item": "espresso", "count": 2})";
    const auto order = Message::text("order", "application/json", "UTF-8", kOrder);
    const auto object = printed(Message(order).with_request_id("1"));
    check(object["payload-mimetype"] == "application/json", "JSON");
    check(object["payload-text"] == kOrder, "as it was written");
    const auto cut = Message::text("order", "application/json", "UTF-8", kOrder.substr(0, 20));
    check_equal(cut.check().status(), Status::bad_request);
}

void binary() {
    constexpr std::array<std::uint8_t, 8> kBytes{0, 1, 2, 3, 4, 5, 6, 7};
    const auto message =
        Message::bytes("test", "application/octet-stream", std::as_bytes(std::span(kBytes)))
            .with_request_id("1");
    const auto object = printed(message);
    check(object["payload-mimetype"] == "application/octet-stream", "the mimetype");
    check(object["payload-charset"].is_null(), "bytes have no charset");
    check(object["payload-binary"] == "AAECAwQFBgc=", "base64, since JSON has no bytes");
    check_equal(message.try_text().status(), Status::mismatch);
}

void binary_from_a_file() {
    const auto path = std::filesystem::temp_directory_path() / own_domain("pdf");
    std::ofstream(path) << "%PDF-1.4\n%\xE2\xE3\xCF\xD3\n%%EOF\n";
    std::ifstream file(path, std::ios::binary);
    const std::string content{std::istreambuf_iterator<char>(file), {}};
    std::filesystem::remove(path);

    const auto message =
        Message::bytes("test", "application/pdf", std::as_bytes(std::span(content)))
            .with_request_id("1");
    const auto object = printed(message);
    check(object["payload-mimetype"] == "application/pdf", "the mimetype");
    check(object["payload-binary"] == "JVBERi0xLjQKJeLjz9MKJSVFT0YK", "the file's bytes");
    check_equal(message.payload().size(), 21U);
}

void data() {
    const Json order = {{"item", "espresso"}, {"count", 2}};
    const auto message = Message::json("order", order.dump()).with_request_id("1");
    const auto object = printed(message);
    check(object["payload-mimetype"] == "application/json", "JSON");
    check(object["payload-charset"] == "UTF-8", "in UTF-8");
    check(Json::parse(message.json()) == order, "the data come back");
}

}  // namespace

int main() {
    return run({plain_text, text_of_a_mimetype, text_in_json, binary, binary_from_a_file, data});
}
