#pragma once
// Which group of edges is near to a viewer (balancing.md 5.9): the longest network that holds its address names it. Never changed once it is shown.
#include "schemas/config.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace weir::steering {

/// Most localities of a cluster: each has numbers of its own.
inline constexpr std::size_t locality_limit = 16;
/// Most networks that one edge names.
inline constexpr std::size_t network_limit = 64;

/// Whether it may name a locality, and stand in a viewer's addresses: 1 to 64 of [A-Za-z0-9._-], not starting with a dot.
bool is_locality(std::string_view text);

class localities {
public:
  /// The edges of `locality` are near to these networks. A network that a locality was added for before stays with that one.
  /// Fails: invalid_input for a name that is none; invalid_config for a network that is none, and too_many beyond locality_limit. Then nothing is added.
  expected<void> add(std::string_view locality, const std::vector<std::string>& networks);

  /// Empty for an address that no network holds, and for text that is no address. IPv4 within IPv6 (::ffff:…) counts as IPv4.
  std::string_view of(std::string_view address) const;
  std::size_t size() const { return names_.size(); }

private:
  using address_bytes = std::array<std::uint8_t, 16>;
  std::vector<std::string> names_;
  std::map<unsigned, std::map<address_bytes, std::uint16_t>, std::greater<>> networks_; ///< by length, longest first: index of the name
};

} // namespace weir::steering
