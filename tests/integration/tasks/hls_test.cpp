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
    server_.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}", {}, [this](const http::request& r, http::responder answer) {
      {
        std::lock_guard lock(guard_);
        hellos_.push_back(nlohmann::json::parse(r.body()));
      }
      take(r, answer, std::string(r.param("epoch")));
    });
    server_.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/segments", {}, [this](const http::request& r, http::responder answer) {
      auto info = describe::from_json<segment_info>(r.header("Weir-Segment").value_or("")).value_or(segment_info{});
      if (auto told = r.header("Weir-Key-Frames")) {
        std::lock_guard lock(guard_);
        keys_.push_back(describe::from_json<key_frame_list>(*told).value_or(key_frame_list{}).keys);
      }
      take(r, answer, fmt::format("{}:{}", info.slot, r.body()));
    });
    server_.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/parts", {}, [this](const http::request& r, http::responder answer) {
      auto info = describe::from_json<part_info>(r.header("Weir-Part").value_or("")).value_or(part_info{});
      take(r, answer, fmt::format("{}.{}:{}", info.slot, info.part, r.body()), true);
    });
    auto started = server_.start();
    EXPECT_TRUE(started) << started.error().text;
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", server_.port()); }
  /// From now on: nothing (0), or this status.
  void answers(int status) {
    std::lock_guard lock(guard_);
    status_ = part_status_ = status;
  }
  void answers_parts(int status) {
    std::lock_guard lock(guard_);
    part_status_ = status;
  }
  std::vector<std::string> asked() const {
    std::lock_guard lock(guard_);
    return asked_;
  }
  std::vector<nlohmann::json> hellos() const {
    std::lock_guard lock(guard_);
    return hellos_;
  }
  /// Of the segments that came with any.
  std::vector<std::vector<key_frame>> keys() const {
    std::lock_guard lock(guard_);
    return keys_;
  }
  std::size_t count(const std::string& what) const {
    auto all = asked();
    return static_cast<std::size_t>(std::ranges::count(all, what));
  }
  /// Of those that are parts.
  std::vector<std::string> parts() const {
    auto all = asked();
    std::erase_if(all, [](auto& what) { return what.find('.') == std::string::npos; });
    return all;
  }
  /// All that were not answered, with this.
  void answer_held(const error& why) {
    std::lock_guard lock(guard_);
    for (auto& one : std::exchange(held_, {}))
      one.fail(why);
  }

private:
  void take(const http::request& r, const http::responder& answer, std::string what, bool part = false) {
    std::lock_guard lock(guard_);
    if (r.header("Authorization").value_or("") != "Bearer " + token_)
      return void(answer.fail({error_code::unauthorized, "another token"}));
    asked_.push_back(std::move(what));
    const auto status = part ? part_status_ : status_;
    if (status == 0)
      held_.push_back(answer);
    else if (status == 503)
      answer.fail({error_code::unavailable, "this origin does not take segments now: origin a has them"});
    else
      answer(http::empty_response(status));
  }
  std::string token_;
  mutable std::mutex guard_;
  int status_ = 204, part_status_ = 204;
  std::vector<nlohmann::json> hellos_;
  std::vector<std::string> asked_;
  std::vector<std::vector<key_frame>> keys_;
  std::vector<http::responder> held_;
  http::server server_{http::server_options{.name = "origin", .listen = "127.0.0.1:0"}};
};

/// What the node was told of the run.
struct told {
  std::mutex guard;
  std::vector<task_report> reports;

  /// Its phase in the newest report of this text; none: there is none yet.
  std::optional<task_phase> phase(const std::string& text) {
    std::lock_guard lock(guard);
    for (auto r = reports.rbegin(); r != reports.rend(); ++r)
      if (r->text == text)
        return r->phase;
    return std::nullopt;
  }
  std::size_t count(task_phase phase) {
    std::lock_guard lock(guard);
    return static_cast<std::size_t>(std::ranges::count(reports, phase, &task_report::phase));
  }
};

node_actor::behavior_type listening_node(node_actor::pointer self, std::shared_ptr<told> all) {
  return {
    [](const assign&) {},
    [](const revoke&) {},
    [](const retry_task&) {},
    [=](const task_report& report) {
      std::lock_guard lock(all->guard);
      all->reports.push_back(report);
    },
    [](const witness_answer&) {},
    [](const witness_question&) {},
    [](const use_tools&) {},
    [](const tick&) {},
    [=](const stop&) { self->quit(); },
    [](const ask_status&) { return actor_report{}; },
  };
}

class TaskHls : public ::testing::Test {
protected:
  stand_in_origin first{"token of a"}, second{"token of b"};
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  std::unique_ptr<caf::scoped_actor> self;
  std::shared_ptr<http::client> client = std::make_shared<http::client>(http::client_options{.connections_per_host = 32});
  std::shared_ptr<told> node = std::make_shared<told>();
  node_actor teller;
  task_runner_actor runner;

  void SetUp() override {
    config.set("scheduler.max-threads", std::size_t{2});
    system = std::make_unique<caf::actor_system>(config);
    self = std::make_unique<caf::scoped_actor>(*system);
    teller = system->spawn(listening_node, node);
  }
  void start(std::string options = R"({"profile":"short"})", bool standby = false, std::vector<std::string> rungs = {"720p"}, std::chrono::milliseconds part = {}) {
    auto* type = find_task_type("hls");
    ASSERT_NE(type, nullptr);
    task_order order{.task = task_id{"t1"}, .stream = {}, .stream_name = "show", .type = "hls", .options = std::move(options), .epoch = 7, .input_url = "rtmp://127.0.0.1:1/live/show",
                     .publication = "srv/1/1", .origin_url = first.url(), .origin_token = "token of a", .more_inputs = {}, .standby = standby};
    runner_tools tools{.http = client, .ladders = {ladder_spec{}}, .program = "/bin/false", .retry = {}, .niceness = 0};
    tools.retry.first = tools.retry.cap = 60s; // its engine is the test
    runner = type->spawn(self->ptr(), teller, std::move(order), tools);
    engine_rungs made{.run = 1, .rungs = {}, .maps = {}, .part = part};
    for (auto& name : rungs)
      if (name == "audio")
        made.rungs.push_back({.name = name, .codecs = "mp4a.40.2", .nominal = {128'000}, .rendition = true});
      else
        made.rungs.push_back({name, 1280, 720, 25'000, "avc1.64001f", {3'000'000}});
    tell_anon(runner, std::move(made));
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
  static std::shared_ptr<const int> file_of(const std::string& text) {
    auto* file = new int(::memfd_create("segment", MFD_CLOEXEC));
    EXPECT_EQ(::write(*file, text.data(), text.size()), static_cast<ssize_t>(text.size()));
    return {file, [](const int* fd) {
              ::close(*fd);
              delete fd;
            }};
  }
  void segment(std::uint64_t slot, const std::string& rung = "720p", std::int64_t duration = 180'000, std::chrono::milliseconds age = 0ms) {
    auto text = fmt::format("segment {}", slot);
    const auto captured = std::chrono::floor<std::chrono::milliseconds>(std::chrono::system_clock::now() - age);
    segment_info info{rung, slot, static_cast<std::int64_t>(slot) * 180'000, duration, true, false, captured, text.size()};
    info.keys = keys;
    tell_anon(runner, engine_segment{1, std::move(info), file_of(text)});
  }
  void part(std::uint64_t slot, std::uint32_t number) {
    const auto text = fmt::format("part {} of {}", number, slot);
    part_info info{"720p", slot, number, static_cast<std::int64_t>(slot) * 360'000 + number * 30'000, 30'000, number == 0, false, false, {}, text.size()};
    tell_anon(runner, engine_part{1, std::move(info), file_of(text)});
  }
  nlohmann::json status() {
    nlohmann::json out;
    (*self)
      ->request(runner, caf::duration{10s}, ask_status{})
      .receive([&](const actor_report& r) { out = nlohmann::json::parse(r.status); }, [](caf::error& e) { ADD_FAILURE() << caf::to_string(e); });
    return out;
  }
  bool counts(const char* what, std::uint64_t wanted) {
    return eventually([&] { return status().value(what, std::uint64_t{0}) == wanted; });
  }
  /// The engine is well, says its report with this text. Its own one has ended and waits to be tried again.
  std::optional<task_phase> after_a_report_that_it_runs(const std::string& text) {
    EXPECT_TRUE(eventually([&] { return node->count(task_phase::backing_off) > 0; }));
    tell_anon(runner, engine_report{.phase = task_phase::running, .run = 1, .cause = end_cause::none, .text = text, .progress = {}, .log_tail = {}, .ended = false});
    EXPECT_TRUE(eventually([&] { return node->phase(text).has_value(); }));
    return node->phase(text);
  }
  static std::string epoch() { return std::to_string((7U << 16U) | 1U); }

  std::vector<key_frame> keys; ///< of the segments to come
};

TEST_F(TaskHls, DeliversAgainWhatWasNotAcknowledged) {
  start();
  segment(1);
  ASSERT_TRUE(eventually([&] { return first.count("1:segment 1") == 1; }));
  EXPECT_EQ(first.asked().front(), epoch()) << "it presents itself before it delivers";
  EXPECT_TRUE(first.keys().empty()) << "none are known: an origin hears nothing of them";
  keys = {{0, 564, 1000}, {90'000, 2000, 900}};
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
  ASSERT_FALSE(second.keys().empty());
  EXPECT_EQ(second.keys().front(), keys) << "beside what describes the segment";
  // The former one wakes up, and finds that it was fenced off: that is not said of this writer.
  first.answer_held({error_code::fenced, "term 8 of b was accepted"});
  const auto presented = second.count(epoch());
  tell_anon(runner, use_origin{second.url(), "token of b"}); // told again, as after each start of the coordinator
  segment(5);
  ASSERT_TRUE(eventually([&] { return second.count("5:segment 5") == 1; }));
  EXPECT_EQ(second.count(epoch()), presented);
  EXPECT_EQ(first.asked().size(), 4U) << "nothing more came to the former one";
  EXPECT_FALSE(second.hellos().front().contains("part"));
  EXPECT_FALSE(status().contains("parts_lost"));
}

// --- sound of its own ----------------------------------------------------------------------------------------------------------------------
TEST_F(TaskHls, SaysOfSoundWhichLanguageItIs) {
  start(R"({"profile":"short","audio":"separate","language":"pt-BR"})", false, {"720p", "audio"});
  segment(1);
  segment(1, "audio");
  ASSERT_TRUE(counts("delivered", 2));
  const auto rungs = first.hellos().front().at("rungs");
  ASSERT_EQ(rungs.size(), 2U);
  EXPECT_FALSE(rungs[0].contains("rendition")) << "an origin of before renditions takes a writer without";
  EXPECT_FALSE(rungs[0].contains("language"));
  EXPECT_EQ(rungs[1].at("name"), "audio");
  EXPECT_EQ(rungs[1].at("rendition"), true);
  EXPECT_EQ(rungs[1].at("language"), "pt-BR");
}

TEST(TaskHlsOptions, HaveSoundMuxedByDefaultAndKnowLanguages) {
  auto plain = canonical_options("hls", "{}");
  ASSERT_TRUE(plain) << plain.error().text;
  EXPECT_EQ(nlohmann::json::parse(*plain).at("audio"), "muxed");
  EXPECT_TRUE(canonical_options("hls", R"({"audio": "separate", "language": "de"})"));
  auto odd = canonical_options("hls", R"({"audio": "separate", "language": "d\"e"})");
  ASSERT_FALSE(odd);
  EXPECT_NE(odd.error().text.find("language"), std::string::npos) << odd.error().text;
  EXPECT_FALSE(canonical_options("hls", R"({"audio": "apart"})"));
}

// --- a second run ---------------------------------------------------------------------------------------------------------------------------
TEST_F(TaskHls, ASecondRunSaysThatItRunsWhenItCouldGoOnInThePlaceOfTheFirst) {
  start(R"({"profile":"standard"})", true, {"720p", "360p"});
  EXPECT_EQ(after_a_report_that_it_runs("nothing yet"), task_phase::starting);
  for (auto* rung : {"720p", "360p"})
    segment(10, rung, 270'000, 3s);
  ASSERT_TRUE(counts("delivered", 2));
  EXPECT_EQ(after_a_report_that_it_runs("within which it began"), task_phase::starting);
  for (auto* rung : {"720p", "360p"})
    segment(11, rung, 540'000, 30s);
  ASSERT_TRUE(counts("delivered", 4));
  EXPECT_EQ(after_a_report_that_it_runs("long ago"), task_phase::starting);
  segment(12, "720p", 540'000, 6s);
  ASSERT_TRUE(counts("delivered", 5));
  EXPECT_EQ(after_a_report_that_it_runs("in one rung"), task_phase::starting);
  first.answers(0); // no acknowledgement
  segment(12, "360p", 540'000, 6s);
  ASSERT_TRUE(eventually([&] { return std::ranges::count(first.asked(), "12:segment 12") == 2; }));
  EXPECT_EQ(after_a_report_that_it_runs("not acknowledged"), task_phase::starting);
  first.answers(204);
  first.answer_held({error_code::unavailable, "try again"});
  ASSERT_TRUE(eventually([&] { return node->count(task_phase::running) == 1; })) << "and says so at once";
  EXPECT_EQ(after_a_report_that_it_runs("from now on"), task_phase::running);
}

TEST_F(TaskHls, AFirstRunSaysAtOnceThatItRuns) {
  start();
  EXPECT_EQ(after_a_report_that_it_runs("nothing yet"), task_phase::running);
}

// --- parts (low latency) --------------------------------------------------------------------------------------------------------------------
const std::string low_latency = R"({"profile":"low_latency","part":"333ms"})";

TEST_F(TaskHls, DeliversPartsAtOnceBesideSegments) {
  start(low_latency, false, {"720p"}, 320ms);
  part(1, 0);
  ASSERT_TRUE(counts("parts_lost", 1)) << "the origin does not know this writer yet";
  segment(1);
  ASSERT_TRUE(counts("delivered", 1));
  EXPECT_EQ(first.hellos().front().value("part", ""), "320ms") << "as it is made, not as it was asked for";
  // One after the other where each is answered before the next is made.
  std::vector<std::string> wanted;
  for (std::uint32_t n = 0; n < 3; ++n) {
    part(2, n);
    wanted.push_back(fmt::format("2.{}:part {} of 2", n, n));
    ASSERT_TRUE(eventually([&] { return first.parts() == wanted; })) << n;
  }
  ASSERT_TRUE(counts("parts_delivered", 3));
  // An origin that stands still gets sixteen and no more; segments are not behind them.
  first.answers_parts(0);
  for (std::uint32_t n = 0; n < 20; ++n)
    part(3, n);
  segment(2);
  ASSERT_TRUE(counts("delivered", 2));
  ASSERT_TRUE(eventually([&] { return first.parts().size() == 3 + 16; }));
  auto got = first.parts();
  for (std::uint32_t n = 0; n < 16; ++n)
    EXPECT_EQ(std::ranges::count(got, fmt::format("3.{}:part {} of 3", n, n)), 1) << "the oldest ones, " << n;
  first.answers_parts(204);
  first.answer_held({error_code::unavailable, "no"});
  ASSERT_TRUE(counts("parts_delivered", 3 + 4));
  EXPECT_TRUE(counts("parts_lost", 1 + 16)) << "none is tried again";
  EXPECT_EQ(first.parts().size(), 3U + 20U);
}

TEST_F(TaskHls, DropsPartsThatAreLate) {
  start(low_latency, false, {"720p"}, 320ms);
  segment(1);
  ASSERT_TRUE(counts("delivered", 1));
  first.answers_parts(0);
  for (std::uint32_t n = 0; n < 18; ++n)
    part(2, n);
  ASSERT_TRUE(eventually([&] { return first.parts().size() == 16; }));
  const auto late = std::chrono::steady_clock::now() + 4s; // a target duration
  ASSERT_TRUE(eventually([&] { return std::chrono::steady_clock::now() > late; }));
  first.answers_parts(204);
  part(3, 0);
  ASSERT_TRUE(counts("parts_lost", 2)) << "those that waited";
  first.answer_held({error_code::invalid_input, "too late for these, too"});
  ASSERT_TRUE(counts("parts_delivered", 1));
  ASSERT_TRUE(counts("parts_lost", 18));
  EXPECT_EQ(first.parts().size(), 17U);
  // Nor does it carry parts from one origin to the next.
  first.answers_parts(0);
  part(3, 1);
  ASSERT_TRUE(eventually([&] { return first.parts().size() == 18; }));
  tell_anon(runner, use_origin{second.url(), "token of b"});
  ASSERT_TRUE(counts("parts_lost", 19));
  segment(2);
  ASSERT_TRUE(counts("delivered", 2));
  part(3, 2);
  ASSERT_TRUE(eventually([&] { return second.parts() == std::vector<std::string>{"3.2:part 2 of 3"}; }));
}

TEST_F(TaskHls, ASecondRunAsksWithTheFirstPartOfASegmentWhetherItIsInCharge) {
  start(low_latency, true, {"720p"}, 320ms);
  segment(1);
  ASSERT_TRUE(counts("delivered", 1));
  EXPECT_EQ(first.hellos().front().value("part", ""), "320ms");
  first.answers_parts(409); // the first run is
  part(2, 0);
  part(2, 1);
  segment(2);
  ASSERT_TRUE(counts("delivered", 2));
  ASSERT_TRUE(eventually([&] { return first.parts().size() == 1; }));
  EXPECT_EQ(status().value("parts_lost", -1), 0) << "nobody waits for them";
  first.answers_parts(204);
  part(3, 0);
  ASSERT_TRUE(counts("parts_delivered", 1));
  part(3, 1);
  ASSERT_TRUE(counts("parts_delivered", 2));
  EXPECT_EQ(first.parts(), (std::vector<std::string>{"2.0:part 0 of 2", "3.0:part 0 of 3", "3.1:part 1 of 3"}));
}

} // namespace
} // namespace weir::testing
