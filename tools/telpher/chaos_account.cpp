#include "tools/telpher/chaos_account.hpp"

#include "tools/telpher/demo_account.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace telpher::cli {
namespace {

constexpr std::size_t kLeastBytes = 16;
constexpr std::size_t kMostBytes = 2000;

std::vector<std::byte> payload_of_chaos(std::uint64_t number) {
    std::vector<std::byte> payload(kLeastBytes + number * 37 % (kMostBytes - kLeastBytes));
    std::uint64_t word = number;
    for (std::size_t at = 0; at < payload.size(); at += sizeof word) {
        std::memcpy(payload.data() + at, &word, std::min(sizeof word, payload.size() - at));
        word = word * 6364136223846793005U + 1442695040888963407U;
    }
    return payload;
}

}  // namespace

Result<SharedChaos> SharedChaos::map(int fd) {
    void* const memory =
        ::mmap(nullptr, sizeof(ChaosAccount), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        return Error{Status::out_of_memory, errno, "cannot map the account"};
    }
    return SharedChaos(fd, static_cast<ChaosAccount*>(memory));
}

Result<SharedChaos> SharedChaos::create() {
    const int fd = make_memory_file("telpher-chaos-account", sizeof(ChaosAccount));
    if (fd < 0) {
        return Error{Status::out_of_memory, errno, "cannot make the account"};
    }
    auto shared = map(fd);
    if (!shared) {
        ::close(fd);
    }
    return shared;
}

Result<SharedChaos> SharedChaos::attach(int fd) {
    struct stat facts {};
    if (::fstat(fd, &facts) != 0 || facts.st_size != static_cast<off_t>(sizeof(ChaosAccount))) {
        return Error{Status::bad_request, 0, "not started by `telpher chaos`"};
    }
    return map(fd);
}

SharedChaos::SharedChaos(SharedChaos&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), account_(std::exchange(other.account_, nullptr)) {}

SharedChaos::~SharedChaos() {
    if (account_ != nullptr) {
        ::munmap(static_cast<void*>(account_), sizeof(ChaosAccount));
        ::close(fd_);
    }
}

Message chaos_message(std::uint64_t number) {
    return Message::bytes("chaos", "application/octet-stream", payload_of_chaos(number));
}

std::optional<std::uint64_t> number_of_chaos(const MessageView& message) {
    const auto payload = message.payload();
    std::uint64_t number = 0;
    if (payload.size() < kLeastBytes) {
        return std::nullopt;
    }
    std::memcpy(&number, payload.data(), sizeof number);
    if (number >= kChaosMessagesMost) {
        return std::nullopt;
    }
    const std::vector<std::byte> whole = payload_of_chaos(number);
    return std::equal(payload.begin(), payload.end(), whole.begin(), whole.end())
               ? std::optional(number)
               : std::nullopt;
}

}  // namespace telpher::cli
