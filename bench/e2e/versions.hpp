#pragma once
// Which versions of what was compared.

#include <map>
#include <string>
#include <vector>

namespace telpher::bench {

// "ZeroMQ" -> "4.3.4", for everything this program was built with; Redis and NATS servers are asked.
std::map<std::string, std::string> versions();

// The peers that this program was built without.
std::vector<std::string> missing_peers();

}  // namespace telpher::bench
