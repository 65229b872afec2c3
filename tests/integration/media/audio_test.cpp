// Sound with segments of its own (audio: separate).
#include "runtime/media/segment_writer.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <algorithm>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <set>

namespace weir::media {
namespace {

constexpr ticks frame = 1920;  ///< of sound: 1024 samples at 48 kHz
constexpr ticks rounding = 180; ///< of a source that counts milliseconds

configure separate(configure c) {
  c.audio = audio_packing::separate;
  return c;
}

std::string bytes_of(const pipeline_run& run, const made_segment& s) { return map_of(run, s.info.rung) + s.bytes; }

/// What holds for every run: sound and pictures of a slot are of the same time, sound follows sound, and each segment plays alone. `joined`: without holes.
void check_series(const pipeline_run& run, const std::string& rung = "180p", bool joined = true) {
  auto pictures = run.of(rung), sound = run.of("audio");
  ASSERT_FALSE(pictures.empty());
  ASSERT_EQ(pictures.size(), sound.size());
  for (std::size_t i = 0; i < sound.size(); ++i) {
    auto &p = pictures[i].info, &s = sound[i].info;
    SCOPED_TRACE(fmt::format("slot {}", p.slot));
    EXPECT_EQ(p.slot, s.slot);
    EXPECT_EQ(p.discontinuity, s.discontinuity);
    EXPECT_GE(s.first_pts, p.first_pts - rounding) << "frames that begin in the slot";
    EXPECT_LT(s.first_pts, p.first_pts + frame);
    EXPECT_NEAR(double(s.duration), double(p.duration), double(frame + rounding));
    // Of all so far: nothing adds up.
    EXPECT_NEAR(double(s.first_pts + s.duration), double(p.first_pts + p.duration), double(frame + rounding));
    if (i > 0 && joined && !s.discontinuity) {
      EXPECT_NEAR(double(sound[i - 1].info.first_pts + sound[i - 1].info.duration), double(s.first_pts), 2.0);
    }
    auto heard = probe_bytes(bytes_of(run, sound[i])), seen = probe_bytes(bytes_of(run, pictures[i]));
    ASSERT_TRUE(heard && seen);
    EXPECT_EQ(heard->errors + seen->errors, 0);
    EXPECT_EQ(heard->video, "");
    EXPECT_EQ(heard->audio, "aac");
    EXPECT_EQ(seen->audio, "");
    EXPECT_GT(seen->pictures, 0);
    EXPECT_EQ(heard->first_sound_pts, s.first_pts + segment_writer::lead);
    EXPECT_NEAR(double(heard->samples), double(s.duration) * 48 / 90, 1024.0);
  }
}

/// Of the whole series, as ffprobe has it.
struct heard {
  int packets = 0;
  int holes = 0; ///< times between packets that are none of a frame
  int quiet = 0; ///< packets that are too small for a tone
};
heard series_of(const scratch_folder& folder, const pipeline_run& run) {
  auto path = folder.file("series.mp4");
  std::ofstream out(path, std::ios::binary);
  out << map_of(run, "audio");
  for (auto& s : run.of("audio"))
    out << s.bytes;
  out.close();
  std::unique_ptr<FILE, int (*)(FILE*)> in(::popen(("ffprobe -v error -show_entries packet=pts,size -of csv=p=0 " + path).c_str(), "r"), ::pclose);
  heard all;
  long long before = 0;
  int size = 0;
  for (char line[200]; in && std::fgets(line, sizeof line, in.get());)
    if (long long pts = 0; std::sscanf(line, "%lld,%d", &pts, &size) == 2) {
      all.holes += all.packets++ > 0 && pts - before != 1024;
      all.quiet += size < 40;
      before = pts;
    }
  return all;
}

TEST(HlsAudio, IsOneSeriesBesideRungsOfPicturesAlone) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 13");
  for (auto container : {media_container::ts, media_container::fmp4}) {
    SCOPED_TRACE(to_string(container));
    auto settings = separate(hls_of(clip));
    settings.container = container;
    pipeline_run run(settings);
    run.finish();
    EXPECT_EQ(run.end->cause, end_cause::source_ended) << run.end->text;
    ASSERT_EQ(run.rungs.size(), 1u);
    auto& made = run.rungs[0].rungs;
    ASSERT_EQ(made.size(), 3u);
    for (auto& r : made)
      EXPECT_EQ(r.codecs.find("mp4a") != std::string::npos, r.rendition);
    EXPECT_EQ(made[2].name, "audio");
    EXPECT_TRUE(made[2].rendition);
    EXPECT_EQ(made[2].codecs, "mp4a.40.2");
    EXPECT_GT(made[2].nominal.bits_per_second, 64'000) << "with its container";
    EXPECT_LT(made[2].nominal.bits_per_second, 160'000);
    EXPECT_GT(made[0].nominal.bits_per_second, 300'000);
    EXPECT_LT(made[0].nominal.bits_per_second, 360'000) << "without sound";
    check_series(run);
    check_series(run, "90p");
    EXPECT_EQ(run.of("audio").size(), 7u);
    if (container == media_container::fmp4) {
      EXPECT_EQ(run.rungs[0].maps.size(), 3u);
      auto all = series_of(folder, run);
      EXPECT_NEAR(all.packets, 13 * 48'000 / 1024, 2);
      EXPECT_EQ(all.holes, 0);
      EXPECT_LE(all.quiet, 2) << "from the first picture on";
    }
    ASSERT_FALSE(run.beats.empty());
  }
}

/// Of each packet of sound: its times, its size and a hash of its bytes, as ffmpeg has them.
std::vector<std::string> sound_of(const scratch_folder& folder, const pipeline_run& run, const std::string& rung) {
  const auto path = folder.file("sound.media");
  std::ofstream out(path, std::ios::binary);
  out << map_of(run, rung);
  for (auto& s : run.of(rung))
    out << s.bytes;
  out.close();
  const auto command = "ffmpeg -v error -nostdin -copyts -i " + path + " -map 0:a -c copy -f framemd5 -";
  std::unique_ptr<FILE, int (*)(FILE*)> in(::popen(command.c_str(), "r"), ::pclose);
  std::vector<std::string> packets;
  for (char line[300]; in && std::fgets(line, sizeof line, in.get());)
    if (line[0] != '#')
      packets.emplace_back(line);
  return packets;
}

TEST(HlsAudio, IsOfTheSameBytesInAllRungs) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + "-f lavfi -i anoisesrc=r=48000 " + x264 + aac + "-t 7");
  for (auto container : {media_container::ts, media_container::fmp4}) {
    SCOPED_TRACE(to_string(container));
    auto settings = hls_of(clip);
    settings.container = container;
    pipeline_run run(settings);
    run.finish();
    const auto top = sound_of(folder, run, "180p"), low = sound_of(folder, run, "90p");
    EXPECT_NEAR(double(top.size()), 7.0 * 48'000 / 1024, 2);
    EXPECT_EQ(std::set(top.begin(), top.end()).size(), top.size()) << "else a hash would tell nothing";
    EXPECT_EQ(top, low);
  }
}

TEST(HlsAudio, IsCutAlikeWheneverATranscoderJoins) {
  scratch_folder folder;
  make_clip(folder, "whole.flv", picture + tone + "-c:v libx264 -preset ultrafast -g 37 -pix_fmt yuv420p " + aac + "-t 9");
  make_clip(folder, "late.flv", "-ss 2.3 -copyts -i " + folder.file("whole.flv") + " -c copy -copyts -flvflags no_duration_filesize");
  pipeline_run early(separate(hls_of(folder.file("whole.flv")))), late(separate(hls_of(folder.file("late.flv"))));
  early.finish();
  late.finish();
  check_series(early);
  check_series(late);
  std::map<std::uint64_t, segment_info> there;
  for (auto& s : early.of("audio"))
    there[s.info.slot] = s.info;
  auto joined = late.of("audio");
  ASSERT_GE(joined.size(), 3u);
  for (std::size_t i = 1; i < joined.size(); ++i)
    EXPECT_EQ(there.at(joined[i].info.slot).first_pts, joined[i].info.first_pts);
}

TEST(HlsAudio, IsSilentWhereTheSourceHasNone) {
  scratch_folder folder;
  // It begins late, has a hole of 3.5 s, and ends early.
  auto clip = make_clip(folder, "a.flv", "-t 13 " + picture + "-t 13 " + tone + "-af aselect='between(t\\,0.4\\,2.5)+between(t\\,6\\,9)' " + x264 + aac + "-t 13");
  pipeline_run run(in_fmp4(separate(hls_of(clip))));
  run.finish();
  check_series(run);
  EXPECT_EQ(run.rungs.size(), 1u);
  EXPECT_EQ(run.of("audio").size(), 7u);
  auto all = series_of(folder, run);
  EXPECT_LE(all.holes, 1) << "where sound comes back it counts anew at most";
  EXPECT_NEAR(all.quiet, 7.9 * 48'000 / 1024, 10);
  // In time: nobody waits for it.
  auto place = [&](const std::string& rung, std::uint64_t slot) {
    return std::ranges::find_if(run.segments, [&](auto& s) { return s.info.rung == rung && s.info.slot == slot; }) - run.segments.begin();
  };
  for (auto& s : run.of("audio")) {
    EXPECT_LT(place("audio", s.info.slot), place("180p", s.info.slot + 1)) << s.info.slot;
  }
}

TEST(HlsAudio, IsNotThereWhereTheSourceHasNoneAtAll) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + x264 + "-t 5");
  pipeline_run run(separate(hls_of(clip))), muxed(hls_of(clip));
  run.finish();
  muxed.finish();
  EXPECT_EQ(run.rungs.at(0).rungs, muxed.rungs.at(0).rungs);
  EXPECT_EQ(run.rungs[0].rungs.size(), 2u);
  ASSERT_EQ(run.segments.size(), muxed.segments.size());
  EXPECT_TRUE(run.of("audio").empty());
}

TEST(HlsAudio, IsARungLikeOthersWhereThereIsNoPicture) {
  scratch_folder folder;
  pipeline_run run(separate(hls_of(make_clip(folder, "a.flv", tone + aac + "-t 6"))));
  run.finish();
  ASSERT_EQ(run.rungs.at(0).rungs.size(), 1u);
  EXPECT_EQ(run.rungs[0].rungs[0].name, "audio");
  EXPECT_FALSE(run.rungs[0].rungs[0].rendition);
  EXPECT_GE(run.of("audio").size(), 3u);
}

TEST(HlsAudio, ComesLateWithOtherRungs) {
  scratch_folder folder;
  pipeline_run run(separate(hls_of(make_clip(folder, "a.flv", picture + "-itsoffset 3 " + tone + x264 + aac + "-t 8"))));
  run.finish();
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs.size(), 2u);
  EXPECT_EQ(run.rungs[1].rungs.size(), 3u);
  auto pictures = run.of("180p"), sound = run.of("audio");
  ASSERT_EQ(pictures.size(), 4u);
  ASSERT_EQ(sound.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(sound[i].info.slot, pictures[i + 2].info.slot);
    EXPECT_EQ(sound[i].info.discontinuity, i == 0);
    EXPECT_NEAR(double(sound[i].info.first_pts), double(pictures[i + 2].info.first_pts), double(frame));
    EXPECT_NEAR(double(sound[i].info.duration), double(pictures[i + 2].info.duration), double(frame + rounding));
  }
}

TEST(HlsAudio, HasTheHolesOfThePictures) {
  scratch_folder folder;
  // A source that was away for three seconds and more: no segment of the slot between, and none of sound alone.
  auto start = make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 4.5 -muxdelay 0");
  auto rest = make_clip(folder, "2.ts", picture + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 8.5");
  ASSERT_EQ(std::system(("cat " + start + " " + rest + " > " + folder.file("both.ts")).c_str()), 0);
  pipeline_run run(separate(hls_of(folder.file("both.ts"))));
  run.finish();
  auto pictures = run.of("180p"), sound = run.of("audio");
  ASSERT_EQ(pictures.size(), sound.size());
  for (std::size_t i = 0; i < sound.size(); ++i) {
    EXPECT_EQ(sound[i].info.slot, pictures[i].info.slot);
    EXPECT_NEAR(double(sound[i].info.first_pts), double(pictures[i].info.first_pts), double(frame + rounding));
    EXPECT_NEAR(double(sound[i].info.duration), double(pictures[i].info.duration), double(frame + rounding));
  }
}

TEST(HlsAudio, FollowsACopiedPictureToo) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p " + aac + "-t 9");
  pipeline_run run(passing_top(in_fmp4(separate(hls_of(clip)))));
  run.finish();
  ASSERT_TRUE(run.rungs.at(0).passed_through);
  check_series(run);
  auto all = series_of(folder, run);
  EXPECT_EQ(all.holes, 0);
  EXPECT_LE(all.quiet, 2);
}

TEST(HlsAudio, GoesOnWithOtherRungs) {
  scratch_folder folder;
  make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 3 -muxdelay 0");
  make_clip(folder, "2.ts", "-f lavfi -i testsrc2=s=160x90:r=25 " + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 3");
  ASSERT_EQ(std::system(fmt::format("cat {} {} > {}", folder.file("1.ts"), folder.file("2.ts"), folder.file("a.ts")).c_str()), 0);
  pipeline_run run(separate(hls_of(folder.file("a.ts"))));
  run.finish();
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_TRUE(run.rungs[1].rungs.back().rendition);
  check_series(run, "90p");
}

TEST(HlsAudio, HasPartsWhereThePicturesHaveThem) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 9");
  for (auto [part, announced] : {std::pair{milliseconds(500), milliseconds(500)}, std::pair{milliseconds(200), milliseconds(214)}}) { // 480 ms are 23 frames, 200 ms ten
    SCOPED_TRACE(part.count());
    auto settings = in_fmp4(separate(hls_of(clip)));
    settings.part = part;
    pipeline_run run(settings);
    run.finish();
    check_series(run);
    EXPECT_EQ(run.rungs.at(0).part, announced) << "whole frames of sound";
    for (auto& s : run.of("audio")) {
      auto sound = run.parts_of("audio", s.info.slot), pictures = run.parts_of("180p", s.info.slot);
      SCOPED_TRACE(fmt::format("slot {}", s.info.slot));
      ASSERT_EQ(sound.size(), pictures.size());
      std::string bytes;
      ticks at = s.info.first_pts;
      for (std::size_t k = 0; k < sound.size(); ++k) {
        auto& one = sound[k].info;
        EXPECT_EQ(one.part, k);
        EXPECT_EQ(one.last, k + 1 == sound.size());
        EXPECT_TRUE(one.independent);
        EXPECT_NEAR(double(one.first_pts), double(at), 2.0);
        EXPECT_NEAR(double(one.first_pts), double(pictures[k].info.first_pts), double(frame + rounding));
        EXPECT_LE(one.duration, to_ticks(announced));
        if (!one.last) {
          EXPECT_GE(one.duration * 100, to_ticks(announced) * 85);
          EXPECT_GE(pictures[k].info.duration * 100, to_ticks(announced) * 85);
        }
        at = one.first_pts + one.duration;
        bytes += sound[k].bytes;
      }
      EXPECT_EQ(bytes, s.bytes) << "a segment is the concatenation of its parts";
      EXPECT_NEAR(double(at), double(s.info.first_pts + s.info.duration), 2.0);
    }
  }
}

TEST(HlsAudio, IsRefusedBesideARungOfItsName) {
  scratch_folder folder;
  pipeline_run run(separate(hls_of(make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 2"), {{"audio", 180, bit_rate{300'000}, 60}})));
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::bad_options) << run.end->text;
}

} // namespace
} // namespace weir::media
