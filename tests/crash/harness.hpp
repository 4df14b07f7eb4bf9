#pragma once
#include <cstdlib>
namespace telpher::crash { inline bool soak() { return std::getenv("TELPHER_SOAK") != nullptr; } }
