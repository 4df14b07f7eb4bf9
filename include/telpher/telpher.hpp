#pragma once
// Everything a program needs.

#include "telpher/admin.hpp"
#include "telpher/causal_gate.hpp"  // IWYU pragma: export
#include "telpher/client.hpp"       // IWYU pragma: export
#include "telpher/consumer.hpp"     // IWYU pragma: export
#include "telpher/function.hpp"     // IWYU pragma: export
#include "telpher/future.hpp"       // IWYU pragma: export
#include "telpher/latency.hpp"      // IWYU pragma: export
#include "telpher/loan.hpp"         // IWYU pragma: export
#include "telpher/message.hpp"      // IWYU pragma: export
#include "telpher/options.hpp"      // IWYU pragma: export
#include "telpher/outbox.hpp"       // IWYU pragma: export
#include "telpher/queue.hpp"        // IWYU pragma: export
#include "telpher/result.hpp"       // IWYU pragma: export
#include "telpher/retry.hpp"        // IWYU pragma: export
#include "telpher/server.hpp"       // IWYU pragma: export
#include "telpher/status.hpp"       // IWYU pragma: export
#include "telpher/timeout.hpp"      // IWYU pragma: export
#include "telpher/topic.hpp"        // IWYU pragma: export
#include "telpher/wait.hpp"         // IWYU pragma: export
