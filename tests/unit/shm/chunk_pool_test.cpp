#include "shm/chunk_pool.hpp"

#include "tests/unit/support/scratch_ring.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

namespace telpher::test {
namespace {

using shm::ChunkState;
using shm::kNoChunk;

TEST(ChunkPool, zeroed_memory_is_a_pool_in_which_everything_is_free) {
    ScratchPool scratch({{128, 10}, {256, 3}});
    EXPECT_EQ(scratch.count(ChunkState::free), 13U);
}

TEST(ChunkPool, every_chunk_is_handed_out_once_and_then_none) {
    ScratchPool scratch({{128, 100}});
    std::set<std::uint32_t> taken;
    for (int i = 0; i < 100; ++i) {
        const std::uint32_t chunk = scratch.pool().allocate(0, 5, scratch.cursor(0));
        ASSERT_NE(chunk, kNoChunk);
        EXPECT_EQ(scratch.state(chunk), ChunkState::owned);
        EXPECT_TRUE(taken.insert(chunk).second) << "chunk " << chunk << " was handed out twice";
    }
    EXPECT_EQ(scratch.pool().allocate(0, 5, scratch.cursor(0)), kNoChunk);
}

TEST(ChunkPool, the_owner_is_written_into_the_word) {
    ScratchPool scratch({{128, 4}});
    const std::uint32_t chunk = scratch.pool().allocate(0, 77, scratch.cursor(0));
    ASSERT_NE(chunk, kNoChunk);
    EXPECT_EQ(shm::word_owner(scratch.pool().header(chunk)->word.load(std::memory_order_relaxed)),
              77U);
}

TEST(ChunkPool, chunks_lie_apart_and_inside_the_memory) {
    ScratchPool scratch({{128, 70}, {512, 5}});
    shm::ChunkPool& pool = scratch.pool();
    const auto* base = reinterpret_cast<const std::byte*>(pool.header(0));
    std::set<std::ptrdiff_t> starts;
    for (std::uint32_t chunk = 0; chunk < pool.chunk_count(); ++chunk) {
        if (pool.valid(chunk)) {
            const auto at = reinterpret_cast<const std::byte*>(pool.header(chunk)) - base;
            starts.insert(at);
            EXPECT_EQ(pool.message(chunk).size() + shm::kMessageOffset,
                      pool.class_of(chunk).chunk_bytes);
            EXPECT_LE(static_cast<std::size_t>(at) + pool.class_of(chunk).chunk_bytes,
                      70U * 128U + 5U * 512U);
        }
    }
    EXPECT_EQ(starts.size(), 75U);
}

TEST(ChunkPool, numbers_between_classes_are_not_valid) {
    ScratchPool scratch({{128, 10}, {256, 3}});
    shm::ChunkPool& pool = scratch.pool();
    EXPECT_TRUE(pool.valid(9));
    EXPECT_FALSE(pool.valid(10));
    EXPECT_FALSE(pool.valid(63));
    EXPECT_TRUE(pool.valid(64));
    EXPECT_TRUE(pool.valid(66));
    EXPECT_FALSE(pool.valid(67));
    EXPECT_FALSE(pool.valid(kNoChunk));
}

TEST(ChunkPool, class_for_is_the_smallest_that_holds_the_bytes) {
    ScratchPool scratch({{128, 1}, {256, 1}, {1024, 1}});
    shm::ChunkPool& pool = scratch.pool();
    EXPECT_EQ(pool.class_for(1), 0U);
    EXPECT_EQ(pool.class_for(128), 0U);
    EXPECT_EQ(pool.class_for(129), 1U);
    EXPECT_EQ(pool.class_for(1024), 2U);
    EXPECT_EQ(pool.class_for(1025), pool.class_count());
    EXPECT_EQ(pool.small_bytes_max(), 1024U - shm::kMessageOffset);
}

TEST(ChunkPool, a_used_up_class_falls_back_to_larger_ones) {
    ScratchPool scratch({{128, 2}, {256, 1}, {512, 1}});
    shm::ChunkPool& pool = scratch.pool();
    std::vector<std::uint32_t> sizes;
    for (std::uint32_t chunk = 0; (chunk = pool.allocate(0, 1, scratch.cursor(0))) != kNoChunk;) {
        sizes.push_back(pool.class_of(chunk).chunk_bytes);
    }
    EXPECT_EQ(sizes, (std::vector<std::uint32_t>{128, 128, 256, 512}));
}

TEST(ChunkPool, a_used_up_class_is_used_again_soon_after_something_came_back) {
    ScratchPool scratch({{128, 2}, {256, 500}});
    shm::ChunkPool& pool = scratch.pool();
    shm::PoolCursor& cursor = scratch.cursor(0);
    ASSERT_NE(pool.allocate(0, 1, cursor), kNoChunk);
    ASSERT_NE(pool.allocate(0, 1, cursor), kNoChunk);
    ASSERT_EQ(pool.class_of(pool.allocate(0, 1, cursor)).chunk_bytes, 256U);
    pool.free_now(0);
    pool.free_now(1);
    std::uint32_t looks = 0;
    while (pool.class_of(pool.allocate(0, 1, cursor)).chunk_bytes != 128U) {
        ASSERT_LE(++looks, shm::kUsedUpRounds);
    }
}

// All came back but the one that the thread would look at first.
TEST(ChunkPool, a_used_up_class_is_used_again_where_its_next_chunk_is_kept) {
    ScratchPool scratch({{128, 64}, {256, 500}});
    shm::ChunkPool& pool = scratch.pool();
    shm::PoolCursor& cursor = scratch.cursor(0);
    for (int i = 0; i < 64; ++i) {
        ASSERT_EQ(pool.class_of(pool.allocate(0, 1, cursor)).chunk_bytes, 128U);
    }
    ASSERT_EQ(pool.class_of(pool.allocate(0, 1, cursor)).chunk_bytes, 256U);
    for (std::uint32_t chunk = 1; chunk < 64; ++chunk) {
        pool.free_now(chunk);
    }
    std::uint32_t looks = 0;
    while (pool.class_of(pool.allocate(0, 1, cursor)).chunk_bytes != 128U) {
        ASSERT_LE(++looks, shm::kUsedUpRounds);
    }
}

TEST(ChunkPool, what_a_thread_keeps_of_a_larger_class_is_used_before_it_gives_up) {
    ScratchPool scratch({{128, 1}, {256, 1}});
    shm::ChunkPool& pool = scratch.pool();
    shm::PoolCursor& cursor = scratch.cursor(0);
    const std::uint32_t large = pool.allocate(1, 1, cursor);
    pool.release(large, 1, cursor);
    ASSERT_NE(pool.allocate(0, 1, cursor), large);
    EXPECT_EQ(pool.allocate(0, 1, cursor), large);
}

TEST(ChunkPool, never_falls_back_to_a_smaller_class) {
    ScratchPool scratch({{128, 8}, {256, 1}});
    shm::ChunkPool& pool = scratch.pool();
    ASSERT_NE(pool.allocate(1, 1, scratch.cursor(0)), kNoChunk);
    EXPECT_EQ(pool.allocate(1, 1, scratch.cursor(0)), kNoChunk);
}

TEST(ChunkPool, a_free_chunk_is_found_though_every_hint_says_there_is_none) {
    ScratchPool scratch({{128, 300}});
    scratch.set_hints(0);
    std::set<std::uint32_t> taken;
    for (int i = 0; i < 300; ++i) {
        taken.insert(scratch.pool().allocate(0, 1, scratch.cursor(0)));
    }
    EXPECT_EQ(taken.size(), 300U);
    EXPECT_FALSE(taken.contains(kNoChunk));
}

TEST(ChunkPool, hints_that_promise_too_much_do_no_harm) {
    ScratchPool scratch({{128, 130}});
    for (int i = 0; i < 130; ++i) {
        ASSERT_NE(scratch.pool().allocate(0, 1, scratch.cursor(0)), kNoChunk);
    }
    scratch.set_hints(1);
    EXPECT_EQ(scratch.pool().allocate(0, 1, scratch.cursor(0)), kNoChunk);
}

TEST(ChunkPool, a_chunk_given_back_by_one_thread_is_found_by_another_in_a_full_pool) {
    ScratchPool scratch({{128, 200}});
    std::vector<std::uint32_t> taken;
    for (int i = 0; i < 200; ++i) {
        taken.push_back(scratch.pool().allocate(0, 1, scratch.cursor(0)));
    }
    ASSERT_EQ(scratch.pool().allocate(0, 1, scratch.cursor(1)), kNoChunk);
    scratch.pool().free_now(taken[133]);
    EXPECT_EQ(scratch.pool().allocate(0, 1, scratch.cursor(1)), taken[133]);
}

TEST(ChunkPool, free_now_keeps_the_generation) {
    ScratchPool scratch({{128, 1}});
    auto& word = scratch.pool().header(0)->word;
    word.store(shm::make_word(ChunkState::claimed, 3, 41), std::memory_order_relaxed);
    scratch.pool().free_now(0);
    EXPECT_EQ(word.load(std::memory_order_relaxed), shm::make_word(ChunkState::free, 0, 41));
}

TEST(ChunkPool, a_released_chunk_is_reused_last_in_first_out) {
    ScratchPool scratch({{128, 100}});
    const std::uint32_t first = scratch.pool().allocate(0, 1, scratch.cursor(0));
    const std::uint32_t second = scratch.pool().allocate(0, 1, scratch.cursor(0));
    scratch.pool().release(first, 1, scratch.cursor(0));
    scratch.pool().release(second, 1, scratch.cursor(0));
    EXPECT_EQ(scratch.pool().allocate(0, 1, scratch.cursor(0)), second);
    EXPECT_EQ(scratch.pool().allocate(0, 1, scratch.cursor(0)), first);
}

TEST(ChunkPool, at_most_four_chunks_of_a_class_are_kept_and_one_large_one) {
    ScratchPool scratch({{128, 10}, {8192, 4}});
    for (const std::uint32_t k : {0U, 1U}) {
        std::vector<std::uint32_t> taken;
        for (std::uint32_t i = 0; i < (k == 0 ? 10U : 4U); ++i) {
            taken.push_back(scratch.pool().allocate(k, 1, scratch.cursor(0)));
        }
        for (const std::uint32_t chunk : taken) {
            scratch.pool().release(chunk, 1, scratch.cursor(0));
        }
    }
    EXPECT_EQ(scratch.cursor(0).hot_count[0], shm::kHotChunks);
    EXPECT_EQ(scratch.cursor(0).hot_count[1], 1U);
    EXPECT_EQ(scratch.count(ChunkState::owned), shm::kHotChunks + 1);
}

TEST(ChunkPool, a_kept_chunk_is_owned_by_the_process_that_kept_it) {
    ScratchPool scratch({{128, 1}});
    auto& word = scratch.pool().header(0)->word;
    word.store(shm::make_word(ChunkState::claimed, 9, 5), std::memory_order_relaxed);
    scratch.pool().release(0, 9, scratch.cursor(0));
    EXPECT_EQ(word.load(std::memory_order_relaxed), shm::make_word(ChunkState::owned, 9, 5));
}

TEST(ChunkPool, flush_gives_everything_kept_back) {
    ScratchPool scratch({{128, 4}, {256, 4}});
    for (const std::uint32_t k : {0U, 0U, 1U}) {
        scratch.pool().release(
            scratch.pool().allocate(k, 1, scratch.cursor(0)), 1, scratch.cursor(0));
    }
    EXPECT_NE(scratch.count(ChunkState::owned), 0U);
    scratch.pool().flush(scratch.cursor(0));
    EXPECT_EQ(scratch.count(ChunkState::free), 8U);
    scratch.pool().flush(scratch.cursor(0));  // nothing left: nothing happens
    EXPECT_EQ(scratch.count(ChunkState::free), 8U);
}

TEST(ChunkPool, the_window_of_a_thread_wraps_at_the_end_of_the_class) {
    ScratchPool scratch({{128, shm::kWindowChunks + 10}});
    shm::PoolCursor& cursor = scratch.cursor(0);
    for (std::uint32_t i = 0; i < 3 * shm::kWindowChunks; ++i) {
        const std::uint32_t chunk = scratch.pool().allocate(0, 1, cursor);
        ASSERT_LT(chunk, shm::kWindowChunks + 10);
        scratch.pool().free_now(chunk);
    }
    EXPECT_EQ(scratch.count(ChunkState::free), shm::kWindowChunks + 10);
}

// Goal: a chunk has one owner at any time. Method: fewer chunks than the threads want, so that they
// fight for each; each owner writes its mark and finds it again. Under TSan it checks pair P1/P2.
TEST(ChunkPool, threads_never_own_one_chunk_together) {
    constexpr std::uint32_t kThreads = 4;
    constexpr int kRounds = 20'000;
    ScratchPool scratch({{128, 9}, {256, 2}});
    std::atomic<bool> shared{false};
    std::vector<std::thread> threads;
    for (std::uint32_t me = 1; me <= kThreads; ++me) {
        threads.emplace_back([&scratch, &shared, me] {
            shm::PoolCursor& cursor = scratch.cursor(me);
            for (int round = 0; round < kRounds; ++round) {
                std::uint32_t held[3];
                for (std::uint32_t& chunk : held) {
                    chunk = scratch.pool().allocate(0, me, cursor);
                    if (chunk != kNoChunk) {
                        std::memcpy(scratch.pool().message(chunk).data(), &me, sizeof me);
                    }
                }
                for (const std::uint32_t chunk : held) {
                    if (chunk == kNoChunk) {
                        continue;
                    }
                    std::uint32_t mark = 0;
                    std::memcpy(&mark, scratch.pool().message(chunk).data(), sizeof mark);
                    if (mark != me) {
                        shared.store(true, std::memory_order_relaxed);
                    }
                    scratch.pool().release(chunk, me, cursor);
                }
            }
            scratch.pool().flush(cursor);
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_FALSE(shared.load(std::memory_order_relaxed));
    EXPECT_EQ(scratch.count(ChunkState::free), 11U);
}

}  // namespace
}  // namespace telpher::test
