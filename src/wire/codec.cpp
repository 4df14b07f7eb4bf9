#include "src/wire/codec.hpp"

#include "src/wire/extension.hpp"

#include <algorithm>
#include <limits>
#include <string>

namespace telpher::wire {

namespace {

using detail::ExtensionId;
using detail::MessageHead;

std::string number(std::size_t value) { return std::to_string(value); }

Error corrupt(std::string detail) { return Error{Status::corrupt, 0, std::move(detail)}; }

// The header of a loan; without type and status, which come when it is offered.
MessageHead head_of(const LoanPlan& plan) noexcept {
    MessageHead head;
    head.payload_bytes = static_cast<std::uint32_t>(plan.payload_bytes);
    head.flags = static_cast<std::uint8_t>((plan.aligned64 ? detail::kFlagAligned64 : 0) |
                                           (plan.type ? detail::kFlagTyped : 0));
    head.content = plan.content;
    head.topic_bytes = static_cast<std::uint16_t>(plan.topic.size());
    head.extension_bytes =
        static_cast<std::uint16_t>(plan.type ? kEntryHeadBytes + kTypeEntryBytes : 0);
    return head;
}

// The header's own bytes: closed sets of values.
Result<void> check_head(const MessageHead& head) {
    if (head.type > MessageType::response) {
        return corrupt("type is " + number(static_cast<std::size_t>(head.type)) +
                       ", the highest known is " +
                       number(static_cast<std::size_t>(MessageType::response)));
    }
    if ((head.flags & ~detail::kFlagsKnown) != 0) {
        return corrupt("flags are " + number(head.flags) + ", the known ones are " +
                       number(detail::kFlagsKnown));
    }
    if (head.content > detail::kContentJson && head.content != detail::kContentExtended) {
        return corrupt("content is " + number(head.content) + ", known are 0, 1, 2 and 255");
    }
    return {};
}

// The rule of one entry's length, for the ids whose bytes are numbers.
Result<void> check_entry(const ExtensionEntry& entry) {
    std::size_t wanted = entry.bytes.size();
    if (entry.id == ExtensionId::timeout_ms) {
        wanted = kTimeoutEntryBytes;
    } else if (entry.id == ExtensionId::type) {
        wanted = kTypeEntryBytes;
    } else if (entry.id == ExtensionId::attempt) {
        wanted = kAttemptEntryBytes;
    } else if (entry.id == ExtensionId::no_retry || entry.id == ExtensionId::replayed ||
               entry.id == ExtensionId::rerun) {
        wanted = kMarkEntryBytes;
    } else if (entry.id == ExtensionId::not_before_ms) {
        wanted = kNotBeforeEntryBytes;
    }
    if (entry.bytes.size() != wanted) {
        return corrupt("extension entry " + number(static_cast<std::size_t>(entry.id)) + " is " +
                       number(entry.bytes.size()) + " bytes, the format says " + number(wanted));
    }
    return {};
}

}  // namespace

Result<void> check_extension(const MessageHead& head, std::string_view extension) {
    ExtensionReader reader(extension);
    std::size_t last_id = 0;
    bool has_mimetype = false;
    bool has_charset = false;
    std::optional<TypeTag> type;
    while (const auto entry = reader.next()) {
        const auto id = static_cast<std::size_t>(entry->id);
        if (id <= last_id) {
            return corrupt("extension entry " + number(id) + " at " + number(entry->at) +
                           " comes after entry " + number(last_id) + ", ids must ascend from 1");
        }
        last_id = id;
        if (auto checked = check_entry(*entry); !checked) {
            return checked;
        }
        has_mimetype = has_mimetype || entry->id == ExtensionId::mimetype;
        has_charset = has_charset || entry->id == ExtensionId::charset;
        if (entry->id == ExtensionId::type) {
            type.emplace();
            std::memcpy(&type->id, entry->bytes.data(), sizeof type->id);
            std::memcpy(&type->size, entry->bytes.data() + sizeof type->id, sizeof type->size);
        }
    }
    if (reader.position() != extension.size()) {
        return corrupt("extension entry at " + number(reader.position()) +
                       " reaches beyond the extension of " + number(extension.size()) + " bytes");
    }
    const bool extended = head.content == detail::kContentExtended;
    if (extended != has_mimetype || (has_charset && !extended)) {
        return corrupt("content is " + number(head.content) + ", but the extension has " +
                       (has_mimetype ? "a" : "no") + " mimetype and " + (has_charset ? "a" : "no") +
                       " charset");
    }
    if (type.has_value() != ((head.flags & detail::kFlagTyped) != 0)) {
        return corrupt("flags are " + number(head.flags) + ", but the extension has " +
                       (type ? "a" : "no") + " type");
    }
    if (type && type->size > head.payload_bytes) {
        return corrupt("type is " + number(type->size) + " bytes, the payload has " +
                       number(head.payload_bytes));
    }
    return {};
}

namespace inner {

std::uint32_t remaining_life_ms(std::uint64_t timestamp_ns,
                                std::uint32_t expires_ms,
                                std::uint64_t now_ns) noexcept {
    constexpr std::uint64_t kNanosecondsPerMillisecond = 1'000'000;
    const std::uint64_t life_ns = expires_ms * kNanosecondsPerMillisecond;
    const std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t end_ns = timestamp_ns > last - life_ns ? last : timestamp_ns + life_ns;
    if (end_ns <= now_ns) {
        return 1;  // 0 would mean for ever
    }
    const std::uint64_t left_ns = end_ns - now_ns;
    const std::uint64_t left_ms =
        left_ns / kNanosecondsPerMillisecond + (left_ns % kNanosecondsPerMillisecond != 0 ? 1 : 0);
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(left_ms, std::numeric_limits<std::uint32_t>::max()));
}

Result<MessageView> decode_rare(std::span<const std::byte> bytes) {
    if (bytes.size() < kHeadBytes) {
        return corrupt("message is " + number(bytes.size()) + " bytes, the header alone has " +
                       number(kHeadBytes));
    }
    MessageHead head;
    std::memcpy(&head, bytes.data(), kHeadBytes);
    // The compiler must not read it again: whoever shares the memory may change it meanwhile.
    __asm__("" : "+m"(head));
    if (auto checked = check_head(head); !checked) {
        return std::move(checked).error();
    }
    const std::size_t texts_bytes = std::size_t{head.extension_bytes} + head.topic_bytes;
    if (texts_bytes > bytes.size() - kHeadBytes) {
        return corrupt("extension and topic are " + number(head.extension_bytes) + " and " +
                       number(head.topic_bytes) + " bytes, after the header are " +
                       number(bytes.size() - kHeadBytes));
    }
    if (head.extension_bytes > limits::kExtensionBytesMax) {
        return corrupt("extension is " + number(head.extension_bytes) + " bytes, the limit is " +
                       number(limits::kExtensionBytesMax));
    }
    const std::size_t payload_at = payload_offset(head);
    const std::size_t room = bytes.size() - std::min(payload_at, bytes.size());
    if (payload_at > bytes.size() || head.payload_bytes > room) {
        return corrupt("payload is " + number(head.payload_bytes) + " bytes at " +
                       number(payload_at) + ", the message has " + number(bytes.size()));
    }
    const auto* texts = reinterpret_cast<const char*>(bytes.data() + kHeadBytes);
    if (auto checked = check_extension(head, {texts, head.extension_bytes}); !checked) {
        return std::move(checked).error();
    }
    return MessageView{
        detail::MessageParts{head, texts + head.extension_bytes, texts, bytes.data() + payload_at}};
}

}  // namespace inner

std::size_t encoded_bytes(const LoanPlan& plan) noexcept {
    return payload_offset(head_of(plan)) + plan.payload_bytes;
}

std::size_t encode_loan(const LoanPlan& plan, std::span<std::byte> out) noexcept {
    const MessageHead head = head_of(plan);
    const std::size_t payload_at = payload_offset(head);
    assert(out.size() >= payload_at + plan.payload_bytes);
    std::byte* const texts = out.data() + kHeadBytes;
    std::memset(texts, 0, payload_at - kHeadBytes);
    if (plan.type) {
        const auto length = static_cast<std::uint16_t>(kTypeEntryBytes);
        texts[0] = static_cast<std::byte>(ExtensionId::type);
        std::memcpy(texts + 1, &length, sizeof length);
        std::memcpy(texts + kEntryHeadBytes, &plan.type->id, sizeof plan.type->id);
        std::memcpy(texts + kEntryHeadBytes + sizeof plan.type->id,
                    &plan.type->size,
                    sizeof plan.type->size);
    }
    inner::copy_short(texts + head.extension_bytes, plan.topic.data(), plan.topic.size());
    inner::store_word(out.data(), inner::kind_word(head));
    inner::store_stamp(out.data(), {}, inner::lengths_word(head));
    return payload_at;
}

void stamp_loan(std::span<std::byte> out,
                const Stamp& stamp,
                std::size_t payload_bytes_used) noexcept {
    // These bytes lie in shared memory: whatever stands there now, nothing is asserted of it.
    MessageHead head;
    std::memcpy(&head, out.data(), kHeadBytes);
    head.payload_bytes = static_cast<std::uint32_t>(payload_bytes_used);
    head.type = stamp.type == MessageType::null ? head.type : stamp.type;
    inner::store_word(out.data(), inner::kind_word(head));
    inner::store_stamp(out.data(), stamp, inner::lengths_word(head));
}

}  // namespace telpher::wire
