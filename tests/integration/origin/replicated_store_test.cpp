#include "replica_cluster.hpp"

#include "runtime/hls/segment_log.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <random>
#include <set>
#include <thread>

namespace weir::origin {
namespace {

using steady = std::chrono::steady_clock;

const hls::segment_place first{1, 65'536, "720p", 1};
hls::segment_place nth(std::uint64_t msn) { return {1, 65'536, "720p", msn}; }

/// Each knows the others, and the first one has claimed.
void all_use(replica_cluster& c) {
  for (std::size_t i = 0; i < c.size(); ++i)
    ASSERT_TRUE(c.store(i).use(c.view_of(i)));
  auto claimed = c.store(0).claim(1);
  ASSERT_TRUE(claimed) << claimed.error().text;
}
/// `i` takes over from whoever wrote before, in a view of these members.
expected<void> use_next(replica_cluster& c, std::size_t i, std::uint64_t term, std::vector<std::size_t> of) {
  auto view = c.view_of(i, std::move(of));
  view.mark = {term, c.at(i).name};
  return c.store(i).use(view);
}
bool has(replica_cluster& c, std::size_t i, const hls::segment_place& place) { return c.at(i).disk->open("show", place).has_value(); }

/// A real log with `count` listed segments, whose bytes are put by `store`.
hls::segment_log broadcast(segment_store& store, std::uint64_t count) {
  hls::segment_log log("show");
  auto now = std::chrono::system_clock::now();
  EXPECT_TRUE(log.begin_writer(65'536, "pub", {{"720p", 1280, 720, 25'000, "avc1.64001f", {3'000'000}}}, timing_of(hls_profile::brief)));
  for (std::uint64_t slot = 1; slot <= count; ++slot) {
    now += 2s;
    segment_info s{"720p", slot, static_cast<std::int64_t>(slot) * 180'000, 180'000, true, false, now, 5};
    auto place = log.locate(65'536, s, now);
    EXPECT_TRUE(place);
    EXPECT_TRUE(store.put("show", *place, bytes(fmt::format("{:05}", slot))));
    EXPECT_EQ(log.offer(65'536, s, 1, now), hls::offer_result::accepted);
  }
  return log;
}

TEST(ReplicatedStore, KeepsACopyAtEachMember) {
  replica_cluster c(3);
  all_use(c);
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  ASSERT_TRUE(c.store(0).save_log("show", "{}", false));
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(comes_true([&] { return has(c, i, first); })) << i;
    EXPECT_TRUE(comes_true([&] { return c.at(i).desk->load_log("show").has_value(); })) << i;
  }
  ASSERT_TRUE(c.store(0).remove("show", first));
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_TRUE(comes_true([&] { return !has(c, i, first); })) << i;
}

TEST(ReplicatedStore, WritesNothingBeforeTheMembersAgree) {
  replica_cluster c(3);
  EXPECT_EQ(c.store(0).put("show", first, bytes("abc")).error().code, error_code::unavailable);
  ASSERT_TRUE(c.store(0).use(c.view_of(0)));
  c.cut_off(0);
  auto alone = c.store(0).claim(1);
  ASSERT_FALSE(alone);
  EXPECT_EQ(alone.error().code, error_code::unavailable) << alone.error().text;
  EXPECT_NE(alone.error().text.find("o2: "), std::string::npos) << alone.error().text;
  c.mend(0);
  EXPECT_TRUE(c.store(0).claim(2));
}

TEST(ReplicatedStore, ASlowPeerThatIsNotNeededDelaysNobody) {
  replica_cluster c(3);
  all_use(c);
  for (std::size_t slow = 0; slow < 3; ++slow) {
    c.at(slow).disk->slow_ms = 1'500;
    auto began = steady::now();
    ASSERT_TRUE(c.store(0).put("show", nth(slow + 1), bytes("abc")));
    ASSERT_TRUE(c.store(0).save_log("show", "{}", false));
    EXPECT_LT(steady::now() - began, 1s) << "slow: " << c.at(slow).name;
    c.at(slow).disk->slow_ms = 0;
    EXPECT_TRUE(comes_true([&] { return has(c, slow, nth(slow + 1)); }));
  }
}

TEST(ReplicatedStore, TooManySlowPeersEndAtTheDeadline) {
  replica_cluster c(3, {.deadline = 400ms});
  all_use(c);
  c.at(1).disk->slow_ms = c.at(2).disk->slow_ms = 1'500;
  auto began = steady::now();
  auto late = c.store(0).put("show", first, bytes("abc"));
  EXPECT_LT(steady::now() - began, 1'200ms);
  ASSERT_FALSE(late);
  c.at(1).disk->slow_ms = c.at(2).disk->slow_ms = 0;
  EXPECT_TRUE(late.error().code == error_code::timeout || late.error().code == error_code::unavailable) << late.error().text;
  EXPECT_TRUE(comes_true([&] { return c.store(0).put("show", nth(2), bytes("abc")).has_value(); })) << "good again";
}

TEST(ReplicatedStore, SaysThatTooFewHaveIt) {
  replica_cluster c(3);
  all_use(c);
  c.cut_off(0);
  auto done = c.store(0).put("show", first, bytes("abc"));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, error_code::unavailable);
  EXPECT_NE(done.error().text.find("of 3 origins did it, 2 are needed: o2: "), std::string::npos) << done.error().text;
}

TEST(ReplicatedStore, SaysThatTheDisksAreFull) {
  replica_cluster c(3);
  all_use(c);
  c.at(1).disk->full = true;
  EXPECT_TRUE(c.store(0).put("show", first, bytes("abc"))) << "two disks are enough";
  c.at(2).disk->full = true;
  auto done = c.store(0).put("show", nth(2), bytes("abc"));
  ASSERT_FALSE(done);
  EXPECT_TRUE(is_full(done.error())) << done.error().text;
}

TEST(ReplicatedStore, SendsLaterWhatAPeerLacks) {
  replica_cluster c(3, {.mend_every = 50ms});
  all_use(c);
  c.cut(0, 2);
  for (std::uint64_t n = 1; n <= 5; ++n)
    ASSERT_TRUE(c.store(0).put("show", nth(n), bytes("abc")));
  ASSERT_TRUE(c.store(0).remove("show", nth(1)));
  ASSERT_TRUE(c.store(0).save_log("show", "{\"a\":1}", false));
  EXPECT_TRUE(comes_true([&] { return c.store(0).state().owed["o3"] > 0; }));
  EXPECT_FALSE(has(c, 2, nth(5)));
  c.mend(0, 2);
  EXPECT_TRUE(comes_true([&] {
    for (std::uint64_t n = 2; n <= 5; ++n)
      if (!has(c, 2, nth(n)))
        return false;
    auto log = c.at(2).desk->load_log("show");
    return log && log->json == "{\"a\":1}" && c.store(0).state().owed["o3"] == 0;
  }));
  EXPECT_FALSE(has(c, 2, nth(1)));
}

TEST(ReplicatedStore, ComparesEverythingWithAPeerThatLacksTooMuch) {
  replica_cluster c(3, {.mend_every = 50ms, .most_owed = 3});
  all_use(c);
  EXPECT_TRUE(comes_true([&] { return c.store(0).state().owed["o3"] == 0; }));
  c.cut(0, 2);
  auto log = broadcast(c.store(0), 20);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  EXPECT_LE(c.store(0).state().owed["o3"], 5U) << "bounded";
  c.mend(0, 2);
  EXPECT_TRUE(comes_true([&] {
    auto snapshot = log.snapshot();
    for (auto& e : snapshot.entries)
      if (!has(c, 2, {snapshot.instance, e.epoch, "720p", e.msn}))
        return false;
    return !snapshot.entries.empty() && c.at(2).desk->load_log("show").has_value();
  }));
}

TEST(ReplicatedStore, ANewOwnerSendsWhatTheFormerOneOwed) {
  replica_cluster c(3, {.mend_every = 50ms});
  all_use(c);
  ASSERT_TRUE(comes_true([&] { return c.store(1).state().owed["o3"] == 0; }));
  c.cut(0, 2);
  auto log = broadcast(c.store(0), 12);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  ASSERT_TRUE(c.store(1).claim(2));
  auto shown = log.snapshot();
  EXPECT_TRUE(comes_true([&] { return std::ranges::all_of(shown.entries, [&](auto& e) { return has(c, 2, {shown.instance, e.epoch, "720p", e.msn}); }); }));
  EXPECT_TRUE(comes_true([&] { return c.at(2).desk->load_log("show").has_value(); }));
}

TEST(ReplicatedStore, AMemberThatLostItsFolderIsFilledAgain) {
  replica_cluster c(3, {.mend_every = 50ms});
  all_use(c);
  auto log = broadcast(c.store(0), 12);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  auto shown = log.snapshot();
  auto has_all = [&] { return std::ranges::all_of(shown.entries, [&](auto& e) { return has(c, 2, {shown.instance, e.epoch, "720p", e.msn}); }); };
  ASSERT_TRUE(comes_true([&] { return has_all() && c.at(2).desk->load_log("show"); }));
  std::filesystem::remove_all(c.at(2).folder / "show" / std::to_string(shown.instance));
  c.restart(2);
  ASSERT_TRUE(c.store(2).use(c.view_of(2)));
  EXPECT_TRUE(comes_true(has_all));
}

TEST(ReplicatedStore, ReadsFromAPeerWhatIsNotHereAndKeepsIt) {
  replica_cluster c(3, {.mend_every = 1h});
  all_use(c);
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  auto read = c.store(2).open("show", first);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(text_of(*read), "abc");
  EXPECT_TRUE(comes_true([&] { return has(c, 2, first); }));
  // Nowhere, as far as those know who answer; and not known, when one who may have it does not.
  EXPECT_EQ(c.store(1).open("show", nth(2)).error().code, error_code::not_found);
  EXPECT_EQ(c.store(2).open("show", nth(2)).error().code, error_code::unavailable);
}

TEST(ReplicatedStore, ManyWhoAskForOneSegmentCauseOneQuestion) {
  replica_cluster c(3, {.mend_every = 1h, .most_fetches = 1});
  all_use(c);
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  std::atomic<int> good{0};
  for (int i = 0; i < 50; ++i)
    c.store(2).fetch({"show", first}, [&](auto got) { good += got && **got == "abc"; });
  EXPECT_TRUE(comes_true([&] { return good == 50; })) << good;
}

TEST(ReplicatedStore, WhoTakesOverHasTheNewestLog) {
  replica_cluster c(3, {.mend_every = 1h});
  for (std::size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(c.store(i).use(c.view_of(i)));
  ASSERT_TRUE(c.store(0).claim(1));
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  EXPECT_TRUE(comes_true([&] { return c.at(2).desk->load_log("show").has_value(); }));
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).save_log("show", "{2}", false));
  EXPECT_EQ(c.at(2).desk->load_log("show")->json, "{1}");
  c.cut_off(0);
  ASSERT_TRUE(c.store(2).claim(2));
  EXPECT_EQ(c.store(2).load_log("show").value(), "{2}");
  EXPECT_EQ(c.store(2).claimed().value(), 2U);
  ASSERT_TRUE(c.store(2).save_log("show", "{3}", false));
  // The former owner is back and does not know.
  c.mend(0);
  auto put = c.store(0).put("show", first, bytes("abc"));
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, error_code::fenced) << put.error().text;
  EXPECT_EQ(c.store(0).save_log("show", "{x}", false).error().code, error_code::fenced);
  EXPECT_EQ(c.store(0).claim(2).error().code, error_code::fenced) << "a term has one holder";
  EXPECT_EQ(c.store(1).load_log("show").value(), "{3}");
  ASSERT_TRUE(c.store(0).claim(3));
  EXPECT_EQ(c.store(0).load_log("show").value(), "{3}");
  EXPECT_TRUE(c.store(0).save_log("show", "{4}", false));
}

TEST(ReplicatedStore, NewMembersHaveTheLogsBeforeTheyCount) {
  replica_cluster c(5, {.mend_every = 1h});
  ASSERT_TRUE(use_next(c, 0, 1, {0, 1, 2}));
  c.cut(0, 1);
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false)); // at o1 and o3
  c.cut_off(0);
  // o2 has missed the log; two of the former three are asked, and two of the new three have it in the end.
  ASSERT_TRUE(use_next(c, 1, 2, {1, 2, 3}));
  EXPECT_TRUE(c.at(1).desk->load_log("show") || c.at(3).desk->load_log("show")) << "besides o3";
  c.cut_off(2);
  ASSERT_TRUE(use_next(c, 3, 3, {1, 2, 3}));
  EXPECT_EQ(c.store(3).load_log("show").value(), "{1}");
}

TEST(ReplicatedStore, OfTwoOneGoesOnAloneWhenItIsToldTo) {
  replica_cluster c(2, {.mend_every = 1h});
  all_use(c);
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  c.cut(0, 1);
  EXPECT_EQ(c.store(0).put("show", first, bytes("abc")).error().code, error_code::unavailable) << "two of two";
  auto alone = c.view_of(1, {1});
  alone.mark = {2, "o2"};
  ASSERT_TRUE(c.store(1).use(alone));
  EXPECT_EQ(c.store(1).load_log("show").value(), "{1}") << "one of two is enough to take over";
  EXPECT_TRUE(c.store(1).save_log("show", "{2}", false));
  c.mend(0, 1);
  EXPECT_EQ(c.store(0).save_log("show", "{x}", false).error().code, error_code::fenced);
}

TEST(ReplicatedStore, ARemovedStreamStaysRemoved) {
  replica_cluster c(3, {.mend_every = 1h});
  all_use(c);
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  EXPECT_TRUE(comes_true([&] { return c.at(2).desk->load_log("show").has_value(); }));
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).remove_stream("show"));
  c.mend(0, 2);
  EXPECT_EQ(c.store(2).load_log("show").error().code, error_code::not_found) << "although its own copy is still here";
  EXPECT_TRUE(c.store(1).streams().value().empty());
}

TEST(ReplicatedStore, AMemberRemembersWhatItAccepted) {
  replica_cluster c(3);
  for (std::size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(c.store(i).use(c.view_of(i)));
  ASSERT_TRUE(c.store(0).claim(7));
  c.restart(1);
  EXPECT_EQ(c.at(1).desk->word().mark, (claim_mark{7, "o1"}));
  EXPECT_EQ(c.at(1).desk->accept({6, "o3"}).error().code, error_code::fenced);
  EXPECT_EQ(c.at(1).desk->put({6, "o3"}, {"show", first}, "abc").error().code, error_code::fenced);
}

TEST(ReplicatedStore, WhoTakesOverSweepsWhatNoLogKnowsEverywhere) {
  replica_cluster c(3, {.mend_every = 50ms});
  all_use(c);
  auto log = broadcast(c.store(0), 60); // more than the window: the first ones are listed no more
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  auto shown = log.snapshot();
  ASSERT_GT(shown.entries.front().msn, 1U);
  hls::segment_place old{shown.instance, 65'535, "720p", 0}, ahead{shown.instance, 65'536, "720p", shown.entries.back().msn + 5};
  hls::segment_place listed{shown.instance, 65'536, "720p", shown.entries.back().msn};
  ASSERT_TRUE(c.store(0).put("show", old, bytes("x")));
  ASSERT_TRUE(c.store(0).put("show", ahead, bytes("x"))); // as by one that dies before it saves the log
  auto at_all = [&](const hls::segment_place& place) { return has(c, 0, place) && has(c, 1, place) && has(c, 2, place); };
  EXPECT_TRUE(comes_true([&] { return at_all(old) && at_all(ahead) && at_all(listed); }));
  auto known = [&](std::string_view, const hls::segment_place& p) { return log.knows(p); };
  EXPECT_EQ(c.store(1).sweep(known).error().code, error_code::fenced) << "it has not claimed";
  EXPECT_TRUE(at_all(old) && at_all(ahead));
  ASSERT_TRUE(c.store(1).claim(2));
  ASSERT_GE(c.store(1).sweep(known).value(), 2U);
  EXPECT_EQ(c.store(1).open("show", ahead).error().code, error_code::not_found) << "although peers have it still";
  EXPECT_TRUE(comes_true([&] { return !has(c, 0, old) && !has(c, 0, ahead) && !has(c, 2, old) && !has(c, 2, ahead); }));
  EXPECT_TRUE(at_all(listed));
  ASSERT_TRUE(c.store(1).put("show", ahead, bytes("new"))) << "its number may come again";
  EXPECT_EQ(text_of(*c.store(1).open("show", ahead)), "new");
}

TEST(ReplicatedStore, WhatIsRemovedIsNotReadFromAPeerThatHasItStill) {
  replica_cluster c(3, {.mend_every = 1h});
  all_use(c);
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  EXPECT_TRUE(comes_true([&] { return has(c, 0, first) && has(c, 1, first) && has(c, 2, first); }));
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).remove("show", first));
  c.mend(0, 2);
  EXPECT_TRUE(has(c, 2, first));
  EXPECT_EQ(c.store(0).open("show", first).error().code, error_code::not_found);
  EXPECT_EQ(c.store(1).open("show", first).error().code, error_code::not_found);
  // A former owner's removal changes nothing, not even here.
  ASSERT_TRUE(c.store(0).put("show", nth(2), bytes("abc")));
  EXPECT_TRUE(comes_true([&] { return has(c, 0, nth(2)) && has(c, 1, nth(2)); }));
  ASSERT_TRUE(c.store(1).claim(2));
  EXPECT_EQ(c.store(0).remove("show", nth(2)).error().code, error_code::fenced);
  EXPECT_TRUE(c.store(0).open("show", nth(2)));
}

TEST(ReplicatedStore, AClaimThatFailsHalfwayIsMadeGoodByTheNextOne) {
  replica_cluster c(3, {.deadline = 500ms, .mend_every = 50ms});
  all_use(c);
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  // o3 asks, and is cut off: it alone knows of term 2.
  c.cut_off(2);
  EXPECT_EQ(c.store(2).claim(2).error().code, error_code::unavailable);
  EXPECT_TRUE(comes_true([&] { return c.at(2).desk->word().mark == claim_mark{2, "o3"}; }));
  EXPECT_TRUE(c.store(0).save_log("show", "{2}", false)) << "two of three go on";
  c.mend(2);
  // The owner goes on with those who did not hear of it; who claims next does so above every term that was ever asked for.
  EXPECT_TRUE(c.store(0).save_log("show", "{3}", false));
  EXPECT_GE(c.store(2).claimed().value(), 2U);
  ASSERT_TRUE(c.store(2).claim(c.store(2).claimed().value() + 1));
  EXPECT_EQ(c.store(2).load_log("show").value(), "{3}");
  // Two have accepted, and then nobody answers: the former owner is fenced, and so is nobody's store until somebody claims again.
  c.at(0).desk->accept({10, "o2"}).value();
  c.at(1).desk->accept({10, "o2"}).value();
  EXPECT_EQ(c.store(2).save_log("show", "{x}", false).error().code, error_code::fenced);
  EXPECT_EQ(c.store(1).save_log("show", "{x}", false).error().code, error_code::fenced) << "its view is of an older term";
  ASSERT_TRUE(c.store(1).claim(11));
  auto after = c.store(1).load_log("show").value();
  EXPECT_TRUE(after == "{3}" || after == "{x}") << after << ": the last acknowledged one, or what its owner tried after it";
  EXPECT_TRUE(c.store(1).save_log("show", "{4}", false));
}

TEST(ReplicatedStore, AsksNobodyOnceItIsClosed) {
  replica_cluster c(3, {.mend_every = 10ms});
  all_use(c);
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  ASSERT_TRUE(comes_true([&] { return has(c, 0, first); }));
  c.at(1).disk->slow_ms = c.at(2).disk->slow_ms = 1'000;
  std::thread waits([&] { (void)c.store(0).put("show", nth(2), bytes("abc")); }); // under way while it is closed: what matters is that it ends
  c.store(0).close();
  EXPECT_EQ(c.store(0).put("show", nth(3), bytes("abc")).error().code, error_code::unavailable);
  EXPECT_EQ(c.store(0).load_log("show").error().code, error_code::unavailable);
  EXPECT_EQ(c.store(0).open("show", nth(9)).error().code, error_code::unavailable);
  EXPECT_EQ(text_of(*c.store(0).open("show", first)), "abc") << "what is here can still be read";
  c.store(0).close();
  waits.join();
}

TEST(ReplicaDesk, AnswersOnlyWhoHasTheTokenAndRefusesWhatIsNoAddress) {
  replica_cluster c(2, {.segment_limit = 1'000});
  http::client web({});
  auto base = fmt::format("http://127.0.0.1:{}", c.at(0).ports.at(1));
  auto ask = [&](std::string method, std::string path, std::string token, std::string term, std::string body) {
    http::client_request r{.method = std::move(method), .url = base + path};
    r.headers.add("Authorization", "Bearer " + token);
    r.headers.add("Weir-Term", term);
    r.body = std::move(body);
    return web.call(std::move(r)).value().status;
  };
  auto good = std::string(replica_cluster::token);
  EXPECT_EQ(ask("GET", "/replica/v1/logs", "wrong", "", ""), 401);
  EXPECT_EQ(ask("PUT", "/replica/v1/claim", "", "5 o2", ""), 401);
  EXPECT_EQ(c.at(0).desk->word().mark.term, 0U);
  EXPECT_EQ(ask("GET", "/replica/v1/logs", good, "", ""), 200);
  EXPECT_EQ(ask("PUT", "/replica/v1/claim", good, "five o2", ""), 400);
  EXPECT_EQ(ask("PUT", "/replica/v1/claim", good, "5 o2", ""), 200);
  EXPECT_EQ(ask("PUT", "/replica/v1/claim", good, "5 o1", ""), 409);
  EXPECT_EQ(ask("PUT", "/replica/v1/segments/show~1/2/720p/3.ts", good, "4 o1", "abc"), 409);
  EXPECT_EQ(ask("PUT", "/replica/v1/segments/show~1/2/720p/3.ts", good, "5 o2", "abc"), 204);
  EXPECT_EQ(ask("PUT", "/replica/v1/segments/show~1/2/720p/3.ts", good, "5 o2", std::string(1'001, 'x')), 413);
  EXPECT_EQ(ask("PUT", "/replica/v1/segments/%2e%2e~1/2/720p/3.ts", good, "5 o2", "abc"), 404);
  EXPECT_EQ(ask("GET", "/replica/v1/segments/show~1/2/720p/3.ts", good, "", ""), 200);
  EXPECT_EQ(ask("GET", "/replica/v1/segments/show~1/2/720p/4.ts", good, "", ""), 404) << "and asks nobody else";
  EXPECT_EQ(ask("PUT", "/replica/v1/logs/show", good, "5 o2", "weir-log x"), 500) << "no log of ours";
  EXPECT_EQ(ask("PUT", "/replica/v1/view", good, "", "{}"), 422);
}

/// What holds whoever writes, is cut off, is slow, begins anew or takes over: what was acknowledged is what the next owner has.
TEST(ReplicatedStore, NothingAcknowledgedIsEverLost) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  auto draw = [&](unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random); };
  replica_cluster c(3, {.deadline = 300ms, .mend_every = 20ms});
  for (std::size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(c.store(i).use(c.view_of(i)));

  struct writer {
    std::optional<hls::segment_log> log;
    std::uint64_t epoch = 0;
  };
  std::array<writer, 3> writers;
  std::optional<std::size_t> owner;
  std::string acknowledged;               // the newest log of which somebody was told that it is safe
  std::uint64_t acknowledged_next = 0;
  std::uint64_t term = 0, epoch = 0, saved = 0, taken = 0, refused = 0;
  std::optional<std::size_t> away;
  auto now = std::chrono::system_clock::now();

  auto take_over = [&](std::size_t i) {
    auto claimed = c.store(i).claim(++term);
    if (!claimed) {
      ASSERT_TRUE(away || claimed.error().code == error_code::fenced || claimed.error().code == error_code::timeout) << claimed.error().text;
      writers[i].log.reset();
      return;
    }
    auto text = c.store(i).load_log("show");
    if (!text && text.error().code != error_code::not_found) {
      ASSERT_TRUE(away || text.error().code == error_code::timeout) << text.error().text; // the deadline is short
      writers[i].log.reset();
      owner.reset(); // the claim holds all the same: whoever wrote before is fenced
      return;
    }
    ASSERT_TRUE(text || acknowledged.empty()) << "the log is gone";
    writers[i].log = text ? std::move(hls::segment_log::from_json(*text).value()) : hls::segment_log("show");
    auto& log = *writers[i].log;
    ASSERT_GE(log.next_msn(), acknowledged_next);
    if (!acknowledged.empty()) {
      auto before = hls::segment_log::from_json(acknowledged)->snapshot(), after = log.snapshot();
      for (auto& e : before.entries) {
        if (!after.entries.empty() && e.msn < after.entries.front().msn)
          continue; // left the window
        auto same = std::ranges::find(after.entries, e.msn, &hls::log_entry::msn);
        ASSERT_TRUE(same != after.entries.end()) << "entry " << e.msn << " is gone";
        EXPECT_EQ(same->epoch, e.epoch);
        if (!e.gap(0)) {
          auto file = c.store(i).open("show", {before.instance, e.epoch, "720p", e.msn});
          ASSERT_TRUE(file) << file.error().text;
          EXPECT_EQ(text_of(*file), fmt::format("{}-{}", e.epoch, e.msn));
        }
      }
    }
    writers[i].epoch = ++epoch << 16U;
    ASSERT_TRUE(log.begin_writer(writers[i].epoch, "pub", {{"720p", 1280, 720, 25'000, "avc1.64001f", {3'000'000}}}, timing_of(hls_profile::brief)));
    owner = i;
    ++taken;
  };
  auto write = [&](std::size_t i) {
    auto& w = writers[i];
    if (!w.log)
      return;
    now += 2s;
    auto slot = w.log->next_msn() + 1;
    segment_info s{"720p", slot, static_cast<std::int64_t>(slot) * 180'000, 180'000, true, false, now, 5};
    auto place = w.log->locate(w.epoch, s, now);
    if (!place)
      return;
    if (auto put = c.store(i).put("show", *place, bytes(fmt::format("{}-{}", place->epoch, place->msn))); !put) {
      ++refused;
      w.log->lost(w.epoch, s, 1, now);
    } else {
      ASSERT_EQ(owner, i) << "a segment of a former owner was acknowledged";
      w.log->offer(w.epoch, s, 1, now);
    }
    auto json = w.log->to_json();
    auto done = c.store(i).save_log("show", json, false);
    if (!done) {
      ++refused;
      if (done.error().code == error_code::fenced)
        w.log.reset();
      return;
    }
    ASSERT_EQ(owner, i) << "a log of a former owner was acknowledged";
    ++saved;
    acknowledged = json;
    acknowledged_next = w.log->next_msn();
  };

  const auto until = steady::now() + 20s;
  for (int step = 0; step < 600 && steady::now() < until && !HasFatalFailure(); ++step) {
    auto i = static_cast<std::size_t>(draw(3));
    auto what = draw(20);
    if (what == 0 && !away) {
      away = i;
      c.cut_off(i);
    } else if (what == 1 && away) {
      c.mend(*away);
      away.reset();
    } else if (what == 2) {
      c.at(i).disk->slow_ms = c.at(i).disk->slow_ms == 0 ? 15 : 0;
    } else if (what == 3) {
      take_over(i);
    } else if (what == 4) {
      c.restart(i);
      writers[i].log.reset();
      if (owner == i)
        owner.reset();
      ASSERT_TRUE(c.store(i).use(c.view_of(i)));
    } else {
      write(owner && draw(4) != 0 ? *owner : i); // a former owner tries, too
    }
  }
  if (HasFatalFailure())
    return;
  if (away)
    c.mend(*away);
  away.reset();
  for (std::size_t i = 0; i < 3; ++i)
    c.at(i).disk->slow_ms = 0;
  take_over(draw(3));
  fmt::print("saved {} taken over {} refused {}\n", saved, taken, refused);
  EXPECT_GT(saved, 20U);
  EXPECT_GT(taken, 2U);
}

/// A view of these members, held by `i`, as the others are reached from there.
replica_view held_by(replica_cluster& c, std::size_t i, std::uint64_t term, std::vector<std::size_t> of) {
  auto view = c.view_of(i, std::move(of));
  view.mark = {term, c.at(i).name};
  return view;
}

/// The same view, as `i` reaches its members.
replica_view seen_from(replica_cluster& c, std::size_t i, replica_view view) {
  for (auto& m : c.view_of(i).members)
    for (auto& known : view.members)
      if (known.name == m.name)
        known.url = m.url;
  return view;
}

/// {1..5} → {3,4,5}, of which the first two know; then {1,2,3} tries, or the former owner goes on: with members that change, W of the new ones are not enough.
TEST(ReplicatedStore, NoTwoWriteAcrossViewsThatShareFewMembers) {
  replica_cluster c(5, {.deadline = 500ms, .mend_every = 1h});
  auto all = held_by(c, 0, 1, {0, 1, 2, 3, 4});
  ASSERT_TRUE(c.store(0).use(all));
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  // o3 reaches o4 alone: two of three would be enough of the new members, and are not of the former ones.
  for (std::size_t other : {0, 1, 4})
    c.cut(2, other);
  auto few = held_by(c, 2, 2, {2, 3, 4});
  EXPECT_EQ(c.store(2).use(few, {seen_from(c, 2, all)}).error().code, error_code::unavailable);
  EXPECT_TRUE(c.store(0).save_log("show", "{2}", false)) << "o1, o2 and o5 have not heard of it";
  EXPECT_EQ(c.store(2).save_log("show", "{x}", false).error().code, error_code::unavailable) << "it has not taken over";
  c.mend(2, 4);
  ASSERT_TRUE(c.store(2).use(few, {seen_from(c, 2, all)}));
  EXPECT_EQ(c.store(2).load_log("show").value(), "{2}");
  ASSERT_TRUE(c.store(2).save_log("show", "{3}", false));
  EXPECT_EQ(c.store(0).save_log("show", "{y}", false).error().code, error_code::fenced) << "three of the five refuse it";
  // The next one is of o1, o2 and o3; nobody has heard whether few was in force. Cut off from o3 it has two of its own members and three of the five.
  auto next = held_by(c, 1, 3, {0, 1, 2});
  c.cut(1, 3);
  c.cut(1, 4);
  EXPECT_EQ(c.store(1).use(next, {seen_from(c, 1, all), seen_from(c, 1, few)}).error().code, error_code::unavailable);
  EXPECT_TRUE(c.store(2).save_log("show", "{4}", false));
  c.mend(1, 3);
  c.mend(1, 4);
  ASSERT_TRUE(c.store(1).use(next, {seen_from(c, 1, all), seen_from(c, 1, few)}));
  EXPECT_EQ(c.store(1).load_log("show").value(), "{4}");
  EXPECT_EQ(c.store(2).save_log("show", "{z}", false).error().code, error_code::fenced);
  EXPECT_EQ(c.store(2).use(few, {seen_from(c, 2, all)}).error().code, error_code::fenced) << "told late";
}

TEST(ReplicatedStore, WhatOnlyOneHasIsAtEnoughBeforeItIsShown) {
  replica_cluster c(3, {.deadline = 500ms, .mend_every = 1h});
  auto first_turn = held_by(c, 0, 1, {0, 1, 2});
  ASSERT_TRUE(c.store(0).use(first_turn));
  ASSERT_TRUE(c.store(0).save_log("show", "{1}", false));
  EXPECT_TRUE(comes_true([&] { return c.at(2).desk->load_log("show").has_value(); }));
  c.cut_off(0);
  EXPECT_FALSE(c.store(0).save_log("show", "{2}", false)); // it is there all the same
  c.mend(0, 1);
  c.cut(1, 2); // so that it is the first one's word that is asked
  auto second_turn = held_by(c, 1, 2, {0, 1, 2});
  ASSERT_TRUE(c.store(1).use(second_turn, {seen_from(c, 1, first_turn)}));
  EXPECT_EQ(c.store(1).load_log("show").value(), "{2}");
  c.mend(1, 2);
  c.cut_off(0); // and with it whoever had that first
  ASSERT_TRUE(c.store(2).use(held_by(c, 2, 3, {0, 1, 2}), {seen_from(c, 2, second_turn)}));
  EXPECT_EQ(c.store(2).load_log("show").value(), "{2}") << "viewers have seen it";
}

TEST(ReplicatedStore, ATurnsWritesEndWithIt) {
  replica_cluster c(3, {.mend_every = 1h});
  auto first_turn = held_by(c, 0, 1, {0, 1, 2}), second_turn = held_by(c, 0, 2, {0, 1, 2});
  ASSERT_TRUE(c.store(0).use(first_turn));
  auto former = c.store(0).under(first_turn.mark);
  ASSERT_TRUE(former->save_log("show", "{1}"));
  ASSERT_TRUE(c.store(0).use(second_turn, {first_turn}));
  auto present = c.store(0).under(second_turn.mark);
  ASSERT_TRUE(present->save_log("show", "{2}"));
  EXPECT_EQ(former->save_log("show", "{x}").error().code, error_code::fenced) << "it waited in a queue, say";
  EXPECT_EQ(former->put("show", first, bytes("abc")).error().code, error_code::fenced);
  c.store(0).follow(held_by(c, 1, 3, {0, 1, 2}));
  EXPECT_EQ(present->save_log("show", "{y}").error().code, error_code::fenced) << "it stands by";
  EXPECT_EQ(c.store(0).load_log("show").value(), "{2}");
  ASSERT_TRUE(c.store(0).use(second_turn, {first_turn})) << "nobody else has taken over";
  EXPECT_TRUE(present->save_log("show", "{3}"));
}

TEST(ReplicatedStore, AViewOfAFormerStartIsNotItsOwn) {
  replica_cluster c(3);
  all_use(c);
  auto log = broadcast(c.store(0), 4);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  for (std::size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(comes_true([&] { return c.at(i).desk->load_log("show").has_value() && c.at(i).desk->word().settled.mark.term == 1; })) << i;
  c.restart(0);
  const auto lost = hls::segment_place{1, 65'536, "720p", log.snapshot().entries.back().msn};
  ASSERT_TRUE(c.at(0).disk->remove("show", lost));
  auto next = c.view_of(0);
  next.mark = {2, c.at(0).name}; // decided, and then it was started anew
  c.store(0).follow(next);
  for (auto& [peer, owed] : c.store(0).state().owed)
    EXPECT_EQ(owed, 0U) << peer;
  EXPECT_EQ(c.store(0).put("show", nth(9), bytes("abc")).error().code, error_code::fenced);
  EXPECT_EQ(c.store(0).save_log("show", "{}", false).error().code, error_code::fenced);
  EXPECT_TRUE(comes_true([&] { return has(c, 0, lost); })) << "it is filled like any other";
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(c.at(i).desk->word().settled.mark.term, 1U) << "nobody has taken over under term 2";
  auto taken = use_next(c, 0, 3, {});
  ASSERT_TRUE(taken) << taken.error().text;
  EXPECT_TRUE(c.store(0).put("show", nth(9), bytes("abc")));
  next.mark.term = 3;
  c.store(0).follow(next);
  EXPECT_TRUE(c.store(0).put("show", nth(10), bytes("abc"))) << "told again of its own";
}

TEST(ReplicatedStore, WhatIsBroughtAgainAfterASweepStays) {
  replica_cluster c(3, {.mend_every = 20ms});
  auto first_turn = held_by(c, 0, 1, {0, 1, 2}), second_turn = held_by(c, 1, 2, {0, 1, 2});
  ASSERT_TRUE(c.store(0).use(first_turn));
  auto log = broadcast(c.store(0), 3);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  auto unlisted = nth(9);
  ASSERT_TRUE(c.store(0).put("show", unlisted, bytes("old")));
  for (std::size_t i = 0; i < 3; ++i)
    ASSERT_TRUE(comes_true([&] { return has(c, i, unlisted); })) << i;
  ASSERT_TRUE(c.store(1).use(second_turn, {seen_from(c, 1, first_turn)}));
  auto gone = c.store(1).sweep([&](std::string_view, const hls::segment_place& place) { return log.knows(place); });
  ASSERT_TRUE(gone);
  EXPECT_GE(*gone, 1U);
  ASSERT_TRUE(c.store(1).put("show", unlisted, bytes("new"))); // by its writer, who has not heard that it is in
  ASSERT_TRUE(comes_true([&] { return c.store(1).state().owed.at("o1") == 0 && c.store(1).state().owed.at("o3") == 0; }));
  for (std::size_t i = 0; i < 3; ++i) {
    ASSERT_TRUE(has(c, i, unlisted)) << i;
    EXPECT_EQ(text_of(*c.at(i).disk->open("show", unlisted)), "new") << i;
  }
}

/// Whether all that the log lists is there.
bool has_all(replica_cluster& c, std::size_t i, const hls::segment_log& log) {
  auto shown = log.snapshot();
  return !shown.entries.empty() && std::ranges::all_of(shown.entries, [&](auto& e) { return has(c, i, {shown.instance, e.epoch, "720p", e.msn}); });
}
/// Of one learner.
bool knows_all(replica_cluster& c, std::size_t teacher, const std::string& learner) {
  auto state = c.store(teacher).state();
  return state.learners.contains(learner) && state.learners.at(learner);
}

TEST(ReplicatedStore, ALearnerGetsEverythingAndCountsForNothing) {
  replica_cluster c(3, {.mend_every = 50ms});
  ASSERT_TRUE(c.store(0).use(held_by(c, 0, 1, {0, 1})));
  auto log = broadcast(c.store(0), 12);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  EXPECT_FALSE(has(c, 2, {1, 65'536, "720p", 1}));
  auto third = c.view_of(0, {2}).members;
  c.store(0).teach(third);
  ASSERT_TRUE(comes_true([&] { return knows_all(c, 0, "o3"); }));
  EXPECT_TRUE(has_all(c, 2, log));
  EXPECT_TRUE(c.at(2).desk->load_log("show"));
  // Each write goes there.
  ASSERT_TRUE(c.store(0).put("show", nth(50), bytes("abc")));
  EXPECT_TRUE(comes_true([&] { return has(c, 2, nth(50)); }));
  // It is no member: with it alone nothing is stored, without it everything.
  c.cut(0, 2);
  ASSERT_TRUE(c.store(0).put("show", nth(51), bytes("abc")));
  EXPECT_TRUE(comes_true([&] { return !knows_all(c, 0, "o3"); }));
  c.mend(0, 2);
  EXPECT_TRUE(comes_true([&] { return knows_all(c, 0, "o3") && has(c, 2, nth(51)); }));
  c.cut(0, 1);
  EXPECT_FALSE(c.store(0).put("show", nth(52), bytes("abc")));
  c.mend(0, 1);
  c.store(0).teach({});
  EXPECT_TRUE(c.store(0).state().learners.empty());
  EXPECT_FALSE(c.store(0).state().owed.contains("o3"));
}

/// What a view with two copies is for: one is lost, comes back without its disk, and then the other one is lost.
TEST(ReplicatedStore, OneAfterTheOtherMayBeLost) {
  replica_cluster c(2, {.mend_every = 50ms});
  auto both = held_by(c, 0, 1, {0, 1});
  ASSERT_TRUE(c.store(0).use(both));
  auto log = broadcast(c.store(0), 8);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  c.cut_off(1);
  auto alone = held_by(c, 0, 2, {0});
  ASSERT_TRUE(c.store(0).use(alone, {both}));
  ASSERT_TRUE(c.store(0).remove("show", {1, 65'536, "720p", 1}));
  std::filesystem::remove_all(c.at(1).folder);
  c.restart(1);
  EXPECT_TRUE(c.at(1).desk->streams().empty());
  c.mend(1);
  c.store(0).teach(c.view_of(0, {1}).members);
  ASSERT_TRUE(comes_true([&] { return knows_all(c, 0, "o2"); }));
  auto again = held_by(c, 0, 3, {0, 1});
  ASSERT_TRUE(c.store(0).use(again, {alone}));
  EXPECT_TRUE(c.store(0).state().learners.empty());
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  c.cut_off(0);
  ASSERT_TRUE(c.store(1).use(held_by(c, 1, 4, {1}), {seen_from(c, 1, again)}));
  EXPECT_EQ(c.store(1).load_log("show").value(), log.to_json());
  auto shown = log.snapshot();
  for (auto& e : shown.entries)
    if (e.msn != 1) { // which was removed
      auto file = c.store(1).open("show", {shown.instance, e.epoch, "720p", e.msn});
      ASSERT_TRUE(file) << e.msn << ": " << file.error().text;
    }
}

TEST(ReplicatedStore, ANewcomerHasEverythingBeforeItCounts) {
  replica_cluster c(2, {.deadline = 1s, .mend_every = 1h});
  auto alone = held_by(c, 0, 1, {0});
  ASSERT_TRUE(c.store(0).use(alone));
  auto log = broadcast(c.store(0), 8);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  ASSERT_FALSE(has_all(c, 1, log));
  c.at(1).disk->slow_puts_ms = 700; // so that not all of them get there in time
  auto both = held_by(c, 0, 2, {0, 1});
  auto taken = c.store(0).use(both, {alone});
  ASSERT_FALSE(taken) << "it lacks what the log lists";
  EXPECT_EQ(taken.error().code, error_code::unavailable) << taken.error().text;
  EXPECT_NE(taken.error().text.find("o2"), std::string::npos) << taken.error().text;
  EXPECT_EQ(c.at(1).desk->word().settled.mark.term, 0U) << "and nobody takes that view for one in force";
  c.at(1).disk->slow_puts_ms = 0;
  taken = c.store(0).use(both, {alone});
  ASSERT_TRUE(taken) << taken.error().text;
  EXPECT_TRUE(has_all(c, 1, log));
}

/// A segment is at two of three; one of them is gone for good, and then the other one is lost.
TEST(ReplicatedStore, WhoStaysHasEverythingBeforeFewerCount) {
  replica_cluster c(3, {.mend_every = 1h});
  auto three = held_by(c, 0, 1, {0, 1, 2});
  ASSERT_TRUE(c.store(0).use(three));
  c.cut(0, 1);
  auto log = broadcast(c.store(0), 8);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  ASSERT_FALSE(has_all(c, 1, log));
  c.mend(0, 1);
  c.cut_off(2);
  const segment_id nowhere{"show", {log.snapshot().instance, 65'536, "720p", 2}};
  ASSERT_TRUE(c.at(0).disk->remove(nowhere.stream, nowhere.place)); // a disk that is not well keeps nobody from going on
  auto two = held_by(c, 0, 2, {0, 1});
  auto taken = c.store(0).use(two, {three});
  ASSERT_TRUE(taken) << taken.error().text;
  c.cut_off(0);
  ASSERT_TRUE(c.store(1).use(held_by(c, 1, 3, {1}), {seen_from(c, 1, two)}));
  auto shown = log.snapshot();
  for (auto& e : shown.entries)
    EXPECT_TRUE(e.msn == nowhere.place.msn || has(c, 1, {shown.instance, e.epoch, "720p", e.msn})) << e.msn;
}

TEST(ReplicatedStore, ANewcomerIsNotSentTheLogsThatItHas) {
  replica_cluster c(2, {.mend_every = 50ms});
  auto alone = held_by(c, 0, 1, {0});
  ASSERT_TRUE(c.store(0).use(alone));
  for (int i = 0; i < 30; ++i)
    ASSERT_TRUE(c.store(0).save_log(fmt::format("show{}", i), "{}", false));
  c.store(0).teach(c.view_of(0, {1}).members);
  ASSERT_TRUE(comes_true([&] { return knows_all(c, 0, "o2"); }));
  c.at(1).disk->slow_ms = 300; // of each log that it writes
  auto taken = c.store(0).use(held_by(c, 0, 2, {0, 1}), {alone});
  EXPECT_TRUE(taken) << taken.error().text;
  c.at(1).disk->slow_ms = 0;
}

/// Finding out what it lacks takes longer than a lesson.
TEST(ReplicatedStore, ALearnerOfManyStreamsLearnsAllTheSame) {
  replica_cluster c(2, {.mend_every = 50ms, .lesson = 100ms});
  ASSERT_TRUE(c.store(0).use(held_by(c, 0, 1, {0})));
  auto log = broadcast(c.store(0), 8);
  ASSERT_TRUE(c.store(0).save_log("show", log.to_json(), false));
  c.at(1).disk->slow_reads_ms = 30; // of each segment that it looks for
  c.store(0).teach(c.view_of(0, {1}).members);
  EXPECT_TRUE(comes_true([&] { return knows_all(c, 0, "o2"); }));
  EXPECT_TRUE(has_all(c, 1, log));
}

TEST(ReplicatedStore, WhoHasLostItsDiskIsAnotherMember) {
  replica_cluster c(2, {.deadline = 1s, .mend_every = 1h});
  auto both = held_by(c, 0, 1, {0, 1});
  const auto disk = c.at(1).desk->disk();
  both.members[1].name = member_name("o2", disk);
  ASSERT_TRUE(c.store(0).use(both));
  ASSERT_TRUE(c.store(0).put("show", first, bytes("abc")));
  c.restart(1);
  EXPECT_EQ(c.at(1).desk->disk(), disk);
  c.restart(1);
  EXPECT_EQ(c.at(1).desk->disk(), disk);
  EXPECT_EQ(c.at(1).desk->word().mark, both.mark);
  EXPECT_TRUE(c.store(0).put("show", nth(2), bytes("abc")));
  std::filesystem::remove_all(c.at(1).folder);
  c.restart(1);
  EXPECT_NE(c.at(1).desk->disk(), disk);
  EXPECT_EQ(c.at(1).desk->word().mark.term, 0U) << "it has promised nothing";
  auto refused = c.store(0).put("show", nth(3), bytes("abc"));
  ASSERT_FALSE(refused) << "whoever it was is asked";
  EXPECT_NE(refused.error().text.find(disk), std::string::npos) << refused.error().text;
  EXPECT_FALSE(c.store(0).claim(2)) << "nor can it answer for who it was";
  std::filesystem::remove_all(c.at(1).folder.string() + ".replica");
  const auto second = c.at(1).desk->disk();
  c.restart(1);
  EXPECT_NE(c.at(1).desk->disk(), second) << "without the file of its promises, too";
}

/// DATA_DIR is full: the folder can be claimed, and that cannot be written down.
TEST(ReplicaDesk, StartsThatCannotWriteTheirStateMakeNoNewDisk) {
  replica_cluster c(2, {.mend_every = 1h});
  ASSERT_TRUE(c.store(0).use(held_by(c, 0, 1, {0, 1})));
  const auto disk = c.at(1).desk->disk();
  const auto promised = c.at(1).desk->word().mark;
  ASSERT_EQ(promised.term, 1U);
  const auto state = c.at(1).folder.string() + ".replica";
  /// From a claim on the state cannot be written: its file stands aside, and a folder is in its place.
  class filling final : public ailing_store {
  public:
    filling(std::unique_ptr<segment_store> whole, std::string state) : ailing_store(std::move(whole)), state_(std::move(state)) {}
    expected<void> claim(std::uint64_t term) override {
      WEIR_TRY(ailing_store::claim(term));
      std::filesystem::rename(state_, state_ + ".aside");
      std::filesystem::create_directory(state_);
      return {};
    }
  private:
    std::string state_;
  };
  for (int start = 0; start < 3; ++start) {
    auto opened = replica_desk::open(std::make_shared<filling>(std::move(open_folder_store(c.at(1).folder, "o2").value()), state), state);
    ASSERT_FALSE(opened) << start;
    ASSERT_TRUE(std::filesystem::remove(state));
    std::filesystem::rename(state + ".aside", state);
  }
  c.restart(1);
  EXPECT_EQ(c.at(1).desk->disk(), disk);
  EXPECT_EQ(c.at(1).desk->word().mark, promised) << "it has forgotten nothing";
}

TEST(ReplicatedStore, APeerThatStandsStillIsNotWaitedForAlone) {
  replica_cluster c(3, {.mend_every = 1h, .hedge_after = 1s});
  all_use(c);
  c.cut(0, 2);
  for (std::uint64_t n = 1; n <= 2; ++n) {
    ASSERT_TRUE(c.store(0).put("show", nth(n), bytes("abc")));
    ASSERT_TRUE(comes_true([&] { return has(c, 1, nth(n)); }));
  }
  c.mend(0, 2);
  auto view = c.view_of(2);
  view.mark = {1, "o1"};
  c.store(2).follow(view);
  c.at(0).disk->slow_reads_ms = 3'000; // who writes, and so is asked first
  auto began = steady::now();
  auto read = c.store(2).open("show", nth(1));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_LT(steady::now() - began, 2'500ms) << "it answers at the end of its 3 s";
  EXPECT_GE(steady::now() - began, 900ms) << "nobody is asked beside it in vain";
  began = steady::now();
  read = c.store(2).open("show", nth(2));
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_LT(steady::now() - began, 900ms) << "the next time others are asked before it";
  auto nowhere = c.store(2).open("show", nth(3));
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().code, error_code::not_found) << "after all have said so";
}

/// As above, with members that change at random, as a coordinator would decide them that hears of a take-over only now and then, and holders that are told late.
/// The log alone: where its segments are follows by and by.
class AcrossViews : public ::testing::TestWithParam<unsigned> {};

TEST_P(AcrossViews, NothingAcknowledgedIsEverLost) {
  constexpr std::size_t origins = 5;
  std::mt19937 random(GetParam());
  auto draw = [&](unsigned below) { return std::uniform_int_distribution<unsigned>(0, below - 1)(random); };
  replica_cluster c(origins, {.deadline = 300ms, .mend_every = 1h});
  struct told {
    std::size_t holder = 0;
    std::vector<std::size_t> of;
    std::uint64_t term = 0;
    std::vector<std::pair<std::vector<std::size_t>, std::pair<std::size_t, std::uint64_t>>> former; // members, holder and term
  };
  std::vector<told> views;                // all that were ever decided
  decltype(told::former) may_be_in_force; // as the coordinator knows
  std::uint64_t acknowledged = 0, counter = 0, newest_owner_term = 0;
  std::set<std::pair<std::size_t, std::size_t>> lines;
  std::size_t taken = 0, refused = 0, saved = 0;
  std::vector<std::optional<std::uint64_t>> turns(origins); // the term with which each believes to write

  auto try_to_use = [&](const told& v) {
    auto view = held_by(c, v.holder, v.term, v.of);
    std::vector<replica_view> former;
    for (auto& [of, by] : v.former) {
      former.push_back(c.view_of(v.holder, of));
      former.back().mark = {by.second, c.at(by.first).name};
    }
    if (!c.store(v.holder).use(view, former)) {
      ++refused;
      return;
    }
    ASSERT_GE(v.term, newest_owner_term) << "an older view came into force after a newer one";
    newest_owner_term = v.term;
    auto log = c.store(v.holder).load_log("show");
    if (!log && log.error().code != error_code::not_found)
      return; // a line is cut; it may have taken over all the same
    const auto found = log ? std::stoull(*log) : 0;
    ASSERT_GE(found, acknowledged) << "term " << v.term;
    counter = std::max<std::uint64_t>(counter, found);
    turns[v.holder] = v.term;
    ++taken;
    if (draw(2) == 0) { // the coordinator hears of it
      std::erase_if(may_be_in_force, [&](auto& old) { return old.second.second < v.term; });
    }
  };
  for (int step = 0; step < 160 && !HasFatalFailure(); ++step) {
    const auto what = draw(12);
    if (what == 0) {
      told v{.holder = draw(origins), .of = {}, .term = views.size() + 1, .former = may_be_in_force};
      for (std::size_t i = 0; i < origins; ++i)
        if (i == v.holder || draw(2) == 0)
          v.of.push_back(i);
      views.push_back(v);
      may_be_in_force.push_back({v.of, {v.holder, v.term}});
      try_to_use(v);
    } else if (what <= 2 && !views.empty()) {
      try_to_use(views[views.size() - 1 - draw(static_cast<unsigned>(std::min<std::size_t>(views.size(), 3)))]); // again, or late
    } else if (what == 3 && lines.size() < 4) {
      auto a = draw(origins), b = draw(origins);
      if (a != b && lines.emplace(std::min(a, b), std::max(a, b)).second)
        c.cut(a, b);
    } else if ((what == 4 || what == 5) && !lines.empty()) {
      c.mend(lines.begin()->first, lines.begin()->second);
      lines.erase(lines.begin());
    } else {
      auto i = draw(origins); // a former owner tries, too
      if (!turns[i])
        continue;
      auto done = c.store(i).save_log("show", std::to_string(++counter), false);
      if (!done)
        continue;
      ASSERT_EQ(*turns[i], newest_owner_term) << "o" << i + 1 << " wrote although a newer view is in force";
      acknowledged = counter;
      ++saved;
    }
  }
  fmt::print("seed {}: views {} taken over {} refused {} saved {}\n", GetParam(), views.size(), taken, refused, saved);
  EXPECT_GT(taken, 2U);
  EXPECT_GT(saved, 2U);
}
INSTANTIATE_TEST_SUITE_P(Seeds, AcrossViews, ::testing::Range(1U, 9U));

} // namespace
} // namespace weir::origin
