#include "runtime/cluster/strangers.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace weir;
using namespace weir::cluster;
using namespace std::chrono_literals;

namespace {

const steady_time t0 = steady_time{} + 1h;

/// A connection: `here` is what CAF has accepted, `there` the stranger's end.
struct line {
  line() {
    int both[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both), 0);
    here = both[0];
    there = both[1];
  }
  line(line&& other) noexcept : here(std::exchange(other.here, -1)), there(std::exchange(other.there, -1)) {}
  ~line() {
    close_here();
    if (there >= 0)
      ::close(there);
  }
  void close_here() {
    if (here >= 0)
      ::close(std::exchange(here, -1));
  }
  bool cut() const {
    char byte = 0;
    auto heard = ::recv(there, &byte, 1, MSG_DONTWAIT);
    return heard == 0 || (heard < 0 && errno != EAGAIN);
  }
  int here = -1, there = -1;
};

TEST(Strangers, HaveTenSecondsToShowWhoTheyAre) {
  strangers all(first_word::ours);
  line silent, late, node;
  all.came(silent.here, t0);
  all.came(node.here, t0);
  all.came(late.here, t0 + 4s);
  all.settled(node.here);
  all.cut_overdue(t0 + 9999ms);
  EXPECT_FALSE(silent.cut());
  all.cut_overdue(t0 + 10s);
  EXPECT_TRUE(silent.cut());
  EXPECT_FALSE(late.cut());
  all.cut_overdue(t0 + 14s);
  EXPECT_TRUE(late.cut());
  all.cut_overdue(t0 + 1h);
  EXPECT_FALSE(node.cut());
  EXPECT_EQ(all.count(), 0u);
}

TEST(Strangers, AreWaitedForNoLongerThanTheOldestMayTake) {
  strangers all(first_word::ours);
  EXPECT_FALSE(all.patient_for(t0)) << "nobody is here: for ever";
  line first, second;
  all.came(first.here, t0);
  all.came(second.here, t0 + 2s);
  EXPECT_EQ(all.patient_for(t0 + 2s), 8s);
  EXPECT_EQ(all.patient_for(t0 + 10s - 1us), 1ms) << "never a turn too early";
  EXPECT_EQ(all.patient_for(t0 + 1h), 0ms);
  all.settled(first.here);
  EXPECT_EQ(all.patient_for(t0 + 2s), 10s);
}

TEST(Strangers, WhoSaysNothingIsInNobodysWay) {
  strangers all(first_word::ours);
  line node;
  all.came(node.here, t0);
  all.heard(node.here);
  ASSERT_TRUE(all.may_say(true));
  std::vector<line> silent(strangers::most + 1);
  for (auto& one : silent)
    all.came(one.here, t0);
  EXPECT_EQ(all.count(), strangers::most);
  EXPECT_FALSE(node.cut());
  EXPECT_TRUE(silent[0].cut());
  EXPECT_TRUE(silent[1].cut());
  EXPECT_EQ(std::ranges::count_if(silent, &line::cut), 2);
}

TEST(Strangers, WhoHasBegunToSpeakIsNotInTheWayOfNewcomersEither) {
  strangers all(first_word::ours);
  std::vector<line> speaking(strangers::most);
  for (auto& one : speaking) {
    all.came(one.here, t0);
    all.heard(one.here);
    ASSERT_TRUE(all.may_say(true));
  }
  EXPECT_EQ(std::ranges::count_if(speaking, &line::cut), 0) << "a cluster that comes back at once";
  std::vector<line> silent(strangers::most / 2 + 1);
  for (auto& one : silent)
    all.came(one.here, t0);
  EXPECT_EQ(all.count(), strangers::most);
  EXPECT_TRUE(silent.front().cut());
  EXPECT_EQ(std::ranges::count_if(silent, &line::cut), 1);
  EXPECT_EQ(std::count_if(speaking.begin(), speaking.begin() + strangers::most / 2, [](auto& one) { return one.cut(); }), strangers::most / 2);
  EXPECT_EQ(std::ranges::count_if(speaking, &line::cut), strangers::most / 2);
  all.cut_oldest(); // no file can be opened: whoever it is
  EXPECT_TRUE(speaking[strangers::most / 2].cut());
}

TEST(Strangers, WhoHasGoneByHimselfCountsNoMore) {
  strangers all(first_word::ours);
  line node;
  all.came(node.here, t0);
  std::vector<line> hasty(strangers::most - 1);
  for (auto& one : hasty)
    all.came(one.here, t0);
  for (auto& one : hasty)
    one.close_here();
  std::vector<line> others(strangers::most - 1);
  for (auto& one : others)
    all.came(one.here, t0);
  EXPECT_EQ(all.count(), strangers::most);
  EXPECT_FALSE(node.cut());
  line last;
  all.came(last.here, t0);
  EXPECT_TRUE(node.cut()) << "so many others are there";
  EXPECT_EQ(std::ranges::count_if(others, &line::cut), 0);
}

TEST(Strangers, WhoeverHasTheSocketsNumberLaterIsNotCutOff) {
  strangers all(first_word::ours);
  line stranger, other;
  all.came(stranger.here, t0);
  ASSERT_EQ(::dup2(other.here, stranger.here), stranger.here); // closed by CAF, given to somebody else
  all.cut_overdue(t0 + 10s);
  EXPECT_FALSE(other.cut());

  line anew;
  all.came(stranger.here, t0 + 20s);
  ASSERT_EQ(::dup2(anew.here, stranger.here), stranger.here);
  all.came(stranger.here, t0 + 25s); // to the next one that comes
  all.cut_overdue(t0 + 30s);
  EXPECT_FALSE(anew.cut());
  all.cut_overdue(t0 + 35s);
  EXPECT_TRUE(anew.cut());
}

TEST(Strangers, WithoutTlsTheHandshakeComesFirstAndWhatFollowsItShowsThatItWasTaken) {
  strangers all(first_word::ours);
  line eager, polite;
  all.came(eager.here, t0);
  all.came(polite.here, t0);
  EXPECT_TRUE(all.may_say(false)) << "nobody here was heard: an own connection to somebody else";
  all.heard(eager.here);
  EXPECT_FALSE(all.may_say(false)) << "a message of 16 MiB, for one";
  EXPECT_FALSE(all.may_say(false));
  all.heard(polite.here);
  EXPECT_TRUE(all.may_say(true));
  EXPECT_EQ(all.count(), 2u) << "its handshake is announced, not there";
  EXPECT_TRUE(all.may_say(false));
  EXPECT_EQ(all.count(), 1u);
  EXPECT_TRUE(all.may_say(false));
  all.cut_overdue(t0 + 10s);
  EXPECT_TRUE(eager.cut());
  EXPECT_FALSE(polite.cut());
}

/// A listener in an epoll, as CAF has them.
struct port {
  port() {
    sockaddr_in any{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&any), sizeof any), 0);
    EXPECT_EQ(::listen(listener, 8), 0);
    epoll_event is{.events = EPOLLIN, .data = {.u64 = 4711}};
    EXPECT_EQ(::epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &is), 0);
    all.polled(epoll, EPOLL_CTL_ADD, listener, &is);
  }
  ~port() {
    ::close(epoll);
    ::close(listener);
  }
  /// Somebody connects; CAF accepts.
  line comes(steady_time now) {
    sockaddr_in to{};
    socklen_t size = sizeof to;
    EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&to), &size), 0);
    line l;
    l.close_here();
    ::close(std::exchange(l.there, ::socket(AF_INET, SOCK_STREAM, 0)));
    EXPECT_EQ(::connect(l.there, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
    newest = ::accept(listener, nullptr, nullptr);
    EXPECT_GE(newest, 0);
    all.came(newest, now);
    return l;
  }
  bool told(std::chrono::milliseconds patient) const {
    epoll_event event{};
    return ::epoll_wait(epoll, &event, 1, static_cast<int>(patient.count())) == 1 && event.data.u64 == 4711;
  }
  int newest = -1; ///< the one that was accepted last
  int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  strangers all{first_word::theirs};
};

TEST(HeldBackStrangers, AreCafsWhenTheyHaveSpoken) {
  port p;
  auto silent = p.comes(t0), speaks = p.comes(t0 + 1s);
  EXPECT_FALSE(p.told(0ms));
  EXPECT_EQ(p.all.next_that_speaks(), -1);
  ASSERT_EQ(::send(speaks.there, "x", 1, 0), 1);
  EXPECT_TRUE(p.told(5s)) << "by the listener's own event";
  auto socket = p.all.next_that_speaks();
  char byte = 0;
  EXPECT_EQ(::recv(socket, &byte, 1, MSG_DONTWAIT), 1) << "its word is still there";
  EXPECT_FALSE(p.told(0ms));
  EXPECT_EQ(p.all.next_that_speaks(), -1);
  EXPECT_EQ(p.all.count(), 2u);
  p.all.cut_overdue(t0 + 10s);
  EXPECT_TRUE(silent.cut());
  EXPECT_FALSE(speaks.cut());
  p.all.settled(socket);
  p.all.cut_overdue(t0 + 1h);
  EXPECT_FALSE(speaks.cut());
  ::close(socket);
}

TEST(HeldBackStrangers, WhoGoesBeforeHeSpeaksIsForgotten) {
  port p;
  {
    auto gone = p.comes(t0);
  }
  EXPECT_TRUE(p.told(5s));
  EXPECT_EQ(p.all.next_that_speaks(), -1);
  EXPECT_EQ(p.all.count(), 0u);
  EXPECT_FALSE(p.told(0ms));
}

TEST(HeldBackStrangers, AreOutOfSightWhenTheyAreCutOffThoughAChildHasTheSocketTooForAMoment) {
  port p;
  auto late = p.comes(t0);
  auto child = ::dup(p.newest);
  p.all.cut_overdue(t0 + 10s);
  EXPECT_EQ(p.all.count(), 0u);
  ASSERT_EQ(::send(late.there, "x", 1, 0), 1);
  EXPECT_FALSE(p.told(50ms));
  EXPECT_EQ(p.all.next_that_speaks(), -1);
  ::close(child);
}

TEST(HeldBackStrangers, HaveNoCompanionAfterTheListenerIsGone) {
  port p;
  auto late = p.comes(t0);
  p.all.polled(p.epoll, EPOLL_CTL_DEL, p.listener, nullptr);
  ASSERT_EQ(::send(late.there, "x", 1, 0), 1);
  EXPECT_FALSE(p.told(50ms)) << "the event that CAF would be told of is no longer its own";
  p.all.cut_overdue(t0 + 10s);
  EXPECT_TRUE(late.cut());
}

TEST(Strangers, AreCountedInOneThreadOnly) {
  std::thread([] {
    strangers::count_here(first_word::ours);
    ASSERT_TRUE(strangers::here());
    auto* before = strangers::here();
    strangers::count_here(first_word::ours);
    EXPECT_EQ(strangers::here(), before);
    std::thread([] { EXPECT_FALSE(strangers::here()); }).join();
  }).join();
  EXPECT_FALSE(strangers::here());
}

} // namespace
