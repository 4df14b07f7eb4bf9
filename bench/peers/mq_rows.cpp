// Question: what does a POSIX message queue cost?
// Method:   two queues of ten messages (what an unprivileged process may have), blocking mq_send and
//           mq_receive. A size above /proc/sys/fs/mqueue/msgsize_max is skipped where the system
//           refuses it.
// Not here: priorities, mq_notify.
#include "bench/peers/peer.hpp"

#include <fcntl.h>
#include <mqueue.h>

#include <cerrno>

namespace telpher::bench {

namespace {

constexpr long kDepth = 10;

template <std::size_t kBytes>
class MqLink {
  public:
    // The names go at once: the children inherit the descriptors.
    explicit MqLink(const Context& context) : there_(make(context)), back_(make(context)) {}
    MqLink(const MqLink&) = delete;
    MqLink& operator=(const MqLink&) = delete;
    ~MqLink() {
        mq_close(there_);
        mq_close(back_);
    }
    [[nodiscard]] const std::string& why_not() const { return why_not_; }

    class Port {
      public:
        Port(Side& side, MqLink& link, bool first)
            : side_(side),
              out_(first ? link.there_ : link.back_),
              in_(first ? link.back_ : link.there_) {}

        void send(std::uint64_t sequence) {
            own_->number(sequence);
            const auto* bytes = reinterpret_cast<const char*>(own_->words.data());
            while (mq_send(out_, bytes, kBytes, 0) != 0) {
                if (errno != EINTR) {
                    side_.fail(errno_text("mq_send"));
                }
            }
        }
        std::uint64_t receive() {
            auto* bytes = reinterpret_cast<char*>(got_->words.data());
            while (mq_receive(in_, bytes, kBytes, nullptr) != static_cast<ssize_t>(kBytes)) {
                if (errno != EINTR) {
                    side_.fail(errno_text("mq_receive"));
                }
            }
            return sequence_of(got_->bytes());
        }

      private:
        Side& side_;
        mqd_t out_;
        mqd_t in_;
        std::unique_ptr<Payload<kBytes>> own_ = std::make_unique<Payload<kBytes>>();
        std::unique_ptr<Payload<kBytes>> got_ = std::make_unique<Payload<kBytes>>();
    };

  private:
    mqd_t make(const Context& context) {
        mq_attr attributes{};
        attributes.mq_maxmsg = kDepth;
        attributes.mq_msgsize = static_cast<long>(kBytes);
        const std::string name = "/telpher-" + context.new_name();
        const mqd_t queue = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &attributes);
        if (queue < 0) {
            why_not_ = errno_text("mq_open") + " (/proc/sys/fs/mqueue/ and ulimit -q bound it)";
        } else {
            mq_unlink(name.c_str());
        }
        return queue;
    }

    std::string why_not_{};  // before the queues: making them writes it
    mqd_t there_;
    mqd_t back_;
};

}  // namespace

void add_mq_peer_rows(std::vector<Benchmark>& list) {
    add_peer<MqLink>(list, "posix_mq", "POSIX message queue, blocking");
}

}  // namespace telpher::bench
