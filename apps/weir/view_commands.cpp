// `weir status`, `weir top`, `weir events`, `weir introspect`: looking at a cluster.
#include "apps/weir/client_nouns.hpp"
#include "apps/weir/signals.hpp"
#include "apps/weir/terminal.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>

namespace weir::cli {
namespace {

using namespace std::chrono_literals;

/// Everything that status and top show.
struct overview {
  std::string server;
  bool ready = false;
  std::vector<std::string> not_ready;
  json streams, tasks, nodes, edges, rtmp_servers;
  json coordinators = json::array(); ///< {name, phase, leads, stands_by}; null where the node that was asked does not know
  json etcd = json::array();         ///< {member, up, trouble}, as the node that was asked sees its members
};

/// The nodes that can coordinate. Of several one leads, which only they themselves know (SEAT), as they know of etcd.
void look_at_coordinators(connection& node, overview& seen) {
  for (auto& n : seen.nodes)
    if (auto roles = n.value("roles", json::array()); std::ranges::find(roles, json("coordinator")) != roles.end())
      seen.coordinators.push_back({{"name", shown(n, "name")}, {"phase", shown(n, "phase")}, {"leads", nullptr}, {"stands_by", nullptr}});
  if (seen.coordinators.size() < 2)
    return;
  auto tree = node.get("/introspect?here"); // without it all else can still be shown
  for (auto& actor : tree ? tree->at("actors") : json::array()) {
    if (actor.value("kind", "") != "seat")
      continue;
    auto& status = actor.at("status");
    auto leader = shown(status, "leader");
    auto candidates = status.value("candidates", json());
    for (auto& one : seen.coordinators) {
      if (leader != "-")
        one["leads"] = one["name"] == leader;
      if (leader != "-" && candidates.is_array())
        one["stands_by"] = one["leads"] == false && std::ranges::find(candidates, one["name"]) != candidates.end();
    }
    seen.etcd = status.value("etcd", json::array());
  }
}

answer<overview> look(connection& node) {
  overview seen;
  seen.server = node.server();
  auto readiness = node.raw("/readyz");
  WEIR_TRY(readiness);
  seen.ready = readiness->status == 200;
  std::string_view rest = seen.ready ? std::string_view{} : std::string_view(readiness->body);
  while (!rest.empty()) {
    auto end = std::min(rest.find('\n'), rest.size());
    seen.not_ready.push_back(printable(rest.substr(0, end)));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  for (auto [to, noun] : {std::pair{&seen.streams, "streams"}, {&seen.tasks, "tasks"}, {&seen.nodes, "nodes"}, {&seen.edges, "edges"}, {&seen.rtmp_servers, "rtmp-servers"}}) {
    auto items = node.list(fmt::format("/api/v1/{}", noun));
    WEIR_TRY(items);
    *to = std::move(*items);
  }
  look_at_coordinators(node, seen);
  return seen;
}

json by_phase(const json& items) {
  json counts = json::object();
  for (auto& one : items) {
    auto& count = counts[shown(one, "phase")];
    count = count.is_null() ? 1 : count.get<int>() + 1;
  }
  return counts;
}

/// "3 streams: 1 live, 2 offline".
std::string counted(const json& items, std::string_view what) {
  std::string phases;
  auto counts = by_phase(items);
  for (auto& [phase, count] : counts.items())
    phases += fmt::format("{} {} {}", phases.empty() ? ":" : ",", count.get<int>(), painted(tone_of(phase), phase));
  return fmt::format("{} {}{}{}\n", items.size(), what, items.size() == 1 ? "" : "s", phases);
}

template <class Row>
std::string listed(table t, const json& items, Row row) {
  for (auto& one : items)
    t.add(row(one));
  return "\n" + t.text();
}

std::string headline(const overview& seen) {
  auto line = fmt::format("{}  {}\n", painted(tone::bold, seen.server), seen.ready ? painted(tone::good, "ready") : painted(tone::bad, "not ready"));
  for (auto& why : seen.not_ready)
    line += "  " + painted(tone::warning, why) + "\n";
  return line;
}

/// "2 coordinators: c1 leads, c2 stands by", and a line on etcd where it is known; nothing of a single one.
std::string coordinators_lines(const overview& seen) {
  std::string all;
  for (auto& one : seen.coordinators) {
    auto phase = shown(one, "phase");
    bool leads = one["leads"] == true, well = one["leads"] == false && tone_of(phase) == tone::good;
    bool able = one["stands_by"] != false; // or nobody knows
    auto does = leads ? "leads" : well ? able ? "stands by" : "cannot take over" : "is " + phase;
    all += fmt::format("{} {} {}", all.empty() ? ":" : ",", shown(one, "name"), painted(well && !able ? tone::bad : tone_of(phase), does));
  }
  if (seen.coordinators.size() < 2)
    return {};
  auto lines = fmt::format("{} coordinators{}\n", seen.coordinators.size(), all);
  if (seen.etcd.empty())
    return lines;
  std::string lost;
  for (auto& one : seen.etcd)
    if (!one.value("up", false))
      lost += fmt::format("  {} {}\n", painted(tone::bad, shown(one, "member")), painted(tone::warning, shown(one, "trouble")));
  auto up = std::ranges::count_if(seen.etcd, [](auto& one) { return one.value("up", false); });
  return lines + fmt::format("{} members of etcd: {}\n{}", seen.etcd.size(), painted(lost.empty() ? tone::good : tone::bad, lost.empty() ? "all serve" : fmt::format("{} serve", up)), lost);
}

std::vector<cell> rtmp_server_row(const json& s) {
  bool watched = s.value("watched", false), up = s.value("up", false);
  return {{shown(s, "name")},
          watched ? up ? cell{"up", tone::good} : cell{"silent", tone::bad} : cell{"not watched", tone::dim},
          {shown(s, "node")},
          {watched ? shown(s, "publishers") : "-"},
          {shown(s, "publish_url")},
          {shown(s, "trouble"), tone::warning}};
}
table rtmp_server_table() { return {"RTMP SERVER", "LIST", "NODE", ">PUBLISHERS", "URL", "WHY"}; }

std::map<std::string, std::string> names_of(const json& streams) {
  std::map<std::string, std::string> names;
  for (auto& s : streams)
    names[shown(s, "id")] = shown(s, "name");
  return names;
}

std::string glance(const overview& seen) {
  auto text = headline(seen) + counted(seen.streams, "stream") + counted(seen.tasks, "task") + coordinators_lines(seen);
  text += listed(node_table(), seen.nodes, node_row);
  if (!seen.rtmp_servers.empty())
    text += listed(rtmp_server_table(), seen.rtmp_servers, rtmp_server_row);
  if (!seen.edges.empty())
    text += listed(edge_table(), seen.edges, edge_row);
  auto trouble = json::array();
  for (auto& t : seen.tasks)
    if (auto phase = tone_of(shown(t, "phase")); phase == tone::bad || shown(t, "phase") == "backing_off")
      trouble.push_back(t);
  if (!trouble.empty())
    text += listed(task_table(), trouble, [names = names_of(seen.streams)](const json& t) { return task_row(t, names); });
  return text;
}

/// All that fits: what moves first.
std::string live_view(const overview& seen) {
  auto text = headline(seen) + counted(seen.streams, "stream") + counted(seen.tasks, "task") + coordinators_lines(seen);
  auto quiet_last = [](json items) {
    std::stable_partition(items.begin(), items.end(), [](auto& one) { return tone_of(shown(one, "phase")) != tone::dim; });
    return items;
  };
  text += listed(node_table(), seen.nodes, node_row);
  text += listed(rtmp_server_table(), seen.rtmp_servers, rtmp_server_row);
  text += listed(edge_table(), seen.edges, edge_row);
  text += listed(stream_table(), quiet_last(seen.streams), stream_row);
  text += listed(task_table(), quiet_last(seen.tasks), [names = names_of(seen.streams)](const json& t) { return task_row(t, names); });
  return text;
}

json data_of(const overview& seen) {
  return {{"server", seen.server},
          {"ready", seen.ready},
          {"not_ready", seen.not_ready},
          {"streams", by_phase(seen.streams)},
          {"tasks", by_phase(seen.tasks)},
          {"coordinators", seen.coordinators},
          {"etcd", seen.etcd},
          {"nodes", seen.nodes},
          {"rtmp_servers", seen.rtmp_servers},
          {"edges", seen.edges}};
}

int status_command(const client_options& options) {
  return speak(options, [&](connection& node) -> answer<void> {
    auto seen = look(node);
    WEIR_TRY(seen);
    if (options.table())
      std::cout << glance(*seen);
    else
      print_data(options, data_of(*seen));
    return {};
  });
}

int top_command(const client_options& options) {
  if (::isatty(STDOUT_FILENO) == 0 || !options.table())
    return status_command(options);
  full_screen screen;
  int status = done;
  bool begun = false;
  while (!screen.ended_within(begun ? 1000 : 0)) {
    begun = true;
    std::string lines;
    auto drawn = understood([&]() -> answer<void> {
      auto node = connection::open(options);
      WEIR_TRY(node);
      auto seen = look(*node);
      WEIR_TRY(seen);
      lines = live_view(*seen);
      return {};
    });
    status = drawn ? done : drawn.error().status;
    if (!drawn) { // and again in a second: it may come back
      lines = painted(tone::bad, drawn.error().text) + "\n";
      for (auto& place : drawn.error().places)
        lines += "  " + place + "\n";
    }
    auto size = full_screen::now();
    std::string fitting;
    std::size_t row = 1;
    for (std::string_view rest(lines); !rest.empty() && row < size.rows; ++row) {
      auto end = rest.find('\n');
      fitting += cut(rest.substr(0, end), size.columns) + "\n";
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    screen.draw(fitting + painted(tone::dim, "q ends"));
  }
  return status;
}

struct events_wish {
  bool follow = false;
  std::uint64_t after = 0;
};

void print_event(const client_options& options, const json& e) {
  if (options.form == "json")
    std::cout << e.dump() << std::endl; // a line each, at once
  else if (options.form == "yaml")
    std::cout << "---\n", print_data(options, e), std::cout.flush();
  else
    std::cout << fmt::format("{}  {}  {}  {}  {}", painted(tone::dim, shown(e, "at")), shown(e, "number"), painted(tone::bold, shown(e, "kind")), shown(e, "subject"), shown(e, "text"))
              << painted(tone::dim, "  by " + shown(e, "actor")) << std::endl;
}

answer<void> list_all_events(connection& node, const client_options& options, std::uint64_t after) {
  auto all = json::array();
  for (;;) {
    auto page = node.get(fmt::format("/api/v1/events?after={}", after));
    WEIR_TRY(page);
    auto& items = page->at("items");
    auto next = page->value("next", json());
    bool more = after != 0 && !items.empty() && next.is_number_unsigned() && next.get<std::uint64_t>() > after; // from zero, the newest come at once
    for (auto& e : items)
      all.push_back(std::move(e));
    if (!more)
      break;
    after = next.get<std::uint64_t>();
  }
  if (options.table())
    for (auto& e : all)
      print_event(options, e);
  else
    print_data(options, all);
  return {};
}

/// Goes on for ever, over lost connections, after the last event seen; ends with a signal. A node that cannot be reached at first, and a refusal, end it.
answer<void> follow_events(const client_options& options, std::uint64_t after, const signals& stopping) {
  auto last = after == 0 ? std::string{} : std::to_string(after);
  bool connected = false;
  for (auto pause = 250ms;; pause = std::min(pause * 2, 5000ms)) {
    auto node = connection::open(options);
    auto followed = node ? node->follow("/api/v1/events", last, [&] { return stopping.wait(100ms) != 0; },
                                        [&](const std::string& id, const std::string& name, const std::string& data) {
                                          connected = true;
                                          pause = 250ms;
                                          auto said = json::parse(data, nullptr, false);
                                          if (name == "gap" && said.is_object()) {
                                            tell({failed, fmt::format("events {} to {} are no longer kept", shown(said, "from"), shown(said, "to"))});
                                          } else if (name == "event" && said.is_object()) {
                                            print_event(options, said);
                                            last = id;
                                          }
                                        })
                         : answer<bool>(fail(node.error()));
    if (followed ? *followed : followed.error().status != not_reachable || !connected)
      return followed ? answer<void>{} : answer<void>(fail(followed.error()));
    tell({failed, followed ? "the event stream ended; following again" : followed.error().text + "; trying again"});
    connected = connected || bool(followed);
    if (stopping.wait(pause) != 0)
      return {};
  }
}

int events_command(const client_options& options, const events_wish& wish) {
  if (!wish.follow)
    return speak(options, [&](connection& node) { return list_all_events(node, options, wish.after); });
  signals stopping;
  auto ended = understood([&] { return follow_events(options, wish.after, stopping); });
  if (!ended)
    tell(ended.error());
  return ended ? int(done) : ended.error().status;
}

void add_actor(std::string& text, const json& actor, const std::string& lead, const std::string& below) {
  auto status = actor.value("status", json());
  std::string facts;
  if (status.is_object())
    for (auto& [key, value] : status.items())
      if (!value.is_structured())
        facts += fmt::format("  {}={}", printable(key), shown(status, key));
  auto restarts = actor.value("restarts", 0), mailbox = actor.value("mailbox", 0);
  text += lead + painted(actor.value("kind", "") == "silent" ? tone::bad : tone::bold, shown(actor, "name"));
  if (actor.value("kind", "") != actor.value("name", ""))
    text += " (" + shown(actor, "kind") + ")";
  if (actor.contains("uptime_seconds"))
    text += painted(tone::dim, fmt::format("  up {:.0f} s", actor.value("uptime_seconds", 0.0)));
  text += "  mailbox " + painted(mailbox > 100 ? tone::warning : tone::dim, std::to_string(mailbox));
  if (restarts > 0)
    text += "  " + painted(tone::warning, fmt::format("restarts {}", restarts));
  text += painted(tone::dim, facts) + "\n";
  auto children = actor.value("children", json::array());
  for (std::size_t i = 0; i < children.size(); ++i) {
    bool last = i + 1 == children.size();
    add_actor(text, children[i], below + (last ? "└─ " : "├─ "), below + (last ? "   " : "│  "));
  }
}

int introspect_command(const client_options& options, bool here) {
  return speak(options, [&](connection& node) -> answer<void> {
    auto tree = node.get(here ? "/introspect?here" : "/introspect");
    WEIR_TRY(tree);
    if (!options.table()) {
      print_data(options, *tree);
      return {};
    }
    std::string text, of;
    for (auto& actor : tree->at("actors")) { // those of one node stand together
      if (auto its_node = shown(actor, "node"); its_node != of) {
        text += fmt::format("{}{}\n", of.empty() ? "" : "\n", painted(tone::bold, its_node));
        of = its_node;
      }
      add_actor(text, actor, "  ", "  ");
    }
    if (!tree->value("silent", json::array()).empty())
      text += fmt::format("\n{}\n", painted(tone::bad, "silent  " + shown(*tree, "silent")));
    std::cout << text;
    return {};
  });
}

} // namespace

void add_view_commands(CLI::App& app, command& run) {
  auto options = std::make_shared<client_options>();
  add_client_command(app, "status", "The cluster at a glance", "  weir status\n  weir status --server http://a:8080,http://b:8080 -o json", options, run, [=] { return status_command(*options); });
  add_client_command(app, "top", "The cluster live, drawn every second; q or Ctrl-C ends. Printed once when the output is no terminal", "  weir top", options, run,
                     [=] { return top_command(*options); });
  auto wish = std::make_shared<events_wish>();
  auto* events = add_client_command(app, "events", "What happened", "  weir events\n  weir events -f -o json      # one line each, for programs\n  weir events --after 1200", options, run,
                                    [=] { return events_command(*options, *wish); });
  events->add_flag("-f,--follow", wish->follow, "Go on with what happens from now; survives lost connections");
  events->add_option("--after", wish->after, "Only events with a greater number")->type_name("N");
  auto here = std::make_shared<bool>(false);
  auto* introspect = add_client_command(app, "introspect", "The actors of all nodes: mailboxes, restarts, state; and the nodes that did not answer", "  weir introspect\n  weir introspect --here -o json",
                                        options, run, [=] { return introspect_command(*options, *here); });
  introspect->add_flag("--here", *here, "Only the actors of the node that is asked");
}

} // namespace weir::cli
