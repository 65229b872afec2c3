// The commands that speak to a node, against a server with canned answers.
#include "runtime/http/server.hpp"
#include "tests/integration/cli/program.hpp"

#include <atomic>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <mutex>
#include <nlohmann/json.hpp>

namespace weir {
namespace {

using namespace testing;
using http::request;
using http::responder;
using nlohmann::json;

const std::string token = "weir_t0psecret-of-the-test";
const std::string stream_id = "11111111-1111-4111-8111-111111111111";
const std::string task_id = "22222222-2222-4222-8222-222222222222";

json stream(const std::string& name = "main") {
  return {{"id", stream_id}, {"name", name},     {"app", "live"},        {"vhost", "__defaultVhost__"},
          {"enabled", true}, {"title", "Ma\x1b[2Jin: stage"}, {"comment", ""}, {"revision", 3},
          {"phase", "live"}, {"edges", 2}, {"publishers", {{{"server", "ingest"}, {"client_id", "7"}, {"since", "2026-11-22T10:00:00Z"}}}},
          {"playback_url", "http://play/hls/main/index.m3u8"}, {"publish_urls", {"rtmp://in/live/main"}}};
}
json task() {
  return {{"id", task_id},  {"stream_id", stream_id}, {"type", "hls"}, {"options", {{"ladder", "no"}}}, {"enabled", true}, {"name", "ladder"},
          {"phase", "crash_looping"}, {"reason", ""}, {"node", "node-1"}, {"last_error", "the encoder refused"}, {"progress", {{"speed", 1.0}, {"bitrate", 6'200'000}}}};
}
json node() {
  return {{"name", "node-1"}, {"roles", {"coordinator", "worker"}}, {"phase", "ready"}, {"capacity", 8.0}, {"granted", 2.5}, {"cpu", 1.5},
          {"memory_used", 1 << 30}, {"memory_total", 16LL << 30}, {"tasks", 1}, {"last_heartbeat", "2026-11-22T10:00:00Z"}, {"version", "0.1.0"}};
}

class ClientCommands : public ::testing::Test {
protected:
  void SetUp() override {
    http::route_options guarded;
    guarded.guard = [](const request& r) -> std::optional<http::response> {
      if (r.header("Authorization").value_or("") == "Bearer " + token)
        return std::nullopt;
      return http::problem_response({error_code::unauthorized, "this needs the API token"}, r.id);
    };
    auto route = [&](std::string_view method, std::string_view pattern, http::handler f) {
      web.route(method, pattern, guarded, [this, f = std::move(f)](const request& r, responder answer) {
        {
          std::lock_guard lock(guard);
          asked.push_back(fmt::format("{} {} {}", r.method, r.raw_target, r.body()));
        }
        f(r, answer);
      });
    };
    auto list = [](json items) {
      return [items](const request&, responder answer) { answer(http::json_response(200, {{"items", items}, {"next", nullptr}})); };
    };
    auto same = [](json value) { return [value](const request&, responder answer) { answer(http::json_response(200, value)); }; };
    auto nothing = [](const request&, responder answer) { answer(http::empty_response(204)); };
    web.route("GET", "/livez", {}, [](const request&, responder answer) { answer(http::text_response(200, "alive\n")); });
    web.route("GET", "/readyz", {}, [](const request&, responder answer) { answer(http::text_response(503, "no edge serves\n")); });

    route("GET", "/api/v1/streams", [](const request& r, responder answer) {
      // Two pages, so that the commands must turn one.
      if (auto q = r.query.find("q").value_or(""); !q.empty() && q != "main" && q != "quiet")
        return void(answer(http::json_response(200, {{"items", json::array()}, {"next", nullptr}})));
      if (!r.query.find("cursor"))
        return void(answer(http::json_response(200, {{"items", {stream()}}, {"next", "main"}})));
      auto quiet = stream("quiet");
      quiet["phase"] = "offline";
      quiet["publishers"] = json::array();
      answer(http::json_response(200, {{"items", {quiet}}, {"next", nullptr}}));
    });
    route("POST", "/api/v1/streams", [](const request& r, responder answer) {
      auto body = json::parse(r.body());
      if (body["name"] == "taken")
        return void(answer.fail({error_code::already_exists, "a stream taken exists"}));
      if (body["name"] == "wrong/name")
        return void(answer.fail({error_code::invalid_config, "2 of the values sent cannot be taken"}, {{"/name", "has a slash"}, {"/app", "is empty"}}));
      answer(http::json_response(201, stream(body["name"])));
    });
    route("GET", "/api/v1/streams/{id}", [](const request& r, responder answer) {
      if (r.param("id") == stream_id)
        answer(http::json_response(200, stream()));
      else
        answer.fail({error_code::not_found, fmt::format("there is no stream {}", r.param("id"))});
    });
    route("PATCH", "/api/v1/streams/{id}", same(stream()));
    route("DELETE", "/api/v1/streams/{id}", nothing);
    route("POST", "/api/v1/streams/{id}/kick", nothing);
    route("GET", "/api/v1/streams/{id}/key", same({{"key", "k3y"}}));
    route("POST", "/api/v1/streams/{id}/rotate-key", same({{"key", "n3w"}}));
    route("POST", "/api/v1/streams/{id}/viewing-tokens", same({{"token", "t"}, {"expires", "2026-11-28T23:00:00Z"}, {"playback_url", "http://live/t/t/hls/main/index.m3u8"}}));
    route("POST", "/api/v1/rotate-viewing-key", nothing);
    route("GET", "/api/v1/streams/{id}/tasks", list({task()}));
    route("POST", "/api/v1/streams/{id}/tasks", same(task()));
    route("GET", "/api/v1/tasks", list({task()}));
    route("PATCH", "/api/v1/tasks/{id}", same(task()));
    route("DELETE", "/api/v1/tasks/{id}", nothing);
    route("POST", "/api/v1/tasks/{id}/retry", nothing);
    route("GET", "/api/v1/task-types",
          same({{{"name", "hls"},
                 {"summary", "Multi-variant HLS."},
                 {"schema",
                  {{"required", {"ladder"}},
                   {"properties", {{"ladder", {{"type", "string"}, {"description", "Name of the ladder."}}}, {"cores", {{"type", "integer"}, {"default", 2}}}}}}}}}));
    route("GET", "/api/v1/nodes", [this](const request&, responder answer) {
      auto items = json::array({node()});
      if (runs >= 0) {
        items.push_back(node());
        items.back()["name"] = "other";
        items.back()["roles"] = {"worker"};
        items.back()["tasks"] = runs.load();
        runs = std::max(runs - 1, 0);
      }
      for (auto& [name, phase] : more_coordinators) {
        items.push_back(node());
        items.back()["name"] = name;
        items.back()["phase"] = phase;
      }
      answer(http::json_response(200, {{"items", items}, {"next", nullptr}}));
    });
    route("GET", "/api/v1/rtmp-servers",
          list({{{"name", "left"}, {"node", "node-1"}, {"publish_url", "rtmp://left"}, {"watched", true}, {"up", true}, {"trouble", ""}, {"publishers", 3}},
                {{"name", "right"}, {"node", ""}, {"publish_url", "rtmp://right"}, {"watched", true}, {"up", false}, {"trouble", "it answers 502"}, {"publishers", 1}},
                {{"name", "srs9"}, {"node", ""}, {"publish_url", "rtmp://srs9"}, {"watched", false}, {"up", false}, {"trouble", ""}, {"publishers", 0}}}));
    for (auto verb : {"cordon", "drain", "undrain"})
      route("POST", fmt::format("/api/v1/nodes/{{name}}/{}", verb), [](const request& r, responder answer) {
        if (r.param("name") == "foreign")
          answer.fail({error_code::forbidden, "this token may not do that"});
        else
          answer(http::empty_response(204));
      });
    route("DELETE", "/api/v1/nodes/{name}", nothing);
    route("GET", "/api/v1/edges", [this](const request&, responder answer) {
      auto items = json::array({{{"name", "edge-1"}, {"phase", "serving"}, {"weight", 0.5}, {"url", "http://e"}, {"load", {{"viewers", viewers.load()}, {"bits_per_second", 4.1e8}}}}});
      for (auto& one : more_edges)
        items.push_back(one);
      answer(http::json_response(200, {{"items", items}, {"next", nullptr}}));
      if (viewers > 0)
        --viewers;
    });
    route("GET", "/api/v1/autoscaler", same({{"on", false}}));
    for (auto verb : {"drain", "undrain"})
      route("POST", fmt::format("/api/v1/edges/{{name}}/{}", verb), nothing);
    route("GET", "/introspect", [this](const request& r, responder answer) {
      auto actor = [](std::string name, std::string kind, std::string on, json status = json::object()) {
        return json{{"name", name}, {"kind", kind}, {"node", on}, {"mailbox", 0}, {"uptime_seconds", 5.0}, {"status", status}, {"children", json::array()}};
      };
      auto root = actor("node", "node", "node-1");
      root["children"] = {{{"name", "edge-1"}, {"kind", "edge"}, {"mailbox", 2}, {"restarts", 1}, {"status", {{"pid", 77}}}, {"children", json::array()}}};
      json actors{root, actor("seat", "seat", "node-1", seat_status())}, silent = json::array();
      if (!r.query.has("here")) {
        actors.push_back(actor("uplink", "uplink", "node-2"));
        silent = {"node-3: not connected", "node-4: \x1b[2Jtimed out"};
      }
      answer(http::json_response(200, {{"actors", actors}, {"silent", silent}}));
    });
    route("GET", "/api/v1/events", [this](const request& r, responder answer) {
      auto one = [](int n) { return json{{"number", n}, {"at", "2026-11-22T10:00:00Z"}, {"kind", "stream-live"}, {"subject", "stream/main"}, {"text", fmt::format("event {}", n)}, {"actor", "hook"}}; };
      if (r.header("Accept").value_or("").find("event-stream") == std::string_view::npos) {
        auto after = std::stoi(r.query.find("after").value_or("0"));
        auto items = json::array();
        for (int n = after + 1; n <= std::min(after + 2, 5); ++n)
          items.push_back(one(n));
        auto next = items.empty() ? json() : items.back()["number"];
        return void(answer(http::json_response(200, {{"items", items}, {"next", next}})));
      }
      // Each connection tells two events and ends; the fourth says that some are missing, and stays.
      auto after = std::stoi(std::string(r.header("Last-Event-ID").value_or("0")));
      auto stream = answer.open_stream();
      if (after >= 6) {
        stream.send("", "gap", json{{"from", 7}, {"to", 8}}.dump());
        stream.send("9", "event", one(9).dump());
        std::lock_guard lock(guard);
        streams.push_back(stream);
        return;
      }
      stream.send(std::to_string(after + 1), "event", one(after + 1).dump());
      stream.send(std::to_string(after + 2), "event", one(after + 2).dump());
      stream.close();
    });
    ASSERT_TRUE(web.start());
    server = fmt::format("http://127.0.0.1:{}", web.port());
  }

  json seat_status() const {
    json status{{"leads", false}, {"leader", leader.load()}};
    if (etcd_seen)
      status.update(json{{"candidates", {"node-2", "node-4"}},
                         {"etcd", {{{"member", "https://e1:2379"}, {"up", true}, {"trouble", ""}}, {{"member", "https://e2:2379"}, {"up", false}, {"trouble", "it sleeps"}}}}});
    return status;
  }

  struct result {
    int status;
    std::string out, err;
  };
  /// Runs off a terminal, with the token in the environment.
  result weir(std::vector<std::string> arguments, std::map<std::string, std::string> more = {}) {
    std::map<std::string, std::string> environment{{"WEIR_SERVER", server}, {"WEIR_TOKEN", token}};
    for (auto& [name, value] : more)
      environment[name] = value;
    program p(std::move(arguments), environment);
    result r{p.wait(), p.out, p.err};
    EXPECT_EQ((r.out + r.err).find(token), std::string::npos) << "the token shows";
    return r;
  }
  std::string last_asked() {
    std::lock_guard lock(guard);
    return asked.empty() ? "" : asked.back();
  }
  bool was_asked(std::string_view beginning) {
    std::lock_guard lock(guard);
    return std::ranges::any_of(asked, [&](auto& a) { return a.starts_with(beginning); });
  }

  http::server web{{}};
  std::string server;
  std::mutex guard;
  std::vector<std::string> asked;
  std::vector<http::event_stream> streams;
  std::atomic<int> viewers{0};
  std::atomic<int> runs{-1}; ///< on the node "other", one fewer at each look; negative: it is not there
  std::vector<std::pair<std::string, std::string>> more_coordinators; ///< name and phase; settled before the first request
  json more_edges = json::array();
  std::atomic<const char*> leader{""};                                ///< as the seat of node-1 knows it
  std::atomic<bool> etcd_seen{false};                                 ///< by that seat
};

// --- exit statuses ------------------------------------------------------------------------------------------------------------

TEST_F(ClientCommands, Exit0WhenDone) {
  auto r = weir({"stream", "list"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.err, "");
}

TEST_F(ClientCommands, Exit1WhenTheServerCannotDoIt) {
  auto r = weir({"stream", "add", "taken"});
  EXPECT_EQ(r.status, 1);
  EXPECT_EQ(r.err, "weir: a stream taken exists\n");
}

TEST_F(ClientCommands, Exit2OnWrongUsageAndOnValuesThatCannotBeTaken) {
  EXPECT_EQ(weir({"stream", "show"}).status, 2);
  EXPECT_EQ(weir({"stream", "fly"}).status, 2);
  EXPECT_EQ(weir({"stream", "list", "-o", "xml"}).status, 2);
  EXPECT_EQ(weir({"stream", "set", "main"}).status, 2);
  EXPECT_EQ(weir({"stream", "list", "--server", "ftp://x"}).status, 2);
  EXPECT_EQ(weir({"task", "add", "main", "hls", "--set", "novalue"}).status, 2);
  EXPECT_EQ(weir({"task", "add", "main", "hls", "--options", "[1"}).status, 2);
  auto r = weir({"stream", "add", "wrong/name"});
  EXPECT_EQ(r.status, 2);
  EXPECT_EQ(r.err, "weir: 2 of the values sent cannot be taken\n  /name: has a slash\n  /app: is empty\n");
}

TEST_F(ClientCommands, Exit3WhenThereIsNoSuchThing) {
  auto r = weir({"stream", "show", "nobody"});
  EXPECT_EQ(r.status, 3);
  EXPECT_EQ(r.err, "weir: there is no stream nobody\n");
  EXPECT_EQ(weir({"task", "show", "nothing"}).status, 3);
  EXPECT_EQ(weir({"node", "show", "nowhere"}).status, 3);
  EXPECT_EQ(weir({"task-type", "show", "teleport"}).status, 3);
}

TEST_F(ClientCommands, Exit4WhenNoServerCanBeReached) {
  web.stop();
  auto r = weir({"status"});
  EXPECT_EQ(r.status, 4);
  EXPECT_NE(r.err.find(server), std::string::npos);
  EXPECT_EQ(weir({"events", "-f"}).status, 4);
  EXPECT_EQ(weir({"stream", "list", "--server", server + "," + server}).status, 4);
}

TEST_F(ClientCommands, Exit5WithoutPermission) {
  auto r = weir({"stream", "list"}, {{"WEIR_TOKEN", "weir_another"}});
  EXPECT_EQ(r.status, 5);
  EXPECT_EQ(r.err, "weir: this needs the API token\n");
  EXPECT_EQ(weir({"node", "cordon", "foreign"}).status, 5);
  EXPECT_EQ(weir({"events", "-f"}, {{"WEIR_TOKEN", "weir_another"}}).status, 5);
}

TEST_F(ClientCommands, AnAnswerThatIsNotWeirsIsAFailure) {
  http::server other{{}};
  other.route("GET", "/api/v1/tasks", {}, [](const request&, responder answer) { answer(http::text_response(200, "<html>hello</html>")); });
  other.route("GET", "/api/v1/nodes", {}, [](const request&, responder answer) { answer(http::text_response(200, std::string(5000, '[') + std::string(5000, ']'))); });
  other.route("GET", "/introspect", {}, [](const request&, responder answer) { answer(http::json_response(200, {{"actors", {{{"mailbox", "full"}}}}})); });
  ASSERT_TRUE(other.start());
  auto there = fmt::format("http://127.0.0.1:{}", other.port());
  for (auto& command : {std::vector<std::string>{"task", "show", "x"}, {"node", "list"}, {"introspect"}}) {
    auto r = weir(command, {{"WEIR_SERVER", there}});
    EXPECT_EQ(r.status, 1) << command[0];
    EXPECT_NE(r.err, "") << command[0];
  }
}

// --- finding the server, and the token -------------------------------------------------------------------------------------------

TEST_F(ClientCommands, TriesSeveralServersInOrder) {
  auto r = weir({"stream", "list", "--server", "http://127.0.0.1:1," + server + "/"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_NE(r.out.find("main"), std::string::npos);
}

TEST_F(ClientCommands, TakesTheTokenFromAPrivateFileOnly) {
  std::string folder = "/tmp/weir-cli-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  auto file = folder + "/token";
  std::ofstream(file) << token << "\n";
  ::chmod(file.c_str(), 0600);
  std::map<std::string, std::string> none{{"WEIR_TOKEN", ""}};
  EXPECT_EQ(weir({"stream", "list", "--token-file", file}, none).status, 0);
  EXPECT_EQ(weir({"stream", "list"}, {{"WEIR_TOKEN", ""}, {"WEIR_TOKEN_FILE", file}}).status, 0);
  EXPECT_EQ(weir({"stream", "list", "--token-file", folder + "/absent"}, none).status, 3);
  ::chmod(file.c_str(), 0644);
  auto r = weir({"stream", "list", "--token-file", file}, none);
  EXPECT_EQ(r.status, 5);
  EXPECT_NE(r.err.find(file), std::string::npos);
  std::filesystem::remove_all(folder);
}

TEST_F(ClientCommands, TheCommandLineGoesBeforeTheEnvironment) {
  EXPECT_EQ(weir({"stream", "list", "--token", "weir_another"}).status, 5);
  EXPECT_EQ(weir({"stream", "list", "--token", token}, {{"WEIR_TOKEN", "weir_another"}}).status, 0);
  EXPECT_EQ(weir({"stream", "list", "--server", server}, {{"WEIR_SERVER", "http://127.0.0.1:1"}}).status, 0);
}

TEST_F(ClientCommands, NoPasswordOfAnAddressIsShown) {
  auto r = weir({"stream", "list", "--server", "http://user:passw0rd@127.0.0.1:1"});
  EXPECT_EQ(r.status, 4);
  EXPECT_EQ(r.err.find("passw0rd"), std::string::npos) << r.err;
}

// --- what is printed --------------------------------------------------------------------------------------------------------------

TEST_F(ClientCommands, TablesAreAlignedAndHoldAllPages) {
  auto r = weir({"stream", "list"});
  EXPECT_EQ(r.out.substr(0, r.out.find('\n')), "STREAM  PHASE    ENABLED  APP   PUBLISHERS  LIVE FOR  TITLE") << r.out;
  EXPECT_NE(r.out.find("\nmain    live     yes      live           1"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("\nquiet   offline  yes      live           0         -"), std::string::npos) << r.out;
}

TEST_F(ClientCommands, TextFromElsewhereCannotSteerTheTerminal) {
  for (auto& command : {std::vector<std::string>{"stream", "list"}, {"stream", "show", "main"}, {"stream", "show", "main", "-o", "yaml"}, {"stream", "show", "main", "-o", "json"}})
    EXPECT_EQ(weir(command).out.find('\x1b'), std::string::npos) << command[1];
}

TEST_F(ClientCommands, JsonIsTheServersOwn) {
  auto r = weir({"stream", "list", "-o", "json"});
  auto items = json::parse(r.out);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0], stream());
  EXPECT_EQ(json::parse(weir({"task", "show", "2222", "-o", "json"}).out), task());
}

TEST_F(ClientCommands, YamlQuotesWhatWouldBeReadAsSomethingElse) {
  auto r = weir({"task", "show", "ladder", "-o", "yaml"});
  EXPECT_NE(r.out.find("options:\n  ladder: \"no\"\n"), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("phase: crash_looping\n"), std::string::npos) << r.out;
  EXPECT_NE(weir({"stream", "show", "main", "-o", "yaml"}).out.find("title: \"Ma\\u001b[2Jin: stage\""), std::string::npos);
}

TEST_F(ClientCommands, ColoursOnlyOnATerminalAndNotWithNoColor) {
  EXPECT_EQ(weir({"task", "list"}).out.find('\x1b'), std::string::npos);
  std::map<std::string, std::string> environment{{"WEIR_SERVER", server}, {"WEIR_TOKEN", token}};
  program coloured({"task", "list"}, environment, terminal::yes);
  EXPECT_EQ(coloured.wait(), 0);
  EXPECT_NE(coloured.out.find("\x1b[31;1mcrash_looping"), std::string::npos) << coloured.out;
  environment["NO_COLOR"] = "1";
  program plain({"task", "list"}, environment, terminal::yes);
  EXPECT_EQ(plain.wait(), 0);
  EXPECT_NE(plain.out.find("crash_looping"), std::string::npos);
  EXPECT_EQ(plain.out.find('\x1b'), std::string::npos);
}

TEST_F(ClientCommands, StatusShowsWhatIsWrong) {
  auto r = weir({"status"});
  EXPECT_EQ(r.status, 0) << r.err;
  for (auto text : {"not ready", "no edge serves", "2 streams: 1 live, 1 offline", "1 task: 1 crash_looping", "the encoder refused", "node-1", "edge-1", "410 Mbit/s"})
    EXPECT_NE(r.out.find(text), std::string::npos) << text << " in\n" << r.out;
  auto data = json::parse(weir({"status", "-o", "json"}).out);
  EXPECT_EQ(data["ready"], false);
  EXPECT_EQ(data["streams"]["live"], 1);
  EXPECT_EQ(data["nodes"][0]["name"], "node-1");
}

TEST_F(ClientCommands, StatusAndTopShowTheRtmpServers) {
  for (auto* command : {"status", "top"}) {
    auto out = weir({command}).out;
    EXPECT_NE(out.find("\nRTMP SERVER  LIST         NODE    PUBLISHERS  URL           WHY\n"
                       "left         up           node-1           3  rtmp://left   -\n"
                       "right        silent       -                1  rtmp://right  it answers 502\n"
                       "srs9         not watched  -                -  rtmp://srs9   -\n"),
              std::string::npos)
      << out;
    EXPECT_EQ(out.find("coordinators"), std::string::npos) << "of a single one there is nothing to say";
  }
  EXPECT_FALSE(was_asked("GET /introspect")) << "nor to ask";
  auto data = json::parse(weir({"status", "-o", "json"}).out);
  EXPECT_EQ(data["rtmp_servers"][1]["trouble"], "it answers 502");
  EXPECT_EQ(data["coordinators"], (json{{{"name", "node-1"}, {"phase", "ready"}, {"leads", nullptr}, {"stands_by", nullptr}}}));
  EXPECT_EQ(data["etcd"], json::array());
}

TEST_F(ClientCommands, StatusTellsWhoOfSeveralCoordinatorsLeads) {
  more_coordinators = {{"node-2", "ready"}, {"node-3", "down"}};
  leader = "node-2";
  EXPECT_NE(weir({"status"}).out.find("\n3 coordinators: node-1 stands by, node-2 leads, node-3 is down\n"), std::string::npos) << weir({"status"}).out;
  auto data = json::parse(weir({"status", "-o", "json"}).out);
  EXPECT_EQ(data["coordinators"][1], (json{{"name", "node-2"}, {"phase", "ready"}, {"leads", true}, {"stands_by", nullptr}}));
  EXPECT_EQ(data["coordinators"][0]["leads"], false);
  leader = ""; // or a node without a seat
  EXPECT_NE(weir({"status"}).out.find("\n3 coordinators: node-1 is ready, node-2 is ready, node-3 is down\n"), std::string::npos) << weir({"status"}).out;
}

TEST_F(ClientCommands, StatusAndTopShowWhoCouldTakeOverAndTheMembersOfEtcd) {
  more_coordinators = {{"node-2", "ready"}, {"node-3", "down"}, {"node-4", "ready"}};
  leader = "node-2";
  etcd_seen = true;
  for (auto* command : {"status", "top"}) {
    auto out = weir({command}).out;
    EXPECT_NE(out.find("\n4 coordinators: node-1 cannot take over, node-2 leads, node-3 is down, node-4 stands by\n"
                       "2 members of etcd: 1 serve\n"
                       "  https://e2:2379 it sleeps\n"),
              std::string::npos)
      << out;
  }
  auto data = json::parse(weir({"status", "-o", "json"}).out);
  EXPECT_EQ(data["coordinators"][0]["stands_by"], false);
  EXPECT_EQ(data["coordinators"][3]["stands_by"], true);
  EXPECT_EQ(data["etcd"][1]["trouble"], "it sleeps");
}

TEST_F(ClientCommands, IntrospectDrawsTheTreesOfAllNodesAndNamesTheSilentOnes) {
  const std::string here = "node-1\n"
                           "  node  up 5 s  mailbox 0\n"
                           "  └─ edge-1 (edge)  mailbox 2  restarts 1  pid=77\n"
                           "  seat  up 5 s  mailbox 0  leader=-  leads=no\n";
  EXPECT_EQ(weir({"introspect"}).out, here + "\nnode-2\n  uplink  up 5 s  mailbox 0\n\nsilent  node-3: not connected, node-4: ?[2Jtimed out\n");
  EXPECT_EQ(weir({"introspect", "--here"}).out, here);
  EXPECT_EQ(last_asked(), "GET /introspect?here ");
}

TEST_F(ClientCommands, TaskTypeShowsItsOptions) {
  auto r = weir({"task-type", "show", "hls"});
  EXPECT_NE(r.out.find("ladder  string   required  Name of the ladder."), std::string::npos) << r.out;
  EXPECT_NE(r.out.find("cores   integer  2"), std::string::npos) << r.out;
}

TEST_F(ClientCommands, HelpHasExamplesAndLeavesOutWhatIsNotThereYet) {
  auto r = weir({"task", "add", "--help"});
  EXPECT_EQ(r.status, 0);
  EXPECT_NE(r.out.find("Examples:\n  weir task add main hls"), std::string::npos);
  auto all = weir({"--help"}).out;
  for (auto later : {"\n  user ", "\n  token ", "\n  export ", "\n  diff ", "\n  apply ", "\n  backup ", "\n  restore ", "\n  import "})
    EXPECT_EQ(all.find(later), std::string::npos) << later;
}

// --- what is asked ----------------------------------------------------------------------------------------------------------------

TEST_F(ClientCommands, StreamChangesSendOnlyWhatWasNamed) {
  EXPECT_EQ(weir({"stream", "set", "main", "--title", "Day 2", "--disable"}).status, 0);
  EXPECT_EQ(last_asked(), fmt::format(R"(PATCH /api/v1/streams/{} {{"title":"Day 2","enabled":false}})", stream_id));
  EXPECT_EQ(weir({"stream", "add", "new", "--app", "in"}).status, 0);
  EXPECT_EQ(last_asked(), R"(POST /api/v1/streams {"app":"in","name":"new"})");
}

TEST_F(ClientCommands, SignsAddresses) {
  EXPECT_EQ(weir({"stream", "sign", "main", "--for", "30m"}).out, "http://live/t/t/hls/main/index.m3u8\n");
  EXPECT_EQ(last_asked(), fmt::format(R"(POST /api/v1/streams/{}/viewing-tokens {{"lifetime":"30m"}})", stream_id));
  EXPECT_EQ(nlohmann::json::parse(weir({"stream", "sign", "main", "-o", "json"}).out).at("token"), "t");
  EXPECT_EQ(weir({"stream", "rotate-viewing-key"}).status, 0);
  EXPECT_TRUE(was_asked("POST /api/v1/rotate-viewing-key"));
  EXPECT_EQ(weir({"stream", "set", "main", "--viewing", "signed"}).status, 0);
  EXPECT_EQ(last_asked(), fmt::format(R"(PATCH /api/v1/streams/{} {{"viewing":"signed"}})", stream_id));
  EXPECT_EQ(weir({"stream", "set", "main", "--viewing", "secret"}).status, 2);
}

TEST_F(ClientCommands, KeysKicksAndRemovals) {
  EXPECT_EQ(weir({"stream", "key", "main"}).out, "k3y\n");
  EXPECT_EQ(weir({"stream", "rotate-key", stream_id}).out, "n3w\n");
  EXPECT_EQ(weir({"stream", "key", "main", "-o", "json"}).out, "{\n  \"key\": \"k3y\"\n}\n");
  EXPECT_EQ(weir({"stream", "kick", "main"}).status, 0);
  EXPECT_TRUE(was_asked(fmt::format("POST /api/v1/streams/{}/kick", stream_id)));
  EXPECT_EQ(weir({"stream", "rm", "nobody", "main"}).status, 3) << "the first refusal decides";
  EXPECT_TRUE(was_asked(fmt::format("DELETE /api/v1/streams/{}", stream_id))) << "and the others are tried";
}

TEST_F(ClientCommands, RemovingAsksOnATerminal) {
  std::map<std::string, std::string> environment{{"WEIR_SERVER", server}, {"WEIR_TOKEN", token}};
  program asks({"stream", "rm", "main"}, environment, terminal::yes);
  ASSERT_TRUE(asks.says("[y/N]")) << asks.out;
  asks.type("n\n");
  EXPECT_EQ(asks.wait(), 1);
  EXPECT_FALSE(was_asked("DELETE"));
  program sure({"stream", "rm", "main", "--yes"}, environment, terminal::yes);
  EXPECT_EQ(sure.wait(), 0);
  EXPECT_TRUE(was_asked("DELETE"));
}

TEST_F(ClientCommands, TaskOptionsFollowTheSchema) {
  EXPECT_EQ(weir({"task", "add", "main", "hls", "--set", "ladder=720", "--set", "cores=3", "--name", "x"}).status, 0);
  EXPECT_EQ(last_asked(), fmt::format(R"(POST /api/v1/streams/{}/tasks {{"name":"x","options":{{"ladder":"720","cores":3}},"type":"hls"}})", stream_id));
  EXPECT_EQ(weir({"task", "set", "ladder", "--options", R"({"cores": 1})", "--set", "ladder=a=b", "--enable"}).status, 0);
  EXPECT_EQ(last_asked(), fmt::format(R"(PATCH /api/v1/tasks/{} {{"enabled":true,"options":{{"cores":1,"ladder":"a=b"}}}})", task_id));
  EXPECT_EQ(weir({"task", "retry", "2222"}).status, 0);
  EXPECT_EQ(weir({"task", "rm", task_id}).status, 0);
  EXPECT_TRUE(was_asked("DELETE /api/v1/tasks/" + task_id));
  EXPECT_NE(weir({"task", "list", "main"}).out.find("the encoder refused"), std::string::npos);
}

TEST_F(ClientCommands, EdgesAreShownWithWhomTheyAreNearToAndWhyThatDoesNotHold) {
  auto near = [](const char* name, const char* locality, const char* network, const char* phase, double bps) {
    return json{{"name", name}, {"phase", phase}, {"weight", 1.0}, {"url", "http://h"}, {"capacity", 1e9}, {"load", {{"bits_per_second", bps}}}, {"labels", {{"room", "1"}}},
                {"locality", locality}, {"networks", {network}}, {"networks_only", true}};
  };
  more_edges = {near("h-1", "hall", "10.20.0.0/16", "serving", 9.5e8), near("h-2", "hall", "10.20.0.0/16", "dead", 0), near("s-1", "stage", "10.20.0.0/16", "serving", 1e8),
                {{"name", "x-1"}, {"phase", "serving"}, {"weight", 1.0}, {"url", "http://x"}, {"locality_trouble", "one more than the 16"}, {"networks_only", true}}};
  auto listed = weir({"edge", "list"});
  EXPECT_EQ(listed.status, 0) << listed.err;
  EXPECT_NE(listed.out.find("NEAR TO"), std::string::npos) << listed.out;
  EXPECT_NE(listed.out.find("hall only"), std::string::npos) << listed.out;
  EXPECT_EQ(listed.out.find("10.20.0.0/16"), std::string::npos);
  auto r = weir({"edge", "list", "--explain"});
  EXPECT_EQ(r.status, 0) << r.err;
  for (auto text : {"h-1: label room is 1.\n", "hall (h-1, h-2): near to 10.20.0.0/16, and serves nobody else.\n",
                    "New viewers of hall go to other edges: h-1 is full: it sends 950 of 1000 Mbit/s; h-2 is dead.\n",
                    "10.20.0.0/16 is named by hall and stage: its viewers go to hall.\n", "x-1: whom it is near to is not used: one more than the 16. It serves nobody.\n"})
    EXPECT_NE(r.out.find(text), std::string::npos) << text << " in\n" << r.out;
  EXPECT_EQ(r.out.find("New viewers of stage"), std::string::npos);
}

TEST_F(ClientCommands, EdgesAreShownWithTheStreamsThatFewOfThemServe) {
  auto plain = [](const char* name) { return json{{"name", name}, {"phase", "serving"}, {"weight", 1.0}, {"url", "http://h"}}; };
  more_edges = {plain("edge-2")};
  auto r = weir({"edge", "list", "--explain"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.out.find(" edges serve "), std::string::npos) << "two of two are all:\n" << r.out;
  more_edges.push_back(plain("edge-3"));
  r = weir({"edge", "list", "--explain"});
  EXPECT_NE(r.out.find("2 of 3 edges serve main.\n"), std::string::npos) << "and not the one that is offline:\n" << r.out;
}

TEST_F(ClientCommands, DrainWaitsUntilNothingIsLeft) {
  viewers = 2;
  auto r = weir({"edge", "drain", "edge-1"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.out, "edge edge-1 drains\nedge edge-1: 2 viewers left\nedge edge-1: 1 viewer left\nedge edge-1 is drained\n");
  viewers = 1000;
  r = weir({"edge", "drain", "edge-1", "--deadline", "1ms"});
  EXPECT_EQ(r.status, 1);
  EXPECT_NE(r.err.find("goes on draining"), std::string::npos);
  EXPECT_EQ(weir({"edge", "drain", "edge-1", "--detach"}).out, "edge edge-1 drains\n");
  EXPECT_EQ(weir({"edge", "undrain", "edge-1"}).status, 0);
  runs = 2; // of no task: they were handed over, and go on until their successors deliver
  r = weir({"node", "drain", "other"});
  EXPECT_EQ(r.status, 0) << r.err;
  EXPECT_EQ(r.out, "node other drains\nnode other: 2 tasks left\nnode other: 1 task left\nnode other is drained\n");
  r = weir({"node", "drain", "node-1", "--deadline", "1ms"});
  EXPECT_NE(r.err.find("still has 1 task"), std::string::npos) << r.err;
  EXPECT_EQ(weir({"node", "rm", "other", "--dead"}).out, "node other is forgotten\n");
  EXPECT_NE(std::ranges::find(asked, "DELETE /api/v1/nodes/other?dead "), asked.end());
  EXPECT_EQ(weir({"node", "cordon", "node-1"}).out, "node node-1 takes no new tasks\n");
}

// --- following --------------------------------------------------------------------------------------------------------------------

TEST_F(ClientCommands, EventsAreListedToTheEnd) {
  auto r = weir({"events", "--after", "1", "-o", "json"});
  auto events = json::parse(r.out);
  ASSERT_EQ(events.size(), 4u) << r.out;
  EXPECT_EQ(events.back()["number"], 5);
  EXPECT_NE(weir({"events"}).out.find("event 2"), std::string::npos);
}

TEST_F(ClientCommands, FollowingGoesOnAfterTheLastEventOverLostConnections) {
  program p({"events", "-f", "-o", "json"}, {{"WEIR_SERVER", server}, {"WEIR_TOKEN", token}});
  ASSERT_TRUE(p.says("\"event 9\"")) << p.out << p.err;
  p.signal(SIGINT);
  EXPECT_EQ(p.wait(), 0);
  std::vector<int> numbers;
  for (std::size_t at = 0; at < p.out.size(); at = p.out.find('\n', at) + 1)
    numbers.push_back(json::parse(p.out.substr(at, p.out.find('\n', at) - at))["number"]);
  EXPECT_EQ(numbers, (std::vector{1, 2, 3, 4, 5, 6, 9}));
  EXPECT_NE(p.err.find("events 7 to 8 are no longer kept"), std::string::npos) << p.err;
  EXPECT_EQ((p.out + p.err).find(token), std::string::npos);
}

TEST_F(ClientCommands, TopDrawsOnATerminalUntilQAndPrintsOnceElsewhere) {
  auto once = weir({"top"});
  EXPECT_EQ(once.status, 0);
  EXPECT_EQ(once.out.find('\x1b'), std::string::npos);
  EXPECT_NE(once.out.find("node-1"), std::string::npos);
  for (auto [key, number] : {std::pair{"q", 0}, {"", SIGINT}}) {
    program p({"top"}, {{"WEIR_SERVER", server}, {"WEIR_TOKEN", token}}, terminal::yes);
    ASSERT_TRUE(p.says("q ends")) << p.out;
    EXPECT_NE(p.out.find("\x1b[?1049h"), std::string::npos);
    EXPECT_NE(p.out.find("crash_looping"), std::string::npos);
    number == 0 ? p.type(key) : p.signal(number);
    EXPECT_EQ(p.wait(), 0);
    EXPECT_NE(p.out.find("\x1b[?1049l"), std::string::npos) << "the terminal is given back";
  }
}

} // namespace
} // namespace weir
