// A real nginx as caching edge in front of a tiny origin.
#include "runtime/base/file.hpp"
#include "runtime/nginx/edge_config.hpp"
#include "runtime/nginx/edge_log.hpp"
#include "runtime/nginx/edge_probe.hpp"
#include "runtime/nginx/part_front.hpp"
#include "runtime/nginx/server.hpp"
#include "runtime/supervise/guard.hpp"
#include "runtime/viewing/viewing.hpp"
#include "tests/integration/nginx/certificates.hpp"
#include "tests/integration/nginx/surroundings.hpp"
#include "tests/integration/nginx/tiny_http.hpp"
#include "tests/unit/nginx/held_origin.hpp"

#include <algorithm>
#include <barrier>
#include <fmt/format.h>
#include <functional>
#include <future>
#include <gtest/gtest.h>
#include <list>
#include <sys/un.h>

using namespace weir;
using namespace weir::nginx;
using namespace surroundings;
using namespace certificates;
using supervise::process;

namespace {

/// What the configuration reads beside itself, as EDGE puts it there.
void write_script(const std::string& folder) {
  const auto written = write_file_atomically(fmt::format("{}/{}", folder, viewing_script_file), viewing_script(), 0600);
  ASSERT_TRUE(written) << written.error().text;
}

struct edge {
  folder home;
  edge_config config;
  int port = tiny_http::free_port();
  int status_port = tiny_http::free_port();
  expected<prefix> at = prefix::prepare(home / "edge");
  expected<edge_log_reader> log = edge_log_reader::open(home / "edge/log.sock", edge_name("edge-1"));
  process nginx;

  explicit edge(std::vector<std::string> origins) {
    config.listen = "127.0.0.1:" + std::to_string(port);
    config.status = "127.0.0.1:" + std::to_string(status_port);
    config.origins = std::move(origins);
    config.log_socket = home / "edge/log.sock";
    write_script(home / "edge");
  }
  explicit edge(const tiny_http::server& origin) : edge({"127.0.0.1:" + std::to_string(origin.port())}) {}

  void start() {
    ASSERT_TRUE(at) << at.error().text;
    ASSERT_TRUE(log) << log.error().text;
    const auto text = render(config);
    ASSERT_TRUE(text) << text.error().text;
    const auto installed = at->install(*text);
    ASSERT_TRUE(installed) << installed.error().text;
    start_again();
  }
  void start_again() {
    const auto swept = at->sweep();
    ASSERT_TRUE(swept) << swept.error().text;
    auto started = process::spawn(at->start());
    ASSERT_TRUE(started) << started.error().text;
    nginx = std::move(*started);
    ASSERT_TRUE(eventually([&] { return answers(); })) << last_line();
  }
  /// An edge with TLS answers plain HTTP too, with a complaint.
  bool answers() const { return tiny_http::ask(port, "/").status == (config.certificate.empty() ? 404 : 400); }
  std::string last_line() const {
    const auto lines = nginx.last_lines();
    return lines.empty() ? "" : lines.back();
  }
  ~edge() {
    nginx.stop(2s);
    nginx.wait(5s);
  }
};

/// An edge whose certificate is kept as EDGE keeps it.
struct tls_edge : edge {
  certificate_files files = new_certificate(home, "first");
  certificate_files served{home / "live.pem", home / "live.key"};
  certificate_keeper keeper{served, *at, "edge.pem"};

  explicit tls_edge(const tiny_http::server& origin) : edge(origin) {
    config.certificate = "edge.pem";
    put(files);
    const auto taken = keeper.take(text());
    EXPECT_TRUE(taken) << taken.error().text;
  }
  void put(const certificate_files& pair) {
    copy(pair.certificate, served.certificate);
    copy(pair.key, served.key);
  }
  certificate_keeper::text_with text() {
    return [this](const std::string& certificate) {
      auto other = config;
      other.certificate = certificate;
      return render(other);
    };
  }
  certificate_keeper::news look() { return keeper.look(text()); }
  std::string url(std::string_view target) const { return fmt::format("https://127.0.0.1:{}{}", port, target); }
  /// Whether a new connection is shown exactly this certificate.
  bool shows(const certificate_files& pair) const { return curl({"--cacert", pair.certificate, "-w", "%{http_code}", url("/s/a/1/r/1.ts")}) == "200"; }
};

constexpr std::size_t long_body = 32 << 20; ///< more than the buffers of two sockets hold

/// A download that stands still, with most of it to come, until it is told to go on. From the cache: before 1.25.4 a worker of
/// nginx that was asked to end may leave in the midst of a fetch that nothing slows down, because no timer runs while its thread pool reads.
class slow_download {
public:
  slow_download(const folder& home, const std::string& url) : file_(home / "download") {
    EXPECT_EQ(curl({"-k", "-w", "%{http_code}", url}), "200");
    auto started = process::spawn({.program = "curl", .arguments = {"-s", "-k", "--limit-rate", "16M", "-o", file_, "-w", "%{http_code} %{size_download}", url}});
    EXPECT_TRUE(started);
    curl_ = std::move(*started);
    EXPECT_TRUE(eventually([&] { return size() > 0; }));
    kill(curl_.pid(), SIGSTOP);
    EXPECT_LT(size(), long_body / 2) << "it was too fast to be stopped";
  }
  /// Lets it run to its end; what curl says of it.
  std::string end() {
    kill(curl_.pid(), SIGCONT);
    const auto status = curl_.wait(20s);
    const auto lines = curl_.last_lines();
    return (lines.empty() ? "" : lines.back()) + (!status ? "(hangs)" : status->ok() ? "" : fmt::format("({})", status->code));
  }

private:
  std::size_t size() const {
    std::error_code absent;
    const auto bytes = std::filesystem::file_size(file_, absent);
    return absent ? 0 : bytes;
  }
  std::string file_;
  process curl_;
};

std::string address(const tiny_http::server& origin) { return "127.0.0.1:" + std::to_string(origin.port()); }

/// How many of two hundred viewers who ask at one instant, each for the target of its number, get this body.
int served_of_two_hundred(int port, std::string_view body, const std::function<std::string(int)>& target) {
  std::atomic<int> served{0};
  std::barrier together(200);
  std::vector<std::jthread> viewers;
  for (int i = 0; i < 200; ++i)
    viewers.emplace_back([&, i] {
      together.arrive_and_wait();
      const auto got = tiny_http::ask(port, target(i));
      served += got.status == 200 && got.body == body;
    });
  viewers.clear();
  return served;
}

constexpr std::string_view cors = "Access-Control-Allow-Origin: *", exposed = "Access-Control-Expose-Headers: Age, Date, Retry-After";

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t n = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1))
    ++n;
  return n;
}

} // namespace

TEST(Edge, FetchesAColdSegmentOnceForTwoHundredViewers) {
  const std::string body(50000, 's');
  tiny_http::server origin([&](const auto&) {
    std::this_thread::sleep_for(120ms); // an origin far away
    return tiny_http::response(200, body, "Cache-Control: public, max-age=600\r\n");
  });
  edge one(origin);
  one.start();
  EXPECT_EQ(served_of_two_hundred(one.port, body, [](int i) { return fmt::format("/s/hall~17/1/720p/5.ts?session={}", i); }), 200);
  EXPECT_EQ(origin.requests(), 1);

  // Its log says the same.
  edge_load load;
  ASSERT_TRUE(eventually([&] {
    const auto next = one.log->sample();
    load.requests += next.requests;
    load.bits_per_second = std::max(load.bits_per_second, next.bits_per_second);
    load.viewers = std::max(load.viewers, next.viewers);
    return load.bits_per_second > 0;
  }));
  EXPECT_EQ(load.viewers, 1u) << "one address, one agent";
  const auto asked = [&] { return one.log->totals().hits + one.log->totals().misses; };
  const auto of_the_crowd = asked(); // nginx drops lines rather than wait for who reads them, so it may be fewer
  ASSERT_TRUE(eventually([&] {
    EXPECT_EQ(tiny_http::ask(one.port, "/s/" + std::string(70, 'x') + "~17/1/720p/5.ts").status, 200) << "nobody's name is that long";
    return asked() > of_the_crowd;
  }));
  const auto streams = one.log->totals_by_stream();
  ASSERT_EQ(streams.size(), 1u);
  EXPECT_EQ(streams.begin()->first, "hall");
  const auto& hall = streams.begin()->second;
  EXPECT_GT(hall.hits + hall.misses, 0u);
  EXPECT_LE(hall.hits + hall.misses, 200u);
  EXPECT_GE(hall.bytes, (hall.hits + hall.misses) * body.size());
  EXPECT_EQ(one.log->unreadable(), 0u);
}

TEST(Edge, FetchesASegmentOnceThatTakesLongerThanNginxsOwnPatience) {
  const std::string body(50000, 's');
  tiny_http::server origin([&](const auto&) {
    std::this_thread::sleep_for(6s); // nginx alone lets each viewer ask for itself after 5
    return tiny_http::response(200, body);
  });
  edge one(origin);
  one.start();
  EXPECT_EQ(served_of_two_hundred(one.port, body, [](int) { return "/s/hall~17/1/720p/5.ts"; }), 200);
  EXPECT_EQ(origin.requests(), 1);
}

TEST(Edge, ServesRangesOfWhatItHasFetchedWhole) {
  std::atomic<bool> asked_for_a_part{false};
  tiny_http::server origin([&](const auto& request) {
    asked_for_a_part = asked_for_a_part || request.head.find("Range:") != std::string::npos;
    return tiny_http::response(200, "0123456789", "Accept-Ranges: bytes\r\nETag: \"1\"\r\n");
  });
  edge one(origin);
  one.start();
  for (const auto* cache : {"X-Cache: MISS", "X-Cache: HIT"}) {
    const auto part = tiny_http::ask(one.port, "/s/a/1/r/1.m4s", "GET", "Range: bytes=2-4\r\n");
    EXPECT_EQ(part.status, 206);
    EXPECT_EQ(part.body, "234");
    EXPECT_TRUE(part.has("Content-Range: bytes 2-4/10") && part.has(cache)) << part.head;
  }
  const auto whole = tiny_http::ask(one.port, "/s/a/1/r/1.m4s");
  EXPECT_EQ(whole.body, "0123456789");
  EXPECT_TRUE(whole.has("X-Cache: HIT")) << whole.head;
  EXPECT_EQ(origin.requests(), 1);
  EXPECT_FALSE(asked_for_a_part);
}

TEST(Edge, KeepsTheCorsHeaderExactlyOnceOnEveryStatus) {
  tiny_http::server origin([](const auto& request) {
    const auto status = request.target().ends_with("/404.ts") ? 404 : request.target().ends_with("/503.ts") ? 503 : 200;
    return tiny_http::response(status, "x",
                               "Access-Control-Allow-Origin: https://elsewhere\r\nAccess-Control-Expose-Headers: X-Own\r\n"
                               "Accept-Ranges: bytes\r\nVary: Origin\r\nSet-Cookie: a=b\r\n");
  });
  const auto once = [](const tiny_http::answer& got, int status, const std::string& what) {
    EXPECT_EQ(got.status, status) << what;
    EXPECT_EQ(count(got.head, "Access-Control-Allow-Origin"), 1u) << what;
    EXPECT_EQ(count(got.head, "Access-Control-Expose-Headers"), 1u) << what;
    EXPECT_TRUE(got.has(cors) && got.has(exposed)) << what << "\n" << got.head;
    EXPECT_FALSE(got.has("Set-Cookie") || got.has("Vary")) << what;
  };
  edge one(origin);
  one.start();
  for (const auto& [target, method, status] : {std::tuple{"/s/a/1/r/1.ts", "GET", 200}, {"/s/a/1/r/404.ts", "GET", 404}, {"/s/a/1/r/503.ts", "GET", 503},
                                               {"/other", "GET", 404}, {"/s/../etc/passwd", "GET", 404}, {"/s/a/1/r/1.ts", "OPTIONS", 204},
                                               {"/s/a/1/r/1.ts", "POST", 405}, {"/s/a/1/r/1.ts", "DELETE", 405}, {"/other", "PUT", 405}})
    once(tiny_http::ask(one.port, target, method), status, fmt::format("{} {}", method, target));
  for (const auto& [range, status] : {std::pair{"0-0", 206}, {"7-", 416}})
    once(tiny_http::ask(one.port, "/s/a/1/r/1.ts", "GET", fmt::format("Range: bytes={}\r\n", range)), status, range);
  for (const auto* page : {"https://one", "https://two"}) {
    const auto again = tiny_http::ask(one.port, "/s/a/1/r/1.ts", "GET", fmt::format("Origin: {}\r\n", page));
    once(again, 200, page);
    EXPECT_TRUE(again.has("X-Cache: HIT")) << "neither a cookie nor Vary makes a viewer's copy of its own: " << again.head;
  }
  edge alone({"127.0.0.1:" + std::to_string(tiny_http::free_port())});
  alone.start();
  once(tiny_http::ask(alone.port, "/s/a/1/r/1.ts"), 502, "nobody is there");
}

namespace {

/// What an observer that knows what the origin has finds out about an edge. As often as asked, each time of another segment.
struct prober {
  std::string body = std::string(300'000, 's');
  http::client client{{}};
  steering::edge_watch watch;
  int asked = 0;

  steering::probe_result probe(int port, std::chrono::milliseconds deadline = 1s) {
    std::promise<steering::probe_result> ended;
    edge_probe wanted{.url = fmt::format("http://127.0.0.1:{}", port), .newest = {fmt::format("/s/a~1/1/r/{}.ts", ++asked), body.size(), head_digest(body)}, .deadline = deadline, .authorities = {}};
    send_probe(client, wanted, [&](auto result) { ended.set_value(std::move(result)); });
    auto result = ended.get_future().get();
    watch.probe(result);
    return result;
  }
};

constexpr std::string_view caching = "Cache-Control: public, max-age=3600, immutable\r\n";

} // namespace

TEST(EdgeProbe, IsContentWithAnEdgeColdOrWarm) {
  prober eye;
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, eye.body, caching); });
  edge one(origin);
  one.start();
  for (int i = 0; i < 5; ++i)
    EXPECT_EQ(eye.probe(one.port).trouble, "");
  EXPECT_EQ(origin.requests(), 5);
  eye.asked = 0;
  EXPECT_EQ(eye.probe(one.port).trouble, "");
  EXPECT_EQ(origin.requests(), 5) << "from the cache";
  EXPECT_EQ(eye.watch.view({}), edge_view::up);
}

TEST(EdgeProbe, SeesOtherBytesATruncatedSegmentAndAnOldOne) {
  prober eye;
  std::string served = eye.body;
  served[100] = 'x';
  std::atomic<int> status{200};
  tiny_http::server origin([&](const auto&) { return tiny_http::response(status, served, caching); });
  edge one(origin);
  one.start();
  EXPECT_EQ(eye.probe(one.port).trouble, "other bytes than the origin's");
  EXPECT_EQ(eye.probe(one.port).trouble, "other bytes than the origin's");
  EXPECT_EQ(eye.watch.view({}), edge_view::suspect);
  served = eye.body.substr(0, 200'000);
  EXPECT_EQ(eye.probe(one.port).trouble, "the segment has 200000 bytes there, 300000 at the origin");
  status = 404; // what it has is old
  EXPECT_EQ(eye.probe(one.port).trouble, "status 404");
}

TEST(EdgeProbe, SeesHeadersThatPlayersDoNotTake) {
  prober eye;
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, eye.body, "Cache-Control: no-store\r\n"); });
  edge one(origin);
  one.start();
  EXPECT_EQ(eye.probe(one.port).trouble, "Cache-Control is \"no-store\": players and caches could not keep it");
  EXPECT_EQ(eye.probe(origin.port()).trouble, "no Access-Control-Allow-Origin: browsers could not play");
  tiny_http::server twice([&](const auto&) {
    return tiny_http::response(200, eye.body, std::string(caching) + "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Origin: *\r\n");
  });
  EXPECT_EQ(eye.probe(twice.port()).trouble, "Access-Control-Allow-Origin more than once: browsers could not play");
}

TEST(EdgeProbe, TellsASlowEdgeFromADeadOne) {
  prober eye;
  std::atomic<int> wait{600};
  tiny_http::server origin([&](const auto&) {
    std::this_thread::sleep_for(std::chrono::milliseconds(wait));
    return tiny_http::response(200, eye.body, caching);
  });
  edge one(origin);
  one.start();
  for (int i = 0; i < 3; ++i) {
    auto result = eye.probe(one.port, 3s);
    EXPECT_EQ(result.trouble, "");
    EXPECT_GE(result.took, 600ms);
  }
  EXPECT_EQ(eye.watch.view({}), edge_view::brown_out);
  wait = 2000;
  EXPECT_FALSE(eye.probe(one.port, 300ms).good);
  EXPECT_FALSE(eye.probe(one.port, 300ms).good);
  EXPECT_EQ(eye.watch.view({}), edge_view::suspect);
}

namespace {

std::int64_t unix_now() { return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// An edge in front of an origin that has a stream which is watched by signed addresses only, and another.
struct signed_edge {
  const viewing_key key = viewing::key_of("0123456789abcdefghijklmnopqrstuv");
  const std::string body = std::string(50'000, 's');
  tiny_http::server origin{[this](const auto& request) {
    const auto target = request.target();
    const auto at = viewing::split(target);
    const bool bare = at.token.empty() && at.path.starts_with("/s/hall~");
    const int status = bare ? 403 : at.path.ends_with("/404.ts") ? 404 : at.path.ends_with("/503.ts") ? 503 : 200;
    return tiny_http::response(status, bare ? "no token" : body, "Access-Control-Allow-Origin: https://elsewhere\r\nCache-Control: public, max-age=600\r\n");
  }};
  edge one{origin};

  signed_edge() { one.config.viewing_keys = {key}; }
  std::string signed_path(std::string_view path, std::int64_t lasts = 60, std::string_view stream = "hall") const {
    return fmt::format("/t/{}{}", viewing::make_token(key, stream, unix_now() + lasts), path);
  }
};

} // namespace

TEST(EdgeViewing, OneOriginRequestForTwoHundredViewersWithTokensOfTheirOwn) {
  signed_edge at;
  at.one.start();
  EXPECT_EQ(served_of_two_hundred(at.one.port, at.body, [&](int i) { return at.signed_path(fmt::format("/s/hall~17/1/720p/5.ts?session={}", i), 60 + i); }), 200);
  EXPECT_EQ(at.origin.requests(), 1);
}

TEST(EdgeViewing, MoreThanNinetyEightOfAHundredComeFromTheCache) {
  signed_edge at;
  at.one.start();
  int hits = 0, asked = 0;
  for (int segment = 0; segment < 10; ++segment)
    for (int viewer = 0; viewer < 60; ++viewer) {
      const auto got = tiny_http::ask(at.one.port, at.signed_path(fmt::format("/s/hall~17/1/720p/{}.ts", segment), 60 + viewer));
      ASSERT_EQ(got.status, 200);
      hits += got.has("X-Cache: HIT");
      ++asked;
    }
  EXPECT_GT(hits, asked * 98 / 100) << "issue: above 98 % with tokens on";
  EXPECT_EQ(at.origin.requests(), 10);
}

TEST(EdgeViewing, RefusesWhoHasNoGoodTokenEvenWhenTheSegmentIsInTheCache) {
  signed_edge at;
  at.one.start();
  const std::string path = "/s/hall~17/1/720p/5.ts";
  ASSERT_EQ(tiny_http::ask(at.one.port, at.signed_path(path)).status, 200);
  const auto good = at.signed_path(path);
  auto forged = good;
  forged[good.find("/s/") - 1] = forged[good.find("/s/") - 1] == '0' ? '1' : '0';
  auto longer = good;
  ++longer[4]; // a later expiry under the same signature
  const auto stranger = viewing::make_token(viewing::key_of("another-secret-of-thirty-two-and-more"), "hall", unix_now() + 60);
  for (const auto& [what, target] : {std::pair{"forged", forged}, {"lasts longer", longer}, {"cut", good.substr(0, 20) + path}, {"none", path},
                                     {"of another key", "/t/" + stranger + path}, {"of another stream", at.signed_path(path, 60, "other")}, {"expired", at.signed_path(path, -1)},
                                     {"overlong", "/t/" + std::string(3000, '1') + path}}) {
    const auto got = tiny_http::ask(at.one.port, target);
    EXPECT_EQ(got.status, 403) << what;
    EXPECT_EQ(count(got.head, "Access-Control-Allow-Origin"), 1u) << what;
    EXPECT_TRUE(got.has(cors)) << what;
    EXPECT_LT(got.body.size(), 1000u) << what;
  }
  for (const auto& target : {"/t/" + path, good.substr(0, good.find("/s/")) + good})
    EXPECT_EQ(tiny_http::ask(at.one.port, target).status, 404) << "no address at all: " << target;
  EXPECT_NE(tiny_http::ask(at.one.port, at.signed_path(path, -1)).body.find("expired"), std::string::npos);
  EXPECT_EQ(at.origin.requests(), 2) << "the segment, and that it is not served without a token";
  EXPECT_TRUE(tiny_http::ask(at.one.port, good).has("X-Cache: HIT"));
}

TEST(EdgeViewing, NotThereYetIsNeverForbidden) {
  signed_edge at;
  at.one.start();
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/404.ts")).status, 404);
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/503.ts")).status, 503);
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/other")).status, 404);
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/5.ts"), "OPTIONS").status, 204);
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/5.ts"), "POST").status, 405);
}

TEST(EdgeViewing, SaysThatItKnowsNobodyYetUntilItHasAKey) {
  signed_edge at;
  at.one.config.viewing_keys.clear();
  at.one.config.parts = "127.0.0.1:1";
  at.one.start();
  for (const auto* path : {"/s/hall~17/1/720p/5.ts", "/s/hall~17/1/720p/5.0.m4s"}) {
    const auto got = tiny_http::ask(at.one.port, at.signed_path(path));
    EXPECT_EQ(got.status, 503) << path;
    EXPECT_EQ(count(got.head, "Retry-After: 1"), 1u) << got.head;
    EXPECT_EQ(count(got.head, "Access-Control-Allow-Origin"), 1u) << got.head;
    EXPECT_TRUE(got.has(cors)) << got.head;
    EXPECT_NE(got.body.find("try again"), std::string::npos) << got.body;
  }
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/5.ts"), "OPTIONS").status, 204);
  EXPECT_EQ(tiny_http::ask(at.one.port, "/t/no-token/s/hall~17/1/720p/5.ts").status, 403) << "no key makes that one good";
  EXPECT_EQ(tiny_http::ask(at.one.port, "/s/other~1/1/r/1.ts").status, 200) << "open streams wait for no key";
  EXPECT_EQ(at.origin.requests(), 1);
}

TEST(EdgeViewing, LeavesOpenStreamsAsTheyAreAndCountsAll) {
  signed_edge at;
  at.one.start();
  EXPECT_EQ(tiny_http::ask(at.one.port, "/s/other~1/1/r/1.ts").status, 200);
  EXPECT_TRUE(tiny_http::ask(at.one.port, "/s/other~1/1/r/1.ts").has("X-Cache: HIT"));
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path("/s/hall~17/1/720p/5.ts")).status, 200);
  ASSERT_TRUE(eventually([&] { return at.one.log->totals_by_stream().size() == 2; }));
  EXPECT_TRUE(at.one.log->totals_by_stream().contains("hall"));
}

TEST(EdgeViewing, TakesAnotherKeyWithAReload) {
  signed_edge at;
  at.one.start();
  const std::string path = "/s/hall~17/1/720p/5.ts";
  const auto next = viewing::key_of("another-secret-of-thirty-two-and-more");
  const auto with_next = "/t/" + viewing::make_token(next, "hall", unix_now() + 60) + path;
  EXPECT_EQ(tiny_http::ask(at.one.port, with_next).status, 403);
  at.one.config.viewing_keys = {next, at.key};
  ASSERT_TRUE(at.one.at->install(*render(at.one.config)));
  at.one.nginx.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return tiny_http::ask(at.one.port, with_next).status == 200; }));
  EXPECT_EQ(tiny_http::ask(at.one.port, at.signed_path(path)).status, 200);
}

namespace {

std::string part_path(int number) { return fmt::format("/s/hall~17/65536/720p/5.{}.m4s", number); }

/// An edge with its front, as EDGE puts them together.
struct part_edge {
  weir::testing::held_origin origin;
  std::unique_ptr<part_front> front;
  edge one{{origin.address()}};
  viewing_key key = viewing::key_of("0123456789abcdefghijklmnopqrstuv");

  part_edge() {
    auto opened = part_front::open({.origins = {origin.address()}});
    EXPECT_TRUE(opened) << opened.error().text;
    front = std::move(*opened);
    one.config.parts = front->address();
    one.config.viewing_keys = {key};
    one.start();
  }
  std::string signed_path(const std::string& path, std::int64_t lasts) const {
    return fmt::format("/t/{}{}", viewing::make_token(key, "hall", unix_now() + lasts), path);
  }
  bool wait_for(std::size_t requests) const {
    return eventually([&] { return front->now().waiting == requests; });
  }
  tiny_http::answer ask(const std::string& target, const std::string& method = "GET") const { return tiny_http::ask(one.port, target, method); }
};

/// Viewers that ask each from a connection of its own.
class part_crowd {
public:
  part_crowd(int port, std::vector<std::string> targets) : answers_(targets.size()), at_(targets.size()) {
    for (std::size_t i = 0; i < targets.size(); ++i)
      threads_.emplace_back([this, i, port, target = targets[i]] {
        answers_[i] = tiny_http::ask(port, target);
        at_[i] = std::chrono::steady_clock::now();
      });
  }
  const std::vector<tiny_http::answer>& all() {
    for (auto& one : threads_)
      one.join();
    threads_.clear();
    return answers_;
  }
  std::chrono::steady_clock::time_point last() const { return std::ranges::max(at_); }

private:
  std::vector<tiny_http::answer> answers_;
  std::vector<std::chrono::steady_clock::time_point> at_;
  std::vector<std::thread> threads_;
};

} // namespace

TEST(EdgeParts, TwoHundredViewersOfAPartThatIsStillMadeGetItWhenItIsThere) {
  part_edge at;
  auto soonest = std::chrono::steady_clock::duration::max();
  for (int number = 0; number < 3; ++number) {
    part_crowd viewers(at.one.port, std::vector<std::string>(200, part_path(number) + "?session=1"));
    ASSERT_TRUE(at.wait_for(200)) << "not in nginx, whose lock would look for it every 500 ms";
    const std::string bytes(50'000, static_cast<char>('a' + number));
    const auto made = std::chrono::steady_clock::now();
    EXPECT_EQ(at.origin.answer(200, bytes), part_path(number));
    int served = 0, fetched = 0;
    for (auto& got : viewers.all()) {
      served += got.status == 200 && got.body == bytes;
      fetched += got.has("X-Cache: MISS");
    }
    EXPECT_EQ(served, 200);
    EXPECT_EQ(fetched, 1);
    EXPECT_EQ(at.origin.asked(), number + 1);
    soonest = std::min(soonest, viewers.last() - made);
  }
  RecordProperty("last_answer_after_ms", static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(soonest).count())); // 500 where nginx looks for it itself
  const auto front = at.front->now();
  EXPECT_EQ(front.asked, 3u);
  EXPECT_EQ(front.joined, 597u);

  // Its log says what the front did.
  ASSERT_TRUE(eventually([&] { return at.ask(part_path(0)).status == 200 && at.one.log->totals_by_stream().contains("hall") && at.one.log->totals().misses > 0; }));
  EXPECT_LE(at.one.log->totals().misses, 3u);
  EXPECT_GT(at.one.log->totals().hits, 0u);
  EXPECT_EQ(at.one.log->unreadable(), 0u);
}

TEST(EdgeParts, EverythingElseGoesThroughTheCacheAsBefore) {
  part_edge at;
  for (const std::string path : {"/s/hall~17/65536/720p/5.m4s", "/s/hall~17/65536/720p/init.mp4", "/s/hall~17/65536/720p/5.ts", "/s/hall~17/65536/720p/5.x.m4s"})
    for (const auto& target : {path, at.signed_path(path, 60)}) {
      part_crowd first(at.one.port, {target});
      at.origin.answer(200, "body");
      EXPECT_TRUE(first.all().front().has("X-Cache: MISS")) << target;
      EXPECT_TRUE(at.ask(target).has("X-Cache: HIT")) << target;
    }
  EXPECT_EQ(at.front->now().asked, 0u);
}

TEST(EdgeParts, ViewersWithTokensOfTheirOwnShareOneOriginRequestAndOthersGetNothing) {
  part_edge at;
  std::vector<std::string> targets;
  for (int i = 0; i < 100; ++i)
    targets.push_back(at.signed_path(part_path(0), 60 + i));
  part_crowd viewers(at.one.port, targets);
  ASSERT_TRUE(at.wait_for(100));
  EXPECT_TRUE(at.origin.answer(200, "part").starts_with("/t/")) << "the origin judges the token, too";
  EXPECT_TRUE(std::ranges::all_of(viewers.all(), [](auto& got) { return got.status == 200 && got.body == "part"; }));
  EXPECT_EQ(at.origin.asked(), 1);
  auto forged = targets.front();
  forged[forged.find("/s/") - 1] = forged[forged.find("/s/") - 1] == '0' ? '1' : '0';
  for (const auto& target : {forged, at.signed_path(part_path(0), -1)}) {
    EXPECT_EQ(at.ask(target).status, 403) << target;
    EXPECT_EQ(count(at.ask(target).head, "Access-Control-Allow-Origin"), 1u);
  }
  EXPECT_EQ(at.origin.asked(), 1);
  part_crowd stranger(at.one.port, {part_path(0)});
  EXPECT_EQ(at.origin.answer(403), part_path(0)) << "whether it needs a token is the origin's to say";
  EXPECT_EQ(stranger.all().front().status, 403);
}

TEST(EdgeParts, KeepsNoErrorAndTheCorsHeaderExactlyOnce) {
  part_edge at;
  for (int status : {404, 503, 200}) {
    part_crowd viewer(at.one.port, {part_path(status == 404 ? 2 : 0)}); // that there is none is kept for a moment
    at.origin.answer(status, "x");
    const auto& got = viewer.all().front();
    EXPECT_EQ(got.status, status);
    EXPECT_EQ(count(got.head, "Access-Control-Allow-Origin"), 1u) << got.head;
    EXPECT_EQ(count(got.head, "X-Cache"), status == 200 ? 1u : 0u) << got.head;
  }
  const auto beyond = tiny_http::ask(at.one.port, part_path(0), "GET", "Range: bytes=7-\r\n");
  EXPECT_EQ(beyond.status, 416) << "the front says so itself";
  EXPECT_EQ(count(beyond.head, "Access-Control-Allow-Origin"), 1u) << beyond.head;
  EXPECT_EQ(at.ask(part_path(0), "OPTIONS").status, 204);
  EXPECT_EQ(at.ask(at.signed_path(part_path(0), 60), "OPTIONS").status, 204);
  EXPECT_EQ(at.ask(part_path(0), "POST").status, 405);

  part_crowd last(at.one.port, {part_path(1), part_path(1)});
  ASSERT_TRUE(at.wait_for(2));
  at.front.reset();
  for (auto& got : last.all()) {
    EXPECT_EQ(got.status, 503);
    EXPECT_TRUE(got.has("Retry-After: 1") && got.has(cors)) << got.head;
  }
  EXPECT_EQ(at.ask(part_path(1)).status, 502);
}

TEST(EdgeParts, AReloadLosesNobodyWhoWaits) {
  part_edge at;
  part_crowd viewers(at.one.port, std::vector<std::string>(20, part_path(0)));
  ASSERT_TRUE(at.wait_for(20));
  const auto before = nginx_in(at.one.at->path());
  at.one.nginx.signal(SIGHUP);
  ASSERT_TRUE(eventually([&] { return nginx_in(at.one.at->path()) != before && at.one.answers(); }));
  part_crowd later(at.one.port, std::vector<std::string>(5, part_path(0)));
  ASSERT_TRUE(at.wait_for(25));
  at.origin.answer(200, "part");
  for (auto* crowd : {&viewers, &later})
    for (auto& got : crowd->all())
      EXPECT_EQ(got.body, "part") << got.status;
  EXPECT_EQ(at.origin.asked(), 1);
}

TEST(Edge, ForgetsThatSomethingWasAbsentAfterASecond) {
  std::atomic<bool> there{false};
  tiny_http::server origin([&](const auto&) { return there ? tiny_http::response(200, "now") : tiny_http::response(404, "", "Cache-Control: max-age=3600\r\n"); });
  edge one(origin);
  one.start();
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(tiny_http::ask(one.port, "/s/a/1/r/9.ts").status, 404);
  EXPECT_LE(origin.requests(), 2) << "an absent object costs the origin one request a second";
  there = true;
  EXPECT_TRUE(eventually([&] { return tiny_http::ask(one.port, "/s/a/1/r/9.ts").status == 200; }, 3s));
}

TEST(Edge, AsksTheOtherOriginWhenOneDoesNotHaveItOrIsDead) {
  tiny_http::server without([](const auto&) { return tiny_http::response(404, ""); });
  tiny_http::server with([](const auto&) { return tiny_http::response(200, "here"); });
  edge one({address(without), "127.0.0.1:" + std::to_string(tiny_http::free_port()), address(with)});
  one.start();
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(tiny_http::ask(one.port, "/s/a/1/r/" + std::to_string(i) + ".ts").body, "here");
}

TEST(Edge, AsksTheNextOriginWhateverTheOthersFailWith) {
  std::list<tiny_http::server> failing;
  std::vector<std::string> origins;
  for (int status : {500, 502, 503, 504}) {
    failing.emplace_back([status](const auto&) { return tiny_http::response(status, "failed"); });
    origins.push_back(address(failing.back()));
  }
  tiny_http::server with([](const auto&) { return tiny_http::response(200, "here"); });
  origins.push_back(address(with));
  edge one(origins);
  one.start();
  const auto got = tiny_http::ask(one.port, "/s/a/1/r/1.ts");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, "here");
  for (auto& each : failing)
    EXPECT_EQ(each.requests(), 1) << "each had its turn";
}

TEST(Edge, LeavesAnOriginThatHangsForAnotherWithinTwoSecondsAndThenAlone) {
  std::promise<void> end;
  tiny_http::server hangs([ended = end.get_future().share()](const auto&) {
    ended.wait();
    return tiny_http::response(200, "late");
  });
  tiny_http::server with([](const auto&) { return tiny_http::response(200, "here"); });
  edge one({address(hangs), address(with)});
  one.start();
  const auto asked = std::chrono::steady_clock::now();
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(tiny_http::ask(one.port, fmt::format("/s/a/1/r/{}.ts", i)).body, "here");
    EXPECT_EQ(hangs.requests(), 1) << "whoever comes next does not wait for it again";
  }
  EXPECT_LT(std::chrono::steady_clock::now() - asked, 4s) << "2 s, and what a busy machine adds";
  end.set_value();
}

TEST(Edge, KeepsItsConnectionToAnOriginWhateverIsAskedFor) {
  tiny_http::server origin([](const auto& request) {
    const bool there = request.target().starts_with("/s/a/");
    return tiny_http::response(there ? 200 : 404, there ? "here" : "absent");
  });
  edge one(origin);
  one.start();
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(tiny_http::ask(one.port, fmt::format("/s/a/1/r/{}.ts", i)).status, 200);
    EXPECT_EQ(tiny_http::ask(one.port, fmt::format("/s/nobody-{}~1/1/r/1.ts", i)).status, 404);
  }
  EXPECT_EQ(origin.requests(), 40);
  EXPECT_EQ(origin.connections(), 1u) << "nor does a stream that does not exist cost one";
}

TEST(Edge, ServesFromItsCacheWhileTheOriginIsGone) {
  auto origin = std::make_unique<tiny_http::server>([](const auto&) { return tiny_http::response(200, "kept", "Cache-Control: no-store\r\n"); });
  edge one(*origin);
  one.start();
  EXPECT_TRUE(tiny_http::ask(one.port, "/s/a/1/r/1.ts").has("X-Cache: MISS"));
  origin.reset();
  const auto again = tiny_http::ask(one.port, "/s/a/1/r/1.ts");
  EXPECT_TRUE(again.has("X-Cache: HIT"));
  EXPECT_EQ(again.body, "kept");
  EXPECT_EQ(tiny_http::ask(one.port, "/s/a/1/r/2.ts").status, 502);
}

TEST(Edge, TellsItsConnectionsOnlyToItsOwnMachine) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, "x"); });
  edge one(origin);
  one.start();
  const auto status = parse_stub_status(tiny_http::ask(one.status_port, "/status").body);
  ASSERT_TRUE(status) << status.error().text;
  EXPECT_EQ(status->active, 1u);
  EXPECT_EQ(tiny_http::ask(one.port, "/status").status, 404);
}

TEST(Edge, ReloadsWithoutLosingItsPort) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, "x"); });
  edge one(origin);
  one.start();
  const auto before = nginx_in(one.at->path());
  one.config.target_duration = 6s;
  ASSERT_TRUE(one.at->install(*render(one.config)));
  one.nginx.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return nginx_in(one.at->path()) != before && one.answers(); }));
  EXPECT_TRUE(one.nginx.running());
}

TEST(Edge, ReloadsWithoutLeavingAViewerUnanswered) {
  const std::string body(200'000, 's');
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, body); });
  edge one(origin);
  one.start();
  std::atomic<int> served{0}, unanswered{0};
  {
    std::vector<std::jthread> viewers;
    for (int i = 0; i < 3; ++i)
      viewers.emplace_back([&](const std::stop_token& end) {
        while (!end.stop_requested()) {
          const auto got = tiny_http::ask(one.port, "/s/a/1/r/1.ts");
          ++(got.status == 200 && got.body == body ? served : unanswered);
        }
      });
    for (int reload = 0; reload < 30; ++reload) {
      const auto before = nginx_in(one.at->path());
      const auto by_then = served + 20;
      one.nginx.signal(SIGHUP);
      ASSERT_TRUE(eventually([&] { return nginx_in(one.at->path()) != before && served >= by_then; }));
    }
  }
  EXPECT_EQ(unanswered, 0) << served << " were answered";
}

TEST(Edge, LetsNoDownloadKeepTheFormerWorkerForLongerThanItsDrain) {
  const std::string body(long_body, 's');
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, body); });
  edge one(origin);
  one.config.drain = 1s;
  one.start();
  slow_download under_way(one.home, fmt::format("http://127.0.0.1:{}/s/a/1/r/1.ts", one.port));
  const auto former = workers_in(one.at->path());
  ASSERT_EQ(former.size(), 1u);
  one.nginx.signal(SIGHUP);
  ASSERT_TRUE(eventually([&] { return std::ranges::any_of(workers_in(one.at->path()), [&](pid_t pid) { return pid != former.front(); }); }));
  EXPECT_TRUE(eventually([&] { return std::ranges::count(workers_in(one.at->path()), former.front()) == 0; }, 5s)) << "before nginx gives up a viewer that takes nothing";
  EXPECT_EQ(tiny_http::ask(one.port, "/s/a/1/r/1.ts").body.size(), long_body);
  EXPECT_NE(under_way.end(), fmt::format("200 {}", long_body));
}

TEST(Edge, ComesBackAtItsPortWithinASecondWhicheverOfItsProcessesIsKilled) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, std::string(1000, 'x')); });
  edge one(origin);
  one.start();
  for (const std::string_view victim : {"master", "guard"}) {
    ASSERT_EQ(tiny_http::ask(one.port, "/s/a/1/r/1.ts").status, 200);
    ASSERT_GE(nginx_in(one.at->path()).size(), 2u) << "a master and its worker";
    const auto killed = std::chrono::steady_clock::now();
    kill(victim == "master" ? master_of(*one.at) : one.nginx.pid(), SIGKILL);
    const auto end = one.nginx.wait(5s);
    ASSERT_TRUE(end) << victim;
    EXPECT_EQ(end->signal, SIGKILL);
    EXPECT_TRUE(eventually([&] { return nginx_in(one.at->path()).empty(); }, 1s)) << victim;
    one.start_again();
    const auto gap = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - killed);
    EXPECT_LT(gap, 1s) << victim;
    RecordProperty("back_after_ms_" + std::string(victim), static_cast<int>(gap.count()));
  }
}

TEST(Edge, SpeaksTlsWithHttp2AndWithoutIt) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, "body"); });
  tls_edge one(origin);
  one.start();
  const auto asked = [&](std::vector<std::string> how) {
    how.insert(how.end(), {"--cacert", one.files.certificate, "-w", "%{http_code} %{http_version} %{size_download} %header{access-control-allow-origin}", one.url("/s/a/1/r/1.ts")});
    return curl(how);
  };
  EXPECT_EQ(asked({"--http2"}), "200 2 4 *");
  EXPECT_EQ(asked({"--http1.1"}), "200 1.1 4 *");
  EXPECT_EQ(asked({"--tls-max", "1.2"}), "200 2 4 *");
  const auto outdated = curl({"-S", "-k", "--tlsv1.1", "--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0", one.url("/s/a/1/r/1.ts")});
  EXPECT_NE(outdated.find("alert protocol version(35)"), std::string::npos) << "it is nginx that refuses: " << outdated;
  EXPECT_EQ(origin.requests(), 1);
  EXPECT_EQ(std::filesystem::status(one.at->file("edge.pem")).permissions(), std::filesystem::perms::owner_read | std::filesystem::perms::owner_write) << "it holds the key";
  EXPECT_TRUE(parse_stub_status(tiny_http::ask(one.status_port, "/status").body)) << "its figures stay plain";
}

TEST(Edge, ShowsARenewedCertificateToNewConnectionsWhileADownloadGoesOn) {
  const std::string body(long_body, 's');
  tiny_http::server origin([&](const auto& request) { return tiny_http::response(200, request.target() == "/s/a/1/r/1.ts" ? "short" : body); });
  tls_edge one(origin);
  one.start();
  ASSERT_TRUE(one.shows(one.files));
  const auto renewed = new_certificate(one.home, "second");
  ASSERT_FALSE(one.shows(renewed));

  slow_download before(one.home, one.url("/s/a/1/r/2.ts"));
  EXPECT_EQ(one.look(), certificate_keeper::news::none) << "nothing has changed";
  one.put(renewed);
  EXPECT_EQ(one.look(), certificate_keeper::news::none) << "the other file may be still to come";
  EXPECT_EQ(one.look(), certificate_keeper::news::renewed);
  one.nginx.signal(SIGHUP);
  EXPECT_TRUE(eventually([&] { return one.shows(renewed); }));
  EXPECT_EQ(before.end(), fmt::format("200 {}", long_body));
  EXPECT_EQ(one.look(), certificate_keeper::news::none);
  EXPECT_TRUE(one.nginx.running());
}

TEST(Edge, KeepsItsCertificateWhenTheRenewedOneIsBad) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, "body"); });
  tls_edge one(origin);
  one.start();
  const auto other = new_certificate(one.home, "second");
  const auto refused = [&](std::string_view why) {
    EXPECT_EQ(one.look(), certificate_keeper::news::none);
    EXPECT_EQ(one.look(), certificate_keeper::news::refused);
    EXPECT_NE(one.keeper.trouble().find(why), std::string::npos) << one.keeper.trouble();
    EXPECT_NE(one.keeper.trouble().find(one.served.certificate), std::string::npos) << "the operator's file, not our copy of it: " << one.keeper.trouble();
    EXPECT_EQ(one.look(), certificate_keeper::news::none) << "said once";
    EXPECT_FALSE(one.keeper.trouble().empty());
    EXPECT_FALSE(std::filesystem::exists(one.at->file("edge.pem.new")));
    EXPECT_TRUE(one.shows(one.files));
  };
  copy(other.certificate, one.served.certificate); // without its key
  refused("key values mismatch");
  std::ofstream(one.served.certificate) << "no certificate\n";
  refused("PEM_read_bio");
  std::filesystem::remove(one.served.certificate);
  refused("No such file");

  // nginx dies while the bad one stands there: it comes back with the good one.
  kill(master_of(*one.at), SIGKILL);
  ASSERT_TRUE(one.nginx.wait(5s));
  one.start_again();
  EXPECT_TRUE(one.shows(one.files));

  one.put(one.files);
  EXPECT_EQ(one.look(), certificate_keeper::news::none);
  EXPECT_EQ(one.keeper.trouble(), "") << "what is served is what is there";
}

TEST(Edge, RefusesToStartWithoutAGoodCertificate) {
  folder home;
  auto at = prefix::prepare(home / "edge");
  ASSERT_TRUE(at);
  const auto good = new_certificate(home, "good"), other = new_certificate(home, "other");
  edge_config config;
  config.listen = "127.0.0.1:" + std::to_string(tiny_http::free_port());
  config.status = "127.0.0.1:" + std::to_string(tiny_http::free_port());
  config.origins = {"127.0.0.1:1"};
  const auto text = [&](const std::string& certificate) {
    config.certificate = certificate;
    return render(config);
  };
  write_script(at->path());
  const auto mixed = certificate_keeper({good.certificate, other.key}, *at, "edge.pem").take(text);
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error().code, error_code::invalid_config);
  EXPECT_TRUE(mixed.error().text.starts_with(good.certificate + " and " + other.key + ": ")) << mixed.error().text;
  const auto absent = certificate_keeper({good.certificate, home / "absent.key"}, *at, "edge.pem").take(text);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, error_code::not_found);
  EXPECT_TRUE(certificate_keeper(good, *at, "edge.pem").take(text));
}

TEST(Edge, LetsADownloadEndWhenItIsStopped) {
  const std::string body(long_body, 's');
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, body); });
  edge one(origin);
  one.start();
  slow_download under_way(one.home, fmt::format("http://127.0.0.1:{}/s/a/1/r/1.ts", one.port));
  one.nginx.quit(30s, 1s);
  EXPECT_TRUE(eventually([&] { return tiny_http::ask(one.port, "/").status == 0; })) << "nobody new comes in";
  EXPECT_TRUE(one.nginx.running());
  EXPECT_EQ(under_way.end(), fmt::format("200 {}", long_body));
  const auto end = one.nginx.wait(5s);
  ASSERT_TRUE(end) << "it ends with its last download, not with its patience";
  EXPECT_TRUE(end->ok()) << supervise::to_string(*end);
  EXPECT_TRUE(nginx_in(one.at->path()).empty());
}

TEST(Edge, CutsADownloadOffThatOutlastsItsPatience) {
  const std::string body(long_body, 's');
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, body); });
  edge one(origin);
  one.start();
  slow_download under_way(one.home, fmt::format("http://127.0.0.1:{}/s/a/1/r/1.ts", one.port));
  one.nginx.quit(300ms, 500ms);
  ASSERT_TRUE(one.nginx.wait(5s));
  EXPECT_TRUE(nginx_in(one.at->path()).empty());
  EXPECT_NE(under_way.end(), fmt::format("200 {}", long_body));
}

TEST(Edge, NothingIsLeftWhenItsOwnerIsKilledWhileADownloadHoldsItsEnd) {
  const std::string body(long_body, 's');
  tiny_http::server origin([&](const auto&) { return tiny_http::response(200, body); });
  folder home;
  const auto port = tiny_http::free_port();
  auto owner = process::spawn({.arguments = {"_owner", home / "edge", std::to_string(port), std::to_string(tiny_http::free_port()), std::to_string(origin.port())}});
  ASSERT_TRUE(owner);
  ASSERT_TRUE(eventually([&] { return tiny_http::ask(port, "/").status == 404; }));
  slow_download under_way(home, fmt::format("http://127.0.0.1:{}/s/a/1/r/1.ts", port));
  owner->signal(SIGUSR1); // it asks its nginx to end
  ASSERT_TRUE(eventually([&] { return tiny_http::ask(port, "/").status == 0; }));
  ASSERT_FALSE(nginx_in(home / "edge").empty()) << "the download holds it";
  kill(owner->pid(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return nginx_in(home / "edge").empty(); }));
}

TEST(Edge, NothingIsLeftWhenItsOwnerIsKilled) {
  folder home;
  const auto port = std::to_string(tiny_http::free_port());
  auto owner = process::spawn({.arguments = {"_owner", home / "edge", port, std::to_string(tiny_http::free_port()), "1"}});
  ASSERT_TRUE(owner);
  ASSERT_TRUE(eventually([&] { return tiny_http::ask(std::stoi(port), "/").status == 404; }));
  EXPECT_FALSE(nginx_in(home / "edge").empty());
  kill(owner->pid(), SIGKILL);
  EXPECT_TRUE(eventually([&] { return nginx_in(home / "edge").empty(); }));
}

TEST(Prefix, EndsWorkersThatAnEarlierRunLeftBehind) {
  tiny_http::server origin([](const auto&) { return tiny_http::response(200, "x"); });
  edge one(origin);
  one.start();
  // Everything above the workers dies at one instant, as in an out-of-memory storm that nobody survives to clean up after.
  const auto master = master_of(*one.at);
  kill(one.nginx.pid(), SIGSTOP); // the guard cannot help
  kill(master, SIGKILL);
  ASSERT_TRUE(one.at->sweep());
  EXPECT_TRUE(eventually([&] { return nginx_in(one.at->path()).empty(); }, 1s));
  one.nginx.kill_now();
  ASSERT_TRUE(one.nginx.wait(5s));
  one.start_again();
}

TEST(Prefix, KeepsSocketsThatAreInUseAndRemovesDesertedOnes) {
  folder home;
  auto at = prefix::prepare(home / "p");
  ASSERT_TRUE(at) << at.error().text;
  EXPECT_EQ(std::filesystem::status(at->path()).permissions(), std::filesystem::perms::owner_all);
  auto used = edge_log_reader::open(at->file("used.sock"), edge_name("e"));
  ASSERT_TRUE(used);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  at->file("deserted.sock").copy(address.sun_path, sizeof address.sun_path - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  close(fd);
  ASSERT_TRUE(at->sweep());
  EXPECT_TRUE(std::filesystem::exists(at->file("used.sock")));
  EXPECT_FALSE(std::filesystem::exists(at->file("deserted.sock")));
}

TEST(Prefix, RepeatsNginxsOwnWordsWhenItRefuses) {
  folder home;
  auto at = prefix::prepare(home / "p");
  ASSERT_TRUE(at);
  ASSERT_TRUE(at->install("events {}\n"));
  const auto refused = at->install("events {}\nno_such_directive on;\n");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::invalid_config);
  EXPECT_NE(refused.error().text.find("unknown directive \"no_such_directive\" in " + at->file("nginx.conf.new") + ":2"), std::string::npos) << refused.error().text;
  std::ifstream kept(at->file("nginx.conf"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(kept), {}), "events {}\n") << "the good one stays in place";
}

TEST(EdgeConfig, OddButValidSettingsAreAcceptedByNginx) {
  folder home;
  auto at = prefix::prepare(home / "p");
  ASSERT_TRUE(at);
  edge_config odd;
  odd.listen = "[::1]:" + std::to_string(tiny_http::free_port());
  odd.status = "unix:" + at->file("status.sock");
  odd.origins = {"[::1]:1", "localhost:65535", "127.0.0.1:2"};
  odd.cache_path = home / "cache-1+x@y";
  odd.cache_size = {1 << 20};
  odd.target_duration = 200ms;
  odd.segment_validity = 86400s;
  odd.workers = 3;
  odd.worker_user = "www-data";
  odd.viewing_keys = {viewing::key_of("._~-" + std::string(124, 'a')), viewing::key_of(std::string(32, '0'))};
  write_script(at->path());
  auto installed = at->install(*render(odd));
  EXPECT_TRUE(installed) << installed.error().text;
  odd.log_socket = at->file(std::string(107 - at->path().size() - 1, 'l'));
  installed = at->install(*render(odd));
  EXPECT_TRUE(installed) << installed.error().text;
}
