// Parts of segments (low latency): what they are, where they are cut, and when they come.
#include "runtime/media/segment_writer.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdio>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

namespace weir::media {
namespace {

configure in_parts_of(milliseconds part, configure c) {
  c = in_fmp4(std::move(c));
  c.part = part;
  return c;
}

/// Pictures may miss their frame by this where a source counts milliseconds.
constexpr ticks rounding = 90;

/// What holds for every run, whatever the source: the parts of a segment are the segment, and no part is longer than was announced.
void check_parts(const pipeline_run& run) {
  ASSERT_FALSE(run.rungs.empty());
  ASSERT_FALSE(run.segments.empty());
  for (std::size_t n = 0; n < run.segments.size(); ++n) {
    auto& segment = run.segments[n].info;
    SCOPED_TRACE(fmt::format("{} slot {}", segment.rung, segment.slot));
    auto parts = run.parts_of(segment.rung, segment.slot);
    ASSERT_FALSE(parts.empty());
    std::string bytes;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      auto& part = parts[k].info;
      EXPECT_EQ(part.part, k);
      EXPECT_EQ(part.last, k + 1 == parts.size());
      EXPECT_EQ(part.discontinuity, segment.discontinuity);
      EXPECT_LE(parts[k].segments, n) << "a part comes before its segment";
      EXPECT_EQ(part.bytes, parts[k].bytes.size());
      EXPECT_TRUE(are_fragments(parts[k].bytes)); // two where a key frame comes in the middle
      EXPECT_GT(part.duration, 0);
      EXPECT_LE(part.duration, to_ticks(run.rungs.back().part));
      bytes += parts[k].bytes;
    }
    EXPECT_TRUE(bytes == run.segments[n].bytes) << "a segment is the concatenation of its parts";
    EXPECT_EQ(parts.front().info.first_pts, segment.first_pts);
  }
}

/// The same, of a source without holes: one part begins where the other ends, and all but a segment's last are about as long as was announced.
void check_steady_parts(const pipeline_run& run) {
  check_parts(run);
  for (auto& s : run.segments) {
    ticks at = s.info.first_pts;
    for (auto& p : run.parts_of(s.info.rung, s.info.slot)) {
      EXPECT_NEAR(double(p.info.first_pts), double(at), double(rounding)) << s.info.rung << " slot " << s.info.slot << " part " << p.info.part;
      at = p.info.first_pts + p.info.duration;
      if (!p.info.last) {
        EXPECT_GE(p.info.duration * 100, to_ticks(run.rungs.back().part) * 85);
      }
    }
    EXPECT_NEAR(double(at), double(s.info.first_pts + s.info.duration), double(rounding));
  }
}

/// Every part of a segment decodes after those before it, and those with an IDR frame alone.
void check_decoding(const pipeline_run& run, const made_segment& segment) {
  const auto map = map_of(run, segment.info.rung);
  std::string so_far = map;
  std::int64_t pictures = 0;
  for (auto& part : run.parts_of(segment.info.rung, segment.info.slot)) {
    SCOPED_TRACE(fmt::format("{} slot {} part {}", segment.info.rung, segment.info.slot, part.info.part));
    so_far += part.bytes;
    auto all = probe_bytes(so_far), alone = probe_bytes(map + part.bytes);
    ASSERT_TRUE(all && alone);
    EXPECT_EQ(all->errors, 0);
    EXPECT_GT(all->pictures, pictures);
    pictures = all->pictures;
    const auto begin = part.info.first_pts + segment_writer::lead, end = begin + part.info.duration;
    EXPECT_EQ(part.info.independent, std::ranges::any_of(all->key_pts, [&](ticks key) { return key >= begin && key < end; }));
    if (part.info.independent && alone->starts_with_key) {
      EXPECT_EQ(alone->errors, 0);
    }
  }
}

/// When parts begin and how long they last.
std::vector<std::pair<ticks, ticks>> cuts_of(const pipeline_run& run, const std::string& rung) {
  std::vector<std::pair<ticks, ticks>> out;
  for (auto& p : run.parts)
    if (p.info.rung == rung)
      out.emplace_back(p.info.first_pts, p.info.duration);
  return out;
}

TEST(HlsParts, AreTheSegmentAndDecodeOneAfterTheOther) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 6");
  auto settings = in_parts_of(milliseconds(500), hls_of(clip));
  settings.ladder.preset = "veryfast"; // which reorders pictures, and looks ahead, where it may
  pipeline_run run(settings);
  run.finish();
  ASSERT_EQ(run.end->cause, end_cause::source_ended) << run.end->text;
  EXPECT_EQ(run.rungs.at(0).part, milliseconds(500));
  check_steady_parts(run);
  EXPECT_EQ(run.parts[0].info.duration, to_ticks(milliseconds(480))) << "twelve pictures: a thirteenth would be too much";
  EXPECT_EQ(cuts_of(run, "180p"), cuts_of(run, "90p"));
  ASSERT_EQ(run.of("180p").size(), 3u);
  EXPECT_EQ(run.parts_of("180p", run.of("180p")[1].info.slot).size(), 5u) << "four of 12 pictures, one of 2";
  for (auto& s : run.segments)
    check_decoding(run, s);
  // Decode and presentation order are the same.
  auto path = folder.file("joined.mp4");
  std::ofstream(path, std::ios::binary) << map_of(run, "180p") << run.of("180p")[0].bytes;
  std::unique_ptr<FILE, int (*)(FILE*)> out(::popen(("ffprobe -v error -select_streams v -show_entries packet=pts,dts -of csv=p=0 " + path).c_str(), "r"), ::pclose);
  int packets = 0;
  for (char line[200]; out && std::fgets(line, sizeof line, out.get());)
    if (long long pts = 0, dts = 0; std::sscanf(line, "%lld,%lld", &pts, &dts) == 2) {
      EXPECT_EQ(pts, dts);
      ++packets;
    }
  EXPECT_EQ(packets, 50);
}

TEST(HlsParts, AreCutAtTheSameTimesInRungsOfDifferentRates) {
  scratch_folder folder;
  const std::vector<rung_spec> rungs{{"180p", 180, bit_rate{300'000}, 60}, {"90p", 90, bit_rate{100'000}, 30}};
  struct row {
    const char* rate;
    milliseconds part, announced;
  };
  for (auto [rate, part, announced] : {row{"50", milliseconds(1000), milliseconds(1000)}, row{"50", milliseconds(333), milliseconds(333)},
                                       row{"60000/1001", milliseconds(1000), milliseconds(1000)}, row{"60000/1001", milliseconds(200), milliseconds(167)}}) {
    SCOPED_TRACE(fmt::format("{} {}", rate, part.count()));
    auto clip = make_clip(folder, "a.flv", fmt::format("-f lavfi -i testsrc2=s=320x180:r={} ", rate) + tone + x264 + aac + "-t 5");
    pipeline_run run(in_parts_of(part, hls_of(clip, rungs)));
    run.finish();
    ASSERT_EQ(run.rungs.at(0).rungs.size(), 2u);
    EXPECT_EQ(run.rungs[0].rungs[1].fps_milli * 2, run.rungs[0].rungs[0].fps_milli);
    EXPECT_EQ(run.rungs[0].part, announced);
    check_steady_parts(run);
    auto high = cuts_of(run, "180p"), low = cuts_of(run, "90p");
    ASSERT_EQ(high.size(), low.size());
    for (std::size_t i = 0; i + 1 < high.size(); ++i) { // the clip may end between two pictures of the slower one
      EXPECT_EQ(high[i].first, low[i].first) << i;
      EXPECT_NEAR(double(high[i].second), double(low[i].second), double(rounding)) << i;
    }
  }
}

TEST(HlsParts, KeepTheirTargetWhateverTheRateOfTheSource) {
  scratch_folder folder;
  std::vector<std::string> parts;
  for (auto [number, rate] : {std::pair{0, "25"}, std::pair{3, "30"}, std::pair{6, "24"}, std::pair{9, "60000/1001"}}) {
    const auto part = fmt::format("{}.ts", number);
    make_clip(folder, part, fmt::format("-f lavfi -i testsrc2=s=320x180:r={} ", rate) + tone + x264 + aac + fmt::format("-t 3 -muxdelay 0 -output_ts_offset {}", number));
    parts.push_back(folder.file(part));
  }
  ASSERT_EQ(std::system(fmt::format("cat {} > {}", fmt::join(parts, " "), folder.file("a.ts")).c_str()), 0);
  for (auto part : {milliseconds(333), milliseconds(1000)}) {
    pipeline_run run(in_parts_of(part, hls_of(folder.file("a.ts"))));
    run.finish();
    ASSERT_EQ(run.rungs.size(), 4u);
    for (auto& r : run.rungs)
      EXPECT_EQ(r.part, part) << r.rungs.at(0).fps_milli;
    check_parts(run);
  }
}

TEST(HlsParts, AreNeverTooLongWhateverThePaceOfTheSource) {
  scratch_folder folder;
  // Pictures up to 20 ms late, and none for 1.5 s.
  auto unsteady = make_clip(folder, "a.flv",
                            picture + tone + "-vf settb=1/1000,setpts='(N*40+mod(N*7\\,5)*5)/1000/TB' -fps_mode passthrough -enc_time_base:v 1:1000 " + x264 + aac + "-t 6");
  auto hole = make_clip(folder, "b.flv", picture + tone + "-vf select='not(between(t\\,2.3\\,3.7))' -fps_mode passthrough " + x264 + aac + "-t 6");
  pipeline_run first(in_parts_of(milliseconds(400), hls_of(unsteady))), second(in_parts_of(milliseconds(400), hls_of(hole)));
  first.finish();
  second.finish();
  check_steady_parts(first);
  EXPECT_EQ(cuts_of(first, "180p"), cuts_of(first, "90p"));
  check_parts(second);
  EXPECT_EQ(cuts_of(second, "180p"), cuts_of(second, "90p"));
  const auto limit = to_ticks(second.rungs.at(0).part);
  EXPECT_TRUE(std::ranges::any_of(second.parts, [&](auto& p) { return p.info.duration == limit && !p.info.independent && !p.info.last; })) << "the hole";
  for (auto* run : {&first, &second})
    for (auto& s : run->segments)
      check_decoding(*run, s);
}

TEST(HlsParts, OfSoundAloneAndOfACopiedPicture) {
  scratch_folder folder;
  pipeline_run sound(in_parts_of(milliseconds(1000), hls_of(make_clip(folder, "a.flv", tone + aac + "-t 5"))));
  sound.finish();
  EXPECT_EQ(sound.rungs.at(0).part, milliseconds(1000));
  check_steady_parts(sound);
  EXPECT_TRUE(std::ranges::all_of(sound.parts, [](auto& p) { return p.info.independent; }));
  for (auto& p : sound.parts) {
    auto report = probe_bytes(map_of(sound, "audio") + p.bytes);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->errors, 0);
  }
  auto reordered = make_clip(folder, "b.flv", picture + tone + "-c:v libx264 -preset veryfast -bf 2 -g 25 -sc_threshold 0 -pix_fmt yuv420p " + aac + "-t 6");
  pipeline_run passed(passing_top(in_parts_of(milliseconds(500), hls_of(reordered))));
  passed.finish();
  ASSERT_TRUE(passed.rungs.at(0).passed_through);
  check_steady_parts(passed);
  auto copied = cuts_of(passed, "180p"), encoded = cuts_of(passed, "90p");
  ASSERT_EQ(copied.size(), encoded.size()) << "measured by decode times, reordered pictures make no difference";
  for (std::size_t i = 0; i + 1 < copied.size(); ++i)
    EXPECT_NEAR(double(copied[i].first), double(encoded[i].first), double(rounding)) << i;
}

TEST(HlsParts, CountFromNoughtWithOtherRungsAndSayThatTheseAreOthers) {
  scratch_folder folder;
  make_clip(folder, "1.ts", picture + tone + x264 + aac + "-t 3 -muxdelay 0");
  make_clip(folder, "2.ts", "-f lavfi -i testsrc2=s=160x90:r=25 " + tone + x264 + aac + "-t 5 -muxdelay 0 -output_ts_offset 3");
  ASSERT_EQ(std::system(fmt::format("cat {} {} > {}", folder.file("1.ts"), folder.file("2.ts"), folder.file("a.ts")).c_str()), 0);
  pipeline_run run(in_parts_of(milliseconds(500), hls_of(folder.file("a.ts"))));
  run.finish();
  ASSERT_EQ(run.rungs.size(), 2u);
  check_parts(run);
  auto low = run.of("90p");
  ASSERT_EQ(std::ranges::count_if(low, [](auto& s) { return s.info.discontinuity; }), 1);
}

TEST(HlsParts, AreNotMadeUnlessTheyAreWanted) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", picture + tone + x264 + aac + "-t 3");
  pipeline_run without(in_fmp4(hls_of(clip)));
  without.finish();
  EXPECT_TRUE(without.parts.empty());
  EXPECT_EQ(without.rungs.at(0).part, milliseconds(0));
  for (auto& s : without.segments)
    EXPECT_TRUE(are_fragments(s.bytes));
  auto in_ts = hls_of(clip);
  in_ts.part = milliseconds(500);
  pipeline_run refused(in_ts);
  refused.finish();
  EXPECT_EQ(refused.end->cause, end_cause::bad_options) << refused.end->text;
}

int free_port() {
  owned_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof a;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&a), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&a), &size), 0);
  return ntohs(a.sin_port);
}

TEST(HlsParts, AreOutLongBeforeTheirSegment) {
  scratch_folder folder;
  const int port = free_port();
  auto clip = make_clip(folder, "a.ts", picture + tone + x264 + aac + "-t 40 -muxdelay 0");
  const auto feeder = start_ffmpeg(fmt::format("-re -i {} -c copy -muxdelay 0 -f mpegts 'tcp://127.0.0.1:{}?listen=1'", clip, port));
  auto settings = in_parts_of(milliseconds(1000), hls_of(fmt::format("tcp://127.0.0.1:{}", port)));
  settings.realtime = true;
  settings.gop = milliseconds(2000);
  settings.segment = milliseconds(4000);
  settings.ladder.preset = "veryfast"; // with its look-ahead of 40 pictures, as much as 3 s would be in the encoder
  pipeline_run run(settings);
  ASSERT_TRUE(run.receive_until([&] { return run.of("90p").size() >= 3; }, seconds(60)));
  end_process(feeder);
  const auto first_whole = run.segments.front().info.slot + 1; // before, it has looked at the source and catches up
  int looked_at = 0;
  for (auto& p : run.parts) {
    if (p.info.slot < first_whole)
      continue;
    ++looked_at;
    EXPECT_LT(p.read, p.info.first_pts + 2 * to_ticks(settings.part)) << p.info.rung << " slot " << p.info.slot << " part " << p.info.part
                                                                       << ": had read the picture that the part after the next begins with";
    for (std::size_t n = 0; n < p.segments; ++n)
      EXPECT_FALSE(run.segments[n].info.rung == p.info.rung && run.segments[n].info.slot == p.info.slot) << "its segment was there before";
  }
  EXPECT_GE(looked_at, 12);
}

} // namespace
} // namespace weir::media
