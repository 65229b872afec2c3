// The front for parts between viewers that ask and origins that answer when a test says so.
#include "runtime/nginx/part_front.hpp"
#include "tests/integration/nginx/tiny_http.hpp"
#include "tests/unit/http/crowd.hpp"
#include "tests/unit/nginx/held_origin.hpp"

#include <algorithm>
#include <atomic>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <thread>

using namespace weir;
using namespace weir::nginx;
using weir::testing::crowd;
using weir::testing::eventually;
using weir::testing::held_origin;
using namespace std::chrono_literals;

namespace {

std::string part(int msn, int number, std::string_view stream = "hall") { return fmt::format("/s/{}~17/65536/720p/{}.{}.m4s", stream, msn, number); }

std::unique_ptr<part_front> front_of(std::vector<std::string> origins, part_front_options options = {.origins = {}, .hold = 60s}) {
  options.origins = std::move(origins);
  auto made = part_front::open(std::move(options));
  EXPECT_TRUE(made) << made.error().text;
  return std::move(*made);
}

int with_status(const std::vector<http::client_response>& all, int status) {
  return static_cast<int>(std::ranges::count(all, status, &http::client_response::status));
}

} // namespace

TEST(PartFront, AsksOnceForAllWhoWaitAndAnswersThemWhenItComes) {
  held_origin home;
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  for (int i = 0; i < 200; ++i)
    viewers.ask(part(5, 0));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 200; }));
  const std::string bytes(150'000, 'p');
  EXPECT_EQ(home.answer(200, bytes), part(5, 0));
  int fetched = 0;
  for (auto& got : viewers.all()) {
    EXPECT_EQ(got.status, 200);
    EXPECT_EQ(got.body, bytes);
    EXPECT_EQ(got.headers.find("Content-Type"), "video/iso.segment");
    EXPECT_EQ(got.headers.find("Cache-Control"), "public, max-age=43200, immutable");
    fetched += got.headers.find("X-Cache") == "MISS";
  }
  EXPECT_EQ(fetched, 1);
  EXPECT_EQ(home.asked(), 1);

  // Who comes later finds it there.
  auto late = viewers.one(part(5, 0));
  EXPECT_EQ(late.body, bytes);
  EXPECT_EQ(late.headers.find("X-Cache"), "HIT");
  auto head = viewers.one(part(5, 0), {}, "HEAD");
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.headers.find("Content-Length"), "150000");
  EXPECT_EQ(home.asked(), 1);
  const auto all = front->now();
  EXPECT_EQ(all.asked, 1u);
  EXPECT_EQ(all.joined, 199u);
  EXPECT_EQ(all.hits, 2u);
  EXPECT_EQ(all.waiting, 0u);
}

TEST(PartFront, KeepsForAMomentThatThereIsNoSuchPart) {
  held_origin home(404);
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  EXPECT_EQ(viewers.one(part(1, 0)).status, 404);
  const auto kept_until = std::chrono::steady_clock::now() + 1s; // or a little less
  for (int n = 0; n < 5; ++n)
    EXPECT_EQ(viewers.one(part(1, 0)).status, 404);
  if (std::chrono::steady_clock::now() < kept_until - 500ms) { // else the machine stood still
    EXPECT_EQ(home.asked(), 1);
  }
  EXPECT_TRUE(eventually([&] {
    viewers.one(part(1, 0));
    return home.asked() == 2;
  }));
}

TEST(PartFront, KeepsNoOtherError) {
  held_origin home;
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  for (int status : {500, 502, 503}) {
    viewers.ask(part(1, 0));
    viewers.ask(part(1, 0));
    ASSERT_TRUE(eventually([&] { return front->now().waiting == 2; }));
    home.answer(status);
    auto got = viewers.all();
    EXPECT_EQ(with_status(got, status), 2);
    EXPECT_EQ(got.front().headers.find("Cache-Control"), "no-store");
  }
  viewers.ask(part(1, 0));
  home.answer(200, "there");
  EXPECT_EQ(viewers.all().front().body, "there");
  EXPECT_EQ(front->now().failed, 3u);
}

TEST(PartFront, AsksTheNextOriginAndThenFirstTheOneThatHadIt) {
  held_origin without(404), broken(500), with(200);
  auto front = front_of({without.address(), "127.0.0.1:1", broken.address(), with.address()});
  crowd viewers(front->address());
  EXPECT_EQ(viewers.one(part(1, 0)).status, 200);
  EXPECT_EQ(without.asked() + broken.asked(), 2);
  for (int n = 1; n < 5; ++n)
    EXPECT_EQ(viewers.one(part(1, n)).status, 200);
  EXPECT_EQ(without.asked() + broken.asked(), 2) << "the one that had this stream's last part is asked first";
  EXPECT_EQ(viewers.one(part(1, 0, "other")).status, 200);
  EXPECT_EQ(without.asked() + broken.asked(), 4) << "of another stream nobody knows";
}

TEST(PartFront, SaysThatThereIsNoSuchPartOnlyWhenAllSayIt) {
  held_origin without(404), neither(404);
  auto front = front_of({without.address(), neither.address()});
  crowd viewers(front->address());
  EXPECT_EQ(viewers.one(part(1, 0)).status, 404);
  front->use_origins({without.address(), "127.0.0.1:1"});
  EXPECT_EQ(viewers.one(part(1, 1)).status, 502);
  front->use_origins({"unix:/nobody/here.sock"});
  EXPECT_EQ(viewers.one(part(1, 2)).status, 502);
  front->use_origins({});
  EXPECT_EQ(viewers.one(part(1, 3)).status, 502);
}

TEST(PartFront, LeavesAnOriginThatHangsForAnotherAndGoesBackToItWhenThatHasNothing) {
  held_origin hangs, with(200), without(404);
  auto front = front_of({hangs.address(), with.address()}, {.origins = {}, .hold = 60s, .hurry = 1s});
  crowd viewers(front->address());
  EXPECT_EQ(viewers.one(part(1, 0)).status, 200);
  // It may only be late with a part that is still being made.
  front->use_origins({hangs.address(), without.address()});
  viewers.ask(part(1, 0, "late"));
  ASSERT_TRUE(eventually([&] { return hangs.asked() == 3; })) << "once for the first part, twice for this one";
  EXPECT_EQ(without.asked(), 1);
  for (int question = 0; question < 3; ++question) // those before were given up
    hangs.answer(200, "late");
  EXPECT_EQ(viewers.all().front().body, "late");
}

TEST(PartFront, GivesUpInTheEnd) {
  held_origin hangs;
  auto front = front_of({hangs.address()}, {.origins = {}, .hold = 2s});
  crowd viewers(front->address());
  viewers.ask(part(1, 0));
  viewers.ask(part(1, 0));
  EXPECT_EQ(with_status(viewers.all(), 504), 2);
  EXPECT_EQ(hangs.asked(), 1);
  EXPECT_EQ(front->now().waiting, 0u);
}

TEST(PartFront, GivesNoByteOfAPartBeforeItHasAll) {
  const std::string bytes(100'000, 'p');
  tiny_http::server stalls([&](const auto&) {
    const auto whole = tiny_http::response(200, bytes);
    return whole.substr(0, whole.size() - bytes.size() / 2);
  });
  held_origin with;
  const auto address = fmt::format("127.0.0.1:{}", stalls.port());
  auto front = front_of({address, with.address()}, {.origins = {}, .hold = 60s, .hurry = 1s});
  crowd viewers(front->address());
  viewers.ask(part(1, 0));
  viewers.ask(part(1, 0));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 2; }));
  EXPECT_EQ(with.answer(200, "whole"), part(1, 0)) << "it is left for another as one that says nothing";
  for (auto& got : viewers.all())
    EXPECT_EQ(got.body, "whole") << "not behind a half of the other's";

  front = front_of({address}, {.origins = {}, .hold = 2s});
  crowd unlucky(front->address());
  unlucky.ask(part(1, 0));
  unlucky.ask(part(1, 0));
  for (auto& got : unlucky.all()) {
    EXPECT_EQ(got.status, 504);
    EXPECT_EQ(got.body.find("pp"), std::string::npos);
  }
}

TEST(PartFront, OneTokenThatTheOriginRefusesSpoilsNothingForOthers) {
  held_origin home;
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  const auto with = [](std::string_view token) { return fmt::format("/t/{}{}", token, part(1, 0)); };
  viewers.ask(with("stale"));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 1; }));
  viewers.ask(with("stale"));
  viewers.ask(with("good"));
  viewers.ask(with("better"));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 4; }));
  EXPECT_EQ(home.answer(403), with("stale"));
  EXPECT_NE(home.answer(200, "yours"), with("stale"));
  auto got = viewers.all();
  EXPECT_EQ(with_status(got, 403), 2);
  EXPECT_EQ(with_status(got, 200), 2);
  EXPECT_EQ(home.asked(), 2);
  // What signed viewers share is not for those without a token.
  viewers.ask(part(1, 0));
  EXPECT_EQ(home.answer(403), part(1, 0));
  EXPECT_EQ(viewers.all().front().status, 403);
  EXPECT_EQ(viewers.one(with("good")).headers.find("X-Cache"), "HIT");
}

TEST(PartFront, KeepsNoMoreThanItMayAndNotForEver) {
  held_origin home;
  auto front = front_of({home.address()}, {.origins = {}, .hold = 60s, .kept_limit = 250'000, .part_limit = 120'000});
  crowd viewers(front->address());
  auto fetch = [&](int n, std::size_t size) {
    viewers.ask(part(1, n));
    home.answer(200, std::string(size, 'p'));
    return viewers.all().front().status;
  };
  for (int n = 0; n < 4; ++n)
    EXPECT_EQ(fetch(n, 100'000), 200);
  EXPECT_EQ(front->now().kept, 2u);
  EXPECT_EQ(front->now().kept_bytes, 200'000u);
  EXPECT_EQ(viewers.one(part(1, 3)).headers.find("X-Cache"), "HIT");
  EXPECT_EQ(fetch(0, 50'000), 200) << "the oldest had to go, and can be had again";
  EXPECT_EQ(fetch(9, 130'000), 502) << "no part is that long";
  const auto now = std::chrono::steady_clock::now();
  front->forget(now + 20s);
  EXPECT_EQ(front->now().kept, 3u);
  front->forget(now + 31s);
  EXPECT_EQ(front->now().kept, 0u);
  EXPECT_EQ(front->now().kept_bytes, 0u);
}

TEST(PartFront, TakesNoMoreThanItCanHold) {
  held_origin home;
  auto front = front_of({home.address()}, {.origins = {}, .hold = 60s, .flight_limit = 2, .waiting_limit = 3});
  crowd viewers(front->address());
  viewers.ask(part(1, 0));
  viewers.ask(part(1, 1));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 2; }));
  EXPECT_EQ(crowd(front->address()).one(part(1, 2)).status, 503) << "a third part";
  viewers.ask(part(1, 0));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 3; }));
  EXPECT_EQ(crowd(front->address()).one(part(1, 0)).status, 503) << "a fourth request";
  home.answer(200);
  home.answer(200);
  EXPECT_EQ(with_status(viewers.all(), 200), 3);
  EXPECT_EQ(front->now().refused, 2u);
}

TEST(PartFront, AnswersWhoWaitsWhenItEnds) {
  held_origin home;
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  for (int i = 0; i < 50; ++i)
    viewers.ask(part(1, i % 2));
  ASSERT_TRUE(eventually([&] { return front->now().waiting == 50; }));
  front.reset();
  auto got = viewers.all();
  EXPECT_EQ(with_status(got, 503), 50);
  EXPECT_EQ(got.front().headers.find("Retry-After"), "1");
}

TEST(PartFront, RefusesWhatIsNoAddressOfAPart) {
  held_origin home(200);
  auto front = front_of({home.address()});
  crowd viewers(front->address());
  for (const auto* path : {"/s/a%20b/1.1.m4s", "/s/a%0d%0aHost:%20x/1.1.m4s", "/s/hall~17/1.1.m4s%3fx", "/s/../etc/1.1.m4s", "/other", "/"})
    EXPECT_GE(viewers.one(path).status, 400) << path;
  EXPECT_EQ(home.asked(), 0);
}
