// Every bad input is an error that names field, limit and value; nothing happens, nothing is
// thrown.

#include "tests/unit/support/scratch_domain.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <vector>

namespace telpher::test {
namespace {

using namespace std::chrono_literals;

class QueueInput : public testing::Test {
  protected:
    template <typename R>
    static void expect_error(const R& result, Status status, std::vector<std::string> parts) {
        EXPECT_EQ(to_string(result.status()), to_string(status)) << result.error().detail;
        for (const std::string& part : parts) {
            EXPECT_NE(result.error().detail.find(part), std::string::npos)
                << "no '" << part << "' in: " << result.error().detail;
        }
    }
    ScratchDomain domain_;
    Server server_ = domain_.open();
    Queue queue_ = server_.create_queue("q", {.capacity = 4}).value();
};

TEST_F(QueueInput, names_of_queues_have_1_to_100_bytes_of_a_set) {
    const auto every_call = [this](const std::string& name, std::vector<std::string> parts) {
        expect_error(server_.create_queue(name), Status::bad_request, parts);
        expect_error(server_.queue(name), Status::bad_request, parts);
        expect_error(server_.exists(name), Status::bad_request, parts);
        expect_error(server_.remove_queue(name), Status::bad_request, parts);
    };
    every_call("", {"queue name", "0", "100"});
    every_call(std::string(101, 'n'), {"queue name", "101", "100"});
    every_call("with blank", {"queue name", "4"});
    every_call("new\nline", {"queue name", "3"});
    every_call(std::string("nul\0", 4), {"queue name", "3"});
    every_call("\xC3\xA4", {"queue name", "0"});
    EXPECT_TRUE(server_.create_queue(std::string(100, 'n')));
    EXPECT_TRUE(server_.create_queue("A-z_0/9.q"));
}

TEST_F(QueueInput, capacities_have_a_range) {
    expect_error(server_.create_queue("c", {.capacity = 0}),
                 Status::bad_request,
                 {"capacity is 0", "1..16777215"});
    expect_error(server_.create_queue("c", {.capacity = 1U << 24U}),
                 Status::bad_request,
                 {"capacity is 16777216"});
    expect_error(server_.create_queue("c", {.capacity = ~0U}), Status::bad_request, {"4294967295"});
    expect_error(server_.create_queue("c", {.capacity = (1U << 24U) - 1}),
                 Status::limit_reached,
                 {"capacity 16777215", "limits.ring_bytes"});
    EXPECT_FALSE(server_.exists("c").value());
}

TEST_F(QueueInput, the_limit_of_destinations_is_named) {
    for (int i = 1; i < 8; ++i) {
        ASSERT_TRUE(server_.create_queue("more" + std::to_string(i), {.capacity = 1}));
    }
    expect_error(server_.create_queue("one-too-many", {.capacity = 1}),
                 Status::limit_reached,
                 {"limits.destinations is 8"});
}

TEST_F(QueueInput, negative_timeouts_are_named_with_their_value) {
    expect_error(
        queue_.offer(Message::text("t", "x"), -1ns), Status::bad_request, {"timeout is -1 ns"});
    expect_error(queue_.poll(-5s), Status::bad_request, {"timeout is -5000000000 ns"});
    expect_error(queue_.loan("t", 1, -1ms), Status::bad_request, {"timeout is -1000000 ns"});
    EXPECT_EQ(queue_.poll_as<int>(-1ns).status(), Status::bad_request);
    EXPECT_EQ(queue_.status()->offered, 0U);
}

TEST_F(QueueInput, negative_waits_are_refused) {
    expect_error(server_.queue("q", {.wait = -1ns}), Status::bad_request, {"wait"});
    expect_error(connect(domain_.uri(), {.wait = -1ns}), Status::bad_request, {"wait"});
    expect_error(Server::open(domain_.name(), {.wait = -1ns}), Status::bad_request, {"wait"});
}

TEST_F(QueueInput, a_message_without_a_topic_is_refused) {
    expect_error(queue_.offer(Message{}), Status::bad_request, {"topic"});
    expect_error(queue_.offer(Message::text("", "x")), Status::bad_request, {"topic"});
    expect_error(queue_.loan("", 8), Status::bad_request, {"topic", "0"});
}

TEST_F(QueueInput, the_first_violation_of_a_message_is_told_when_it_is_offered) {
    expect_error(queue_.offer(Message::text(std::string(101, 't'), "x")),
                 Status::bad_request,
                 {"topic", "100", "101"});
    expect_error(queue_.offer(Message::text("t", "x").with_request_id(std::string(256, 'i'))),
                 Status::bad_request,
                 {"255", "256"});
    expect_error(
        queue_.offer(Message::text("t", "x").expires_in(-1ms)), Status::bad_request, {"-1"});
    expect_error(queue_.offer(Message::json("t", "{")), Status::bad_request, {});
    expect_error(queue_.offer(Message::text("bad topic", "x")), Status::bad_request, {"topic"});
    EXPECT_EQ(queue_.status()->offered, 0U);
}

TEST_F(QueueInput, a_message_larger_than_the_largest_chunk_is_too_large_and_says_the_limit) {
    expect_error(queue_.offer(Message::text("t", std::string(1U << 20U, 'x'))),
                 Status::message_too_large,
                 {"65520", "104"});
    expect_error(queue_.loan("t", 1U << 20U), Status::message_too_large, {"65520"});
}

TEST_F(QueueInput, the_limit_of_the_domain_holds_where_it_is_smaller) {
    const ScratchDomain small;
    DomainLimits limits = small_limits();
    limits.message_bytes = 2048;
    Server server = small.open({.limits = limits});
    Queue queue = server.create_queue("q").value();
    expect_error(queue.offer(Message::text("t", std::string(2048, 'x'))),
                 Status::message_too_large,
                 {"limits.message_bytes is 2048"});
    EXPECT_TRUE(queue.offer(Message::text("t", std::string(1900, 'x'))));
}

TEST_F(QueueInput, names_of_domains_have_1_to_100_bytes_of_a_set) {
    const auto both = [](const std::string& name, std::vector<std::string> parts) {
        expect_error(Server::open(name), Status::bad_request, parts);
        expect_error(connect("shm:" + name), Status::bad_request, parts);
        expect_error(remove_domain(name, true), Status::bad_request, parts);
    };
    both("", {"domain name", "0", "1..100"});
    both(std::string(101, 'd'), {"domain name", "101", "1..100"});
    both("a/b", {"domain name", "position 1"});
    both("../etc", {"domain name", "position 2"});
    both("a b", {"domain name", "position 1"});
    both(std::string("a\0b", 3), {"domain name", "position 1"});
}

TEST_F(QueueInput, addresses_must_have_a_known_scheme) {
    for (const char* uri : {"", "cafe", "SHM:cafe", "http://cafe", ":cafe", "shm"}) {
        expect_error(connect(uri), Status::bad_request, {"no address", "shm:NAME"});
    }
}

TEST_F(QueueInput, every_limit_of_a_domain_has_a_range) {
    const auto refused = [](auto change, std::vector<std::string> parts) {
        const ScratchDomain domain;
        DomainLimits limits = small_limits();
        change(limits);
        expect_error(Server::open(domain.name(), {.limits = limits}), Status::bad_request, parts);
        EXPECT_TRUE(files_of(domain.name()).empty());
    };
    refused([](DomainLimits& l) { l.processes = 0; }, {"limits.processes is 0", "1..1024"});
    refused([](DomainLimits& l) { l.processes = 1025; }, {"limits.processes is 1025"});
    refused([](DomainLimits& l) { l.threads = 0; }, {"limits.threads is 0", "1..4096"});
    refused([](DomainLimits& l) { l.threads = 4097; }, {"limits.threads is 4097"});
    refused([](DomainLimits& l) { l.destinations = 0; }, {"limits.destinations is 0"});
    refused([](DomainLimits& l) { l.destinations = 4097; }, {"limits.destinations is 4097"});
    refused([](DomainLimits& l) { l.message_bytes = 2047; }, {"limits.message_bytes is 2047"});
    refused([](DomainLimits& l) { l.message_bytes = (250U << 20U) + 1; }, {"limits.message_bytes"});
    refused([](DomainLimits& l) { l.ring_bytes = 65'535; },
            {"limits.ring_bytes is 65535", "65536.."});
    refused([](DomainLimits& l) { l.ring_bytes = ~std::size_t{0}; }, {"limits.ring_bytes"});
    refused([](DomainLimits& l) { l.pool_bytes = (1U << 20U) - 1; },
            {"limits.pool_bytes is 1048575"});
    refused([](DomainLimits& l) { l.pool_bytes = ~std::size_t{0}; }, {"limits.pool_bytes"});
    refused([](DomainLimits& l) { l.pool_bytes = std::size_t{1} << 40U; }, {"limits.pool_bytes"});
}

TEST_F(QueueInput, other_file_modes_are_refused) {
    for (const std::uint32_t mode : {0U, 0400U, 0644U, 0666U, 0700U, 0777U, 01600U}) {
        const ScratchDomain domain;
        expect_error(Server::open(domain.name(), {.limits = small_limits(), .file_mode = mode}),
                     Status::bad_request,
                     {"file_mode", "0600 or 0660"});
        EXPECT_TRUE(files_of(domain.name()).empty());
    }
}

}  // namespace
}  // namespace telpher::test
