// Question: what does ZeroMQ cost between two processes of a host?
// Method:   PAIR sockets over ipc:// with the default options (high-water mark 1000, one I/O
//           thread), blocking zmq_send and zmq_recv. The address is an abstract one, so that no
//           file is left.
// Not here: tcp://, multi-part messages, zmq_msg_t without a copy.
#include "bench/peers/peer.hpp"

#ifdef TELPHER_HAS_ZMQ

#include <zmq.h>

namespace telpher::bench {

namespace {

template <std::size_t kBytes>
class ZmqLink {
  public:
    explicit ZmqLink(const Context& context) : address_("ipc://@telpher-" + context.new_name()) {}
    [[nodiscard]] std::string why_not() const { return {}; }

    // Contexts have threads: each side makes its own.
    class Port {
      public:
        Port(Side& side, ZmqLink& link, bool first)
            : side_(side), context_(zmq_ctx_new()), socket_(zmq_socket(context_, ZMQ_PAIR)) {
            const char* address = link.address_.c_str();
            if ((first ? zmq_bind(socket_, address) : zmq_connect(socket_, address)) != 0) {
                side_.fail(std::string("zmq: ") + zmq_strerror(zmq_errno()));
            }
        }
        Port(const Port&) = delete;
        Port& operator=(const Port&) = delete;
        ~Port() {
            zmq_close(socket_);
            zmq_ctx_term(context_);
        }

        void send(std::uint64_t sequence) {
            own_->number(sequence);
            while (zmq_send(socket_, own_->words.data(), kBytes, 0) < 0) {
                if (zmq_errno() != EINTR) {
                    side_.fail(std::string("zmq_send: ") + zmq_strerror(zmq_errno()));
                }
            }
        }
        std::uint64_t receive() {
            while (zmq_recv(socket_, got_->words.data(), kBytes, 0) != static_cast<int>(kBytes)) {
                if (zmq_errno() != EINTR) {
                    side_.fail(std::string("zmq_recv: ") + zmq_strerror(zmq_errno()));
                }
            }
            return sequence_of(got_->bytes());
        }

      private:
        Side& side_;
        void* context_;
        void* socket_;
        std::unique_ptr<Payload<kBytes>> own_ = std::make_unique<Payload<kBytes>>();
        std::unique_ptr<Payload<kBytes>> got_ = std::make_unique<Payload<kBytes>>();
    };

  private:
    std::string address_;
};

}  // namespace

void add_zmq_peer_rows(std::vector<Benchmark>& list) {
    add_peer<ZmqLink>(list, "zmq", "ZeroMQ, ipc://, PAIR, blocking");
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_zmq_peer_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif
