#include "tcp_bridge/server_subscription.hpp"

#include "src/wire/codec.hpp"

namespace telpher::bridge {

Result<void> ServerSubscription::start(Client& client,
                                       const Subscribe& what,
                                       std::uint64_t credit) {
    credit_ = credit;
    SubscribeOptions options;
    options.from = what.from;
    options.slow = what.slow;
    // Weak: the handler's thread must not be the one that ends us.
    options.on_end = [weak = weak_from_this()](const Error& why) {
        if (const auto self = weak.lock()) {
            self->inbox_->push([weak, why] {
                if (const auto alive = weak.lock()) {
                    alive->tell_.ended(why);
                }
            });
        }
    };
    auto subscription = client.subscribe(
        what.patterns,
        [this](const Sample& sample) { on_sample(sample); },  // `end` waits for it
        std::move(options));
    if (!subscription) {
        return subscription.error();
    }
    subscription_ = std::move(*subscription);
    return {};
}

void ServerSubscription::grant(std::uint64_t more) {
    {
        const std::lock_guard hold(mutex_);
        credit_ = more > ~0ULL - credit_ ? ~0ULL : credit_ + more;
    }
    changed_.notify_all();
}

void ServerSubscription::forget_credit() {
    const std::lock_guard hold(mutex_);
    credit_ = 0;
}

void ServerSubscription::end() noexcept {
    {
        const std::lock_guard hold(mutex_);
        ended_ = true;
    }
    changed_.notify_all();
    subscription_.unsubscribe();
}

void ServerSubscription::on_sample(const Sample& sample) {
    message_.resize(wire::encoded_bytes(sample));
    wire::encode(sample, {sample.id(), sample.head().timestamp_ns, sample.type()}, message_);
    FrameHead head;
    head.type = FrameType::sample;
    head.channel = channel_;
    head.correlation = sample.lost_before();
    head.argument = sample.sequence();
    bool first = false;
    {
        std::unique_lock hold(mutex_);
        changed_.wait(hold, [this] { return ended_ || credit_ > 0; });
        if (ended_) {
            return;
        }
        --credit_;
        first = ready_.empty();
        if (first || !ready_.back().large.empty()) {
            ready_.emplace_back();
        }
        Samples& samples = ready_.back();
        if (message_.size() <= kBodyBytesMax) {
            append_frame(samples.frames, head, message_);
        } else {
            samples.head = head;
            samples.large = std::exchange(message_, {});
        }
    }
    if (first) {
        inbox_->push([weak = weak_from_this()] {
            if (const auto self = weak.lock()) {
                self->hand_over();
            }
        });
    }
}

// On the I/O thread.
void ServerSubscription::hand_over() {
    std::vector<Samples> ready;
    {
        const std::lock_guard hold(mutex_);
        ready.swap(ready_);
    }
    for (Samples& samples : ready) {
        tell_.samples(std::move(samples));
    }
}

}  // namespace telpher::bridge
