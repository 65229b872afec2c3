// A machine that becomes too slow for the ladder while it runs.
#include "tests/integration/media/pipeline_run.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <csignal>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <thread>

namespace weir::media {
namespace {

/// Gives a process 2 ms of each 200 ms, as a machine that is busy with other things does. No pipeline of ours is a hundred times faster than its source.
class busy_machine {
public:
  explicit busy_machine(pid_t pid)
    : thread_([pid](const std::stop_token& stop) {
        while (!stop.stop_requested()) {
          ::kill(pid, SIGSTOP);
          ::poll(nullptr, 0, 198);
          ::kill(pid, SIGCONT);
          ::poll(nullptr, 0, 2);
        }
      }) {}

private:
  std::jthread thread_;
};

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

/// A broadcast at its own pace, key frames on the grid.
struct Overload : testing::Test {
  scratch_folder folder;
  int port = free_port();
  std::string clip = make_clip(folder, "a.ts",
                               "-f lavfi -i testsrc2=s=640x360:r=25 -f lavfi -i sine=r=48000 -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -ac 2 -t 90 -muxdelay 0");
  pid_t feeder = start_ffmpeg(fmt::format("-re -i {} -c copy -muxdelay 0 -f mpegts 'tcp://127.0.0.1:{}?listen=1'", clip, port));
  ~Overload() override { end_process(feeder); }

  configure settings(std::vector<rung_spec> rungs) const {
    auto c = hls_of(fmt::format("tcp://127.0.0.1:{}", port), std::move(rungs));
    c.realtime = true;
    c.leave_out_rungs = true;
    c.ladder.preset = "veryfast";
    return c;
  }

  static bool says_left_out(const pipeline_run& run) {
    return std::ranges::any_of(run.troubles, [](auto& t) { return t.cause == end_cause::overloaded; });
  }
  /// Every picture, from one grid point to the next.
  static bool whole(const made_segment& s) {
    auto report = probe_bytes(s.bytes);
    return report && report->errors == 0 && report->starts_with_key && report->pictures == 50 && std::abs(s.info.duration - 2 * 90'000) <= 180;
  }
  static bool sounds_whole(const made_segment& s) {
    auto report = probe_bytes(s.bytes);
    return report && report->samples > 2 * 48'000 - 3 * 1024;
  }
  /// Runs with enough time until the backlog is worked off, and then for some segments more. The slot from which on all were whole.
  static std::uint64_t catch_up(pipeline_run& run, const std::string& rung) {
    auto whole_in_a_row = [&] {
      auto made = run.of(rung);
      std::size_t n = 0;
      while (n < made.size() && whole(made[made.size() - 1 - n]))
        ++n;
      return n;
    };
    std::size_t seen = 0;
    EXPECT_TRUE(run.receive_until([&] { return std::exchange(seen, run.segments.size()) != run.segments.size() && whole_in_a_row() >= 3; }, seconds(60)));
    auto made = run.of(rung);
    return made.size() < 3 ? 0 : made[made.size() - 3].info.slot;
  }
};

TEST_F(Overload, LeavesOutItsTopRungAndGoesOnWhole) {
  pipeline_run run(settings({{"360p", 360, bit_rate{700'000}, 60}, {"180p", 180, bit_rate{300'000}, 60}, {"90p", 90, bit_rate{100'000}, 60}}));
  ASSERT_TRUE(run.receive_until([&] { return run.of("90p").size() >= 2; }));
  {
    busy_machine busy(run.pid());
    ASSERT_TRUE(run.receive_until([&] { return says_left_out(run); }, seconds(60)));
  }
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_EQ(run.rungs[0].rungs.size(), 3u);
  ASSERT_EQ(run.rungs[1].rungs.size(), 2u);
  EXPECT_EQ(run.rungs[1].rungs[0].name, "180p");
  EXPECT_EQ(run.troubles.back().text, "the machine is too slow: rung 360p is left out");
  ASSERT_FALSE(run.of("360p").empty());
  const auto last_of_top = run.of("360p").back().info.slot;

  const auto from = catch_up(run, "180p");
  run.stop();
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::requested) << run.end->text;
  EXPECT_EQ(run.of("360p").back().info.slot, last_of_top) << "no segment of it comes after the ladder without it";
  EXPECT_EQ(run.rungs.size(), 2u) << "it does not come back so soon";
  for (auto rung : {"180p", "90p"}) {
    auto made = run.of(rung);
    auto seam = std::ranges::find_if(made, [&](auto& s) { return s.info.slot > last_of_top; });
    ASSERT_NE(seam, made.end());
    EXPECT_TRUE(seam->info.discontinuity);
    EXPECT_EQ(std::ranges::count_if(made, [](auto& s) { return s.info.discontinuity; }), 1) << rung;
    ASSERT_NE(seam, made.begin());
    EXPECT_EQ(std::prev(seam)->info.slot, last_of_top) << "all rungs end with the same segment";
    EXPECT_LE(std::prev(seam)->info.duration, 2 * 90'000 + 180);
    // A machine that is slower still loses packets unread before it comes to the end of the segment.
    if (std::ranges::none_of(run.beats, [](auto& b) { return b.packets_queued > 8 * (25 + 47); })) {
      EXPECT_EQ(seam->info.slot, last_of_top + 1);
      EXPECT_NEAR(double(std::prev(seam)->info.duration), 2 * 90'000.0, 180.0) << "it ends where the next begins";
      EXPECT_TRUE(sounds_whole(*std::prev(seam))) << rung;
      EXPECT_TRUE(sounds_whole(*seam)) << rung << ": what was heard of it before has waited for it";
    }
    for (std::size_t i = 0; i + 1 < made.size(); ++i) // the last one was cut short by the stop
      if (made[i].info.slot >= from) {
        EXPECT_TRUE(whole(made[i])) << rung << " " << made[i].info.slot;
        EXPECT_TRUE(sounds_whole(made[i])) << rung << " " << made[i].info.slot;
      }
  }
}

TEST_F(Overload, KeepsWhatIsPassedThrough) {
  auto wanted = settings({{"360p", 360, bit_rate{700'000}, 60}, {"180p", 180, bit_rate{300'000}, 60}, {"90p", 90, bit_rate{100'000}, 60}});
  wanted.ladder.pass_top = true;
  pipeline_run run(wanted);
  ASSERT_TRUE(run.receive_until([&] { return run.of("90p").size() >= 2; }));
  {
    busy_machine busy(run.pid());
    ASSERT_TRUE(run.receive_until([&] { return says_left_out(run); }, seconds(60)));
  }
  EXPECT_EQ(run.troubles.back().text, "the machine is too slow: rung 180p is left out");
  ASSERT_EQ(run.rungs.size(), 2u);
  EXPECT_TRUE(run.rungs[1].passed_through) << "it costs nearly nothing";
  ASSERT_EQ(run.rungs[1].rungs.size(), 2u);
  EXPECT_EQ(run.rungs[1].rungs[0].name, "360p");
  EXPECT_EQ(run.rungs[1].rungs[1].name, "90p");
  ASSERT_FALSE(run.of("180p").empty());
  const auto last_of_it = run.of("180p").back().info.slot;

  // What was read of the next segment before the ladder changed has waited for it.
  ASSERT_TRUE(run.receive_until([&] { return !run.of("360p").empty() && run.of("360p").back().info.slot > last_of_it + 1; }, seconds(60)));
  run.stop();
  run.finish();
  for (auto rung : {"360p", "90p"}) {
    auto made = run.of(rung);
    for (std::size_t i = 1; i < made.size(); ++i)
      EXPECT_GT(made[i].info.slot, made[i - 1].info.slot) << "no segment is cut in two";
    auto seam = std::ranges::find_if(made, [](auto& s) { return s.info.discontinuity; });
    ASSERT_NE(seam, made.end());
    EXPECT_EQ(seam->info.slot, last_of_it + 1);
    EXPECT_TRUE(sounds_whole(*seam)) << rung;
    EXPECT_TRUE(seam != made.begin() && sounds_whole(*std::prev(seam))) << rung;
  }
  for (auto& s : run.of("360p"))
    if (s.info.slot >= last_of_it && s.info.slot <= last_of_it + 1) {
      EXPECT_TRUE(whole(s)) << "pictures that are only copied are never left out; slot " << s.info.slot;
    }
}

} // namespace
} // namespace weir::media
