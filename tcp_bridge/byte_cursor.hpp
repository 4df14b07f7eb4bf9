#pragma once
// Numbers and texts in and out of a body, little-endian, one after another. A reader that has run out stays
// so: ask `ok` once, at the end.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace telpher::bridge {

class ByteWriter {
  public:
    template <typename T>
    void put(T value) {
        static_assert(std::is_trivially_copyable_v<T>);
        text({reinterpret_cast<const char*>(&value), sizeof value});
    }
    void zeros(std::size_t count) { bytes_.append(count, '\0'); }
    void text(std::string_view text) { bytes_ += text; }
    [[nodiscard]] std::vector<std::byte> take() const {
        const auto bytes = std::as_bytes(std::span(bytes_));
        return {bytes.begin(), bytes.end()};
    }

  private:
    std::string bytes_;  // a vector of bytes grows with false warnings of gcc 12
};

class ByteReader {
  public:
    explicit ByteReader(std::span<const std::byte> bytes) : left_(bytes) {}
    template <typename T>
    [[nodiscard]] T get() noexcept {
        static_assert(std::is_trivially_copyable_v<T>);
        T value{};
        const auto from = take(sizeof value);
        if (from.size() == sizeof value) {
            std::memcpy(&value, from.data(), sizeof value);
        }
        return value;
    }
    void skip(std::size_t count) noexcept { static_cast<void>(take(count)); }
    // Into the body.
    [[nodiscard]] std::string_view text(std::size_t bytes) noexcept {
        const auto from = take(bytes);
        return {reinterpret_cast<const char*>(from.data()), from.size()};
    }
    // Nothing was missing.
    [[nodiscard]] bool ok() const noexcept { return ok_; }
    // And nothing is left.
    [[nodiscard]] bool complete() const noexcept { return ok_ && left_.empty(); }
    [[nodiscard]] std::size_t left() const noexcept { return left_.size(); }

  private:
    std::span<const std::byte> take(std::size_t bytes) noexcept {
        if (bytes > left_.size()) {
            ok_ = false;
            left_ = {};
            return {};
        }
        const auto taken = left_.first(bytes);
        left_ = left_.subspan(bytes);
        return taken;
    }
    std::span<const std::byte> left_;
    bool ok_ = true;
};

}  // namespace telpher::bridge
