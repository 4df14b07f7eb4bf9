// check_json against another parser of JSON: both accept the same texts.
//
// Where they differ on purpose:
//   depth         check_json bounds it (128), nlohmann does not
//   range         RFC 8259 lets a number be of any size; nlohmann refuses what is no finite double
//   byte 0        ends nlohmann's input, which then accepts whatever follows
//   byte order    nlohmann skips a mark before the text; RFC 8259 8.1 lets a reader refuse it
#include "src/wire/json_check.hpp"
#include "tests/fuzz/fuzz.hpp"

#include <nlohmann/json.hpp>

namespace {

using telpher::fuzz::require;
using telpher::wire::JsonFault;

constexpr int kOutOfRange = 406;  // nlohmann's number for "number overflow"

// Accepts everything and keeps the error's number.
class Listener : public nlohmann::json_sax<nlohmann::json> {
  public:
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return true; }
    bool key(string_t&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t,
                     const std::string&,
                     const nlohmann::detail::exception& error) override {
        number_ = error.id;
        return false;
    }
    [[nodiscard]] int error() const { return number_; }

  private:
    int number_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text = telpher::fuzz::as_text(data, size);
    const JsonFault fault = telpher::wire::check_json(text);
    require(fault.position <= size, "a fault lies in the text, or at its end");
    require(!telpher::wire::to_string(fault.reason).empty(), "a fault has a text");
    if (fault.reason == JsonFault::Reason::too_deep || text.find('\0') != std::string_view::npos ||
        text.starts_with("\xEF\xBB\xBF")) {
        return 0;
    }
    Listener listener;
    const bool accepted = nlohmann::json::sax_parse(text, &listener);
    if (listener.error() == kOutOfRange) {
        return 0;
    }
    require(accepted == (fault.reason == JsonFault::Reason::none),
            accepted ? "check_json refuses JSON" : "check_json accepts what is no JSON");
    return 0;
}
