#include "runtime/http/client.hpp"

#include "runtime/http/server.hpp"
#include "tests/integration/http/wire.hpp"

#include <atomic>
#include <condition_variable>
#include <fmt/format.h>
#include <future>
#include <gtest/gtest.h>
#include <mutex>
#include <sys/mman.h>
#include <unistd.h>

namespace weir::http {
namespace {

using namespace testing;

class HttpClient : public ::testing::Test {
protected:
  void SetUp() override {
    web.route("GET", "/hello", {}, [](const request& r, responder answer) {
      answer(text_response(200, std::string(r.header("X-Asked").value_or("hello"))).with("X-Answer", "yes"));
    });
    web.route("PUT", "/store", {.body_limit = 64 << 20}, [this](const request& r, responder answer) {
      {
        std::lock_guard lock(guard);
        stored = r.payload;
      }
      answer(empty_response(201));
    });
    web.route("DELETE", "/store", {}, [](const request&, responder answer) { answer(empty_response(204)); });
    web.route("POST", "/echo", {}, [](const request& r, responder answer) { answer(text_response(200, std::string(r.body()))); });
    web.route("GET", "/never", {}, [this](const request&, responder answer) {
      std::lock_guard lock(guard);
      unanswered.push_back(std::move(answer));
    });
    web.route("GET", "/large", {}, [](const request&, responder answer) { answer(text_response(200, std::string(1 << 20, 'x'))); });
    web.route("GET", "/events", {}, [this](const request&, responder answer) {
      auto stream = answer.open_stream();
      stream.send("1", "", "one");
      stream.send("2", "", "two");
      std::lock_guard lock(guard);
      streams.push_back(std::move(stream));
    });
    ASSERT_TRUE(web.start());
  }
  void TearDown() override {
    std::lock_guard lock(guard);
    unanswered.clear();
  }
  std::string url(std::string_view path) const { return fmt::format("http://127.0.0.1:{}{}", web.port(), path); }

  server web{{}};
  std::mutex guard;
  std::shared_ptr<const std::string> stored;
  std::vector<responder> unanswered;
  std::vector<event_stream> streams;
};

TEST_F(HttpClient, AsksAndReusesItsConnection) {
  client c({});
  for (int i = 0; i < 20; ++i) {
    client_request r{.url = url("/hello")};
    r.headers.add("X-Asked", std::to_string(i));
    const auto got = c.call(std::move(r));
    ASSERT_TRUE(got) << got.error().text;
    EXPECT_EQ(got->status, 200);
    EXPECT_EQ(got->body, std::to_string(i));
    EXPECT_EQ(got->headers.find("x-answer"), "yes");
  }
  EXPECT_EQ(web.counters().accepted, 1U);
  EXPECT_EQ(c.call({.url = url("/nowhere")})->status, 404);
  EXPECT_EQ(c.call({.method = "HEAD", .url = url("/hello")})->status, 200);
  EXPECT_EQ(c.call({.method = "DELETE", .url = url("/store")})->status, 204);
  EXPECT_EQ(c.call({.method = "POST", .url = url("/echo"), .body = "abc"})->body, "abc");
  EXPECT_EQ(c.call({.method = "POST", .url = url("/echo")})->status, 200);
}

TEST_F(HttpClient, PutsAMemfdAndSharedText) {
  client c({});
  const auto text = std::make_shared<const std::string>(5 << 20, 's');
  ASSERT_EQ(c.call({.method = "PUT", .url = url("/store"), .body = text})->status, 201);
  EXPECT_EQ(*stored, *text);
  const int fd = ::memfd_create("segment", MFD_CLOEXEC);
  ASSERT_GE(fd, 0);
  std::string content;
  for (int i = 0; i < 300'000; ++i)
    content += std::to_string(i);
  ASSERT_EQ(::write(fd, content.data(), content.size()), static_cast<ssize_t>(content.size()));
  ASSERT_EQ(c.call({.method = "PUT", .url = url("/store"), .body = fd_body{fd, content.size()}})->status, 201);
  EXPECT_EQ(*stored, content);
  const auto shorter = c.call({.method = "PUT", .url = url("/store"), .body = fd_body{fd, content.size() + 1}});
  ASSERT_FALSE(shorter);
  EXPECT_EQ(shorter.error().code, error_code::io_failed);
  EXPECT_EQ(*stored, content) << "half a body must not arrive as a whole one";
  ::close(fd);
}

TEST_F(HttpClient, LimitsConnectionsToAHost) {
  client c({.connections_per_host = 2});
  std::atomic<int> answered = 0;
  std::promise<void> all;
  for (int i = 0; i < 50; ++i)
    c.send({.url = url("/hello")}, [&](expected<client_response> got) {
      EXPECT_TRUE(got);
      if (++answered == 50)
        all.set_value();
    });
  ASSERT_EQ(all.get_future().wait_for(10s), std::future_status::ready);
  EXPECT_LE(web.counters().accepted, 2U);
}

TEST_F(HttpClient, TellsWhatFailedWithoutSecrets) {
  client c({});
  const auto late = c.call({.url = url("/never?key=hidden"), .deadline = 200ms});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, error_code::timeout);
  EXPECT_NE(late.error().text.find("/never?key=***"), std::string::npos) << late.error().text;
  EXPECT_EQ(late.error().text.find("hidden"), std::string::npos) << late.error().text;
  EXPECT_EQ(c.call({.url = url("/large"), .response_limit = 1000}).error().code, error_code::too_large);
  EXPECT_EQ(c.call({.url = "ftp://127.0.0.1/"}).error().code, error_code::invalid_input);
  EXPECT_EQ(c.call({.url = "nonsense://"}).error().code, error_code::invalid_input);
  client_request split{.url = url("/hello")};
  split.headers.add("A", "b\r\nC: d");
  EXPECT_EQ(c.call(std::move(split)).error().code, error_code::invalid_input);
  const auto port = web.port();
  web.stop(0ms);
  EXPECT_EQ(c.call({.url = fmt::format("http://127.0.0.1:{}/", port)}).error().code, error_code::unavailable);
}

TEST_F(HttpClient, Cancels) {
  client c({});
  std::promise<error_code> ended;
  const auto id = c.send({.url = url("/never")}, [&](expected<client_response> got) { ended.set_value(got ? error_code::none : got.error().code); });
  c.cancel(id);
  c.cancel(id + 1000);
  auto result = ended.get_future();
  ASSERT_EQ(result.wait_for(5s), std::future_status::ready);
  EXPECT_EQ(result.get(), error_code::source_ended);
}

TEST_F(HttpClient, AnswersEverythingWhenItEnds) {
  std::atomic<int> answered = 0;
  {
    client c({});
    for (int i = 0; i < 10; ++i)
      c.send({.url = url("/never")}, [&](expected<client_response> got) {
        EXPECT_FALSE(got);
        ++answered;
      });
  }
  EXPECT_EQ(answered, 10);
}

TEST_F(HttpClient, FollowsAnEventStreamPieceByPiece) {
  client c({});
  std::string seen;
  client_request r{.url = url("/events"), .deadline = 0ms};
  r.on_piece = [&](std::string_view piece) {
    seen.append(piece);
    return seen.find("two") == std::string::npos;
  };
  const auto got = c.call(std::move(r));
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, error_code::source_ended);
  EXPECT_NE(seen.find("data: one\n\n"), std::string::npos);
}

TEST_F(HttpClient, RetriesOnAFreshConnectionWhenTheKeptOneDied) {
  server_options brief;
  brief.idle_deadline = 1s;
  server other(brief);
  other.route("PUT", "/store", {}, [](const request& r, responder answer) { answer(text_response(200, std::string(r.body()))); });
  ASSERT_TRUE(other.start());
  client c({});
  const auto to = fmt::format("http://127.0.0.1:{}/store", other.port());
  EXPECT_EQ(c.call({.method = "PUT", .url = to, .body = "one"})->body, "one");
  const auto until = std::chrono::steady_clock::now() + 5s;
  while (other.counters().active > 0 && std::chrono::steady_clock::now() < until)
    ::usleep(10'000);
  EXPECT_EQ(c.call({.method = "PUT", .url = to, .body = "two"})->body, "two");
}

} // namespace
} // namespace weir::http
