#include "runtime/origin/part_shelf.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

struct heard {
  std::optional<expected<part_shelf::bytes_ptr>> result;
  int times = 0;
  std::thread::id thread;
};

struct PartShelf : testing::Test {
  part_shelf shelf{{.bytes = 100, .waiters = 3}};
  steady_time now{1000s};
  hls::stream_log shown;

  PartShelf() {
    shown.stream = "show";
    shown.instance = 2;
    shown.target = 4s;
    shown.part_target = 1s;
    shown.rungs.resize(2);
    shown.rungs[0].info.name = "720p";
    shown.rungs[1].info.name = "360p";
    shown.rungs[1].active = false;
    hls::log_entry entry;
    entry.msn = 9;
    shown.entries = {entry};
    next(10, 1);
  }
  /// What is listed ends with the part in front of this one.
  void next(std::uint64_t msn, std::uint32_t part) {
    shown.open = {.msn = msn, .epoch = 7, .hint_msn = msn, .hint_part = part};
    shelf.follow(shown, now);
  }
  static part_id id(std::uint64_t msn, std::uint32_t part, std::string rung = "720p", std::string stream = "show") { return {std::move(stream), {2, 7, std::move(rung), msn, part}}; }
  bool put(part_id part, std::string_view bytes = "bytes") { return shelf.put(std::move(part), std::make_shared<const std::string>(bytes), now); }
  std::shared_ptr<heard> get(const part_id& part) {
    auto h = std::make_shared<heard>();
    shelf.get(part, now, [h](expected<part_shelf::bytes_ptr> result) {
      h->result = std::move(result);
      h->thread = std::this_thread::get_id();
      ++h->times;
    });
    return h;
  }
  static error_code code(const std::shared_ptr<heard>& h) { return !h->result ? error_code::none : h->result->has_value() ? error_code::internal : h->result->error().code; }
};

TEST_F(PartShelf, HasWhatWasPutThere) {
  ASSERT_TRUE(put(id(10, 0)));
  auto got = get(id(10, 0));
  ASSERT_TRUE(got->result && *got->result);
  EXPECT_EQ(***got->result, "bytes");
  ASSERT_TRUE(put(id(10, 0), "other"));
  EXPECT_EQ(***get(id(10, 0))->result, "bytes") << "an address has one content";
  for (auto& absent : {id(10, 0, "360p"), id(9, 3), id(10, 0, "720p", "other"), part_id{"show", {1, 7, "720p", 10, 1}}, part_id{"show", {2, 6, "720p", 10, 1}}})
    EXPECT_EQ(code(get(absent)), error_code::not_found) << absent.stream << absent.place.rung << absent.place.msn;
}

TEST_F(PartShelf, HoldsWhoComesEarlyAndAnswersOnceInTheThreadThatBringsIt) {
  auto first = get(id(10, 1)), second = get(id(10, 1)), later = get(id(10, 2));
  EXPECT_EQ(shelf.waiting(), 3U);
  EXPECT_EQ(first->times + second->times + later->times, 0);
  std::thread([&] { EXPECT_TRUE(put(id(10, 1))); }).join();
  for (auto& h : {first, second}) {
    ASSERT_EQ(h->times, 1);
    EXPECT_EQ(***h->result, "bytes");
    EXPECT_NE(h->thread, std::this_thread::get_id());
  }
  EXPECT_EQ(later->times, 0);
  next(10, 2);
  EXPECT_EQ(later->times, 0);
  EXPECT_TRUE(put(id(10, 2)));
  shelf.clear();
  shelf.tick(now + 1h);
  EXPECT_EQ(first->times, 1);
  EXPECT_EQ(later->times, 1);
  EXPECT_EQ(shelf.waiting(), 0U);
}

TEST_F(PartShelf, HoldsNobodyForWhatIsNotPromised) {
  for (auto& never : {id(10, 0), id(11, 0), id(9, 5), id(10, 1, "360p"), id(10, hls::parts_of_a_segment)})
    EXPECT_EQ(code(get(never)), error_code::not_found) << never.place.rung << " " << never.place.msn << "." << never.place.part;
  shown.open.hint_msn = 0;
  shelf.follow(shown, now);
  EXPECT_EQ(code(get(id(10, 1))), error_code::not_found);
  next(10, 1);
  shown.part_target = 0ms;
  shelf.follow(shown, now);
  EXPECT_EQ(code(get(id(10, 1))), error_code::not_found);
}

TEST_F(PartShelf, TellsAtOnceThatAPartWillNotCome) {
  auto lost = get(id(10, 1)), later = get(id(10, 3));
  next(10, 2); // listed without it
  EXPECT_EQ(code(lost), error_code::not_found);
  EXPECT_EQ(later->times, 0);
  next(11, 0); // its segment is listed
  EXPECT_EQ(code(later), error_code::not_found);
  auto of_next = get(id(11, 0));
  shown.open.epoch = 8; // another writer
  shelf.follow(shown, now);
  EXPECT_EQ(code(of_next), error_code::not_found);
  EXPECT_EQ(lost->times + later->times + of_next->times, 3);
  auto other = get({"show", {2, 8, "720p", 11, 0}});
  hls::stream_log else_where = shown;
  else_where.stream = "show2";
  else_where.open = {};
  shelf.follow(else_where, now);
  EXPECT_EQ(other->times, 0) << "another stream's business";
}

TEST_F(PartShelf, HoldsSoManyForSoLong) {
  auto first = get(id(10, 1));
  now += 1s;
  auto second = get(id(10, 1)), third = get(id(10, 2)), fourth = get(id(10, 2));
  EXPECT_EQ(code(fourth), error_code::unavailable);
  shelf.tick(now + 10'999ms);
  EXPECT_EQ(first->times, 0);
  shelf.tick(now + 11s);
  EXPECT_EQ(code(first), error_code::timeout) << "three target durations";
  EXPECT_EQ(second->times + third->times, 0);
  EXPECT_EQ(shelf.waiting(), 2U);
  shelf.clear();
  EXPECT_EQ(code(second), error_code::unavailable);
  EXPECT_EQ(code(third), error_code::unavailable);
  EXPECT_EQ(code(get(id(10, 1))), error_code::not_found) << "nothing is promised any more";
}

TEST_F(PartShelf, KeepsWhatIsListedAndForThreeTargetsMore) {
  ASSERT_TRUE(put(id(8, 0)));
  ASSERT_TRUE(put(id(9, 0)));
  shown.parts = {{.msn = 8, .part = 0, .durations = {1}}, {.msn = 9, .part = 0, .durations = {1}}};
  shelf.follow(shown, now);
  shelf.tick(now + 60s);
  EXPECT_EQ(shelf.parts(), 2U) << "listed";
  shown.parts.erase(shown.parts.begin());
  shelf.follow(shown, now);
  now += 11s;
  shelf.follow(shown, now); // which does not prolong it
  shelf.tick(now);
  EXPECT_EQ(shelf.parts(), 2U);
  shelf.tick(now + 1s);
  EXPECT_EQ(shelf.parts(), 1U);
  EXPECT_EQ(shelf.bytes(), 5U);
  EXPECT_EQ(code(get(id(8, 0))), error_code::not_found);
  shelf.tick(now + 120s);
  EXPECT_EQ(shelf.parts(), 0U) << "nobody shows anything any more";
}

TEST_F(PartShelf, HasRoomForSoMuch) {
  EXPECT_TRUE(put(id(10, 0), std::string(60, 'x')));
  EXPECT_FALSE(put(id(10, 1), std::string(41, 'x')));
  EXPECT_TRUE(put(id(10, 1), std::string(40, 'x')));
  EXPECT_EQ(shelf.bytes(), 100U);
  shelf.clear();
  EXPECT_EQ(shelf.bytes(), 0U);
  EXPECT_TRUE(put(id(10, 2), std::string(100, 'x')));
}

TEST_F(PartShelf, AnswersEverybodyOnceWhileManyThreadsUseIt) {
  part_shelf busy;
  std::atomic<int> asked{0}, answered{0};
  busy.follow(shown, now);
  auto readers = [&] {
    for (std::uint32_t n = 0; n < 2'000; ++n) {
      ++asked;
      busy.get(id(10, 1 + n % 20), now, [&](const expected<part_shelf::bytes_ptr>&) { ++answered; });
    }
  };
  std::vector<std::thread> all;
  for (int i = 0; i < 3; ++i)
    all.emplace_back(readers);
  for (std::uint32_t k = 1; k <= 20; ++k) {
    busy.put(id(10, k), std::make_shared<const std::string>("x"), now);
    auto log = shown;
    log.open.hint_part = k + 1;
    busy.follow(log, now);
    busy.tick(now);
  }
  for (auto& t : all)
    t.join();
  busy.clear();
  EXPECT_EQ(answered.load(), asked.load());
  EXPECT_EQ(busy.waiting(), 0U);
}

} // namespace
} // namespace weir::origin
