#include "actors/edge_monitor.hpp"

#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using steering::edge_view;

class EdgeMonitor : public ::testing::Test {
public:
  edge_monitor_state state;
  edge_monitor_state::time_point t{std::chrono::hours(1)};

  /// Reports each second and good probes, as a healthy edge gives them.
  void live(std::chrono::seconds d, bool up = true, bool good = true) {
    for (auto until = t + d; t < until;) {
      t += 1s;
      edge_load load;
      load.up = up;
      load.trouble = up ? "" : "nginx ended (exit code 0, signal 9)";
      state.take(load, t);
      state.take(probe_result{good, 5, good ? "" : "connection refused"});
      state.judge(t);
    }
  }
};

TEST_F(EdgeMonitor, SeesAHealthyEdgeUp) {
  live(10s);
  EXPECT_EQ(state.news.view, edge_view::up);
  EXPECT_EQ(state.news.text, "");
}

TEST_F(EdgeMonitor, SuspectsASilentEdgeWithinTwoAndAHalfSeconds) {
  live(30s);
  EXPECT_TRUE(state.judge(t + 1200ms));
  EXPECT_EQ(state.news.view, edge_view::up);
  state.judge(t + 2500ms);
  EXPECT_EQ(state.news.view, edge_view::suspect);
}

TEST_F(EdgeMonitor, TwoMissedProbesAreEnough) {
  live(10s);
  state.take(probe_result{false, 500, "timeout"});
  state.judge(t);
  EXPECT_EQ(state.news.view, edge_view::up);
  state.take(probe_result{false, 500, "timeout"});
  EXPECT_TRUE(state.judge(t)) << "the parent hears of a changed view at once";
  EXPECT_EQ(state.news.view, edge_view::suspect);
  EXPECT_NE(state.news.text.find("timeout"), std::string::npos);
}

TEST_F(EdgeMonitor, AReportThatNginxIsGoneIsNoSignOfLife) {
  live(30s);
  live(3s, false, true);
  EXPECT_EQ(state.news.view, edge_view::suspect);
}

TEST_F(EdgeMonitor, TellsItsParentEachSecondAtLeast) {
  live(5s);
  EXPECT_FALSE(state.judge(t + 500ms));
  EXPECT_TRUE(state.judge(t + 1000ms));
}

} // namespace
} // namespace weir::testing
