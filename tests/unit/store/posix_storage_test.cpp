// The real files: what is refused, and that a log in them is what it is on the simulated disk.

#include "src/store/posix_storage.hpp"

#include "src/store/store.hpp"
#include "tests/unit/store/store_model.hpp"
#include "tests/unit/support/scratch_folder.hpp"

#include <gtest/gtest.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using store::Access;
using store::Bytes;
using store::FolderMode;
using store::open_folder;

class PosixStorage : public ::testing::Test {
  protected:
    ScratchFolder folder_;
    std::unique_ptr<store::Storage> storage_ =
        open_folder(folder_.path(), FolderMode::existing).value();
};

TEST_F(PosixStorage, folders_that_are_missing_or_none_are_told_by_their_path) {
    const std::string missing = folder_.file("missing");
    auto opened = open_folder(missing, FolderMode::existing);
    EXPECT_EQ(opened.status(), Status::storage_failed);
    EXPECT_EQ(opened.error().os_error, ENOENT);
    EXPECT_NE(opened.error().detail.find(missing), std::string::npos);
    EXPECT_TRUE(open_folder(missing, FolderMode::create));
    EXPECT_TRUE(open_folder(missing, FolderMode::create)) << "it is there";
    EXPECT_EQ(open_folder(folder_.file("a/b"), FolderMode::create).error().os_error, ENOENT);
    ASSERT_TRUE(storage_->create("file"));
    EXPECT_EQ(open_folder(folder_.file("file"), FolderMode::create).error().os_error, ENOTDIR);
}

TEST_F(PosixStorage, a_folder_that_cannot_be_written_is_told) {
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0500), 0);
    const auto opened = open_folder(folder_.path(), FolderMode::existing);
    if (::geteuid() != 0) {  // root may write anywhere
        EXPECT_EQ(opened.error().os_error, EACCES);
    }
    EXPECT_TRUE(open_folder(folder_.path(), FolderMode::read));
    ASSERT_EQ(::chmod(folder_.path().c_str(), 0700), 0);
}

TEST_F(PosixStorage, files_are_written_in_many_parts_and_read_back) {
    auto file = storage_->create("file").value();
    std::vector<std::vector<std::byte>> parts;
    std::vector<std::byte> all;
    for (std::size_t i = 0; i < 1000; ++i) {
        parts.emplace_back(i % 7, static_cast<std::byte>(i));
        all.insert(all.end(), parts.back().begin(), parts.back().end());
    }
    const std::vector<Bytes> views(parts.begin(), parts.end());
    ASSERT_TRUE(file->reserve(1 << 20));
    ASSERT_TRUE(file->write(5000, views));
    ASSERT_TRUE(file->sync());
    EXPECT_EQ(file->size_bytes().value(), std::uint64_t{1} << 20U);
    auto again = storage_->open("file", Access::read).value();
    std::vector<std::byte> read(all.size());
    EXPECT_EQ(again->read(5000, read).value(), all.size());
    EXPECT_EQ(read, all);
    ASSERT_TRUE(file->truncate(5010));
    EXPECT_EQ(again->read(5000, read).value(), 10U);
    EXPECT_EQ(again->write(0, views).error().os_error, EBADF) << "it was opened to be read";
}

TEST_F(PosixStorage, names_are_created_once_listed_renamed_and_removed) {
    ASSERT_TRUE(storage_->create("a"));
    EXPECT_EQ(storage_->create("a").status(), Status::already_exists);
    ASSERT_TRUE(storage_->create("b"));
    ASSERT_TRUE(storage_->rename("a", "b"));
    ASSERT_TRUE(storage_->sync_names());
    EXPECT_EQ(storage_->list().value(), (std::vector<std::string>{"b"}));
    ASSERT_TRUE(storage_->remove("b"));
    EXPECT_EQ(storage_->remove("b").error().os_error, ENOENT);
    EXPECT_EQ(storage_->open("b", Access::read).error().os_error, ENOENT);
}

TEST_F(PosixStorage, what_is_no_regular_file_is_neither_followed_nor_waited_for) {
    ASSERT_EQ(::mkfifo(folder_.file("pipe").c_str(), 0600), 0);
    EXPECT_EQ(storage_->open("pipe", Access::read).status(), Status::bad_request);
    ASSERT_EQ(::symlink("/etc/passwd", folder_.file("link").c_str()), 0);
    EXPECT_EQ(storage_->open("link", Access::read).error().os_error, ELOOP);
    ASSERT_EQ(::mkdir(folder_.file("folder").c_str(), 0700), 0);
    EXPECT_EQ(storage_->open("folder", Access::read).status(), Status::bad_request);
    ASSERT_EQ(::symlink("/etc/passwd", folder_.file("lock").c_str()), 0);
    EXPECT_EQ(storage_->lock().error().os_error, ELOOP);
}

TEST_F(PosixStorage, a_locked_folder_is_refused_until_its_holder_ends) {
    ASSERT_TRUE(storage_->lock());
    auto other = open_folder(folder_.path(), FolderMode::existing).value();
    const auto refused = other->lock();
    EXPECT_EQ(refused.status(), Status::not_permitted);
    EXPECT_NE(refused.error().detail.find(folder_.path()), std::string::npos);
    storage_.reset();
    EXPECT_TRUE(other->lock());
}

TEST_F(PosixStorage, holds_a_log_over_many_lives) {
    StoreWork work(3);
    for (int life = 0; life < 10; ++life) {
        storage_.reset();
        storage_ = open_folder(folder_.path(), FolderMode::existing).value();
        store::LogReport report;
        auto store = store::Store::open(*storage_, StoreWork::options(), report);
        ASSERT_TRUE(store) << to_string(store.error());
        EXPECT_EQ(report.closed, life != 0);
        EXPECT_EQ(report.torn_bytes, 0U);
        ASSERT_EQ(StoreModel::of(**store), work.now());
        for (int i = 0; i < 100; ++i) {
            ASSERT_TRUE(work.step(**store));
        }
        ASSERT_TRUE((*store)->close());
        EXPECT_EQ((*store)->put(1, {}).status(), Status::closed);
    }
    // Small segments, each cut to what it holds.
    EXPECT_LE(storage_->list().value().size(), 30U);
}

}  // namespace
}  // namespace telpher::test
