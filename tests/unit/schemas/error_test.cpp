#include "schemas/error.hpp"
#include "schemas/event.hpp"
#include "schemas/hook.hpp"
#include "schemas/node.hpp"
#include "schemas/stream.hpp"
#include "schemas/task.hpp"

#include <cctype>
#include <gtest/gtest.h>
#include <set>
#include <type_traits>
#include <unordered_set>

using namespace weir;

namespace {

expected<int> half(int n) {
  if (n % 2 != 0)
    return fail(error_code::invalid_input, "odd");
  return n / 2;
}

expected<int> quarter(int n) {
  auto h = half(n);
  WEIR_TRY(h);
  return half(*h);
}

template <class T>
void expect_described() {
  std::set<std::string_view> names;
  for_each_field<T>([&](const auto& f) {
    EXPECT_TRUE(names.insert(f.name).second) << f.name << " stands twice";
    EXPECT_TRUE(f.sentence.ends_with('.') || f.sentence.ends_with("…")) << f.name;
    EXPECT_TRUE(std::all_of(f.name.begin(), f.name.end(), [](char c) { return std::islower(c) || std::isdigit(c) || c == '_'; })) << f.name;
  });
  EXPECT_FALSE(names.empty());
}

} // namespace

TEST(ErrorCode, HasAWordASentenceAndAStatusOfItsOwn) {
  std::set<std::string_view> words, sentences;
  for (auto n = 0; n <= static_cast<int>(error_code::internal); ++n) {
    auto code = static_cast<error_code>(n);
    EXPECT_TRUE(words.insert(to_string(code)).second) << n;
    EXPECT_TRUE(sentences.insert(sentence(code)).second) << n;
    EXPECT_GE(http_status(code), 200);
    EXPECT_LT(http_status(code), 600);
  }
}

TEST(ErrorCode, OfANewerWeirCountsAsInternal) { EXPECT_EQ(http_status(static_cast<error_code>(60'000)), 500); }

TEST(Error, TravelsUpAndGathersContext) {
  EXPECT_EQ(*quarter(8), 2);
  auto e = quarter(6).error();
  EXPECT_EQ(e.text, "odd");
  EXPECT_EQ(e.in("stream main").text, "stream main: odd");
  EXPECT_EQ(e.in("stream main").code, error_code::invalid_input);
}

TEST(Id, OfOneKindIsNotOneOfAnother) {
  static_assert(!std::is_convertible_v<stream_id, task_id>);
  static_assert(!std::is_convertible_v<std::string, stream_id>);
  EXPECT_FALSE(stream_id{});
  EXPECT_TRUE(stream_id("a"));
  EXPECT_LT(stream_id("a"), stream_id("b"));
  std::unordered_set<task_id> set{task_id("x"), task_id("x"), task_id("y")};
  EXPECT_EQ(set.size(), 2u);
}

TEST(NamedEnum, IsFoundByItsName) {
  EXPECT_EQ(to_string(task_phase::crash_looping), "crash_looping");
  EXPECT_EQ(from_string<task_phase>("backing_off"), task_phase::backing_off);
  EXPECT_EQ(from_string<task_phase>("no"), std::nullopt);
  EXPECT_EQ(to_string(static_cast<task_phase>(99)), "unknown");
}

TEST(Description, OfEveryStructHasUniqueNamesAndSentences) {
  expect_described<stream_spec>();
  expect_described<stream_status>();
  expect_described<publisher>();
  expect_described<task_spec>();
  expect_described<task_status>();
  expect_described<task_order>();
  expect_described<task_progress>();
  expect_described<node_spec>();
  expect_described<node_load>();
  expect_described<node_status>();
  expect_described<edge_spec>();
  expect_described<edge_load>();
  expect_described<edge_status>();
  expect_described<edge_table>();
  expect_described<event>();
  expect_described<hook_call>();
}
