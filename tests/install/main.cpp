// What a user's first file looks like: it includes a public header and needs the library to link, with all that a domain
// with a log needs.
#include "telpher/server.hpp"

#include <iostream>

int main() {
    const auto name = telpher::to_string(telpher::Status::queue_empty);
    std::cout << name << '\n';
    const auto refused = telpher::Server::open("no/name", {.log_directory = "nowhere"});
    return name == "queue_empty" && refused.status() == telpher::Status::bad_request ? 0 : 1;
}
