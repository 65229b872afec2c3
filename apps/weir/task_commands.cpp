// `weir task …` and `weir task-type …`
#include "apps/weir/client_nouns.hpp"
#include "runtime/base/file.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>

namespace weir::cli {
namespace {

const std::vector<std::string_view> first_of_task{"id", "type", "name", "phase", "reason", "last_error", "node", "placed_because", "needs", "standby", "options", "progress"};
constexpr std::size_t options_limit = 1 << 20;

struct task_wish {
  std::optional<std::string> name, comment, options;
  std::vector<std::string> set;
  std::optional<std::vector<std::string>> needs;
  bool anywhere = false;
  bool enable = false;
  bool disable = false;

  void add_to(CLI::App& sub) {
    sub.add_option("--set", set, "An option of the task's type; may be given several times")->type_name("KEY=VALUE")->take_all()->allow_extra_args(false);
    sub.add_option("--options", options, "Options as JSON, or @FILE, or - for standard input (keeps secrets out of the process list)")->type_name("JSON");
    sub.add_option("--name", name, "Name for people");
    sub.add_option("--comment", comment, "Note for the organisers");
    auto* need = sub.add_option("--needs", needs, "A label that the node must have; may be given several times")->type_name("KEY[=VALUE]")->take_all()->allow_extra_args(false);
    sub.add_flag("--anywhere", anywhere, "Any node will do")->excludes(need);
    sub.add_flag("--disable", disable, "Do not run");
  }
};

answer<std::string> text_of(const std::string& given) {
  if (given == "-")
    return std::string(std::istreambuf_iterator<char>(std::cin), {});
  if (!given.starts_with('@'))
    return given;
  auto text = read_file(given.substr(1), options_limit);
  if (!text)
    return fail(refusal(text.error()));
  return std::move(*text);
}

answer<json> schema_of(connection& node, const std::string& type) {
  auto types = node.get("/api/v1/task-types");
  WEIR_TRY(types);
  std::string known;
  for (auto& t : *types) {
    if (t.value("name", "") == type)
      return t;
    known += (known.empty() ? "" : ", ") + shown(t, "name");
  }
  return fail(refusal(not_found, fmt::format("there is no task type {}; known are {}", type, known)));
}

/// `KEY=VALUE` as the schema wants it: text stays text also when it looks like a number.
answer<void> put(json& options, const std::string& pair, const json& schema) {
  auto equals = pair.find('=');
  if (equals == std::string::npos || equals == 0)
    return fail(refusal(wrong_usage, fmt::format("--set {:?} is not KEY=VALUE", pair)));
  auto key = pair.substr(0, equals);
  auto value = pair.substr(equals + 1);
  auto properties = schema.value("properties", json::object());
  auto type = properties.contains(key) ? properties[key].value("type", json()) : json();
  auto read = json::parse(value, nullptr, false);
  options[key] = type == "string" || read.is_discarded() ? json(value) : read;
  return {};
}

/// The body of POST or PATCH. Only what was named is in it.
answer<json> body_of(connection& node, const task_wish& wish, const std::string& type) {
  json body = json::object();
  if (wish.name)
    body["name"] = *wish.name;
  if (wish.comment)
    body["comment"] = *wish.comment;
  if (wish.needs || wish.anywhere)
    body["needs"] = wish.needs.value_or(std::vector<std::string>{});
  if (wish.enable || wish.disable)
    body["enabled"] = wish.enable;
  if (wish.options) {
    auto text = text_of(*wish.options);
    WEIR_TRY(text);
    auto read = json::parse(*text, nullptr, false);
    if (!read.is_object())
      return fail(refusal(wrong_usage, "--options is not a JSON object"));
    body["options"] = std::move(read);
  }
  if (!wish.set.empty()) {
    auto known = schema_of(node, type);
    WEIR_TRY(known);
    for (auto& pair : wish.set)
      WEIR_TRY(put(body["options"], pair, known->value("schema", json::object())));
  }
  return body;
}

std::string path_of(const json& task) { return "/api/v1/tasks/" + part(task.at("id").get<std::string>()); }

/// The newest thing that went wrong, while it matters.
std::string trouble(const json& task) {
  auto phase = shown(task, "phase");
  auto why = shown(task, phase == "running" || phase == "waiting" || phase == "placed" ? "reason" : "last_error");
  return why == "-" ? shown(task, "reason") : why;
}

} // namespace

table task_table() { return {"TASK", "STREAM", "TYPE", "NAME", "PHASE", "NODE", ">SPEED", ">OUTPUT", "WHY"}; }

std::vector<cell> task_row(const json& t, const std::map<std::string, std::string>& names) {
  auto progress = t.value("progress", json::object());
  bool runs = t.value("phase", "") == "running";
  auto stream = names.find(shown(t, "stream_id"));
  return {{shown(t, "id")},
          {stream == names.end() ? shown(t, "stream_id") : stream->second},
          {shown(t, "type")},
          {shown(t, "name")},
          phase_cell(t),
          {shown(t, "node")},
          {runs ? fmt::format("{:.2f}×", progress.value("speed", 0.0)) : "-"},
          {runs ? rate(progress, "bitrate") : "-"},
          {trouble(t), tone_of(shown(t, "phase")) == tone::bad ? tone::bad : tone::plain}};
}

void add_task_commands(CLI::App& app, command& run) {
  auto* noun = add_noun(app, "task", "Tasks: what is done with a stream while it is live");
  auto options = std::make_shared<client_options>();
  auto which = std::make_shared<std::string>();
  auto several = std::make_shared<std::vector<std::string>>();
  auto wish = std::make_shared<task_wish>();
  auto one = [=](CLI::App* sub) { sub->add_option("TASK", *which, "Id, the beginning of one, or a name")->required(); };

  auto* list = add_client_command(*noun, "list", "Lists tasks", "  weir task list\n  weir task list main -o json", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      std::string path = "/api/v1/tasks";
      std::map<std::string, std::string> names;
      if (!which->empty()) {
        auto stream = node.stream(*which);
        WEIR_TRY(stream);
        path = fmt::format("/api/v1/streams/{}/tasks", part(stream->at("id").get<std::string>()));
        names[shown(*stream, "id")] = shown(*stream, "name");
      } else if (options->table()) {
        auto streams = node.list("/api/v1/streams");
        WEIR_TRY(streams);
        for (auto& s : *streams)
          names[shown(s, "id")] = shown(s, "name");
      }
      auto tasks = node.list(path);
      WEIR_TRY(tasks);
      print_list(*options, *tasks, task_table(), [&](const json& t) { return task_row(t, names); });
      return {};
    });
  });
  list->add_option("STREAM", *which, "Only those of this stream (name or id)");

  one(add_client_command(*noun, "show", "Shows a task with its progress, last error and log", "  weir task show 3f2a\n  weir task show 3f2a -o yaml", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto task = node.task(*which);
      WEIR_TRY(task);
      print_object(*options, *task, first_of_task);
      return {};
    });
  }));

  auto type = std::make_shared<std::string>();
  auto* add = add_client_command(*noun, "add", "Adds a task to a stream",
                                 "  weir task add main hls --set ladder=default --name ladder\n"
                                 "  weir task add main restream --options @target.json   # {\"url\": \"rtmp://host/app/key\"}\n"
                                 "  weir task add main hls --needs gpu --needs room=main-hall\n"
                                 "  weir task-type show hls                              # its options",
                                 options, run, [=] {
                                   return speak(*options, [&](connection& node) -> answer<void> {
                                     auto stream = node.stream(*which);
                                     WEIR_TRY(stream);
                                     auto body = body_of(node, *wish, *type);
                                     WEIR_TRY(body);
                                     (*body)["type"] = *type;
                                     auto task = node.send("POST", fmt::format("/api/v1/streams/{}/tasks", part(stream->at("id").get<std::string>())), *body);
                                     WEIR_TRY(task);
                                     print_object(*options, *task, first_of_task);
                                     return {};
                                   });
                                 });
  add->add_option("STREAM", *which, "Name or id of the stream")->required();
  add->add_option("TYPE", *type, "Task type; see weir task-type list")->required();
  wish->add_to(*add);

  auto* set = add_client_command(*noun, "set", "Changes a task; what is not named stays", "  weir task set 3f2a --set profile=short\n  weir task set 3f2a --disable", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto task = node.task(*which);
      WEIR_TRY(task);
      auto body = body_of(node, *wish, shown(*task, "type"));
      WEIR_TRY(body);
      if (body->empty())
        return fail(refusal(wrong_usage, "nothing to change was named; see weir task set --help"));
      auto changed = node.send("PATCH", path_of(*task), *body);
      WEIR_TRY(changed);
      print_object(*options, *changed, first_of_task);
      return {};
    });
  });
  one(set);
  wish->add_to(*set);
  set->add_flag("--enable", wish->enable, "Run while the stream is live")->excludes("--disable");

  auto yes = std::make_shared<bool>(false);
  auto* rm = add_client_command(*noun, "rm", "Removes tasks", "  weir task rm 3f2a --yes", options, run, [=] {
    return speak_of_each(*options, *several, [&](connection& node, const std::string& name) -> answer<void> {
      auto task = node.task(name);
      WEIR_TRY(task);
      if (!agreed(*yes, fmt::format("Remove {} task {} for good?", shown(*task, "type"), shown(*task, "id"))))
        return fail(refusal(failed, fmt::format("task {} stays", name)));
      WEIR_TRY(node.send("DELETE", path_of(*task)));
      say(*options, fmt::format("task {} is removed", shown(*task, "id")));
      return {};
    });
  });
  rm->add_option("TASK", *several, "Ids, beginnings of ids, or names")->required();
  rm->add_flag("-y,--yes", *yes, "Do not ask");

  one(add_client_command(*noun, "retry", "Tries a task that failed or loops at once", "  weir task retry 3f2a", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto task = node.task(*which);
      WEIR_TRY(task);
      WEIR_TRY(node.send("POST", path_of(*task) + "/retry"));
      say(*options, fmt::format("task {} is tried again", shown(*task, "id")));
      return {};
    });
  }));
}

void add_task_type_commands(CLI::App& app, command& run) {
  auto* noun = add_noun(app, "task-type", "Task types that the cluster knows, with their options");
  auto options = std::make_shared<client_options>();
  auto which = std::make_shared<std::string>();
  add_client_command(*noun, "list", "Lists the task types", "  weir task-type list", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto types = node.get("/api/v1/task-types");
      WEIR_TRY(types);
      print_list(*options, *types, {"NAME", "SUMMARY"}, [](const json& t) { return std::vector<cell>{{shown(t, "name")}, {shown(t, "summary")}}; });
      return {};
    });
  });
  auto* show = add_client_command(*noun, "show", "Shows the options of a task type", "  weir task-type show hls\n  weir task-type show hls -o json   # with its JSON Schema", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto found = schema_of(node, *which);
      WEIR_TRY(found);
      if (!options->table()) {
        print_data(*options, *found);
        return {};
      }
      auto schema = found->value("schema", json::object());
      auto required = schema.value("required", json::array());
      table t{"OPTION", "TYPE", "DEFAULT", "MEANING"};
      auto known = schema.value("properties", json::object());
      for (auto& [key, about] : known.items()) {
        auto values = about.value("enum", json::array());
        t.add({{printable(key), tone::bold},
               {values.empty() ? shown(about, "type") : shown(about, "enum")},
               {std::ranges::find(required, json(key)) != required.end() ? "required" : shown(about, "default")},
               {shown(about, "description")}});
      }
      std::cout << painted(tone::bold, shown(*found, "name")) << ": " << shown(*found, "summary") << "\n\n" << t.text();
      return {};
    });
  });
  show->add_option("TYPE", *which, "Name of the type")->required();
}

} // namespace weir::cli
