#pragma once
// What all sessions of a bridge share.

#include "telpher/admin.hpp"

#include "tcp_bridge/command_thread.hpp"
#include "tcp_bridge/returns.hpp"

namespace telpher::bridge {

struct SessionHost {
    Admin admin{};
    CommandThread thread{};
    Returns returns{};
};

}  // namespace telpher::bridge
