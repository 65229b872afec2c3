#pragma once
// Actors without threads and without waiting: CAF's test scheduler, and a clock that only moves when a test says so.
#include "actors/caf.hpp"

#include <caf/detail/test_actor_clock.hpp>
#include <caf/scheduler/test_coordinator.hpp>
#include <cstdio>
#include <cstdlib>
#include <gtest/gtest.h>
#include <thread>
#include <vector>

namespace weir::testing {

struct quiet_config : caf::actor_system_config {
  quiet_config() {
    set("scheduler.policy", caf::atom("testing"));
    set("logger.file-verbosity", caf::atom("quiet"));
  }
};

class virtual_time : public ::testing::Test {
public:
  quiet_config config;
  caf::actor_system system{config};
  caf::scheduler::test_coordinator& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  caf::scoped_actor self{system, true};

  virtual_time() { scheduler.clock().current_time += std::chrono::hours(1); }
  ~virtual_time() override {
    // Whoever still has a timer would keep the system alive for ever.
    for (auto& a : spawned_)
      caf::anon_send_exit(a, caf::exit_reason::kill);
    // A child process that still runs says that it has ended on a thread of its own, at a time of its own; its TRANSCODER ends after that.
    for (auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30); system.registry().running() > of_its_own_; std::this_thread::yield()) {
      settle();
      if (std::chrono::steady_clock::now() > until) {
        std::fprintf(stderr, "%zu actors do not end: the system would wait for them for ever\n", system.registry().running() - of_its_own_);
        std::abort();
      }
    }
  }

  /// Spawns an actor that ends with the test.
  template <class F, class... A>
  auto spawn(F f, A&&... a) {
    auto handle = system.spawn(f, std::forward<A>(a)...);
    spawned_.push_back(caf::actor_cast<caf::actor>(handle));
    settle();
    return handle;
  }

  auto now() const { return const_cast<virtual_time*>(this)->scheduler.clock().now(); }

  /// Delivers every message that waits; fires no timer.
  void settle() {
    for (int steps = 0; scheduler.try_run_once(); ++steps)
      ASSERT_LT(steps, 1'000'000) << "the actors never come to rest";
  }

  /// Moves the clock, stopping at each timer on the way, so that timers set by handlers fire at their time too.
  void advance(std::chrono::nanoseconds by) {
    settle();
    auto& clock = scheduler.clock();
    auto target = clock.now() + by;
    while (!clock.schedule().empty() && clock.schedule().begin()->first <= target) {
      auto due = clock.schedule().begin()->first;
      clock.advance_time(due > clock.now() ? due - clock.now() : std::chrono::nanoseconds(0));
      settle();
    }
    if (target > clock.now())
      clock.advance_time(target - clock.now());
    settle();
  }

  template <class Handle, class Message>
  void tell(const Handle& whom, Message&& message) {
    caf::anon_send(whom, std::forward<Message>(message));
    settle();
  }

  template <class Reply, class Handle, class Message>
  Reply ask(const Handle& whom, Message&& message) {
    auto request = self->request(whom, caf::infinite, std::forward<Message>(message));
    settle();
    Reply answer{};
    request.receive([&](Reply& r) { answer = std::move(r); }, [&](caf::error& why) { ADD_FAILURE() << from_caf(why).text; });
    return answer;
  }
  template <class Handle, class Message>
  error ask_for_error(const Handle& whom, Message&& message) {
    auto request = self->request(whom, caf::infinite, std::forward<Message>(message));
    settle();
    error answer{error_code::none, "there was no error"};
    request.receive([&] {}, [&](caf::error& why) { answer = from_caf(why); });
    return answer;
  }

private:
  std::vector<caf::actor> spawned_;
  const std::size_t of_its_own_ = system.registry().running(); ///< actors that end with the system
};

} // namespace weir::testing
