#pragma once
// What the COORDINATOR knows of the addresses that edges of one network share (edge.shared_address): whose they are, and who has them now.
#include "actors/edge_set.hpp"
#include "actors/messages.hpp"

#include <chrono>
#include <map>
#include <optional>
#include <vector>

namespace weir {

class address_book {
public:
  using time_point = std::chrono::steady_clock::time_point;

  /// What an edge says of itself. Returns what happened there that was not known yet.
  std::vector<address_step> take(const address_word& word, time_point now);
  /// It does not come back. Whoever still answers for it is told so, and reminds us of it no more.
  void forget(const edge_name& edge, time_point now);

  /// All that have such an address, as told to each of them.
  std::vector<edge_neighbour> neighbours(const edge_set& edges, time_point now) const;
  /// Writes into the statuses which addresses the edges have.
  void decorate(std::vector<edge_status>& edges, time_point now) const;
  /// What the edge of that name has said up to, of its steps.
  std::uint64_t steps_of(const edge_name& edge) const;

private:
  struct entry {
    shared_address address;
    address_word said;
    time_point heard{};
    std::uint64_t steps = 0;
  };
  bool is_heard(const entry& e, time_point now) const;

  void learn(const std::vector<held_address>& others);

  std::map<edge_name, entry> entries_;
  std::optional<time_point> began_; ///< to be spoken to
  std::map<edge_name, time_point> forgotten_;
};

} // namespace weir
