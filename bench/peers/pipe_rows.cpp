// Question: what does a pipe cost, the oldest way between two processes?
// Method:   pipe(2) each way, blocking read and write of whole messages, default buffer of 64 KiB.
// Not here: vmsplice, larger buffers.
#include "bench/peers/stream.hpp"

#include <cstring>

namespace telpher::bench {

std::string errno_text(const char* what) { return std::string(what) + ": " + std::strerror(errno); }

namespace {

template <std::size_t kBytes>
class PipeLink {
  public:
    explicit PipeLink(const Context& /*context*/) {
        int there[2] = {-1, -1};
        int back[2] = {-1, -1};
        if (pipe(there) != 0 || pipe(back) != 0) {
            why_not_ = errno_text("pipe");
        }
        ends_ = {back[0], there[1], there[0], back[1]};
    }
    PipeLink(const PipeLink&) = delete;
    PipeLink& operator=(const PipeLink&) = delete;
    ~PipeLink() { ends_.close_all(); }
    [[nodiscard]] const std::string& why_not() const { return why_not_; }

    class Port : public DescriptorPort<kBytes> {
      public:
        Port(Side& side, PipeLink& link, bool first)
            : DescriptorPort<kBytes>(side, link.ends_, first) {}
    };

  private:
    Descriptors ends_;
    std::string why_not_;
};

}  // namespace

void add_pipe_peer_rows(std::vector<Benchmark>& list) {
    add_peer<PipeLink>(list, "pipe", "pipe, blocking");
}

}  // namespace telpher::bench
