#include "runtime/audience/audience.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace weir::audience;
using namespace std::chrono_literals;

namespace {

const books::steady_time start{1000s};

} // namespace

TEST(Beacon, IsReadStrictly) {
  auto word = parse_beacon(R"({"join_ms":1200,"stalls":2,"stalled_ms":700,"played_ms":30000,"edge":"https://e1.example.org"})");
  ASSERT_TRUE(word) << word.error().text;
  EXPECT_EQ(word->join_ms, 1200u);
  EXPECT_EQ(word->stalls, 2u);
  EXPECT_EQ(word->stalled_ms, 700u);
  EXPECT_EQ(word->played_ms, 30000u);
  EXPECT_EQ(word->edge, "https://e1.example.org");
  EXPECT_TRUE(parse_beacon("{}")) << "nothing happened";
  for (auto* text : {"", "[]", "null", "{", R"({"stalls":-1})", R"({"stalls":101})", R"({"stalls":1.5})", R"({"stalls":"1"})", R"({"played_ms":120001})", R"({"join_ms":300001})", R"({"who":"me"})"})
    EXPECT_FALSE(parse_beacon(text)) << text;
  EXPECT_FALSE(parse_beacon(R"({"edge":")" + std::string(257, 'e') + R"("})"));
  auto large = parse_beacon(std::string(beacon_limit + 1, ' '));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, error_code::too_large);
}

TEST(Books, SumByStreamAndByEdge) {
  books b;
  b.begun("hall");
  b.begun("hall");
  b.begun("foyer");
  ASSERT_TRUE(b.add("hall", "e1", {.join_ms = 800, .stalls = 1, .stalled_ms = 300, .played_ms = 10'000, .edge = {}}, "192.0.2.1", start));
  ASSERT_TRUE(b.add("hall", "e2", {.join_ms = 0, .stalls = 2, .stalled_ms = 500, .played_ms = 20'000, .edge = {}}, "192.0.2.2", start));
  ASSERT_TRUE(b.add("hall", "e2", {.join_ms = 1400, .stalls = 0, .stalled_ms = 0, .played_ms = 5'000, .edge = {}}, "192.0.2.3", start));
  auto sums = b.sums();
  ASSERT_EQ(sums.size(), 2u);
  EXPECT_EQ(sums[0].stream, "foyer");
  EXPECT_EQ(sums[0].sessions, 1u);
  EXPECT_EQ(sums[0].joins, 0u);
  EXPECT_EQ(sums[1].stream, "hall");
  EXPECT_EQ(sums[1].sessions, 2u);
  EXPECT_EQ(sums[1].joins, 2u);
  EXPECT_EQ(sums[1].join_ms, 2200u);
  EXPECT_EQ(sums[1].stalls, 3u);
  EXPECT_EQ(sums[1].stalled_ms, 800u);
  EXPECT_EQ(sums[1].played_ms, 35'000u);
  b.each([](const std::string& name, const stream_book& book) {
    if (name != "hall")
      return;
    ASSERT_EQ(book.by_edge.size(), 2u);
    EXPECT_EQ(book.by_edge.at("e1").stalls, 1u);
    EXPECT_EQ(book.by_edge.at("e2").played_ms, 25'000u);
  });
  b.forget([](std::string_view stream) { return stream == "hall"; });
  ASSERT_EQ(b.sums().size(), 1u);
  EXPECT_EQ(b.sums()[0].sessions, 2u);
}

TEST(Books, OneAddressSpeaksOnlyForAHall) {
  books b;
  for (std::uint32_t i = 0; i < books::most_from_one; ++i)
    ASSERT_TRUE(b.add("hall", "", {}, "192.0.2.1", start + 10ms));
  auto more = b.add("hall", "", {}, "192.0.2.1", start + 900ms);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, error_code::too_many);
  EXPECT_TRUE(b.add("hall", "", {}, "192.0.2.2", start + 900ms)) << "somebody else";
  EXPECT_TRUE(b.add("hall", "", {}, "192.0.2.1", start + 1010ms)) << "a second later";
}

TEST(Books, StayWithinBounds) {
  books b;
  for (std::size_t i = 0; i < books::most_streams + 10; ++i)
    b.begun("s" + std::to_string(i));
  EXPECT_EQ(b.sums().size(), books::most_streams);
  EXPECT_FALSE(b.add("one-more", "", {}, "192.0.2.1", start));
  for (std::size_t i = 0; i < books::most_edges + 10; ++i)
    ASSERT_TRUE(b.add("s1", "e" + std::to_string(i), {.join_ms = 0, .stalls = 1, .stalled_ms = 0, .played_ms = 0, .edge = {}}, std::to_string(i), start));
  b.each([](const std::string& name, const stream_book& book) {
    if (name == "s1") {
      EXPECT_EQ(book.by_edge.size(), books::most_edges + 1);
      EXPECT_EQ(book.by_edge.at("").stalls, 10u);
    }
  });
  std::size_t taken = 0;
  for (std::size_t i = 0; i < books::most_addresses + 10; ++i)
    taken += b.add("s1", "", {}, "a" + std::to_string(i), start + 5s).has_value();
  EXPECT_EQ(taken, books::most_addresses);
}
