#include "runtime/origin/store_queue.hpp"

#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <set>

#include <fmt/format.h>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

/// Notes what it is asked for; calls that concern what `gates` names stay inside until it is opened.
class gated_store final : public segment_store {
public:
  std::mutex mutex;
  std::condition_variable moved;
  std::set<std::string> gates, inside;
  std::vector<std::string> done;

  expected<void> pass(std::string name) {
    std::unique_lock lock(mutex);
    inside.insert(name);
    moved.notify_all();
    moved.wait(lock, [&] { return !gates.contains(name) && !gates.contains("all"); });
    inside.erase(name);
    done.push_back(name);
    moved.notify_all();
    return {};
  }
  void close_gate(std::string name) {
    std::lock_guard lock(mutex);
    gates.insert(std::move(name));
  }
  void open_gate(const std::string& name) {
    std::lock_guard lock(mutex);
    gates.erase(name);
    moved.notify_all();
  }
  void wait_inside(std::size_t count) {
    std::unique_lock lock(mutex);
    ASSERT_TRUE(moved.wait_for(lock, 10s, [&] { return inside.size() == count; })) << inside.size();
  }
  std::vector<std::string> all_done() {
    std::lock_guard lock(mutex);
    return done;
  }

  expected<void> claim(std::uint64_t) override { return {}; }
  expected<std::uint64_t> claimed() const override { return 0; }
  expected<void> put(std::string_view stream, const hls::segment_place& p, std::span<const std::byte> bytes) override {
    return pass(fmt::format("put {} {} {}", stream, p.msn, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size())));
  }
  expected<open_segment> open(std::string_view, const hls::segment_place&) const override { return fail(error_code::not_found, ""); }
  expected<void> remove(std::string_view stream, const hls::segment_place& p) override { return pass(fmt::format("remove {} {}", stream, p.msn)); }
  expected<void> save_log(std::string_view stream, std::string_view json, bool) override { return pass(fmt::format("save {} {}", stream, json)); }
  expected<std::string> load_log(std::string_view) const override { return fail(error_code::not_found, ""); }
  expected<std::vector<std::string>> streams() const override { return std::vector<std::string>{}; }
  expected<void> remove_stream(std::string_view) override { return {}; }
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>&) override { return 0; }
  expected<store_usage> usage() const override { return store_usage{}; }
};

/// What was told, by name.
struct told {
  std::mutex mutex;
  std::condition_variable moved;
  std::map<std::string, std::vector<expected<void>>> heard;

  store_queue::done as(std::string name) {
    return [this, name](expected<void> result) {
      std::lock_guard lock(mutex);
      heard[name].push_back(std::move(result));
      moved.notify_all();
    };
  }
  bool wait(const std::string& name) {
    std::unique_lock lock(mutex);
    return moved.wait_for(lock, 10s, [&] { return heard.contains(name); });
  }
  std::optional<error_code> code(const std::string& name) {
    std::lock_guard lock(mutex);
    if (!heard.contains(name))
      return std::nullopt;
    auto& all = heard.at(name);
    EXPECT_EQ(all.size(), 1U) << name << " was told more than once";
    return all[0] ? error_code::none : all[0].error().code;
  }
};

std::shared_ptr<const std::string> bytes(std::string text) { return std::make_shared<const std::string>(std::move(text)); }
hls::segment_place place(std::uint64_t msn) { return {1, 1, "720p", msn}; }

struct StoreQueue : testing::Test {
  std::shared_ptr<gated_store> store = std::make_shared<gated_store>();
  told heard; // outlives the queue
  steady_time later() { return steady_clock::now() + 1min; }
};

TEST_F(StoreQueue, DoesWhatItIsToldAndSaysSo) {
  store_queue queue(store, 2);
  queue.put("show", place(1), bytes("a"), later(), heard.as("put"));
  queue.save_log("show", "{}", heard.as("save"));
  ASSERT_TRUE(heard.wait("put") && heard.wait("save"));
  EXPECT_EQ(heard.code("put"), error_code::none);
  EXPECT_EQ(heard.code("save"), error_code::none);
  EXPECT_EQ(queue.segments(), 0U);
  EXPECT_EQ(queue.bytes(), 0U);
}

TEST_F(StoreQueue, LogsDoNotWaitForSegmentsNorSegmentsForLogs) {
  store_queue queue(store, 1);
  store->close_gate("put show 1 a");
  queue.put("show", place(1), bytes("a"), later(), heard.as("put"));
  store->wait_inside(1);
  queue.save_log("show", "{1}", heard.as("save"));
  EXPECT_TRUE(heard.wait("save"));
  store->close_gate("save show {2}");
  queue.save_log("show", "{2}", heard.as("slow save"));
  store->wait_inside(2);
  store->open_gate("put show 1 a");
  EXPECT_TRUE(heard.wait("put"));
  queue.put("show", place(2), bytes("b"), later(), heard.as("other put"));
  EXPECT_TRUE(heard.wait("other put"));
  EXPECT_EQ(heard.code("slow save"), std::nullopt);
  store->open_gate("save show {2}");
}

TEST_F(StoreQueue, WhatConcernsOneSegmentIsDoneInOrderAndOneAtATime) {
  store_queue queue(store, 4);
  store->close_gate("put show 1 a");
  queue.put("show", place(1), bytes("a"), later(), heard.as("a"));
  store->wait_inside(1);
  queue.remove("show", place(1));
  queue.put("show", place(1), bytes("b"), later(), heard.as("b"));
  queue.put("show", place(2), bytes("c"), later(), heard.as("c"));
  ASSERT_TRUE(heard.wait("c")) << "another segment goes past";
  store->wait_inside(1);
  store->open_gate("put show 1 a");
  ASSERT_TRUE(heard.wait("b"));
  EXPECT_EQ(store->all_done(), (std::vector<std::string>{"put show 2 c", "put show 1 a", "remove show 1", "put show 1 b"}));
}

TEST_F(StoreQueue, ANewerLogReplacesOneThatWaits) {
  store_queue queue(store, 2);
  store->close_gate("save show {1}");
  queue.save_log("show", "{1}", heard.as("1"));
  store->wait_inside(1);
  queue.save_log("show", "{2}", heard.as("2"));
  queue.save_log("show", "{3}", heard.as("3"));
  queue.save_log("other", "{}", heard.as("other"));
  ASSERT_TRUE(heard.wait("other"));
  store->open_gate("save show {1}");
  ASSERT_TRUE(heard.wait("2") && heard.wait("3"));
  EXPECT_EQ(store->all_done(), (std::vector<std::string>{"save other {}", "save show {1}", "save show {3}"}));
}

TEST_F(StoreQueue, WhatIsTooLateIsNotWritten) {
  store_queue queue(store, 1);
  store->close_gate("put show 1 a");
  queue.put("show", place(1), bytes("a"), later(), heard.as("a"));
  store->wait_inside(1);
  queue.put("show", place(2), bytes("b"), steady_clock::now(), heard.as("b"));
  store->open_gate("put show 1 a");
  ASSERT_TRUE(heard.wait("b"));
  EXPECT_EQ(heard.code("b"), error_code::timeout);
  EXPECT_EQ(store->all_done(), std::vector<std::string>{"put show 1 a"});
}

TEST_F(StoreQueue, RefusesWhatItHasNoRoomForAndMakesRoomOfWhatIsTooLate) {
  store_queue queue(store, 1, {.segments = 3, .bytes = 100, .removals = 1});
  store->close_gate("all");
  queue.put("show", place(1), bytes(std::string(40, 'a')), later(), heard.as("1"));
  store->wait_inside(1);
  const auto due = steady_clock::now() + 50ms;
  queue.put("show", place(2), bytes(std::string(40, 'b')), due, heard.as("2"));
  queue.put("show", place(3), bytes(std::string(21, 'c')), later(), heard.as("3"));
  EXPECT_EQ(heard.code("3"), error_code::unavailable) << "bytes";
  queue.put("show", place(4), bytes("d"), later(), heard.as("4"));
  EXPECT_EQ(queue.segments(), 3U);
  while (steady_clock::now() < due)
    std::this_thread::yield();
  queue.put("show", place(5), bytes(std::string(59, 'e')), later(), heard.as("5"));
  EXPECT_EQ(heard.code("2"), error_code::timeout) << "its place goes to the next";
  EXPECT_EQ(heard.code("5"), std::nullopt);
  EXPECT_EQ(queue.bytes(), 100U);
  store->open_gate("all");
  EXPECT_TRUE(heard.wait("5"));
}

TEST_F(StoreQueue, ClosesInTimeOnADeadDiskAndTellsWhoWaited) {
  auto queue = std::make_unique<store_queue>(store, 1);
  store->close_gate("all");
  queue->put("show", place(1), bytes("a"), later(), heard.as("hangs"));
  queue->save_log("show", "{1}", heard.as("hangs too"));
  store->wait_inside(2);
  queue->put("show", place(2), bytes("b"), later(), heard.as("waits"));
  queue->save_log("other", "{2}", heard.as("waits too"));
  auto begun = steady_clock::now();
  queue->close(100ms);
  EXPECT_LT(steady_clock::now() - begun, 5s);
  EXPECT_EQ(heard.code("waits"), error_code::unavailable);
  EXPECT_EQ(heard.code("waits too"), error_code::unavailable);
  queue->put("show", place(3), bytes("c"), later(), heard.as("late"));
  EXPECT_EQ(heard.code("late"), error_code::unavailable);
  queue.reset();
  store->open_gate("all"); // the disk is back: the threads that were left behind end, and tell nobody
  {
    std::unique_lock lock(store->mutex);
    ASSERT_TRUE(store->moved.wait_for(lock, 10s, [&] { return store->done.size() == 2; }));
  }
  for (auto until = steady_clock::now() + 10s; store.use_count() > 1 && steady_clock::now() < until;)
    std::this_thread::yield();
  EXPECT_EQ(store.use_count(), 1) << "nobody holds the store any more";
  EXPECT_EQ(heard.code("hangs"), std::nullopt);
  EXPECT_EQ(heard.code("hangs too"), std::nullopt);
}

TEST_F(StoreQueue, LetsWhatHasBegunEndBeforeItCloses) {
  store_queue queue(store, 1);
  store->close_gate("put show 1 a");
  queue.put("show", place(1), bytes("a"), later(), heard.as("a"));
  store->wait_inside(1);
  queue.put("show", place(2), bytes("b"), later(), heard.as("b"));
  auto closing = std::async(std::launch::async, [&] { queue.close(1min); });
  ASSERT_TRUE(heard.wait("b")) << "it has begun to close";
  EXPECT_EQ(heard.code("b"), error_code::unavailable);
  EXPECT_EQ(heard.code("a"), std::nullopt);
  store->open_gate("put show 1 a");
  closing.get();
  EXPECT_EQ(heard.code("a"), error_code::none);
}

} // namespace
} // namespace weir::origin
