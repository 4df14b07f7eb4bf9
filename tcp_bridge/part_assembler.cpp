#include "tcp_bridge/part_assembler.hpp"

#include "src/compression/compression.hpp"
#include "src/wire/codec.hpp"

#include <cstring>

namespace telpher::bridge {
namespace {

Error wrong_frame(const Frame& frame, const std::string& what) {
    return {Status::bad_request,
            0,
            "a part of " + std::string(to_string(frame.head.type)) + ": " + what};
}

}  // namespace

// A compressed body tells how long it was, and is shorter than that and its head. Whether so few bytes can become
// as many, only the whole tells.
Result<std::size_t> PartAssembler::announced(const Frame& frame) const {
    const bool compressed = (frame.head.flags & kFlagCompressed) != 0;
    detail::MessageHead head;
    if (frame.body.size() < sizeof head) {
        return wrong_frame(frame, "the first one does not hold a message's header");
    }
    std::memcpy(&head, frame.body.data(), sizeof head);
    const std::size_t bytes = compressed ? compression::raw_bytes_of(frame.body)
                                         : wire::payload_offset(head) + head.payload_bytes;
    if (bytes > message_bytes_max_) {
        return Error{Status::message_too_large,
                     0,
                     "a message announces " + std::to_string(bytes) + " bytes, at most " +
                         std::to_string(message_bytes_max_) + " are allowed"};
    }
    return compressed ? bytes + compression::kCompressedHeadBytes : bytes;
}

Result<std::optional<std::span<const std::byte>>> PartAssembler::add(const Frame& frame,
                                                                     Bytes& storage) {
    using Whole = std::optional<std::span<const std::byte>>;
    const bool more = (frame.head.flags & kFlagMore) != 0;
    const Key key{frame.head.type,
                  frame.head.channel,
                  frame.head.type == FrameType::sample ? 0 : frame.head.correlation};
    auto known = parts_.find(key);
    if (known == parts_.end()) {
        if (!more) {
            return Whole{frame.body};
        }
        if (parts_.size() == kPartsMax) {
            return wrong_frame(frame, "64 messages are incomplete already");
        }
        const auto bytes = announced(frame);
        if (!bytes) {
            return bytes.error();
        }
        if (bytes_ + *bytes > bytes_max_) {
            return Error{Status::overloaded, 0, "messages that are incomplete have too many bytes"};
        }
        known =
            parts_.emplace(key, Parts{{}, *bytes, (frame.head.flags & kFlagCompressed) != 0}).first;
        if (!known->second.compressed) {
            known->second.body.reserve(*bytes);
        }
        bytes_ += *bytes;
    }
    Parts& parts = known->second;
    if (frame.body.size() > parts.announced - parts.body.size() ||
        (more && frame.body.size() != kBodyBytesMax)) {
        return wrong_frame(frame,
                           "the message becomes longer than its header says, or a part is short");
    }
    parts.body.insert(parts.body.end(), frame.body.begin(), frame.body.end());
    if (more) {
        return Whole{};
    }
    const bool compressed = (frame.head.flags & kFlagCompressed) != 0;
    if (compressed != parts.compressed) {
        return wrong_frame(frame, "some of them are compressed, others not");
    }
    if (parts.body.size() != parts.announced && !compressed) {
        return wrong_frame(frame, "the message ends before its header says");
    }
    bytes_ -= parts.announced;
    storage = std::move(parts.body);
    parts_.erase(known);
    return Whole{std::span<const std::byte>(storage)};
}

}  // namespace telpher::bridge
