#include "runtime/http/server.hpp"

#include "tests/integration/http/wire.hpp"

#include <array>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <fcntl.h>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <mutex>
#include <nlohmann/json.hpp>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace weir::http {
namespace {

using namespace testing;
using namespace std::string_view_literals;

/// A value that one thread gives and another waits for.
template <class T>
class parcel {
public:
  void put(T value) {
    std::lock_guard lock(guard_);
    value_ = std::move(value);
    changed_.notify_all();
  }
  std::optional<T> take(std::chrono::milliseconds limit = 5s) {
    std::unique_lock lock(guard_);
    changed_.wait_for(lock, limit, [&] { return value_.has_value(); });
    return std::exchange(value_, std::nullopt);
  }

private:
  std::mutex guard_;
  std::condition_variable changed_;
  std::optional<T> value_;
};

bool becomes_true(const std::function<bool()>& condition, std::chrono::milliseconds limit = 5s) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until)
      return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

void echo(const request& r, responder answer) { answer(text_response(200, fmt::format("{} {} {}", r.method, r.path, r.body()))); }

class HttpServer : public ::testing::Test {
protected:
  void start(server_options options = {}) {
    web = std::make_unique<server>(options);
    web->route("GET", "/hello", {}, [](const request&, responder answer) { answer(text_response(200, "hello")); });
    web->route("GET", "/streams/{id}", {}, [](const request& r, responder answer) { answer(text_response(200, std::string(r.param("id")))); });
    web->route("POST", "/echo", {}, echo);
    web->route("PUT", "/s/{rest...}", {.body_limit = 64 << 20, .cors = true},
               [](const request& r, responder answer) { answer(text_response(201, std::to_string(r.body().size()))); });
    web->route("GET", "/held", {}, [this](const request&, responder answer) { held.put(std::move(answer)); });
    web->route("GET", "/dropped", {}, [](const request&, responder) {});
    web->route("GET", "/throws", {}, [](const request&, responder) { throw std::runtime_error("broken"); });
    web->route("POST", "/hooks/{name}", {.deadline = 200ms, .late = [](std::string_view) { return text_response(200, "1"); }},
               [this](const request&, responder answer) { held.put(std::move(answer)); });
    web->route("GET", "/events", {.cors = true}, [this](const request&, responder answer) { streams.put(answer.open_stream()); });
    web->route("POST", "/guarded", {.guard = [](const request& r) -> std::optional<response> {
                 if (r.header("Authorization") == "Bearer good")
                   return std::nullopt;
                 return problem_response({error_code::unauthorized, "a token is needed"}, r.id);
               }},
               echo);
    web->route("GET", "/shared", {.cors = true}, [](const request&, responder answer) {
      static const auto text = std::make_shared<const std::string>("0123456789");
      answer(shared_response(text, "video/mp4").with("ETag", "\"ten\""));
    });
    configure();
    const auto started = web->start();
    ASSERT_TRUE(started) << started.error().text;
    port = web->port();
    ASSERT_NE(port, 0);
  }
  virtual void configure() {}
  std::string ask(std::string_view text) {
    wire w(port);
    w.send(text);
    return w.read_answer();
  }
  std::string get(std::string_view path, std::string_view more = "") {
    return ask(fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n{}\r\n", path, more));
  }

  std::unique_ptr<server> web;
  std::uint16_t port = 0;
  parcel<responder> held;
  parcel<event_stream> streams;
};

TEST_F(HttpServer, AnswersARoute) {
  start();
  const auto answer = get("/hello");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer), "hello");
  EXPECT_NE(answer.find("\r\nDate: "), std::string::npos);
  EXPECT_EQ(answer.find("\r\nServer:"), std::string::npos);
  EXPECT_EQ(answer.find("Access-Control"), std::string::npos);
  EXPECT_EQ(body_of(get("/streams/a%20b")), "a b");
}

TEST_F(HttpServer, KeepsAConnectionAndAnswersPipelinedRequestsInOrder) {
  start();
  wire w(port);
  w.send("GET /streams/1 HTTP/1.1\r\nHost: x\r\n\r\nPOST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcGET /streams/3 HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body_of(w.read_answer()), "1");
  EXPECT_EQ(body_of(w.read_answer()), "POST /echo abc");
  EXPECT_EQ(body_of(w.read_answer()), "3");
}

TEST_F(HttpServer, RefusesWhatSmugglersSend) {
  start();
  const auto status = [&](std::string_view text) { return status_of(ask(text)); };
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 4\r\n\r\nabcd"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc"), 501);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n"), 400);
  EXPECT_EQ(status("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc"), 400);
  EXPECT_EQ(status("GET /hello HTTP/1.1\nHost: x\n\n"), 400);
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n"sv), 400);
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /hello HTTP/2.0\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status("GET /hello HTTP/9.9\r\nHost: x\r\n\r\n"), 505);
  EXPECT_EQ(status("BREW /hello HTTP/1.1\r\nHost: x\r\n\r\n"), 501);
  EXPECT_EQ(status("CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n"), 501);
  EXPECT_EQ(status("\x16\x03\x01\x02\x01\x01\xfc"), 400);
  EXPECT_EQ(status("GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /a/%2e%2e/b HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /a%zzb HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(status("GET /" + std::string(9000, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\nHost: x\r\nA: " + std::string(9000, 'a') + "\r\n\r\n"), 431);
  std::string fields;
  for (int i = 0; i < 200; ++i)
    fields += "a: b\r\n";
  EXPECT_EQ(status("GET /hello HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n"), 431);
  EXPECT_EQ(status_of(get("/hello")), 200);
}

TEST_F(HttpServer, EndsTheConnectionAfterAMalformedRequest) {
  start();
  wire w(port);
  w.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto all = w.read_all();
  EXPECT_EQ(count_of(all, "HTTP/1.1 "), 1U);
  EXPECT_NE(all.find("Connection: close"), std::string::npos);
}

TEST_F(HttpServer, SpeaksHttp10) {
  start();
  wire one(port);
  one.send("GET /hello HTTP/1.0\r\n\r\n");
  const auto closed = one.read_all();
  EXPECT_EQ(body_of(closed), "hello");
  EXPECT_NE(closed.find("Connection: close"), std::string::npos);
  wire two(port);
  two.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(two.read_answer().find("Connection: keep-alive"), std::string::npos);
  two.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_EQ(status_of(two.read_answer()), 200);
}

TEST_F(HttpServer, AnswersUnknownPathsAndMethodsWithProblems) {
  start();
  const auto unknown = get("/nowhere");
  EXPECT_EQ(status_of(unknown), 404);
  const auto problem = nlohmann::json::parse(body_of(unknown));
  EXPECT_EQ(problem["code"], "not-found");
  EXPECT_EQ(problem["status"], 404);
  EXPECT_FALSE(problem["request_id"].get<std::string>().empty());
  const auto wrong = get("/echo");
  EXPECT_EQ(status_of(wrong), 405);
  EXPECT_NE(wrong.find("\r\nAllow: POST, OPTIONS\r\n"), std::string::npos);
  const auto options = ask("OPTIONS /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(options), 204);
  EXPECT_NE(options.find("\r\nAllow: GET, HEAD, OPTIONS\r\n"), std::string::npos);
  EXPECT_EQ(status_of(ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")), 204);
}

TEST_F(HttpServer, AnswersHeadWithoutABody) {
  start();
  wire w(port);
  w.send("HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto all = w.read_all();
  EXPECT_EQ(count_of(all, "Content-Length: 5\r\n"), 2U);
  EXPECT_EQ(count_of(all, "hello"), 1U);
}

TEST_F(HttpServer, SendsCorsExactlyOnceOnEveryStatusOfAMarkedRouteAndNowhereElse) {
  start();
  const auto once = [](const std::string& answer) {
    EXPECT_EQ(count_of(answer, "Access-Control-Allow-Origin: "), 1U) << answer;
    EXPECT_EQ(count_of(answer, "\r\nAccess-Control-Allow-Origin: *\r\n"), 1U) << answer;
    EXPECT_EQ(count_of(answer, "Access-Control-Expose-Headers: "), 1U) << answer;
    EXPECT_EQ(count_of(answer, "\r\nAccess-Control-Expose-Headers: Age, Date, Retry-After, "), 1U) << answer;
  };
  for (const auto& answer : {get("/shared"), get("/shared", "If-None-Match: \"ten\"\r\n"), get("/shared", "Range: bytes=99-\r\n"), get("/s/absent"),
                             ask("PATCH /s/a HTTP/1.1\r\nHost: x\r\n\r\n"), ask("OPTIONS /s/a HTTP/1.1\r\nHost: x\r\n\r\n")})
    once(answer);
  // Nobody has read which path these want.
  for (const auto& [answer, status] : {std::pair{get("/s/%zz"), 400}, {get("/s/../../a"), 400}, {get("/s/" + std::string(9000, 'a')), 414},
                                       {get("/s/a", "A: " + std::string(9000, 'a') + "\r\n"), 431}, {ask("BREW /s/a HTTP/1.1\r\nHost: x\r\n\r\n"), 501}}) {
    EXPECT_EQ(status_of(answer), status);
    once(answer);
  }
  for (const auto& answer : {get("/hello"), get("/nowhere"), ask("OPTIONS /hello HTTP/1.1\r\nHost: x\r\n\r\n"), ask("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")})
    EXPECT_EQ(count_of(answer, "Access-Control"), 0U) << answer;
}

TEST_F(HttpServer, ServesConditionsAndRanges) {
  start();
  EXPECT_EQ(status_of(get("/shared", "If-None-Match: W/\"x\", \"ten\"\r\n")), 304);
  const auto part = get("/shared", "Range: bytes=2-4\r\n");
  EXPECT_EQ(status_of(part), 206);
  EXPECT_EQ(body_of(part), "234");
  EXPECT_NE(part.find("Content-Range: bytes 2-4/10"), std::string::npos);
  EXPECT_EQ(body_of(get("/shared", "Range: bytes=-3\r\n")), "789");
  EXPECT_EQ(status_of(get("/shared", "Range: bytes=10-\r\n")), 416);
  EXPECT_EQ(status_of(get("/shared", "Range: bytes=2-4\r\nIf-Range: \"other\"\r\n")), 200);
}

TEST_F(HttpServer, LimitsBodies) {
  start();
  const std::string large(70'000, 'x');
  EXPECT_EQ(status_of(ask(fmt::format("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", large.size(), large))), 413);
  EXPECT_EQ(status_of(ask(fmt::format("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n", large.size(), large))), 413);
  EXPECT_EQ(status_of(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n")), 400);
  EXPECT_EQ(status_of(ask("PUT /s/a HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")), 413);
  const std::string segment(3 << 20, 's');
  EXPECT_EQ(body_of(ask(fmt::format("PUT /s/1/2.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", segment.size(), segment))), "3145728");
}

TEST_F(HttpServer, ReadsChunkedBodiesAtAnyCut) {
  start();
  const std::string text = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n5\r\ndefgh\r\n0\r\nT: u\r\n\r\n";
  for (std::size_t cut = 1; cut < text.size(); ++cut) {
    wire w(port);
    w.send(text.substr(0, cut));
    w.send(text.substr(cut));
    EXPECT_EQ(body_of(w.read_answer()), "POST /echo abcdefgh") << cut;
  }
  EXPECT_EQ(status_of(ask("POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), 400);
}

TEST_F(HttpServer, ReadsBodiesByteForByte) {
  start();
  wire w(port);
  for (const char c : std::string("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslow"))
    w.send(std::string_view(&c, 1));
  EXPECT_EQ(body_of(w.read_answer()), "POST /echo slow");
}

TEST_F(HttpServer, SaysContinueOnlyWhenItWillReadTheBody) {
  start();
  wire w(port);
  w.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_TRUE(w.read_until("\r\n\r\n").starts_with("HTTP/1.1 100 Continue\r\n"));
  w.send("body");
  EXPECT_EQ(body_of(w.read_answer()), "POST /echo body");
  EXPECT_EQ(status_of(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\nExpect: 100-continue\r\n\r\n")), 413);
  EXPECT_EQ(status_of(ask("POST /guarded HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")), 401);
  EXPECT_EQ(status_of(ask("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: tea\r\n\r\n")), 417);
}

TEST_F(HttpServer, GuardsBeforeTheBodyAndKeepsTheConnection) {
  start();
  wire w(port);
  w.send("POST /guarded HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyPOST /guarded HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_EQ(status_of(w.read_answer()), 401);
  EXPECT_EQ(body_of(w.read_answer()), "POST /guarded body");
}

TEST_F(HttpServer, AnswersFromAnotherThreadLater) {
  start();
  wire w(port);
  w.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\nGET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = held.take();
  ASSERT_TRUE(answer);
  EXPECT_TRUE((*answer)(text_response(200, "late")));
  EXPECT_FALSE((*answer)(text_response(200, "twice")));
  EXPECT_EQ(body_of(w.read_answer()), "late");
  EXPECT_EQ(body_of(w.read_answer()), "hello");
}

TEST_F(HttpServer, AnswersFiveHundredWhenTheResponderIsDropped) {
  start();
  EXPECT_EQ(status_of(get("/dropped")), 500);
  EXPECT_EQ(status_of(get("/throws")), 500);
  EXPECT_EQ(status_of(get("/hello")), 200);
}

TEST_F(HttpServer, DoesNotMindAnAnswerToAClientThatHasGone) {
  start();
  {
    wire w(port);
    w.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
    ASSERT_TRUE(becomes_true([&] { return web->counters().requests == 1; }));
  }
  auto answer = held.take();
  ASSERT_TRUE(answer);
  (*answer)(text_response(200, std::string(1 << 20, 'x')));
  EXPECT_TRUE(becomes_true([&] { return web->counters().active == 0; }));
  EXPECT_EQ(status_of(get("/hello")), 200);
}

TEST_F(HttpServer, SendsTheFallbackAtTheRoutesDeadline) {
  start();
  const auto began = std::chrono::steady_clock::now();
  const auto answer = ask("POST /hooks/srs HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
  const auto took = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_EQ(body_of(answer), "1");
  EXPECT_GE(took, 190ms);
  EXPECT_LT(took, 1s);
  auto late = held.take();
  ASSERT_TRUE(late);
  EXPECT_FALSE((*late)(text_response(200, "0")));
  EXPECT_EQ(web->counters().unanswered, 1U);
}

TEST_F(HttpServer, CutsSlowRequests) {
  server_options options;
  options.receive_deadline = 1s;
  options.idle_deadline = 1s;
  start(options);
  wire header(port);
  wire body(port);
  wire silent(port);
  wire idle(port);
  idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(status_of(idle.read_answer()), 200);
  body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n");
  std::atomic<bool> done = false;
  std::thread drip([&] { // activity must not put the deadline off
    std::string_view text = "GET /hello HTTP/1.1\r\nHost: x\r\nX-Slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    for (std::size_t i = 0; i < text.size() && !done; ++i) {
      if (!header.send(text.substr(i, 1)) || !body.send("x"))
        break;
      std::this_thread::sleep_for(50ms);
    }
  });
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(status_of(header.read_answer(6s)), 408);
  EXPECT_TRUE(body.closed_within(6s));
  EXPECT_TRUE(silent.closed_within(6s));
  EXPECT_TRUE(idle.closed_within(6s));
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
  done = true;
  drip.join();
}

TEST_F(HttpServer, CutsAReaderThatTakesNothing) {
  server_options options;
  options.stall_deadline = 1s;
  start(options);
  wire w(port, 4096);
  w.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = held.take();
  ASSERT_TRUE(answer);
  (*answer)(text_response(200, std::string(32 << 20, 'x')));
  EXPECT_TRUE(becomes_true([&] { return web->counters().active == 0; }, 6s));
  EXPECT_EQ(web->counters().timed_out, 1U);
}

TEST_F(HttpServer, FollowsAnEventStream) {
  start();
  wire w(port);
  w.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  auto stream = streams.take();
  ASSERT_TRUE(stream);
  EXPECT_TRUE(stream->send("7", "stream-live", "{\"a\":1}\nnext"));
  const auto got = w.read_until("data: next\n\n");
  EXPECT_NE(got.find("Content-Type: text/event-stream\r\n"), std::string::npos);
  EXPECT_EQ(count_of(got, "Access-Control-Allow-Origin: *\r\n"), 1U);
  EXPECT_NE(got.find("id: 7\nevent: stream-live\ndata: {\"a\":1}\ndata: next\n\n"), std::string::npos);
  stream->close();
  EXPECT_TRUE(w.read_all().ends_with("0\r\n\r\n"));
  EXPECT_FALSE(stream->write("more"));
}

TEST_F(HttpServer, TellsWhenAnEventStreamsReaderIsGone) {
  start();
  parcel<bool> gone;
  {
    wire w(port);
    w.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
    auto stream = streams.take();
    ASSERT_TRUE(stream);
    stream->on_close([&] { gone.put(true); });
    w.read_until("\r\n\r\n");
    streams.put(*stream);
  }
  EXPECT_TRUE(gone.take());
  EXPECT_FALSE(streams.take()->open());
}

TEST_F(HttpServer, ClosesAnEventStreamWhoseReaderIsTooSlow) {
  start();
  wire w(port, 4096);
  w.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  auto stream = streams.take();
  ASSERT_TRUE(stream);
  parcel<bool> gone;
  stream->on_close([&] { gone.put(true); });
  const std::string text(10'000, 'x');
  std::size_t written = 0;
  while (stream->write(text) && written < (64U << 20))
    written += text.size();
  EXPECT_LT(written, 32U << 20);
  EXPECT_TRUE(gone.take());
  EXPECT_TRUE(becomes_true([&] { return web->counters().active == 0; }));
}

TEST_F(HttpServer, HoldsTwoThousandConnections) {
  server_options options;
  options.threads = 2;
  start(options);
  std::vector<wire> all;
  for (int i = 0; i < 2000; ++i)
    all.emplace_back(port);
  for (int round = 0; round < 3; ++round) {
    for (auto& w : all)
      ASSERT_TRUE(w.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"));
    for (auto& w : all)
      ASSERT_EQ(body_of(w.read_answer()), "hello");
  }
  EXPECT_EQ(web->counters().active, 2000U);
  all.clear();
  EXPECT_TRUE(becomes_true([&] { return web->counters().active == 0; }));
}

TEST_F(HttpServer, RefusesConnectionsOverItsLimit) {
  server_options options;
  options.connection_limit = 2;
  start(options);
  wire one(port);
  wire two(port);
  ASSERT_TRUE(becomes_true([&] { return web->counters().active == 2; }));
  wire three(port);
  const auto full = three.read_all();
  EXPECT_EQ(status_of(full), 503);
  EXPECT_EQ(count_of(full, "\r\nRetry-After: 1\r\n"), 1U) << full;
  EXPECT_EQ(count_of(full, "\r\nAccess-Control-Allow-Origin: *\r\n"), 1U) << "it may be a player that asks: " << full;
  EXPECT_EQ(web->counters().refused, 1U);
}

TEST_F(HttpServer, StopsCleanlyWhileBusy) {
  start();
  wire busy(port);
  wire idle(port);
  wire following(port);
  following.send("GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
  auto stream = streams.take();
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = held.take();
  ASSERT_TRUE(answer && stream);
  std::thread stopping([&] { web->stop(5s); });
  EXPECT_TRUE(idle.closed_within(2s));
  EXPECT_TRUE(following.read_all().ends_with("0\r\n\r\n"));
  (*answer)(text_response(200, "last"));
  const auto last = busy.read_all();
  EXPECT_EQ(body_of(last), "last");
  EXPECT_NE(last.find("Connection: close"), std::string::npos);
  stopping.join();
  EXPECT_FALSE(wire(port).connected());
  EXPECT_FALSE(stream->write("x"));
}

TEST_F(HttpServer, StopsAtTheDeadlineWhenAnAnswerNeverComes) {
  start();
  wire busy(port);
  busy.send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n");
  auto answer = held.take();
  ASSERT_TRUE(answer);
  const auto began = std::chrono::steady_clock::now();
  web->stop(200ms);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 2s);
  web.reset();
  (*answer)(text_response(200, "nobody listens"));
}

TEST_F(HttpServer, TellsWhyItCannotStart) {
  start();
  for (unsigned threads : {1U, 2U}) {
    server second({.listen = fmt::format("127.0.0.1:{}", port), .threads = threads});
    const auto started = second.start();
    ASSERT_FALSE(started);
    EXPECT_EQ(started.error().code, error_code::io_failed);
    EXPECT_NE(started.error().text.find("in use"), std::string::npos) << started.error().text;
  }
  server unclear({.listen = "eighty"});
  EXPECT_EQ(unclear.start().error().code, error_code::invalid_config);
  server twice({});
  twice.route("GET", "/a/{x}", {}, echo);
  twice.route("GET", "/a/{y}", {}, echo);
  EXPECT_EQ(twice.start().error().code, error_code::already_exists);
}

/// A port of 127.0.0.1 that nobody listened on lately; the socket that found it keeps nobody away.
std::uint16_t free_port() {
  const int finder = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  sockaddr_in address{};
  socklen_t size = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::setsockopt(finder, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  EXPECT_EQ(::bind(finder, reinterpret_cast<const sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(finder, reinterpret_cast<sockaddr*>(&address), &size), 0);
  ::close(finder);
  return ntohs(address.sin_port);
}

/// A child has a copy of each of our descriptors until it runs its program.
TEST_F(HttpServer, StartsOnASettledPortWhileProgramsAreBeingStarted) {
  std::atomic<bool> done = false;
  std::thread starter([&] {
    std::deque<pid_t> slow;
    while (!done || !slow.empty()) {
      if (const auto pid = done ? 0 : fork(); pid > 0)
        slow.push_back(pid);
      else if (pid == 0 && !done) {
        usleep(20'000);
        _exit(0);
      }
      if (done || slow.size() > 20) {
        waitpid(slow.front(), nullptr, 0);
        slow.pop_front();
      }
    }
  });
  for (int i = 0; i < 200; ++i) {
    // Another port each time: the children have our listening sockets too, as no two programs ever do.
    server one{server_options{.listen = fmt::format("127.0.0.1:{}", free_port()), .threads = 2}};
    const auto started = one.start();
    EXPECT_TRUE(started) << "start " << i << ": " << started.error().text;
    if (!started)
      break;
    one.stop(1s);
  }
  done = true;
  starter.join();
}

TEST_F(HttpServer, DoesNotLetAHeaderSplitTheAnswer) {
  server other({});
  other.route("GET", "/", {}, [](const request&, responder answer) { answer(text_response(302, "").with("Location", "/a\r\nSet-Cookie: b=c")); });
  ASSERT_TRUE(other.start());
  wire w(other.port());
  w.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto answer = w.read_answer();
  EXPECT_EQ(status_of(answer), 500);
  EXPECT_EQ(answer.find("Set-Cookie"), std::string::npos);
}

class HttpFastPath : public HttpServer {
protected:
  void configure() override {
    big_ = std::make_shared<const std::string>(8 << 20, 'b');
    web->fast_path("/p/", {.cors = true}, [this](const fast_request& r, fast_answer& a) {
      if (r.path == "/p/absent")
        return false;
      a.content_type = "application/vnd.apple.mpegurl";
      a.cache_control = "max-age=1";
      a.extra = "X-One: 1\r\n";
      if (r.path == "/p/big") {
        a.owner = big_;
        a.add(*big_);
        return true;
      }
      a.add(r.path);
      a.add("?");
      a.add(raw_query_value(r.query, "t").value_or("none"));
      a.add(r.header("x-more"));
      return true;
    });
    web->on_answer([this](std::string_view route, int status, std::uint64_t) {
      std::lock_guard lock(guard_);
      seen_.emplace_back(fmt::format("{} {}", route, status));
    });
  }
  std::shared_ptr<const std::string> big_;
  std::mutex guard_;
  std::vector<std::string> seen_;
};

TEST_F(HttpFastPath, AnswersBeforeRouting) {
  start();
  const auto answer = get("/p/a.m3u8?t=7", "X-More: !\r\n");
  EXPECT_EQ(body_of(answer), "/p/a.m3u8?7!");
  for (std::string_view line : {"\r\nContent-Type: application/vnd.apple.mpegurl\r\n", "\r\nCache-Control: max-age=1\r\n", "\r\nX-One: 1\r\n",
                                "\r\nAccess-Control-Allow-Origin: *\r\n"})
    EXPECT_EQ(count_of(answer, line), 1U) << line;
  EXPECT_EQ(body_of(get("/p/x%41")), "/p/xA?none");
  EXPECT_EQ(body_of(get("/p//./b")), "/p/b?none");
  const auto absent = get("/p/absent");
  EXPECT_EQ(status_of(absent), 404);
  EXPECT_EQ(count_of(absent, "Access-Control-Allow-Origin: *\r\n"), 1U);
  EXPECT_EQ(status_of(ask("POST /p/a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")), 404);
  std::lock_guard lock(guard_);
  ASSERT_GE(seen_.size(), 4U);
  EXPECT_EQ(seen_[0], "/p/ 200");
  EXPECT_EQ(seen_[3], " 404");
}

TEST_F(HttpFastPath, PipelinesWithSlowRequestsInOrder) {
  start();
  wire w(port);
  std::string text;
  for (int i = 0; i < 300; ++i)
    text += fmt::format("GET {} HTTP/1.1\r\nHost: x\r\n\r\n", i % 3 ? fmt::format("/p/{}", i) : fmt::format("/streams/{}", i));
  std::thread sending([&] { w.send(text); });
  for (int i = 0; i < 300; ++i)
    EXPECT_EQ(body_of(w.read_answer()), i % 3 ? fmt::format("/p/{}?none", i) : fmt::format("{}", i));
  sending.join();
}

TEST_F(HttpFastPath, SendsALargeOwnedPieceToASlowReader) {
  start();
  wire w(port, 4096);
  w.send("GET /p/big HTTP/1.1\r\nHost: x\r\n\r\nHEAD /p/big HTTP/1.1\r\nHost: x\r\n\r\nGET /p/z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const auto first = w.read_answer();
  EXPECT_EQ(body_of(first).size(), big_->size());
  const auto rest = w.read_all();
  EXPECT_EQ(count_of(rest, "Content-Length: 8388608\r\n"), 1U);
  EXPECT_TRUE(rest.ends_with("/p/z?none"));
}

TEST(HttpFiles, AreSentWholeAndInPartsAndToSlowReaders) {
  char folder[] = "/tmp/weir-http-XXXXXX";
  ASSERT_TRUE(::mkdtemp(folder));
  const auto path = std::string(folder) + "/segment.m4s";
  std::string content(6 << 20, 'a');
  for (std::size_t i = 0; i < content.size(); i += 1000)
    content[i] = static_cast<char>('a' + i / 1000 % 26);
  std::ofstream(path, std::ios::binary) << content;
  server web({});
  web.route("GET", "/file", {}, [&](const request& r, responder answer) {
    auto file = open_file::open(path);
    if (!file)
      return static_cast<void>(answer.fail(file.error()));
    EXPECT_EQ(r.peer_address, "127.0.0.1");
    answer(file_response(*file, "video/iso.segment"));
  });
  web.route("GET", "/none", {}, [&](const request&, responder answer) { answer.fail(open_file::open(path + "x").error()); });
  ASSERT_TRUE(web.start());
  wire w(web.port(), 4096);
  w.send("GET /file HTTP/1.1\r\nHost: x\r\n\r\nGET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=1000-1999\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_EQ(body_of(w.read_answer()), content);
  EXPECT_EQ(body_of(w.read_answer()), content.substr(1000, 1000));
  EXPECT_EQ(status_of(w.read_answer()), 404);
  std::filesystem::remove_all(folder);
}

TEST(HttpRecordings, OfSrsAndNginxRtmpAreUnderstoodByteForByte) {
  server web({});
  std::atomic<int> bodies = 0;
  const auto take = [&](const request& r, responder answer) {
    if (r.method == "POST" && !r.body().empty())
      ++bodies;
    answer(text_response(200, "0"));
  };
  web.route("POST", "/srs/{hook}", {}, take);
  web.route("GET", "/srs/{rest...}", {}, take);
  web.route("POST", "/ngx/{hook}", {}, take);
  ASSERT_TRUE(web.start());
  int played = 0;
  int posted = 0;
  for (const std::string folder : {"/work/shared/data/srs-hooks", "/work/shared/data/nginx-rtmp-hooks"}) {
    if (!std::filesystem::exists(folder))
      GTEST_SKIP() << folder << " is not here";
    for (auto& entry : std::filesystem::directory_iterator(folder)) {
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes{std::istreambuf_iterator<char>(file), {}};
      wire w(web.port());
      w.send(bytes);
      const auto answer = w.read_answer();
      EXPECT_EQ(status_of(answer), 200) << entry.path();
      EXPECT_EQ(body_of(answer), "0") << entry.path();
      ++played;
      posted += bytes.starts_with("POST");
    }
  }
  EXPECT_GT(played, 20);
  EXPECT_EQ(bodies, posted);
}

} // namespace
} // namespace weir::http
