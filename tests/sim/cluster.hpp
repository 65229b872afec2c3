#pragma once
// A whole cluster on a simulated clock: the real COORDINATOR on its real store, its STREAMs and TASKs, machines that keep the rules of a node (machine.hpp), and
// where something is written: encoders, two RTMP servers, and an origin (origin_judge.hpp).
#include "actors/coordinator.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "tests/sim/machine.hpp"
#include "tests/unit/actors/virtual_time.hpp"

#include <cstdlib>
#include <filesystem>

namespace weir::testing {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

inline constexpr auto look_every = 250ms;
inline constexpr milliseconds grace = 5s;

struct shape {
  std::size_t nodes = 0; ///< the coordinator's own and those with RTMP servers and origin included
  std::size_t streams = 0;
  std::size_t restreams = 0; ///< of each stream, beside its ladder
  std::int64_t capacity_milli = 0;
  bool writes = false; ///< there are encoders, a second RTMP server and an origin; half of the ladders have a standby, half of the streams are on both servers
};

inline std::uint64_t seed_or(std::uint64_t usual) {
  auto* wanted = std::getenv("WEIR_SIM_SEED");
  return wanted ? std::strtoull(wanted, nullptr, 10) : usual;
}

inline double seconds(std::chrono::nanoseconds x) { return double(x.count()) / 1e9; }

/// Sees every change of the store: knows all leases that were ever granted, and what a power loss leaves.
class store_shadow final : public store::mirror {
public:
  static constexpr auto lazy_for = 300ms; ///< so old is what the disk may not have yet

  store_shadow(std::shared_ptr<world> all, store::raw_contents records) : all_(std::move(all)), records_(std::move(records)) {}

  expected<void> ship(const std::vector<store::change>& changes) override {
    read(changes);
    settle({});
    apply(changes);
    return {};
  }
  expected<void> queue(const std::vector<store::change>& changes) override {
    read(changes);
    lazy_.emplace_back(all_->now(), changes);
    settle(lazy_for);
    return {};
  }
  void give_up(std::string) override {}

  /// Takes what was written last away.
  const store::raw_contents& lose_power() {
    settle(lazy_for);
    for (auto& [at, changes] : lazy_)
      for (auto& c : changes)
        if (c.key.starts_with(leases))
          all_->note(fmt::format("lost with the power: {} of {}", c.value ? "a grant" : "the end of a lease", c.key.substr(leases.size())));
    lazy_.clear();
    return records_;
  }

private:
  static constexpr std::string_view leases = "lease/", events = "event/";

  void read(const std::vector<store::change>& changes) {
    for (auto& c : changes)
      if (c.value && c.key.starts_with(leases)) {
        auto one = nlohmann::json::parse(*c.value);
        all_->granted(one.at("epoch").get<lease_epoch>(), {task_id{c.key.substr(leases.size())}, node_name{one.at("node").get<std::string>()}});
      }
  }
  void apply(const std::vector<store::change>& changes) {
    for (auto& c : changes)
      if (c.key.starts_with(events))
        continue;
      else if (c.value)
        records_[c.key] = *c.value;
      else
        records_.erase(c.key);
  }
  void settle(milliseconds younger_ones_wait) {
    for (; !lazy_.empty() && all_->now() - lazy_.front().first >= younger_ones_wait; lazy_.pop_front())
      apply(lazy_.front().second);
  }

  std::shared_ptr<world> all_;
  store::raw_contents records_;
  std::deque<std::pair<time_point, std::vector<store::change>>> lazy_;
};

struct network_state {
  static inline const char* name = "network";
  time_point heard{}, next_tick{};
};
using network_actor = watcher_actor::extend_with<caf::typed_actor<caf::reacts_to<tick>>>;

/// What is between machines and origin, and the origin's ear for the coordinator.
inline network_actor::behavior_type network(network_actor::stateful_pointer<network_state> self, std::shared_ptr<world> all) {
  auto& my = self->state;
  auto now = [self] { return self->clock().now(); };
  auto hears = [=] { return all->coordinator && all->machines.contains(all->origin_node) && !all->program_stands_still(all->origin_node) && all->hears(all->origin_node, all->boss); };
  tell_after(self, 50ms, network_actor{self}, tick{});
  return {
    [](const edge_table&) {},
    [](const origin_list&) {},
    [=, &my](const edge_list&) {
      if (hears())
        my.heard = now();
    },
    [=](const stream_notice& news) {
      if (hears())
        all->origin->hear(news);
    },
    [=, &my](const tick&) {
      all->carry();
      if (now() >= my.next_tick && all->machines.contains(all->origin_node) && !all->program_stands_still(all->origin_node)) {
        my.next_tick = now() + 250ms;
        all->origin->tick();
        if (now() - my.heard > 3s && hears() && all->hears(all->boss, all->origin_node)) { // as coordinator_watch does
          my.heard = now();
          tell(self, all->coordinator, watch{watcher_actor{network_actor{self}}});
        }
      }
      tell_after(self, 50ms, network_actor{self}, tick{});
    },
  };
}

class cluster : public virtual_time {
public:
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-sim-" + random_uuid());
  std::shared_ptr<store::store> db;
  std::shared_ptr<world> all = std::make_shared<world>();
  std::shared_ptr<store_shadow> shadow;
  std::map<node_name, node_actor> nodes;    ///< that are up
  std::map<task_id, task_spec> tasks;
  std::map<stream_id, stream_spec> streams;
  std::set<stream_id> live;
  std::map<task_id, lease_epoch> epochs;    ///< seat → highest one that was ever granted
  std::vector<node_name> workers;
  shape size;
  std::uint64_t clients = 0, instances = 0;

  const node_name boss = node_name{"boss"}, media = node_name{"media"}, media_2 = node_name{"media-2"};
  const bool loud = std::getenv("WEIR_SIM_LOG") != nullptr;

  ~cluster() override {
    stop_coordinator();
    all->flights.clear(); // they hold `all`
    std::filesystem::remove_all(folder);
  }

  // --- what there is -----------------------------------------------------------------------------------------------------------

  void build(const shape& wanted, std::uint64_t seed) {
    size = wanted;
    all->now = [this] { return now(); };
    all->boss = boss;
    all->chance.seed(seed);
    all->loud = loud;
    std::printf("WEIR_SIM_SEED=%llu\n", static_cast<unsigned long long>(seed));
    RecordProperty("seed", std::to_string(seed));
    // The actors say thousands of things. WEIR_SIM_LOG shows them, with the simulated time of each look.
    (void)log::configure({.lowest = loud ? log::level::info : log::level::critical, .style = log::format::text, .file = {}});
    open_store();
    store::batch made;
    auto wall_now = std::chrono::system_clock::now();
    for (std::size_t s = 0; s < size.streams; ++s) {
      stream_spec stream{.id = stream_id{fmt::format("stream-{:04}", s)}, .name = fmt::format("show-{:04}", s), .key = "secret-key", .title = {}, .comment = {}, .revision = 1, .created = wall_now};
      made.put_stream(stream);
      streams[stream.id] = stream;
      for (std::size_t t = 0; t <= size.restreams; ++t) {
        bool ladder = t == 0;
        task_spec task;
        task.id = task_id{fmt::format("task-{:04}-{}", s, t)};
        task.stream = stream.id;
        task.type = ladder ? "hls" : "restream";
        task.options = canonical(task.type, ladder ? ladder_options(s % 2 == 0) : fmt::format(R"({{"url":"rtmp://host/live/{}"}})", task.id.value));
        task.revision = 1;
        made.put_task(task);
        tasks[task.id] = task;
      }
    }
    ASSERT_TRUE(db->commit(made, store::durability::synced));
    auto records = db->records();
    ASSERT_TRUE(records) << records.error().text;
    ASSERT_TRUE(db->set_mark(mark));
    shadow = std::make_shared<store_shadow>(all, std::move(*records));
    db->use_mirror(shadow);
    if (size.writes) {
      all->servers["srv"] = {.node = media, .read_url = "rtmp://media:1935", .start = 0, .publishers = {}};
      all->servers["srv-2"] = {.node = media_2, .read_url = "rtmp://media-2:1935", .start = 0, .publishers = {}};
      all->origin = std::make_shared<origin_judge>(*all);
      all->origin_node = media;
      spawn(network, all);
    }
    for (std::size_t n = size.writes ? 3 : 2; n < size.nodes; ++n)
      workers.push_back(node_name{fmt::format("node-{:03}", n)});
    start_coordinator();
    start(media);
    if (size.writes)
      start(media_2);
    for (auto& name : workers)
      start(name);
    until("all nodes are ready", 3s, [&] { return ready() == size.nodes ? std::string{} : fmt::format("{} of {}", ready(), size.nodes); });
  }

  static std::string canonical(const std::string& type, const std::string& options) {
    auto whole = canonical_options(type, options);
    EXPECT_TRUE(whole) << whole.error().text;
    return whole.value_or("{}");
  }
  std::string ladder_options(bool standby) {
    return fmt::format(R"({{"ladder":"{}","profile":"{}","standby":{}}})", all->one_in(5) ? "economy" : "low", !size.writes ? "standard" : all->one_in(3) ? "quick" : "short", size.writes && standby);
  }

  void open_store() {
    auto opened = store::store::open(folder);
    ASSERT_TRUE(opened) << opened.error().text;
    db = std::make_shared<store::store>(std::move(*opened));
  }

  void start_coordinator() {
    if (!db) {
      open_store();
      if (std::exchange(power_lost_, false)) {
        auto back = db->adopt({.mark = mark, .records = shadow->lose_power(), .events = {}}, {.number = 0, .at = std::chrono::system_clock::now(), .kind = "power-lost", .subject = "cluster", .text = "The power was lost.", .actor = "sim"});
        ASSERT_TRUE(back) << back.error().text;
      }
      db->use_mirror(shadow);
    }
    coordinator_setup setup;
    setup.cluster = "sim";
    setup.options.publish_grace = grace;
    setup.store = db;
    setup.own_node = boss;
    all->coordinator = spawn(coordinator, setup);
    start(boss);
  }

  /// kill -9 of its program: nothing is written any more, its own node goes with it. Where the power was lost too, so is what was not on the disk yet.
  void stop_coordinator(bool power_lost = false) {
    if (!all->coordinator)
      return;
    caf::anon_send_exit(std::exchange(all->coordinator, nullptr), caf::exit_reason::kill);
    settle();
    if (power_lost)
      shadow->lose_power();
    power_lost_ = power_lost;
    // A run that outlived its lease, of which nothing is kept, may be taken up by the next one under its old epoch: of what the origin fences, not of anything else.
    std::erase_if(epochs, [&](auto& e) { return power_lost || tasks.at(task_of(e.first)).type == "hls"; });
    lose(boss);
    db->close();
    db.reset();
  }

  void start(const node_name& name, bool after_power_loss = true) {
    boots_[name] += after_power_loss;
    node_setup setup;
    setup.spec.machine = fmt::format("{}-{}", name.value, boots_[name]);
    setup.spec.name = name;
    setup.spec.instance = fmt::format("{}-{}", name.value, ++instances);
    setup.spec.http_url = "http://" + name.value;
    if (name == media) {
      setup.rtmp_servers = {{"srv", "rtmp://media:1935", "rtmp://media"}};
      setup.origins = {{"http://media", "token"}};
    } else if (name == media_2) {
      setup.rtmp_servers = {{"srv-2", "rtmp://media-2:1935", "rtmp://media-2"}};
    } else if (name != boss) {
      setup.spec.task_types = {"hls", "restream"};
      setup.spec.capacity_milli = size.capacity_milli;
      setup.spec.labels["zone"] = zone_of(name);
    }
    for (auto& [id, server] : all->servers)
      server.start += server.node == name;
    if (all->origin && name == all->origin_node)
      all->origin->restart();
    nodes[name] = spawn(machine, setup, all);
  }
  std::string zone_of(const node_name& worker) const { return (std::ranges::find(workers, worker) - workers.begin()) % 2 == 0 ? "a" : "b"; }

  // --- faults and orders -------------------------------------------------------------------------------------------------------

  /// kill -9 of its program, which the coordinator learns by the end of the connection; or its power is cut, and nobody says so.
  void lose(const node_name& name, bool power = false) {
    all->lose(name);
    if (!power && all->reaches(boss, name))
      caf::anon_send_exit(nodes.at(name), caf::exit_reason::kill);
    nodes.erase(name);
    settle();
  }
  /// SIGTERM: it ends when its runs have.
  void leave(const node_name& name) {
    caf::anon_send(nodes.at(name), weir::stop{});
    nodes.erase(name);
  }
  /// These hear each other and nobody else. CAF notices after 4 s.
  void cut(const std::vector<node_name>& names, int side) {
    for (auto& name : names)
      all->sides[name] = side;
  }
  void mend() {
    all->sides.clear();
    all->cuts.clear();
  }

  void publish(const stream_id& id) {
    live.insert(id);
    if (!size.writes)
      call(hook_kind::publish, "srv", id, clients_[id] = std::to_string(++clients));
    else
      encoders_[id].zero = now() - all->between(1, 1'000'000);
  }
  void unpublish(const stream_id& id) {
    live.erase(id);
    if (!size.writes)
      call(hook_kind::unpublish, "srv", id, clients_[id]);
  }
  /// The connection of its encoder to a server breaks; the server may not be able to say so.
  void drop(const stream_id& id, const std::string& server) {
    auto& publishers = all->servers.at(server).publishers;
    auto known = publishers.find(streams.at(id).name);
    if (known == publishers.end())
      return;
    if (tells_hooks(server) && all->one_in(2))
      call(hook_kind::unpublish, server, id, known->second.client);
    publishers.erase(known);
    if (all->one_in(2)) // it begins anew
      encoders_[id].zero = now() - all->between(1, 1'000'000);
  }
  void order(const node_name& name, node_phase phase) { caf::anon_send(all->coordinator, set_node_phase{name, phase, "sim"}); }
  void change(const task_spec& spec) {
    tasks[spec.id] = spec;
    caf::anon_send(all->coordinator, set_task{spec, 0, "sim"});
  }

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
      auto* type = find_task_type(spec.type);
      const std::size_t wanted = !live.contains(spec.stream) || !spec.enabled ? 0 : type->standby(spec.options) ? 2 : 1;
      std::size_t runs = 0, leases = 0;
      std::set<node_name> places;
      auto& seen = my.tasks.at(id).status;
      std::string what;
      for (auto& seat : {id, standby_seat(id)}) {
        auto found = all->runs.find(seat);
        auto held = my.leases.find(seat);
        for (std::size_t i = 0; found != all->runs.end() && i < found->second.size(); ++i, ++runs)
          what += fmt::format("{} {} on {} under {}; ", seat.value, to_string(found->second[i].phase), found->second[i].node.value, found->second[i].epoch);
        if (held == my.leases.end())
          continue;
        ++leases;
        places.insert(held->second.node);
        what += fmt::format("lease {} of {}; ", held->second.epoch, held->second.node.value);
        auto* run = all->find(seat, held->second.node, held->second.epoch);
        if (!run || run->phase != task_phase::running || (held->second.epoch == seen.epoch ? seen.phase : seen.standby_phase) != task_phase::running)
          runs += 100; // not as it should be
        auto node = my.nodes.find(held->second.node);
        for (auto& need : spec.needs)
          if (node == my.nodes.end() || !placing::has_label(node->second.status.spec.labels, need))
            runs += 100;
      }
      if (runs != wanted || leases != wanted || places.size() != wanted)
        return fmt::format("{} ({} wanted): {}seen as {} with epoch {}, standby {} ({}; {})", id.value, wanted, what, to_string(seen.phase), seen.epoch, to_string(seen.standby_phase), seen.reason, seen.standby_reason);
    }
    return {};
  }

  /// Lets time pass, looking all the while.
  void pass(milliseconds time) {
    for (milliseconds gone{}; gone < time; gone += look_every) {
      if (loud)
        std::fprintf(stderr, "%s\n", at().c_str());
      encode();
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

  /// Where the stream's encoder sends it.
  std::vector<std::string> servers_of_stream(const stream_id& id) const {
    if (std::distance(streams.begin(), streams.find(id)) % 4 < 2)
      return {"srv", "srv-2"};
    return {std::distance(streams.begin(), streams.find(id)) % 4 == 2 ? "srv" : "srv-2"};
  }

private:
  struct encoder {
    time_point zero{}; ///< of its clock
  };
  static constexpr const char* mark = "sim";
  std::map<stream_id, std::string> clients_;
  std::map<stream_id, encoder> encoders_;
  std::map<node_name, std::uint64_t> boots_;
  bool power_lost_ = false;
  caf::actor_clock::time_point began_ = now();

  void call(hook_kind kind, const std::string& server, const stream_id& id, const std::string& client) {
    auto& spec = streams.at(id);
    auto service = all->servers.contains(server) ? std::to_string(all->servers.at(server).start) : "s1";
    caf::anon_send(all->coordinator, hook_call{.kind = kind, .server = server, .service_id = service, .client_id = client, .address = "10.1.1.1", .vhost = {}, .app = spec.app, .stream = spec.name, .key = spec.key});
  }
  bool tells_hooks(const std::string& server) const {
    auto& node = all->servers.at(server).node;
    return all->coordinator && all->machines.contains(node) && !all->program_stands_still(node) && all->reaches(all->boss, node);
  }
  /// Encoders connect, again and again, and leave when they are told to.
  void encode() {
    if (!size.writes)
      return;
    for (auto& [id, spec] : streams)
      for (auto& server : servers_of_stream(id)) {
        auto& publishers = all->servers.at(server).publishers;
        auto known = publishers.find(spec.name);
        if (live.contains(id) && known == publishers.end() && tells_hooks(server)) { // without an answer it is refused
          auto client = std::to_string(++clients);
          publishers[spec.name] = {.client = client, .zero = encoders_[id].zero};
          call(hook_kind::publish, server, id, client);
          all->note(fmt::format("{} is published on {} as {}", id.value, server, client));
        } else if (!live.contains(id) && known != publishers.end()) {
          if (tells_hooks(server))
            call(hook_kind::unpublish, server, id, known->second.client);
          publishers.erase(known);
          all->note(fmt::format("{} leaves {}", id.value, server));
        }
      }
  }
};

} // namespace weir::testing
