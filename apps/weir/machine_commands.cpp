// `weir node …` and `weir edge …`
#include "apps/weir/client_nouns.hpp"
#include "apps/weir/signals.hpp"
#include "runtime/steering/joins.hpp"
#include "schemas/units.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <map>
#include <set>

namespace weir::cli {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr double fullest = steering::join_options{}.full;

struct drain_wish {
  std::vector<std::string> names;
  bool detach = false;
  std::string deadline = "1h";
};

/// What is still left on a machine that drains: "2 tasks", or nothing.
using remainder = std::function<answer<std::string>(connection&, const std::string& name)>;

/// Orders all to drain before waiting for the first, so that none takes what another gives up; then waits. Interrupting only ends the waiting.
int drain(const client_options& options, const drain_wish& wish, const std::string& noun, const remainder& left) {
  auto limit = parse_duration(wish.deadline);
  if (!limit) {
    tell({wrong_usage, "--deadline: " + limit.error().text});
    return wrong_usage;
  }
  signals stopping;
  auto deadline = steady::now() + *limit;
  int ordered = speak_of_each(options, wish.names, [&](connection& node, const std::string& name) -> answer<void> {
    WEIR_TRY(node.send("POST", fmt::format("/api/v1/{}s/{}/drain", noun, part(name))));
    say(options, fmt::format("{} {} drains", noun, printable(name)));
    return {};
  });
  if (ordered != done || wish.detach)
    return ordered;
  return speak_of_each(options, wish.names, [&](connection& node, const std::string& name) -> answer<void> {
    for (std::string last;;) {
      auto rest = left(node, name);
      WEIR_TRY(rest);
      if (rest->empty())
        break;
      if (*rest != last)
        say(options, fmt::format("{} {}: {} left", noun, printable(name), *rest));
      last = *rest;
      if (steady::now() >= deadline)
        return fail(refusal(failed, fmt::format("{} {} still has {} after {}; it goes on draining", noun, name, *rest, wish.deadline)));
      if (stopping.wait(1s) != 0)
        return fail(refusal(failed, fmt::format("no longer waiting; {} {} goes on draining", noun, name)));
    }
    say(options, fmt::format("{} {} is drained", noun, printable(name)));
    return {};
  });
}

/// `show`, the verbs that only order, and `drain`, which waits.
void add_machine_verbs(CLI::App& noun, const std::string& what, const std::vector<std::array<std::string, 3>>& orders, const std::string& drain_about, const remainder& left,
                       const std::shared_ptr<client_options>& options, command& run) {
  auto which = std::make_shared<std::string>();
  auto wish = std::make_shared<drain_wish>();
  auto* show = add_client_command(noun, "show", fmt::format("Shows {} {}", what[0] == 'e' ? "an" : "a", what), fmt::format("  weir {0} show {0}-1 -o yaml", what), options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto found = node.named(what, *which);
      WEIR_TRY(found);
      print_object(*options, *found, {"name", "phase"});
      return {};
    });
  });
  show->add_option("NAME", *which, "Its name")->required();
  for (auto& [verb, about, after] : orders) {
    auto* sub = add_client_command(noun, verb, about, fmt::format("  weir {0} {1} {0}-1", what, verb), options, run, [=, verb = verb, after = after] {
      return speak_of_each(*options, wish->names, [&](connection& node, const std::string& name) -> answer<void> {
        WEIR_TRY(node.send("POST", fmt::format("/api/v1/{}s/{}/{}", what, part(name), verb)));
        say(*options, fmt::format("{} {} {}", what, printable(name), after));
        return {};
      });
    });
    sub->add_option("NAME", wish->names, "Names")->required();
  }
  auto* sub = add_client_command(noun, "drain", drain_about, fmt::format("  weir {0} drain {0}-1 {0}-2 --deadline 10m\n  weir {0} drain {0}-1 --detach", what), options, run,
                                 [=] { return drain(*options, *wish, what, left); });
  sub->add_option("NAME", wish->names, "Names; all are told before the first is waited for")->required();
  sub->add_flag("--detach", wish->detach, "Do not wait");
  sub->add_option("--deadline", wish->deadline, "Wait no longer than this; the draining goes on")->type_name("DURATION")->capture_default_str();
}

std::string counted(std::uint64_t n, std::string_view what) { return n == 0 ? "" : fmt::format("{} {}{}", n, what, n == 1 ? "" : "s"); }

} // namespace

std::vector<cell> node_row(const json& n) {
  return {{shown(n, "name")},
          phase_cell(n),
          {shown(n, "roles")},
          {shown(n, "tasks")},
          {fmt::format("{:.1f}", n.value("cpu", 0.0))},
          {fmt::format("{:.1f} of {:.1f}", n.value("granted", 0.0), n.value("capacity", 0.0))},
          {fmt::format("{} of {}", bytes(n, "memory_used"), bytes(n, "memory_total"))},
          {age(n, "last_heartbeat")},
          {shown(n, "version")}};
}
table node_table() { return {"NODE", "PHASE", "ROLES", ">TASKS", ">CORES USED", ">GRANTED", ">MEMORY", ">HEARD", "VERSION"}; }

/// Its locality, with "only" where it serves nobody else.
std::string near_to(const json& e) {
  auto locality = shown(e, "locality");
  if (locality.empty() || locality == "-")
    return "-";
  return locality + (e.value("networks_only", false) ? " only" : "");
}

std::vector<cell> edge_row(const json& e) {
  auto load = e.value("load", json::object());
  auto hits = load.value("hits", 0.0), all = hits + load.value("misses", 0.0);
  return {{shown(e, "name")},
          phase_cell(e),
          {shown(e, "node")},
          {shown(load, "viewers")},
          {rate(load, "bits_per_second")},
          {all > 0 ? fmt::format("{:.0f} %", 100 * hits / all) : "-"},
          {fmt::format("{:.2f}", e.value("weight", 0.0))},
          {shown(e, "restarts")},
          {near_to(e)},
          {shown(e, "url")},
          {shown(e, "last_error"), tone::warning}};
}
table edge_table() { return {"EDGE", "PHASE", "NODE", ">VIEWERS", ">OUT", ">HITS", ">WEIGHT", ">RESTARTS", "NEAR TO", "URL", "WHY"}; }

/// Why there are as many edges as there are.
void explain_scaling(const client_options& options, const json& s) {
  if (!s.value("on", false))
    return say(options, "There is no autoscaler (autoscaler.driver: off): as many edges as the nodes' edge.instances.");
  say(options, fmt::format("{} edges are there, {} are wanted, {} more could be started{}.", s.value("have", 0), s.value("want", 0), s.value("free", 0),
                           s.value("dry_run", false) ? "; dry run: nothing is done" : ""));
  say(options, printable(s.value("why", "")) + ".");
  if (auto last = s.value("last", ""); !last.empty())
    say(options, fmt::format("Last, {}: {}", printable(shown(s, "last_at")), printable(last)));
  const auto machines = s.value("machines", json::array());
  if (auto begun = s.value("begun_last_day", 0); begun > 0 || !machines.empty())
    say(options, fmt::format("Machines begun within a day: {}.", begun));
  for (auto& m : machines) {
    auto trouble = m.value("trouble", "");
    say(options, fmt::format("Machine {} is {}, ordered {}{}{}", printable(shown(m, "name")), printable(shown(m, "phase")), printable(shown(m, "begun")),
                             trouble.empty() ? "" : ": ", printable(trouble)));
  }
  if (auto trouble = s.value("trouble", ""); !trouble.empty())
    say(options, "The machines cannot be listed: " + printable(trouble));
}

/// What each observer sees of each edge.
void explain_views(const client_options& options, const json& edges) {
  for (auto& e : edges)
    for (auto& o : e.value("observers", json::array()))
      if (auto trouble = o.value("trouble", ""); o.value("view", "") != "up")
        say(options, fmt::format("{}: node {} sees it {}{}{}.", printable(shown(e, "name")), printable(shown(o, "node")), printable(shown(o, "view")), trouble.empty() ? "" : ": ",
                                 printable(trouble)));
}

/// Which shared addresses are not where they should be.
void explain_addresses(const client_options& options, const json& edges) {
  for (auto& e : edges) {
    if (auto trouble = e.value("address_trouble", ""); !trouble.empty())
      say(options, fmt::format("{}, address {}: {}.", printable(shown(e, "name")), printable(shown(e, "address")), printable(trouble)));
    for (auto& other : e.value("answers_for", std::vector<std::string>{}))
      say(options, fmt::format("{} answers at the address of {}.", printable(shown(e, "name")), printable(other)));
  }
}

/// Which live streams have their segments from fewer edges than there are, the fewest first.
void explain_widths(const client_options& options, const json& edges, const json& streams) {
  constexpr std::size_t most_names = 8;
  const auto everybody = std::ranges::count_if(edges, [](auto& e) { return e.value("weight", 0.0) > 0 && !e.value("networks_only", false); });
  std::map<std::int64_t, std::vector<std::string>> by_width;
  for (auto& s : streams)
    if (auto width = s.value("edges", std::int64_t{0}); width > 0 && width < everybody && s.value("phase", "") == "live")
      by_width[width].push_back(printable(shown(s, "name")));
  for (auto& [width, names] : by_width) {
    const auto more = names.size() > most_names ? names.size() - most_names : 0;
    names.resize(names.size() - more);
    say(options, fmt::format("{} of {} edges serve {}{}.", width, everybody, fmt::join(names, ", "), more > 0 ? fmt::format(" and {}", counted(more, "other stream")) : ""));
  }
}

/// Which viewers each locality is near to, and why new ones of them are sent elsewhere now.
void explain_localities(const client_options& options, const json& edges) {
  struct group {
    std::set<std::string> networks, names;
    std::vector<std::string> shut; ///< edges that take nobody, and why
    bool only = true;
  };
  std::map<std::string, group> groups;
  std::map<std::string, std::set<std::string>> claimed; ///< localities by network
  for (auto& e : edges) {
    const auto name = printable(shown(e, "name"));
    if (auto trouble = e.value("locality_trouble", ""); !trouble.empty())
      say(options, fmt::format("{}: whom it is near to is not used: {}. It serves {}.", name, printable(trouble),
                               e.value("networks_only", false) ? "nobody" : "like any other edge"));
    const auto labels = e.value("labels", json::object());
    for (auto& [key, value] : labels.items())
      say(options, fmt::format("{}: label {} is {}.", name, printable(key), printable(value.get<std::string>())));
    const auto locality = e.value("locality", "");
    if (locality.empty())
      continue;
    auto& its = groups[locality];
    its.names.insert(name);
    its.only = its.only && e.value("networks_only", false);
    for (auto& network : e.value("networks", std::vector<std::string>{})) {
      its.networks.insert(printable(network));
      claimed[network].insert(locality);
    }
    const auto load = e.value("load", json::object());
    const auto phase = e.value("phase", "");
    const auto out = load.value("bits_per_second", 0.0), room = e.value("capacity", 0.0);
    if (phase != "serving")
      its.shut.push_back(fmt::format("{} is {}", name, printable(phase)));
    else if (room > 0 && out > fullest * room)
      its.shut.push_back(fmt::format("{} is full: it sends {:.0f} of {:.0f} Mbit/s", name, out / 1e6, room / 1e6));
  }
  for (auto& [locality, its] : groups) {
    say(options, fmt::format("{} ({}): {}.", printable(locality), fmt::join(its.names, ", "),
                             its.networks.empty() ? "its networks are not known yet" : fmt::format("near to {}{}", fmt::join(its.networks, ", "), its.only ? ", and serves nobody else" : "")));
    if (its.shut.size() == its.names.size())
      say(options, fmt::format("New viewers of {} go to other edges: {}.", printable(locality), fmt::join(its.shut, "; ")));
  }
  for (auto& [network, localities] : claimed)
    if (localities.size() > 1)
      say(options, fmt::format("{} is named by {}: its viewers go to {}.", printable(network), printable(fmt::format("{}", fmt::join(localities, " and "))),
                               printable(*localities.begin())));
}

void add_node_commands(CLI::App& app, command& run) {
  auto* noun = add_noun(app, "node", "Nodes: the machines of the cluster");
  auto options = std::make_shared<client_options>();
  add_client_command(*noun, "list", "Lists nodes", "  weir node list -o json", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto nodes = node.list("/api/v1/nodes");
      WEIR_TRY(nodes);
      print_list(*options, *nodes, node_table(), node_row);
      return {};
    });
  });
  auto left = [](connection& node, const std::string& name) -> answer<std::string> {
    auto of_it = [&](const json& t, const char* where, const char* phase) {
      auto seen = shown(t, phase);
      return t.value(where, "") == name && seen != "waiting" && seen != "done" && seen != "failed";
    };
    auto tasks = node.list("/api/v1/tasks");
    WEIR_TRY(tasks);
    std::uint64_t placed = 0;
    for (auto& t : *tasks)
      placed += of_it(t, "node", "phase") || (t.contains("standby") && t["standby"].is_object() && of_it(t["standby"], "node", "phase"));
    // A run that was handed over goes on until its successor delivers: only its node knows of it.
    auto machine = node.named("node", name);
    WEIR_TRY(machine);
    auto phase = shown(*machine, "phase");
    auto runs = phase == "down" || phase == "left" ? 0 : machine->value("tasks", std::uint64_t{0});
    auto edges = node.list("/api/v1/edges");
    WEIR_TRY(edges);
    std::uint64_t viewers = 0;
    for (auto& e : *edges)
      if (e.value("node", "") == name && shown(e, "phase") != "dead")
        viewers += e.value("load", json::object()).value("viewers", std::uint64_t{0});
    auto rest = counted(std::max(placed, runs), "task");
    auto watching = counted(viewers, "viewer");
    return rest + (rest.empty() || watching.empty() ? "" : " and ") + watching;
  };
  add_machine_verbs(*noun, "node",
                    {{"cordon", "Gives nodes no new tasks; those that run stay", "takes no new tasks"}, {"undrain", "Gives nodes tasks and viewers again, after cordon or drain", "takes tasks again"}},
                    "Moves the tasks of nodes and the viewers of their edges elsewhere and waits until none is left", left, options, run);
  struct removal {
    std::vector<std::string> names;
    bool dead = false;
  };
  auto gone = std::make_shared<removal>();
  auto* rm = add_client_command(*noun, "rm", "Forgets nodes that are down or left and do not come back, with their edges", "  weir node rm node-3\n  weir node rm node-3 --dead", options, run, [=] {
    return speak_of_each(*options, gone->names, [&](connection& node, const std::string& name) -> answer<void> {
      WEIR_TRY(node.send("DELETE", fmt::format("/api/v1/nodes/{}{}", part(name), gone->dead ? "?dead" : "")));
      say(*options, fmt::format("node {} is forgotten", printable(name)));
      return {};
    });
  });
  rm->add_option("NAME", gone->names, "Names")->required();
  rm->add_flag("--dead", gone->dead, "They are silent, too few nodes are heard to be sure, and you know that nothing runs there: their tasks start elsewhere");
}

void add_edge_commands(CLI::App& app, command& run) {
  auto* noun = add_noun(app, "edge", "Edges: where viewers fetch segments");
  auto options = std::make_shared<client_options>();
  auto explain = std::make_shared<bool>(false);
  auto* list = add_client_command(*noun, "list", "Lists edges with liveness, load and weight", "  weir edge list\n  weir edge list --explain", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto edges = node.list("/api/v1/edges");
      WEIR_TRY(edges);
      print_list(*options, *edges, edge_table(), edge_row);
      if (!*explain)
        return {};
      explain_views(*options, *edges);
      explain_addresses(*options, *edges);
      explain_localities(*options, *edges);
      auto streams = node.list("/api/v1/streams");
      WEIR_TRY(streams);
      explain_widths(*options, *edges, *streams);
      auto scaler = node.get("/api/v1/autoscaler");
      WEIR_TRY(scaler);
      explain_scaling(*options, *scaler);
      return {};
    });
  });
  list->add_flag("--explain", *explain, "Also say who does not see an edge well, which streams few edges serve, how many edges there should be, and why");
  auto left = [](connection& node, const std::string& name) -> answer<std::string> {
    auto edge = node.named("edge", name);
    WEIR_TRY(edge);
    return counted(edge->value("load", json::object()).value("viewers", std::uint64_t{0}), "viewer");
  };
  add_machine_verbs(*noun, "edge", {{"undrain", "Gives edges viewers again", "takes viewers again"}}, "Gives edges no new segments and waits until their viewers are elsewhere", left,
                    options, run);
}

} // namespace weir::cli
