#include "actors/autoscaler.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <cctype>
#include <numeric>

#include <fmt/format.h>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto look_every = 1s;
constexpr auto decide_every = 5s;
constexpr std::size_t reports_kept = 10;
constexpr auto missing_after = 3s;
constexpr auto ends_within = 30s; ///< then it is told again
constexpr auto players_poll = 10s; ///< until the last of them has the playlist that was made last

std::string list_of(const std::vector<edge_name>& edges) {
  std::string all;
  for (auto& e : edges)
    all += (all.empty() ? "" : ", ") + e.value;
  return all;
}

/// From an order until it counts as failed.
std::chrono::milliseconds joins_within(const autoscaler_options& options) { return 2 * options.boot + 10s; }

std::string sentence(std::string text) {
  if (!text.empty())
    text[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(text[0])));
  return text;
}

} // namespace

void autoscaler_state::use(const autoscaler_options& wanted, const director_options& steering) {
  options = wanted;
  scaling::options o;
  o.least = options.least;
  o.most = options.most;
  o.viewer_bps = options.viewer_rate.bits_per_second;
  o.imbalance = options.imbalance_percent / 100.0;
  o.growth = options.growth_percent / 100.0 / 60;
  o.boot = options.boot;
  o.memory = o.cool_down = options.cool_down;
  o.serve_out = steering.steering_ttl + players_poll;
  planner = scaling::planner{o};
  for (auto& one : options.expected) {
    auto from = parse_rfc3339(one.from), until = parse_rfc3339(one.until); // the configuration was checked
    if (from && until)
      expected.push_back({one.what, *from, *until, one.viewers});
  }
  status.on = true;
  status.dry_run = options.dry_run;
}

void autoscaler_state::use(const machines_setup& setup, std::uint64_t seed, time_point now) {
  by_machines = setup.driver != nullptr;
  if (!by_machines)
    return;
  fleet = machines::fleet{{.cluster = setup.cluster, .per_hour = options.per_hour, .per_day = options.per_day, .join_within = joins_within(options),
                           .dry_run = options.dry_run}, seed};
  if (auto read = fleet.restore(setup.kept, now); !read)
    log::error("autoscaler", "machines-not-read", "error={}", read.error().text);
  kept = fleet.revision();
}

void autoscaler_state::take(const std::vector<edge_status>& edges, time_point now) {
  std::vector<edge_spec> alive;
  for (auto& e : edges)
    if (e.phase != edge_phase::dead && e.phase != edge_phase::stopped)
      alive.push_back(e.spec);
  fleet.see(alive, now);
  for (auto& e : edges) {
    auto& its = measured[e.spec.name];
    if (e.load.sequence == its.newest || !e.load.up)
      continue;
    its.newest = e.load.sequence;
    its.heard = now;
    its.bps.push_back(e.load.bits_per_second);
    if (its.bps.size() > reports_kept)
      its.bps.pop_front();
  }
  std::erase_if(measured, [&](auto& one) { return std::ranges::find(edges, one.first, [](auto& e) { return e.spec.name; }) == edges.end(); });
}

autoscaler_state::orders autoscaler_state::decide(const farm_view& seen, time_point now, timestamp wall) {
  scaling::farm f;
  orders made;
  for (auto& e : seen.edges) {
    const auto* machine = fleet.of(e.spec);
    if (e.spec.networks_only && !machine) // neither its viewers nor its room are anybody else's, and it is not ours to end
      continue;
    if (machine && machine->phase == machine_phase::ending) { // no part of any plan: it goes whatever is needed
      if (e.phase == edge_phase::starting || e.phase == edge_phase::serving)
        made.drain.push_back(e.spec.name);
      continue;
    }
    std::optional<std::int64_t> mean;
    if (auto its = measured.find(e.spec.name); its != measured.end() && !its->second.bps.empty() && now - its->second.heard <= missing_after)
      mean = std::accumulate(its->second.bps.begin(), its->second.bps.end(), std::int64_t{0}) / static_cast<std::int64_t>(its->second.bps.size());
    f.edges.push_back({.name = e.spec.name,
                       .phase = e.phase,
                       .ours = e.spec.spare || machine,
                       .named = e.named,
                       .capacity_bps = e.spec.capacity_bps,
                       .bps = mean,
                       .viewers = e.load.viewers});
    ordered.erase(e.spec.name);
  }
  std::erase_if(ordered, [&](auto& o) { return o.second <= now; });
  f.ordered = static_cast<std::uint32_t>(ordered.size()) + asked + fleet.coming();
  f.expected = expected;
  auto d = planner.decide(f, now, wall);

  auto farms = by_machines ? std::vector<farm_hello>{} : seen.farms;
  std::uint32_t free = by_machines ? fleet.may_begin(now, wall) : 0;
  std::string short_of; ///< what keeps more from being begun
  if (by_machines) {
    made.begin = std::min(d.start, free);
    if (!options.dry_run)
      fleet.begin(made.begin, now, wall);
    short_of = fleet.held_back(now, wall);
    if (short_of.empty())
      short_of = "no more are allowed within an hour or a day (autoscaler.per_hour, per_day)";
  }
  for (auto& farm : farms)
    free += static_cast<std::uint32_t>(farm.idle.size());
  while (made.start.size() < d.start) { // spread: the loss of a node is to cost as few as possible
    auto most = std::ranges::max_element(farms, {}, [](auto& one) { return one.idle.size(); });
    if (most == farms.end() || most->idle.empty())
      break;
    most->idle.pop_back();
    made.start.push_back(most->farm);
  }
  const auto starts = made.begin + static_cast<std::uint32_t>(made.start.size());
  const auto missing = d.start - starts;
  made.keep = std::move(d.keep);
  made.drain.insert(made.drain.end(), d.drain.begin(), d.drain.end());
  std::erase_if(ending, [&](auto& one) { return std::ranges::find(d.end, one.first) == d.end.end(); });
  auto over = [&](const edge_status& e) { return e.phase == edge_phase::dead || e.phase == edge_phase::stopped || std::ranges::find(d.end, e.spec.name) != d.end.end(); };
  for (auto& edge : d.end) {
    auto known = std::ranges::find(seen.edges, edge, [](auto& e) { return e.spec.name; });
    if (auto* machine = fleet.of(known->spec)) { // it ends with the last of its edges
      if (!options.dry_run && std::ranges::all_of(seen.edges, [&](auto& e) { return fleet.of(e.spec) != machine || over(e); })) {
        ++status.ended;
        fleet.end(machine->name, now);
      }
      continue;
    }
    auto [told_at, first] = ending.try_emplace(edge, now);
    if (!first && now - told_at->second < ends_within)
      continue;
    told_at->second = now;
    status.ended += first && !options.dry_run;
    auto farm = std::ranges::find(seen.farms, known->spec.node, &farm_hello::node);
    made.end.emplace_back(edge, farm == seen.farms.end() ? edge_farm_actor{} : farm->farm);
  }

  status.have = d.have;
  status.want = d.want;
  status.free = free;
  status.demand_bps = d.demand_bps;
  status.why = sentence(d.why);
  std::string what;
  auto say = [&](std::string part) { what += (what.empty() ? "" : "; ") + std::move(part); };
  auto verb = [&](std::size_t count, const char* done) { return fmt::format("{} {}", options.dry_run ? "would be" : count == 1 ? "is" : "are", done); };
  if (!made.keep.empty())
    say(fmt::format("the drain of edge {} {}", list_of(made.keep), verb(1, "taken back")));
  if (starts > 0)
    say(fmt::format("{} more {}", starts, verb(starts, "started")));
  if (missing > 0)
    say(fmt::format("{} more {} needed, but {}", missing, missing == 1 ? "is" : "are", by_machines ? short_of : "no node has an instance to spare (edge.spare)"));
  if (!made.drain.empty())
    say(fmt::format("edge {} {}", list_of(made.drain), verb(made.drain.size(), "drained")));
  const bool acts = !options.dry_run && !(starts == 0 && made.drain.empty() && made.keep.empty());
  if (!what.empty() && (what != told || acts)) {
    made.kind = options.dry_run ? "edges-would-scale" : !made.drain.empty() ? "edges-scale-in" : starts == 0 && made.keep.empty() ? "edges-short" : "edges-scale-out";
    status.last = fmt::format("{}. {}.", sentence(what), status.why);
    status.last_at = wall;
  }
  told = what;
  if (options.dry_run) {
    auto kind = std::move(made.kind);
    made = {};
    made.kind = std::move(kind);
    return made;
  }
  status.started += starts;
  status.drained += made.drain.size();
  status.taken_back += made.keep.size();
  return made;
}

autoscaler_actor::behavior_type autoscaler(autoscaler_actor::stateful_pointer<autoscaler_state> self, autoscaler_options options, director_options steering, machines_setup machines,
                                           coordinator_actor coordinator) {
  auto& my = self->state;
  my.use(options, steering);
  my.started = my.decided = self->clock().now();
  my.use(machines, static_cast<std::uint64_t>(my.started.time_since_epoch().count()), my.started);
  auto me = autoscaler_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto wall = [] { return std::chrono::system_clock::now(); };
  auto driver = machines.driver;

  auto say = [=, &my](std::string kind) {
    my.status.machines = my.fleet.statuses();
    my.status.begun_last_day = my.fleet.begun_within(24h, wall());
    my.status.trouble = my.by_machines ? my.fleet.trouble() : "";
    tell(self, coordinator, scaling_news{my.status, std::move(kind)});
  };
  // What is to be kept is kept first: nothing is ordered that a restart would not know of.
  auto keep = [=, &my] {
    if (my.keeping != 0 || my.kept == my.fleet.revision())
      return;
    my.keeping = my.fleet.revision();
    ask(self, 10s, coordinator, keep_machines{my.fleet.text()})
      .then(
        [=, &my] {
          my.kept = std::exchange(my.keeping, 0);
          my.fleet.kept(my.kept);
        },
        [=, &my](const caf::error& why) {
          my.keeping = 0;
          log::error("autoscaler", "machines-not-kept", "error={}", from_caf(why).text);
        });
  };
  auto forget_the_gone = [=, &my] {
    for (auto& machine : my.fleet.gone()) {
      if (!my.forgetting.insert(machine).second)
        continue;
      auto forgotten = [=, &my] {
        my.forgetting.erase(machine);
        my.fleet.forgotten(machine);
      };
      ask(self, 5s, coordinator, forget_node{node_name{machine}, true, autoscaler_state::acts_as}).then(forgotten, [=, &my](const caf::error& why) {
        if (from_caf(why).code == error_code::not_found) // it never joined
          return forgotten();
        my.forgetting.erase(machine); // its silence is too young
      });
    }
  };
  // The driver answers on a thread of its own.
  auto send_orders = [=, &my] {
    for (auto& order : my.fleet.due(now()))
      driver->send(order, [me, order](expected<machines::answer> said) {
        tell_anon(me, machine_answer{std::make_shared<const autoscaler_state::answered>(order, std::move(said))});
      });
  };
  auto see_to_machines = [=, &my] {
    if (!my.by_machines)
      return;
    send_orders();
    keep();
    forget_the_gone();
    for (auto& news : my.fleet.news()) {
      log::warn("autoscaler", "machine-news", "kind={} machine={} text={}", news.kind, news.machine, news.text);
      my.status.last = news.text;
      my.status.last_at = wall();
      say(news.kind);
    }
  };

  auto carry_out = [=, &my](const autoscaler_state::orders& orders) {
    for (auto& farm : orders.start) {
      ++my.asked;
      ask(self, 10s, farm, run_edge{})
        .then(
          [=, &my](const edge_begun& news) {
            --my.asked;
            my.ordered[news.name] = now() + 2 * my.options.boot + 10s;
          },
          [=, &my](const caf::error& why) {
            --my.asked;
            log::warn("autoscaler", "edge-not-started", "error={}", from_caf(why).text);
          });
    }
    auto set_drain = [=](const edge_name& edge, bool drain) {
      ask(self, 5s, coordinator, drain_edge{edge, drain, autoscaler_state::acts_as})
        .then([] {}, [=](const caf::error& why) { log::warn("autoscaler", "drain-not-set", "edge={} drain={} error={}", edge.value, drain, from_caf(why).text); });
    };
    for (auto& edge : orders.keep)
      set_drain(edge, false);
    for (auto& edge : orders.drain)
      set_drain(edge, true);
    for (auto& [edge, farm] : orders.end)
      if (farm)
        tell(self, farm, end_edge{edge});
      else
        tell(self, coordinator, forget_edge{edge, autoscaler_state::acts_as});
  };

  tell_after(self, look_every, me, tick{});
  return {
    [=, &my](const machine_answer& news) {
      auto& answered = *static_cast<const autoscaler_state::answered*>(news.what.get());
      if (!answered.said)
        log::warn("autoscaler", "order-failed", "order={} error={}", machines::key_of(answered.order), answered.said.error().text);
      my.fleet.take(answered.order, answered.said, now(), wall());
      see_to_machines();
    },
    [=, &my](const tick&) {
      tell_after(self, look_every, me, tick{});
      ask(self, 3s, coordinator, view_farms{})
        .then(
          [=, &my](const farm_view& seen) {
            my.take(seen.edges, now());
            if (now() - my.decided >= decide_every) {
              my.decided = now();
              auto orders = my.decide(seen, now(), wall());
              carry_out(orders);
              say(orders.kind);
            }
            see_to_machines();
          },
          [](const caf::error& why) { log::warn("autoscaler", "edges-not-seen", "error={}", from_caf(why).text); });
    },
    [=, &my](const ask_status&) { return report_of(self, "autoscaler", my.status, my.started); },
  };
}

} // namespace weir
