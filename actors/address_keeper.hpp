#pragma once
#include "actors/interfaces.hpp"
#include "runtime/network/network_interface.hpp"
#include "runtime/steering/take_over.hpp"

#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace weir {

struct address_keeper_setup {
  edge_name edge;
  shared_address address;
  std::shared_ptr<network::network_interface> interface;
  std::string file; ///< which addresses it has put on the interface, a line each: a start after kill -9 takes them off
};

struct address_keeper_state {
  static inline const char* name = "address-keeper";
  using time_point = caf::actor_clock::time_point;
  address_keeper_setup setup;
  std::optional<steering::take_over> takes;
  std::set<std::string> there;        ///< what we have put on the interface, as `setup.file` says
  std::deque<address_step> untold;
  std::uint64_t steps = 0;
  bool linked = false;
  std::optional<time_point> served;   ///< when the edge did last
  bool failing = false;               ///< the kernel has not done what it was asked, in this round of act() or the one before
  bool failed = false;                ///< in this round
  time_point looked{};                ///< at what is on the interface
  bool asking = false;
  time_point asked{};
  time_point started{};

  /// Takes off what a former start has left. Errors: those of read_file() but not_found.
  expected<void> prepare(time_point now, timestamp wall);
  /// What was heard since the last call, and what follows from it.
  void act(time_point now);
  /// Takes all off.
  void give_all_back();
  /// What the coordinator is to be told now; nullopt: it is not time yet.
  std::optional<address_word> say(time_point now);
  address_word word() const;
  void take(const neighbour_list& news, time_point now);

private:
  /// Other hands, such as systemd-networkd's, take off what they do not know.
  void look_for_what_is_held(time_point now);
  void carry_out(const std::vector<steering::address_order>& orders, time_point now);
  expected<void> put(const std::string& address);
  /// Takes off the interface what is not held; what the kernel does not take off now is tried again with the next call.
  void take_off_what_is_not_held();
  expected<void> keep_file() const;
  void fail_once(const error& why);
  void note();
};

/// Which addresses of its network this machine answers at: the edge's own one while it serves, and those of dead edges whose successor it is.
///
/// Parent:  EDGE, which tells it each second whether nginx answers. Detached: it asks the kernel.
/// Tells:   COORDINATOR twice a second what it has, five times while an edge is suspect; the answer names the edges that share addresses.
/// Fails:   to start when what it left on the interface cannot be read.
/// Numbers: an address is taken when its edge is dead and three questions, 200 ms from each other, were not answered; it asks those from the suspicion on.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
address_keeper_actor::behavior_type address_keeper(address_keeper_actor::stateful_pointer<address_keeper_state> self, address_keeper_setup setup,
                                                   coordinator_actor coordinator);

} // namespace weir
