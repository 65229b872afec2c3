#include "runtime/cluster/handshakes.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace weir::cluster;

namespace {

/// A socket of CAF's and its poller.
class Handshakes : public testing::Test {
protected:
  void SetUp() override {
    int both[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, both), 0);
    here = both[0];
    there = both[1];
    poller = ::epoll_create1(EPOLL_CLOEXEC);
    ASSERT_GE(poller, 0);
  }
  ~Handshakes() override {
    for (int one : {here, there, poller})
      ::close(one);
  }
  void asks(int operation, std::uint32_t events) {
    epoll_event wanted{.events = events, .data = {.fd = here}};
    auto instead = all.asked(poller, operation, here, &wanted);
    EXPECT_EQ(instead.data.fd, here);
    ASSERT_EQ(::epoll_ctl(poller, operation, here, &instead), 0);
  }
  std::uint32_t told() const {
    epoll_event event{};
    return ::epoll_wait(poller, &event, 1, 0) == 1 ? event.events : 0;
  }

  handshakes all;
  int here = -1, there = -1, poller = -1;
};

TEST_F(Handshakes, ThatWaitAreNotToldThatTheyMayWrite) {
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  EXPECT_EQ(told(), std::uint32_t{EPOLLOUT});
  all.waits(here);
  EXPECT_EQ(told(), 0u);
  all.waits(here);
  EXPECT_EQ(told(), 0u);
  ASSERT_EQ(::write(there, "x", 1), 1);
  EXPECT_EQ(told(), std::uint32_t{EPOLLIN}) << "the other end has spoken";
  all.goes_on(here);
  EXPECT_EQ(told(), std::uint32_t{EPOLLIN | EPOLLOUT}) << "what was wanted all the time";
}

TEST_F(Handshakes, ThatWaitDoNotWriteWhenCafHasSomethingToWrite) {
  asks(EPOLL_CTL_ADD, EPOLLIN);
  all.waits(here);
  asks(EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT); // a heartbeat
  EXPECT_EQ(told(), 0u);
  all.goes_on(here);
  EXPECT_EQ(told(), std::uint32_t{EPOLLOUT});
}

TEST_F(Handshakes, ThatAreNoLongerReadFromAreOver) {
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  all.waits(here);
  asks(EPOLL_CTL_MOD, EPOLLOUT); // CAF ends, and would wait for ever to write the rest
  EXPECT_EQ(told(), std::uint32_t{EPOLLHUP});
}

TEST_F(Handshakes, ThatWereGivenUpBeforeTheyWaitAreOverToo) {
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  asks(EPOLL_CTL_MOD, EPOLLOUT);
  EXPECT_EQ(told(), std::uint32_t{EPOLLOUT});
  all.waits(here);
  EXPECT_EQ(told(), std::uint32_t{EPOLLHUP});
}

TEST_F(Handshakes, OfAFormerSocketSayNothingOfTheNext) {
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  all.waits(here);
  ASSERT_EQ(::epoll_ctl(poller, EPOLL_CTL_DEL, here, nullptr), 0); // as if it had been closed without a word
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  EXPECT_EQ(told(), std::uint32_t{EPOLLOUT});
}

TEST_F(Handshakes, OnASocketThatThePollerDoesNotKnowAreNoneOfOurs) {
  all.waits(here); // CAF tries once before it asks the poller
  all.goes_on(here);
  EXPECT_EQ(all.asked(poller, EPOLL_CTL_DEL, here, nullptr).events, 0u);
  asks(EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
  EXPECT_EQ(told(), std::uint32_t{EPOLLOUT});
}

} // namespace
