// Histories of a cluster in which everything goes wrong that can: cables are cut, in one direction too, machines stand still and go on, programs and the coordinator are
// killed, tasks and nodes are changed meanwhile. The origin is a real one (origin_judge.hpp), and everybody who was ever told to write goes on doing so for as long
// as nobody ends it. Never are there two writers in one epoch, never is anything accepted from an old one, never do two push to one target; and when the trouble ends
// everything that is wanted runs again. WEIR_SIM_SEED names one history, WEIR_SIM_SEEDS how many.
#include "tests/sim/cluster.hpp"

namespace weir::testing {
namespace {

class Fencing : public cluster, public ::testing::WithParamInterface<std::uint64_t> {
public:
  static constexpr int faults = 45;
  static constexpr milliseconds settles_within = 20s;

  struct lost_machine {
    node_name name;
    bool power = false;
  };
  std::multimap<time_point, lost_machine> lost; ///< when each is started again
  time_point coordinator_back{};
  std::set<node_name> kept_empty;            ///< cordoned or drained
  std::set<task_id> choosy, disabled;

  template <class From>
  auto any(const From& from) {
    return *std::next(from.begin(), static_cast<std::ptrdiff_t>(all->chance() % from.size()));
  }
  node_name any_party() { return all->one_in(4) ? any(std::vector{boss, media, media_2}) : any(workers); }

  /// What was to be over by now is.
  void recover() {
    if (!all->coordinator && now() >= coordinator_back) {
      all->note("the coordinator is started");
      start_coordinator();
    }
    for (auto next = lost.begin(); next != lost.end() && next->first <= now();)
      if (auto& [name, power] = next->second; all->machines.contains(name)) // it is still ending
        ++next;
      else {
        all->note(name.value + " is started");
        start(name, power);
        next = lost.erase(next);
      }
  }
  void live_for(milliseconds time) {
    for (const auto end = now() + time; now() < end && !HasFailure();) {
      recover();
      pass(std::min<milliseconds>(look_every, std::chrono::ceil<milliseconds>(end - now())));
    }
  }

  void cut_cables() {
    const auto until = now() + (all->one_in(3) ? all->between(200, 3500) : all->between(3500, 15'000));
    auto cut_one = [&](const node_name& from, const node_name& to) {
      all->note(fmt::format("nothing of {} reaches {} for {:.1f} s", from.value, to.value, seconds(until - now())));
      all->cut(from, to, until);
    };
    auto cut_pair = [&](const node_name& one, const node_name& other) {
      const auto which = all->chance() % 4;
      if (one == other)
        return;
      if (which != 0)
        cut_one(one, other);
      if (which != 1)
        cut_one(other, one);
    };
    switch (all->chance() % 4) {
      case 0: // some from the coordinator, which decides who has the majority
        for (auto& name : some_workers(1 + all->chance() % workers.size()))
          cut_pair(name, boss);
        break;
      case 1: { // one from everybody
        auto name = any_party();
        const auto which = all->chance() % 3;
        for (auto& [other, node] : nodes)
          if (other != name) {
            if (which != 0)
              all->cut(name, other, until);
            if (which != 1)
              all->cut(other, name, until);
          }
        all->note(fmt::format("{} {} for {:.1f} s", name.value, which == 0 ? "hears nobody" : which == 1 ? "is not heard" : "is cut off", seconds(until - now())));
        break;
      }
      case 2: // some from the origin
        for (auto& name : some_workers(1 + all->chance() % 4))
          cut_pair(name, media);
        break;
      default:
        for (auto count = 1 + all->chance() % 3; count > 0; --count)
          cut_pair(any_party(), any_party());
    }
  }
  void stop_machines() {
    for (auto count = 1 + all->chance() % 2; count > 0; --count) {
      auto name = any_party();
      if (name == boss || !nodes.contains(name))
        continue;
      const auto time = all->one_in(3) ? all->between(300, 3500) : all->between(3500, 15'000);
      // A process that its program does not tell to go on ends after 4 s: in time, unless the coordinator was not heard before already.
      const bool whole = all->one_in(2) || now() - all->machines.at(name)->last_answer > 1500ms;
      all->note(fmt::format("{} {} stands still for {:.1f} s", whole ? "the machine" : "the program of", name.value, seconds(time)));
      all->pauses[name] = {now() + time, whole};
    }
  }
  void lose_machines() {
    for (auto count = 1 + all->chance() % 2; count > 0; --count) {
      auto name = any_party();
      if (name == boss || !nodes.contains(name))
        continue;
      const auto how = all->chance() % 4;
      all->note(fmt::format("{} {}", name.value, how == 0 ? "is to end" : how == 1 ? "loses its power" : "is killed"));
      how == 0 ? leave(name) : lose(name, how == 1);
      lost.emplace(now() + (all->one_in(2) ? all->between(200, 2000) : all->between(2000, 15'000)), lost_machine{name, how == 1});
    }
  }
  void lose_coordinator() {
    if (!all->coordinator)
      return;
    const bool power = all->one_in(3);
    all->note(power ? "the power of the coordinator is lost" : "the coordinator is lost");
    stop_coordinator(power);
    coordinator_back = now() + (power ? all->between(5000, 15'000) : all->one_in(2) ? all->between(100, 2000) : all->between(2000, 12'000)); // a machine has to start first
  }
  void change_node() {
    if (!all->coordinator)
      return;
    auto name = any(workers);
    const bool back = kept_empty.contains(name) || kept_empty.size() == 2;
    if (back && kept_empty.erase(name) == 0)
      return;
    const auto phase = back ? node_phase::ready : all->one_in(3) ? node_phase::cordoned : node_phase::draining;
    if (!back)
      kept_empty.insert(name);
    all->note(fmt::format("{} is set to {}", name.value, to_string(phase)));
    order(name, phase);
  }
  void change_task() {
    if (!all->coordinator)
      return;
    auto spec = any(tasks).second;
    const auto what = all->chance() % 5;
    if (what == 0) {
      spec.enabled = !spec.enabled;
      spec.enabled ? void(disabled.erase(spec.id)) : void(disabled.insert(spec.id));
    } else if (what == 1 && spec.type == "hls") {
      spec.options = canonical("hls", ladder_options(all->one_in(2)));
    } else if (!spec.needs.empty()) {
      spec.needs.clear();
      choosy.erase(spec.id);
    } else if (choosy.size() < 8) {
      spec.needs = {all->one_in(2) ? "zone=a" : "zone=b"};
      choosy.insert(spec.id);
    }
    all->note(fmt::format("{} is {} with options {}, and needs {}", spec.id.value, spec.enabled ? "enabled" : "disabled", spec.options, spec.needs.empty() ? "nothing" : spec.needs.front()));
    change(spec);
  }
  void change_stream() {
    auto id = any(streams).first;
    if (live.contains(id) && all->one_in(2)) {
      auto server = any(servers_of_stream(id));
      all->note(fmt::format("the encoder of {} loses its connection to {}", id.value, server));
      return drop(id, server);
    }
    all->note(fmt::format("{} {}", id.value, live.contains(id) ? "is to end" : "is to begin"));
    live.contains(id) ? unpublish(id) : publish(id);
  }

  /// The last segments that viewers of each live stream see are of one writer, who holds a lease, and none is missing.
  void expect_one_writer(time_point since) {
    for (auto& [id, spec] : tasks) {
      if (spec.type != "hls" || !live.contains(spec.stream) || !spec.enabled)
        continue;
      auto& one = all->origin->streams.at(streams.at(spec.stream).name);
      std::set<lease_epoch> writers, holders;
      for (auto& seat : {id, standby_seat(id)})
        if (auto held = state().leases.find(seat); held != state().leases.end())
          holders.insert(held->second.epoch);
      std::size_t entries = 0;
      for (auto& [msn, e] : one.shown)
        if (e.at >= since) {
          ++entries;
          writers.insert(e.entry.epoch);
          EXPECT_FALSE(e.gap) << at() << streams.at(spec.stream).name << " has a gap at MSN " << msn;
        }
      EXPECT_EQ(writers.size(), 1u) << at() << streams.at(spec.stream).name << " has " << entries << " segments of so many writers";
      for (auto writer : writers)
        EXPECT_TRUE(holders.contains(writer >> 16)) << at() << fmt::format("{} is written by {:x}, who holds no lease", streams.at(spec.stream).name, writer);
      EXPECT_GE(entries, 2u) << at() << streams.at(spec.stream).name;
    }
  }
};

TEST_P(Fencing, NeverHasTwoWritersAndComesToRest) {
  build({.nodes = 11, .streams = 8, .restreams = 2, .capacity_milli = 4000, .writes = true}, GetParam());
  for (auto& [id, spec] : streams)
    publish(id);
  until_settled("all go live", 5s);
  all->crashes_in_a_thousand = 30;
  for (int fault = 0; fault < faults && !HasFailure(); ++fault) {
    live_for(all->one_in(3) ? all->between(0, 500) : all->between(500, 7000));
    switch (all->chance() % 16) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: cut_cables(); break;
      case 5:
      case 6:
      case 7: stop_machines(); break;
      case 8:
      case 9: lose_machines(); break;
      case 10: lose_coordinator(); break;
      case 11:
      case 12: change_node(); break;
      case 13:
      case 14: change_task(); break;
      default: change_stream();
    }
  }
  if (!HasFailure()) {
    all->note("the trouble is over");
    all->crashes_in_a_thousand = 0;
    mend();
    all->pauses.clear();
    coordinator_back = now();
    while (!HasFailure() && (!lost.empty() || !all->coordinator)) {
      recover();
      pass(look_every);
    }
    for (auto& name : kept_empty)
      order(name, node_phase::ready);
    for (auto& id : disabled) {
      tasks[id].enabled = true;
      change(tasks[id]);
    }
  }
  if (!HasFailure())
    until_settled("the trouble is over, until all is as it should be", settles_within);
  if (!HasFailure()) {
    pass(15s);
    const auto since = now();
    pass(25s);
    expect_one_writer(since);
    EXPECT_EQ(unsettled(), "");
  }
  std::printf("%llu leases, %llu segments accepted, %llu times fenced\n", static_cast<unsigned long long>(all->grants.size()), static_cast<unsigned long long>(all->origin->accepted),
              static_cast<unsigned long long>(all->origin->fenced));
  if (HasFailure())
    for (auto& line : all->story)
      std::printf("%s\n", line.c_str());
}

std::vector<std::uint64_t> seeds() {
  if (auto one = seed_or(0); one != 0)
    return {one};
  auto* wanted = std::getenv("WEIR_SIM_SEEDS");
  std::vector<std::uint64_t> all(wanted ? std::strtoull(wanted, nullptr, 10) : 30);
  for (std::size_t i = 0; i < all.size(); ++i)
    all[i] = i + 1;
  return all;
}

INSTANTIATE_TEST_SUITE_P(Seeds, Fencing, ::testing::ValuesIn(seeds()));

} // namespace
} // namespace weir::testing
