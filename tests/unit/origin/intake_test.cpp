// The ORIGIN's decisions, with a store whose calls end when, in which order, and how a test says.
#include "runtime/hls/linter.hpp"
#include "runtime/hls/playlist.hpp"
#include "runtime/origin/intake.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <set>

#include <fmt/format.h>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

using kind = store_order::kind;
constexpr auto td = 2s; // of hls_profile::brief
const timestamp start_time = parse_rfc3339("2026-11-22T12:00:00Z").value();

rung_info make_rung(std::string name) { return {std::move(name), 320, 180, 25'000, "avc1.42c01e,mp4a.40.2", {400'000}}; }

/// What a segment holds names it: whoever reads it at a place can tell whether it belongs there.
std::string content(lease_epoch epoch, std::string_view rung, std::uint64_t slot) { return fmt::format("{:04}/{}/{:06}", epoch, rung, slot); }

/// What outlives whoever opens it.
struct memory_disk {
  std::vector<std::tuple<std::string, hls::segment_place, std::string>> segments; ///< stream, where, what
  std::map<std::string, std::string> logs;
  std::uint64_t term = 0;
  const void* holder = nullptr;
};

class memory_store final : public segment_store {
public:
  explicit memory_store(std::shared_ptr<memory_disk> disk) : disk_(std::move(disk)) {}
  expected<void> claim(std::uint64_t term) override {
    if (term <= disk_->term)
      return fail(error_code::fenced, "claimed");
    disk_->term = term;
    disk_->holder = this;
    return {};
  }
  expected<std::uint64_t> claimed() const override { return disk_->term; }
  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override {
    auto done = remove(stream, place);
    WEIR_TRY(done);
    disk_->segments.emplace_back(stream, place, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
    return {};
  }
  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override {
    for (auto& [of, where, what] : disk_->segments)
      if (of == stream && where == place)
        return open_segment{.fd = {}, .size = what.size(), .bytes = std::make_shared<const std::string>(what)};
    return fail(error_code::not_found, fmt::format("{}/{}/{}/{}", place.instance, place.epoch, place.rung, place.msn));
  }
  expected<void> remove(std::string_view stream, const hls::segment_place& place) override {
    WEIR_TRY(mine());
    std::erase_if(disk_->segments, [&](auto& s) { return std::get<0>(s) == stream && std::get<1>(s) == place; });
    return {};
  }
  expected<void> save_log(std::string_view stream, std::string_view json, bool) override {
    WEIR_TRY(mine());
    disk_->logs[std::string(stream)] = json;
    return {};
  }
  expected<std::string> load_log(std::string_view stream) const override {
    auto known = disk_->logs.find(std::string(stream));
    return known == disk_->logs.end() ? expected<std::string>(fail(error_code::not_found, std::string(stream))) : known->second;
  }
  expected<std::vector<std::string>> streams() const override {
    std::vector<std::string> names;
    for (auto& [name, log] : disk_->logs)
      names.push_back(name);
    return names;
  }
  expected<void> remove_stream(std::string_view stream) override {
    WEIR_TRY(mine());
    disk_->logs.erase(std::string(stream));
    return {};
  }
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override {
    WEIR_TRY(mine());
    return std::erase_if(disk_->segments, [&](auto& s) { return !known(std::get<0>(s), std::get<1>(s)); });
  }
  expected<store_usage> usage() const override { return store_usage{}; }

private:
  expected<void> mine() const { return disk_->holder == this ? expected<void>() : fail(error_code::fenced, "another origin has claimed this store"); }
  std::shared_ptr<memory_disk> disk_;
};

struct held_answer {
  std::optional<expected<void>> heard;
  int times = 0;
};

/// An intake and the store behind it. Orders wait in `open` until do_next() or do_all().
struct house {
  std::shared_ptr<memory_disk> disk = std::make_shared<memory_disk>();
  std::shared_ptr<segment_store> store;
  std::unique_ptr<intake> in;
  timestamp wall = start_time;
  steady_time now{1000s};
  std::vector<store_order> open;
  std::vector<shown_news> news;
  std::map<std::string, error> refuse; ///< by "put" and "save_log": how the next ones go

  house() { EXPECT_TRUE(restart()); }

  /// As after kill -9: what was not done is never done.
  expected<void> restart(intake_options options = {}) {
    open.clear();
    store = std::make_shared<memory_store>(disk);
    if (options.shared) {
      EXPECT_TRUE(store->claim(disk->term + 1));
    }
    in = std::make_unique<intake>(options);
    in->use_edges(1);
    return in->load(*store, "memory", wall);
  }
  expected<void> announce(lease_epoch epoch, std::string stream = "conf", std::string publication = "pub", std::vector<rung_info> rungs = {make_rung("180p")}) {
    return in->announce(stream, epoch, publication, hls_profile::brief, std::move(rungs), false);
  }
  std::shared_ptr<held_answer> offer(lease_epoch epoch, std::uint64_t slot, std::string rung = "180p") {
    auto answer = std::make_shared<held_answer>();
    auto bytes = std::make_shared<const std::string>(content(epoch, rung, slot));
    segment_info info{.rung = rung, .slot = slot, .first_pts = static_cast<std::int64_t>(slot) * 180'000, .duration = 180'000, .independent = true, .discontinuity = false,
                      .captured = wall - td, .bytes = bytes->size()};
    in->offer({.stream = "conf", .writer_epoch = epoch, .info = info, .bytes = bytes, .answer = [answer](expected<void> result) {
                 answer->heard = std::move(result);
                 ++answer->times;
               }}, now, wall);
    collect();
    return answer;
  }
  void collect() {
    for (auto& order : in->take_orders())
      open.push_back(std::move(order));
    for (auto& n : in->take_news())
      news.push_back(std::move(n));
  }
  /// Does the nth open order. What concerns one segment or one log is in order, as the queue does it.
  void do_next(std::size_t n = 0) {
    auto of_same = [](const store_order& a, const store_order& b) {
      return a.stream == b.stream && (a.what == kind::save_log) == (b.what == kind::save_log) && (a.what == kind::save_log || a.place == b.place);
    };
    auto at = std::find_if(open.begin(), open.end(), [&](auto& o) { return of_same(o, open.at(n)); });
    auto order = std::move(*at);
    open.erase(at);
    if (order.what == kind::remove) {
      EXPECT_TRUE(store->remove(order.stream, order.place));
    } else if (order.what == kind::put) {
      auto result = refuse.contains("put") ? expected<void>(fail(refuse.at("put"))) : store->put(order.stream, order.place, std::as_bytes(std::span(*order.bytes)));
      in->stored(order.stream, order.ticket, std::move(result), now, wall);
    } else {
      auto result = refuse.contains("save_log") ? expected<void>(fail(refuse.at("save_log"))) : store->save_log(order.stream, order.json);
      in->saved(order.stream, order.ticket, std::move(result), now);
    }
    collect();
  }
  void do_all() {
    while (!open.empty())
      do_next();
  }
  void pass(std::chrono::milliseconds time) {
    for (auto end = now + time; now < end;) {
      auto step = std::min<std::chrono::milliseconds>(250ms, std::chrono::duration_cast<std::chrono::milliseconds>(end - now));
      now += step;
      wall += step;
      in->tick(now, wall);
      collect();
    }
  }
  /// One segment in time, stored and saved at once.
  expected<void> put(lease_epoch epoch, std::uint64_t slot) {
    now += td;
    wall += td;
    auto answer = offer(epoch, slot);
    do_all();
    EXPECT_EQ(answer->times, 1);
    return answer->heard.value_or(fail(error_code::internal, "nobody answered"));
  }
  const hls::segment_log& log() const { return in->logs().at("conf"); }
  hls::stream_log shown() const { return in->shown().contains("conf") ? in->shown().at("conf") : hls::stream_log{}; }
};

struct Intake : testing::Test, house {};

std::optional<error_code> code_of(const std::shared_ptr<held_answer>& a) {
  if (!a->heard)
    return std::nullopt;
  return a->heard->has_value() ? error_code::none : a->heard->error().code;
}

TEST_F(Intake, ListsSegmentsAfterThreeAndCountsThem) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot)) << slot;
  EXPECT_EQ(in->counted().written, 4U);
  EXPECT_EQ(shown().entries.size(), 4U);
  std::size_t listed = 0;
  for (auto& n : news)
    listed += n.listed;
  EXPECT_EQ(listed, 4U);
}

TEST_F(Intake, AWriterHearsThatItsSegmentIsInOnlyWhenItsLogIsSaved) {
  ASSERT_TRUE(announce(65536));
  auto a = offer(65536, 10);
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].what, kind::put);
  do_next();
  ASSERT_EQ(open.size(), 1U);
  EXPECT_EQ(open[0].what, kind::save_log);
  EXPECT_EQ(a->times, 0) << "a kill now would lose it";
  auto again = offer(65536, 10); // the writer tries again
  EXPECT_EQ(again->times, 0);
  do_next();
  EXPECT_EQ(code_of(a), error_code::none);
  EXPECT_EQ(code_of(again), error_code::none);
  EXPECT_EQ(in->counted().written, 1U);
}

TEST_F(Intake, WhatIsNotSavedIsNotShown) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 13; ++slot)
    ASSERT_TRUE(put(65536, slot));
  ASSERT_EQ(shown().entries.size(), 3U);
  pass(td);
  auto a = offer(65536, 13);
  do_next();
  EXPECT_EQ(log().snapshot().entries.size(), 4U);
  EXPECT_EQ(shown().entries.size(), 3U);
  do_all();
  EXPECT_EQ(shown().entries.size(), 4U);
  EXPECT_EQ(code_of(a), error_code::none);
}

// --- maps ---------------------------------------------------------------------------------------------------------------------------------------
std::shared_ptr<const std::string> make_map(std::string_view inside) {
  auto box = [](std::string_view type, std::string_view body) { return std::string{0, 0, 0, static_cast<char>(8 + body.size())} + std::string(type) + std::string(body); };
  return std::make_shared<const std::string>(box("ftyp", "iso5") + box("moov", inside));
}

expected<void> announce_mp4(house& h, lease_epoch epoch, std::string_view inside, std::vector<rung_info> rungs = {make_rung("180p")}) {
  std::vector<std::shared_ptr<const std::string>> maps;
  for (auto& r : rungs)
    maps.push_back(make_map(r.name + std::string(inside)));
  return h.in->announce("conf", epoch, "pub", hls_profile::brief, std::move(rungs), false, std::move(maps));
}

std::size_t count_maps(const house& h) {
  return static_cast<std::size_t>(std::count_if(h.disk->segments.begin(), h.disk->segments.end(), [](auto& s) { return std::get<1>(s).kind == hls::segment_kind::map; }));
}

TEST_F(Intake, MapsAreStoredBeforeTheFirstSegmentThatNeedsThem) {
  ASSERT_TRUE(announce_mp4(*this, 65536, "a", {make_rung("180p"), make_rung("90p")}));
  auto first = offer(65536, 10), second = offer(65536, 10, "90p");
  ASSERT_EQ(open.size(), 2U);
  for (auto& o : open)
    EXPECT_EQ(o.place.kind, hls::segment_kind::map);
  EXPECT_EQ(open[0].place, (hls::segment_place{1, 65536, "180p", 0, hls::segment_kind::map}));
  do_next();
  EXPECT_EQ(std::count_if(open.begin(), open.end(), [](auto& o) { return o.place.kind == hls::segment_kind::fmp4; }), 0) << "the other rung's is missing still";
  do_all();
  EXPECT_EQ(code_of(first), error_code::none);
  EXPECT_EQ(code_of(second), error_code::none);
  EXPECT_EQ(count_maps(*this), 2U);
  for (std::uint64_t slot = 11; slot < 14; ++slot) {
    pass(td);
    offer(65536, slot);
    offer(65536, slot, "90p");
    do_all();
  }
  EXPECT_EQ(count_maps(*this), 2U);
  EXPECT_EQ(shown().entries.back().map, 65536U);
  ASSERT_TRUE(announce_mp4(*this, 131072, "a", {make_rung("180p"), make_rung("90p")}));
  pass(td);
  offer(131072, 14);
  offer(131072, 14, "90p");
  do_all();
  EXPECT_EQ(count_maps(*this), 2U) << "the next one makes the same";
  EXPECT_EQ(shown().entries.back().epoch, 131072U);
  EXPECT_EQ(shown().entries.back().map, 65536U);
}

TEST_F(Intake, AMapThatCannotBeStoredMakesTheWriterTryAgain) {
  ASSERT_TRUE(announce_mp4(*this, 65536, "a"));
  refuse["put"] = {error_code::io_failed, "broken"};
  auto first = offer(65536, 10);
  do_all();
  EXPECT_EQ(code_of(first), error_code::unavailable);
  refuse.clear();
  auto again = offer(65536, 10);
  EXPECT_TRUE(open.empty()) << "a store that refuses is not asked again at once";
  EXPECT_EQ(code_of(again), std::nullopt);
  pass(500ms);
  do_all();
  EXPECT_EQ(code_of(again), error_code::none);
  EXPECT_EQ(count_maps(*this), 1U);
}

TEST_F(Intake, BringsAMapAgainThatTheStoreHasLost) {
  ASSERT_TRUE(announce_mp4(*this, 65536, "a"));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  std::erase_if(disk->segments, [](auto& s) { return std::get<1>(s).kind == hls::segment_kind::map; });
  ASSERT_TRUE(restart());
  ASSERT_TRUE(announce_mp4(*this, 131072, "a")); // the same bytes: they belong where the playlist names them
  ASSERT_TRUE(put(131072, 14));
  const auto in_force = shown().entries.back().map;
  EXPECT_EQ(in_force, 65536U);
  auto again = store->open("conf", {1, in_force, "180p", 0, hls::segment_kind::map});
  ASSERT_TRUE(again) << again.error().text;
  EXPECT_EQ(*again->bytes, *make_map("180pa"));
  auto next = offer(131072, 15);
  for (auto& order : open)
    EXPECT_NE(order.place.kind, hls::segment_kind::map) << "once is enough";
  do_all();
  EXPECT_EQ(code_of(next), error_code::none);
}

TEST_F(Intake, AfterARestartAWriterWhoseMapsAreNotStoredAnnouncesItselfAgain) {
  ASSERT_TRUE(announce_mp4(*this, 65536, "a"));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  ASSERT_TRUE(restart());
  EXPECT_EQ(count_maps(*this), 1U) << "the sweep leaves it";
  ASSERT_TRUE(put(65536, 14)) << "stored: it goes on";
  ASSERT_TRUE(announce_mp4(*this, 131072, "b"));
  ASSERT_TRUE(put(65536, 15)); // the log that is saved knows the next writer
  ASSERT_TRUE(restart());
  EXPECT_EQ(code_of(offer(131072, 16)), error_code::not_found);
  ASSERT_TRUE(announce_mp4(*this, 131072, "b"));
  auto good = offer(131072, 16);
  do_all();
  EXPECT_EQ(code_of(good), error_code::none);
  EXPECT_EQ(count_maps(*this), 2U);
}

TEST_F(Intake, TakesOnlyMapsThatAreMaps) {
  auto announced_with = [&](std::string map) {
    auto done = in->announce("conf", 65536, "pub", hls_profile::brief, {make_rung("180p")}, false, {std::make_shared<const std::string>(std::move(map))});
    return done ? error_code::none : done.error().code;
  };
  auto good = *make_map("x");
  for (auto bad : {std::string{}, std::string("ftyp"), good.substr(1), good.substr(0, good.size() - 1), good + "x", good + *make_map("x"), std::string(100'000, 'x'), good.substr(12)})
    EXPECT_EQ(announced_with(bad), error_code::invalid_input) << bad.size();
  EXPECT_EQ(announced_with(good), error_code::none);
  EXPECT_EQ(in->announce("conf", 65537, "pub", hls_profile::brief, {make_rung("180p"), make_rung("90p")}, false, {make_map("x")}).error().code, error_code::invalid_input);
}

TEST_F(Intake, ASegmentWaitsForALateOneThatMayStillComeToItsPlace) {
  ASSERT_TRUE(announce(65536));
  auto late = offer(65536, 10); // the stream's first: until one is in, the next has the same number
  pass(td);
  EXPECT_EQ(code_of(late), error_code::timeout);
  auto next = offer(65536, 11);
  ASSERT_EQ(open.size(), 1U) << "the store has the late one still";
  do_next();
  refuse["put"] = {error_code::io_failed, "broken"};
  do_all();
  EXPECT_EQ(code_of(next), error_code::io_failed);
  EXPECT_TRUE(disk->segments.empty()) << "what was late is removed";
  refuse.clear();
  auto good = offer(65536, 12);
  do_all();
  EXPECT_EQ(code_of(good), error_code::none);
  EXPECT_EQ(disk->segments.size(), 1U);
}

TEST_F(Intake, ASegmentThatIsNotStoredInTimeBecomesAGapAndHoldsNobody) {
  ASSERT_TRUE(announce(65536, "conf", "pub", {make_rung("180p"), make_rung("90p")}));
  ASSERT_TRUE(announce(65536, "other"));
  for (std::uint64_t slot = 10; slot < 14; ++slot) {
    pass(td);
    offer(65536, slot);
    offer(65536, slot, "90p");
    do_all();
  }
  ASSERT_EQ(shown().entries.size(), 4U);
  pass(td);
  auto hangs = offer(65536, 14);
  auto good = offer(65536, 14, "90p");
  ASSERT_EQ(open.size(), 2U);
  auto stuck = std::move(open[0]); // the store has it, and does not come back
  open.erase(open.begin());
  do_all();
  EXPECT_EQ(code_of(good), error_code::none);
  pass(td - 250ms);
  EXPECT_EQ(hangs->times, 0);
  pass(250ms);
  EXPECT_EQ(code_of(hangs), error_code::timeout);
  do_all();
  EXPECT_EQ(in->counted().late, 1U);
  ASSERT_EQ(shown().entries.size(), 5U);
  EXPECT_TRUE(shown().entries.back().gap(0));
  EXPECT_FALSE(shown().entries.back().gap(1));
  EXPECT_EQ(in->under_way(), 0U);
  // When it comes back after all, nobody wants it.
  auto before = disk->segments.size();
  open.push_back(std::move(stuck));
  do_all();
  EXPECT_EQ(disk->segments.size(), before);
  EXPECT_EQ(hangs->times, 1);
  pass(100ms);
  offer(65536, 15);
  offer(65536, 15, "90p");
  do_all();
  EXPECT_EQ(shown().entries.size(), 6U);
  EXPECT_EQ(shown().entries.back().gaps, 0U);
}

TEST_F(Intake, TheFirstSegmentOfAWriterIsInBeforeTheNextHasANumber) {
  ASSERT_TRUE(announce(65536));
  auto first = offer(65536, 10);
  auto second = offer(65536, 11);
  auto third = offer(65536, 12);
  ASSERT_EQ(open.size(), 1U) << "all three would be written to the same place";
  do_next();
  EXPECT_EQ(std::count_if(open.begin(), open.end(), [](auto& o) { return o.what == kind::put; }), 2) << "now they are written side by side";
  std::reverse(open.begin(), open.end());
  do_all();
  for (auto& a : {first, second, third})
    EXPECT_EQ(code_of(a), error_code::none);
  ASSERT_EQ(shown().entries.size(), 3U);
  EXPECT_EQ(shown().entries.back().gaps, 0U);
}

TEST_F(Intake, ANewWriterDoesNotOvertakeWhatTheOldOneHasUnderWay) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  ASSERT_TRUE(announce(131072, "conf", "another"));
  pass(td);
  auto last = offer(65536, 14);
  auto first = offer(131072, 900);
  ASSERT_EQ(open.size(), 1U);
  do_all();
  EXPECT_EQ(code_of(last), error_code::none);
  EXPECT_EQ(code_of(first), error_code::none);
  EXPECT_EQ(log().epoch(), 131072U);
}

TEST_F(Intake, AFullDiskMakesAGapAtOnce) {
  ASSERT_TRUE(announce(65536, "conf", "pub", {make_rung("180p"), make_rung("90p")}));
  for (std::uint64_t slot = 10; slot < 13; ++slot) {
    pass(td);
    offer(65536, slot);
    offer(65536, slot, "90p");
    do_all();
  }
  pass(td);
  offer(65536, 13, "90p");
  do_all();
  refuse["put"] = {error_code::io_failed, fmt::format("put: {}", std::strerror(ENOSPC))};
  auto a = offer(65536, 13);
  do_all();
  EXPECT_EQ(code_of(a), error_code::io_failed);
  EXPECT_EQ(in->counted().full, 1U);
  ASSERT_EQ(shown().entries.size(), 4U);
  EXPECT_TRUE(shown().entries.back().gap(0));
}

TEST_F(Intake, AQueueThatIsFullIsNoGap) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  refuse["put"] = {error_code::unavailable, "full"};
  auto a = offer(65536, 11);
  do_all();
  EXPECT_EQ(code_of(a), error_code::unavailable);
  EXPECT_EQ(in->counted().turned_away, 1U);
  refuse.clear();
  auto again = offer(65536, 11);
  do_all();
  EXPECT_EQ(code_of(again), error_code::none);
}

TEST_F(Intake, HoldsOnlySoManySegmentsBack) {
  ASSERT_TRUE(announce(65536));
  std::vector<std::shared_ptr<held_answer>> answers;
  for (std::uint64_t slot = 10; slot < 10 + 66; ++slot)
    answers.push_back(offer(65536, slot));
  EXPECT_EQ(open.size(), 1U) << "the first is being stored";
  EXPECT_EQ(code_of(answers.back()), error_code::unavailable);
  EXPECT_EQ(in->under_way(), 65U);
  in->close();
  for (auto& a : answers)
    EXPECT_EQ(a->times, 1);
}

TEST_F(Intake, GoesOnShowingOnADiskThatRefusesLogsButNotWhereOthersMayHaveThem) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 13; ++slot)
    ASSERT_TRUE(put(65536, slot));
  refuse["save_log"] = {error_code::io_failed, "read-only"};
  EXPECT_TRUE(put(65536, 13));
  EXPECT_EQ(shown().entries.size(), 4U);
  refuse["save_log"] = {error_code::unavailable, "no quorum"};
  pass(td);
  auto a = offer(65536, 14);
  do_all();
  EXPECT_EQ(shown().entries.size(), 4U);
  EXPECT_EQ(a->times, 0);
  refuse.clear();
  pass(500ms);
  do_all();
  EXPECT_EQ(code_of(a), error_code::none);
  EXPECT_EQ(shown().entries.size(), 5U);
  EXPECT_EQ(news.back().listed, 1U);
}

TEST_F(Intake, ShowsAndTakesNothingOnceAnotherHasClaimedItsStore) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 13; ++slot)
    ASSERT_TRUE(put(65536, slot));
  auto successor = std::make_unique<memory_store>(disk);
  ASSERT_TRUE(successor->claim(successor->claimed().value() + 1));
  pass(td);
  auto a = offer(65536, 13);
  do_all();
  EXPECT_EQ(code_of(a), error_code::unavailable) << "the writer is not to end: its epoch is in order";
  EXPECT_TRUE(in->ousted());
  EXPECT_EQ(shown().entries.size(), 3U);
  EXPECT_EQ(code_of(offer(65536, 14)), error_code::unavailable);
  EXPECT_EQ(announce(65537).error().code, error_code::unavailable);
  pass(20s);
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(shown().entries.size(), 3U);
  wall += 1s;
  ASSERT_TRUE(restart()) << "whoever starts anew claims it back";
  EXPECT_EQ(successor->save_log("conf", "{}", false).error().code, error_code::fenced);
}

TEST_F(Intake, TakesNoAnswerThatWasForTheOneBeforeIt) {
  ASSERT_TRUE(announce(65536));
  offer(65536, 10);
  ASSERT_EQ(open.size(), 1U);
  auto old = std::move(open.front());
  open.clear();
  // Another origin had the store for a while; the queue, and the put that hangs in it, are still the same.
  wall += 1s;
  in = std::make_unique<intake>(intake_options{}, in->last_ticket());
  in->use_edges(1);
  ASSERT_TRUE(in->load(*store, "memory", wall));
  ASSERT_TRUE(announce(65537));
  auto a = offer(65537, 10);
  ASSERT_EQ(open.size(), 1U);
  in->stored(old.stream, old.ticket, {}, now, wall);
  collect();
  EXPECT_EQ(open.size(), 1U) << "nothing is in, so no log is saved";
  EXPECT_EQ(a->times, 0);
  do_all();
  EXPECT_EQ(code_of(a), error_code::none);
}

TEST_F(Intake, WhoTakesOverLeavesWritersTheTimeToBringAgainWhatIsNotIn) {
  ASSERT_TRUE(restart({.shared = true}));
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  now += 7s;
  wall += 7s;
  ASSERT_TRUE(restart({.shared = true}));
  pass(td);
  EXPECT_EQ(shown().entries.size(), 4U);
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 14; slot < 17; ++slot) {
    auto again = offer(65536, slot);
    do_all();
    EXPECT_EQ(code_of(again), error_code::none) << slot;
  }
  ASSERT_EQ(shown().entries.size(), 7U);
  for (auto& e : shown().entries) {
    EXPECT_EQ(e.gaps, 0U) << e.msn;
    EXPECT_FALSE(e.discontinuity) << e.msn;
  }
}

TEST_F(Intake, WhatIsLateIsBroughtAgainWhereAnotherOriginMayTakeOver) {
  ASSERT_TRUE(restart({.shared = true}));
  ASSERT_TRUE(announce(65536));
  auto late = offer(65536, 10);
  pass(4750ms);
  EXPECT_EQ(late->times, 0) << "the store itself waits for other origins for almost as long";
  pass(250ms);
  EXPECT_EQ(code_of(late), error_code::unavailable);
  auto again = offer(65536, 10);
  do_all();
  EXPECT_EQ(code_of(again), error_code::none);
  EXPECT_EQ(late->times, 1);
  EXPECT_EQ(disk->segments.size(), 1U) << "of the late one nothing is left, and the other one stays";
  for (std::uint64_t slot = 11; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  refuse["put"] = {error_code::timeout, "1 of 3 origins did it"};
  EXPECT_EQ(put(65536, 14).error().code, error_code::unavailable);
  refuse.clear();
  auto good = offer(65536, 14);
  do_all();
  EXPECT_EQ(code_of(good), error_code::none);
  EXPECT_EQ(shown().entries.back().gaps, 0U);
  EXPECT_EQ(shown().entries.size(), 5U);
  // One that waits for another one is no gap either.
  pass(1s);
  auto first = offer(65537, 15);
  EXPECT_EQ(code_of(first), error_code::not_found);
  ASSERT_TRUE(announce(65537));
  first = offer(65537, 15);
  auto held = offer(65537, 16);
  pass(5s);
  EXPECT_EQ(code_of(first), error_code::unavailable);
  EXPECT_EQ(code_of(held), error_code::unavailable);
}

TEST_F(Intake, StampsOnWhatItListsHowManyEdgesServeTheStream) {
  in->use_widths({.usual = 2, .wide = {{"other", 5}}, .known = true});
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  EXPECT_EQ(shown().entries.back().width, 2U) << "as usual from its beginning";
  in->use_widths({.usual = 2, .wide = {{"conf", 5}}, .known = true});
  ASSERT_TRUE(put(65536, 14));
  EXPECT_EQ(shown().entries.back().width, 5U);
  EXPECT_EQ(shown().entries.front().width, 2U) << "what is listed stays";
  in->use_widths({.usual = 3, .wide = {}, .known = false}); // of a coordinator that has just begun
  ASSERT_TRUE(put(65536, 15));
  EXPECT_EQ(shown().entries.back().width, 5U);
  ASSERT_TRUE(restart());
  ASSERT_TRUE(put(65536, 16));
  EXPECT_EQ(shown().entries.back().width, 5U) << "it is saved";
  in->use_widths({.usual = 3, .wide = {}, .known = true});
  ASSERT_TRUE(put(65536, 17));
  EXPECT_EQ(shown().entries.back().width, 3U);
}

TEST_F(Intake, TellsTheOldestEdgeTableThatIsStillNamed) {
  in->use_edges(3);
  EXPECT_EQ(in->oldest_named(), 3U) << "nothing is listed: what is in force";
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  in->use_edges(9);
  for (std::uint64_t slot = 14; slot < 16; ++slot)
    ASSERT_TRUE(put(65536, slot));
  EXPECT_EQ(in->oldest_named(), 3U);
  ASSERT_TRUE(restart());
  in->use_edges(9);
  EXPECT_EQ(in->oldest_named(), 3U);
  for (std::uint64_t slot = 16; slot < 60; ++slot)
    ASSERT_TRUE(put(65536, slot));
  EXPECT_EQ(in->oldest_named(), 9U) << "those of 3 left the window";
}

TEST_F(Intake, RefusesAndCountsAnOldEpoch) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  ASSERT_TRUE(announce(131072));
  ASSERT_TRUE(put(131072, 11));
  EXPECT_EQ(put(65536, 12).error().code, error_code::fenced);
  EXPECT_EQ(announce(65536).error().code, error_code::fenced);
  EXPECT_EQ(in->counted().fenced, 2U);
}

TEST_F(Intake, AWriterThatIsNotAnnouncedIsTold) { EXPECT_EQ(code_of(offer(65536, 10)), error_code::not_found); }

TEST_F(Intake, NumbersGoOnAfterARestartOfTheOriginAndOfTheWriter) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 16; ++slot)
    ASSERT_TRUE(put(65536, slot));
  auto before = shown();
  ASSERT_TRUE(restart());
  EXPECT_EQ(shown().entries, before.entries);
  ASSERT_TRUE(announce(65537)); // the encoder was restarted
  ASSERT_TRUE(put(65537, 16));
  ASSERT_TRUE(put(65537, 17));
  EXPECT_GT(shown().entries.back().msn, before.entries.back().msn);
  EXPECT_GT(shown().entries.back().dsn, before.entries.back().dsn) << "a discontinuity where the encoder restarted";
  EXPECT_EQ(shown().instance, before.instance);
}

TEST_F(Intake, RefusesNamesThatCouldLeaveItsFolder) {
  for (std::string name : {"../x", "a/b", "", ".hidden"})
    EXPECT_FALSE(announce(65536, name)) << name;
}

TEST_F(Intake, RefusesToStartOnALogThatItCannotRead) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  ASSERT_TRUE(store->save_log("conf", "{\"half\": "));
  auto loaded = restart();
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().text.find("conf"), std::string::npos);
}

TEST_F(Intake, AnEndIsShownToo) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 13; ++slot)
    ASSERT_TRUE(put(65536, slot));
  in->end("conf", now, wall);
  collect();
  EXPECT_FALSE(shown().ended);
  do_all();
  EXPECT_TRUE(shown().ended);
  EXPECT_TRUE(news.back().ended);
}

/// Completions in any order and at any time, failures, restarts: what was acknowledged is there, what is shown is there and is what it says, numbers never step back.
RC_GTEST_PROP(IntakeHistory, HoldsWhateverTheStoreDoesAndWhenever, ()) {
  house h;
  const std::vector<rung_info> rungs{make_rung("180p"), make_rung("90p")};
  lease_epoch epoch = 65536;
  int publication = 1;
  std::uint64_t slot = 50;
  struct sent {
    lease_epoch epoch;
    std::string rung;
    std::uint64_t slot;
    std::shared_ptr<held_answer> answer;
    bool looked_at = false;
  };
  std::vector<sent> all;
  hls::stream_log before;
  std::set<std::tuple<std::uint64_t, std::uint64_t, std::string>> seen; // (MSN, slot, rung) of one place: never two slots
  std::map<std::uint64_t, std::unique_ptr<hls::linter>> linters;
  auto begin = [&] { RC_ASSERT(h.announce(epoch, "conf", fmt::format("pub{}", publication), rungs).has_value()); };
  auto send = [&](std::string rung, std::uint64_t n) { all.push_back({epoch, rung, n, h.offer(epoch, n, rung)}); };
  auto look = [&] {
    auto s = h.shown();
    if (!before.entries.empty() && !s.entries.empty()) {
      RC_ASSERT(s.instance >= before.instance);
      RC_ASSERT(s.entries.back().msn >= before.entries.back().msn);
      RC_ASSERT(s.entries.back().dsn >= before.entries.back().dsn);
    }
    auto& lint = linters[s.instance];
    if (!s.entries.empty()) {
      if (!lint) {
        lint = std::make_unique<hls::linter>();
        lint->multivariant("m", hls::multivariant(s, {0, 1, false}).value_or(""));
      }
      for (std::size_t rung = 0; rung < s.rungs.size(); ++rung) {
        lint->media(fmt::format("r{}", rung), hls::prepared_playlist(s, rung).text(1, [](edge_epoch) { return std::string_view("http://edge"); }), h.wall);
        for (auto& e : s.entries)
          if (!e.gap(rung) && s.instance == h.log().instance()) { // what was over before the next one began goes by P10
            // Listed: it is there, whole, of this writer and this rung.
            auto file = h.store->open("conf", {s.instance, e.epoch, s.rungs[rung].info.name, e.msn});
            if (!file)
              RC_FAIL(file.error().text);
            auto& text = *file->bytes;
            RC_ASSERT(text.starts_with(fmt::format("{:04}/{}/", e.epoch, s.rungs[rung].info.name)));
            seen.insert({e.msn, std::stoull(text.substr(text.rfind('/') + 1)), s.rungs[rung].info.name});
          }
      }
      for (auto& f : lint->findings())
        if (f.rule != "P6") // nothing new for long: the store that a test stops shows nothing
          RC_FAIL(f.rule + " " + f.text);
      before = s;
    }
    for (auto& a : all) {
      RC_ASSERT(a.answer->times <= 1);
      if (a.looked_at || !a.answer->heard)
        continue;
      a.looked_at = true;
      if (!a.answer->heard->has_value())
        continue;
      // Acknowledged: the log that is saved knows it, in this very moment.
      auto saved = hls::segment_log::from_json(h.store->load_log("conf").value());
      RC_ASSERT(saved.has_value());
      bool known = false;
      for (auto& [of, where, what] : h.disk->segments)
        known = known || (what == content(a.epoch, a.rung, a.slot) && saved->knows(where));
      RC_ASSERT(known);
    }
  };
  begin();
  auto steps = *rc::gen::container<std::vector<std::pair<int, std::uint32_t>>>(rc::gen::pair(rc::gen::inRange(0, 24), rc::gen::arbitrary<std::uint32_t>()));
  for (auto [step, chance] : steps) {
    switch (step) {
      case 0: // killed, and started again
        RC_ASSERT(h.restart().has_value());
        for (auto& a : all)
          a.looked_at = true; // nobody is left to answer
        if (!h.in->logs().contains("conf") || h.in->logs().at("conf").epoch() < epoch)
          ++epoch;
        begin();
        break;
      case 1: // another writer of the same publication
        ++epoch;
        begin();
        break;
      case 2: // the encoder reconnects
        ++epoch;
        ++publication;
        slot = chance % 100'000;
        begin();
        break;
      case 3: ++slot; break;
      case 4: h.refuse["put"] = {error_code::io_failed, "broken"}; break;
      case 5: h.refuse["put"] = {error_code::unavailable, "full"}; break;
      case 6: h.refuse["save_log"] = {error_code::unavailable, "no quorum"}; break;
      case 7:
      case 8: h.refuse.clear(); break;
      case 9: h.pass(std::chrono::milliseconds(chance % 10'000)); break;
      case 10:
        h.in->end("conf", h.now, h.wall);
        h.collect();
        break;
      case 11: // the same again
        send("180p", slot > 0 ? slot - 1 : 0);
        break;
      case 12: h.in->use_edges(h.in->oldest_named() + 1); break;
      case 13:
      case 14:
      case 15:
      case 16: // some of what is under way ends, in any order
        for (auto n = chance % 4; n > 0 && !h.open.empty(); --n) {
          h.do_next(chance % h.open.size());
          look();
        }
        break;
      case 17: h.do_all(); break;
      default:
        h.pass(td);
        send(chance % 2 == 0 ? "180p" : "90p", slot);
        if (chance % 8 != 0)
          send(chance % 2 == 0 ? "90p" : "180p", slot);
        ++slot;
    }
    look();
  }
  h.refuse.clear();
  h.pass(3 * td);
  h.do_all();
  h.pass(3 * td);
  h.do_all();
  look();
  std::map<std::pair<std::uint64_t, std::string>, std::uint64_t> slots;
  for (auto& [msn, of, rung] : seen)
    RC_ASSERT(slots.try_emplace({msn, rung}, of).first->second == of);
  RC_ASSERT(h.in->under_way() == 0U);
  // Nothing is left that no log knows.
  std::vector<std::string> left;
  for (auto& [stream, place, what] : h.disk->segments)
    if (!h.log().knows(place))
      left.push_back(fmt::format("{}~{}/{}/{}/{}", stream, place.instance, place.epoch, place.rung, place.msn));
  RC_ASSERT(left == std::vector<std::string>{});
}

// --- parts --------------------------------------------------------------------------------------------------------------------------------------
/// A low-latency stream at TD 4 s with parts of 1 s, of one rung.
struct LiveIntake : testing::Test, house {
  std::shared_ptr<part_shelf> shelf = std::make_shared<part_shelf>();
  LiveIntake() {
    EXPECT_TRUE(restart({.shelf = shelf}));
    EXPECT_TRUE(announce_live(65536));
    for (std::uint64_t n = 0; n < 4; ++n)
      EXPECT_TRUE(put_live(65536, n));
    news.clear();
  }
  expected<void> announce_live(lease_epoch epoch, milliseconds part = 1s) {
    return in->announce("conf", epoch, "pub", hls_profile::low_latency, {make_rung("180p")}, false, {make_map("x")}, part);
  }
  std::shared_ptr<held_answer> offer_live(lease_epoch epoch, std::uint64_t slot) {
    auto answer = std::make_shared<held_answer>();
    auto bytes = std::make_shared<const std::string>(content(epoch, "180p", slot));
    segment_info info{.rung = "180p", .slot = slot, .first_pts = static_cast<std::int64_t>(slot) * 360'000, .duration = 360'000, .independent = true, .discontinuity = false,
                      .captured = wall - 4s, .bytes = bytes->size()};
    in->offer({.stream = "conf", .writer_epoch = epoch, .info = info, .bytes = bytes, .answer = [answer](expected<void> result) {
                 answer->heard = std::move(result);
                 ++answer->times;
               }}, now, wall);
    collect();
    return answer;
  }
  expected<void> put_live(lease_epoch epoch, std::uint64_t slot) {
    pass(4s);
    auto answer = offer_live(epoch, slot);
    do_all();
    return answer->heard.value_or(fail(error_code::internal, "nobody answered"));
  }
  expected<void> part(lease_epoch epoch, std::uint64_t slot, std::uint32_t k, std::string_view bytes = "moof") {
    part_info info{.rung = "180p", .slot = slot, .part = k, .first_pts = static_cast<std::int64_t>(slot) * 360'000 + k * 90'000, .duration = 90'000, .independent = k == 0, .last = k == 3,
                   .discontinuity = false, .captured = wall, .bytes = bytes.size()};
    auto done = in->offer_part("conf", epoch, info, std::make_shared<const std::string>(bytes), now, wall);
    collect();
    return done;
  }
  part_id id(std::uint64_t msn, std::uint32_t k, lease_epoch epoch = 65536) const { return {"conf", {shown().instance, epoch, "180p", msn, k}}; }
  std::string get(const part_id& wanted) {
    std::string heard = "nothing";
    shelf->get(wanted, now, [&](expected<part_shelf::bytes_ptr> got) { heard = got ? **got : std::string(to_string(got.error().code)); });
    if (heard == "nothing")
      shelf->clear(); // it would write to what is gone
    return heard;
  }
};

TEST_F(LiveIntake, PartsAreSeenAtOnceAndNothingIsSavedForThem) {
  EXPECT_EQ(shown().part_target, 1s);
  EXPECT_EQ(shown().open.hint_msn, 4U);
  ASSERT_TRUE(part(65536, 4, 0));
  EXPECT_TRUE(open.empty()) << "the store is not asked";
  ASSERT_EQ(news.size(), 1U);
  EXPECT_EQ(news[0].listed, 0U);
  ASSERT_EQ(shown().parts.size(), 1U);
  EXPECT_EQ(shown().open.hint_part, 1U);
  EXPECT_EQ(get(id(4, 0)), "moof");
  EXPECT_EQ(part(65536, 4, 0).error().code, error_code::already_exists);
  for (std::uint32_t k = 1; k < 4; ++k)
    ASSERT_TRUE(part(65536, 4, k));
  const auto parts = shown().parts;
  ASSERT_TRUE(put_live(65536, 4));
  EXPECT_EQ(shown().entries.back().msn, 4U);
  EXPECT_EQ(shown().parts, parts);
  EXPECT_EQ(shown().open.hint_msn, 5U);
  EXPECT_EQ(in->counted().parts, 4U);
}

TEST_F(LiveIntake, WhatIsNotSavedYetIsNotBehindItsParts) {
  for (std::uint32_t k = 0; k < 4; ++k)
    ASSERT_TRUE(part(65536, 4, k));
  pass(4s);
  auto answer = offer_live(65536, 4);
  do_next(); // stored; its log is being saved
  ASSERT_TRUE(part(65536, 5, 0));
  EXPECT_EQ(shown().parts.back().msn, 4U) << "what viewers see ends with segment 3 and the parts of 4";
  EXPECT_EQ(get(id(5, 0)), "moof") << "it is hinted";
  do_all();
  EXPECT_EQ(shown().entries.back().msn, 4U);
  EXPECT_EQ(shown().parts.back().msn, 5U);
}

TEST_F(LiveIntake, PartsGoOnWhereAnotherProcessWasBefore) {
  EXPECT_EQ(part(65537, 4, 0).error().code, error_code::not_found) << "nobody has heard of its writer";
  shelf = std::make_shared<part_shelf>();
  ASSERT_TRUE(restart({.shelf = shelf}));
  EXPECT_EQ(shown().part_target, 1s);
  ASSERT_TRUE(part(65536, 4, 0));
  EXPECT_EQ(shown().parts.back().msn, 4U);
  EXPECT_EQ(shown().open.hint_part, 1U);
  EXPECT_EQ(get(id(4, 0)), "moof");
  ASSERT_TRUE(put_live(65536, 4));
  ASSERT_TRUE(announce_live(65536));
  ASSERT_TRUE(part(65536, 5, 0));
  EXPECT_EQ(shown().parts.back().msn, 5U);
}

TEST_F(LiveIntake, AWriterThatSaysItMakesNoPartsBringsItsSegmentsAllTheSame) {
  const auto before = shown().instance;
  ASSERT_TRUE(announce_live(65537, 0s));
  ASSERT_TRUE(put_live(65537, 4));
  EXPECT_EQ(part(65537, 5, 0).error().code, error_code::unsupported);
  ASSERT_TRUE(put_live(65537, 5));
  ASSERT_TRUE(put_live(65537, 6));
  EXPECT_EQ(shown().entries.back().epoch, 65537U);
  EXPECT_EQ(shown().open.epoch, 0U);
  EXPECT_EQ(shown().part_target, 0s) << "players must not stand as near as if there were parts";
  EXPECT_EQ(shown().instance, before + 1) << "nor learn so of a playlist that promised some";
}

TEST_F(LiveIntake, PartsThatCannotBeAreRefused) {
  EXPECT_EQ(announce_live(65537, 5s).error().code, error_code::invalid_input) << "longer than a segment";
  EXPECT_EQ(announce_live(65537, 1ms).error().code, error_code::invalid_input);
  EXPECT_EQ(in->announce("conf", 65537, "pub", hls_profile::low_latency, {make_rung("180p")}, false, {}, 1s).error().code, error_code::invalid_input) << "MPEG-TS";
  EXPECT_EQ(in->offer_part("other", 65536, {}, std::make_shared<const std::string>("x"), now, wall).error().code, error_code::not_found);
  part_info nothing{.rung = "180p", .slot = 4};
  EXPECT_EQ(in->offer_part("conf", 65536, nothing, std::make_shared<const std::string>(), now, wall).error().code, error_code::invalid_input);
  EXPECT_EQ(in->counted().parts_refused, 1U);
  in->close();
  EXPECT_EQ(part(65536, 4, 0).error().code, error_code::unavailable);
  EXPECT_EQ(shelf->parts(), 0U);
}

TEST_F(LiveIntake, AnOriginWithoutAShelfTakesNone) {
  ASSERT_TRUE(restart());
  ASSERT_TRUE(announce_live(65536));
  EXPECT_EQ(part(65536, 4, 0).error().code, error_code::unsupported);
  ASSERT_TRUE(put_live(65536, 4)) << "a writer that goes on is not refused";
  EXPECT_EQ(shown().part_target, 1s) << "as it was promised: whole segments can be asked for in the same way";
  ASSERT_TRUE(announce_live(65537));
  for (std::uint64_t n = 5; n < 8; ++n)
    ASSERT_TRUE(put_live(65537, n));
  EXPECT_EQ(shown().part_target, 0s);
}

TEST_F(LiveIntake, WhoWaitsForAPartHearsWhenItsSegmentIsListedWithoutIt) {
  ASSERT_TRUE(part(65536, 4, 0));
  std::optional<error_code> heard;
  shelf->get(id(4, 1), now, [&](expected<part_shelf::bytes_ptr> got) { heard = got ? error_code::none : got.error().code; });
  EXPECT_FALSE(heard);
  ASSERT_TRUE(put_live(65536, 4));
  EXPECT_EQ(heard, error_code::not_found);
  EXPECT_EQ(get(id(4, 0)), "moof") << "listed";
  for (std::uint64_t n = 5; n < 9; ++n)
    ASSERT_TRUE(put_live(65536, n));
  EXPECT_TRUE(shown().parts.empty());
  pass(12s);
  EXPECT_EQ(shelf->parts(), 0U);
}

} // namespace
} // namespace weir::origin
