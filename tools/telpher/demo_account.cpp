#include "tools/telpher/demo_account.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <new>
#include <utility>

namespace telpher::cli {

namespace {

std::size_t bit_words(std::uint64_t messages) {
    return static_cast<std::size_t>(messages / 64 + 1);
}

constexpr std::size_t kRows = kWorkers + kSubscribers;

std::size_t account_bytes(std::uint64_t messages, std::uint64_t orders) {
    return sizeof(Account) +
           (static_cast<std::size_t>(orders) + kRows * bit_words(messages)) * sizeof(Figure);
}

}  // namespace

void LatencyHistogram::record(std::uint64_t ns) {
    // Values below 64 have a bucket each; above, the highest 6 bits choose it.
    const auto width = static_cast<unsigned>(std::bit_width(ns));
    const unsigned shift = width > kSubBits + 1 ? width - kSubBits - 1 : 0;
    buckets_[(std::size_t{shift} << kSubBits) + static_cast<std::size_t>(ns >> shift)].add(1);
    max_.raise_to(ns);
}

std::uint64_t LatencyHistogram::count() const {
    std::uint64_t sum = 0;
    for (const auto& bucket : buckets_) {
        sum += bucket.get();
    }
    return sum;
}

std::uint64_t LatencyHistogram::percentile(double fraction) const {
    const auto wanted =
        static_cast<std::uint64_t>(std::ceil(fraction * static_cast<double>(count())));
    std::uint64_t seen = 0;
    for (std::size_t index = 0; index < kBuckets && wanted > 0; ++index) {
        seen += buckets_[index].get();
        if (seen >= wanted) {
            // The highest value of the bucket; the inverse of record().
            const std::size_t shift = index < (2U << kSubBits) ? 0 : (index >> kSubBits) - 1;
            const std::uint64_t highest = ((index - (shift << kSubBits) + 1) << shift) - 1;
            return std::min(highest, max());
        }
    }
    return 0;
}

void LatencyHistogram::merge(const LatencyHistogram& other) {
    for (std::size_t index = 0; index < kBuckets; ++index) {
        buckets_[index].add(other.buckets_[index].get());
    }
    max_.raise_to(other.max());
}

SharedAccount::SharedAccount(int fd, void* memory, std::size_t size_bytes)
    : fd_(fd),
      account_(static_cast<Account*>(memory)),
      totals_(reinterpret_cast<Figure*>(account_ + 1)),
      size_bytes_(size_bytes) {}

SharedAccount::SharedAccount(SharedAccount&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      account_(std::exchange(other.account_, nullptr)),
      totals_(other.totals_),
      size_bytes_(other.size_bytes_) {}

SharedAccount::~SharedAccount() {
    if (account_ != nullptr) {
        ::munmap(account_, size_bytes_);
        ::close(fd_);
    }
}

Result<SharedAccount> SharedAccount::map(int fd, std::size_t size_bytes) {
    void* const memory = ::mmap(nullptr, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        const int os_error = errno;
        ::close(fd);
        return Error{Status::out_of_memory, os_error, "cannot map the account of the demo"};
    }
    return SharedAccount(fd, memory, size_bytes);
}

Result<SharedAccount> SharedAccount::create(std::uint64_t messages,
                                            std::span<const std::int64_t> totals) {
    const auto size_bytes = account_bytes(messages, totals.size());
    const int fd = make_memory_file("telpher-demo-account", size_bytes);
    if (fd < 0) {
        return Error{Status::out_of_memory, errno, "cannot make the account of the demo"};
    }
    auto shared = map(fd, size_bytes);
    if (shared) {
        new (shared->account_) Account{};  // all zero, as the memory is: begins the lifetime only
        (*shared)->messages.set(messages);
        (*shared)->orders.set(totals.size());
        for (std::size_t index = 0; index < totals.size(); ++index) {
            shared->totals_[index].set(static_cast<std::uint64_t>(totals[index]));
        }
    }
    return shared;
}

Result<SharedAccount> SharedAccount::attach(int fd) {
    struct stat facts {};
    if (::fstat(fd, &facts) != 0 || facts.st_size < static_cast<off_t>(sizeof(Account))) {
        return Error{Status::bad_request, 0, "not started by `telpher demo`"};
    }
    const auto size_bytes = static_cast<std::size_t>(facts.st_size);
    auto shared = map(fd, size_bytes);
    if (shared && account_bytes((*shared)->messages.get(), (*shared)->orders.get()) != size_bytes) {
        return Error{Status::bad_request, 0, "not started by `telpher demo`"};
    }
    return shared;
}

std::int64_t SharedAccount::total(std::uint64_t sequence) const {
    return static_cast<std::int64_t>(totals_[(sequence - 1) % account_->orders.get()].get());
}

Figure& SharedAccount::word(std::size_t row, std::uint64_t sequence) const {
    return totals_[account_->orders.get() + row * bit_words(account_->messages.get()) +
                   sequence / 64];
}

bool SharedAccount::mark(std::size_t row, std::uint64_t sequence) const {
    if (marked(row, sequence)) {
        return false;
    }
    auto& bits = word(row, sequence);
    bits.set(bits.get() | (std::uint64_t{1} << (sequence % 64)));
    return true;
}

bool SharedAccount::marked(std::size_t row, std::uint64_t sequence) const {
    return (word(row, sequence).get() >> (sequence % 64) & 1U) != 0;
}

int make_memory_file(const char* name, std::size_t size_bytes) {
    const int fd = ::memfd_create(name, 0);  // not close-on-exec: children inherit it
    if (fd >= 0 && ::posix_fallocate(fd, 0, static_cast<off_t>(size_bytes)) != 0) {
        ::close(fd);
        return -1;
    }
    return fd;
}

std::uint64_t now_ns() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(now).count());
}

}  // namespace telpher::cli
