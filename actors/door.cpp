#include "actors/door.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <fmt/format.h>

namespace weir {

using namespace std::chrono_literals;

expected<void> admit(const hello& guest, const hello& us) {
  if (guest.cluster != us.cluster)
    return fail(error_code::forbidden, fmt::format("node {:?} wants to join cluster {:?}, but this is cluster {:?}", guest.node, guest.cluster, us.cluster));
  if (guest.form != us.form)
    return fail(error_code::unsupported, fmt::format("node {:?} runs Weir {} (messages {}), this coordinator runs Weir {} (messages {}): they cannot understand each other",
                                                     guest.node, guest.version, guest.form, us.version, us.form));
  return {};
}

door_actor::behavior_type door(door_actor::stateful_pointer<door_state> self, hello us, coordinator_actor coordinator, caf::actor seat) {
  auto& my = self->state;
  my.started = self->clock().now();
  auto turn_away = [=, &my](const hello& guest, const error& why) {
    ++my.turned_away;
    if (my.last_refusal != why.text) // a guest comes back every few seconds
      log::warn("door", "turned-away", "node={} reason={}", guest.node, why.text);
    my.last_refusal = why.text;
    return to_caf(why);
  };
  return {
    [=, &my](const hello& guest) -> caf::result<welcome> {
      if (auto fits = admit(guest, us); !fits)
        return turn_away(guest, fits.error());
      if (!seat) {
        ++my.let_in;
        return welcome{caf::actor_cast<caf::actor>(coordinator)};
      }
      auto promise = self->make_response_promise<welcome>();
      ask(self, 2s, seat, guest)
        .then(
          [=, &my](const welcome& in) mutable {
            ++my.let_in;
            promise.deliver(in);
          },
          [=](const caf::error& why) mutable { promise.deliver(turn_away(guest, from_caf(why))); });
      return promise;
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      return report_of(self, "door", nlohmann::json{{"let_in", my.let_in}, {"turned_away", my.turned_away}, {"last_refusal", my.last_refusal}}, my.started);
    },
  };
}

} // namespace weir
