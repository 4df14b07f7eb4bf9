// Messages from outside: what decode accepts lies inside its bytes, can be read in every way, and
// comes out of encode and decode again as it was.
#include "telpher/message.hpp"

#include "src/wire/codec.hpp"
#include "src/wire/json_check.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <algorithm>
#include <string>
#include <vector>

namespace {

using telpher::Message;
using telpher::MessageView;
using telpher::Status;
using telpher::fuzz::require;
namespace wire = telpher::wire;

void require_inside(std::span<const std::byte> bytes, const void* at, std::size_t size) {
    const auto* start = static_cast<const std::byte*>(at);
    require(size == 0 || (start >= bytes.data() && size <= bytes.size() &&
                          start <= bytes.data() + (bytes.size() - size)),
            "a field lies inside the message");
}

// What must hold for views and owning messages.
template <class Fields>
void read_everything(const Fields& message) {
    for (const telpher::Field& field : message.fields()) {
        require(!to_string(field.value).empty() ||
                    std::holds_alternative<std::string_view>(field.value) ||
                    std::holds_alternative<std::span<const std::byte>>(field.value),
                "a value has a text");
        const auto again = message.field(field.name);
        require(again || again.status() == Status::mismatch, "each field can be asked for");
    }
    require(message.field("no such field").status() == Status::bad_request, "and no other");
    for (const bool pretty : {false, true}) {
        const std::string json = message.to_json(pretty);
        require(wire::check_json(json).reason == wire::JsonFault::Reason::none, "to_json is JSON");
    }
    const auto text = message.try_text();
    require(text ? message.is_text() : text.status() == Status::mismatch, "text, or mismatch");
    const auto json = message.try_json();
    require(json || json.status() == Status::mismatch, "JSON, or mismatch");
    require(!message.ok() || !message.error(), "no error while ok");
    (void)message.id();
    (void)to_string(message.id());
    (void)to_string(message.type());
    (void)message.timestamp();
    (void)message.timestamp_ms();
    (void)message.is_oneway();
    (void)message.is_durable();
    (void)message.lifetime();
    (void)message.expires_at();
    (void)message.expired(telpher::TimePoint::max());
    (void)message.timeout();
    (void)message.type_tag();
    (void)message.mimetype();
}

std::vector<std::byte> encoded(const auto& message) {
    std::vector<std::byte> bytes(wire::encoded_bytes(message));
    const wire::Stamp stamp{message.id(), message.head().timestamp_ns, message.head().type};
    wire::encode(message, stamp, bytes);
    return bytes;
}

void check_view(const MessageView& view, std::span<const std::byte> bytes) {
    require(view.size_bytes() <= bytes.size(), "the message is no longer than its bytes");
    require_inside(bytes, view.topic().data(), view.topic().size());
    require_inside(bytes, view.payload().data(), view.payload().size());
    for (const std::string_view text : {view.request_id(),
                                        view.destination(),
                                        view.reply_to(),
                                        view.correlation_id(),
                                        view.causation_id(),
                                        view.traceparent()}) {
        require_inside(bytes, text.data(), text.size());
    }
    read_everything(view);

    const std::vector<std::byte> first = encoded(view);
    const auto again = wire::decode(first);
    require(again.has_value(), "what was encoded decodes");
    require(encoded(*again) == first, "a second round changes nothing");
    require(again->to_json() == view.to_json(), "nothing is lost in a round");

    const Message copy = view.to_message();
    read_everything(copy);
    require(encoded(copy) == first, "an owning copy is encoded to the same bytes");
    (void)copy.check();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto bytes = telpher::fuzz::as_bytes(data, size);
    const auto view = wire::decode(bytes);
    if (view) {
        check_view(*view, bytes);
    } else {
        require(view.status() == Status::corrupt && !view.error().detail.empty(),
                "what is refused is corrupt, and it is said why");
    }
    MessageView in_place;
    if (wire::decode_in_place(bytes, in_place)) {
        require(view.has_value(), "the quick way takes nothing that decode refuses");
        require(in_place.to_json() == view->to_json(), "both ways read the same");
    }
    return 0;
}
