// A domain's log on a disk that is full, or fails.
#include "src/store/shared_log.hpp"

#include "src/client/domain_core.hpp"
#include "src/store/posix_storage.hpp"
#include "tests/unit/support/scratch_domain.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <memory>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

struct Faults {
    bool full = false;         // no room for another file
    bool write_fails = false;  // EIO
    bool sync_fails = false;   // EIO
};

class FaultyFile final : public store::File {
  public:
    FaultyFile(std::unique_ptr<store::File> file, const Faults& faults)
        : file_(std::move(file)), faults_(faults) {}
    Result<std::size_t> read(std::uint64_t offset, std::span<std::byte> out) override {
        return file_->read(offset, out);
    }
    Result<void> write(std::uint64_t offset, std::span<const store::Bytes> parts) override {
        return faults_.write_fails ? failed(EIO) : file_->write(offset, parts);
    }
    Result<void> reserve(std::uint64_t size_bytes) override {
        return faults_.full ? failed(ENOSPC) : file_->reserve(size_bytes);
    }
    Result<void> truncate(std::uint64_t size_bytes) override { return file_->truncate(size_bytes); }
    Result<void> sync() override { return faults_.sync_fails ? failed(EIO) : file_->sync(); }
    Result<std::uint64_t> size_bytes() override { return file_->size_bytes(); }

  private:
    static Result<void> failed(int error) {
        return Error{Status::storage_failed, error, "as the test wants it"};
    }
    std::unique_ptr<store::File> file_;
    const Faults& faults_;
};

class FaultyFolder final : public store::Storage {
  public:
    FaultyFolder(std::unique_ptr<store::Storage> folder, const Faults& faults)
        : folder_(std::move(folder)), faults_(faults) {}
    Result<void> lock() override { return folder_->lock(); }
    Result<std::unique_ptr<store::File>> create(const std::string& name) override {
        return wrap(folder_->create(name));
    }
    Result<std::unique_ptr<store::File>> open(const std::string& name,
                                              store::Access access) override {
        return wrap(folder_->open(name, access));
    }
    Result<std::vector<std::string>> list() override { return folder_->list(); }
    Result<void> rename(const std::string& from, const std::string& to) override {
        return folder_->rename(from, to);
    }
    Result<void> remove(const std::string& name) override { return folder_->remove(name); }
    Result<void> sync_names() override { return folder_->sync_names(); }
    [[nodiscard]] std::string path_of(std::string_view name) const override {
        return folder_->path_of(name);
    }

  private:
    Result<std::unique_ptr<store::File>> wrap(Result<std::unique_ptr<store::File>> file) {
        if (!file) {
            return file;
        }
        return std::unique_ptr<store::File>(
            std::make_unique<FaultyFile>(std::move(*file), faults_));
    }
    std::unique_ptr<store::Storage> folder_;
    const Faults& faults_;
};

class SharedLogFaults : public ::testing::Test {
  protected:
    // Writes one message of so many bytes, as a queue does, and ends it.
    Status put(std::uint32_t bytes) {
        shm::ThreadContext& context = *attachment_.context().value();
        shm::ChunkPool& pool = attachment_.pool();
        const std::uint32_t chunk = pool.allocate(
            pool.class_for(bytes + shm::kMessageOffset), attachment_.slot(), context.cursor);
        EXPECT_NE(chunk, shm::kNoChunk);
        store::Pending message{.chunk = chunk, .bytes = bytes, .destination = 1};
        log_.commit({&message, 1}, {10s, nullptr});
        if (message.status == Status::ok) {
            attachment_.log().note_ended(message.lsn);
            log_.finish(message);
        }
        pool.release(chunk, attachment_.slot(), context.cursor);
        return message.status;
    }

    // Messages that others wait with, all of one chunk, which nobody finishes.
    std::uint32_t take_places(std::uint32_t count, std::uint32_t bytes) {
        shm::ThreadContext& context = *attachment_.context().value();
        shm::ChunkPool& pool = attachment_.pool();
        const std::uint32_t chunk = pool.allocate(
            pool.class_for(bytes + shm::kMessageOffset), attachment_.slot(), context.cursor);
        EXPECT_NE(chunk, shm::kNoChunk);
        for (std::uint32_t i = 0; i < count; ++i) {
            EXPECT_NE(
                attachment_.log().submit(
                    attachment_.identity(),
                    {.chunk = chunk, .offset = 0, .bytes = bytes, .destination = 1, .sync = true}),
                shm::LogTable::kNone);
        }
        return chunk;
    }

    ScratchFolder folder_;
    ScratchDomain domain_;
    Server server_ =
        domain_.open({.log_directory = folder_.file("log"), .log_segment_bytes = 64U << 10U});
    Client client_ = connect(domain_.uri()).value();
    shm::Attachment& attachment_ = detail::DomainCore::of(client_)->attachment();
    Faults faults_;
    store::SharedLog log_{
        attachment_,
        std::make_unique<FaultyFolder>(
            store::open_folder(folder_.file("log"), store::FolderMode::existing).value(), faults_),
        {[] { return std::vector<std::pair<std::uint32_t, std::vector<std::byte>>>(); },
         [](std::uint64_t /*dest*/) { return 1U; }}};
};

TEST_F(SharedLogFaults, a_full_disk_refuses_messages_takes_what_ended_and_goes_on) {
    faults_.full = true;
    std::uint64_t accepted = 0;
    Status status = Status::ok;
    while (status == Status::ok && accepted < 100) {
        status = put(4000);
        accepted += static_cast<std::uint64_t>(status == Status::ok);
    }
    EXPECT_EQ(status, Status::storage_failed);
    EXPECT_GT(accepted, 5U) << "what is left of the segment";
    EXPECT_LT(accepted, 16U);
    const Error why = log_.failure();
    EXPECT_EQ(why.os_error, ENOSPC);
    EXPECT_NE(why.detail.find("acknowledged is still taken"), std::string::npos) << why.detail;
    // The last one's end has room still.
    log_.flush(true);
    EXPECT_FALSE(attachment_.log().any_ended());
    EXPECT_EQ(put(4000), Status::storage_failed);
    faults_.full = false;
    EXPECT_EQ(put(4000), Status::ok);
}

// Who finds no place, and no room on the disk either, hears it, however much patience it has.
TEST_F(SharedLogFaults, a_full_disk_refuses_those_without_a_place_too) {
    const std::uint32_t chunk = take_places(shm::kSubmissions, 4000);
    faults_.full = true;
    store::Pending message{.chunk = chunk, .bytes = 100, .destination = 1};
    log_.commit({&message, 1}, {});
    EXPECT_EQ(message.status, Status::storage_failed);
}

TEST_F(SharedLogFaults, what_finds_no_place_does_not_hold_up_what_has_one) {
    const std::uint32_t chunk = take_places(shm::kSubmissions - 1, 16);
    std::array<store::Pending, 3> messages;
    for (store::Pending& message : messages) {
        message = {.chunk = chunk, .bytes = 16, .destination = 1};
    }
    log_.commit(messages, {});
    EXPECT_EQ(messages[0].status, Status::ok);
    EXPECT_EQ(messages[1].status, Status::none);
    EXPECT_EQ(messages[2].status, Status::none);
    log_.finish(messages[0]);
    log_.commit(std::span(messages).subspan(1), {});
    EXPECT_EQ(messages[1].status, Status::ok) << "in the place of the first one";
    EXPECT_EQ(messages[2].status, Status::none);
}

TEST_F(SharedLogFaults, a_write_that_fails_is_final) {
    EXPECT_EQ(put(100), Status::ok);
    faults_.write_fails = true;
    EXPECT_EQ(put(100), Status::storage_failed);
    faults_.write_fails = false;
    EXPECT_EQ(put(100), Status::storage_failed);
    EXPECT_EQ(log_.failure().os_error, EIO);
}

TEST_F(SharedLogFaults, a_sync_that_fails_is_final_for_every_handle) {
    faults_.sync_fails = true;
    EXPECT_EQ(put(100), Status::storage_failed);
    faults_.sync_fails = false;
    auto refused = server_.create_queue(
        "orders",
        {.capacity = 4, .kind = QueueKind::durable, .delivery = DeliveryMode::at_least_once});
    EXPECT_EQ(refused.status(), Status::storage_failed);
    EXPECT_NE(refused.error().detail.find("open the domain again"), std::string::npos)
        << refused.error().detail;
    // Everything else goes on, and the log can be opened again.
    EXPECT_TRUE(server_.create_queue("memory", {}).value().offer(Message::text("t", "x")));
}

TEST_F(SharedLogFaults, a_damaged_submission_is_refused_and_changes_nothing) {
    store::Pending message{.chunk = 0xFFFFFF, .offset = 8, .bytes = 100, .destination = 1};
    log_.commit({&message, 1}, {10s, nullptr});
    EXPECT_EQ(message.status, Status::storage_failed);
    store::Pending longer{.chunk = 0, .offset = 100, .bytes = 1U << 30U, .destination = 1};
    log_.commit({&longer, 1}, {10s, nullptr});
    EXPECT_EQ(longer.status, Status::storage_failed);
    EXPECT_EQ(put(100), Status::ok);
}

}  // namespace
}  // namespace telpher::test
