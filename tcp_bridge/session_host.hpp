#pragma once
// What all sessions of an I/O thread share.

#include "telpher/admin.hpp"

#include "tcp_bridge/command_thread.hpp"
#include "tcp_bridge/returns.hpp"

#include <memory>

namespace telpher::bridge {

struct SessionHost {
    Admin admin{};
    std::shared_ptr<CommandThread> thread = std::make_shared<CommandThread>();  // the bridge's
    Returns returns{};
};

}  // namespace telpher::bridge
