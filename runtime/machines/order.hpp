#pragma once
// What is ordered of whoever has machines to give (an operator's script, or a service), and what it may answer. A machine has a name of ours from before it is
// ordered: whoever is ordered the same twice makes it once, and what we lost an answer of is found again under it.
#include "schemas/error.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace weir::machines {

enum class order_kind : std::uint8_t {
  begin, ///< a machine of that name; accepted also when it is there or on its way
  end,   ///< of what has that name; accepted also when nothing has
  list,  ///< all machines whose names begin with the prefix, those that are on their way included
};
std::string_view to_string(order_kind kind);

struct order {
  order_kind kind = order_kind::list;
  std::string machine; ///< empty in a list
  std::string cluster;
  std::string prefix;  ///< that the cluster's machines have in common
  bool operator==(const order&) const = default;
};
/// One JSON object, without a line break: {"order":"begin","machine":NAME,"cluster":NAME,"prefix":TEXT}.
std::string to_json(const order& o);
/// The same each time that it is said: "begin NAME".
std::string key_of(const order& o);

inline constexpr std::size_t answer_limit = 64 << 10; ///< bytes
inline constexpr std::size_t machines_limit = 1000;   ///< names in a list

struct answer {
  std::vector<std::string> machines; ///< of a list
};
/// {"accepted": true}, {"accepted": false, "reason": TEXT}, or of a list {"machines": [NAME…]}; whatever else the object holds is left alone. Errors:
/// unavailable (refused, with the reason), too_large, invalid_input.
expected<answer> parse_answer(order_kind kind, std::string_view text);

/// What the machines of a cluster have in common in their names, which are host names too: "CLUSTER-edge-".
std::string prefix_of(std::string_view cluster);
/// A new name.
std::string make_name(std::string_view prefix);
/// Whether make_name() gave it: its last letters follow from the others. Machines of other names are not ours, and never ended.
bool is_name(std::string_view prefix, std::string_view name);

} // namespace weir::machines
