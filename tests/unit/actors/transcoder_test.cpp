#include "actors/transcoder.hpp"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using time_point = transcoder_state::time_point;

class Transcoder : public ::testing::Test {
public:
  transcoder_state s;
  time_point t{std::chrono::hours(1)};
  std::int64_t pts = 0;

  Transcoder() {
    s.plan.what.kind = media::pipeline_kind::hls;
    s.begin(t, {});
  }
  media::heartbeat beat(bool progress = true, std::int64_t read_age = 20) {
    media::heartbeat h;
    h.packets_read = 10;
    h.last_read_age = read_age;
    if (progress)
      pts += 22500;
    h.outputs = {{"720p", pts, pts}, {"360p", pts, pts}};
    h.output_bytes = pts;
    h.speed_milli = 1000;
    return h;
  }
  void run(std::chrono::milliseconds d, bool progress = true, std::int64_t read_age = 20) {
    for (auto until = t + d; t < until;) {
      t += 250ms;
      s.take(beat(progress, read_age), t, {});
    }
  }
  transcoder_state::verdict end(int code, int signal) {
    s.now_running->exit = process_ended{1, code, signal};
    return s.judge();
  }
};

TEST_F(Transcoder, RunsOnceOutputAdvances) {
  EXPECT_EQ(s.phase, task_phase::starting);
  run(1s);
  EXPECT_EQ(s.phase, task_phase::running);
  EXPECT_EQ(s.watch(t), "");
}

TEST_F(Transcoder, IsJudgedByItsOutputNotByItsExistence) {
  run(5s);
  run(2900ms, false);
  EXPECT_EQ(s.watch(t), "");
  run(500ms, false);
  EXPECT_NE(s.watch(t), "") << "input came, output did not";
}

TEST_F(Transcoder, OneStuckRungIsEnough) {
  run(5s);
  for (int i = 0; i < 16; ++i) {
    t += 250ms;
    auto h = beat();
    h.outputs[1].last_pts = 1;
    s.take(h, t, {});
  }
  EXPECT_NE(s.watch(t).find("360p"), std::string::npos);
}

TEST_F(Transcoder, ASilentSourceIsNoFaultOfTheProcess) {
  run(5s);
  run(60s, false, 5000);
  EXPECT_EQ(s.watch(t), "");
}

TEST_F(Transcoder, ARestreamMayTryItsTargetAgainBeforeItsFirstOutput) {
  for (auto [kind, patience] : {std::pair{media::pipeline_kind::hls, 10s}, std::pair{media::pipeline_kind::restream, 14s}}) {
    s.plan.what.kind = kind;
    s.begin(t, {});
    for (auto until = t + patience; t < until;) {
      t += 250ms;
      auto h = beat(false);
      h.outputs = {{"target", -1, 0}};
      h.output_bytes = 0;
      s.take(h, t, {});
    }
    EXPECT_EQ(s.phase, task_phase::starting);
    EXPECT_EQ(s.watch(t), "");
    run(500ms, false);
    EXPECT_NE(s.watch(t).find("no output"), std::string::npos);
  }
}

TEST_F(Transcoder, MissingHeartbeatsAreFatalWithinThreeSeconds) {
  run(5s);
  EXPECT_EQ(s.watch(t + 2900ms), "");
  EXPECT_NE(s.watch(t + 3100ms), "");
}

TEST_F(Transcoder, TellsTheCausesOfItsEndApart) {
  run(1s);
  EXPECT_EQ(end(-1, 9).cause, end_cause::crashed);
  EXPECT_EQ(end(1, 0).cause, end_cause::crashed);
  s.now_running->said = media::end_report{end_cause::encoder_error, -22, "x264"};
  EXPECT_EQ(end(0, 0).cause, end_cause::encoder_error);
  s.now_running->said = media::end_report{end_cause::source_ended, 0, "end"};
  EXPECT_EQ(end(0, 0).cause, end_cause::source_ended);
  s.now_running->killed_for = "no output";
  EXPECT_EQ(end(-1, 9).cause, end_cause::hung);
  s.now_running->killed_for.clear();
  s.stopping = true;
  EXPECT_EQ(end(-1, 15).cause, end_cause::requested);
}

TEST_F(Transcoder, CrashesBackOffAndBecomeAVisibleState) {
  for (int crash = 1; crash <= 6; ++crash) {
    auto pause = s.next({end_cause::crashed, "boom"}, t);
    ASSERT_TRUE(pause);
    EXPECT_EQ(s.phase, crash < 5 ? task_phase::backing_off : task_phase::crash_looping) << crash;
    if (crash < 5)
      EXPECT_LE(*pause, 10s);
    else
      EXPECT_GE(*pause, 20s);
    t += 1s;
    s.begin(t, {});
  }
}

TEST_F(Transcoder, AnEndedSourceIsLookedForAgainWithoutBlame) {
  for (int i = 0; i < 20; ++i) {
    auto pause = s.next({end_cause::source_ended, "end"}, t);
    ASSERT_TRUE(pause);
    EXPECT_LE(*pause, 1s);
    EXPECT_EQ(s.phase, task_phase::starting);
    s.begin(t, {});
  }
}

TEST_F(Transcoder, AnUnreachableTargetIsTriedForEver) {
  for (int i = 0; i < 50; ++i) {
    auto pause = s.next({end_cause::target_unreachable, "refused"}, t);
    ASSERT_TRUE(pause);
    EXPECT_EQ(s.phase, task_phase::backing_off);
    EXPECT_LE(*pause, 36s);
    s.begin(t, {});
  }
}

TEST_F(Transcoder, BadOptionsAreNotTriedAgain) {
  EXPECT_FALSE(s.next({end_cause::bad_options, "no such codec"}, t));
  EXPECT_EQ(s.phase, task_phase::failed);
}

TEST_F(Transcoder, SlownessIsTold) {
  run(2s);
  for (int i = 0; i < 48; ++i) {
    t += 250ms;
    auto h = beat();
    h.speed_milli = 800;
    s.take(h, t, {});
  }
  EXPECT_EQ(s.last.cause, end_cause::overloaded);
  EXPECT_EQ(s.watch(t), "") << "slow is not hung";
  for (int i = 0; i < 36; ++i)
    s.take(beat(), t += 250ms, {});
  EXPECT_EQ(s.last.cause, end_cause::overloaded) << "not yet";
  for (int i = 0; i < 8; ++i)
    s.take(beat(), t += 250ms, {});
  EXPECT_EQ(s.last.cause, end_cause::none) << "it keeps up again";
}

TEST_F(Transcoder, APipelineThatCanLeaveOutARungSpeaksForItself) {
  s.plan.what.leave_out_rungs = true;
  run(2s);
  auto slow_for = [&](std::chrono::milliseconds d, bool last_rung) { // which goes on beside its sound
    for (auto until = t + d; t < until;) {
      t += 250ms;
      auto h = beat();
      h.speed_milli = 800;
      if (last_rung)
        h.outputs[1].name = media::audio_rung;
      s.take(h, t, {});
    }
  };
  slow_for(20s, false);
  EXPECT_EQ(s.last.cause, end_cause::none);
  slow_for(12s, true);
  EXPECT_EQ(s.last.cause, end_cause::overloaded) << "nothing more to leave out";
}

} // namespace
} // namespace weir::testing
