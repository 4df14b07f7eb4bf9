#pragma once
// Which versions of what was compared.

#include <map>
#include <string>

namespace telpher::bench {

// "ZeroMQ" -> "4.3.4", for everything this program was built with; servers are asked.
std::map<std::string, std::string> versions();

}  // namespace telpher::bench
