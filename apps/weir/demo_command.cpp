// `weir demo`: everything on this machine, no YAML: a synthetic sender, real nginx for ingest and edges on free ports. It waits until a segment that a
// rewritten playlist names was fetched from an edge and decoded, then says where to look.
#include "apps/weir/commands.hpp"
#include "apps/weir/free_port.hpp"
#include "apps/weir/node_program.hpp"
#include "apps/weir/signals.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/media/probe.hpp"
#include "runtime/media/synthetic.hpp"
#include "runtime/supervise/process.hpp"

#include <charconv>
#include <filesystem>
#include <fmt/color.h>
#include <fmt/format.h>
#include <map>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;
using nlohmann::json;

constexpr auto first_picture_within = 60s;
constexpr auto recovery_within = 30s;

struct demo_options {
  bool once = false;
  bool chaos = false;
  bool keep = false;
  std::string folder;
};

expected<node_config> demo_config(const std::string& folder) {
  node_config config;
  config.node.name = "demo";
  config.data_dir = folder;
  config.cluster.name = "demo";
  auto web = free_ports();
  auto rtmp = free_ports();
  auto stat = free_ports();
  auto edges = free_ports(config.edge.instances);
  for (auto* port : {&web, &rtmp, &stat, &edges})
    WEIR_TRY(*port);
  config.http.listen = fmt::format("127.0.0.1:{}", *web);
  config.ingest.rtmp_listen = fmt::format("127.0.0.1:{}", *rtmp);
  config.ingest.stat_listen = fmt::format("127.0.0.1:{}", *stat);
  config.edge.first_port = *edges;
  config.origin.profile = hls_profile::brief;
  config.coordinator.publish_grace = 5s;
  config.worker.cores = 64; // one small ladder runs on whatever this machine is
  config.ladders = {{.name = "demo", .rungs = {{.name = "720p", .height = 720, .video = {2'000'000}}, {.name = "360p", .height = 360, .video = {700'000}}}, .preset = "superfast"}};
  return config;
}

/// The demo as a user of the API: what it can do, anybody with the token can.
class demo {
public:
  demo(node_program& node, bool talks) : node_(node), talks_(talks) {}

  template <class... A>
  void say(fmt::format_string<A...> text, A&&... a) {
    if (talks_) {
      fmt::print(text, std::forward<A>(a)...);
      std::fflush(stdout);
    }
  }

  expected<json> api(std::string method, const std::string& path, const json& body = {}) {
    http::client_request request;
    request.method = std::move(method);
    request.url = node_.base_url() + path;
    request.headers.add("Authorization", "Bearer " + node_.api_token());
    if (!body.is_null()) {
      request.headers.add("Content-Type", "application/json");
      request.body = body.dump();
    }
    auto answer = node_.client().call(std::move(request));
    WEIR_TRY(answer);
    if (answer->status >= 300)
      return fail(error_code::internal, fmt::format("{} answered {}: {}", path, answer->status, answer->body));
    return answer->body.empty() ? json() : json::parse(answer->body, nullptr, false);
  }

  /// Two streams: one that the demo publishes, one for whoever tries it out, because nginx-rtmp takes one publisher a name.
  expected<void> create() {
    for (auto* name : {"demo", "yours"}) {
      auto stream = api("POST", "/api/v1/streams", {{"name", name}, {"title", fmt::format("Weir {}", name)}});
      WEIR_TRY(stream);
      auto at = "/api/v1/streams/" + (*stream)["id"].get<std::string>();
      auto task = api("POST", at + "/tasks", {{"type", "hls"}, {"name", "ladder"}, {"options", {{"ladder", "demo"}, {"profile", "short"}}}});
      WEIR_TRY(task);
      auto key = api("GET", at + "/key");
      WEIR_TRY(key);
      keys_[name] = (*key)["key"];
    }
    return {};
  }

  expected<void> send() {
    supervise::launch how;
    how.name = "weir-sender";
    how.arguments = {std::string(media::sender_word)};
    how.environment = {{"WEIR_SENDER_URL", node_.publish_url("live", "demo") + "?key=" + keys_.at("demo")}};
    how.on_line = [](const std::string& line) { log::info("demo", "sender", "text={}", line); };
    auto sender = supervise::process::spawn(std::move(how));
    WEIR_TRY(sender);
    sender_ = std::move(*sender);
    return {};
  }

  expected<std::string> fetch(const std::string& url) {
    http::client_request request;
    request.url = url;
    request.response_limit = 64 << 20;
    auto answer = node_.client().call(std::move(request));
    WEIR_TRY(answer);
    if (answer->status != 200)
      return fail(error_code::unavailable, fmt::format("{} answered {}", url, answer->status));
    return std::move(answer->body);
  }

  std::string playback_url() const { return node_.base_url() + "/hls/demo/index.m3u8"; }
  const std::string& key(const std::string& stream) const { return keys_.at(stream); }

  struct proof {
    std::string edge;
    std::uint64_t msn = 0;
    media::media_report picture;
  };
  /// Follows the playback address as a player does: multivariant, a variant, its newest segment, through the edge, decoded.
  expected<proof> play() {
    auto multivariant = fetch(playback_url());
    WEIR_TRY(multivariant);
    auto variant = line_after(*multivariant, "#EXT-X-STREAM-INF:");
    if (variant.empty())
      return fail(error_code::unavailable, "the multivariant playlist names no variant");
    auto playlist = fetch(absolute(variant));
    WEIR_TRY(playlist);
    proof p;
    std::string newest;
    std::uint64_t msn = 0;
    bool gap = false;
    for (std::size_t at = 0; at < playlist->size();) {
      auto end = std::min(playlist->find('\n', at), playlist->size());
      std::string_view line(playlist->data() + at, end - at);
      at = end + 1;
      if (constexpr std::string_view tag = "#EXT-X-MEDIA-SEQUENCE:"; line.starts_with(tag))
        std::from_chars(line.data() + tag.size(), line.data() + line.size(), msn);
      else if (line == "#EXT-X-GAP")
        gap = true;
      else if (!line.empty() && line[0] != '#') {
        if (!gap) {
          newest = line;
          p.msn = msn;
        }
        gap = false;
        ++msn;
      }
    }
    if (newest.empty())
      return fail(error_code::unavailable, "the media playlist lists no segment");
    auto url = absolute(newest);
    auto segment = fetch(url);
    WEIR_TRY(segment);
    auto report = media::probe_bytes(*segment);
    WEIR_TRY(report);
    if (report->pictures == 0 || report->errors != 0)
      return fail(error_code::media_failed, fmt::format("{} decodes to {} pictures with {} errors", url, report->pictures, report->errors));
    p.edge = url.substr(0, url.find("/s/"));
    p.picture = *report;
    return p;
  }

  /// Waits for a proof with a sequence number of at least `msn`.
  expected<proof> play_from(std::uint64_t msn, std::chrono::seconds within, const signals& stopping) {
    auto deadline = steady::now() + within;
    error last{error_code::timeout, "nothing yet"};
    while (steady::now() < deadline) {
      if (stopping.wait(250ms) != 0)
        return fail(error_code::source_ended, "interrupted");
      if (node_.role_died())
        return fail(error_code::internal, "a part of Weir ended; see the log above");
      // nginx may not listen yet when the sender first asks, and a chaos run may take its connection away.
      if (!sender_.running())
        WEIR_TRY(send());
      auto p = play();
      if (p && p->msn >= msn)
        return p;
      last = p ? error{error_code::timeout, fmt::format("the newest segment is still {}", p->msn)} : p.error();
    }
    return fail(error_code::timeout, fmt::format("nothing played within {}: {}", to_string(std::chrono::milliseconds(within)), last.text));
  }

  /// The pid of a child that /introspect shows, of the first actor of that kind.
  expected<pid_t> pid_of(std::string_view kind) {
    auto tree = api("GET", "/introspect");
    WEIR_TRY(tree);
    std::vector<json> open((*tree)["actors"].begin(), (*tree)["actors"].end());
    while (!open.empty()) {
      auto one = std::move(open.back());
      open.pop_back();
      if (one.value("kind", "") == kind && one["status"].value("pid", 0) > 0)
        return one["status"]["pid"].get<pid_t>();
      for (auto& child : one["children"])
        open.push_back(child);
    }
    return fail(error_code::not_found, fmt::format("no {} runs", kind));
  }

private:
  static std::string line_after(std::string_view text, std::string_view tag) {
    auto at = text.find(tag);
    if (at == std::string_view::npos)
      return {};
    at = text.find('\n', at) + 1;
    return std::string(text.substr(at, text.find('\n', at) - at));
  }
  std::string absolute(const std::string& reference) const { return reference.starts_with("/") ? node_.base_url() + reference : reference; }

  node_program& node_;
  bool talks_;
  std::map<std::string, std::string> keys_; ///< by stream
  supervise::process sender_;
};

expected<void> chaos(demo& show, demo::proof& last, const signals& stopping) {
  auto strike = [&](std::string_view kind, std::string_view what) -> expected<void> {
    auto pid = show.pid_of(kind);
    WEIR_TRY(pid);
    show.say("  kill -9 {} (pid {}) … ", what, *pid);
    if (::kill(*pid, SIGKILL) != 0)
      return fail(error_code::io_failed, fmt::format("kill {}: {}", *pid, std::strerror(errno)));
    auto began = steady::now();
    auto proof = show.play_from(last.msn + 2, recovery_within, stopping);
    WEIR_TRY(proof);
    last = *proof;
    show.say("plays on after {:.1f} s, segment {} from {}\n", std::chrono::duration<double>(steady::now() - began).count(), last.msn, last.edge);
    return {};
  };
  WEIR_TRY(strike("transcoder", "the transcoder"));
  return strike("edge", "an nginx edge");
}

int run_demo(const demo_options& wanted) {
  signals stopping;
  bool terminal = ::isatty(STDOUT_FILENO) != 0;
  auto folder = wanted.folder.empty() ? (std::filesystem::temp_directory_path() / ("weir-demo-" + random_uuid().substr(0, 8))).string() : wanted.folder;
  if (auto opened = log::configure({.lowest = log::level::warn, .style = log::format::automatic}); !opened)
    fmt::print(stderr, "{}\n", opened.error().text);
  auto began = steady::now();
  fmt::print("Weir demo: all roles on this machine, data in {}\n", folder);
  std::fflush(stdout);
  auto give_up = [&](const error& why) {
    fmt::print(stderr, "weir demo: {}\n", why.text);
    return int(failed);
  };
  auto config = demo_config(folder);
  if (!config)
    return give_up(config.error());
  int status = done;
  {
    auto node = node_program::start(*config);
    if (!node)
      return give_up(node.error());
    demo show(**node, true);
    show.say("  node, origin, director, {} nginx edges and nginx-rtmp are up; a synthetic sender starts\n", config->edge.instances);
    auto ready = show.create();
    if (ready)
      ready = show.send();
    auto proof = ready ? show.play_from(0, first_picture_within, stopping) : expected<demo::proof>(fail(ready.error()));
    if (!proof)
      return give_up(proof.error());
    show.say("  plays: {}×{}, {} pictures decoded from a segment of {} after {:.1f} s\n", proof->picture.width, proof->picture.height, proof->picture.pictures, proof->edge,
             std::chrono::duration<double>(steady::now() - began).count());
    if (wanted.chaos)
      if (auto survived = chaos(show, *proof, stopping); !survived)
        return give_up(survived.error());
    if (!wanted.once) {
      auto bold = [&](const std::string& text) { return terminal ? fmt::format(fmt::emphasis::bold, "{}", text) : text; };
      show.say("\n  dashboard   {}\n  token       {}   (kept in {})\n  watch       {}/watch/demo\n  playlist    {}\n  ffplay      ffplay {}\n"
               "\n  publish your own (OBS: server, then key) and watch it at /watch/yours:\n  server      {}\n  stream key  yours?key={}\n\nCtrl-C stops everything.\n",
               bold((*node)->base_url() + "/"), bold((*node)->api_token()), (*node)->token_file(), (*node)->base_url(), show.playback_url(), show.playback_url(),
               (*node)->publish_url("live", "").substr(0, (*node)->publish_url("live", "").size() - 1), show.key("yours"));
      while (stopping.wait(500ms) == 0)
        if ((*node)->role_died()) {
          status = failed;
          break;
        }
    }
    show.say("stopping …\n");
  }
  if (!wanted.keep && wanted.folder.empty()) {
    std::error_code ignored; // the folder is temporary: what cannot be removed now, the system removes
    std::filesystem::remove_all(folder, ignored);
  }
  return status;
}

} // namespace

void add_demo_command(CLI::App& app, command& run) {
  auto* sub = app.add_subcommand("demo", "Shows everything on this machine: sender, ingest, ladder, edges, player; no YAML needed");
  auto options = std::make_shared<demo_options>();
  sub->add_flag("--once", options->once, "End with status 0 when it has played, 1 when it has not");
  sub->add_flag("--chaos", options->chaos, "Kill the transcoder and an edge while it plays");
  sub->add_flag("--keep", options->keep, "Leave the data folder behind");
  sub->add_option("--data-dir", options->folder, "Use this folder and leave it behind");
  sub->callback([&run, options] { run = [options] { return run_demo(*options); }; });
}

} // namespace weir
