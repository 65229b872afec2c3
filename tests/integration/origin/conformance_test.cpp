// What the ORIGIN relies on, of every driver, with the faults that befall a store.
#include "runtime/hls/linter.hpp"
#include "runtime/hls/playlist.hpp"
#include "runtime/origin/intake.hpp"
#include "runtime/origin/store_queue.hpp"
#include "tests/integration/origin/store_world.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <mutex>
#include <thread>

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

rung_info make_rung(std::string name) { return {std::move(name), 1280, 720, 25'000, "avc1.64001f,mp4a.40.2", {3'000'000}}; }

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(const segment_store& store, const hls::segment_place& place) {
  auto segment = store.open("show", place);
  if (!segment)
    return std::string(to_string(segment.error().code));
  if (segment->bytes)
    return *segment->bytes;
  std::string text(segment->size, 0);
  EXPECT_EQ(::pread(segment->fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  return text;
}

class Conformance : public testing::TestWithParam<driver> {
public:
  std::unique_ptr<store_world> world = GetParam().make();
  std::shared_ptr<segment_store> claimed_store(std::uint64_t term) {
    auto store = world->open();
    auto claimed = store->claim(term);
    EXPECT_TRUE(claimed) << claimed.error().text;
    return store;
  }
};

TEST_P(Conformance, GivesBackWhatWasPut) {
  auto store = claimed_store(1);
  for (std::uint64_t msn = 0; msn < 20; ++msn)
    ASSERT_TRUE(store->put("show", {1, 2, "720p", msn}, bytes(fmt::format("segment {}", msn))));
  ASSERT_TRUE(store->put("show", {1, 2, "720p", 3}, bytes("again")));
  world->settle();
  auto other = world->open();
  EXPECT_EQ(text_of(*other, {1, 2, "720p", 7}), "segment 7") << "whoever opens it sees it";
  EXPECT_EQ(text_of(*store, {1, 2, "720p", 3}), "again");
  EXPECT_EQ(store->open("show", {1, 2, "720p", 20}).error().code, error_code::not_found);
  EXPECT_EQ(store->open("show", {1, 2, "360p", 7}).error().code, error_code::not_found);
  ASSERT_TRUE(store->remove("show", {1, 2, "720p", 7}));
  ASSERT_TRUE(store->remove("show", {1, 2, "720p", 7})) << "absent is fine";
  EXPECT_EQ(store->open("show", {1, 2, "720p", 7}).error().code, error_code::not_found);
}

TEST_P(Conformance, KeepsTheNewestLog) {
  auto store = claimed_store(1);
  EXPECT_EQ(store->load_log("show").error().code, error_code::not_found);
  for (int i = 0; i < 10; ++i)
    ASSERT_TRUE(store->save_log("show", fmt::format("{{{}}}", i), i % 2 == 0));
  ASSERT_TRUE(store->save_log("other", "{}"));
  auto later = claimed_store(2);
  EXPECT_EQ(later->load_log("show").value(), "{9}");
  auto streams = later->streams().value();
  std::sort(streams.begin(), streams.end());
  EXPECT_EQ(streams, (std::vector<std::string>{"other", "show"}));
  ASSERT_TRUE(later->remove_stream("other"));
  EXPECT_EQ(later->load_log("other").error().code, error_code::not_found);
}

TEST_P(Conformance, RefusesNamesThatMeanAnotherPlace) {
  auto store = claimed_store(1);
  for (auto name : {"..", "a/b", "", ".hidden", "a\n", "/etc"}) {
    EXPECT_EQ(store->put(name, {1, 1, "r", 1}, bytes("x")).error().code, error_code::invalid_input) << name;
    EXPECT_EQ(store->put("show", {1, 1, name, 1}, bytes("x")).error().code, error_code::invalid_input) << name;
    EXPECT_EQ(store->save_log(name, "{}").error().code, error_code::invalid_input) << name;
    EXPECT_EQ(store->remove_stream(name).error().code, error_code::invalid_input) << name;
  }
}

TEST_P(Conformance, RefusesAFormerClaim) {
  auto former = claimed_store(5);
  ASSERT_TRUE(former->put("show", {1, 1, "720p", 1}, bytes("a")));
  ASSERT_TRUE(former->save_log("show", "{1}"));
  auto owner = world->open();
  EXPECT_EQ(owner->claim(5).error().code, error_code::fenced);
  EXPECT_EQ(owner->claim(4).error().code, error_code::fenced);
  ASSERT_TRUE(owner->claim(6));
  ASSERT_TRUE(owner->claim(6));
  EXPECT_EQ(former->put("show", {1, 1, "720p", 2}, bytes("b")).error().code, error_code::fenced);
  EXPECT_EQ(former->put("show", {1, 1, "720p", 1}, bytes("b")).error().code, error_code::fenced);
  EXPECT_EQ(former->save_log("show", "{2}").error().code, error_code::fenced);
  EXPECT_EQ(former->remove("show", {1, 1, "720p", 1}).error().code, error_code::fenced);
  EXPECT_EQ(former->remove_stream("show").error().code, error_code::fenced);
  EXPECT_EQ(former->claim(5).error().code, error_code::fenced);
  EXPECT_EQ(text_of(*owner, {1, 1, "720p", 1}), "a");
  EXPECT_EQ(owner->load_log("show").value(), "{1}");
  EXPECT_GE(owner->claimed().value(), 6U);
}

TEST_P(Conformance, NoFormerWriteLandsAfterAClaim) {
  // A writer that never looks up while others claim: what the new owner then writes stays.
  auto former = claimed_store(1);
  std::atomic<bool> over = false;
  std::thread writes([&] {
    while (!over)
      if (auto done = former->save_log("show", "{former}"); !done) {
        EXPECT_EQ(done.error().code, error_code::fenced) << done.error().text;
        std::this_thread::sleep_for(1ms); // a handle that knows it already looks at nothing: let the others work
      }
  });
  for (std::uint64_t term = 2; term < 40; term += 2) {
    auto owner = claimed_store(term);
    EXPECT_TRUE(owner->save_log("show", fmt::format("{{{}}}", term)));
    EXPECT_EQ(owner->load_log("show").value(), fmt::format("{{{}}}", term));
    EXPECT_TRUE(former->claim(term + 1)); // it comes back in order
  }
  over = true;
  writes.join();
}

TEST_P(Conformance, SweepsWhatNoLogKnows) {
  auto store = claimed_store(1);
  hls::segment_place known{1, 1, "720p", 1};
  ASSERT_TRUE(store->put("show", known, bytes("a")));
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 2}, bytes("b")));
  ASSERT_TRUE(store->put("gone", {1, 1, "720p", 2}, bytes("b")));
  ASSERT_TRUE(store->save_log("show", "{}"));
  world->settle();
  auto halves = world->leave_halves();
  auto later = claimed_store(2);
  auto swept = later->sweep([&](std::string_view stream, const hls::segment_place& p) { return stream == "show" && p == known; });
  EXPECT_EQ(swept.value(), 2 + halves);
  EXPECT_EQ(text_of(*later, known), "a");
  EXPECT_EQ(later->open("show", {1, 1, "720p", 2}).error().code, error_code::not_found);
  EXPECT_EQ(later->load_log("show").value(), "{}");
  EXPECT_EQ(later->sweep([&](std::string_view, const hls::segment_place& p) { return p == known; }).value(), 0U);
  ASSERT_TRUE(later->put("show", {1, 1, "720p", 3}, bytes("c"))) << "its claim was no leftover";
  EXPECT_EQ(store->put("show", {1, 1, "720p", 3}, bytes("c")).error().code, error_code::fenced);
}

TEST_P(Conformance, SaysThatItIsFull) {
  auto store = claimed_store(1);
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 1}, bytes("a")));
  ASSERT_TRUE(store->save_log("show", "{1}"));
  if (!world->fill())
    GTEST_SKIP() << "no right to mount a small disk here";
  auto full = store->put("show", {1, 1, "720p", 2}, bytes(std::string(1 << 20, 'x')));
  ASSERT_FALSE(full);
  EXPECT_TRUE(is_full(full.error())) << full.error().text;
  EXPECT_EQ(store->open("show", {1, 1, "720p", 2}).error().code, error_code::not_found);
  EXPECT_FALSE(store->save_log("show", std::string(1 << 20, 'x')));
  EXPECT_EQ(store->load_log("show").value(), "{1}") << "the last one stays";
  EXPECT_EQ(text_of(*store, {1, 1, "720p", 1}), "a");
  world->mend();
  EXPECT_TRUE(store->put("show", {1, 1, "720p", 2}, bytes("b")));
  EXPECT_TRUE(store->save_log("show", "{2}"));
  EXPECT_EQ(store->sweep([](auto&&...) { return true; }).value(), 0U) << "nothing half is left";
}

TEST_P(Conformance, GoesOnWhileHalfOfItIsNotReached) {
  auto store = claimed_store(1);
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 1}, bytes("a")));
  if (!world->cut_half())
    GTEST_SKIP() << "it stands on one thing";
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 2}, bytes("b")));
  ASSERT_TRUE(store->save_log("show", "{2}"));
  EXPECT_EQ(text_of(*store, {1, 1, "720p", 1}), "a");
  EXPECT_EQ(text_of(*store, {1, 1, "720p", 2}), "b");
  auto owner = claimed_store(2);
  EXPECT_EQ(owner->load_log("show").value(), "{2}");
  ASSERT_TRUE(owner->save_log("show", "{3}"));
  world->mend();
  EXPECT_EQ(text_of(*owner, {1, 1, "720p", 2}), "b");
  EXPECT_EQ(owner->load_log("show").value(), "{3}");
}

TEST_P(Conformance, NeverShowsHalfASegment) {
  auto store = claimed_store(1);
  const std::string a(300'000, 'a'), b(300'000, 'b');
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 1}, bytes(a)));
  std::atomic<bool> over = false;
  std::thread reads([&] {
    auto reader = world->open();
    while (!over) {
      auto text = text_of(*reader, {1, 1, "720p", 1});
      EXPECT_TRUE(text == a || text == b) << text.size();
    }
  });
  for (int i = 0; i < 100; ++i)
    EXPECT_TRUE(store->put("show", {1, 1, "720p", 1}, bytes(i % 2 == 0 ? b : a)));
  over = true;
  reads.join();
}

/// An ORIGIN without its actor: the intake on this thread, the store behind a real queue.
class desk {
public:
  intake in;
  explicit desk(std::shared_ptr<segment_store> store, intake_options options = {}) : in(options), store_(std::move(store)) {
    in.use_edges(1);
    auto loaded = in.load(*store_, "the test", wall());
    EXPECT_TRUE(loaded) << loaded.error().text;
    queue_ = std::make_unique<store_queue>(store_, 4);
  }
  static timestamp wall() { return std::chrono::system_clock::now(); }
  void follow() {
    carry_out(in.take_orders(), *queue_, steady_clock::now(), [this](store_order::kind what, const std::string& stream, std::uint64_t ticket, expected<void> result) {
      std::lock_guard lock(mutex_);
      came_.push_back({what, stream, ticket, std::move(result)});
      moved_.notify_all();
    });
    in.take_news();
  }
  /// What an actor does: what has come, and a tick each 50 ms, until `done` or `until`.
  void run(steady_time until, const std::function<bool()>& done = [] { return false; }) {
    while (steady_clock::now() < until && !done()) {
      std::vector<came> news;
      {
        std::unique_lock lock(mutex_);
        moved_.wait_until(lock, std::min(until, next_tick_), [&] { return !came_.empty(); });
        news.swap(came_);
      }
      for (auto& n : news)
        if (n.what == store_order::kind::save_log)
          in.saved(n.stream, n.ticket, std::move(n.result), steady_clock::now());
        else
          in.stored(n.stream, n.ticket, std::move(n.result), steady_clock::now(), wall());
      if (steady_clock::now() >= next_tick_) {
        in.tick(steady_clock::now(), wall());
        next_tick_ = steady_clock::now() + 50ms;
      }
      follow();
    }
  }
  void offer(lease_epoch epoch, std::string rung, std::uint64_t slot, std::shared_ptr<const std::string> content, std::function<void(expected<void>)> answer) {
    segment_info info{.rung = std::move(rung), .slot = slot, .first_pts = static_cast<std::int64_t>(slot) * 180'000, .duration = 180'000, .independent = true,
                      .discontinuity = false, .captured = wall() - 2s, .bytes = content->size()};
    in.offer({"show", epoch, std::move(info), std::move(content), std::move(answer)}, steady_clock::now(), wall());
    follow();
  }

private:
  struct came {
    store_order::kind what;
    std::string stream;
    std::uint64_t ticket;
    expected<void> result;
  };
  std::shared_ptr<segment_store> store_;
  std::mutex mutex_;
  std::condition_variable moved_;
  std::vector<came> came_;
  steady_time next_tick_ = steady_clock::now();
  std::unique_ptr<store_queue> queue_; ///< last: it ends first, and tells into what is above
};

TEST_P(Conformance, ASlowStoreMakesGapsAndHoldsNobody) {
  constexpr auto td = 2s; // of hls_profile::brief
  desk origin(world->open());
  ASSERT_TRUE(origin.in.announce("show", 1, "pub", hls_profile::brief, {make_rung("720p"), make_rung("360p")}, false));
  hls::linter lint;
  auto content = std::make_shared<const std::string>(50'000, 'G');
  std::uint64_t slot = 10;
  std::size_t good = 0, late = 0, other = 0;
  std::chrono::milliseconds longest{0};
  auto next = steady_clock::now();
  auto step = [&] {
    for (auto rung : {"720p", "360p"})
      origin.offer(1, rung, slot, content, [&, begun = steady_clock::now()](expected<void> result) {
        longest = std::max(longest, std::chrono::duration_cast<std::chrono::milliseconds>(steady_clock::now() - begun));
        ++(result ? good : result.error().code == error_code::timeout ? late : other);
      });
    ++slot;
    next += td;
    origin.run(next);
    auto shown = origin.in.shown().find("show");
    if (shown == origin.in.shown().end())
      return;
    lint.multivariant("m", hls::multivariant(shown->second, {0, 1, false}).value_or(""));
    for (std::size_t rung = 0; rung < shown->second.rungs.size(); ++rung)
      lint.media(fmt::format("r{}", rung), hls::prepared_playlist(shown->second, rung).text(1, [](edge_epoch) { return std::string_view("http://edge"); }), desk::wall());
  };
  for (int i = 0; i < 4; ++i)
    step();
  EXPECT_EQ(good, 8U);
  ASSERT_TRUE(origin.in.shown().contains("show"));
  const auto listed = origin.in.shown().at("show").entries.back().msn;

  world->slow(3 * td);
  for (int i = 0; i < 4; ++i)
    step();
  origin.run(steady_clock::now() + td + 300ms, [&] { return good + late + other == 16; });
  EXPECT_GE(late, 6U);
  EXPECT_EQ(other, 0U);
  EXPECT_LE(longest, td + 300ms) << "an encoder waited";
  EXPECT_EQ(origin.in.counted().late, late);
  auto& during = origin.in.shown().at("show");
  EXPECT_GE(during.entries.back().msn, listed + 3) << "the list went on";
  EXPECT_TRUE(during.entries.back().gap(0) && during.entries.back().gap(1));

  world->mend();
  next = steady_clock::now();
  good = 0;
  for (int i = 0; i < 5; ++i)
    step();
  EXPECT_GE(good, 6U) << "what was stuck may cost the first of these";
  EXPECT_FALSE(origin.in.shown().at("show").entries.back().gap(0));
  EXPECT_FALSE(origin.in.shown().at("show").entries.back().gap(1));
  std::string found;
  for (auto& f : lint.findings())
    found += fmt::format("{} {}: {}\n", f.rule, f.url, f.text);
  EXPECT_EQ(found, "");
  EXPECT_EQ(origin.in.under_way(), 0U);
}

/// A child that is an origin and its writer, as fast as they can, and says through a pipe which slots were acknowledged; until it is killed.
[[noreturn]] void run_writer(store_world& world, int pipe) noexcept { // what throws must not go on with the parent's tests
  desk origin(world.open());
  auto known = origin.in.logs().find("show");
  const auto epoch = known == origin.in.logs().end() ? 1 : known->second.epoch() + 1;
  if (!origin.in.announce("show", epoch, "pub", hls_profile::brief, {make_rung("720p")}, false))
    ::_exit(1);
  auto content = std::make_shared<const std::string>(4'000, 'G'); // small: all of them stay for a window, on a small disk
  for (std::uint64_t slot = known == origin.in.logs().end() ? 10 : known->second.next_msn() + 10;; ++slot) {
    std::optional<expected<void>> answer;
    origin.offer(epoch, "720p", slot, content, [&](expected<void> result) { answer = std::move(result); });
    origin.run(steady_clock::now() + 10s, [&] { return answer.has_value(); });
    if (!answer)
      ::_exit(2);
    if (!*answer && answer->error().code == error_code::timeout) // a gap: this machine has other work
      continue;
    if (!*answer)
      ::_exit(4);
    std::uint64_t said[2] = {epoch, slot};
    if (::write(pipe, said, sizeof said) != sizeof said)
      ::_exit(3);
  }
}

TEST_P(Conformance, WhatWasAcknowledgedSurvivesAKillAtAnyMoment) {
  std::uint64_t acknowledged = 0;
  std::uint64_t next_msn = 0;
  for (int round = 0; round < 20; ++round) {
    int ends[2];
    world->stand_apart();
    ASSERT_EQ(::pipe(ends), 0);
    ASSERT_TRUE(comes_alone());
    auto child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      run_writer(*world, ends[1]);
    }
    ::close(ends[1]);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> said;
    auto hear = [&] {
      std::uint64_t one[2];
      if (::read(ends[0], one, sizeof one) != sizeof one)
        return false;
      said.emplace_back(one[0], one[1]);
      return true;
    };
    for (int words = round % 4 == 0 ? 0 : 2 + round % 8; words > 0; --words) { // every fourth one dies while it starts, or soon after
      pollfd next{ends[0], POLLIN, 0};
      ASSERT_EQ(::poll(&next, 1, 60'000), 1);
      ASSERT_TRUE(hear());
    }
    ::usleep(static_cast<useconds_t>(2'000 + round * 3'700)); // the moment of death is the test's input
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
    while (hear()) {
    }
    ::close(ends[0]);
    acknowledged += said.size();

    auto store = world->open();
    desk after(store); // claims, loads and sweeps, as a start does
    auto log = after.in.logs().find("show");
    if (log == after.in.logs().end()) {
      EXPECT_TRUE(said.empty());
      continue;
    }
    EXPECT_GE(log->second.next_msn(), next_msn);
    next_msn = log->second.next_msn();
    auto snapshot = log->second.snapshot();
    for (auto& e : snapshot.entries)
      if (!e.gap(0)) {
        EXPECT_EQ(text_of(*store, {snapshot.instance, e.epoch, "720p", e.msn}), std::string(4'000, 'G')) << "listed, so it is there, and whole";
      }
    // A writer's segments have numbers without holes: of so many that were acknowledged, so many are known.
    std::size_t known = 0;
    if (!said.empty())
      for (std::uint64_t msn = 0; msn < next_msn + 2; ++msn)
        known += log->second.knows({log->second.instance(), said.back().first, "720p", msn});
    EXPECT_GE(known, said.size()) << "round " << round;
  }
  EXPECT_GT(acknowledged, 50U);
}

INSTANTIATE_TEST_SUITE_P(Drivers, Conformance, testing::Values(driver{"fs", make_fs_world}, driver{"replicated", make_replicated_world}, driver{"s3", make_s3_world}),
                         [](auto& with) { return with.param.name; });

} // namespace
} // namespace weir::origin
