#include "tcp_bridge/tls_channel.hpp"

#include "tcp_bridge/known_peers.hpp"
#include "tcp_bridge/tls_error.hpp"

#include <openssl/x509v3.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace telpher::bridge {
namespace {

constexpr std::string_view kBindingLabel = "EXPORTER-Channel-Binding";
// What a record's header, type, and tag add to it.
constexpr std::size_t kRecordOverheadBytes = 32;
constexpr int kHandshakeType = 22;
constexpr unsigned char kKeyUpdate = 24;

constexpr std::uint64_t records_of(std::size_t bytes) {
    return (bytes + kRecordBytes - 1) / kRecordBytes;
}

// "host" of "host:port", "::1" of "[::1]:port"; empty if there is no port.
std::string host_of(std::string_view peer) {
    const auto colon = peer.rfind(':');
    if (colon == std::string_view::npos || colon + 1 == peer.size()) {
        return {};
    }
    auto host = peer.substr(0, colon);
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
    }
    return std::string(host);
}

}  // namespace

// Called for every message of the handshake protocol, also after the handshake. OpenSSL wants the parameters.
// NOLINTNEXTLINE(readability-function-size)
void TlsChannel::see_message(
    int written, int, int type, const void* bytes, std::size_t size, SSL*, void* self) {
    auto* const channel = static_cast<TlsChannel*>(self);
    if (written != 0 || type != kHandshakeType || size == 0) {
        return;
    }
    ++channel->messages_;
    if (!channel->established_) {
        return;
    }
    if (*static_cast<const unsigned char*>(bytes) == kKeyUpdate) {
        channel->budget_.key_update();
    } else {
        channel->budget_.other_message();
    }
}

TlsChannel::TlsChannel(std::shared_ptr<const TlsContext> context)
    : context_(std::move(context)), budget_(context_->limits().records) {}

TlsChannel::~TlsChannel() = default;

Result<std::unique_ptr<TlsChannel>> TlsChannel::make(std::shared_ptr<const TlsContext> context,
                                                     std::string_view peer) {
    std::unique_ptr<TlsChannel> channel(new TlsChannel(std::move(context)));
    channel->verification_.context = channel->context_.get();
    channel->verification_.peer = peer;
    clear_errors();
    if (auto done = channel->set_up(); !done) {
        return done.error();
    }
    return channel;
}

Result<void> TlsChannel::set_up() {
    const bool client = context_->role() == TlsRole::client;
    if (client && (!is_peer_name(verification_.peer) || host_of(verification_.peer).empty())) {
        return Error{Status::bad_request, 0, "the peer of a secure channel is named HOST:PORT"};
    }
    ssl_.reset(SSL_new(context_->ssl_ctx()));
    if (ssl_ == nullptr || !attach(ssl_.get(), &verification_) || !attach(ssl_.get(), &wire_)) {
        return Error{Status::server_error, 0, openssl_text("making a secure channel")};
    }
    SSL_set_msg_callback(ssl_.get(), &TlsChannel::see_message);
    SSL_set_msg_callback_arg(ssl_.get(), this);
    if (!client) {
        SSL_set_accept_state(ssl_.get());
        return {};
    }
    SSL_set_connect_state(ssl_.get());
    if (context_->trust() == PeerTrust::authority) {
        if (auto named = set_expected_name(); !named) {
            return named;
        }
    }
    return shake_hands();
}

// An authority vouches for names: without this check any certificate of its would do for any host.
Result<void> TlsChannel::set_expected_name() {
    std::string host = host_of(verification_.peer);
    X509_VERIFY_PARAM* const parameters = SSL_get0_param(ssl_.get());
    const bool is_address = X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1;
    clear_errors();
    SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (!is_address &&
        (SSL_set1_host(ssl_.get(), host.c_str()) != 1 || SSL_ctrl(ssl_.get(),
                                                                  SSL_CTRL_SET_TLSEXT_HOSTNAME,
                                                                  TLSEXT_NAMETYPE_host_name,
                                                                  host.data()) != 1)) {
        return Error{Status::bad_request, 0, openssl_text("the peer's name cannot be checked")};
    }
    return {};
}

Result<void> TlsChannel::feed(std::span<const std::byte> wire) {
    if (failure_) {
        return *failure_;
    }
    if (unread_.size() + wire.size() > kUnreadBytesMax) {
        return Error{Status::limit_reached, 0, "4 MiB of plaintext wait to be read"};
    }
    if (established_ && wire.size() > kRecordBytes) {
        // Grows once, not with each record; the last of them is opened into more room than it takes.
        static_cast<void>(unread_.room(wire.size() + kRecordBytes));
    }
    while (!peer_closed_) {
        const auto record = reader_.next(wire);
        if (!record) {
            return fail(record.error());
        }
        if (record->empty()) {
            break;
        }
        if (auto opened = open_record(*record); !opened) {
            return opened;
        }
    }
    return {};
}

// One record at a time, so that none of a flood is opened after the one that was too many.
Result<void> TlsChannel::open_record(std::span<const std::byte> record) {
    clear_errors();
    wire_.in = record;
    messages_ = 0;
    if (!established_) {
        handshake_bytes_ += record.size();
        if (handshake_bytes_ > context_->limits().handshake_bytes_max) {
            return fail({Status::limit_reached, 0, "the peer's handshake is larger than 64 KiB"});
        }
        return shake_hands();
    }
    const std::size_t before = unread_.size();
    if (auto opened = open_plaintext(); !opened) {
        return opened;
    }
    if (peer_closed_) {
        return {};
    }
    auto allowed = budget_.record(unread_.size() - before, messages_);
    return allowed ? allowed : fail(allowed.error());
}

Result<void> TlsChannel::shake_hands() {
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) {
        return finish_handshake();
    }
    if (SSL_get_error(ssl_.get(), result) == SSL_ERROR_WANT_READ) {
        return {};
    }
    return fail_by_openssl();
}

Result<void> TlsChannel::finish_handshake() {
    const bool with_psk = context_->trust() == PeerTrust::psk;
    // All of it follows from the settings; what is looked at cannot be lost in a later change of them.
    if (SSL_version(ssl_.get()) != TLS1_3_VERSION || suite() != "TLS_AES_256_GCM_SHA384" ||
        (SSL_session_reused(ssl_.get()) == 1) != with_psk) {
        return fail({Status::not_permitted, 0, "the handshake agreed on what was not offered"});
    }
    if (with_psk) {
        verification_.identity.psk_identity = context_->psk_identity();
    }
    if (context_->trust() == PeerTrust::first_use) {
        // Only now has the peer proved that it holds the key.
        const auto known = remember_host(
            known_hosts_path(context_->config_dir()), verification_.peer, *verification_.pin);
        if (!known) {
            return fail(known.error());
        }
        verification_.identity.first_use = !*known;
    }
    established_ = true;
    keyed_ns_ = context_->limits().clock_ns();
    Result<void> sealed = kept_.empty() ? Result<void>{} : seal(kept_.bytes());
    kept_.take(kept_.size());
    if (sealed && closing_) {
        SSL_shutdown(ssl_.get());
    }
    return sealed;
}

Result<void> TlsChannel::open_plaintext() {
    for (;;) {
        const auto room = unread_.room(kRecordBytes);
        std::size_t got = 0;
        const int result = SSL_read_ex(ssl_.get(), room.data(), room.size(), &got);
        if (result == 1) {
            unread_.commit(got);
            if (wire_.in.empty() && SSL_has_pending(ssl_.get()) == 0) {
                return {};
            }
            continue;
        }
        switch (SSL_get_error(ssl_.get(), result)) {
            case SSL_ERROR_WANT_READ:
                return {};
            case SSL_ERROR_ZERO_RETURN:
                peer_closed_ = true;
                wire_.in = {};
                return {};
            default:
                return fail_by_openssl();
        }
    }
}

std::size_t TlsChannel::read(std::span<std::byte> out) {
    const std::size_t size = std::min(out.size(), unread_.size());
    if (size > 0) {
        std::memcpy(out.data(), unread_.bytes().data(), size);
        unread_.take(size);
    }
    return size;
}

Result<void> TlsChannel::write(std::span<const std::byte> plain) {
    if (failure_) {
        return *failure_;
    }
    if (closing_) {
        return Error{Status::closed, 0, "the channel was closed by this side"};
    }
    if (plain.empty() || established_) {
        return seal(plain);
    }
    if (kept_.size() + plain.size() > kKeptBytesMax) {
        return Error{Status::overloaded, 0, "256 KiB wait for the end of the handshake"};
    }
    kept_.append(plain);
    return {};
}

Result<void> TlsChannel::seal(std::span<const std::byte> plain) {
    if (plain.empty()) {
        return {};
    }
    const std::size_t sealed = plain.size() + records_of(plain.size()) * kRecordOverheadBytes;
    if (wire_.out.size() + sealed > kPendingBytesMax) {
        return Error{Status::overloaded, 0, "8 MiB wait to be sent"};
    }
    clear_errors();
    if (auto renewed = renew_key(plain.size()); !renewed) {
        return renewed;
    }
    static_cast<void>(wire_.out.room(sealed));  // grows once, not with each record
    while (!plain.empty()) {
        std::size_t taken = 0;
        if (SSL_write_ex(ssl_.get(), plain.data(), plain.size(), &taken) != 1) {
            return fail_by_openssl();
        }
        plain = plain.subspan(taken);
    }
    return {};
}

// Asks for a new key of ours before `bytes` more are sealed; it goes out in front of them.
Result<void> TlsChannel::renew_key(std::size_t bytes) {
    const TlsLimits& limits = context_->limits();
    const std::uint64_t now = limits.clock_ns();
    if (sealed_records_ >= limits.rekey_records || sealed_bytes_ >= limits.rekey_bytes ||
        now - keyed_ns_ >= limits.rekey_ns) {
        // The peer's key is the peer's to renew: it counts what it seals.
        if (SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED) != 1) {
            return fail_by_openssl();
        }
        sealed_records_ = 0;
        sealed_bytes_ = 0;
        keyed_ns_ = now;
    }
    sealed_records_ += records_of(bytes);
    sealed_bytes_ += bytes;
    return {};
}

Result<std::array<std::byte, 32>> TlsChannel::channel_binding() const {
    std::array<std::byte, 32> binding{};
    if (!established_) {
        return Error{Status::bad_request, 0, "the handshake is not complete"};
    }
    clear_errors();
    if (SSL_export_keying_material(ssl_.get(),
                                   reinterpret_cast<unsigned char*>(binding.data()),
                                   binding.size(),
                                   kBindingLabel.data(),
                                   kBindingLabel.size(),
                                   nullptr,
                                   0,
                                   0) != 1) {
        return Error{Status::server_error, 0, openssl_text("exporting the channel binding")};
    }
    return binding;
}

std::string_view TlsChannel::protocol() const {
    return SSL_is_init_finished(ssl_.get()) == 1 ? SSL_get_version(ssl_.get()) : "";
}

std::string_view TlsChannel::suite() const {
    const SSL_CIPHER* const suite = SSL_get_current_cipher(ssl_.get());
    return suite == nullptr ? "" : SSL_CIPHER_get_name(suite);
}

std::string_view TlsChannel::group() const {
    const auto id = static_cast<int>(SSL_get_negotiated_group(ssl_.get()));
    switch (id) {
        case NID_X25519:
            return "X25519";
        case NID_undef:
            return "";
        default:
            return OBJ_nid2sn(id);
    }
}

void TlsChannel::close() {
    if (failure_ || closing_) {
        return;
    }
    closing_ = true;
    if (established_) {
        clear_errors();
        SSL_shutdown(ssl_.get());
        clear_errors();
    }
}

Result<void> TlsChannel::fail(Error error) {
    failure_ = std::move(error);
    wire_.in = {};  // the caller's memory, of which OpenSSL may have left a rest
    clear_errors();
    return *failure_;
}

Result<void> TlsChannel::fail_by_openssl() {
    // Words of our own say more than OpenSSL's reason for what they made it do.
    if (verification_.refusal) {
        return fail(*verification_.refusal);
    }
    return fail(take_tls_error(context_->trust(), established_));
}

}  // namespace telpher::bridge
