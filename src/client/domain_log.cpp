#include "src/client/domain_log.hpp"

#include "shm/base/clock.hpp"
#include "src/client/domain_core.hpp"
#include "src/client/queue_definition.hpp"
#include "src/store/posix_storage.hpp"

#include <filesystem>
#include <mutex>
#include <new>
#include <thread>

namespace telpher::detail {
namespace {

constexpr std::size_t kSegmentLeast = 64U << 10U;
constexpr std::size_t kSegmentMost = 256U << 20U;
constexpr std::uint64_t kBuilderPatienceNs = 2'000'000'000;  // until it has said who it is
constexpr std::uint64_t kBuildNs = 120'000'000'000;

constexpr std::chrono::seconds kNotePatience{30};

// What this process keeps with the attachment.
struct Companion {
    std::mutex mutex;  // guards the making of `log`
    std::unique_ptr<store::SharedLog> log;
    std::atomic<store::SharedLog*> open{nullptr};
};

Companion& companion_of(shm::Attachment& attachment) {
    return *std::static_pointer_cast<Companion>(
        attachment.companion([] { return std::make_shared<Companion>(); }));
}

std::string dead_letters_of(shm::Attachment& attachment, const shm::Found& found) {
    const auto dead = attachment.directory().dead_letters(found);
    return dead ? dead->name() : std::string();
}

store::SharedLog::Hooks hooks_of(shm::Attachment& attachment) {
    store::SharedLog::Hooks hooks;
    hooks.definitions = [&attachment] {
        std::vector<std::pair<std::uint32_t, std::vector<std::byte>>> all;
        for (const shm::Found& found : attachment.directory().list()) {
            if (found.kind() == shm::Kind::durable && found.state == shm::EntryState::live) {
                all.emplace_back(
                    found.log_number(),
                    encode_definition(
                        spec_of(found), found.name(), dead_letters_of(attachment, found)));
            }
        }
        return all;
    };
    hooks.destination_of = [&attachment](std::uint64_t dest) -> std::uint32_t {
        const auto found = attachment.directory().pinned(shm::dest_entry(dest));
        return found && found->generation == shm::dest_generation(dest) ? found->log_number() : 0;
    };
    return hooks;
}

}  // namespace

Result<store::SharedLog*> open_log(shm::Attachment& attachment) {
    if (!attachment.log().on()) {
        return Error{Status::bad_request,
                     0,
                     "domain '" + attachment.segment().name() +
                         "' has no log: it was made without a log directory"};
    }
    Companion& companion = companion_of(attachment);
    const std::lock_guard hold(companion.mutex);
    if (companion.log == nullptr) {
        auto folder = store::open_folder(attachment.log().path(), store::FolderMode::existing);
        if (!folder) {
            return folder.error();
        }
        if (auto shared = (*folder)->share(); !shared) {
            return shared.error();
        }
        companion.log = std::make_unique<store::SharedLog>(
            attachment, std::move(*folder), hooks_of(attachment));
        // DL1: pairs with DL2.
        companion.open.store(companion.log.get(), std::memory_order_release);
    }
    return companion.log.get();
}

store::SharedLog* log_if_open(shm::Attachment& attachment) noexcept {
    // DL2: pairs with DL1.
    return attachment.log().on() ? companion_of(attachment).open.load(std::memory_order_acquire)
                                 : nullptr;
}

void relieve_log(shm::Attachment& attachment, bool all) noexcept {
    shm::LogTable& table = attachment.log();
    if (!table.on() || attachment.usable() != Status::ok ||
        !(all ? table.any_ended() : table.crowded())) {
        return;
    }
    try {
        if (auto log = open_log(attachment)) {
            (*log)->flush(all);
        }
    } catch (const std::bad_alloc&) {
        // The next one does it.
    }
}

Result<std::string> check_log_options(const ServerOptions& options) {
    if (options.log_directory.empty()) {
        return std::string();
    }
    const std::size_t bytes = options.log_segment_bytes;
    if (bytes < kSegmentLeast || bytes > kSegmentMost || bytes % shm::kPageBytes != 0) {
        return Error{Status::bad_request,
                     0,
                     "log_segment_bytes is " + std::to_string(bytes) +
                         ", allowed are multiples of 4096 from 65536 to 268435456"};
    }
    if (auto sound =
            store::check_compress_from("log_compress_from_bytes", options.log_compress_from_bytes);
        !sound) {
        return sound.error();
    }
    std::error_code failed;
    const auto path = std::filesystem::absolute(options.log_directory, failed).lexically_normal();
    std::string text = path.string();
    if (text.size() > 1 && text.back() == '/') {
        text.pop_back();
    }
    if (failed || text.size() > shm::kLogPathMax) {
        return Error{Status::bad_request,
                     failed.value(),
                     "log_directory has " + std::to_string(text.size()) +
                         " bytes as an absolute path, allowed are 1.." +
                         std::to_string(shm::kLogPathMax)};
    }
    return text;
}

Result<shm::Found> create_durable(DomainCore& domain,
                                  shm::DestinationSpec& spec,
                                  std::string_view dead_letter,
                                  bool* created) {
    shm::Attachment& attachment = domain.attachment();
    if (const auto found = attachment.directory().find(spec.name)) {
        return *found;
    }
    auto log = open_log(attachment);
    if (!log) {
        return log.error();
    }
    // relaxed: only unique
    const auto number = static_cast<std::uint32_t>(
        attachment.log().control().destinations.fetch_add(1, std::memory_order_relaxed) + 1);
    spec.created_ns = shm::wall_coarse_ns();
    const auto definition = encode_definition(spec, spec.name, dead_letter);
    if (auto noted = (*log)->append(
            {.kind = store::RecordKind::destination, .destination = number, .payload = definition},
            kNotePatience);
        !noted) {
        return noted.error();
    }
    spec.log_id = (spec.log_id & shm::kLogSynced) | number;
    auto found = domain.create_in_directory(spec, created);
    if (!found || !*created) {  // another made it meanwhile
        static_cast<void>((*log)->append(
            {.kind = store::RecordKind::removed, .destination = number}, kNotePatience));
    }
    return found;
}

Result<void> note_removal(DomainCore& domain, const shm::Found& found) {
    auto log = domain.log();
    return log ? (*log)->append(
                     {.kind = store::RecordKind::removed, .destination = found.log_number()},
                     kNotePatience)
               : log.error();
}

Status await_log(shm::Attachment& attachment) {
    if (!attachment.log().on()) {
        return Status::ok;
    }
    shm::LogControl& control = attachment.log().control();
    const std::uint64_t begun = shm::monotonic_ns();
    for (;;) {
        if (const Status status = attachment.usable(); status != Status::ok) {
            return status == Status::domain_removed ? Status::domain_not_found : status;
        }
        if (attachment.log().state() != shm::LogState::building) {
            return Status::ok;
        }
        const std::uint64_t builder =
            control.builder.load(std::memory_order_relaxed);  // relaxed: a name
        const bool gone = builder != 0 ? !attachment.processes().alive(builder)
                                       : shm::monotonic_ns() - begun > kBuilderPatienceNs;
        if (gone) {
            // What it built lies in the log.
            static_cast<void>(attachment.remove());
            return Status::domain_not_found;
        }
        if (shm::monotonic_ns() - begun > kBuildNs) {
            return Status::timed_out;
        }
        attachment.check_deaths();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

}  // namespace telpher::detail
