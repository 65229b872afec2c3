// The hls pipeline on ordinary and on odd sources.
#include "runtime/media/fmp4_writer.hpp"
#include "runtime/media/time_line.hpp"
#include "runtime/media/ts_writer.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <span>

namespace weir::media {
namespace {

/// That a segment is what players were told of its rung.
void check_announced(const rung_info& told, const media_report& made) {
  EXPECT_EQ(made.width, told.width);
  EXPECT_EQ(made.height, told.height);
  EXPECT_EQ(made.avc + (made.avc.empty() || made.aac.empty() ? "" : ",") + made.aac, told.codecs);
}

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
    {
      SCOPED_TRACE(fmt::format("{} slot {}", s.info.rung, s.info.slot));
      check_announced(run.announced(s), *report);
    }
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

/// Packets of transport stream with payload, by PID.
struct counted_packets {
  std::map<int, int> pids;
  std::vector<std::string> breaks; ///< where a continuity counter does not go on
};
counted_packets count_packets(const std::vector<made_segment>& segments) {
  counted_packets all;
  std::map<int, int> counters;
  for (auto& s : segments) {
    if (s.info.discontinuity)
      counters.clear();
    EXPECT_EQ(s.bytes.size() % 188, 0u);
    for (std::size_t at = 0; at + 188 <= s.bytes.size(); at += 188) {
      auto byte = [&](std::size_t i) { return static_cast<int>(static_cast<unsigned char>(s.bytes[at + i])); };
      EXPECT_EQ(byte(0), 0x47);
      const int pid = (byte(1) & 0x1f) << 8 | byte(2), counter = byte(3) & 0x0f, payload = (byte(3) & 0x10) != 0;
      all.pids[pid] += payload;
      if (auto before = counters.find(pid); before != counters.end() && counter != (before->second + payload) % 16)
        all.breaks.push_back(fmt::format("PID {} in slot {} at {}: {} after {}", pid, s.info.slot, at, counter, before->second));
      counters[pid] = counter;
    }
  }
  return all;
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


TEST(HlsPipeline, NamesASlotAlikeWheneverATranscoderJoins) {
  scratch_folder folder;
  // The publisher's key frames lie off our grid; the second transcoder joins 2.3 s later.
  make_clip(folder, "whole.flv", picture + tone + "-c:v libx264 -preset ultrafast -g 37 -pix_fmt yuv420p " + aac + "-t 9");
  make_clip(folder, "late.flv", "-ss 2.3 -copyts -i " + folder.file("whole.flv") + " -c copy -copyts -flvflags no_duration_filesize");
  pipeline_run early(hls_of(folder.file("whole.flv"))), late(hls_of(folder.file("late.flv")));
  early.finish();
  late.finish();
  check_segments(early);
  check_segments(late);
  std::map<std::uint64_t, ticks> starts;
  for (auto& s : early.of("180p"))
    starts[s.info.slot] = s.info.first_pts;
  auto joined = late.of("180p");
  ASSERT_GE(joined.size(), 3u);
  for (std::size_t i = 1; i < joined.size(); ++i)
    EXPECT_EQ(starts.at(joined[i].info.slot), joined[i].info.first_pts);
  auto all = keys_of(early)["180p"], of_late = keys_of(late)["180p"];
  for (auto key : of_late)
    EXPECT_NE(std::find(all.begin(), all.end(), key), all.end()) << "a key frame that the other does not have, at " << key;
}

TEST(HlsPipeline, TakesASourceWithoutSound) {
  scratch_folder folder;
  pipeline_run run(hls_of(make_clip(folder, "a.flv", picture + x264 + "-t 4")));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.of("180p").size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs[0].codecs.find("mp4a"), std::string::npos);
  EXPECT_EQ(probe_bytes(run.segments[0].bytes)->audio, "");
  EXPECT_EQ(run.inputs[0].audio, "");
}

TEST(HlsPipeline, TakesASourceWithoutPicture) {
  scratch_folder folder;
  pipeline_run run(hls_of(make_clip(folder, "a.flv", tone + aac + "-t 6")));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.rungs.at(0).rungs.size(), 1u);
  auto& info = run.rungs[0].rungs[0];
  EXPECT_EQ(info.name, "audio");
  EXPECT_EQ(info.codecs, "mp4a.40.2");
  EXPECT_EQ(info.width, 0u);
  auto made = run.of("audio");
  ASSERT_GE(made.size(), 3u);
  ticks sum = 0;
  for (auto& s : made)
    sum += s.info.duration;
  EXPECT_NEAR(double(sum), 6 * 90'000.0, 90'000 / 10.0);
}

TEST(HlsPipeline, MakesMonoStereo) {
  scratch_folder folder;
  pipeline_run run(hls_of(make_clip(folder, "a.flv", picture + "-f lavfi -i sine=r=44100 " + x264 + "-c:a aac -ac 1 -t 4")));
  run.finish();
  check_segments(run);
  auto report = probe_bytes(run.of("180p").at(1).bytes);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->channels, 2u);
  EXPECT_EQ(report->sample_rate, 44'100u);
  EXPECT_EQ(run.inputs.at(0).channels, 1u);
}

TEST(HlsPipeline, HalvesTheFrameRateWhereARungWantsIt) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", "-f lavfi -i testsrc2=s=320x180:r=50 " + x264 + "-t 4");
  pipeline_run run(hls_of(clip, {{"180p", 180, bit_rate{300'000}, 60}, {"90p", 90, bit_rate{100'000}, 30}}));
  run.finish();
  check_segments(run);
  EXPECT_EQ(run.rungs.at(0).rungs.at(0).fps_milli, 50'000);
  EXPECT_EQ(run.rungs.at(0).rungs.at(1).fps_milli, 25'000);
  EXPECT_EQ(probe_bytes(run.of("180p").at(0).bytes)->pictures, 100);
  EXPECT_EQ(probe_bytes(run.of("90p").at(0).bytes)->pictures, 50);
  auto keys = keys_of(run);
  EXPECT_EQ(keys["180p"], keys["90p"]);
}

TEST(HlsPipeline, TakesReorderedPicturesAndRareKeyFrames) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + "-c:v libx264 -preset veryfast -bf 3 -g 250 -pix_fmt yuv420p " + aac + "-t 11");
  auto settings = hls_of(clip);
  settings.ladder.preset = "veryfast"; // reorders its own pictures too
  pipeline_run run(settings);
  run.finish();
  check_segments(run);
  EXPECT_EQ(run.of("180p").size(), 6u);
  auto keys = keys_of(run);
  EXPECT_EQ(keys["180p"], keys["90p"]);
  EXPECT_EQ(keys["180p"].size(), 11u);
  std::int64_t pictures = 0;
  for (auto& s : run.of("180p"))
    pictures += probe_bytes(s.bytes)->pictures;
  EXPECT_EQ(pictures, 252) << "all from 1 s on: the first one stands two pictures past a grid point, where nobody may begin";
}

TEST(HlsPipeline, KeepsOddShapes) {
  scratch_folder folder;
  // 4:3 in wide pixels, an odd size, and a source below every rung.
  pipeline_run wide(hls_of(make_clip(folder, "a.flv", "-f lavfi -i testsrc2=s=240x180:r=25 -vf setsar=16/15 " + x264 + "-t 2")));
  pipeline_run odd(hls_of(make_clip(folder, "b.mkv", "-f lavfi -i testsrc2=s=321x181:r=25 -c:v libx264 -preset ultrafast -pix_fmt yuv444p -t 2")));
  pipeline_run small(hls_of(make_clip(folder, "c.flv", "-f lavfi -i testsrc2=s=96x64:r=25 " + x264 + "-t 2")));
  for (auto* run : {&wide, &odd, &small}) {
    run->finish();
    check_segments(*run);
  }
  EXPECT_EQ(wide.rungs.at(0).rungs.at(0).width, 256u);
  EXPECT_EQ(odd.rungs.at(0).rungs.at(0).height, 180u);
  ASSERT_EQ(small.rungs.at(0).rungs.size(), 1u);
  EXPECT_EQ(small.rungs[0].rungs[0].height, 64u);
  EXPECT_EQ(small.rungs[0].rungs[0].name, "64p");
}

TEST(HlsPipeline, GoesOnWithADiscontinuityWhenTheClockJumps) {
  scratch_folder folder;
  auto first = make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0");
  // One back, one forward.
  for (auto [name, offset] : {std::pair{"back", "-output_ts_offset 0"}, std::pair{"forward", "-output_ts_offset 5000"}}) {
    auto start = make_clip(folder, std::string(name) + "1.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 1000");
    auto rest = make_clip(folder, std::string(name) + "2.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0 " + offset);
    auto both = folder.file(std::string(name) + ".ts");
    ASSERT_EQ(std::system(("cat " + start + " " + rest + " > " + both).c_str()), 0);
    pipeline_run run(hls_of(both));
    run.finish();
    EXPECT_EQ(run.end->cause, end_cause::source_ended);
    check_segments(run);
    auto made = run.of("180p");
    ASSERT_GE(made.size(), 5u) << name;
    auto seam = std::find_if(made.begin(), made.end(), [](auto& s) { return s.info.discontinuity; });
    ASSERT_NE(seam, made.end()) << name;
    EXPECT_EQ(std::count_if(made.begin(), made.end(), [](auto& s) { return s.info.discontinuity; }), 1) << name;
    EXPECT_EQ(seam->info.slot, std::prev(seam)->info.slot + 1) << name;
    auto low = run.of("90p");
    auto low_seam = std::find_if(low.begin(), low.end(), [](auto& s) { return s.info.discontinuity; });
    ASSERT_NE(low_seam, low.end());
    EXPECT_EQ(low_seam->info.slot, seam->info.slot);
  }
}

// --- fragmented MP4 -----------------------------------------------------------------------------------------------------------------------------
/// Decode times that ffprobe finds in a file, in its own time base.
std::vector<long long> decode_times(const std::string& path, char stream) {
  std::vector<long long> all;
  auto command = fmt::format("ffprobe -v error -select_streams {} -show_entries packet=dts -of csv=p=0 {}", stream, path);
  std::unique_ptr<FILE, int (*)(FILE*)> out(::popen(command.c_str(), "r"), ::pclose);
  char line[200];
  while (out && std::fgets(line, sizeof line, out.get()))
    if (long long dts = 0; std::sscanf(line, "%lld", &dts) == 1)
      all.push_back(dts);
  return all;
}

std::string joined(const scratch_folder& folder, const std::string& map, const std::vector<made_segment>& segments) {
  auto path = folder.file("joined.mp4");
  std::ofstream out(path, std::ios::binary);
  out << map;
  for (auto& s : segments)
    out << s.bytes;
  return path;
}

TEST(HlsPipeline, MakesTheSameOfASourceInBothContainers) {
  scratch_folder folder;
  for (auto [preset, rate] : {std::pair{"ultrafast", 48'000}, std::pair{"veryfast", 44'100}}) { // the second reorders pictures
    SCOPED_TRACE(fmt::format("{} {}", preset, rate));
    auto clip = make_clip(folder, "a.flv", picture + fmt::format("-f lavfi -i sine=f=440:r={} ", rate) + x264 + aac + "-t 6");
    auto settings = hls_of(clip);
    settings.ladder.preset = preset;
    pipeline_run ts(settings), mp4(in_fmp4(settings));
    ts.finish();
    mp4.finish();
    ASSERT_EQ(mp4.end->cause, end_cause::source_ended) << mp4.end->text;
    EXPECT_TRUE(ts.rungs.at(0).maps.empty());
    auto without_rates = [](std::vector<rung_info> rungs) {
      for (auto& r : rungs)
        r.nominal = {};
      return rungs;
    };
    EXPECT_EQ(without_rates(ts.rungs.at(0).rungs), without_rates(mp4.rungs.at(0).rungs)) << "codecs and size";
    for (auto rung : {"180p", "90p"}) {
      auto map = map_of(mp4, rung);
      EXPECT_EQ(boxes_of(map), "ftyp moov");
      auto a = ts.of(rung), b = mp4.of(rung);
      ASSERT_EQ(a.size(), b.size());
      ASSERT_GE(a.size(), 3u);
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_EQ(a[i].info.slot, b[i].info.slot);
        EXPECT_EQ(a[i].info.first_pts, b[i].info.first_pts);
        EXPECT_EQ(a[i].info.duration, b[i].info.duration);
        EXPECT_EQ(boxes_of(b[i].bytes), "moof mdat moof mdat moof mdat moof mdat") << "for each key frame one of pictures, and one of sound";
        EXPECT_EQ(b[i].info.keys.size(), a[i].info.keys.size());
        for (auto& key : b[i].info.keys) {
          const auto range = b[i].bytes.substr(key.offset, key.bytes);
          EXPECT_EQ(boxes_of(range), "moof?") << "half a fragment, whose mdat goes on behind the key frame";
          EXPECT_EQ(range.find("traf"), range.rfind("traf")) << "of pictures alone";
        }
        auto in_ts = probe_bytes(a[i].bytes), in_mp4 = probe_bytes(map + b[i].bytes);
        ASSERT_TRUE(in_ts && in_mp4) << i;
        EXPECT_EQ(in_mp4->errors, 0);
        EXPECT_TRUE(in_mp4->starts_with_key);
        EXPECT_EQ(in_mp4->pictures, in_ts->pictures);
        EXPECT_EQ(in_mp4->first_pts, in_ts->first_pts) << "the very same clock: neither edit list nor shift";
        EXPECT_EQ(in_mp4->last_pts, in_ts->last_pts);
        EXPECT_EQ(in_mp4->key_pts, in_ts->key_pts);
        EXPECT_NEAR(double(in_mp4->first_sound_pts), double(in_ts->first_sound_pts), 3.0);
        EXPECT_NEAR(double(in_mp4->last_sound_pts), double(in_ts->last_sound_pts), 3.0);
        EXPECT_EQ(in_mp4->avc + ",mp4a.40.2", mp4.rungs[0].rungs[rung == std::string("180p") ? 0 : 1].codecs);
      }
      // One run of pictures and sound without a hole or an overlap, over all segments.
      auto whole = joined(folder, map, b);
      for (char stream : {'v', 'a'}) {
        auto dts = decode_times(whole, stream);
        ASSERT_GT(dts.size(), 100u) << stream;
        for (std::size_t i = 1; i < dts.size(); ++i)
          EXPECT_NEAR(double(dts[i] - dts[i - 1]), stream == 'v' ? 90'000.0 / 25 : 1024.0, stream == 'v' ? 0.0 : 1.0) << stream << i;
      }
      EXPECT_EQ(probe_file(whole)->errors, 0);
    }
  }
}

TEST(HlsPipeline, MakesOneMapOfOneSetOfParameters) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 3");
  auto wide = make_clip(folder, "b.flv", "-f lavfi -i testsrc2=s=240x180:r=25 " + tone + x264 + aac + "-t 3");
  pipeline_run first(in_fmp4(hls_of(clip))), second(in_fmp4(hls_of(clip))), other(in_fmp4(hls_of(wide)));
  for (auto* run : {&first, &second, &other})
    run->finish();
  EXPECT_EQ(first.rungs.at(0).maps, second.rungs.at(0).maps) << "whoever makes them";
  EXPECT_NE(first.rungs[0].maps, other.rungs.at(0).maps);
  EXPECT_NE(map_of(first, "180p"), map_of(first, "90p"));
}

TEST(HlsPipeline, PacksSoundAloneAndACopiedPictureInFragments) {
  scratch_folder folder;
  pipeline_run sound(in_fmp4(hls_of(make_clip(folder, "a.flv", tone + aac + "-t 5"))));
  sound.finish();
  ASSERT_GE(sound.of("audio").size(), 2u);
  for (auto& s : sound.of("audio")) {
    auto report = probe_bytes(map_of(sound, "audio") + s.bytes);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->errors, 0);
    EXPECT_EQ(report->audio, "aac");
    EXPECT_GT(report->samples, 10'000);
  }
  auto settings =
    passing_top(hls_of(make_clip(folder, "b.flv", picture + tone + "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p " + aac + "-t 6")));
  pipeline_run passed(in_fmp4(settings)), in_ts(settings);
  passed.finish();
  in_ts.finish();
  ASSERT_TRUE(passed.rungs.at(0).passed_through);
  auto a = passed.of("180p"), b = in_ts.of("180p");
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    auto report = probe_bytes(map_of(passed, "180p") + a[i].bytes), there = probe_bytes(b[i].bytes);
    ASSERT_TRUE(report && there);
    check_announced(passed.announced(a[i]), *report);
    check_announced(in_ts.announced(b[i]), *there);
    EXPECT_EQ(report->errors, 0);
    EXPECT_EQ(report->pictures, there->pictures);
    EXPECT_EQ(report->first_pts, there->first_pts);
    EXPECT_EQ(report->last_pts, there->last_pts);
  }
}

TEST(HlsPipeline, CountsOnInFragmentsWhenTheClockJumpsAndTheLadderChanges) {
  scratch_folder folder;
  auto start = make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 1000");
  auto rest = make_clip(folder, "2.ts", "-f lavfi -i testsrc2=s=240x180:r=25 " + tone + x264 + aac + "-t 5 -muxdelay 0");
  ASSERT_EQ(std::system(("cat " + start + " " + rest + " > " + folder.file("both.ts")).c_str()), 0);
  pipeline_run run(in_fmp4(hls_of(folder.file("both.ts"))));
  run.finish();
  ASSERT_GE(run.rungs.size(), 2u);
  EXPECT_NE(run.rungs.front().maps, run.rungs.back().maps);
  auto made = run.of("180p");
  auto seam = std::find_if(made.begin(), made.end(), [](auto& s) { return s.info.discontinuity; });
  ASSERT_NE(seam, made.end());
  for (auto s = seam; s != made.end(); ++s) {
    auto report = probe_bytes(map_of(run, "180p") + s->bytes);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->errors, 0);
    EXPECT_EQ(report->first_pts, s->info.first_pts + segment_writer::lead);
    EXPECT_EQ(report->width, 240u);
  }
}

TEST(HlsPipeline, DoesNotNoticeThatTimeStampsWrap) {
  scratch_folder folder;
  // 2^33 ticks are 95 443.7 s.
  auto clip = make_clip(folder, "a.ts", picture + tone + x264 + aac + "-t 6 -muxdelay 0 -output_ts_offset 95440");
  pipeline_run run(hls_of(clip));
  run.finish();
  check_segments(run);
  auto made = run.of("180p");
  ASSERT_GE(made.size(), 3u);
  for (std::size_t i = 1; i < made.size(); ++i)
    EXPECT_EQ(made[i].info.slot, made[i - 1].info.slot + 1);
  EXPECT_GT(made.back().info.first_pts, 1LL << 33);
  EXPECT_EQ(std::count_if(made.begin(), made.end(), [](auto& s) { return s.info.discontinuity; }), 0);
}

TEST(HlsPipeline, BuildsItsRungsAnewWhenThePictureChangesItsSize) {
  scratch_folder folder;
  make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 3 -muxdelay 0");
  make_clip(folder, "2.ts", "-f lavfi -i testsrc2=s=160x90:r=25 " + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 3");
  ASSERT_EQ(std::system(fmt::format("cat {} {} > {}", folder.file("1.ts"), folder.file("2.ts"), folder.file("a.ts")).c_str()), 0);
  pipeline_run run(hls_of(folder.file("a.ts")));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs.size(), 2u);
  ASSERT_EQ(run.rungs[1].rungs.size(), 1u);
  EXPECT_EQ(run.rungs[1].rungs[0].name, "90p");
  auto low = run.of("90p");
  ASSERT_EQ(low.size(), 4u);
  for (std::size_t i = 0; i < low.size(); ++i)
    EXPECT_EQ(low[i].info.discontinuity, i == 2) << i;
}

TEST(HlsPipeline, BuildsItsRungsAnewWhenTheEncoderDeclaresAnotherFrameRate) {
  scratch_folder folder;
  const std::string faster = "-f lavfi -i testsrc2=s=320x180:r=50 ";
  // In the stream as transport streams have it, and beside it as RTMP has it: the tags of another publisher behind those of the first one.
  for (auto [container, head] : {std::pair{"ts", 0}, std::pair{"flv", 13}}) {
    SCOPED_TRACE(container);
    auto name = [&](const char* n) { return fmt::format("{}.{}", n, container); };
    make_clip(folder, name("1"), picture + tone + x264 + aac + "-t 3 -muxdelay 0");
    make_clip(folder, name("2"), faster + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 3");
    const auto both = folder.file(name("both"));
    ASSERT_EQ(std::system(fmt::format("cp {} {}; tail -c +{} {} >> {}", folder.file(name("1")), both, head + 1, folder.file(name("2")), both).c_str()), 0);
    pipeline_run run(hls_of(both));
    run.finish();
    check_segments(run);
    ASSERT_EQ(run.rungs.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) {
      EXPECT_EQ(run.rungs[0].rungs.at(i).fps_milli, 25'000);
      EXPECT_EQ(run.rungs[1].rungs.at(i).fps_milli, 50'000);
    }
    EXPECT_EQ(run.inputs.back().fps_milli, 50'000);
    for (auto rung : {"180p", "90p"}) {
      auto made = run.of(rung);
      ASSERT_EQ(made.size(), 4u);
      for (std::size_t i = 0; i < made.size(); ++i)
        EXPECT_EQ(made[i].info.discontinuity, i == 2) << rung << " " << i;
      EXPECT_EQ(probe_bytes(made[2].bytes)->pictures, 100);
    }
  }
}

TEST(HlsPipeline, KeepsItsRungsWhilePicturesComeAtAnyRateThatIsNotDeclared) {
  scratch_folder folder;
  // 25 pictures a second are declared; from 3 s on half of them come, from 6 s on each with up to 12 ms of jitter.
  const auto odd = "-vf select='lt(t\\,3)+gte(t\\,6)+not(mod(n\\,2))',settb=1/1000,setpts='PTS+gte(T\\,6)*12*random(0)' -vsync vfr -enc_time_base 1/1000 ";
  pipeline_run run(hls_of(make_clip(folder, "a.flv", picture + tone + odd + x264 + "-x264-params fps=25:force-cfr=0 " + aac + "-t 8")));
  run.finish();
  EXPECT_EQ(run.rungs.size(), 1u);
  EXPECT_EQ(run.rungs[0].rungs[0].fps_milli, 25'000);
  ASSERT_EQ(run.of("180p").size(), 4u);
  for (auto& s : run.segments)
    EXPECT_FALSE(s.info.discontinuity);
}

TEST(HlsPipeline, CountsThePacketsOfEachPidOnUpToADiscontinuity) {
  scratch_folder folder;
  make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0");
  make_clip(folder, "2.ts", "-f lavfi -i testsrc2=s=240x180:r=25 " + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 5");
  ASSERT_EQ(std::system(fmt::format("cat {} {} > {}", folder.file("1.ts"), folder.file("2.ts"), folder.file("a.ts")).c_str()), 0);
  for (auto audio : {audio_packing::muxed, audio_packing::separate}) {
    SCOPED_TRACE(to_string(audio));
    auto settings = hls_of(folder.file("a.ts"));
    settings.audio = audio;
    settings.ladder.preset = "veryfast"; // reorders pictures
    pipeline_run run(settings);
    run.finish();
    ASSERT_EQ(run.rungs.size(), 2u);
    for (auto rung : {"180p", "90p", "audio"}) {
      SCOPED_TRACE(rung);
      const auto made = run.of(rung);
      if (audio == audio_packing::muxed && made.empty())
        continue;
      ASSERT_EQ(made.size(), 5u);
      EXPECT_EQ(std::ranges::count_if(made, [](auto& s) { return s.info.discontinuity; }), 1);
      const auto counted = count_packets(made);
      EXPECT_EQ(counted.breaks, std::vector<std::string>{});
      EXPECT_EQ(counted.pids.size(), audio == audio_packing::muxed ? 5u : 4u) << "three tables, and the streams";
      for (auto& [pid, packets] : counted.pids)
        EXPECT_GE(packets, 5) << pid << " in each segment";
    }
  }
}

TEST(HlsPipeline, AddsSoundThatComesLate) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + "-itsoffset 3 " + tone + x264 + aac + "-t 8");
  pipeline_run run(hls_of(clip));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs[0].codecs.find("mp4a"), std::string::npos);
  EXPECT_NE(run.rungs[1].rungs[0].codecs.find("mp4a"), std::string::npos);
  auto made = run.of("180p");
  ASSERT_EQ(made.size(), 4u);
  EXPECT_EQ(probe_bytes(made[0].bytes)->audio, "");
  EXPECT_EQ(probe_bytes(made[3].bytes)->audio, "aac");
  EXPECT_EQ(std::count_if(made.begin(), made.end(), [](auto& s) { return s.info.discontinuity; }), 1);
}

TEST(HlsPipeline, AddsAPictureThatComesLate) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.ts", tone + "-itsoffset 7 " + picture + x264 + aac + "-t 14");
  pipeline_run run(hls_of(clip));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs.at(0).name, "audio");
  EXPECT_EQ(run.rungs[1].rungs.at(0).name, "180p");
  auto alone = run.of("audio"), joined = run.of("180p");
  ASSERT_GE(joined.size(), 2u);
  EXPECT_EQ(joined[0].info.slot, alone.back().info.slot + 1) << "the picture joins with the next segment, none is made twice or left out";
  EXPECT_TRUE(joined[0].info.discontinuity);
  for (auto& s : joined)
    EXPECT_EQ(probe_bytes(s.bytes)->audio, "aac");
}

TEST(HlsPipeline, CopiesTheTopRungWhileKeyFramesAllow) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + "-c:v libx264 -preset ultrafast -g 25 -bf 2 -pix_fmt yuv420p " + aac + "-t 6 -output_ts_offset 0.36");
  pipeline_run run(passing_top(hls_of(clip)));
  run.finish();
  check_segments(run);
  ASSERT_EQ(run.rungs.size(), 1u);
  EXPECT_TRUE(run.rungs[0].passed_through);
  EXPECT_EQ(run.rungs[0].rungs[0].width, 320u);
  auto keys = keys_of(run);
  EXPECT_EQ(keys["180p"], keys["90p"]);
  EXPECT_EQ(keys["180p"].size(), 6u);
  EXPECT_EQ(run.of("180p").size(), 3u);
}

/// Of four segments: the top rung is passed through up to that one, with which all of them begin anew.
void check_encoded_from(const pipeline_run& run, std::size_t first) {
  check_segments(run);
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_TRUE(run.rungs[0].passed_through);
  EXPECT_FALSE(run.rungs[1].passed_through);
  for (auto rung : {"180p", "90p"}) {
    auto made = run.of(rung);
    ASSERT_EQ(made.size(), 4u);
    for (std::size_t i = 0; i < made.size(); ++i)
      EXPECT_EQ(made[i].info.discontinuity, i == first) << rung << " " << i;
  }
}

TEST(HlsPipeline, EncodesTheTopRungOnceKeyFramesLeaveTheGrid) {
  scratch_folder folder;
  // Key frames each 1.4 s: the second one is off the grid.
  auto clip = make_clip(folder, "a.flv", picture + tone + "-c:v libx264 -preset ultrafast -g 35 -sc_threshold 0 -pix_fmt yuv420p " + aac + "-t 8");
  pipeline_run run(passing_top(hls_of(clip)));
  run.finish();
  check_encoded_from(run, 1);
}

bool said(const pipeline_run& run, const std::string& what) {
  return std::ranges::any_of(run.troubles, [&](auto& t) { return t.text.find(what) != std::string::npos; });
}

TEST(HlsPipeline, EncodesTheTopRungOnceTheSourceChangesItsProfile) {
  scratch_folder folder;
  const std::string coded = "-c:v libx264 -preset veryfast -bf 0 -g 25 -sc_threshold 0 -pix_fmt yuv420p ";
  make_clip(folder, "1.ts", picture + tone + coded + "-profile:v high " + aac + "-t 4 -muxdelay 0 -output_ts_offset 10");
  make_clip(folder, "2.ts", picture + tone + coded + "-profile:v main " + aac + "-t 4 -muxdelay 0 -output_ts_offset 14");
  ASSERT_EQ(std::system(fmt::format("cat {} {} > {}", folder.file("1.ts"), folder.file("2.ts"), folder.file("a.ts")).c_str()), 0);
  pipeline_run run(passing_top(hls_of(folder.file("a.ts"))));
  run.finish();
  check_encoded_from(run, 2);
  EXPECT_TRUE(said(run, "changed its parameter sets"));
  EXPECT_FALSE(said(run, "left the grid"));
}

/// Whether every player shows it: H.264 of 8 bits and 4:2:0 (Baseline, Main, High), up to level 5.2.
bool for_players(const std::string& codecs) {
  unsigned profile = 0, constraints = 0, level = 0;
  return std::sscanf(codecs.c_str(), "avc1.%2x%2x%2x", &profile, &constraints, &level) == 3 && (profile == 66 || profile == 77 || profile == 100) && level <= 52;
}

TEST(HlsPipeline, EncodesWhatPlayersNeedNotShowInsteadOfCopyingIt) {
  scratch_folder folder;
  const std::string kept = "-f lavfi -i testsrc2=s=320x180:r=25 -c:v libx264 -preset veryfast -bf 0 -g 25 -sc_threshold 0 -t 4 ";
  for (auto [name, kind] : {std::pair{"High", "-pix_fmt yuv420p -x264-params level=5.2"}, {"High 10", "-pix_fmt yuv420p10le"}, {"High 4:2:2", "-pix_fmt yuv422p"},
                            {"High 4:4:4 Predictive", "-pix_fmt yuv444p"}, {"level 6.0", "-pix_fmt yuv420p -x264-params level=6.0"}}) {
    SCOPED_TRACE(name);
    const bool copied = name == std::string("High");
    auto settings = hls_of(make_clip(folder, "a.mkv", kept + kind));
    for (bool pass_top : {true, false}) {
      settings.ladder.pass_top = pass_top;
      pipeline_run run(settings);
      run.finish();
      check_segments(run);
      ASSERT_EQ(run.rungs.size(), 1u);
      EXPECT_EQ(run.rungs[0].passed_through, copied && pass_top);
      EXPECT_EQ(said(run, "players need not show"), !copied && pass_top);
      EXPECT_EQ(said(run, name), !copied && pass_top);
      for (auto& rung : run.rungs[0].rungs)
        EXPECT_TRUE(for_players(rung.codecs)) << rung.codecs;
      EXPECT_EQ(run.of("180p").size(), 2u);
    }
  }
}

TEST(HlsPipeline, CallsNothingHdrThatIsListedAsSdr) {
  scratch_folder folder;
  for (auto [source, made] : {std::pair{"arib-std-b67", "bt2020-10"}, {"smpte2084", "smpte2084"}, {"bt709", "bt709"}}) {
    SCOPED_TRACE(source);
    auto clip = make_clip(folder, "a.mkv", picture + fmt::format("{} -color_trc {} -color_primaries bt2020 -colorspace bt2020nc -t 4", x264, source));
    pipeline_run run(passing_top(hls_of(clip)));
    run.finish();
    check_segments(run);
    ASSERT_EQ(run.rungs.size(), 1u);
    EXPECT_EQ(run.rungs[0].passed_through, source != std::string("arib-std-b67"));
    EXPECT_EQ(said(run, "HDR"), source == std::string("smpte2084")) << "it can be called nothing else";
    for (auto& s : run.segments)
      EXPECT_EQ(probe_bytes(s.bytes)->transfer, made) << s.info.rung;
  }
}

// --- rates --------------------------------------------------------------------------------------------------------------------------------------
/// What the first multivariant playlist says of a rung, when three segments have come (segment_log::snapshot).
struct said_rates {
  double bandwidth = 0, average = 0;
};
double rate(std::span<const made_segment> segments) {
  double bits = 0, lasts = 0;
  for (auto& s : segments)
    bits += double(s.bytes.size()) * 8, lasts += double(s.info.duration) / ticks_per_second;
  return bits / lasts;
}
said_rates said_at_first(const rung_info& told, std::span<const made_segment> made, milliseconds target) {
  said_rates said;
  said.average = std::max(double(told.nominal.bits_per_second), rate(made.first(3)));
  said.bandwidth = std::max(said.average, double(bandwidth_of(told.nominal, target).bits_per_second));
  for (auto& s : made.first(3))
    said.bandwidth = std::max(said.bandwidth, rate({&s, 1}));
  return said;
}

TEST(HlsPipeline, KeepsToTheRatesThatAreSaidBeforeTheyAreMeasured) {
  scratch_folder folder;
  // Black leaves an encoder all its room. Then comes what no encoder can make small.
  const std::string noise = "-f lavfi -i color=gray:s=320x180:r=25,noise=alls=100:allf=t ", hiss = "-f lavfi -i anoisesrc=r=48000:a=0.5 ";
  const auto clip = make_clip(folder, "a.mkv", "-t 18 -f lavfi -i color=black:s=320x180:r=25 -t 24 " + noise + hiss +
                                                 "-filter_complex [0:v][1:v]concat=n=2[v] -map [v] -map 2:a -c:v libx264 -preset ultrafast -crf 25 -g 25 "
                                                 "-pix_fmt yuv420p -c:a pcm_s16le -t 42");
  struct variety {
    media_container container;
    int segment, part;
    const char* preset;
    int sound;
  };
  for (auto& v : {variety{media_container::ts, 2, 0, "veryfast", 64'000}, variety{media_container::ts, 6, 0, "ultrafast", 128'000},
                  variety{media_container::fmp4, 2, 0, "ultrafast", 64'000}, variety{media_container::fmp4, 4, 500, "veryfast", 64'000}}) {
    SCOPED_TRACE(fmt::format("{} of {} s, parts of {} ms, {}, sound of {}", to_string(v.container), v.segment, v.part, v.preset, v.sound));
    auto settings = hls_of(clip, {{"180p", 180, bit_rate{300'000}, 30}, {"90p", 90, bit_rate{100'000}, 30}});
    settings.container = v.container;
    settings.gop = seconds(2);
    settings.segment = seconds(v.segment);
    settings.part = milliseconds(v.part);
    settings.ladder.preset = v.preset;
    settings.ladder.audio = bit_rate{v.sound};
    pipeline_run run(settings);
    run.finish(seconds(100));
    for (auto rung : {"180p", "90p"}) {
      SCOPED_TRACE(rung);
      const auto made = run.of(rung);
      const std::span all(made);
      ASSERT_GE(made.size(), std::size_t(42 / v.segment));
      const auto said = said_at_first(run.announced(made[0]), all, settings.segment);
      const auto loud = std::size_t(18 / v.segment);
      for (auto& s : made)
        EXPECT_LE(rate({&s, 1}), 1.25 * said.bandwidth) << s.info.slot;
      // What the buffer held counts for an hour, not for these seconds.
      EXPECT_LE(rate(all.subspan(loud + 1)), 1.10 * said.average);
      EXPECT_GE(rate(all.subspan(loud + 1)), 0.90 * said.average) << "nothing is said too large either, and the test is one";
    }
  }
}

} // namespace
} // namespace weir::media
