// What only a store in a bucket has: late requests, keys, servers that refuse in many words. On a real server where one can say it, otherwise on a stand-in.
#include "runtime/http/server.hpp"
#include "tests/integration/origin/s3_server.hpp"

#include <gtest/gtest.h>

#include <future>
#include <thread>

#include <fmt/format.h>

namespace weir::origin {
namespace {

using namespace std::chrono_literals;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

template <class F>
bool comes_true(F what) {
  for (auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until; std::this_thread::sleep_for(10ms))
    if (what())
      return true;
  return what();
}

std::string text_of(const segment_store& store, const hls::segment_place& place) {
  auto segment = store.open("show", place);
  return segment ? *segment->bytes : std::string(to_string(segment.error().code));
}

struct S3Store : testing::Test {
  s3_server& server = s3_server::one();
  s3_options options = server.options();
  const hls::segment_place place{1, 1, "720p", 7};
  void TearDown() override {
    server.hang(false);
    server.full(false);
    server.slow(0ms);
    server.let_go();
  }
  std::shared_ptr<s3_store> claimed(std::uint64_t term) {
    auto store = open_s3(options);
    auto done = store->claim(term);
    EXPECT_TRUE(done) << done.error().text;
    return store;
  }
};

TEST_F(S3Store, ALateSegmentOfAFormerOwnerIsReadByNobody) {
  auto former = claimed(1);
  server.hold("/7.ts.1.");
  auto late = std::async(std::launch::async, [&] { return former->put("show", place, bytes("former")); });
  ASSERT_TRUE(comes_true([&] { return server.holds(); })); // its claim was seen, and its request is with the server
  auto owner = claimed(2);
  ASSERT_TRUE(owner->put("show", place, bytes("owner")));
  server.let_go();
  EXPECT_TRUE(late.get()) << "nothing is said of it to anybody before its log is saved";
  EXPECT_EQ(text_of(*open_s3(options), place), "owner");
  EXPECT_EQ(former->save_log("show", "{lists it}", false).error().code, error_code::fenced);
  EXPECT_EQ(owner->sweep([](auto&&...) { return true; }).value(), 1U) << "the former one's";
  EXPECT_EQ(text_of(*open_s3(options), place), "owner");
}

TEST_F(S3Store, ALateLogOfAFormerOwnerIsNotAcknowledgedAndCountsNoMore) {
  auto former = claimed(1);
  ASSERT_TRUE(former->save_log("show", "{1}", false));
  server.hold("/1.2.json"); // the second version of "show"
  auto late = std::async(std::launch::async, [&] { return former->save_log("show", "{late}", false); });
  ASSERT_TRUE(comes_true([&] { return server.holds(); }));
  auto owner = claimed(2);
  server.let_go();
  EXPECT_EQ(late.get().error().code, error_code::fenced);
  EXPECT_EQ(owner->load_log("show").value(), "{1}");
  EXPECT_EQ(claimed(3)->load_log("show").value(), "{1}") << "although the owner in between has saved nothing";
}

TEST_F(S3Store, ALateFirstLogMakesNoStream) {
  auto former = claimed(1);
  server.hold("/.logs/show/1.");
  auto late = std::async(std::launch::async, [&] { return former->save_log("show", "{late}", false); });
  ASSERT_TRUE(comes_true([&] { return server.holds(); }));
  auto owner = claimed(2);
  server.let_go();
  EXPECT_EQ(late.get().error().code, error_code::fenced);
  EXPECT_EQ(owner->load_log("show").error().code, error_code::not_found);
  EXPECT_EQ(claimed(3)->streams().value(), std::vector<std::string>{});
}

TEST_F(S3Store, ARequestGivenUpForLostNeverReplacesANewerLog) {
  auto impatient = options;
  impatient.deadline = 2s;
  auto store = open_s3(impatient);
  ASSERT_TRUE(comes_true([&] { return store->claim(1).has_value(); }));
  server.hold("/1.1.json");
  EXPECT_EQ(store->save_log("show", "{lost}", false).error().code, error_code::timeout);
  ASSERT_TRUE(server.holds());
  ASSERT_TRUE(comes_true([&] { return store->save_log("show", "{newer}", false).has_value(); }));
  server.let_go();
  auto reader = open_s3(options);
  ASSERT_TRUE(comes_true([&] { return server.carried_out(); })) << "nobody waits for it any more";
  EXPECT_EQ(reader->load_log("show").value(), "{newer}");
  EXPECT_EQ(claimed(2)->load_log("show").value(), "{newer}");
}

TEST_F(S3Store, AClaimThatLandsLateGivesAFormerOwnerNoLicence) {
  options.holder = "former";
  auto former = claimed(1);
  auto impatient = options;
  impatient.deadline = 2s;
  auto again = open_s3(impatient); // puts that claim once more, as a further attempt does
  server.hold("/.claims/1.former");
  ASSERT_TRUE(comes_true([&] { return again->claim(1).error().code == error_code::timeout && server.holds(); }));
  options.holder = "owner";
  auto owner = claimed(2);
  server.let_go();
  ASSERT_TRUE(comes_true([&] { return server.carried_out(); })) << "its claim is there again";
  EXPECT_EQ(former->put("show", place, bytes("former")).error().code, error_code::fenced);
  EXPECT_EQ(former->save_log("show", "{former}", false).error().code, error_code::fenced);
  EXPECT_TRUE(owner->put("show", place, bytes("owner")));
  ASSERT_TRUE(owner->sweep([](auto&&...) { return true; }));
  EXPECT_TRUE(owner->save_log("show", "{owner}", false)) << "its claim is still there";
}

TEST_F(S3Store, ASegmentGivenUpForLostNeverReplacesTheNextOneOfItsPlace) {
  options.cache_bytes = 0;
  auto impatient = options;
  impatient.deadline = 2s;
  auto store = open_s3(impatient);
  ASSERT_TRUE(comes_true([&] { return store->claim(1).has_value(); }));
  server.hold("/7.ts.1.1"); // the first put
  ASSERT_TRUE(comes_true([&] { return store->put("show", place, bytes("lost")).error().code == error_code::timeout && server.holds(); }));
  ASSERT_TRUE(comes_true([&] { return store->put("show", place, bytes("newer")).has_value(); }));
  server.let_go();
  ASSERT_TRUE(comes_true([&] { return server.carried_out(); }));
  EXPECT_EQ(text_of(*store, place), "newer");
  EXPECT_EQ(text_of(*open_s3(options), place), "newer") << "also for who does not know which one counts";
  auto later = claimed(2);
  EXPECT_GE(later->sweep([](auto&&...) { return true; }).value(), 1U) << "the lost one";
  EXPECT_EQ(later->usage().value().files, 1U);
  EXPECT_EQ(text_of(*later, place), "newer");
}

TEST_F(S3Store, WhoClaimsNothingWritesNothing) {
  auto store = open_s3(options);
  EXPECT_EQ(store->put("show", place, bytes("x")).error().code, error_code::fenced);
  EXPECT_EQ(store->save_log("show", "{}", false).error().code, error_code::fenced);
  EXPECT_EQ(store->claimed().value(), 0U);
  EXPECT_EQ(store->usage().value().files, 0U);
}

TEST_F(S3Store, OfTwoWhoClaimTheSameTermAtMostOneHasIt) {
  for (std::uint64_t term = 1; term < 6; ++term) {
    auto a = open_s3(options), b = open_s3(options);
    auto first = std::async(std::launch::async, [&] { return a->claim(term); });
    auto second = b->claim(term);
    auto other = first.get();
    EXPECT_FALSE(other && second);
    for (auto* lost : {&other, &second})
      if (!*lost) {
        EXPECT_EQ(lost->error().code, error_code::fenced) << lost->error().text;
      }
    EXPECT_EQ(a->put("show", place, bytes("a")).has_value(), other.has_value());
    EXPECT_EQ(b->put("show", place, bytes("b")).has_value(), second.has_value());
  }
}

TEST_F(S3Store, AHolderGoesOnWithItsTermWhenItBeginsAnew) {
  options.holder = "origin-1";
  {
    auto store = claimed(7);
    for (int i = 1; i <= 3; ++i)
      ASSERT_TRUE(store->save_log("show", fmt::format("{{{}}}", i), false));
    ASSERT_TRUE(store->put("show", place, bytes("before")));
  }
  auto again = claimed(7);
  EXPECT_EQ(again->load_log("show").value(), "{3}");
  ASSERT_TRUE(again->save_log("show", "{4}", false));
  EXPECT_EQ(again->load_log("show").value(), "{4}");
  EXPECT_EQ(text_of(*again, place), "before");
  ASSERT_TRUE(again->put("show", place, bytes("anew")));
  EXPECT_EQ(text_of(*open_s3(options), place), "anew");
}

TEST_F(S3Store, KeepsOneVersionOfALog) {
  auto store = claimed(1);
  for (int i = 0; i < 12; ++i)
    ASSERT_TRUE(store->save_log("show", fmt::format("{{{}}}", i), false));
  EXPECT_TRUE(comes_true([&] { return store->usage().value().files == 1; })) << store->usage().value().files;
  EXPECT_EQ(store->load_log("show").value(), "{11}");
}

TEST_F(S3Store, ReadsListsOfManyPages) {
  options.page = 3;
  auto store = claimed(1);
  for (std::uint64_t msn = 0; msn < 10; ++msn)
    ASSERT_TRUE(store->put("show", {1, 1, "720p", msn}, bytes("x")));
  for (auto stream : {"a", "b", "c", "d", "e"})
    ASSERT_TRUE(store->save_log(stream, "{}", false));
  EXPECT_EQ(store->usage().value().files, 15U);
  auto later = claimed(2);
  EXPECT_EQ(later->streams().value().size(), 5U);
  EXPECT_EQ(later->sweep([](auto, auto& p) { return p.msn < 2; }).value(), 8U);
  EXPECT_EQ(later->usage().value().files, 7U);
  ASSERT_TRUE(later->remove_stream("show"));
  EXPECT_EQ(later->usage().value().files, 5U);
}

TEST_F(S3Store, LeavesWhatIsNotIts) {
  auto nested = options;
  nested.prefix += "/another";
  auto other = open_s3(nested);
  ASSERT_TRUE(other->claim(1));
  ASSERT_TRUE(other->put("show", place, bytes("theirs")));
  ASSERT_TRUE(other->save_log("show", "{theirs}", false));
  auto store = claimed(5);
  EXPECT_EQ(store->sweep([](auto&&...) { return false; }).value(), 0U);
  EXPECT_EQ(text_of(*open_s3(nested), place), "theirs");
  EXPECT_EQ(other->load_log("show").value(), "{theirs}");
}

TEST_F(S3Store, CarriesLargeSegments) {
  const std::string large(5U << 20, 'G'); // libcurl asks before it sends so much (100-continue)
  auto store = claimed(1);
  ASSERT_TRUE(store->put("show", place, bytes(large)));
  EXPECT_EQ(text_of(*open_s3(options), place), large);
  options.segment_limit = 1U << 20;
  EXPECT_EQ(open_s3(options)->open("show", place).error().code, error_code::too_large);
}

TEST_F(S3Store, AsksOnceForASegmentThatManyWant) {
  ASSERT_TRUE(claimed(1)->put("show", place, bytes("once")));
  options.most_fetches = 1;
  auto store = open_s3(options);
  std::mutex guard;
  std::vector<std::string> answers;
  auto want = [&](const hls::segment_place& p) {
    store->fetch({"show", p}, [&](expected<std::shared_ptr<const std::string>> got) {
      std::lock_guard lock(guard);
      answers.push_back(got ? **got : std::string(to_string(got.error().code)));
    });
  };
  server.hang(true);
  for (int i = 0; i < 50; ++i)
    want(place);
  want({1, 1, "720p", 8});
  {
    std::lock_guard lock(guard);
    EXPECT_EQ(answers, std::vector<std::string>{"too-many"}); // of another one
  }
  server.hang(false);
  EXPECT_TRUE(comes_true([&] {
    std::lock_guard lock(guard);
    return answers.size() == 51;
  }));
  EXPECT_EQ(std::count(answers.begin(), answers.end(), "once"), 50);
  server.hang(true);
  want(place);
  EXPECT_EQ(answers.size(), 52U) << "from memory, at once";
}

TEST_F(S3Store, AServerThatHangsHoldsNobodyLongerThanTheDeadline) {
  options.deadline = 2s;
  auto store = open_s3(options);
  ASSERT_TRUE(comes_true([&] { return store->claim(1).has_value(); }));
  server.hang(true);
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(store->put("show", place, bytes("x")).error().code, error_code::timeout);
  EXPECT_EQ(store->save_log("show", "{}", false).error().code, error_code::timeout);
  EXPECT_EQ(store->open("show", place).error().code, error_code::timeout);
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 15s); // three deadlines, on a busy machine
  server.hang(false);
  EXPECT_TRUE(comes_true([&] { return store->put("show", place, bytes("x")) && store->save_log("show", "{1}", false); }));
  EXPECT_EQ(store->load_log("show").value(), "{1}");
}

TEST_F(S3Store, SpeaksToABucketsOwnHost) {
  ASSERT_TRUE(claimed(1)->put("show", place, bytes("x")));
  options.endpoint = server.endpoint("localhost");
  options.virtual_host = true;
  auto store = open_s3(options);
  EXPECT_EQ(text_of(*store, place), "x");
  ASSERT_TRUE(store->claim(2));
}

TEST_F(S3Store, SaysWhatIsWrong) {
  auto error_of = [](const s3_options& o) {
    auto failed = open_s3(o)->claim(1);
    return failed ? error{error_code::none, ""} : failed.error();
  };
  auto wrong = options;
  wrong.key.secret = "not-its-secret";
  auto said = error_of(wrong);
  EXPECT_EQ(said.code, error_code::unauthorized);
  EXPECT_NE(said.text.find("live/" + options.prefix + "/.claims/"), std::string::npos) << said.text;
  EXPECT_NE(said.text.find("SignatureDoesNotMatch"), std::string::npos) << said.text;
  EXPECT_EQ(said.text.find("not-its-secret"), std::string::npos);
  wrong = options;
  wrong.bucket = "no-such-bucket";
  said = error_of(wrong);
  EXPECT_NE(said.code, error_code::not_found) << "a bucket that is not there is not an object that is not there";
  EXPECT_NE(said.text.find("NoSuchBucket"), std::string::npos) << said.text;
  wrong = options;
  wrong.endpoint = "http://127.0.0.1:9"; // nobody
  EXPECT_EQ(error_of(wrong).code, error_code::unavailable);
}

/// Says the same to all, and counts.
struct stand_in {
  std::atomic<int> asked = 0;
  http::server web{http::server_options{.listen = "127.0.0.1:0"}};
  explicit stand_in(int status, std::string body, int fine_after = 1 << 30) {
    auto say = [this, status, body, fine_after](const http::request&, http::responder answer) {
      answer(++asked > fine_after ? http::text_response(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>", "application/xml")
                                  : http::text_response(status, body, "application/xml"));
    };
    web.route("GET", "/{rest...}", {}, say);
    EXPECT_TRUE(web.start());
  }
  s3_options options() const { return {.endpoint = fmt::format("http://127.0.0.1:{}", web.port()), .bucket = "live", .prefix = "p", .key = {"k", "s"}}; }
};

TEST(S3Answers, AreRefusalsInWords) {
  auto said_by = [](int status, std::string body) {
    stand_in server(status, std::move(body));
    auto failed = open_s3(server.options())->claimed();
    return failed ? error{error_code::none, ""} : failed.error();
  };
  auto clock = said_by(403, "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference is too large.</Message></Error>");
  EXPECT_EQ(clock.code, error_code::unauthorized);
  EXPECT_NE(clock.text.find("the clocks differ: here it is "), std::string::npos) << clock.text;
  EXPECT_EQ(said_by(403, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>").code, error_code::forbidden);
  EXPECT_EQ(said_by(301, "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>").code, error_code::io_failed);
  EXPECT_EQ(said_by(404, "<html>nothing here</html>").code, error_code::unavailable) << "no S3 server";
  EXPECT_EQ(said_by(200, "<html>welcome</html>").code, error_code::corrupt);
  EXPECT_EQ(said_by(200, "no xml").code, error_code::corrupt);
}

TEST(S3Answers, ABusyServerIsAskedAgainAndARefusalIsNot) {
  stand_in busy(503, "<Error><Code>SlowDown</Code><Message>Later.</Message></Error>", 2);
  EXPECT_EQ(open_s3(busy.options())->claimed().value(), 0U);
  EXPECT_EQ(busy.asked, 3);
  stand_in refuses(403, "<Error><Code>AccessDenied</Code><Message>No.</Message></Error>");
  EXPECT_FALSE(open_s3(refuses.options())->claimed());
  EXPECT_EQ(refuses.asked, 1);
}

} // namespace
} // namespace weir::origin
