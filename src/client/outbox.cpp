#include "telpher/outbox.hpp"

#include "src/client/outbox_core.hpp"

namespace telpher {
namespace {

Error none() {
    return Error{Status::closed, 0, "there is no outbox: ConnectOptions::outbox names its folder"};
}

}  // namespace

Result<std::string> Outbox::offer(std::string_view queue, const Message& message) {
    return core_ != nullptr ? core_->put(false, queue, message) : none();
}
Result<std::string> Outbox::send(std::string_view function, const Message& request) {
    return core_ != nullptr ? core_->put(true, function, request) : none();
}
Result<void> Outbox::flush(Duration timeout) {
    return core_ != nullptr ? core_->flush(timeout) : none();
}
Result<std::vector<OutboxFailure>> Outbox::failed() const {
    return core_ != nullptr ? core_->failed() : none();
}
Result<std::size_t> Outbox::retry(std::string_view request_id) {
    return core_ != nullptr ? core_->retry(request_id) : none();
}
Result<std::size_t> Outbox::discard(std::string_view request_id) {
    return core_ != nullptr ? core_->discard(request_id) : none();
}
Result<OutboxStatus> Outbox::status() const { return core_ != nullptr ? core_->status() : none(); }

}  // namespace telpher
