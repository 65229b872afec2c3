// The hls pipeline on ordinary and on odd sources.
#include "runtime/media/time_line.hpp"
#include "runtime/media/ts_writer.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <gtest/gtest.h>

namespace weir::media {
namespace {

const std::string picture = "-f lavfi -i testsrc2=s=320x180:r=25 ";
const std::string tone = "-f lavfi -i sine=f=440:r=48000 ";
const std::string x264 = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p ";
const std::string aac = "-c:a aac -b:a 64k -ac 2 ";

/// What holds for every run, whatever the source: each segment decodes alone and is what its record says.
void check_segments(const pipeline_run& run, ticks frame = 90'000 / 25 + 90) {
  ASSERT_FALSE(run.rungs.empty());
  std::map<std::string, std::vector<media_report>> reports;
  std::map<std::string, segment_info> last;
  for (auto& s : run.segments) {
    auto report = probe_bytes(s.bytes);
    ASSERT_TRUE(report) << s.info.rung << " " << s.info.slot << ": " << report.error().text;
    EXPECT_EQ(report->errors, 0) << s.info.rung << " slot " << s.info.slot;
    EXPECT_GT(s.info.duration, 0);
    EXPECT_LE(s.info.duration, 2 * 90'000 + frame);
    const bool has_picture = !report->video.empty();
    if (has_picture) {
      EXPECT_TRUE(report->starts_with_key);
      EXPECT_EQ(report->first_pts, (s.info.first_pts + ts_writer::lead) % (1LL << 33)) << s.info.rung << " slot " << s.info.slot;
      EXPECT_NEAR(double(report->last_pts - report->first_pts), double(s.info.duration - frame), double(2 * frame));
    }
    if (auto before = last.find(s.info.rung); before != last.end()) {
      EXPECT_GT(s.info.slot, before->second.slot);
      if (s.info.slot == before->second.slot + 1 && !s.info.discontinuity) {
        EXPECT_NEAR(double(before->second.first_pts + before->second.duration), double(s.info.first_pts), double(frame));
      }
    }
    last[s.info.rung] = s.info;
    reports[s.info.rung].push_back(std::move(*report));
  }
}

/// Key frames of all rungs, by slot.
std::map<std::string, std::vector<std::int64_t>> keys_of(const pipeline_run& run) {
  std::map<std::string, std::vector<std::int64_t>> keys;
  for (auto& s : run.segments)
    if (auto report = probe_bytes(s.bytes))
      for (auto pts : report->key_pts)
        keys[s.info.rung].push_back(pts);
  return keys;
}

TEST(HlsPipeline, CutsAlignedSegmentsThatDecodeAlone) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 6");
  pipeline_run run(hls_of(clip));
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::source_ended) << run.end->text;
  check_segments(run);
  auto top = run.of("180p"), low = run.of("90p");
  ASSERT_EQ(top.size(), 3u);
  ASSERT_EQ(low.size(), 3u);
  ticks sum = 0;
  for (std::size_t i = 0; i < top.size(); ++i) {
    EXPECT_EQ(top[i].info.slot, low[i].info.slot);
    EXPECT_EQ(top[i].info.first_pts, low[i].info.first_pts);
    EXPECT_EQ(top[i].info.duration, low[i].info.duration);
    EXPECT_FALSE(top[i].info.discontinuity);
    sum += top[i].info.duration;
  }
  EXPECT_NEAR(double(sum), 6 * 90'000.0, 90'000.0 / 25);
  auto keys = keys_of(run);
  EXPECT_EQ(keys["180p"], keys["90p"]);
  EXPECT_EQ(keys["180p"].size(), 6u); // one each second
  ASSERT_EQ(run.rungs.size(), 1u);
  ASSERT_EQ(run.rungs[0].rungs.size(), 2u);
  auto& info = run.rungs[0].rungs[0];
  EXPECT_EQ(info.name, "180p");
  EXPECT_EQ(info.width, 320u);
  EXPECT_EQ(info.height, 180u);
  EXPECT_EQ(info.fps_milli, 25'000);
  auto report = probe_bytes(top[1].bytes);
  ASSERT_TRUE(report);
  EXPECT_EQ(info.codecs, report->avc + ",mp4a.40.2");
  EXPECT_EQ(report->audio, "aac");
  EXPECT_EQ(report->channels, 2u);
  EXPECT_NEAR(double(report->first_sound_pts), double(report->first_pts), 4000.0);
  EXPECT_NEAR(double(report->samples), 2 * 48'000.0, 2048.0);
}

} // namespace
} // namespace weir::media
