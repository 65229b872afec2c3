#include "actors/uplink.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "schemas/config.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto probe_patience = 500ms;
constexpr std::chrono::seconds handshake_patience = 5s, handshake_patience_of_several = 2s; ///< a coordinator that hangs must not keep us from the next one
constexpr std::uint32_t soon = 40; ///< tries at short intervals: a coordinator that is started again is missed by runs that end after 4 s

} // namespace

std::chrono::milliseconds uplink_state::patience() const { return failures < soon ? 250ms : std::min<std::chrono::milliseconds>(5s, 250ms * (1 << std::min(failures - soon, 5u))); }

caf::behavior uplink(caf::stateful_actor<uplink_state>* self, uplink_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = caf::actor_cast<caf::actor>(self);

  auto again = [=, &my](std::string why) {
    ++my.failures;
    if (auto& told = my.told[my.setup.addresses[my.next]]; told != why) { // the same reason every few seconds says nothing new
      log::warn("uplink", "not-connected", "address={} reason={}", my.setup.addresses[my.next], why);
      told = why;
    }
    my.trouble = std::move(why);
    my.next = (my.next + 1) % my.setup.addresses.size();
    tell_after(self, my.patience(), me, dial_again{});
  };
  auto dial = [=, &my] {
    auto address = my.setup.addresses[my.next];
    // CAF's own connect waits for minutes where nobody answers.
    if (auto there = cluster::probe(address, probe_patience); !there)
      return again(there.error().text);
    auto to = parse_host_port(address);
    auto refused = [=](const caf::error& why) { again(address + ": " + from_caf(why).text); };
    auto patience = my.setup.addresses.size() > 1 ? handshake_patience_of_several : handshake_patience;
    self->request(cluster::dialler(self->system(), my.setup.tls), caf::duration{patience}, caf::connect_atom::value, to->host, to->port)
      .then(
        [=, &my](const caf::node_id&, const caf::strong_actor_ptr& published, const std::set<std::string>&) {
          if (!published)
            return again(address + ": nobody lets nodes in there");
          ask(self, patience, caf::actor_cast<caf::actor>(published), my.setup.us)
            .then(
              [=, &my](const welcome& in) {
                my.coordinator = in.coordinator;
                my.failures = 0;
                my.trouble.clear();
                my.told.clear();
                ++my.connections;
                self->monitor(my.coordinator);
                log::info("uplink", "connected", "coordinator={} connections={}", address, my.connections);
              },
              refused);
        },
        refused);
  };

  self->set_down_handler([=, &my](const caf::down_msg& down) {
    if (!my.coordinator || my.coordinator.address() != down.source)
      return;
    my.coordinator = nullptr;
    again("the connection to the coordinator is gone");
  });
  forward_the_rest(self, [&my] { return my.coordinator; }, {error_code::unavailable, "the coordinator is not reached"});

  self->send(self, dial_again{});
  return {
    [=](const dial_again&) { dial(); },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"connected", bool(my.coordinator)}, {"addresses", my.setup.addresses}, {"connections", my.connections}, {"failures", my.failures}, {"trouble", my.trouble}};
      return report_of(self, "uplink", status, my.started);
    },
  };
}

} // namespace weir
