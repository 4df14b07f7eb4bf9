// Changing and showing the settings of a domain.

#include "telpher/admin.hpp"
#include "telpher/server.hpp"

#include "src/client/domain_core.hpp"
#include "src/client/remote_admin.hpp"
#include "src/client/settings_text.hpp"

namespace telpher {

Result<void> Server::set(std::string_view name, std::string_view value) {
    if (const Status status = core_ != nullptr ? core_->usable() : Status::closed;
        status != Status::ok) {
        return status;
    }
    const auto change = detail::parse_setting(name, value);
    if (!change) {
        return change.error();
    }
    core_->attachment().settings().put(change->setting, change->value);
    return {};
}

Result<std::vector<DomainSetting>> Server::settings() const {
    if (const Status status = core_ != nullptr ? core_->usable() : Status::closed;
        status != Status::ok) {
        return status;
    }
    std::vector<DomainSetting> all;
    for (std::uint32_t i = 0; i < shm::kSettings; ++i) {
        const auto setting = static_cast<shm::Setting>(i);
        all.push_back(
            detail::describe_setting(setting, core_->attachment().settings().get(setting)));
    }
    return all;
}

Result<void> Admin::set(std::string_view name, std::string_view value) {
    return remote_ != nullptr ? remote_->set(name, value) : server_.set(name, value);
}
Result<std::vector<DomainSetting>> Admin::settings() const {
    return remote_ != nullptr ? remote_->settings() : server_.settings();
}

}  // namespace telpher
