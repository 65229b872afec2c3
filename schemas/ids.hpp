#pragma once
// Strong identifiers: a stream's id cannot be passed where a task's is wanted.
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace weir {

template <class Tag>
struct id {
  std::string value;

  id() = default;
  explicit id(std::string v) : value(std::move(v)) {}
  auto operator<=>(const id&) const = default;
  explicit operator bool() const { return !value.empty(); }
};

template <class Inspector, class Tag>
typename Inspector::result_type inspect(Inspector& f, id<Tag>& x) {
  return f(x.value);
}

template <class Tag>
const std::string& to_string(const id<Tag>& x) {
  return x.value;
}

using stream_id = id<struct stream_tag>; ///< UUID of a configured stream
using task_id = id<struct task_tag>;     ///< UUID of a configured task
using node_name = id<struct node_tag>;   ///< name of a machine, unique in the cluster
using edge_name = id<struct edge_tag>;   ///< name of one nginx edge, unique in the cluster

/// Number that grows with every grant of a task, for ever, over all restarts of the coordinator.
using lease_epoch = std::uint64_t;
/// Version of the edge set.
using edge_epoch = std::uint64_t;

} // namespace weir

template <class Tag>
struct std::hash<weir::id<Tag>> {
  std::size_t operator()(const weir::id<Tag>& x) const noexcept { return std::hash<std::string>{}(x.value); }
};
