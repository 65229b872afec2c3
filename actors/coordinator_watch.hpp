#pragma once
// How a part follows the coordinator's news: it asks until the first word comes, because what it asked before the coordinator was reached is lost, and again
// after a silence, perhaps over another connection.
#include "actors/interfaces.hpp"

#include <utility>

namespace weir {

struct coordinator_watch {
  static constexpr auto silence = std::chrono::seconds(3); ///< its list of edges comes each second
  caf::actor_clock::time_point heard{};                    ///< or asked
  bool answered = false;                                   ///< since our start
  bool answering = false;                                  ///< its tables come, which may be thousands: whoever asked meanwhile would get them all again

  bool due(caf::actor_clock::time_point now) const { return (!answered && !answering) || now - heard > silence; }
  /// At each tick: asks when it is time.
  template <class Self>
  void follow(Self* self, const coordinator_actor& coordinator, const watcher_actor& me) {
    const auto now = self->clock().now();
    if (!due(now))
      return;
    heard = now;
    answering = false;
    tell(self, coordinator, watch{me});
  }
  /// One of its tables.
  void hears_table(caf::actor_clock::time_point now) {
    heard = now;
    answering = true;
  }
  /// Its list of edges, which comes after all tables; true the first time.
  bool hears(caf::actor_clock::time_point now) {
    heard = now;
    return !std::exchange(answered, true);
  }
};

} // namespace weir
