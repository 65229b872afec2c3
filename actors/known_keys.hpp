#pragma once
// The keys that may publish while the coordinator is away: signed by it, kept by each node that takes callbacks, also over its restarts.
#include "actors/interfaces.hpp"
#include "schemas/hook.hpp"

#include <chrono>
#include <optional>

namespace weir {

/// What the signature is over: version and keys, one a line.
std::string known_keys_text(const known_keys& keys);

/// A node's copy. It counts for 24 h after the coordinator last confirmed it.
class key_cache {
public:
  static constexpr auto lasts = std::chrono::hours(24);

  /// Reads what was kept in the file; what is not there, damaged or not signed counts as nothing.
  explicit key_cache(std::string file = {});
  std::uint64_t version() const { return keys_.version; }
  /// Takes the coordinator's answer. Fails: unauthorized where its signature is wrong; io_failed where it cannot be kept.
  expected<void> take(known_keys news, timestamp now);
  /// Whether the callback's client may publish, by what was known; nothing when that is too old to say.
  std::optional<hook_verdict> judge(const hook_call& call, timestamp now) const;

private:
  expected<void> save() const;
  std::string file_;
  known_keys keys_;
  timestamp confirmed_{};
  timestamp saved_{};
};

} // namespace weir
