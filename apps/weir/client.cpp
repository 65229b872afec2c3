#include "apps/weir/client.hpp"

#include "apps/weir/client_output.hpp"
#include "runtime/base/file.hpp"
#include "runtime/http/target.hpp"

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <fmt/format.h>
#include <future>
#include <iostream>
#include <mutex>
#include <unistd.h>

namespace weir::cli {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr std::string_view default_server = "http://127.0.0.1:8080";
constexpr const char* default_token_file = "/var/lib/weir/api-token";
constexpr auto silence_limit = 45s;           ///< of an event stream, whose server says something every 15 s
constexpr std::size_t line_limit = 1 << 20;   ///< of an event stream
constexpr std::size_t answer_limit = 64 << 20;
constexpr int depth_limit = 200;              ///< deeper answers are not Weir's

exit_status status_of(error_code code) {
  switch (code) {
  case error_code::not_found: return not_found;
  case error_code::invalid_input:
  case error_code::invalid_config: return wrong_usage;
  case error_code::unauthorized:
  case error_code::forbidden: return not_allowed;
  default: return failed;
  }
}

exit_status status_of_http(int status) {
  switch (status) {
  case 400:
  case 422: return wrong_usage;
  case 401:
  case 403: return not_allowed;
  case 404: return not_found;
  default: return failed;
  }
}

/// An error of the transport: nobody answered, unless the address itself is wrong or the answer too long.
refusal unreached(const error& e) {
  if (e.code == error_code::invalid_input || e.code == error_code::too_large)
    return e;
  return {not_reachable, e.text};
}

std::string environment(const char* name) {
  auto* value = std::getenv(name);
  return value ? value : "";
}

std::vector<std::string> split_list(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    auto end = std::min(text.find(','), text.size());
    if (auto one = http::trim(text.substr(0, end)); !one.empty())
      out.emplace_back(one);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// What the command line says goes before the environment, and that before the file of a node on this machine.
answer<std::string> find_token(const client_options& options) {
  if (!options.token.empty())
    return options.token;
  auto file = options.token_file;
  if (file.empty()) {
    if (auto token = environment("WEIR_TOKEN"); !token.empty())
      return token;
    file = environment("WEIR_TOKEN_FILE");
  }
  if (file.empty() && ::access(default_token_file, R_OK) == 0)
    file = default_token_file;
  if (file.empty())
    return std::string{};
  auto token = read_secret_file(file);
  if (!token)
    return fail(refusal(token.error()));
  return std::move(*token);
}

answer<json> parse(std::string_view text, const std::string& server) {
  bool deep = false;
  auto value = json::parse(
    text,
    [&](int depth, json::parse_event_t, json&) {
      deep = deep || depth > depth_limit;
      return !deep;
    },
    false);
  if (deep || value.is_discarded())
    return fail(refusal(failed, fmt::format("{} answered something that is not Weir's API", server)));
  return value;
}

/// What the server refused, in its own words where it is Weir (problem+json).
refusal refused(int status, std::string_view body, const std::string& server, bool with_token) {
  auto problem = json::parse(body, nullptr, false);
  refusal why(status_of_http(status), {});
  auto text = [](const json& from, const char* key) {
    auto found = from.is_object() ? from.find(key) : from.end();
    return found != from.end() && found->is_string() ? printable(found->get_ref<const std::string&>()) : std::string{};
  };
  why.text = text(problem, "detail");
  if (why.text.empty())
    why.text = fmt::format("{} answered {} {}", server, status, http::reason(status));
  if (problem.is_object() && problem.contains("errors") && problem["errors"].is_array())
    for (auto& one : problem["errors"])
      why.places.push_back(fmt::format("{}: {}", text(one, "pointer"), text(one, "detail")));
  if (status == 401 && !with_token)
    why.places.push_back(fmt::format("no token was given; see --token-file, WEIR_TOKEN_FILE, or read {} as its owner", default_token_file));
  if (auto id = text(problem, "request_id"); status >= 500 && !id.empty())
    why.places.push_back("request " + id + " in the server's log");
  return why;
}

/// Server-sent events out of pieces as they come (HTML standard, 9.2.6).
class event_reader {
public:
  using sink = std::function<void(const std::string&, const std::string&, const std::string&)>;
  explicit event_reader(sink s) : sink_(std::move(s)) {}

  /// False when a line is longer than any of Weir's.
  bool take(std::string_view piece) {
    for (char c : piece) {
      if (c != '\n') {
        line_.push_back(c);
        if (line_.size() > line_limit)
          return false;
        continue;
      }
      if (line_.ends_with('\r'))
        line_.pop_back();
      take_line(line_);
      line_.clear();
    }
    return data_.size() <= line_limit;
  }

private:
  void take_line(std::string_view line) {
    if (line.empty()) {
      if (!data_.empty()) {
        data_.pop_back();
        sink_(id_, name_.empty() ? "message" : name_, data_);
      }
      data_.clear();
      name_.clear();
      return;
    }
    auto colon = std::min(line.find(':'), line.size());
    auto field = line.substr(0, colon);
    auto value = line.substr(std::min(colon + 1, line.size()));
    if (value.starts_with(' '))
      value.remove_prefix(1);
    if (field == "data")
      data_.append(value).push_back('\n');
    else if (field == "event")
      name_ = value;
    else if (field == "id")
      id_ = value;
  }

  sink sink_;
  std::string line_, id_, name_, data_;
};

} // namespace

refusal::refusal(const error& e) : status(status_of(e.code)), text(e.text) {}

CLI::App* add_client_command(CLI::App& parent, const std::string& name, const std::string& about, const std::string& examples, const std::shared_ptr<client_options>& options,
                             command& run, std::function<int()> then) {
  auto* sub = parent.add_subcommand(name, about);
  sub->add_option("--server", options->servers, fmt::format("Address of a node; several are tried in order [WEIR_SERVER, else {}]", default_server))
    ->type_name("URL[,URL]")
    ->group("Connection");
  sub->add_option("--token", options->token, "API token; everyone on this machine can see it in the process list [WEIR_TOKEN]")->type_name("TOKEN")->group("Connection");
  sub->add_option("--token-file", options->token_file, fmt::format("File with the API token [WEIR_TOKEN_FILE, else {}]", default_token_file))->type_name("FILE")->group("Connection");
  sub->add_option("-o,--output", options->form, "table, json or yaml")->check(CLI::IsMember({"table", "json", "yaml"}))->type_name("FORM")->group("Output")->capture_default_str();
  sub->footer("Examples:\n" + examples);
  sub->callback([&run, then = std::move(then)] { run = then; });
  return sub;
}

CLI::App* add_noun(CLI::App& app, const std::string& name, const std::string& about) {
  auto* sub = app.add_subcommand(name, about);
  sub->require_subcommand(1);
  sub->footer(fmt::format("weir {} COMMAND --help tells more, with examples.", name));
  return sub;
}

std::string part(std::string_view text) { return http::percent_encode(text); }

answer<connection> connection::open(const client_options& options) {
  auto servers = split_list(options.servers.empty() ? environment("WEIR_SERVER") : options.servers);
  if (servers.empty())
    servers.emplace_back(default_server);
  auto token = find_token(options);
  WEIR_TRY(token);
  refusal last(not_reachable, {});
  for (auto& server : servers) {
    while (server.ends_with('/'))
      server.pop_back();
    if (!server.starts_with("http://") && !server.starts_with("https://"))
      return fail(refusal(wrong_usage, fmt::format("{:?} is not an address of a node; write it like {}", server, default_server)));
    connection tried(server, *token);
    if (servers.size() == 1)
      return tried; // its first request tells
    auto alive = tried.raw("/livez");
    if (alive)
      return tried;
    if (alive.error().status != not_reachable)
      return fail(alive.error());
    last.places.push_back(alive.error().text);
  }
  last.text = "none of the servers can be reached";
  return fail(std::move(last));
}

http::client_request connection::request(const std::string& method, const std::string& path) const {
  http::client_request r;
  r.method = method;
  r.url = server_ + path;
  r.response_limit = answer_limit;
  r.headers.add("Accept", "application/json");
  if (!token_.empty())
    r.headers.add("Authorization", "Bearer " + token_);
  return r;
}

answer<http::client_response> connection::raw(const std::string& path) {
  auto got = web_->call(request("GET", path));
  if (!got)
    return fail(unreached(got.error()));
  return std::move(*got);
}

answer<json> connection::call(const std::string& method, const std::string& path, const json& body) {
  auto r = request(method, path);
  if (!body.is_null()) {
    r.headers.add("Content-Type", "application/json");
    r.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  }
  auto got = web_->call(std::move(r));
  if (!got)
    return fail(unreached(got.error()));
  if (got->status < 200 || got->status >= 300)
    return fail(refused(got->status, got->body, server(), !token_.empty()));
  if (got->body.empty())
    return json();
  return parse(got->body, server());
}

answer<json> connection::list(const std::string& path, const std::string& query) {
  json all = json::array();
  std::string cursor;
  for (;;) {
    auto page = get(path + "?limit=1000" + (query.empty() ? "" : "&" + query) + (cursor.empty() ? "" : "&cursor=" + part(cursor)));
    WEIR_TRY(page);
    if (!page->is_object() || !page->contains("items") || !(*page)["items"].is_array())
      return fail(refusal(failed, fmt::format("{} answered something that is not a list of Weir's API", server())));
    for (auto& item : (*page)["items"])
      all.push_back(std::move(item));
    auto next = page->value("next", json());
    if (!next.is_string() || next == cursor)
      return all;
    cursor = next.get<std::string>();
  }
}

answer<bool> connection::follow(const std::string& path, const std::string& last_id, const std::function<bool()>& stop,
                                const std::function<void(const std::string&, const std::string&, const std::string&)>& event) {
  struct arrived {
    std::mutex guard;
    std::string bytes;
    bool ended = false;
    expected<http::client_response> result;
  };
  auto inbox = std::make_shared<arrived>();
  auto r = request("GET", path);
  r.headers.set("Accept", "text/event-stream");
  if (!last_id.empty())
    r.headers.add("Last-Event-ID", last_id);
  r.deadline = 0ms;
  r.on_piece = [inbox](std::string_view piece) {
    std::lock_guard lock(inbox->guard);
    inbox->bytes.append(piece);
    return inbox->bytes.size() <= answer_limit;
  };
  auto id = web_->send(std::move(r), [inbox](expected<http::client_response> result) {
    std::lock_guard lock(inbox->guard);
    inbox->ended = true;
    inbox->result = std::move(result);
  });
  event_reader reader(event);
  std::string beginning; // of an answer that turns out to be a problem
  auto heard = steady::now();
  for (;;) {
    std::string bytes;
    bool ended;
    {
      std::lock_guard lock(inbox->guard);
      bytes.swap(inbox->bytes);
      ended = inbox->ended;
    }
    if (!bytes.empty())
      heard = steady::now();
    if (beginning.size() < line_limit)
      beginning += bytes;
    if (ended) {
      if (inbox->result && inbox->result->status != 200)
        return fail(refused(inbox->result->status, beginning, server(), !token_.empty()));
      if (!inbox->result && beginning.empty())
        return fail(unreached(inbox->result.error()));
    }
    if (!reader.take(bytes)) {
      web_->cancel(id);
      return fail(refusal(failed, fmt::format("{} sends something that is not Weir's event stream", server())));
    }
    if (ended)
      return false;
    if (steady::now() - heard > silence_limit || stop()) {
      web_->cancel(id);
      return steady::now() - heard <= silence_limit;
    }
  }
}

answer<json> connection::stream(const std::string& name_or_id) {
  auto named = list("/api/v1/streams", "q=" + part(name_or_id));
  WEIR_TRY(named);
  for (auto& one : *named)
    if (one.value("name", "") == name_or_id)
      return one;
  return get("/api/v1/streams/" + part(name_or_id));
}

answer<json> connection::task(const std::string& which) {
  auto tasks = list("/api/v1/tasks");
  WEIR_TRY(tasks);
  const json* found = nullptr;
  int matches = 0;
  for (auto& one : *tasks) {
    auto id = one.value("id", "");
    if (id == which)
      return one;
    if (one.value("name", "") == which || (which.size() >= 4 && id.starts_with(which))) {
      found = &one;
      ++matches;
    }
  }
  if (matches > 1)
    return fail(refusal(wrong_usage, fmt::format("{:?} names {} tasks; use the id that `weir task list` shows", which, matches)));
  if (!found)
    return fail(refusal(not_found, fmt::format("there is no task {}", which)));
  return *found;
}

answer<json> connection::named(const std::string& noun, const std::string& name) {
  auto all = list(fmt::format("/api/v1/{}s", noun));
  WEIR_TRY(all);
  for (auto& one : *all)
    if (one.value("name", "") == name)
      return one;
  return fail(refusal(not_found, fmt::format("there is no {} {}", noun, name)));
}

void tell(const refusal& why) {
  std::cout.flush();
  fmt::print(stderr, "weir: {}\n", why.text);
  for (auto& place : why.places)
    fmt::print(stderr, "  {}\n", place);
}

answer<void> understood(const std::function<answer<void>()>& work) {
  try {
    return work();
  } catch (const nlohmann::json::exception& e) {
    return fail(refusal(failed, fmt::format("the server's answer has an unexpected shape: {}", e.what())));
  }
}

int speak_of_each(const client_options& options, const std::vector<std::string>& names, const std::function<answer<void>(connection&, const std::string&)>& work) {
  int status = done;
  auto refuse = [&](const refusal& why) {
    tell(why);
    if (status == done)
      status = why.status;
  };
  if (auto node = connection::open(options)) {
    for (auto& name : names)
      if (auto ready = understood([&] { return work(*node, name); }); !ready)
        refuse(ready.error());
  } else {
    refuse(node.error());
  }
  if (!std::cout.flush())
    refuse({failed, "the output cannot be written"});
  return status;
}

int speak(const client_options& options, const std::function<answer<void>(connection&)>& work) {
  return speak_of_each(options, {""}, [&](connection& node, const std::string&) { return work(node); });
}

bool agreed(bool yes, const std::string& question) {
  if (yes || ::isatty(STDIN_FILENO) == 0)
    return true;
  fmt::print(stderr, "{} [y/N] ", question);
  std::string said;
  std::getline(std::cin, said);
  return said == "y" || said == "Y" || said == "yes";
}

} // namespace weir::cli
