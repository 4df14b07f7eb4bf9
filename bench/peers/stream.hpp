#pragma once
// A side's end of anything that is read and written through descriptors.

#include "bench/peers/peer.hpp"

#include <unistd.h>

#include <cerrno>

namespace telpher::bench {

// Two descriptors per side; the parent holds all four until the run has ended. -1 = none.
struct Descriptors {
    int first_in = -1, first_out = -1, second_in = -1, second_out = -1;

    void close_all() noexcept {
        for (const int descriptor : {first_in, first_out, second_in, second_out}) {
            if (descriptor >= 0) {
                close(descriptor);
            }
        }
    }
};

template <std::size_t kBytes>
class DescriptorPort {
  public:
    DescriptorPort(Side& side, const Descriptors& all, bool first)
        : side_(side),
          in_(first ? all.first_in : all.second_in),
          out_(first ? all.first_out : all.second_out) {
        // The other's ends: so that its end is an end of file here.
        const int theirs[] = {first ? all.second_in : all.first_in,
                              first ? all.second_out : all.first_out};
        for (const int descriptor : theirs) {
            if (descriptor != in_ && descriptor != out_) {
                close(descriptor);
            }
        }
    }

    void send(std::uint64_t sequence) {
        own_->number(sequence);
        const auto* bytes = reinterpret_cast<const std::byte*>(own_->words.data());
        for (std::size_t done = 0; done < kBytes;) {
            const ssize_t written = write(out_, bytes + done, kBytes - done);
            if (written <= 0 && errno != EINTR) [[unlikely]] {
                side_.fail(errno_text("write"));
            }
            done += written > 0 ? static_cast<std::size_t>(written) : 0;
        }
    }
    std::uint64_t receive() {
        auto* bytes = reinterpret_cast<std::byte*>(got_->words.data());
        for (std::size_t done = 0; done < kBytes;) {
            const ssize_t got = read(in_, bytes + done, kBytes - done);
            if (got == 0 || (got < 0 && errno != EINTR)) [[unlikely]] {
                side_.fail(got == 0 ? "the other side has gone" : errno_text("read"));
            }
            done += got > 0 ? static_cast<std::size_t>(got) : 0;
        }
        return sequence_of(got_->bytes());
    }

  private:
    Side& side_;
    int in_;
    int out_;
    std::unique_ptr<Payload<kBytes>> own_ = std::make_unique<Payload<kBytes>>();
    std::unique_ptr<Payload<kBytes>> got_ = std::make_unique<Payload<kBytes>>();
};

}  // namespace telpher::bench
