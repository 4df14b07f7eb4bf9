// Bodies as applications send them, and such as do not compress.
#pragma once

#include <cstddef>
#include <random>
#include <string>
#include <vector>

namespace telpher::compression {

using Bytes = std::vector<std::byte>;

// A text of exactly `size` bytes like a log of orders: what codecs are made for.
inline Bytes json_like(std::size_t size, std::uint64_t seed = 1) {
    std::mt19937_64 engine{seed};
    std::string text;
    while (text.size() < size) {
        text += R"({"order":)" + std::to_string(engine() % 1'000'000) +
                R"(,"item":"espresso","count":)" + std::to_string(engine() % 9 + 1) +
                R"(,"price":)" + std::to_string(engine() % 900 + 100) +
                R"(,"customer":"customer-)" + std::to_string(engine() % 5000) + "\"}\n";
    }
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) {
        bytes[i] = static_cast<std::byte>(text[i]);
    }
    return bytes;
}

inline std::vector<std::byte> random_bytes(std::size_t size, std::uint64_t seed = 1) {
    std::mt19937_64 engine{seed};
    std::vector<std::byte> bytes(size);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(engine());
    }
    return bytes;
}

}  // namespace telpher::compression
