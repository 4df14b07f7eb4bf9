// Question: what does a Unix socket cost?
// Method:   socketpair(2), as a stream and as SOCK_SEQPACKET, blocking read and write of whole
//           messages, default buffers. With a stream the reader puts the message together.
// Not here: sendmmsg, MSG_ZEROCOPY, passing descriptors.
#include "bench/peers/stream.hpp"

#include <sys/socket.h>

namespace telpher::bench {

namespace {

template <std::size_t kBytes, int kType>
class SocketLink {
  public:
    explicit SocketLink(const Context& /*context*/) {
        int ends[2] = {-1, -1};
        if (socketpair(AF_UNIX, kType, 0, ends) != 0) {
            why_not_ = errno_text("socketpair");
        }
        ends_[0] = ends[0];
        ends_[1] = ends[1];
    }
    SocketLink(const SocketLink&) = delete;
    SocketLink& operator=(const SocketLink&) = delete;
    ~SocketLink() {
        close(ends_[0]);
        close(ends_[1]);
    }
    [[nodiscard]] const std::string& why_not() const { return why_not_; }

    class Port : public DescriptorPort<kBytes> {
      public:
        Port(Side& side, SocketLink& link, bool first)
            : DescriptorPort<kBytes>(
                  side, {link.ends_[0], link.ends_[0], link.ends_[1], link.ends_[1]}, first) {}
    };

  private:
    int ends_[2];
    std::string why_not_;
};

template <std::size_t kBytes>
using StreamLink = SocketLink<kBytes, SOCK_STREAM>;
template <std::size_t kBytes>
using PacketLink = SocketLink<kBytes, SOCK_SEQPACKET>;

}  // namespace

void add_socket_peer_rows(std::vector<Benchmark>& list) {
    add_peer<StreamLink>(list, "unix_stream", "Unix socket, stream, blocking");
    add_peer<PacketLink>(list, "unix_seqpacket", "Unix socket, SOCK_SEQPACKET, blocking");
}

}  // namespace telpher::bench
