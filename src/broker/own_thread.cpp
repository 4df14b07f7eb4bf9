#include "src/broker/own_thread.hpp"

#include "shm/base/signals.hpp"

#include <pthread.h>

#include <future>
#include <system_error>
#include <utility>

namespace telpher::detail {

Result<void> OwnThread::start(const char* name,
                              const std::shared_ptr<shm::Attachment>& attachment,
                              std::function<void()> body) {
    std::promise<Error> started;
    try {
        const shm::SignalsBlocked blocked;
        thread_ = std::thread([this, name, memory = attachment, run = std::move(body), &started] {
            pthread_setname_np(pthread_self(), name);
            auto context = memory->context();
            if (!context) {
                started.set_value(context.error());
                return;
            }
            context_ = *context;
            started.set_value({});
            run();
        });
    } catch (const std::system_error& failed) {
        return Error{Status::limit_reached, failed.code().value(), "no thread could be started"};
    }
    const Error error = started.get_future().get();
    if (error.status != Status::ok) {
        thread_.join();
        return error;
    }
    return {};
}

void OwnThread::end() noexcept {
    if (thread_.get_id() == std::this_thread::get_id()) {
        thread_.detach();
    } else {
        thread_.join();
    }
}

}  // namespace telpher::detail
