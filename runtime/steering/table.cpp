#include "runtime/steering/table.hpp"

#include "runtime/steering/concentration.hpp"
#include "runtime/steering/localities.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <xxhash.h>

namespace weir::steering {

namespace {

constexpr std::uint16_t nobody = 0xffff;

/// Buckets per edge by largest remainder: they add up to 1,024 exactly. `most` is the share rounded up.
struct shares {
  std::vector<std::size_t> exact, most;
};

shares shares_of(const std::vector<double>& weights) {
  auto sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  shares s;
  std::vector<std::pair<double, std::size_t>> remainders;
  std::size_t given = 0;
  for (std::size_t e = 0; e < weights.size(); ++e) {
    auto share = static_cast<double>(bucket_count) * weights[e] / sum;
    auto whole = static_cast<std::size_t>(share);
    s.exact.push_back(whole);
    s.most.push_back(static_cast<std::size_t>(std::ceil(share - 1e-9)));
    remainders.emplace_back(share - static_cast<double>(whole), e);
    given += whole;
  }
  std::sort(remainders.begin(), remainders.end(), [](auto& a, auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  for (std::size_t i = 0; given < bucket_count; ++i, ++given)
    ++s.exact[remainders[i % remainders.size()].second];
  for (std::size_t e = 0; e < weights.size(); ++e)
    s.most[e] = std::max(s.most[e], s.exact[e]);
  return s;
}

} // namespace

double preference(std::uint32_t bucket, std::string_view edge, std::int64_t weight_milli) {
  auto hash = XXH3_64bits_withSeed(edge.data(), edge.size(), bucket);
  auto uniform = (static_cast<double>(hash >> 11) + 0.5) * 0x1p-53;
  return -static_cast<double>(weight_milli) / std::log(uniform);
}

edge_table make_table(edge_epoch epoch, std::vector<edge_target> edges, const edge_table* previous) {
  edge_table table{epoch, std::move(edges), {}, {}};
  auto n = table.edges.size();
  if (std::ranges::all_of(table.edges, &edge_target::networks_only))
    return table;
  std::vector<double> weights;
  for (auto& e : table.edges)
    weights.push_back(e.networks_only ? 0 : static_cast<double>(std::max<std::int64_t>(e.weight_milli, 0)));
  if (std::all_of(weights.begin(), weights.end(), [](double w) { return w <= 0; }))
    std::ranges::transform(table.edges, weights.begin(), [](auto& e) { return e.networks_only ? 0 : 1000.0; });
  auto share = shares_of(weights);
  std::vector<double> wants(bucket_count * n);
  for (std::size_t b = 0; b < bucket_count; ++b)
    for (std::size_t e = 0; e < n; ++e)
      wants[b * n + e] = preference(static_cast<std::uint32_t>(b), table.edges[e].name.value, static_cast<std::int64_t>(weights[e]));

  auto& owner = table.primary;
  owner.assign(bucket_count, nobody);
  std::vector<std::size_t> count(n, 0);
  if (previous != nullptr && previous->primary.size() == bucket_count) {
    std::unordered_map<std::string, std::uint16_t> index;
    for (std::size_t e = 0; e < n; ++e)
      index.emplace(table.edges[e].name.value, static_cast<std::uint16_t>(e));
    for (std::size_t b = 0; b < bucket_count; ++b)
      if (auto stays = index.find(previous->edges[previous->primary[b]].name.value); stays != index.end()) {
        owner[b] = stays->second;
        ++count[stays->second];
      }
    // Who has too many gives up those buckets that want somebody with room the most.
    for (std::size_t e = 0; e < n; ++e) {
      if (count[e] <= share.most[e])
        continue;
      std::vector<std::pair<double, std::size_t>> leaving;
      for (std::size_t b = 0; b < bucket_count; ++b) {
        if (owner[b] != e)
          continue;
        double best = 0;
        for (std::size_t other = 0; other < n; ++other)
          if (other != e && count[other] < share.exact[other])
            best = std::max(best, wants[b * n + other]);
        leaving.emplace_back(best / std::max(wants[b * n + e], 1e-12), b);
      }
      std::sort(leaving.begin(), leaving.end(), [](auto& a, auto& b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
      for (std::size_t i = 0; count[e] > share.exact[e]; ++i, --count[e])
        owner[leaving[i].second] = nobody;
    }
  }
  for (std::size_t b = 0; b < bucket_count; ++b) {
    if (owner[b] != nobody)
      continue;
    std::size_t best = n;
    for (std::size_t e = 0; e < n; ++e)
      if (count[e] < share.exact[e] && (best == n || wants[b * n + e] > wants[b * n + best]))
        best = e;
    owner[b] = static_cast<std::uint16_t>(best);
    ++count[best];
  }
  table.backup = owner;
  for (std::size_t b = 0; b < bucket_count; ++b) {
    double most = 0;
    for (std::size_t e = 0; e < n; ++e)
      if (e != owner[b] && wants[b * n + e] > most) {
        most = wants[b * n + e];
        table.backup[b] = static_cast<std::uint16_t>(e);
      }
  }
  return table;
}

std::optional<place> place_of(const edge_table& table, std::uint32_t bucket, std::string_view locality, stream_reach reach) {
  if (bucket >= bucket_count)
    return std::nullopt;
  std::optional<place> anywhere;
  if (bucket < table.primary.size()) {
    const auto few = edges_of(table, reach);
    anywhere = few.empty() ? place{table.primary[bucket], table.backup[bucket]} : place_among(table, few, bucket);
  }
  if (locality.empty())
    return anywhere;
  auto best = nobody, next = nobody;
  double best_wish = 0, next_wish = 0;
  for (std::size_t e = 0; e < table.edges.size(); ++e) {
    auto& edge = table.edges[e];
    if (edge.locality != locality)
      continue;
    auto wish = preference(bucket, edge.name.value, std::max<std::int64_t>(edge.weight_milli, 1));
    if (best == nobody || wish > best_wish) {
      next = std::exchange(best, static_cast<std::uint16_t>(e));
      next_wish = std::exchange(best_wish, wish);
    } else if (next == nobody || wish > next_wish) {
      next = static_cast<std::uint16_t>(e);
      next_wish = wish;
    }
  }
  if (best == nobody)
    return anywhere;
  if (next == nobody)
    next = !anywhere ? best : anywhere->primary != best ? anywhere->primary : anywhere->backup;
  return place{best, next, true};
}

expected<void> check(const edge_table& table) {
  auto bad = [&](std::string_view what) { return fail(error_code::invalid_input, fmt::format("edge table of epoch {} {}", table.epoch, what)); };
  if (table.edges.size() > edge_limit)
    return bad(fmt::format("has {} edges, {} are allowed", table.edges.size(), edge_limit));
  if (std::ranges::all_of(table.edges, &edge_target::networks_only)) {
    if (!table.primary.empty() || !table.backup.empty())
      return bad("has buckets but no edges for everybody");
  } else if (table.primary.size() != bucket_count || table.backup.size() != bucket_count) {
    return bad("does not have 1024 buckets");
  }
  auto known = [&](std::uint16_t e) { return e < table.edges.size() && !table.edges[e].networks_only; };
  if (!std::all_of(table.primary.begin(), table.primary.end(), known) || !std::all_of(table.backup.begin(), table.backup.end(), known))
    return bad("names an edge that it does not have, or not for everybody");
  std::set<std::string_view> groups;
  std::unordered_set<std::string_view> names;
  for (auto& e : table.edges) {
    bool plain = std::all_of(e.url.begin(), e.url.end(), [](char c) { return c > ' ' && c <= '~' && c != '"' && c != '?' && c != '#' && c != '\\'; });
    auto scheme = e.url.starts_with("http://") ? 7U : e.url.starts_with("https://") ? 8U : 0U;
    if (!plain || scheme == 0 || e.url.size() <= scheme || e.url.size() > 300 || e.url.ends_with('/'))
      return bad(fmt::format("has an edge with the address {:?} (write it like http://host:port)", e.url.substr(0, 300)));
    if (!e.name || !names.insert(e.name.value).second)
      return bad("has an edge without a name of its own");
    if (!e.locality.empty() && (!is_locality(e.locality) || (groups.insert(e.locality), groups.size() > locality_limit)))
      return bad(fmt::format("has an edge in {:?}, which names no locality or is one more than {}", e.locality.substr(0, 64), locality_limit));
  }
  return {};
}

std::size_t moved_buckets(const edge_table& a, const edge_table& b) {
  if (a.primary.size() != b.primary.size())
    return bucket_count;
  std::size_t moved = 0;
  for (std::size_t i = 0; i < a.primary.size(); ++i)
    moved += a.edges[a.primary[i]].name != b.edges[b.primary[i]].name ? 1 : 0;
  return moved;
}

std::size_t moved_places(const edge_table& a, const edge_table& b) {
  auto groups_of = [](const edge_table& table) { // each with nothing but its own edges: to look at all of them for each bucket would take long
    std::map<std::string_view, edge_table> groups;
    for (auto& e : table.edges)
      if (!e.locality.empty())
        groups[e.locality].edges.push_back(e);
    return groups;
  };
  const auto before = groups_of(a), after = groups_of(b);
  if (before.size() != after.size() || !std::ranges::equal(before, after, {}, [](auto& g) { return g.first; }, [](auto& g) { return g.first; }))
    return bucket_count;
  auto most = moved_buckets(a, b);
  for (auto& [name, old] : before) {
    auto& now = after.at(name);
    std::size_t moved = 0;
    for (std::uint32_t bucket = 0; bucket < bucket_count; ++bucket)
      moved += old.edges[place_of(old, bucket, name)->primary].name != now.edges[place_of(now, bucket, name)->primary].name ? 1 : 0;
    most = std::max(most, moved);
  }
  return most;
}

void bucket_moves::add(const bucket_moves& more) {
  edge_left += more.edge_left;
  edge_joined += more.edge_joined;
  weights += more.weights;
}

bucket_moves moves_between(const edge_table& a, const edge_table& b) {
  bucket_moves moved;
  if (a.primary.size() != b.primary.size())
    return moved;
  auto names_of = [](const edge_table& table) {
    std::unordered_set<std::string_view> names;
    for (auto& e : table.edges)
      names.insert(e.name.value);
    return names;
  };
  const auto before = names_of(a), after = names_of(b);
  for (std::size_t i = 0; i < a.primary.size(); ++i) {
    auto& from = a.edges[a.primary[i]].name.value;
    auto& to = b.edges[b.primary[i]].name.value;
    if (from != to)
      ++(!after.contains(from) ? moved.edge_left : !before.contains(to) ? moved.edge_joined : moved.weights);
  }
  return moved;
}

expected<void> table_history::add(edge_table table) {
  WEIR_TRY(check(table));
  auto epoch = table.epoch;
  if (auto* known = find(epoch)) {
    auto same = [](auto& a, auto& b) {
      return a.name == b.name && a.locality == b.locality && a.networks_only == b.networks_only && a.weight_milli == b.weight_milli && a.fair() == b.fair();
    };
    if (known->primary != table.primary || known->backup != table.backup || !std::ranges::equal(known->edges, table.edges, same))
      return fail(error_code::conflict, fmt::format("edge epoch {} has another table already", epoch));
    return {};
  }
  list more;
  more.reserve(tables_->size() + 1);
  auto later = std::ranges::lower_bound(*tables_, epoch, {}, &list::value_type::first);
  more.assign(tables_->begin(), later);
  more.emplace_back(epoch, std::make_shared<const edge_table>(std::move(table)));
  more.insert(more.end(), later, tables_->end());
  if (more.size() > history_limit)
    more.erase(more.begin(), more.end() - history_limit);
  tables_ = std::make_shared<const list>(std::move(more));
  return {};
}

void table_history::forget_before(edge_epoch oldest) {
  auto keep = std::ranges::lower_bound(*tables_, oldest, {}, &list::value_type::first);
  if (keep == tables_->end() && !empty())
    --keep;
  if (keep != tables_->begin())
    tables_ = std::make_shared<const list>(keep, tables_->end());
}

const edge_table* table_history::find(edge_epoch epoch) const {
  auto found = std::ranges::lower_bound(*tables_, epoch, {}, &list::value_type::first);
  return found == tables_->end() || found->first != epoch ? nullptr : found->second.get();
}

const edge_target* table_history::edge(edge_epoch epoch, std::uint32_t bucket, bool backup, std::string_view locality, stream_reach reach) const {
  auto* table = find(epoch);
  auto at = table == nullptr ? std::nullopt : place_of(*table, bucket, locality, reach);
  return at ? &table->edges[backup ? at->backup : at->primary] : nullptr;
}

std::string_view table_history::base_url(edge_epoch epoch, std::uint32_t bucket, bool backup, std::string_view locality, stream_reach reach) const {
  auto* e = edge(epoch, bucket, backup, locality, reach);
  return e == nullptr ? std::string_view{} : std::string_view(e->url);
}

std::vector<std::string> table_history::urls() const {
  std::unordered_set<std::string_view> seen;
  for (auto& [epoch, table] : *tables_)
    for (auto& e : table->edges)
      seen.insert(e.url);
  std::vector<std::string> all(seen.begin(), seen.end());
  std::ranges::sort(all);
  return all;
}

} // namespace weir::steering
