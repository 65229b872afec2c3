#pragma once
// The keys that may publish while the coordinator is away: signed by it, kept by each node that takes callbacks, also over its restarts.
#include "actors/interfaces.hpp"
#include "schemas/hook.hpp"

#include <chrono>
#include <optional>

namespace weir {

/// What the signature is over: version, the time until which they count, and the keys, one a line.
std::string known_keys_text(const known_keys& keys);

/// A node's copy. It counts until 24 h after the coordinator last confirmed it, which is part of what is signed. Only lists of the first coordinator that this node
/// ever had one of are taken: who that is stands in a file of its own, beside the list.
class key_cache {
public:
  static constexpr auto lasts = std::chrono::hours(24);

  /// Reads what was kept in the file; what is not there, damaged or not signed by whom we trust counts as nothing.
  explicit key_cache(std::string file = {});
  std::uint64_t version() const { return keys_.version; }
  /// Takes the coordinator's answer. Fails: unauthorized where its signature is wrong, or another's; io_failed where it cannot be kept.
  expected<void> take(known_keys news);
  /// Whether the callback's client may publish, by what was known; nothing when that is too old to say.
  std::optional<hook_verdict> judge(const hook_call& call, timestamp now) const;

private:
  std::string signer_file() const;
  expected<void> trust(const std::string& signer);
  expected<void> save() const;
  std::string file_;
  std::string signer_; ///< whose lists are taken; empty: nobody's yet
  known_keys keys_;
  timestamp saved_until_{};
};

} // namespace weir
