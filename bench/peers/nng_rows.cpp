// Question: what does nng cost between two processes of a host?
// Method:   PAIR version 0 over its ipc transport at an abstract address, so that no file is left. Messages of
//           nng_msg_alloc, filled by a copy, given away by nng_sendmsg and read in place where nng_recvmsg has
//           put them: of its three interfaces the manual names this one as the one without further copies.
//           Blocking calls. NNG_OPT_SENDBUF and NNG_OPT_RECVBUF are 1024 messages, the depth of the other
//           rows: with the default of none each message waits for the one before to be taken. PAIR loses
//           nothing: a full buffer holds the sender up.
// Not here: nng_aio, tcp://, inproc://.
#include "bench/peers/peer.hpp"

#ifdef TELPHER_HAS_NNG

#include <nng/nng.h>
#include <nng/protocol/pair0/pair.h>

namespace telpher::bench {

namespace {

constexpr int kNngDepth = 1024;
constexpr nng_duration kNngPatienceMs = 10'000;

template <std::size_t kBytes>
class NngLink {
  public:
    explicit NngLink(const Context& context)
        : address_("abstract://telpher-" + context.new_name()) {}
    [[nodiscard]] std::string why_not() const { return {}; }

    // nng has threads from its first socket on: each side opens its own, behind the fork.
    class Port {
      public:
        Port(Side& side, NngLink& link, bool first) : side_(side) {
            const char* address = link.address_.c_str();
            check(nng_pair0_open(&socket_), "nng_pair0_open");
            check(nng_socket_set_int(socket_, NNG_OPT_SENDBUF, kNngDepth), "NNG_OPT_SENDBUF");
            check(nng_socket_set_int(socket_, NNG_OPT_RECVBUF, kNngDepth), "NNG_OPT_RECVBUF");
            check(nng_socket_set_ms(socket_, NNG_OPT_SENDTIMEO, kNngPatienceMs), "timeout");
            check(nng_socket_set_ms(socket_, NNG_OPT_RECVTIMEO, kNngPatienceMs), "timeout");
            if (first) {
                check(nng_listen(socket_, address, nullptr, 0), "nng_listen");
            }
            side_.sync();  // somebody listens
            if (!first) {
                check(nng_dial(socket_, address, nullptr, 0), "nng_dial");
            }
        }
        Port(const Port&) = delete;
        Port& operator=(const Port&) = delete;
        ~Port() { nng_close(socket_); }

        void send(std::uint64_t sequence) {
            own_->number(sequence);
            nng_msg* message = nullptr;
            check(nng_msg_alloc(&message, kBytes), "nng_msg_alloc");
            std::memcpy(nng_msg_body(message), own_->words.data(), kBytes);
            check(nng_sendmsg(socket_, message, 0), "nng_sendmsg");
        }
        std::uint64_t receive() {
            nng_msg* message = nullptr;
            check(nng_recvmsg(socket_, &message, 0), "nng_recvmsg");
            const std::span<const std::byte> bytes(
                static_cast<const std::byte*>(nng_msg_body(message)), nng_msg_len(message));
            const std::uint64_t sequence = bytes.size() == kBytes ? sequence_of(bytes) : kTorn;
            nng_msg_free(message);
            return sequence;
        }

      private:
        void check(int outcome, const char* what) {
            if (outcome != 0) [[unlikely]] {
                side_.fail(std::string(what) + ": " + nng_strerror(outcome));
            }
        }

        Side& side_;
        nng_socket socket_ = NNG_SOCKET_INITIALIZER;
        std::unique_ptr<Payload<kBytes>> own_ = std::make_unique<Payload<kBytes>>();
    };

  private:
    std::string address_;
};

}  // namespace

void add_nng_peer_rows(std::vector<Benchmark>& list) {
    add_peer<NngLink>(list, "nng", "nng, ipc, PAIR, blocking");
}

}  // namespace telpher::bench

#else

namespace telpher::bench {

void add_nng_peer_rows(std::vector<Benchmark>& /*list*/) {}

}  // namespace telpher::bench

#endif
