#include "actors/http_bridge.hpp"

#include "actors/api_json.hpp"
#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {
constexpr std::uint64_t ticks_between_keys = 6; ///< of half a second
}

void in_bridge(const http_bridge_actor& bridge, std::function<void(http_bridge_self)> work) {
  tell_anon(bridge, bridge_call{[work = std::move(work)](void* self) { work(static_cast<http_bridge_self>(self)); }});
}

http_bridge_actor::behavior_type http_bridge(http_bridge_self self, http_bridge_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  my.keys = key_cache{my.setup.known_keys_file};
  auto me = http_bridge_actor{self};

  // What happened since the last round goes to every follower, the state only to those that have an older one.
  auto feed = [=, &my] {
    std::erase_if(my.followers, [](auto& f) { return !f.stream.open(); });
    if (my.followers.empty())
      return;
    // A line of comment now and then: proxies and pages take longer silence for a dead connection.
    if (++my.rounds % 20 == 0)
      for (auto& f : my.followers)
        f.stream.write(": still here\n\n");
    // A new follower without a number wants to know how things came to be as they are: the last hundred.
    bool fresh = std::ranges::any_of(my.followers, [](auto& f) { return f.last_event == 0; });
    auto oldest = std::ranges::min(my.followers, {}, &http_bridge_state::follower::last_event).last_event;
    ask(self, 2s, my.setup.coordinator, list_events{oldest, fresh ? 100u : 500u, fresh})
      .then(
        [=, &my](const event_list& list) {
          for (auto& f : my.followers)
            for (auto& e : list.events)
              if (e.number > f.last_event) {
                if (f.last_event != 0 && e.number > f.last_event + 1)
                  f.stream.send({}, "gap", nlohmann::json{{"from", f.last_event + 1}, {"to", e.number - 1}}.dump());
                f.last_event = e.number;
                f.stream.send(std::to_string(e.number), "event", event_json(e).dump());
              }
        },
        [](const caf::error& why) { log::warn("http-bridge", "events-not-read", "error={}", from_caf(why).text); });
    if (std::ranges::none_of(my.followers, &http_bridge_state::follower::state))
      return;
    ask(self, 2s, my.setup.coordinator, view_cluster{})
      .then(
        [=, &my](const cluster_view& view) {
          std::string text;
          for (auto& f : my.followers)
            if (f.state && f.version != view.version) {
              f.version = view.version;
              if (text.empty())
                text = view_json(view).dump();
              f.stream.send({}, "state", text);
            }
        },
        [](const caf::error& why) { log::warn("http-bridge", "state-not-read", "error={}", from_caf(why).text); });
  };

  // Now and then, so that they are at hand when the coordinator is not.
  auto learn_keys = [=, &my] {
    if (my.setup.known_keys_file.empty() || my.asks_keys || my.ticks++ % ticks_between_keys != 0)
      return;
    my.asks_keys = true;
    ask(self, 2s, my.setup.coordinator, list_keys{my.keys.version()})
      .then(
        [=, &my](known_keys& news) {
          my.asks_keys = false;
          if (auto taken = my.keys.take(std::move(news)); !taken)
            log::error("http-bridge", "known-keys-not-kept", "error={}", taken.error().text);
        },
        [=, &my](const caf::error& why) {
          my.asks_keys = false;
          log::debug("http-bridge", "known-keys-not-told", "error={}", from_caf(why).text);
        });
  };

  tell_after(self, 500ms, me, tick{});
  return {
    [=](const bridge_call& call) { call.work(self); },
    [=](const tick&) {
      feed();
      learn_keys();
      tell_after(self, 500ms, me, tick{});
    },
    [=, &my](const stop&) {
      for (auto& f : my.followers)
        f.stream.close();
      self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](const ask_status&) {
      return report_of(self, "http_bridge", nlohmann::json{{"followers", my.followers.size()}, {"hooks", my.hooks}, {"late_hooks", my.late_hooks}, {"known_keys", my.keys.version()}}, my.started);
    },
  };
}

} // namespace weir
