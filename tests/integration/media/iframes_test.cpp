// Key frames that the pipeline tells of its segments: each range is one picture, and nothing else is needed to show it but what stands before all of them.
#include "runtime/media/time_line.hpp"
#include "runtime/media/ts_writer.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::media {
namespace {

/// Packets of transport stream; of each the PID.
std::vector<int> pids_of(std::string_view bytes) {
  std::vector<int> pids;
  EXPECT_EQ(bytes.size() % 188, 0u);
  for (std::size_t at = 0; at + 188 <= bytes.size(); at += 188) {
    EXPECT_EQ(bytes[at], 'G');
    pids.push_back((static_cast<unsigned char>(bytes[at + 1]) & 0x1f) << 8 | static_cast<unsigned char>(bytes[at + 2]));
  }
  return pids;
}

/// That the ranges begin and end where they should is seen in what is decoded of them. Returns how many there are.
std::size_t check_keys(const pipeline_run& run) {
  std::size_t all = 0;
  for (auto& s : run.segments) {
    SCOPED_TRACE(fmt::format("{} slot {}", s.info.rung, s.info.slot));
    const auto map = map_of(run, s.info.rung);
    auto whole = probe_bytes(map + s.bytes);
    if (!whole || whole->errors != 0) {
      ADD_FAILURE() << "the segment itself does not decode";
      continue;
    }
    std::vector<std::int64_t> told;
    for (auto& k : s.info.keys)
      told.push_back((s.info.first_pts + k.time + ts_writer::lead) % (1LL << 33));
    EXPECT_EQ(told, whole->key_pts);
    for (auto& k : s.info.keys) {
      ++all;
      SCOPED_TRACE(fmt::format("{} bytes at {}, {} ticks in", k.bytes, k.offset, k.time));
      if (k.offset + k.bytes > s.bytes.size()) {
        ADD_FAILURE() << "outside of the segment";
        continue;
      }
      const auto range = s.bytes.substr(k.offset, k.bytes);
      if (map.empty())
        for (auto pid : pids_of(range))
          EXPECT_EQ(pid, 0x100) << "neither tables nor sound";
      else
        EXPECT_EQ(range.substr(4, 4), "moof");
      const auto head = map.empty() ? s.bytes.substr(0, s.info.keys.front().offset) : map; // RFC 8216 4.3.3.6
      auto one = probe_bytes(head + range);
      if (!one) {
        ADD_FAILURE() << one.error().text;
        continue;
      }
      EXPECT_EQ(one->errors, 0);
      EXPECT_EQ(one->pictures, 1);
      EXPECT_TRUE(one->starts_with_key);
      EXPECT_EQ(one->first_pts, (s.info.first_pts + k.time + ts_writer::lead) % (1LL << 33));
      EXPECT_EQ(one->width, whole->width);
    }
  }
  return all;
}

TEST(KeyFrames, OfTransportStreamsAreWholePictures) {
  scratch_folder folder;
  pipeline_run run(hls_of(make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 6")));
  run.finish();
  EXPECT_EQ(check_keys(run), 12u) << "six of each rung";
}

TEST(KeyFrames, OfFragmentsAreWholePictures) {
  scratch_folder folder;
  auto settings = hls_of(make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 6"));
  settings.ladder.preset = "veryfast"; // reorders pictures
  pipeline_run run(in_fmp4(settings));
  run.finish();
  EXPECT_EQ(check_keys(run), 12u);
}

TEST(KeyFrames, OfSegmentsInPartsAreThoseOfTheWhole) {
  scratch_folder folder;
  auto settings = in_fmp4(hls_of(make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 6")));
  for (auto part : {400, 1000}) { // with the first a key frame comes in the middle of a part
    settings.part = milliseconds(part);
    pipeline_run run(settings);
    run.finish();
    EXPECT_EQ(check_keys(run), 12u) << part;
    EXPECT_GT(run.parts.size(), 10u);
  }
}

TEST(KeyFrames, OfACopiedPictureAreTheSources) {
  scratch_folder folder;
  auto settings =
    passing_top(hls_of(make_clip(folder, "a.flv", picture + tone + "-c:v libx264 -preset veryfast -bf 2 -g 50 -sc_threshold 0 -pix_fmt yuv420p " + aac + "-t 8")));
  for (auto& one : {settings, in_fmp4(settings)}) {
    pipeline_run run(one);
    run.finish();
    ASSERT_TRUE(run.rungs.at(0).passed_through);
    EXPECT_GT(check_keys(run), 8u);
    EXPECT_EQ(run.of("180p").at(0).info.keys.size(), 1u) << "every 2 s";
    EXPECT_EQ(run.of("90p").at(0).info.keys.size(), 2u);
  }
}

TEST(KeyFrames, ThereAreNoneOfSoundAlone) {
  scratch_folder folder;
  auto settings = hls_of(make_clip(folder, "a.flv", tone + aac + "-t 4"));
  for (auto& one : {settings, in_fmp4(settings)}) {
    pipeline_run run(one);
    run.finish();
    ASSERT_FALSE(run.segments.empty());
    for (auto& s : run.segments)
      EXPECT_TRUE(s.info.keys.empty());
  }
}

} // namespace
} // namespace weir::media
