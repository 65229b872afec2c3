#pragma once
// The machines that were ordered, from the order until nobody has to pay for them any more. Values in, orders and news out; who carries them out is not known here.
//
//   wanted --accepted--> coming --its edge joins--> there --end()--> ending --accepted, and not in a list any more--> gone
//     |  refused 3 times    |  not in time            |  its edge is seen no more
//     +---------------------+-------------------------+-----------> ending
//
// A machine is kept (text()) before it is ordered, and until it is gone: whoever is killed in between orders again what was ordered. The list of whoever has
// the machines is the truth about what there is: a machine of ours in it that is not known is taken over, and ended when its edge does not join.
#include "runtime/base/clock.hpp"
#include "runtime/machines/order.hpp"
#include "runtime/supervise/backoff.hpp"
#include "schemas/node.hpp"
#include "schemas/units.hpp"

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace weir::machines {

struct fleet_options {
  std::string cluster;
  std::uint32_t per_hour = 10, per_day = 40;          ///< machines that may be begun, so that a fault does not cost a fortune
  milliseconds join_within = std::chrono::seconds(130); ///< from an accepted order until its edge is seen; then it is ended
  bool dry_run = false;                               ///< what there is is listed; nothing is begun or ended
};

/// For people.
struct machine_news {
  std::string kind; ///< of the event
  std::string machine;
  std::string text;
};

class fleet {
public:
  fleet() : fleet(fleet_options{}, 0) {}
  fleet(fleet_options options, std::uint64_t seed);

  /// What text() gave before. Errors: corrupt.
  expected<void> restore(std::string_view text, steady_time now);
  /// What is to be kept; orders that begin a machine wait until it is (kept()).
  std::string text() const;
  std::uint64_t revision() const { return revision_; } ///< of the text
  void kept(std::uint64_t revision) { kept_ = std::max(kept_, revision); }

  /// Wants that many more; their names. No more than may_begin() says.
  std::vector<std::string> begin(std::uint32_t count, steady_time now, timestamp wall);
  /// How many more may be begun now, and (empty when there is no bound but the limits) why not more.
  std::uint32_t may_begin(steady_time now, timestamp wall) const;
  std::string held_back(steady_time now, timestamp wall) const;
  void end(const std::string& machine, steady_time now);

  /// Whether the edge is one of a machine that is ordered, or was and is not gone.
  const machine_status* of(const edge_spec& edge) const;
  /// The edges that there are now.
  void see(const std::vector<edge_spec>& edges, steady_time now);
  /// That will have an edge, and have none yet.
  std::uint32_t coming() const;

  /// What is too late or to be ended, and the orders that are to be sent now; each is answered (take) before the next one for the same machine.
  std::vector<order> due(steady_time now);
  void take(const order& o, const expected<answer>& said, steady_time now, timestamp wall);
  /// Machines that nothing is left of but what others remember (names of nodes); forgotten() when those have forgotten, too.
  std::vector<std::string> gone() const;
  void forgotten(const std::string& machine);

  std::vector<machine_news> news(); ///< since it was asked last
  std::vector<machine_status> statuses() const;
  const std::string& trouble() const { return trouble_; } ///< with lists; empty: the last one was good
  /// Begun in the time before `wall`.
  std::uint32_t begun_within(seconds time, timestamp wall) const;

private:
  struct machine {
    machine_status status;
    std::uint64_t revision = 0;  ///< that it is kept with
    bool asked = false;          ///< an order is on its way
    bool accepted = false;       ///< the order of its phase
    bool gone = false;
    steady_time since{};         ///< the order was accepted, or its edge was seen last
    steady_time next{};          ///< attempt
    std::uint32_t attempts = 0;  ///< that failed, of its phase
  };
  void change(machine& one, machine_phase to, steady_time now);
  void failed(machine& one, std::string why, steady_time now);
  void take_list(const std::vector<std::string>& listed, steady_time now, timestamp wall);
  void tell(std::string kind, const machine& one, std::string text);
  order make(order_kind kind, const std::string& name) const;

  fleet_options options_;
  std::string prefix_;
  std::map<std::string, machine> machines_;
  std::vector<timestamp> begun_;               ///< of the last day, oldest first
  supervise::backoff backoff_;                 ///< of machines that did not come
  steady_time not_before_{};                   ///< another one is begun
  std::string held_by_;                        ///< what failed
  std::uint64_t revision_ = 1, kept_ = 0;
  bool listing_ = false, listed_once_ = false;
  steady_time listed_{}, list_asked_{};
  std::string trouble_ = "not listed yet";
  std::vector<machine_news> news_;
};

} // namespace weir::machines
