#include "tcp_bridge/tls_wire.hpp"

#include <algorithm>
#include <cstring>
#include <exception>

namespace telpher::bridge {
namespace {

int read(BIO* bio, char* out, std::size_t size, std::size_t* got) {
    auto& in = static_cast<TlsWire*>(BIO_get_data(bio))->in;
    BIO_clear_retry_flags(bio);
    if (in.empty()) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *got = std::min(size, in.size());
    std::memcpy(out, in.data(), *got);
    in = in.subspan(*got);
    return 1;
}

int write(BIO* bio, const char* bytes, std::size_t size, std::size_t* taken) {
    // No exception may pass through OpenSSL; the only one here says that memory is used up.
    try {
        static_cast<TlsWire*>(BIO_get_data(bio))->out.append(std::as_bytes(std::span(bytes, size)));
    } catch (const std::exception&) {
        return 0;
    }
    *taken = size;
    return 1;
}

long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// One for the process; it lives as long as any channel may.
const BIO_METHOD* method() {
    static const BIO_METHOD* const method = [] {
        BIO_METHOD* const made =
            BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "telpher channel");
        if (made != nullptr) {
            BIO_meth_set_read_ex(made, &read);
            BIO_meth_set_write_ex(made, &write);
            BIO_meth_set_ctrl(made, &control);
        }
        return made;
    }();
    return method;
}

}  // namespace

bool attach(SSL* ssl, TlsWire* wire) {
    BIO* const bio = method() == nullptr ? nullptr : BIO_new(method());
    if (bio == nullptr) {
        return false;
    }
    BIO_set_data(bio, wire);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    return true;
}

}  // namespace telpher::bridge
