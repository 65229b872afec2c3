#include "actors/origin.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/http/client.hpp"
#include "runtime/nginx/edge_probe.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <future>

// What is in and what is shown: tests/unit/origin/intake_test.cpp. The actor over a real store: http_metrics_test.cpp and tests/system.
namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// The ORIGIN's decisions without its actor and its store.
class Origin : public ::testing::Test {
public:
  std::unique_ptr<origin_state> state = std::make_unique<origin_state>();
  timestamp now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());

  /// As a segment log shows it: MSNs from 10 on, one rung.
  static hls::stream_log listed(std::uint64_t entries) {
    hls::stream_log log;
    log.stream = "conf";
    log.instance = 17;
    log.version = entries;
    log.target = 2s;
    log.window = 60s;
    log.hold_back = 10s;
    log.changed = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    log.rungs.resize(1);
    log.rungs[0].info.name = "180p";
    for (std::uint64_t i = 0; i < entries; ++i) {
      hls::log_entry entry;
      entry.msn = 10 + i;
      entry.epoch = 65536;
      entry.durations = {180'000};
      entry.time = log.changed - std::chrono::seconds(2 * (entries - i));
      log.entries.push_back(entry);
    }
    return log;
  }
  void store(std::uint64_t msn) {
    origin::store_order order;
    order.what = origin::store_order::kind::put;
    order.stream = "conf";
    order.place = {17, 65536, "180p", msn};
    order.bytes = std::make_shared<const std::string>(188 * 10, 'G');
    state->note_head(order);
  }
};

TEST_F(Origin, TellsObserversWhatTheNewestSegmentIs) {
  EXPECT_FALSE(state->newest_of({})) << "nothing is listed";
  for (std::uint64_t msn = 10; msn < 15; ++msn) // one more than is listed
    store(msn);
  auto shown = listed(4);
  auto newest = state->newest_of(shown);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->newest.size, 1880u);
  EXPECT_EQ(newest->newest.digest, nginx::head_digest(std::string(1880, 'G')));
  EXPECT_EQ(newest->newest.path, "/s/conf~17/65536/180p/13.ts");
  auto without = shown;
  without.entries.back().gaps = 1;
  EXPECT_FALSE(state->newest_of(without)) << "its newest entry is a gap";
  without = shown;
  without.ended = true;
  EXPECT_FALSE(state->newest_of(without));
  state = std::make_unique<origin_state>();
  auto after = state->newest_of(shown);
  ASSERT_TRUE(after);
  EXPECT_EQ(after->newest.path, newest->newest.path);
  EXPECT_EQ(after->newest.digest, "") << "after a restart only its address is known";
  EXPECT_EQ(after->newest.size, 0u);
}

TEST_F(Origin, KeepsTheHeadsOfAFewSegmentsOfEachStream) {
  for (std::uint64_t msn = 10; msn < 1000; ++msn)
    store(msn);
  EXPECT_LE(state->heads.at("conf").size(), 4 * hls::max_rungs);
  EXPECT_EQ(state->heads.at("conf").back().place.msn, 999u);
}

TEST_F(Origin, NotesHowOldSegmentsAreWhenTheyAreListed) {
  hls::stream_log shown;
  shown.rungs.resize(2);
  for (int i = 0; i < 5; ++i) {
    hls::log_entry entry;
    entry.msn = static_cast<std::uint64_t>(i);
    entry.time = now - std::chrono::seconds(10 - i);
    shown.entries.push_back(entry);
  }
  shown.entries[3].gaps = 0b01;          // absent in one rung
  shown.entries[4].gaps = 0b11;          // nothing of it was ever there
  state->note_ages(shown, 3, now);       // 8 s and 7 s
  shown.entries[2].time = now + 1s;      // the encoder's clock is ahead
  state->note_ages({.rungs = shown.rungs, .entries = {shown.entries[2]}}, 7, now);
  auto counted = state->ages.now();
  EXPECT_EQ(state->ages.count(), 3u);
  EXPECT_EQ(counted.sum, 15.0);
  EXPECT_EQ(counted.buckets[9], 2u) << "up to 8 s";
  EXPECT_EQ(counted.buckets[0], 1u);
}

TEST_F(Origin, HeedsOrdersForThisStartOfItAlone) {
  state->setup.node = node_name{"m1"};
  state->setup.member = "m1";
  state->setup.instance = "2";
  EXPECT_FALSE(state->holds());
  auto takes = [&](std::uint64_t term, std::string instance) { // which keeps what it is given
    origin_orders told{.present = {.term = term, .holder = "m1", .instance = std::move(instance), .members = {}}, .former = {}};
    return state->take(told);
  };
  EXPECT_TRUE(takes(7, "1"));
  EXPECT_FALSE(state->holds()) << "meant for its former start";
  EXPECT_TRUE(takes(8, "2"));
  EXPECT_TRUE(state->holds());
  EXPECT_FALSE(takes(7, "2")) << "of a coordinator that was there before";
  EXPECT_EQ(state->orders.present.term, 8u);
  origin_orders nothing;
  EXPECT_FALSE(state->take(nothing)) << "the coordinator has not heard of this node yet";
}

/// What a director's feed was answered, in the order of the answers.
struct answers {
  std::vector<expected<std::string>> all;
  log_wish wish(std::string reader, hls::news_mark after, std::chrono::milliseconds wait) {
    return {std::move(reader), std::move(after), wait, [this](expected<std::string> page) { all.push_back(std::move(page)); }};
  }
  hls::log_page last() {
    auto page = all.empty() || !all.back() ? expected<hls::log_page>(fail(error_code::internal, "no page")) : hls::parse_log_page(*all.back());
    EXPECT_TRUE(page) << page.error().text;
    return page.value_or(hls::log_page{});
  }
};

TEST_F(Origin, TellsOnlyWhatChangedAsSoonAsItChanges) {
  answers heard;
  origin_state::time_point t{std::chrono::hours(1)};
  state->take(heard.wish("d", {}, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 1u) << "a reader that has nothing hears at once that there is nothing";
  auto mark = heard.last().next;
  state->take(heard.wish("d", mark, 20s), t, now);
  state->answer_readers(t + 19s, now);
  EXPECT_EQ(heard.all.size(), 1u);
  state->news.add(listed(4));
  state->answer_readers(t + 19s, now);
  ASSERT_EQ(heard.all.size(), 2u);
  ASSERT_EQ(heard.last().logs.size(), 1u);
  EXPECT_EQ(heard.last().logs[0].entries.size(), 4u);
  EXPECT_TRUE(state->readers.empty());
  state->take(heard.wish("d", heard.last().next, 1s), t, now);
  state->answer_readers(t + 999ms, now);
  EXPECT_EQ(heard.all.size(), 2u);
  state->answer_readers(t + 1s, now);
  ASSERT_EQ(heard.all.size(), 3u) << "it has waited for long enough";
  EXPECT_TRUE(heard.last().logs.empty());
  state->take(heard.wish("d", heard.last().next, 0s), t, now);
  EXPECT_EQ(heard.all.size(), 4u) << "who does not want to wait";
  state->take(heard.wish("d", heard.last().next, 24h), t, now);
  state->answer_readers(t + 20s, now);
  EXPECT_EQ(heard.all.size(), 5u) << "nobody waits for longer than 20 s";
}

TEST_F(Origin, TellsEverythingAfterARestart) {
  answers heard;
  state->take(heard.wish("d", {}, 0s), {}, now);
  auto mark = heard.last().next;
  state = std::make_unique<origin_state>();
  state->take(heard.wish("d", mark, 20s), {}, now);
  ASSERT_EQ(heard.all.size(), 2u);
  EXPECT_NE(heard.last().next.boot, mark.boot);
}

TEST_F(Origin, ManyWhoWaitAreBoundedAndNobodyIsForgotten) {
  answers heard;
  origin_state::time_point t{std::chrono::hours(1)};
  state->take(heard.wish("d", {}, 0s), t, now);
  auto mark = heard.last().next;
  for (int i = 0; i < 64; ++i)
    state->take(heard.wish("d" + std::to_string(i), mark, 20s), t, now);
  EXPECT_EQ(heard.all.size(), 1u);
  state->take(heard.wish("one more", mark, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 2u);
  EXPECT_EQ(heard.all.back().error().code, error_code::too_many);
  state->take(heard.wish("d7", mark, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 3u);
  EXPECT_EQ(heard.all.back().error().code, error_code::conflict) << "its former question is over";
  EXPECT_EQ(state->readers.size(), 64u);
  state->dismiss_readers({error_code::unavailable, "the origin ends"});
  EXPECT_EQ(heard.all.size(), 67u);
  EXPECT_EQ(heard.all.back().error().code, error_code::unavailable);
  EXPECT_TRUE(state->readers.empty());
}

TEST(OriginRoutes, SayThatSegmentsAndMapsNeverChange) {
  auto gate = std::make_shared<viewing::gate>();
  gate->use(viewing::with_version({.version = 0, .keys = {}, .signed_only = {}}));
  auto elsewhere = [](const origin::segment_id&, auto done) { done(std::make_shared<const std::string>("media")); };
  http::server web{{}};
  add_origin_routes(web, origin_actor{}, nullptr, "token", {}, gate, elsewhere, nullptr);
  ASSERT_TRUE(web.start());
  http::client client{{}};
  const auto longest_window = 12h; // that may be configured
  for (auto [name, type] : {std::pair{"10.ts", "video/mp2t"}, {"10.m4s", "video/iso.segment"}, {"init.mp4", "video/mp4"}}) {
    http::client_request request;
    request.url = fmt::format("http://127.0.0.1:{}/s/conf~17/65536/180p/{}", web.port(), name);
    const auto got = client.call(std::move(request)).value_or(http::client_response{});
    EXPECT_EQ(got.status, 200) << name;
    EXPECT_EQ(got.headers.find("Content-Type"), type);
    EXPECT_EQ(got.headers.find("Cache-Control"), fmt::format("public, max-age={}, immutable", longest_window / 1s)) << name;
    EXPECT_EQ(got.headers.find("ETag"), fmt::format("\"65536-{}\"", name));
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*") << name;
  }
}

TEST(OriginRoutes, SayThatTheyKnowNobodyYetUntilTheyHaveHeardWhoMayWatchWhat) {
  auto gate = std::make_shared<viewing::gate>();
  http::server web{{}};
  add_origin_routes(web, origin_actor{}, nullptr, "token", {}, gate, nullptr, std::make_shared<origin::part_shelf>());
  ASSERT_TRUE(web.start());
  http::client client{{}};
  auto get = [&](std::string_view path) {
    http::client_request request;
    request.url = fmt::format("http://127.0.0.1:{}{}", web.port(), path);
    auto got = client.call(std::move(request));
    return got ? *got : http::client_response{};
  };
  const std::string segment = "/s/conf~17/65536/180p/10.0.m4s";
  const auto with_token = fmt::format("/t/{}{}", viewing::make_token(viewing::key_of(std::string(32, 'k')), "conf", 4'000'000'000), segment);
  for (auto& path : {segment, with_token}) {
    const auto got = get(path);
    EXPECT_EQ(got.status, 503) << path;
    EXPECT_EQ(got.headers.find("Retry-After"), "1") << path;
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*") << path;
  }
  gate->use(viewing::with_version({.version = 0, .keys = {}, .signed_only = {}}));
  EXPECT_EQ(get(segment).status, 404) << "it is open, and not there";
  EXPECT_EQ(get(with_token).status, 403);
}

// --- parts --------------------------------------------------------------------------------------------------------------------------------------
TEST(OriginRoutes, HoldWhoFetchesThePartThatComesNextUntilItIsThere) {
  auto shelf = std::make_shared<origin::part_shelf>();
  hls::stream_log shown;
  shown.stream = "conf";
  shown.instance = 17;
  shown.target = 4s;
  shown.part_target = 1s;
  shown.rungs.resize(1);
  shown.rungs[0].info.name = "180p";
  shown.open = {.msn = 10, .epoch = 65536, .hint_msn = 10, .hint_part = 1};
  shelf->follow(shown, steady_clock::now());
  auto gate = std::make_shared<viewing::gate>();
  gate->use(viewing::with_version({.version = 0, .keys = {}, .signed_only = {"secret"}}));
  http::server web{{}};
  add_origin_routes(web, origin_actor{}, nullptr, "token", {}, gate, nullptr, shelf);
  ASSERT_TRUE(web.start());
  http::client client{{}};
  auto get = [&](std::string_view path) {
    auto answer = std::make_shared<std::promise<http::client_response>>();
    http::client_request request;
    request.url = fmt::format("http://127.0.0.1:{}{}", web.port(), path);
    client.send(std::move(request), [answer](expected<http::client_response> r) { answer->set_value(r ? *r : http::client_response{}); });
    return answer->get_future();
  };
  EXPECT_EQ(get("/s/conf~17/65536/180p/10.0.m4s").get().status, 404) << "nobody has it, and nobody waits for it";
  EXPECT_EQ(get("/s/secret~17/65536/180p/10.1.m4s").get().status, 403);
  auto first = get("/s/conf~17/65536/180p/10.1.m4s"), second = get("/s/conf~17/65536/180p/10.1.m4s");
  while (shelf->waiting() < 2) // the test's own time limit ends it
    std::this_thread::yield();
  ASSERT_TRUE(shelf->put({"conf", {17, 65536, "180p", 10, 1}}, std::make_shared<const std::string>("moof and mdat"), steady_clock::now()));
  for (auto* one : {&first, &second}) {
    auto got = one->get();
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, "moof and mdat");
    EXPECT_EQ(got.headers.find("Content-Type"), "video/iso.segment");
    EXPECT_EQ(got.headers.find("Cache-Control"), "public, max-age=43200, immutable");
    EXPECT_EQ(got.headers.find("ETag"), "\"65536-10.1.m4s\"");
    EXPECT_EQ(got.headers.find("Access-Control-Allow-Origin"), "*");
  }
  auto third = get("/s/conf~17/65536/180p/10.2.m4s");
  while (shelf->waiting() < 1)
    std::this_thread::yield();
  shown.open = {};
  shelf->follow(shown, steady_clock::now());
  EXPECT_EQ(third.get().status, 404) << "the writer is gone";
}

} // namespace
} // namespace weir::testing
