// Question: what does a commit of a log cost beside what the disk takes for it, and how fast is a log read again?
// Method:   one thread, files in the folder for temporary files; records of 256 B; a batch is put, committed, and done
//           with the next one. The floor writes as many bytes at the same places of a reserved file, and syncs.
// Not here: group commit of many threads and processes; a disk's own cache may lie, and does on most virtual machines.
#include "bench/micro/micro.hpp"
#include "bench/temporary_folder.hpp"
#include "src/store/posix_storage.hpp"
#include "src/store/store.hpp"

#include <array>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace telpher::bench {
namespace {

constexpr std::size_t kPayload = 256;
constexpr std::uint64_t kReserved = 64U << 20U;

class Folder : public TemporaryFolder {
  public:
    [[nodiscard]] std::unique_ptr<store::Storage> open() const {
        return store::open_folder(path(), store::FolderMode::existing).value();
    }
};

void report_items(benchmark::State& state, std::int64_t items_each) {
    state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations()) * items_each);
}

void write_and_sync(benchmark::State& state) {
    const Folder folder;
    const auto storage = folder.open();
    const auto file = storage->create("floor").value();
    const auto batch = static_cast<std::size_t>(state.range(0));
    const std::vector<std::byte> bytes(batch * store::record_bytes(kPayload));
    const store::Bytes part(bytes);
    std::uint64_t offset = kReserved;
    for (auto _ : state) {
        if (offset + bytes.size() > kReserved) {
            offset = 0;
            static_cast<void>(file->truncate(0));
            static_cast<void>(file->reserve(kReserved));
        }
        if (!file->write(offset, std::span(&part, 1)) || !file->sync()) {
            state.SkipWithError("the disk refused");
            break;
        }
        offset += bytes.size();
    }
    report_items(state, state.range(0));
}
BENCHMARK(write_and_sync)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

void commit(benchmark::State& state) {
    const Folder folder;
    const auto storage = folder.open();
    store::LogReport report;
    const auto store = store::Store::open(*storage, {.name = "bench"}, report).value();
    const std::vector<std::byte> payload(kPayload, std::byte{'x'});
    std::vector<store::Lsn> before;
    std::vector<store::Lsn> now;
    for (auto _ : state) {
        now.clear();
        for (std::int64_t i = 0; i < state.range(0); ++i) {
            now.push_back(store->put(1, payload).value());
        }
        if (!store->done(before) || !store->commit()) {
            state.SkipWithError("the store refused");
            break;
        }
        before.swap(now);
    }
    report_items(state, state.range(0));
}
BENCHMARK(commit)->Arg(1)->Arg(64)->Arg(512)->UseRealTime();

// A log of so many MiB, of which everything is needed; its files are in the kernel's cache.
void open_again(benchmark::State& state) {
    const Folder folder;
    const auto bytes = static_cast<std::uint64_t>(state.range(0)) << 20U;
    {
        const auto storage = folder.open();
        store::LogReport report;
        const auto store = store::Store::open(*storage, {.name = "bench"}, report).value();
        const std::vector<std::byte> payload(kPayload, std::byte{'x'});
        for (std::uint64_t done = 0; done < bytes; done += store::record_bytes(kPayload)) {
            static_cast<void>(store->put(1, payload));
            if (done % (1U << 20U) < store::record_bytes(kPayload)) {
                static_cast<void>(store->commit());
            }
        }
        static_cast<void>(store->close());
    }
    for (auto _ : state) {
        const auto storage = folder.open();
        store::LogReport report;
        auto store = store::Store::open(*storage, {.name = "bench"}, report);
        if (!store) {
            state.SkipWithError("the store refused");
            break;
        }
        benchmark::DoNotOptimize(*store);
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) *
                            static_cast<std::int64_t>(bytes));
}
BENCHMARK(open_again)->Arg(1)->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond)->UseRealTime();

}  // namespace
}  // namespace telpher::bench
