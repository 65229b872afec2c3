#include "runtime/placing/placing.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir::placing {
namespace {

constexpr double nearness = 0.15;         ///< a node near the source may be that much fuller
constexpr std::size_t others_named = 4;   ///< of a hundred nodes nobody reads the rest
constexpr std::size_t longest_need = 128;

double share(std::int64_t granted_milli, const node_status& n) { return double(granted_milli) / double(std::max<std::int64_t>(n.spec.capacity_milli, 1)); }
double share(const node_status& n) { return share(n.granted_milli, n); }
double cores(std::int64_t milli) { return double(milli) / 1000; }

bool is_near(const node_status& n, const wish& w) { return std::ranges::find(w.near, n.spec.name) != w.near.end(); }

bool fits(const node_status& n, const wish& w) { return n.granted_milli == 0 || n.granted_milli + w.cost_milli <= n.spec.capacity_milli; }

bool offers(const node_spec& n, const wish& w) { return std::ranges::find(n.task_types, w.type) != n.task_types.end(); }

const std::string* missing_label(const node_spec& n, const wish& w) {
  auto need = std::ranges::find_if(w.needs, [&](auto& one) { return !has_label(n.labels, one); });
  return need == w.needs.end() ? nullptr : &*need;
}

/// Why a node that offers the type does not take the run now, as half a sentence after its name.
std::string obstacle(const node_status& node, const wish& w) {
  if (node.phase != node_phase::ready)
    return fmt::format("is {}", to_string(node.phase));
  if (auto* need = missing_label(node.spec, w))
    return "has no label " + *need;
  if (node.spec.name == w.apart_from)
    return "has the other run";
  if (!fits(node, w))
    return fmt::format("has {:.1f} of {:.1f} cores granted, {:.1f} are needed", cores(node.granted_milli), cores(node.spec.capacity_milli), cores(w.cost_milli));
  return node.spec.name == w.avoid ? std::string("was to be avoided") : fmt::format("is {:.0f} % full", share(node) * 100);
}

} // namespace

bool has_label(const labels& of_the_node, std::string_view need) {
  auto equals = need.find('=');
  auto label = of_the_node.find(std::string(need.substr(0, equals)));
  return label != of_the_node.end() && (equals == need.npos || label->second == need.substr(equals + 1));
}

expected<void> check_need(std::string_view need) {
  if (need.empty() || need.front() == '=' || need.size() > longest_need || std::ranges::any_of(need, [](unsigned char c) { return c <= ' ' || c == 127; }))
    return fail(error_code::invalid_input, fmt::format("{:?} is not a label as KEY or KEY=VALUE of at most {} letters without spaces", need, longest_need));
  return {};
}

bool suits(const node_spec& node, const wish& w) { return offers(node, w) && !missing_label(node, w); }

bool takes(const node_status& node, const wish& w) { return node.phase == node_phase::ready && node.spec.name != w.apart_from && suits(node.spec, w) && fits(node, w); }

bool is_crowded(const node_status& node) { return share(node) >= crowded; }

choice choose(const std::vector<const node_status*>& nodes, const wish& w) {
  auto rank = [&](const node_status& n) { return std::pair{n.spec.name == w.avoid, share(n) - (is_near(n, w) ? nearness : 0)}; };
  const node_status* best = nullptr;
  for (auto* n : nodes)
    if (takes(*n, w) && (!best || rank(*n) < rank(*best)))
      best = n;

  std::string others;
  std::size_t named = 0, unnamed = 0;
  for (auto* n : nodes)
    if (n != best && offers(n->spec, w)) {
      if (named == others_named)
        ++unnamed;
      else
        others += fmt::format("{}{} {}", named++ ? ", " : "", n->spec.name.value, obstacle(*n, w));
    }
  if (unnamed)
    others += fmt::format(" and {} more", unnamed);
  if (!best)
    return {nullptr, named ? "no node can take it: " + others : fmt::format("no node offers {}", w.type)};
  return {best, fmt::format("{:.1f} of {:.1f} cores free, it needs {:.2f}{}{}", cores(best->spec.capacity_milli - best->granted_milli), cores(best->spec.capacity_milli),
                            cores(w.cost_milli), is_near(*best, w) ? ", near the RTMP server" : "", named ? "; " + others : "; no other node offers it")};
}

std::optional<move> rebalance(const std::vector<const node_status*>& nodes, const std::vector<run>& runs) {
  std::optional<move> best;
  double gained = worth_a_move;
  for (auto& r : runs) {
    auto from = std::ranges::find(nodes, r.node, [](auto* n) { return n->spec.name; });
    if (from == nodes.end() || (*from)->phase != node_phase::ready || !is_crowded(**from))
      continue;
    auto asks = r.asks;
    asks.avoid = r.node;
    auto* to = choose(nodes, asks).node;
    if (!to || to == *from)
      continue;
    const auto after = std::max(share((*from)->granted_milli - asks.cost_milli, **from), share(to->granted_milli + asks.cost_milli, *to));
    if (const auto gain = share(**from) - after; gain >= gained) {
      gained = gain;
      best = move{r.seat, to->spec.name, fmt::format("node {} is {:.0f} % full and {} {:.0f} %: afterwards neither is above {:.0f} %", r.node.value, share(**from) * 100,
                                                     to->spec.name.value, share(*to) * 100, after * 100)};
    }
  }
  return best;
}

} // namespace weir::placing
