// The control plane of a whole cluster on a simulated clock. What must hold is looked at four times a second of simulated time; that no two processes push to
// one target, at each start.
#include "tests/sim/cluster.hpp"

namespace weir::testing {
namespace {

/// What runs, where, under which epoch.
std::map<task_id, std::vector<std::pair<std::string, lease_epoch>>> book(const world& all) {
  std::map<task_id, std::vector<std::pair<std::string, lease_epoch>>> found;
  for (auto& [seat, runs] : all.runs)
    for (auto& run : runs)
      found[seat].emplace_back(run.node.value, run.epoch);
  return found;
}

class Cluster : public cluster {};

TEST_F(Cluster, TwoHundredNodesAndFiveThousandTasks) {
  build({.nodes = 200, .streams = 1000, .restreams = 4, .capacity_milli = 6000}, seed_or(1));
  ASSERT_EQ(tasks.size(), 5000u);
  auto ladders_run = [&] {
    for (auto& [id, spec] : tasks)
      if (spec.type == "hls") {
        auto found = all->runs.find(id);
        if (found == all->runs.end() || std::ranges::none_of(found->second, [](auto& r) { return r.phase == task_phase::running; }))
          return "no process makes " + id.value;
      }
    return std::string{};
  };

  for (auto& [id, spec] : streams)
    publish(id);
  until_settled("all go live at once, until every task runs", 3s);
  EXPECT_EQ(all->starts, 5000u) << "each is started once";
  std::printf("evenness %.3f\n", evenness());
  EXPECT_LE(evenness(), 1.25) << "one ladder of the dearer kind is a third of what a node has";

  pass(8s);
  auto lost = some_workers(20);
  for (auto& name : lost)
    lose(name);
  auto starts = all->starts;
  until("20 nodes are lost, until every ladder runs elsewhere", 3500ms, ladders_run); // L9
  until_settled("until every restream runs elsewhere", 7000ms);                       // 6.5 s and a tick after the loss, and their start
  std::printf("evenness %.3f, %llu starts\n", evenness(), static_cast<unsigned long long>(all->starts - starts));
  EXPECT_LE(evenness(), 1.25);

  auto before = book(*all);
  for (auto& name : lost)
    start(name);
  until("they come back", 3s, [&] { return ready() == size.nodes ? std::string{} : fmt::format("{} are ready", ready()); });
  pass(8s);
  EXPECT_EQ(book(*all), before) << "nothing that runs is moved by it";

  auto silent = some_workers(20);
  cut(silent, 1);
  pass(4s);
  until("20 nodes are silent, until every ladder runs elsewhere", 1000ms, [&] { // beside what goes on over there
    for (auto& [id, spec] : tasks)
      if (spec.type == "hls")
        if (auto found = all->runs.find(id); found == all->runs.end() || std::ranges::none_of(found->second, [&](auto& r) { return r.phase == task_phase::running && all->side_of(r.node) == 0; }))
          return "no process on this side makes " + id.value;
    return std::string{};
  });
  pass(15s);
  mend();
  until_settled("they are heard again, until one process works for each task", 6s);

  before = book(*all);
  starts = all->starts;
  stop_coordinator();
  pass(12s);
  EXPECT_EQ(book(*all), before) << "nothing ends while the coordinator is away: most nodes miss it";
  start_coordinator();
  until_settled("the coordinator is back, until it has every task", 3s);
  pass(10s);
  EXPECT_EQ(book(*all), before);
  EXPECT_EQ(all->starts, starts) << "no restart";

  auto drained = some_workers(10);
  for (auto& name : drained)
    order(name, node_phase::draining);
  until("10 nodes are drained, until nothing runs there", 30s, [&] { // a ladder there goes on until its successor has brought whole segments
    EXPECT_EQ(ladders_run(), "") << at() << "a ladder goes on until its successor delivers";
    for (auto& name : drained)
      if (auto count = count_of(name))
        return fmt::format("{} works for {}", name.value, count);
    return std::string{};
  });
  until_settled("until every task runs", 2s);
  for (auto& name : drained)
    order(name, node_phase::ready);
  pass(1s);
  EXPECT_EQ(ready(), size.nodes);

  std::vector<stream_id> off;
  for (auto& [id, spec] : streams)
    if (all->one_in(5))
      off.push_back(id);
  for (auto& id : off)
    unpublish(id);
  until_settled("a fifth of the streams ends, until nothing works for them", grace + 4s);
  for (auto& id : off)
    publish(id);
  until_settled("they begin again, until every task runs", 3s);
  for (auto& id : off)
    unpublish(id);
  pass(2s);
  for (auto& id : off)
    publish(id);
  until_settled("an encoder of each comes back within the grace, until every task runs", 6s);
  std::printf("evenness %.3f, %llu starts in all\n", evenness(), static_cast<unsigned long long>(all->starts));
  EXPECT_EQ(unsettled(), "");
}

/// A small cluster, so that a handful of nodes decides who has the majority, and faults that come in any order, also several at once.
class ClusterInTrouble : public cluster, public ::testing::WithParamInterface<std::uint64_t> {};

TEST_P(ClusterInTrouble, ComesToRestWhenTheTroubleEnds) {
  build({.nodes = 10, .streams = 12, .restreams = 3, .capacity_milli = 2000}, seed_or(GetParam()));
  all->crashes_in_a_thousand = 20;
  for (auto& [id, spec] : streams)
    publish(id);
  until_settled("all go live", 3s);
  std::set<node_name> drained;
  std::vector<std::string> story;
  auto note = [&](std::string what) {
    story.push_back(at() + std::move(what));
    if (loud)
      std::fprintf(stderr, "%s\n", story.back().c_str());
  };
  auto any = [&](const auto& from) { return *std::next(from.begin(), static_cast<std::ptrdiff_t>(all->chance() % from.size())); };
  for (int step = 0; step < 40 && !HasFailure(); ++step) {
    pass(all->one_in(3) ? all->between(0, 300) : all->between(300, 9000));
    switch (all->chance() % 10) {
      case 0:
        for (auto& name : some_workers(1 + all->chance() % 2))
          note(name.value + " is lost"), lose(name);
        break;
      case 1:
      case 2:
        for (auto& name : workers)
          if (!nodes.contains(name) && all->one_in(2))
            note(name.value + " is started"), start(name);
        break;
      case 3:
      case 4: {
        auto away = some_workers(1 + all->chance() % 7);
        auto side = 1 + static_cast<int>(all->chance() % 2);
        for (auto& name : away)
          note(fmt::format("{} is cut off, on side {}", name.value, side));
        cut(away, side);
        break;
      }
      case 5:
        note("the cut is mended");
        mend();
        break;
      case 6:
        note(all->coordinator ? "the coordinator is lost" : "the coordinator is started");
        all->coordinator ? stop_coordinator() : start_coordinator();
        break;
      case 7:
        if (all->coordinator) {
          auto name = any(workers);
          bool drain = drained.size() < 3 && drained.insert(name).second;
          if (!drain)
            drained.erase(name);
          note(fmt::format("{} is {}", name.value, drain ? "drained" : "taken back"));
          order(name, drain ? node_phase::draining : node_phase::ready);
        }
        break;
      default:
        if (all->coordinator) {
          auto id = any(streams).first;
          note(fmt::format("{} {}", id.value, live.contains(id) ? "ends" : "begins"));
          live.contains(id) ? unpublish(id) : publish(id);
        }
    }
  }
  mend();
  all->crashes_in_a_thousand = 0;
  if (!all->coordinator)
    start_coordinator();
  for (auto& name : workers)
    if (!nodes.contains(name))
      start(name);
  pass(20s); // runs that are to crash have crashed
  for (auto& name : drained)
    order(name, node_phase::ready);
  until_settled("the trouble has ended, until all is as it should be", 30s);
  look();
  if (HasFailure())
    for (auto& line : story)
      std::printf("%s\n", line.c_str());
}

INSTANTIATE_TEST_SUITE_P(Seeds, ClusterInTrouble, ::testing::Range<std::uint64_t>(1, 13));

} // namespace
} // namespace weir::testing
