#include "runtime/origin/replica.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

replica_view view_of(std::size_t members, std::uint32_t quorum = 0) {
  replica_view v{.mark = {1, "o1"}, .members = {}, .quorum = quorum};
  for (std::size_t i = 1; i <= members; ++i)
    v.members.push_back({fmt::format("o{}", i), fmt::format("http://o{}.example.org:8080", i)});
  return v;
}

TEST(ReplicaView, WhoeverStoresAndWhoeverTakesOverShareAMember) {
  for (std::size_t n = 1; n <= most_members; ++n)
    for (std::uint32_t w = 0; w <= n; ++w) {
      auto view = view_of(n, w);
      if (!check(view))
        continue;
      EXPECT_GT(view.needed() + view.to_claim(), n) << n << " " << w;
      EXPECT_GT(2 * view.needed(), n) << "two that write would be told so by a common member";
      EXPECT_GE(view.to_claim(), 1U);
    }
  EXPECT_EQ(view_of(3).needed(), 2U);
  EXPECT_EQ(view_of(3).to_claim(), 2U);
  EXPECT_EQ(view_of(2).needed(), 2U);
  EXPECT_EQ(view_of(2).to_claim(), 1U);
  EXPECT_EQ(view_of(5, 4).to_claim(), 2U);
}

TEST(ReplicaView, RefusesWhatCannotBeSafe) {
  EXPECT_TRUE(check(view_of(1)));
  EXPECT_FALSE(check(view_of(0)));
  EXPECT_FALSE(check(view_of(most_members + 1)));
  EXPECT_FALSE(check(view_of(3, 1))) << "two parts of a cut network would both go on";
  EXPECT_FALSE(check(view_of(4, 2)));
  EXPECT_FALSE(check(view_of(3, 4)));
  auto twice = view_of(2);
  twice.members[1].name = "o1";
  EXPECT_FALSE(check(twice));
  auto odd = view_of(2);
  odd.members[1].name = "../o2";
  EXPECT_FALSE(check(odd));
  auto elsewhere = view_of(2);
  elsewhere.members[1].url = "file:///etc/passwd";
  EXPECT_FALSE(check(elsewhere));
  auto nobody = view_of(2);
  nobody.mark.holder.clear();
  EXPECT_FALSE(check(nobody));
}

TEST(ReplicaText, ComesBackAsItWas) {
  stamped_log log{{7, 12, "o1"}, "{\"a\":\n1}"};
  auto back = parse_log(to_text(log));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->stamp, log.stamp);
  EXPECT_EQ(back->json, log.json);
  EXPECT_TRUE(parse_log(to_text({{7, 12, "o1"}, {}}))->json.empty());
  EXPECT_EQ(parse_log("{\"a\":1}")->json, "{\"a\":1}") << "of an origin without copies";
  EXPECT_EQ(parse_log("{\"a\":1}")->stamp, log_stamp{});

  auto streams = parse_streams(to_text({{"show", {1, 2, "o1"}}, {"other", {3, 4, "o2"}, true}}));
  ASSERT_TRUE(streams);
  ASSERT_EQ(streams->size(), 2U);
  EXPECT_EQ((*streams)[0].stream, "show");
  EXPECT_FALSE((*streams)[0].removed);
  EXPECT_EQ((*streams)[1].stamp, (log_stamp{3, 4, "o2"}));
  EXPECT_TRUE((*streams)[1].removed);

  std::vector<segment_id> segments{{"show", {1, 2, "720p", 3}}, {"show", {1, 2, "1080p", 4}}};
  EXPECT_EQ(parse_segments(to_text(segments)).value(), segments);
  EXPECT_EQ(parse_mark(to_text(claim_mark{5, "o1"})).value(), (claim_mark{5, "o1"}));
  EXPECT_EQ(parse_mark("0").value(), claim_mark{});
}

TEST(ReplicaText, RefusesWhatNoMemberSays) {
  for (auto text : {"weir-log 1 2 o1", "weir-log 1 2 ../o1\n{}", "weir-log -1 2 o1\n{}", "weir-log 1 2 o1 x\n{}", "weir-log 99999999999999999999 2 o1\n{}"})
    EXPECT_FALSE(parse_log(text)) << text;
  for (auto text : {"1 2 o1\n", "1 2 o1 a/b\n", "1 2 o1 show gone\n", "\n", "x y z s\n"})
    EXPECT_FALSE(parse_streams(text)) << text;
  for (auto text : {"/s/../1/2/r/3.ts\n", "/etc/passwd\n", "/s/show~1/2/720p/03.ts\n", "/s/show~1/2/720p/3.0.m4s\n", "\n"})
    EXPECT_FALSE(parse_segments(text)) << text;
  for (auto text : {"", "x", "5", "5 a/b", "0 o1", "-5 o1"})
    EXPECT_FALSE(parse_mark(text)) << text;
  for (auto text : {"", "[]", "{\"mark\":5}", R"({"mark":{"term":5,"holder":"a b"}})",
                    R"({"mark":{"term":5,"holder":"o1"},"settled":{"mark":{"term":5,"holder":"o1"},"members":[{"name":"o1","url":"ftp://x"}],"quorum":0}})"})
    EXPECT_FALSE(parse_word(text)) << text;
  EXPECT_EQ(parse_streams(std::string(100'001 * 10, '\n')).error().code, error_code::corrupt);
}

TEST(ReplicaText, ListsSegmentsOldestFirstAndThenAllMaps) {
  const auto timing = timing_of(hls_profile::quick);
  const rung_info rung{"720p", 1280, 720, 25'000, "avc1.64001f", {1'000'000}};
  auto now = parse_rfc3339("2026-11-22T12:00:00Z").value();
  hls::segment_log log("show");
  ASSERT_TRUE(log.begin_writer(1, "pub", {rung}, timing, false, "m1"));
  log.maps_stored(1, 1);
  ASSERT_TRUE(log.begin_writer(2, "pub", {rung}, timing, true, "m2"));
  log.maps_stored(2, 1); // of a standby: nothing that is listed names it
  auto place = [](lease_epoch epoch, std::uint64_t msn, hls::segment_kind kind) { return segment_id{"show", {1, epoch, "720p", msn, kind}}; };
  const std::vector<segment_id> maps{place(1, 0, hls::segment_kind::map), place(2, 0, hls::segment_kind::map)};
  auto before = listed_segments(log.to_json());
  ASSERT_TRUE(before) << before.error().text;
  EXPECT_EQ(*before, maps) << "of a stream that is not open yet, too";
  std::vector<segment_id> all;
  for (std::uint64_t slot = 0; slot < 4; ++slot, now += 4s) {
    const segment_info segment{.rung = "720p", .slot = slot, .first_pts = static_cast<std::int64_t>(slot) * 360'000, .duration = 360'000, .independent = true, .discontinuity = false, .captured = now - 4s, .bytes = 100};
    ASSERT_EQ(log.offer(1, segment, 1, now), hls::offer_result::accepted);
    all.push_back(place(1, slot, hls::segment_kind::fmp4));
  }
  all.insert(all.end(), maps.begin(), maps.end());
  auto listed = listed_segments(log.to_json());
  ASSERT_TRUE(listed) << listed.error().text;
  EXPECT_EQ(*listed, all);
}

TEST(ReplicaText, TellsWhyAMemberRefused) {
  auto full = parse_refusal(500, R"({"code":"io-failed","detail":"write /x: No space left on device"})");
  EXPECT_EQ(full.code, error_code::io_failed);
  EXPECT_EQ(full.text, "write /x: No space left on device");
  EXPECT_EQ(parse_refusal(409, R"({"code":"fenced","detail":"term 5"})").code, error_code::fenced);
  EXPECT_EQ(parse_refusal(502, "<html>").code, error_code::unavailable);
  EXPECT_EQ(parse_refusal(502, "<html>").text, "answered with status 502");
  EXPECT_EQ(parse_refusal(500, R"({"code":"none","detail":"?"})").code, error_code::unavailable) << "a refusal is never a success";
  auto longer = parse_refusal(500, R"({"code":"internal","detail":")" + std::string(2'000, 'x') + "\\nend\"}");
  EXPECT_LE(longer.text.size(), 500U);
  EXPECT_TRUE(longer.text.ends_with("x end"));
}

TEST(ReplicaText, AMemberIsANodeWithItsDisk) {
  EXPECT_EQ(member_name("o1", "0123abcd"), "o1.0123abcd");
  EXPECT_EQ(node_of("o1.0123abcd"), "o1");
  EXPECT_EQ(disk_of("o1.0123abcd"), "0123abcd");
  for (auto plain : {"o1", "o1.example.org", "o1.0123abc", "o1.0123abcg", "o1.0123ABCD", ".0123abcd", ""}) {
    EXPECT_EQ(node_of(plain), plain);
    EXPECT_EQ(disk_of(plain), "") << plain;
  }
  const std::string longest(64, 'n');
  EXPECT_TRUE(is_member_name(longest + ".0123abcd"));
  EXPECT_FALSE(is_member_name(longest + "n.0123abcd"));
  EXPECT_FALSE(is_member_name(longest + ".0123abc"));
  EXPECT_FALSE(is_member_name("o1/.0123abcd"));
  EXPECT_EQ(parse_mark("5 o1.0123abcd").value().holder, "o1.0123abcd");
  EXPECT_TRUE(parse_word(R"({"mark":{"term":0,"holder":""},"settled":{"mark":{"term":0,"holder":""},"members":[],"quorum":0},"disk":"0123abcd","claims":3})"));
  EXPECT_FALSE(parse_word(R"({"mark":{"term":0,"holder":""},"settled":{"mark":{"term":0,"holder":""},"members":[],"quorum":0},"disk":"../../ab","claims":3})"));
}

} // namespace
} // namespace weir::origin
