#include "actors/edge_farm.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

std::vector<edge_name> edge_farm_state::idle() const {
  std::vector<edge_name> all;
  for (auto& p : places)
    if (!p.edge)
      all.push_back(p.setup.spec.name);
  return all;
}

edge_farm_state::place* edge_farm_state::find(const edge_name& edge) {
  auto found = std::ranges::find(places, edge, [](auto& p) { return p.setup.spec.name; });
  return found == places.end() ? nullptr : &*found;
}

edge_farm_actor::behavior_type edge_farm(edge_farm_actor::stateful_pointer<edge_farm_state> self, node_name node, std::vector<edge_setup> places, std::shared_ptr<http::client> client,
                                         coordinator_actor coordinator) {
  auto& my = self->state;
  my.node = std::move(node);
  my.started = self->clock().now();
  for (auto& one : places) {
    one.spec.spare = true;
    my.places.push_back({.setup = std::move(one), .edge = {}, .ending = false});
  }
  auto me = edge_farm_actor{self};
  auto gone = [=](const edge_name& edge) { tell(self, coordinator, forget_edge{edge, "autoscaler"}); };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    auto over = std::ranges::find_if(my.places, [&](auto& p) { return p.edge && p.edge.address() == who; });
    if (over == my.places.end())
      return false;
    auto& name = over->setup.spec.name;
    if (!over->ending)
      log::error("edge-farm", "edge-ended", "edge={} reason={}", name.value, from_caf(why).text);
    over->edge = nullptr;
    over->ending = false;
    gone(name);
    if (my.stopping && my.idle().size() == my.places.size())
      self->quit(caf::exit_reason::user_shutdown);
    return true;
  });

  self->send(me, tick{});
  return {
    [=, &my](const run_edge&) -> caf::result<edge_begun> {
      auto place = std::ranges::find(my.places, edge_actor{}, &edge_farm_state::place::edge);
      if (my.stopping || place == my.places.end())
        return to_caf({error_code::unavailable, "no edge more can be started on node " + my.node.value});
      place->edge = self->spawn<caf::linked + caf::detached>(edge, place->setup, client, coordinator);
      log::info("edge-farm", "edge-started", "edge={}", place->setup.spec.name.value);
      return edge_begun{place->setup.spec.name};
    },
    [=, &my](const end_edge& wish) {
      auto* place = my.find(wish.name);
      if (!place)
        return;
      if (!place->edge)
        return gone(wish.name);
      if (!std::exchange(place->ending, true))
        tell(self, place->edge, stop{});
    },
    [=, &my](const tick&) {
      if (my.stopping)
        return;
      tell(self, coordinator, farm_hello{my.node, me, my.idle()});
      tell_after(self, 1s, me, tick{});
    },
    [=, &my](const stop&) {
      my.stopping = true;
      if (my.idle().size() == my.places.size())
        return self->quit(caf::exit_reason::user_shutdown);
      for (auto& place : my.places)
        if (place.edge && !std::exchange(place.ending, true))
          tell(self, place.edge, stop{});
    },
    [=, &my](const ask_status&) {
      nlohmann::json running = nlohmann::json::array();
      std::vector<caf::actor> children;
      for (auto& place : my.places)
        if (place.edge) {
          running.push_back(place.setup.spec.name.value);
          children.push_back(caf::actor_cast<caf::actor>(place.edge));
        }
      return report_of(self, "edge-farm", nlohmann::json{{"running", running}, {"free", my.idle().size()}}, my.started, std::move(children));
    },
  };
}

} // namespace weir
