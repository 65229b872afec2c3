// The API of contract.md: JSON in and out, errors as problem+json, ETag and If-Match on everything that can be changed.
#include "actors/api_json.hpp"
#include "actors/http_bridge.hpp"
#include "actors/openapi.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/base/version.hpp"
#include "runtime/describe/schema.hpp"
#include "runtime/placing/placing.hpp"
#include "runtime/viewing/viewing.hpp"

#include <charconv>

namespace weir {

using namespace std::chrono_literals;
using http::request;
using http::responder;
using nlohmann::json;

namespace {

constexpr auto answer_within = 5s;
constexpr auto session_lasts = 12h;

std::string who(const request& r) { return "api " + r.peer_address; }

/// Names a creation that may be sent twice: its Idempotency-Key together with what is to be made. Empty without the header.
expected<std::string> creation_key(const request& r) {
  auto key = r.header("Idempotency-Key").value_or("");
  if (key.size() > 128)
    return fail(error_code::invalid_input, "Idempotency-Key is longer than 128 bytes");
  return key.empty() ? std::string{} : base64url(hmac_sha256(key, r.body()));
}

/// If-Match as a revision; 0 when absent or "*".
expected<std::uint64_t> wanted_revision(const request& r) {
  auto text = r.header("If-Match").value_or("*");
  if (text == "*")
    return 0;
  std::uint64_t revision = 0;
  auto inner = text.size() > 2 && text.front() == '"' && text.back() == '"' ? text.substr(1, text.size() - 2) : std::string_view{};
  if (inner.empty() || std::from_chars(inner.data(), inner.data() + inner.size(), revision).ptr != inner.data() + inner.size())
    return fail(error_code::conflict, "If-Match is not an ETag of this API");
  return revision;
}

void answer_problems(const responder& answer, const describe::problems& found) {
  std::vector<http::problem_item> items;
  for (auto& p : found)
    if (p.fatal)
      items.push_back({p.pointer, p.detail});
  answer.fail({error_code::invalid_config, fmt::format("{} of the values sent cannot be taken", items.size())}, items);
}

/// Asks the coordinator inside the bridge; `render` makes the answer of its reply.
template <class Message, class Render>
void ask_coordinator(const http_bridge_actor& bridge, Message message, responder answer, Render render) {
  in_bridge(bridge, [message = std::move(message), answer = std::move(answer), render = std::move(render)](http_bridge_self self) {
    ask(self, answer_within, self->state.setup.coordinator, message).then(render, [answer](const caf::error& why) { answer.fail(from_caf(why)); });
  });
}

auto answer_stream(responder answer, int status = 200) {
  return [answer, status](const stream_status& s) {
    auto r = http::json_response(status, stream_json(s)).with("ETag", etag_of(s.spec.revision));
    if (status == 201)
      r.with("Location", "/api/v1/streams/" + s.spec.id.value);
    answer(std::move(r));
  };
}
auto answer_task(responder answer, int status = 200) {
  return [answer, status](const task_status& t) {
    auto r = http::json_response(status, task_json(t)).with("ETag", etag_of(t.spec.revision));
    if (status == 201)
      r.with("Location", "/api/v1/tasks/" + t.spec.id.value);
    answer(std::move(r));
  };
}
auto answer_done(responder answer) {
  return [answer] { answer(http::empty_response(204)); };
}

/// Cursor paging over a list that is sorted by a text key: `limit` and `after` in, `next` out.
void answer_page(const responder& answer, const request& r, json items, std::string_view key) {
  std::size_t limit = 100;
  if (auto text = r.query.find("limit")) {
    if (std::from_chars(text->data(), text->data() + text->size(), limit).ptr != text->data() + text->size() || limit == 0 || limit > 1000) {
      answer.fail({error_code::invalid_input, "limit must be 1 to 1000"});
      return;
    }
  }
  auto after = r.query.find("cursor").value_or("");
  json page = json::array();
  json next;
  for (auto& item : items) {
    auto& name = item[std::string(key)].get_ref<const std::string&>();
    if (!after.empty() && name <= after)
      continue;
    if (page.size() == limit) {
      next = page.back()[std::string(key)];
      break;
    }
    page.push_back(std::move(item));
  }
  answer(http::json_response(200, {{"items", page}, {"next", next}}));
}

/// The members of a task's request body that are not its options.
struct task_body {
  std::string type;
  bool enabled = true;
  std::string name;
  std::string comment;
  std::vector<std::string> needs;
  static constexpr auto fields() {
    using o = task_body;
    return std::tuple{field("type", &o::type, {0, 64}, "Task type."), field("enabled", &o::enabled, "Whether the task runs while its stream is live."),
                      field("name", &o::name, {0, 100}, "Name for people."), field("comment", &o::comment, {0, 2000}, "Note for the organisers."),
                      field("needs", &o::needs, {0, 16}, "Labels that its node must have, each KEY or KEY=VALUE.")};
  }
};

/// For how long a signed address shall be good.
struct viewing_wish {
  std::chrono::milliseconds lifetime = 8h;
  static constexpr auto fields() {
    using o = viewing_wish;
    return std::tuple{field("lifetime", &o::lifetime, {1s, viewing::longest_lifetime}, "For how long the address is good.")};
  }
};

/// Reads a task's body over what is there already; problems carry pointers into the body.
bool read_task(std::string_view body, task_spec& spec, bool fresh, describe::problems& found) {
  auto document = describe::parse_json(body, "", found);
  if (describe::any_fatal(found))
    return false;
  describe::value options;
  options.is = describe::value::kind::map;
  bool has_options = false;
  std::erase_if(document.members, [&](describe::member& m) {
    // What GET shows beside the configuration may come back and means nothing.
    static const std::set<std::string, std::less<>> shown{"id", "stream_id", "revision", "created", "phase", "reason", "node", "epoch", "attempts", "last_cause", "last_error", "progress",
                                             "log_tail", "placed_because", "standby"};
    if (m.key == "options") {
      options = m.it;
      has_options = true;
    }
    return m.key == "options" || shown.contains(m.key);
  });
  task_body rest{spec.type, spec.enabled, spec.name, spec.comment, spec.needs};
  if (!describe::decode(document, rest, found, {.partial = true}))
    return false;
  if (!fresh && rest.type != spec.type) {
    found.push_back({.at = {}, .path = "type", .pointer = "/type", .detail = "the type of a task cannot be changed; add another task"});
    return false;
  }
  auto* type = find_task_type(rest.type);
  if (!type) {
    std::string known;
    for (auto& t : task_types())
      known += (known.empty() ? "" : ", ") + t.name;
    found.push_back({.at = {}, .path = "type", .pointer = "/type", .detail = fmt::format("{:?} is not a task type; known are {}", rest.type, known)});
    return false;
  }
  spec.type = rest.type;
  spec.enabled = rest.enabled;
  spec.name = rest.name;
  spec.comment = rest.comment;
  spec.needs = rest.needs;
  for (std::size_t i = 0; i < spec.needs.size(); ++i)
    if (auto good = placing::check_need(spec.needs[i]); !good)
      found.push_back({.at = {}, .path = fmt::format("needs[{}]", i), .pointer = fmt::format("/needs/{}", i), .detail = good.error().text});
  if (describe::any_fatal(found))
    return false;
  if (fresh || has_options) {
    describe::problems wrong;
    auto text = type->check(options, fresh ? std::string{} : spec.options, wrong);
    for (auto& p : wrong) {
      p.path = "options" + (p.path.empty() ? "" : "." + p.path);
      p.pointer = "/options" + p.pointer;
      found.push_back(std::move(p));
    }
    if (text.empty() || describe::any_fatal(found))
      return false;
    spec.options = text;
  }
  return true;
}

bool read_stream(std::string_view body, stream_spec& spec, describe::problems& found) {
  auto document = describe::parse_json(body, "", found);
  static const std::set<std::string, std::less<>> shown{"phase", "publishers", "playback_url", "publish_urls", "input_server"};
  std::erase_if(document.members, [&](describe::member& m) { return shown.contains(m.key); });
  return !describe::any_fatal(found) && describe::decode(document, spec, found, {.partial = true, .skip_read_only = true});
}

} // namespace

// --- access -----------------------------------------------------------------------------------------------------------------

api_access::api_access(std::string token) : token_(std::move(token)), cookie_key_(token_), failures_({.per_second = 1, .burst = 20}) {}

bool api_access::cookie_is_ours(std::string_view cookie, std::chrono::system_clock::time_point now) const {
  auto dot = cookie.find('.');
  if (dot == std::string_view::npos)
    return false;
  auto until = cookie.substr(0, dot);
  std::int64_t unix_time = 0;
  if (std::from_chars(until.data(), until.data() + until.size(), unix_time).ptr != until.data() + until.size())
    return false;
  auto right = base64url(hmac_sha256(cookie_key_, "session " + std::string(until)));
  return constant_time_equal(cookie.substr(dot + 1), right) && now < std::chrono::system_clock::time_point{std::chrono::seconds{unix_time}};
}

expected<std::string> api_access::sign_in(std::string_view token, const std::string& address, std::chrono::system_clock::time_point now) {
  if (!constant_time_equal(token, token_)) {
    if (!failures_.take(http::limiter_key(address), std::chrono::steady_clock::now()))
      return fail(error_code::too_many, "too many wrong tokens from this address; wait a moment");
    return fail(error_code::unauthorized, "the token is wrong");
  }
  auto until = std::to_string(unix_seconds(now + session_lasts));
  auto cookie = until + "." + base64url(hmac_sha256(cookie_key_, "session " + until));
  return fmt::format("weir_session={}; Path=/; HttpOnly; SameSite=Strict; Max-Age={}", cookie, std::chrono::seconds(session_lasts).count());
}

std::optional<http::response> api_access::check(const request& r) {
  if (auto token = http::bearer_token(r)) {
    if (constant_time_equal(*token, token_))
      return std::nullopt;
    if (!failures_.take(http::limiter_key(r.peer_address), std::chrono::steady_clock::now()))
      return http::problem_response({error_code::too_many, "too many wrong tokens from this address; wait a moment"}, r.id);
    return http::problem_response({error_code::unauthorized, "the token is wrong"}, r.id).with("WWW-Authenticate", "Bearer");
  }
  if (auto cookie = http::cookie(r, "weir_session"); cookie && cookie_is_ours(*cookie, std::chrono::system_clock::now())) {
    if (r.method == "GET" || r.method == "HEAD")
      return std::nullopt;
    // A page of another site can make the browser send the cookie, but neither this header nor our origin.
    auto site = r.header("Sec-Fetch-Site").value_or("same-origin");
    auto origin = r.header("Origin").value_or("");
    auto host = std::string(r.header("Host").value_or(""));
    bool ours = origin.empty() || origin == "http://" + host || origin == "https://" + host;
    if (r.header("X-Weir-Request") && site == "same-origin" && ours)
      return std::nullopt;
    return http::problem_response({error_code::forbidden, "a change by cookie must come from Weir's own page"}, r.id);
  }
  return http::problem_response({error_code::unauthorized, "this needs the API token (Authorization: Bearer …)"}, r.id).with("WWW-Authenticate", "Bearer");
}

// --- routes -----------------------------------------------------------------------------------------------------------------

void add_api_routes(http::server& server, const http_bridge_actor& bridge, const http_bridge_setup& setup) {
  auto access = std::make_shared<api_access>(setup.api_token);
  http::route_options guarded;
  guarded.guard = [access](const request& r) { return access->check(r); };
  guarded.deadline = answer_within + 1s;
  openapi book;
  book.schema("Stream", json::parse(describe::schema_of<stream_spec>().dump()));
  book.schema("Task", json::parse(describe::schema_of<task_body>().dump()));
  book.schema("TaskType", {{"type", "object"}, {"properties", {{"name", {{"type", "string"}}}, {"summary", {{"type", "string"}}}, {"schema", {{"type", "object"}}}}}});
  book.schema("Node", json::parse(describe::schema_of<node_status>().dump()));
  book.schema("Edge", json::parse(describe::schema_of<edge_status>().dump()));
  book.schema("Autoscaler", json::parse(describe::schema_of<scaling_status>().dump()));
  book.schema("RtmpServer", json::parse(describe::schema_of<rtmp_server_status>().dump()));
  book.schema("Event", json::parse(describe::schema_of<event>().dump()));
  book.schema("Key", {{"type", "object"}, {"properties", {{"key", {{"type", "string"}}}}}});
  book.schema("ViewingTokenWish", json::parse(describe::schema_of<viewing_wish>().dump()));
  book.schema("ViewingToken", {{"type", "object"}, {"properties", {{"token", {{"type", "string"}}}, {"expires", {{"type", "string"}, {"format", "date-time"}}}, {"playback_url", {{"type", "string"}}}}}});
  book.schema("Any", json::object());
  auto route = [&](openapi::route about, http::handler f) {
    book.add(about);
    server.route(about.method, about.pattern, guarded, std::move(f));
  };

  // Sessions of the dashboard.
  http::route_options open;
  open.body_limit = 4096;
  server.route("POST", "/api/v1/session", open, [access](const request& r, responder answer) {
    describe::problems found;
    auto document = describe::parse_json(r.body(), "", found);
    auto* token = document.find("token");
    auto cookie = access->sign_in(token ? token->text : "", r.peer_address, std::chrono::system_clock::now());
    if (!cookie)
      return void(answer.fail(cookie.error()));
    answer(http::empty_response(204).with("Set-Cookie", *cookie));
  });
  server.route("DELETE", "/api/v1/session", open, [](const request&, responder answer) {
    answer(http::empty_response(204).with("Set-Cookie", "weir_session=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"));
  });

  // Streams.
  route({.method = "GET", .pattern = "/api/v1/streams", .summary = "Lists streams; `phase`, `app` and `q` (part of the name) narrow it", .gives = "Stream", .paged = true},
        [bridge](const request& r, responder answer) {
    auto phase = r.query.find("phase"), app = r.query.find("app"), q = r.query.find("q");
    ask_coordinator(bridge, view_cluster{}, answer, [=](const cluster_view& view) {
      json items = json::array();
      for (auto& s : view.streams)
        if ((!phase || to_string(s.phase) == *phase) && (!app || s.spec.app == *app) && (!q || s.spec.name.find(*q) != std::string::npos))
          items.push_back(stream_json(s));
      std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a["name"] < b["name"]; });
      answer_page(answer, r, std::move(items), "name");
    });
  });
  route({.method = "POST", .pattern = "/api/v1/streams", .summary = "Adds a stream; without a key it gets one", .status = 201, .takes = "Stream", .gives = "Stream"},
        [bridge](const request& r, responder answer) {
    stream_spec spec;
    describe::problems found;
    if (!read_stream(r.body(), spec, found))
      return answer_problems(answer, found);
    auto key = creation_key(r);
    if (!key)
      return void(answer.fail(key.error()));
    ask_coordinator(bridge, add_stream{std::move(spec), who(r), *key}, answer, answer_stream(answer, 201));
  });
  route({.method = "GET", .pattern = "/api/v1/streams/{id}", .summary = "Shows a stream", .gives = "Stream"},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, find_stream{stream_id{std::string(r.param("id"))}, {}}, answer, answer_stream(answer));
  });
  auto change_stream = [bridge](bool whole) {
    return [bridge, whole](const request& r, responder answer) {
      auto revision = wanted_revision(r);
      if (!revision)
        return void(answer.fail(revision.error()));
      auto body = r.payload;
      auto actor = who(r);
      ask_coordinator(bridge, find_stream{stream_id{std::string(r.param("id"))}, {}}, answer, [=](const stream_status& now) {
        stream_spec spec = now.spec;
        if (whole) {
          spec = {};
          spec.id = now.spec.id;
          spec.key = now.spec.key;
          spec.viewing = now.spec.viewing; // who does not know of it must not open a stream by leaving it out
        }
        describe::problems found;
        if (!read_stream(*body, spec, found))
          return answer_problems(answer, found);
        ask_coordinator(bridge, set_stream{std::move(spec), *revision ? *revision : now.spec.revision, actor}, answer, answer_stream(answer));
      });
    };
  };
  route({.method = "PUT", .pattern = "/api/v1/streams/{id}", .summary = "Replaces a stream's configuration", .takes = "Stream", .gives = "Stream"},
        change_stream(true));
  route({.method = "PATCH", .pattern = "/api/v1/streams/{id}", .summary = "Changes the members of a stream's configuration that are sent", .takes = "Stream", .gives = "Stream"},
        change_stream(false));
  route({.method = "DELETE", .pattern = "/api/v1/streams/{id}", .summary = "Removes a stream and its tasks", .status = 204},
        [bridge](const request& r, responder answer) {
    auto revision = wanted_revision(r);
    if (!revision)
      return void(answer.fail(revision.error()));
    ask_coordinator(bridge, remove_stream{stream_id{std::string(r.param("id"))}, *revision, who(r)}, answer, answer_done(answer));
  });
  route({.method = "GET", .pattern = "/api/v1/streams/{id}/key", .summary = "Shows the publish key; noted in the event log", .gives = "Key"},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, show_key{stream_id{std::string(r.param("id"))}, who(r)}, answer,
                    [answer](const stream_key& k) { answer(http::json_response(200, {{"key", k.key}}).with("Cache-Control", "no-store")); });
  });
  route({.method = "POST", .pattern = "/api/v1/streams/{id}/rotate-key", .summary = "Replaces the publish key", .gives = "Key"},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, rotate_key{stream_id{std::string(r.param("id"))}, who(r)}, answer,
                    [answer](const stream_key& k) { answer(http::json_response(200, {{"key", k.key}}).with("Cache-Control", "no-store")); });
  });
  route({.method = "POST", .pattern = "/api/v1/streams/{id}/kick", .summary = "Cuts the publisher off and refuses it for a while", .status = 204},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, kick_stream{stream_id{std::string(r.param("id"))}, who(r)}, answer, answer_done(answer));
  });

  route({.method = "POST", .pattern = "/api/v1/streams/{id}/viewing-tokens", .summary = "Signs an address of a stream whose `viewing` is signed", .status = 201, .takes = "ViewingTokenWish", .gives = "ViewingToken"},
        [bridge](const request& r, responder answer) {
    auto wish = r.body().empty() ? expected<viewing_wish>(viewing_wish{}) : describe::from_json<viewing_wish>(r.body());
    if (!wish)
      return void(answer.fail(wish.error()));
    ask_coordinator(bridge, sign_viewing{stream_id{std::string(r.param("id"))}, wish->lifetime}, answer, [answer](const viewing_pass& pass) {
      answer(http::json_response(201, {{"token", pass.token}, {"expires", to_rfc3339(pass.expires)}, {"playback_url", pass.playback_url}}).with("Cache-Control", "no-store"));
    });
  });
  route({.method = "POST", .pattern = "/api/v1/rotate-viewing-key", .summary = "Makes a new secret for signed addresses; those of the former one are good until the next time", .status = 204},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, rotate_viewing_key{who(r)}, answer, answer_done(answer));
  });

  // Tasks: one route for all types.
  auto list_tasks = [bridge](const request& r, responder answer) {
    auto stream = std::string(r.param("id"));
    ask_coordinator(bridge, view_cluster{}, answer, [=](const cluster_view& view) {
      json items = json::array();
      for (auto& t : view.tasks)
        if (stream.empty() || t.spec.stream.value == stream)
          items.push_back(task_json(t));
      std::sort(items.begin(), items.end(), [](auto& a, auto& b) { return a["id"] < b["id"]; });
      answer_page(answer, r, std::move(items), "id");
    });
  };
  route({.method = "GET", .pattern = "/api/v1/streams/{id}/tasks", .summary = "Lists the tasks of a stream", .gives = "Task", .paged = true},
        list_tasks);
  route({.method = "GET", .pattern = "/api/v1/tasks", .summary = "Lists all tasks", .gives = "Task", .paged = true},
        list_tasks);
  route({.method = "POST", .pattern = "/api/v1/streams/{id}/tasks", .summary = "Adds a task; its options are those of its type", .status = 201, .takes = "Task", .gives = "Task"},
        [bridge](const request& r, responder answer) {
    task_spec spec;
    spec.stream = stream_id{std::string(r.param("id"))};
    describe::problems found;
    if (!read_task(r.body(), spec, true, found))
      return answer_problems(answer, found);
    auto key = creation_key(r);
    if (!key)
      return void(answer.fail(key.error()));
    ask_coordinator(bridge, add_task{std::move(spec), who(r), *key}, answer, answer_task(answer, 201));
  });
  route({.method = "GET", .pattern = "/api/v1/tasks/{id}", .summary = "Shows a task", .gives = "Task"},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, find_task{task_id{std::string(r.param("id"))}}, answer, answer_task(answer));
  });
  auto change_task = [bridge](const request& r, responder answer) {
    auto revision = wanted_revision(r);
    if (!revision)
      return void(answer.fail(revision.error()));
    auto body = r.payload;
    auto actor = who(r);
    ask_coordinator(bridge, find_task{task_id{std::string(r.param("id"))}}, answer, [=](const task_status& now) {
      auto spec = now.spec;
      describe::problems found;
      if (!read_task(*body, spec, false, found))
        return answer_problems(answer, found);
      ask_coordinator(bridge, set_task{std::move(spec), *revision ? *revision : now.spec.revision, actor}, answer, answer_task(answer));
    });
  };
  route({.method = "PUT", .pattern = "/api/v1/tasks/{id}", .summary = "Changes a task's configuration", .takes = "Task", .gives = "Task"},
        change_task);
  route({.method = "PATCH", .pattern = "/api/v1/tasks/{id}", .summary = "Changes the members of a task's configuration that are sent", .takes = "Task", .gives = "Task"},
        change_task);
  route({.method = "DELETE", .pattern = "/api/v1/tasks/{id}", .summary = "Removes a task", .status = 204},
        [bridge](const request& r, responder answer) {
    auto revision = wanted_revision(r);
    if (!revision)
      return void(answer.fail(revision.error()));
    ask_coordinator(bridge, remove_task{task_id{std::string(r.param("id"))}, *revision, who(r)}, answer, answer_done(answer));
  });
  route({.method = "POST", .pattern = "/api/v1/tasks/{id}/retry", .summary = "Tries a task now", .status = 204},
        [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, retry_task{task_id{std::string(r.param("id"))}, who(r)}, answer, answer_done(answer));
  });
  route({.method = "GET", .pattern = "/api/v1/task-types", .summary = "Task types that the cluster knows, with the JSON Schema of their options", .gives = "TaskType"},
        [](const request&, responder answer) {
    json all = json::array();
    for (auto& t : task_types())
      all.push_back({{"name", t.name}, {"summary", t.summary}, {"schema", json::parse(t.schema().dump())}});
    answer(http::json_response(200, all));
  });

  // Nodes and edges.
  auto list_route = [&](std::string pattern, std::string summary, std::string gives, auto items, auto one) {
    route({.method = "GET", .pattern = std::move(pattern), .summary = std::move(summary), .gives = std::move(gives), .paged = true}, [=](const request& r, responder answer) {
      ask_coordinator(bridge, view_cluster{}, answer, [=](const cluster_view& view) {
        json all = json::array();
        for (auto& i : view.*items)
          all.push_back(one(i));
        std::sort(all.begin(), all.end(), [](auto& a, auto& b) { return a["name"] < b["name"]; });
        answer_page(answer, r, std::move(all), "name");
      });
    });
  };
  list_route("/api/v1/nodes", "Lists nodes", "Node", &cluster_view::nodes, node_json);
  for (auto [verb, phase] : {std::pair{"cordon", node_phase::cordoned}, std::pair{"drain", node_phase::draining}, std::pair{"undrain", node_phase::ready}})
    route({.method = "POST", .pattern = fmt::format("/api/v1/nodes/{{name}}/{}", verb), .summary = fmt::format("Sets a node to {}", to_string(phase)), .status = 204}, [bridge, phase = phase](const request& r, responder answer) {
      ask_coordinator(bridge, set_node_phase{node_name{std::string(r.param("name"))}, phase, who(r)}, answer, answer_done(answer));
    });
  route({.method = "DELETE", .pattern = "/api/v1/nodes/{name}", .summary = "Forgets a node that is down or left; with `dead` one that is silent and is known to be dead", .status = 204}, [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, forget_node{node_name{std::string(r.param("name"))}, r.query.has("dead"), who(r)}, answer, answer_done(answer));
  });
  list_route("/api/v1/edges", "Lists edges with liveness, load and weight", "Edge", &cluster_view::edges, edge_json);
  route({.method = "GET", .pattern = "/api/v1/autoscaler", .summary = "Shows how many edges there should be, and why", .gives = "Autoscaler"}, [bridge](const request&, responder answer) {
    ask_coordinator(bridge, view_cluster{}, answer, [answer](const cluster_view& view) { answer(http::json_response(200, scaling_json(view.scaling))); });
  });
  list_route("/api/v1/rtmp-servers", "Lists RTMP servers and whether their own lists of publishers are read", "RtmpServer", &cluster_view::rtmp_servers, rtmp_server_json);
  for (auto [verb, drain] : {std::pair{"drain", true}, std::pair{"undrain", false}})
    route({.method = "POST", .pattern = fmt::format("/api/v1/edges/{{name}}/{}", verb), .summary = drain ? "Gives an edge no new segments" : "Gives an edge viewers again", .status = 204}, [bridge, drain = drain](const request& r, responder answer) {
      ask_coordinator(bridge, drain_edge{edge_name{std::string(r.param("name"))}, drain, who(r)}, answer, answer_done(answer));
    });

  // What happened, and what is seen now.
  auto after_of = [](const request& r) {
    std::uint64_t after = 0;
    auto text = std::string(r.header("Last-Event-ID").value_or(""));
    if (text.empty())
      text = r.query.find("after").value_or("0");
    std::from_chars(text.data(), text.data() + text.size(), after);
    return after;
  };
  auto follow = [bridge](const responder& answer, std::uint64_t after, bool state) {
    in_bridge(bridge, [=](http_bridge_self self) { self->state.followers.push_back({.stream = answer.open_stream(), .state = state, .last_event = after, .version = 0}); });
  };
  route({.method = "GET", .pattern = "/api/v1/events", .summary = "What happened; text/event-stream with Last-Event-ID follows", .gives = "Event"},
        [bridge, after_of, follow](const request& r, responder answer) {
    auto after = after_of(r);
    if (r.header("Accept").value_or("").find("text/event-stream") != std::string_view::npos)
      return follow(answer, after, false);
    ask_coordinator(bridge, list_events{after, 1000, after == 0}, answer, [answer](const event_list& list) {
      json items = json::array();
      for (auto& e : list.events)
        items.push_back(event_json(e));
      answer(http::json_response(200, {{"items", items}, {"next", list.events.empty() ? json() : json(list.events.back().number)}}));
    });
  });
  route({.method = "GET", .pattern = "/api/v1/live", .summary = "Follows state and events as an event stream", .gives = "Any"},
        [after_of, follow](const request& r, responder answer) { follow(answer, after_of(r), true); });

  route({.method = "GET", .pattern = "/introspect", .summary = "The actor trees of all nodes; with `here` of this one only", .gives = "Any"},
        [bridge](const request& r, responder answer) {
    in_bridge(bridge, [answer, here = r.query.has("here")](http_bridge_self self) {
      ask(self, answer_within, self->state.setup.introspection, ask_tree{!here})
        .then([answer](const actor_tree& tree) { answer(http::text_response(200, tree.json, "application/json")); },
              [answer](const caf::error& why) { answer.fail(from_caf(why)); });
    });
  });

  book.add({.method = "GET", .pattern = "/api/v1/openapi.json", .summary = "This description", .gives = "Any"});
  server.route("GET", "/api/v1/openapi.json", guarded,
               [text = book.document(version())](const request&, responder answer) { answer(http::text_response(200, text, "application/json")); });

  // What viewers' pages may know without a token.
  http::route_options anyone;
  anyone.cors = true;
  server.route("GET", "/api/v1/public/streams/{name}", anyone, [bridge](const request& r, responder answer) {
    ask_coordinator(bridge, find_stream{{}, std::string(r.param("name"))}, answer, [answer](const stream_status& s) {
      answer(http::json_response(200, {{"name", s.spec.name}, {"title", s.spec.title}, {"live", s.phase != stream_phase::offline}}).with("Cache-Control", "max-age=1"));
    });
  });
}

} // namespace weir
