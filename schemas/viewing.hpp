#pragma once
// Who may watch: whether a stream's addresses are signed, and with what.
#include "schemas/field.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace weir {

/// Who may watch a stream.
enum class viewing_access : std::uint8_t {
  open,       ///< whoever knows its name
  with_token, ///< whoever has a signed address that has not expired
};
constexpr auto enum_names(viewing_access) {
  return std::array{std::pair{viewing_access::open, std::string_view("open")}, std::pair{viewing_access::with_token, std::string_view("signed")}};
}

/// A secret that viewing tokens are signed with.
struct viewing_key {
  std::string id;     ///< names it in tokens: 8 hexadecimal digits, made of the secret
  std::string secret;

  static constexpr auto fields() {
    using o = viewing_key;
    return std::tuple{
      field("id", &o::id, {8, 8}, "Names the key in tokens."),
      field("secret", &o::secret, {32, 128}, "What tokens are signed with.", weir::secret),
    };
  }
  bool operator==(const viewing_key&) const = default;
};

/// All that is needed to tell who may watch what.
struct viewing_rules {
  std::uint64_t version = 0;            ///< the same for the same rules; 0: none are known
  std::vector<viewing_key> keys;        ///< whose tokens count, the one that signs first
  std::vector<std::string> signed_only; ///< names of the streams that need a token, sorted

  static constexpr auto fields() {
    using o = viewing_rules;
    return std::tuple{
      field("version", &o::version, "The same for the same rules."),
      field("keys", &o::keys, {0, 2}, "Whose tokens count."),
      field("signed_only", &o::signed_only, "Streams that need a token."),
    };
  }
  bool operator==(const viewing_rules&) const = default;
};

} // namespace weir
