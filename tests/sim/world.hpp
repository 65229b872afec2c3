#pragma once
// What is true of the whole cluster, seen from outside: who reaches whom, whose machine stands still, every process that works for a task, who publishes where.
#include "actors/node.hpp"

#include <cstdio>
#include <deque>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace weir::testing {

using time_point = caf::actor_clock::time_point;

class origin_judge;

struct world {
  struct run {
    node_name node;
    lease_epoch epoch = 0;
    task_phase phase = task_phase::starting;
    time_point told_until = time_point::max(); ///< it ends by itself if its program does not tell it to go on
  };
  /// Of a program, or of the whole machine with all of its processes.
  struct pause {
    time_point until{};
    bool whole = false;
  };
  /// One connection of an encoder.
  struct publication {
    std::string client;
    time_point zero{}; ///< of its clock
  };
  struct rtmp {
    node_name node;
    std::string read_url;
    std::uint64_t start = 0;
    std::map<std::string, publication> publishers; ///< by stream
  };
  struct grant {
    task_id seat;
    node_name node;
  };
  /// A request, or the answer to one, each over a connection of its own.
  struct flight {
    node_name from, to;
    time_point until{}; ///< the system does not try longer to bring it
    std::function<void()> arrives, refused;
  };

  std::function<time_point()> now;
  std::mt19937_64 chance;
  coordinator_actor coordinator;                   ///< null: it is away
  node_name boss{"boss"};                          ///< whose machine it is on
  std::map<node_name, const node_state*> machines; ///< that are up
  std::set<std::string> over;                      ///< instances of programs that are over
  std::map<node_name, int> sides;                  ///< of the cut; who is not named is on the coordinator's, which is 0
  std::map<std::pair<node_name, node_name>, time_point> cuts; ///< from whom, to whom, until when
  std::map<node_name, pause> pauses;
  std::map<task_id, std::vector<run>> runs;        ///< seat → whatever works for it, wherever
  std::map<task_id, lease_epoch> newest;           ///< seat → highest epoch that was ever begun
  std::map<lease_epoch, grant> grants;             ///< all that ever were
  std::map<std::string, rtmp> servers;             ///< where anybody publishes in this simulation
  std::multimap<time_point, flight> flights;
  std::shared_ptr<origin_judge> origin;            ///< null: what ladders make goes nowhere
  node_name origin_node;
  std::uint64_t starts = 0;
  std::uint32_t crashes_in_a_thousand = 0;         ///< runs that end by themselves within 20 s
  std::vector<std::string> breaches;
  std::deque<std::string> story;                   ///< the newest events
  bool loud = false;

  void note(const std::string& what) {
    constexpr std::size_t events_kept = 150;
    story.push_back(fmt::format("{:9.3f} {}", double(now().time_since_epoch() / std::chrono::milliseconds(1)) / 1000, what));
    if (story.size() > events_kept)
      story.pop_front();
    if (loud)
      std::fprintf(stderr, "%s\n", story.back().c_str());
  }
  void say(const char* what, const task_id& seat, const node_name& where, lease_epoch epoch) { note(fmt::format("{} {} on {} with epoch {}", what, seat.value, where.value, epoch)); }
  void breach(std::string what) {
    note("BREACH: " + what);
    breaches.push_back(std::move(what));
  }

  // --- who reaches whom ---
  int side_of(const node_name& name) const {
    auto side = sides.find(name);
    return side == sides.end() ? 0 : side->second;
  }
  bool hears(const node_name& who, const node_name& whom) const {
    auto cut = cuts.find({whom, who});
    return side_of(who) == side_of(whom) && (cut == cuts.end() || cut->second <= now());
  }
  bool reaches(const node_name& one, const node_name& other) const { return hears(one, other) && hears(other, one); }
  /// Nothing of `from` reaches `to`.
  void cut(const node_name& from, const node_name& to, time_point until) {
    auto& end = cuts[{from, to}];
    end = std::max(end, until);
  }
  bool program_stands_still(const node_name& name) const {
    auto one = pauses.find(name);
    return one != pauses.end() && now() < one->second.until;
  }
  bool stands_still(const node_name& name) const { return program_stands_still(name) && pauses.at(name).whole; }

  std::chrono::milliseconds between(std::int64_t least, std::int64_t most) {
    return std::chrono::milliseconds(std::uniform_int_distribution<std::int64_t>(least, most)(chance));
  }
  bool one_in(std::uint32_t count) { return chance() % count == 0; }

  void post(flight one, std::chrono::milliseconds way) { flights.emplace(now() + way, std::move(one)); }
  /// Delivers what is due. What is held up by a cut comes when it is mended, however late that is.
  void carry() {
    for (auto next = flights.begin(); next != flights.end() && next->first <= now();) {
      auto& one = next->second;
      const bool up = machines.contains(one.to);
      if (now() < one.until && (!hears(one.to, one.from) || (up && program_stands_still(one.to)))) {
        ++next;
        continue;
      }
      auto what = now() >= one.until ? nullptr : std::move(up ? one.arrives : one.refused);
      next = flights.erase(next);
      if (what)
        what();
    }
  }

  // --- RTMP servers ---
  /// The connection that a machine reads at an address; null: nothing comes.
  const publication* read(const node_name& where, const std::string& url, const std::string& stream) const {
    for (auto& [name, server] : servers)
      if (url.starts_with(server.read_url + "/"))
        if (auto one = server.publishers.find(stream); one != server.publishers.end() && machines.contains(server.node) && !program_stands_still(server.node) && reaches(where, server.node))
          return &one->second;
    return nullptr;
  }

  // --- leases ---
  void granted(lease_epoch epoch, const grant& one) {
    auto [known, fresh] = grants.try_emplace(epoch, one);
    if (fresh)
      note(fmt::format("epoch {} of {} is granted to {}", epoch, one.seat.value, one.node.value));
    else if (known->second.seat != one.seat || known->second.node != one.node)
      breach(fmt::format("epoch {} was granted for {} to {}, and for {} to {}", epoch, known->second.seat.value, known->second.node.value, one.seat.value, one.node.value));
  }

  // --- processes ---
  void begin(const task_order& order, const node_name& where) {
    auto& all = runs[order.task];
    auto* type = find_task_type(order.type);
    auto& high = newest[order.task];
    if (type && !type->needs_origin) { // what the origin fences may overlap, and an older order may arrive last
      judge(order.task, where, order.epoch, "begins");
      if (order.epoch < high)
        breach(fmt::format("{} begins on {} with epoch {} after epoch {}", order.task.value, where.value, order.epoch, high));
    }
    high = std::max(high, order.epoch);
    all.push_back({.node = where, .epoch = order.epoch});
    say("begins", order.task, where, order.epoch);
    ++starts;
  }
  /// Whether anybody else pushes to the target, now that this process begins to or goes on. Who stands still pushes nothing.
  void judge(const task_id& seat, const node_name& where, lease_epoch epoch, const char* what) {
    for (auto& other : runs[seat])
      if ((other.node != where || other.epoch != epoch) && !stands_still(other.node) && now() < other.told_until)
        breach(fmt::format("two pushes to one target: {} {} on {} with epoch {}, and runs on {} with epoch {} ({})", seat.value, what, where.value, epoch, other.node.value, other.epoch,
                           to_string(other.phase)));
  }
  run* find(const task_id& seat, const node_name& where, lease_epoch epoch) {
    auto all = runs.find(seat);
    if (all != runs.end())
      for (auto& one : all->second)
        if (one.node == where && one.epoch == epoch)
          return &one;
    return nullptr;
  }
  void end(const task_id& seat, const node_name& where, lease_epoch epoch) {
    auto all = runs.find(seat);
    if (all == runs.end() || std::erase_if(all->second, [&](auto& r) { return r.node == where && r.epoch == epoch; }) == 0)
      return;
    say("ends", seat, where, epoch);
    if (all->second.empty())
      runs.erase(all);
  }
  /// Its program is over, and with it its processes; nobody is told.
  void lose(const node_name& where) {
    over.insert(machines.at(where)->setup.spec.instance);
    machines.erase(where);
    pauses.erase(where);
    for (auto& [name, server] : servers)
      if (server.node == where)
        server.publishers.clear();
    for (auto all = runs.begin(); all != runs.end();) {
      std::erase_if(all->second, [&](auto& r) { return r.node == where; });
      all = all->second.empty() ? runs.erase(all) : std::next(all);
    }
  }
};

} // namespace weir::testing
