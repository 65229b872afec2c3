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

  /// At each tick: asks when it is time.
  template <class Self>
  void follow(Self* self, const coordinator_actor& coordinator, const watcher_actor& me) {
    const auto now = self->clock().now();
    if (answered && now - heard <= silence)
      return;
    heard = now;
    tell(self, coordinator, watch{me});
  }
  /// Its list of edges, which comes after all tables; true the first time.
  bool hears(caf::actor_clock::time_point now) {
    heard = now;
    return !std::exchange(answered, true);
  }
};

} // namespace weir
