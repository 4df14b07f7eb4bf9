// What a user's first file looks like: it includes a public header and needs the library to link.
#include "telpher/status.hpp"

#include <iostream>

int main() {
    const auto name = telpher::to_string(telpher::Status::queue_empty);
    std::cout << name << '\n';
    return name == "queue_empty" ? 0 : 1;
}
