#pragma once
// What all sessions of a bridge run their commands with.

#include "telpher/admin.hpp"

#include "tcp_bridge/command_thread.hpp"

namespace telpher::bridge {

struct CommandHost {
    Admin admin;
    CommandThread thread{};
};

}  // namespace telpher::bridge
