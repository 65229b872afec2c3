// The control plane of a whole cluster on a simulated clock: the real COORDINATOR on its real store, its STREAMs and TASKs, and machines that keep the
// rules of a node (machine.hpp). What must hold is looked at four times a second of simulated time; that no two processes push to one target, at each start.
#include "actors/coordinator.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "tests/sim/machine.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <cstdlib>
#include <filesystem>
#include <set>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr auto look_every = 250ms;
constexpr milliseconds grace = 5s;

struct shape {
  std::size_t nodes = 0; ///< the coordinator's own and the one with RTMP server and origin included
  std::size_t streams = 0;
  std::size_t restreams = 0; ///< of each stream, beside its ladder
  std::int64_t capacity_milli = 0;
};

std::uint64_t seed_or(std::uint64_t usual) {
  auto* wanted = std::getenv("WEIR_SIM_SEED");
  return wanted ? std::strtoull(wanted, nullptr, 10) : usual;
}

double seconds(std::chrono::nanoseconds x) { return double(x.count()) / 1e9; }

class cluster : public virtual_time {
public:
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-sim-" + random_uuid());
  std::shared_ptr<store::store> db;
  std::shared_ptr<world> all = std::make_shared<world>();
  std::map<node_name, node_actor> nodes;    ///< that are up
  std::map<task_id, task_spec> tasks;
  std::map<stream_id, stream_spec> streams;
  std::set<stream_id> live;
  std::map<task_id, lease_epoch> epochs;    ///< seat → highest one that was ever granted
  std::vector<node_name> workers;
  shape size;
  std::uint64_t clients = 0, instances = 0, events = 0;

  const node_name boss = node_name{"boss"}, media = node_name{"media"};
  const bool loud = std::getenv("WEIR_SIM_LOG") != nullptr;

  ~cluster() override {
    stop_coordinator();
    std::filesystem::remove_all(folder);
  }

  // --- what there is -----------------------------------------------------------------------------------------------------------

  void build(const shape& wanted, std::uint64_t seed) {
    size = wanted;
    all->chance.seed(seed);
    all->loud = loud;
    std::printf("WEIR_SIM_SEED=%llu\n", static_cast<unsigned long long>(seed));
    RecordProperty("seed", std::to_string(seed));
    // The actors say thousands of things. WEIR_SIM_LOG shows them, with the simulated time of each look.
    (void)log::configure({.lowest = loud ? log::level::info : log::level::critical, .style = log::format::text, .file = {}});
    open_store();
    store::batch made;
    auto wall = std::chrono::system_clock::now();
    for (std::size_t s = 0; s < size.streams; ++s) {
      stream_spec stream{.id = stream_id{fmt::format("stream-{:04}", s)}, .name = fmt::format("show-{:04}", s), .key = "secret-key", .title = {}, .comment = {}, .revision = 1, .created = wall};
      made.put_stream(stream);
      streams[stream.id] = stream;
      for (std::size_t t = 0; t <= size.restreams; ++t) {
        bool ladder = t == 0;
        task_spec task;
        task.id = task_id{fmt::format("task-{:04}-{}", s, t)};
        task.stream = stream.id;
        task.type = ladder ? "hls" : "restream";
        auto options = canonical_options(task.type, ladder ? fmt::format(R"({{"ladder":"{}"}})", all->one_in(5) ? "economy" : "low") : fmt::format(R"({{"url":"rtmp://host/live/{}"}})", task.id.value));
        ASSERT_TRUE(options) << options.error().text;
        task.options = *options;
        task.revision = 1;
        made.put_task(task);
        tasks[task.id] = task;
      }
    }
    ASSERT_TRUE(db->commit(made, store::durability::synced));
    for (std::size_t n = 2; n < size.nodes; ++n)
      workers.push_back(node_name{fmt::format("node-{:03}", n)});
    start_coordinator();
    start(media);
    for (auto& name : workers)
      start(name);
    until("all nodes are ready", 3s, [&] { return ready() == size.nodes ? std::string{} : fmt::format("{} of {}", ready(), size.nodes); });
  }

  void open_store() {
    auto opened = store::store::open(folder);
    ASSERT_TRUE(opened) << opened.error().text;
    db = std::make_shared<store::store>(std::move(*opened));
  }

  void start_coordinator() {
    if (!db)
      open_store();
    coordinator_setup setup;
    setup.cluster = "sim";
    setup.options.publish_grace = grace;
    setup.store = db;
    setup.own_node = boss;
    all->coordinator = spawn(coordinator, setup);
    start(boss);
  }

  /// kill -9 of its program: nothing is written any more, its own node goes with it.
  void stop_coordinator() {
    if (!all->coordinator)
      return;
    caf::anon_send_exit(std::exchange(all->coordinator, nullptr), caf::exit_reason::kill);
    settle();
    // A run that outlived its lease, of which nothing is kept, may be taken up by the next one under its old epoch: of what the origin fences, not of anything else.
    std::erase_if(epochs, [&](auto& e) { return tasks.at(task_of(e.first)).type == "hls"; });
    lose(boss);
    db->close();
    db.reset();
  }

  void start(const node_name& name) {
    node_setup setup;
    setup.spec.name = name;
    setup.spec.instance = fmt::format("{}-{}", name.value, ++instances);
    setup.spec.http_url = "http://" + name.value;
    if (name == media) {
      setup.rtmp_servers = {{"srv", "rtmp://media:1935", "rtmp://media"}};
      setup.origins = {{"http://media", "token"}};
    } else if (name != boss) {
      setup.spec.task_types = {"hls", "restream"};
      setup.spec.capacity_milli = size.capacity_milli;
    }
    nodes[name] = spawn(machine, setup, all);
  }

  // --- faults and orders -------------------------------------------------------------------------------------------------------

  /// The power of a machine is cut. The coordinator learns it by the end of the connection.
  void lose(const node_name& name) {
    all->lose(name);
    caf::anon_send_exit(nodes.at(name), caf::exit_reason::kill);
    nodes.erase(name);
    settle();
  }
  /// These hear each other and nobody else. CAF notices after 4 s.
  void cut(const std::vector<node_name>& names, int side) {
    for (auto& name : names)
      all->sides[name] = side;
  }
  void end_connections_of(const std::vector<node_name>& names) {
    for (auto& name : names)
      if (auto node = nodes.find(name); node != nodes.end() && all->side_of(name) != 0 && all->coordinator)
        caf::anon_send(caf::actor_cast<caf::actor>(all->coordinator), caf::down_msg{node->second.address(), caf::exit_reason::remote_link_unreachable});
    settle();
  }
  void mend() { all->sides.clear(); }

  void publish(const stream_id& id) {
    call(hook_kind::publish, id, ++clients);
    clients_[id] = clients;
    live.insert(id);
  }
  void unpublish(const stream_id& id) {
    call(hook_kind::unpublish, id, clients_[id]);
    live.erase(id);
  }
  void order(const node_name& name, node_phase phase) { caf::anon_send(all->coordinator, set_node_phase{name, phase, "sim"}); }

  std::vector<node_name> some_workers(std::size_t count) {
    std::vector<node_name> drawn;
    for (auto& name : workers)
      if (nodes.contains(name) && all->side_of(name) == 0)
        drawn.push_back(name);
    std::ranges::shuffle(drawn, all->chance);
    drawn.resize(std::min(count, drawn.size()));
    return drawn;
  }

  // --- what must hold ----------------------------------------------------------------------------------------------------------

  coordinator_state& state() {
    return dynamic_cast<std::remove_pointer_t<coordinator_actor::stateful_pointer<coordinator_state>>&>(*caf::actor_cast<caf::abstract_actor*>(all->coordinator)).state;
  }
  std::size_t ready() {
    return static_cast<std::size_t>(std::ranges::count_if(state().nodes, [](auto& n) { return n.second.status.phase == node_phase::ready; }));
  }
  std::size_t count_of(const node_name& name) {
    return static_cast<std::size_t>(std::ranges::count_if(all->runs, [&](auto& seat) { return std::ranges::any_of(seat.second, [&](auto& r) { return r.node == name; }); }));
  }
  /// Largest share of granted cores over the mean one, of nodes that take tasks.
  double evenness() {
    double sum = 0, most = 0;
    std::size_t count = 0;
    for (auto& [name, node] : state().nodes)
      if (node.status.phase == node_phase::ready && !node.status.spec.task_types.empty()) {
        auto share = double(node.status.granted_milli) / double(node.status.spec.capacity_milli);
        sum += share;
        most = std::max(most, share);
        ++count;
      }
    return sum > 0 ? most / (sum / double(count)) : 1;
  }

  /// At any time whatsoever.
  void look() {
    for (auto& breach : std::exchange(all->breaches, {}))
      ADD_FAILURE() << at() << breach;
    if (!all->coordinator)
      return;
    auto& my = state();
    std::map<node_name, std::pair<std::int64_t, std::size_t>> sums;
    for (auto& [seat, held] : my.leases) {
      auto& sum = sums[held.node];
      sum.first += held.cost_milli;
      ++sum.second;
      if (!tasks.contains(task_of(seat)))
        ADD_FAILURE() << at() << "a lease without a task: " << seat.value;
      auto& highest = epochs[seat];
      if (held.epoch < highest)
        ADD_FAILURE() << at() << fmt::format("the epoch of {} fell from {} to {}", seat.value, highest, held.epoch);
      highest = held.epoch;
    }
    for (auto& [name, node] : my.nodes) {
      auto [sum, count] = sums[name];
      if (node.status.granted_milli != sum)
        ADD_FAILURE() << at() << fmt::format("{} has {} granted, its leases cost {}", name.value, node.status.granted_milli, sum);
      if (sum > node.status.spec.capacity_milli && count > 1 && node.actor)
        ADD_FAILURE() << at() << fmt::format("{} has {} of {} granted to {} leases", name.value, sum, node.status.spec.capacity_milli, count);
    }
  }

  /// Empty when everything is as it should be once nothing happens any more; else what is not.
  std::string unsettled() {
    auto& my = state();
    for (auto& [id, spec] : tasks) {
      auto found = all->runs.find(id);
      auto count = found == all->runs.end() ? 0 : found->second.size();
      auto held = my.leases.find(id);
      if (!live.contains(spec.stream)) {
        if (count != 0 || held != my.leases.end())
          return fmt::format("{} is not wanted: {} runs, lease {}, seen as {} ({})", id.value, count, held != my.leases.end(), to_string(my.tasks.at(id).status.phase), my.tasks.at(id).status.reason);
        continue;
      }
      auto& seen = my.tasks.at(id).status;
      if (count != 1 || held == my.leases.end() || found->second[0].phase != task_phase::running || found->second[0].epoch != held->second.epoch || found->second[0].node != held->second.node ||
          seen.phase != task_phase::running || seen.epoch != held->second.epoch)
        return fmt::format("{}: {} runs{}, lease {}, seen as {} with epoch {} ({})", id.value, count,
                           count ? fmt::format(" (on {}, {}, epoch {})", found->second[0].node.value, to_string(found->second[0].phase), found->second[0].epoch) : "",
                           held == my.leases.end() ? "none" : fmt::format("{} with epoch {}", held->second.node.value, held->second.epoch), to_string(seen.phase), seen.epoch, seen.reason);
    }
    for (auto& [seat, held] : my.leases)
      if (!all->find(seat, held.node, held.epoch))
        return fmt::format("nothing runs under the lease of {} on {}", seat.value, held.node.value);
    return {};
  }

  /// Lets time pass, looking all the while.
  void pass(milliseconds time) {
    for (milliseconds gone{}; gone < time; gone += look_every) {
      if (loud)
        std::fprintf(stderr, "%s\n", at().c_str());
      advance(std::min(look_every, time - gone));
      look();
    }
  }
  /// Until `missing` says nothing; fails after `bound`. Gives the simulated time that it took.
  template <class F>
  std::chrono::nanoseconds until(const char* what, milliseconds bound, F missing) {
    settle();
    auto began = now();
    std::string why;
    while (!(why = missing()).empty() && now() - began < bound)
      pass(look_every);
    EXPECT_EQ(why, "") << at() << what << ": not within " << bound.count() << " ms";
    std::printf("%s: %.2f s\n", what, seconds(now() - began));
    return now() - began;
  }
  auto until_settled(const char* what, milliseconds bound) {
    return until(what, bound, [&] { return unsettled(); });
  }
  std::string at() const { return fmt::format("after {:.2f} s: ", seconds(now() - began_)); }

private:
  std::map<stream_id, std::uint64_t> clients_;
  caf::actor_clock::time_point began_ = now();

  void call(hook_kind kind, const stream_id& id, std::uint64_t client) {
    auto& spec = streams.at(id);
    caf::anon_send(all->coordinator, hook_call{.kind = kind, .server = "srv", .service_id = "s1", .client_id = std::to_string(client), .address = "10.1.1.1", .vhost = {}, .app = spec.app, .stream = spec.name, .key = spec.key});
  }
};

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
  end_connections_of(silent);
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
    end_connections_of(workers);
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
