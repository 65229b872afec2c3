// The RUNNER of hls between an engine that says what the test wants and origins that are stand-ins: what it delivers where, over real HTTP.
#include "actors/task_types.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"
#include "tests/unit/actors/cast.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

template <class F>
bool eventually(F condition, std::chrono::milliseconds deadline = 20s) {
  for (const auto end = std::chrono::steady_clock::now() + deadline; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(10ms))
    if (condition())
      return true;
  return condition();
}

/// What an origin was asked, and what it answers.
class stand_in_origin {
public:
  explicit stand_in_origin(std::string token) : token_(std::move(token)) {
    server_.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}", {}, [this](const http::request& r, http::responder answer) { take(r, answer, std::string(r.param("epoch"))); });
    server_.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/segments", {}, [this](const http::request& r, http::responder answer) {
      auto info = describe::from_json<segment_info>(r.header("Weir-Segment").value_or("")).value_or(segment_info{});
      take(r, answer, fmt::format("{}:{}", info.slot, r.body()));
    });
    auto started = server_.start();
    EXPECT_TRUE(started) << started.error().text;
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }
  /// From now on: nothing (0), or this status.
  void answers(int status) {
    std::lock_guard lock(guard_);
    status_ = status;
  }
  std::vector<std::string> asked() const {
    std::lock_guard lock(guard_);
    return asked_;
  }
  std::size_t count(const std::string& what) const {
    auto all = asked();
    return static_cast<std::size_t>(std::ranges::count(all, what));
  }
  /// All that were not answered, with this.
  void answer_held(const error& why) {
    std::lock_guard lock(guard_);
    for (auto& one : std::exchange(held_, {}))
      one.fail(why);
  }

private:
  void take(const http::request& r, const http::responder& answer, std::string what) {
    std::lock_guard lock(guard_);
    if (r.header("Authorization").value_or("") != "Bearer " + token_)
      return void(answer.fail({error_code::unauthorized, "another token"}));
    asked_.push_back(std::move(what));
    if (status_ == 0)
      held_.push_back(answer);
    else if (status_ == 503)
      answer.fail({error_code::unavailable, "this origin does not take segments now: origin a has them"});
    else
      answer(http::empty_response(status_));
  }
  std::string token_;
  mutable std::mutex guard_;
  int status_ = 204;
  std::vector<std::string> asked_;
  std::vector<http::responder> held_;
  http::server server_{http::server_options{.name = "origin", .listen = "127.0.0.1:0"}};
};

class TaskHls : public ::testing::Test {
protected:
  stand_in_origin first{"token of a"}, second{"token of b"};
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<caf::scoped_actor> self;
  std::shared_ptr<http::client> client = std::make_shared<http::client>(http::client_options{});
  node_actor teller;
  task_runner_actor runner;

  void SetUp() override {
    config.set("scheduler.max-threads", std::size_t{2});
    system = std::make_unique<caf::actor_system>(config);
    self = std::make_unique<caf::scoped_actor>(*system);
    teller = system->spawn(stand_in_node, std::make_shared<heard>());
    auto* type = find_task_type("hls");
    ASSERT_NE(type, nullptr);
    task_order order{.task = task_id{"t1"}, .stream = {}, .stream_name = "show", .type = "hls", .options = R"({"profile":"short"})", .epoch = 7, .input_url = "rtmp://127.0.0.1:1/live/show",
                     .publication = "srv/1/1", .origin_url = first.url(), .origin_token = "token of a", .more_inputs = {}, .standby = false};
    runner_tools tools{.http = client, .ladders = {ladder_spec{}}, .program = "/bin/false", .retry = {}, .niceness = 0};
    tools.retry.first = tools.retry.cap = 60s; // its engine is the test
    runner = type->spawn(self->ptr(), teller, std::move(order), tools);
    tell_anon(runner, engine_rungs{1, {{"720p", 1280, 720, 25'000, "avc1.64001f", {3'000'000}}}});
  }
  void TearDown() override {
    caf::anon_send_exit(runner, caf::exit_reason::kill);
    caf::anon_send_exit(teller, caf::exit_reason::kill);
    runner = nullptr;
    teller = nullptr;
    self.reset();
    first.answer_held({error_code::unavailable, "over"});
    client.reset();
    system.reset();
  }
  void segment(std::uint64_t slot) {
    auto text = fmt::format("segment {}", slot);
    auto* file = new int(::memfd_create("segment", MFD_CLOEXEC));
    EXPECT_EQ(::write(*file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    std::shared_ptr<const int> owned(file, [](const int* fd) {
      ::close(*fd);
      delete fd;
    });
    segment_info info{"720p", slot, static_cast<std::int64_t>(slot) * 180'000, 180'000, true, false, std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now()), text.size()};
    tell_anon(runner, engine_segment{1, std::move(info), std::move(owned)});
  }
  static std::string epoch() { return std::to_string((7U << 16U) | 1U); }
};

TEST_F(TaskHls, DeliversAgainWhatWasNotAcknowledged) {
  segment(1);
  ASSERT_TRUE(eventually([&] { return first.count("1:segment 1") == 1; }));
  EXPECT_EQ(first.asked().front(), epoch()) << "it presents itself before it delivers";
  first.answers(0); // it stands still, say
  segment(2);
  segment(3);
  ASSERT_TRUE(eventually([&] { return first.count("2:segment 2") == 1 && first.count("3:segment 3") == 1; }));
  second.answers(503); // it is told to take over, and has not yet
  tell_anon(runner, use_origin{second.url(), "token of b"});
  ASSERT_TRUE(eventually([&] { return second.count(epoch()) >= 3; })) << "every 200 ms";
  EXPECT_EQ(second.count("2:segment 2"), 0U) << "not before it is known there";
  segment(4);
  second.answers(204);
  // Over connections of their own, so in any order.
  ASSERT_TRUE(eventually([&] { return second.count("2:segment 2") == 1 && second.count("3:segment 3") == 1 && second.count("4:segment 4") == 1; }));
  EXPECT_EQ(second.count("1:segment 1"), 0U) << "it is safe";
  // The former one wakes up, and finds that it was fenced off: that is not said of this writer.
  first.answer_held({error_code::fenced, "term 8 of b was accepted"});
  const auto presented = second.count(epoch());
  tell_anon(runner, use_origin{second.url(), "token of b"}); // told again, as after each start of the coordinator
  segment(5);
  ASSERT_TRUE(eventually([&] { return second.count("5:segment 5") == 1; }));
  EXPECT_EQ(second.count(epoch()), presented);
  EXPECT_EQ(first.asked().size(), 4U) << "nothing more came to the former one";
}

} // namespace
} // namespace weir::testing
