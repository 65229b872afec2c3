#include "runtime/media/ladder.hpp"

#include "runtime/media/av.hpp"
#include "runtime/media/libav_log.hpp"
#include "runtime/media/restream_pipeline.hpp"

#include <gtest/gtest.h>

namespace weir::media {
namespace {

ladder_spec four_rungs() {
  ladder_spec l;
  l.rungs = {{"1080p", 1080, bit_rate{5'000'000}, 60}, {"720p", 720, bit_rate{3'000'000}, 60}, {"480p", 480, bit_rate{1'400'000}, 30}, {"360p", 360, bit_rate{700'000}, 30}};
  return l;
}

TEST(Ladder, LeavesOutWhatIsAboveTheSource) {
  auto plan = plan_ladder(four_rungs(), {1280, 720, 1, 1, 30'000}).value();
  ASSERT_EQ(plan.size(), 3u);
  EXPECT_EQ(plan[0], (rung_plan{"720p", 1280, 720, 1, 30'000, bit_rate{3'000'000}}));
  EXPECT_EQ(plan[1].width, 854u);
  EXPECT_EQ(plan[2].width, 640u);
}

TEST(Ladder, GivesASmallSourceOneRungOfItsHeight) {
  auto plan = plan_ladder(four_rungs(), {320, 181, 1, 1, 25'000}).value();
  ASSERT_EQ(plan.size(), 1u);
  EXPECT_EQ(plan[0], (rung_plan{"180p", 318, 180, 1, 25'000, bit_rate{700'000}}));
}

TEST(Ladder, KeepsTheShapeOfThePicture) {
  EXPECT_EQ(plan_ladder(four_rungs(), {720, 576, 16, 15, 25'000}).value()[0].width, 640u) << "4:3 in PAL's pixels";
  EXPECT_EQ(plan_ladder(four_rungs(), {1440, 1080, 4, 3, 25'000}).value()[0].width, 1920u);
  EXPECT_EQ(plan_ladder(four_rungs(), {1080, 1920, 1, 1, 25'000}).value()[0].width, 608u) << "upright";
  auto odd = plan_ladder(four_rungs(), {641, 361, 1, 1, 25'000}).value();
  for (auto& rung : odd) {
    EXPECT_EQ(rung.width % 2, 0u);
    EXPECT_EQ(rung.height % 2, 0u);
  }
}

TEST(Ladder, ReducesTheFrameRateByWholeFactors) {
  auto plan = plan_ladder(four_rungs(), {1920, 1080, 1, 1, 50'000}).value();
  EXPECT_EQ(plan[0].every, 1u);
  EXPECT_EQ(plan[2].every, 2u);
  EXPECT_EQ(plan[2].fps_milli, 25'000);
  EXPECT_EQ(plan_ladder(four_rungs(), {1920, 1080, 1, 1, 30'010}).value()[2].every, 1u) << "what a clock in ms makes of 30";
  EXPECT_EQ(plan_ladder(four_rungs(), {1920, 1080, 1, 1, 100'000}).value()[2].every, 4u);
}

TEST(Ladder, StaysWithinTheHighestLevelThatPlayersShow) {
  ladder_spec l;
  l.rungs = {{"2160p", 2160, bit_rate{20'000'000}, 120}, {"1080p", 1080, bit_rate{5'000'000}, 120}};
  auto plan = plan_ladder(l, {3840, 2160, 1, 1, 120'000}).value();
  EXPECT_EQ(plan[0].fps_milli, 60'000);
  EXPECT_EQ(plan[1].fps_milli, 120'000);
  EXPECT_EQ(plan_ladder(l, {3840, 2160, 1, 1, 60'000}).value()[0].every, 1u);
}

TEST(Ladder, LeavesOutFromTheTopAndKeepsTheLastOne) {
  const auto whole = plan_ladder(four_rungs(), {1920, 1080, 1, 1, 25'000}).value();
  auto names = [](const std::vector<rung_plan>& plan) {
    std::string all;
    for (auto& r : plan)
      all += r.name + " ";
    return all;
  };
  EXPECT_EQ(most_left_out(whole.size(), false), 3u);
  EXPECT_EQ(without_top(whole, 0, false), whole);
  EXPECT_EQ(names(without_top(whole, 1, false)), "720p 480p 360p ");
  EXPECT_EQ(names(without_top(whole, 9, false)), "360p ");
  // What is passed through costs nothing: it stays, and so does one that is encoded.
  EXPECT_EQ(most_left_out(whole.size(), true), 2u);
  EXPECT_EQ(names(without_top(whole, 1, true)), "1080p 480p 360p ");
  EXPECT_EQ(names(without_top(whole, 9, true)), "1080p 360p ");
  const std::vector<rung_plan> one{whole[0]};
  EXPECT_EQ(most_left_out(one.size(), true), 0u);
  EXPECT_EQ(without_top(one, 1, true), one);
  EXPECT_EQ(without_top(one, 1, false), one);
}

TEST(Ladder, RefusesWhatNoEncoderShouldSee) {
  EXPECT_EQ(plan_ladder(four_rungs(), {8192, 8192, 1, 1, 25'000}).error().code, error_code::unsupported);
  EXPECT_EQ(plan_ladder(four_rungs(), {0, 0, 1, 1, 25'000}).error().code, error_code::unsupported);
  auto twice = four_rungs();
  twice.rungs[1].name = "1080p";
  EXPECT_EQ(check_ladder(twice).error().code, error_code::invalid_config);
  auto odd = four_rungs();
  odd.preset = "placebo";
  EXPECT_EQ(check_ladder(odd).error().code, error_code::invalid_config);
  EXPECT_EQ(check_ladder({}).error().code, error_code::invalid_config);
}

TEST(AvcName, ReadsBothForms) {
  const std::uint8_t avcc[] = {1, 0x64, 0x00, 0x1f, 0xff};
  const std::uint8_t annex_b[] = {0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0, 0, 1, 0x68};
  EXPECT_EQ(avc_name(avcc, sizeof avcc), "avc1.64001f");
  EXPECT_EQ(avc_name(annex_b, sizeof annex_b), "avc1.42c01e");
  EXPECT_EQ(avc_name(annex_b, 6), "");
  EXPECT_EQ(avc_name(nullptr, 0), "");
}

TEST(Secrets, LeaveNoTraceOfKeysInLibavsLines) {
  configure c;
  c.input_url = "rtmp://127.0.0.1/live/town?key=hunter2hunter2&vhost=a.example";
  c.target_url = "rtmps://user:passw0rd@a.rtmp.example.com/live2/abcd-efgh-ijkl?token=t0ken99";
  auto secrets = secrets_of(c);
  for (auto line : {"[rtmp @ 0x1] Cannot open rtmps://user:passw0rd@a.rtmp.example.com/live2/abcd-efgh-ijkl?token=t0ken99: refused", "stream abcd-efgh-ijkl is busy",
                    "opening live2/abcd-efgh-ijkl", "reading rtmp://127.0.0.1/live/town?key=hunter2hunter2&vhost=a.example", "login passw0rd t0ken99"}) {
    auto masked = without_secrets(line, secrets);
    for (auto secret : {"hunter2", "passw0rd", "abcd-efgh", "t0ken99"})
      EXPECT_EQ(masked.find(secret), masked.npos) << masked;
  }
  EXPECT_EQ(without_secrets("target a.rtmp.example.com is silent", secrets), "target a.rtmp.example.com is silent");
}

TEST(Refusal, IsToldFromAnUnreachableTarget) {
  EXPECT_EQ(cause_of_refusal(-1, "[rtmp @ 0x1] Server error: Authorization failed"), end_cause::target_refused);
  EXPECT_EQ(cause_of_refusal(-1, "[rtmp @ 0x1] Server error: Already publishing"), end_cause::target_unreachable);
  EXPECT_EQ(cause_of_refusal(-1, "NetStream.Publish.BadName"), end_cause::target_unreachable);
  EXPECT_EQ(cause_of_refusal(-5, "[tcp @ 0x1] Failed to resolve hostname nowhere.example"), end_cause::target_unreachable);
  EXPECT_EQ(cause_of_refusal(-5, ""), end_cause::target_refused) << "closed instead of an answer";
  EXPECT_EQ(cause_of_refusal(-111, ""), end_cause::target_unreachable);
}

TEST(Refusal, MayBeOverInAMomentUnlessAKeyIsRefused) {
  EXPECT_TRUE(may_open_soon(-1, "[rtmp @ 0x1] Server error: Already publishing"));
  EXPECT_TRUE(may_open_soon(-1, "NetStream.Publish.BadName"));
  EXPECT_TRUE(may_open_soon(-111, "[rtmp @ 0x1] Cannot open connection tcp://127.0.0.1:1935?tcp_nodelay=0"));
  EXPECT_TRUE(may_open_soon(-104, "[rtmp @ 0x1] Cannot open connection tcp://127.0.0.1:1935?tcp_nodelay=0"));
  EXPECT_TRUE(may_open_soon(-104, "[rtmp @ 0x1] Cannot read RTMP handshake response"));
  EXPECT_FALSE(may_open_soon(-104, "")) << "closed instead of an answer";
  EXPECT_FALSE(may_open_soon(-5, ""));
  EXPECT_FALSE(may_open_soon(-1, "[rtmp @ 0x1] Server error: Authorization failed"));
  EXPECT_FALSE(may_open_soon(-5, "[tcp @ 0x1] Failed to resolve hostname nowhere.example"));
  EXPECT_FALSE(may_open_soon(-110, "")) << "that was patience enough";
}

} // namespace
} // namespace weir::media
