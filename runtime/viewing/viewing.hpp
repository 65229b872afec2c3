#pragma once
// Signed viewing addresses (hls.md 12): "/t/TOKEN" in front of any address of HLS, checked before a cache is asked and no part of its key.
//
//   TOKEN = {expiry}.{key}.{mac}
//     expiry   Unix time in seconds, decimal: from then on the token is refused
//     key      first 8 hexadecimal digits of SHA-256 of the secret: says which of two secrets it was signed with
//     mac      first 32 hexadecimal digits of HMAC-SHA-256 under the secret, over the stream's name, a line feed, and the expiry as it stands in the token
//
// A token names nobody: whoever asks for the same stream until the same second gets the same one. It is made in three places, all by this description:
// here, in nginx's JavaScript (runtime/nginx/edge_config.cpp), and at organisers' own sites (docs/3-operate.md).
#include "runtime/base/read_mostly.hpp"
#include "schemas/error.hpp"
#include "schemas/units.hpp"
#include "schemas/viewing.hpp"

#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>

namespace weir::viewing {

/// Seconds that a token may be good for.
inline constexpr std::chrono::seconds longest_lifetime = std::chrono::hours(24 * 366);
/// For how long an origin still takes a token that an edge found good: clocks differ, and the edge's question may have waited.
inline constexpr std::chrono::seconds origin_grace = std::chrono::minutes(2);

/// Whether a text may be a secret: 32 to 128 of [A-Za-z0-9._~-], so that it stands in a configuration of nginx as it is. Fails: invalid_config, without the text.
expected<void> check_secret(std::string_view text);
/// A key by its secret.
viewing_key key_of(std::string secret);
/// The rules with their version, which is the same for the same rules and never 0.
viewing_rules with_version(viewing_rules rules);

/// `expires` is Unix time in seconds, from 1 on.
std::string make_token(const viewing_key& key, std::string_view stream, std::int64_t expires);

struct token_parts {
  std::int64_t expires = 0;
  std::string_view expires_text; ///< as it stands in the token
  std::string_view key;
  std::string_view mac;
};
/// Takes exactly what has the form of a token. Views point into `text`. Fails: invalid_input.
expected<token_parts> parse_token(std::string_view text);

/// An address of HLS, and what stands in front of it. Views point into the path.
struct address {
  std::string_view prefix; ///< "/t/TOKEN"; empty: none
  std::string_view token;
  std::string_view path;   ///< the rest
};
address split(std::string_view path);

enum class verdict : std::uint8_t {
  open,    ///< no token is needed, and none was shown
  good,
  missing, ///< a token is needed
  wrong,   ///< it is none of ours, or another stream's
  expired, ///< it was good
  unheard, ///< this node does not know yet who may watch what: no viewer's fault
};
inline bool admits(verdict v) { return v == verdict::open || v == verdict::good; }
/// For people: why not, as a line; empty for who is let in. Status 403 goes with it, 503 where it is `unheard`: players give up after a 403 (hls.md 12).
std::string_view words(verdict v);

/// Who may watch what, as this node knows it. Shared by all that answer viewers here; thread-safe.
class gate {
public:
  /// Takes other rules; true when they are others.
  bool use(viewing_rules rules);
  viewing_rules rules() const;
  /// Everything is `unheard` until rules came. `token` empty: none was shown. A token that is shown must be good, whatever the stream needs: nobody makes addresses up. The token itself is compared in constant time.
  verdict judge(std::string_view stream, std::string_view token, timestamp now, std::chrono::seconds grace = {}) const;

private:
  struct known {
    viewing_rules rules;
    std::set<std::string, std::less<>> signed_only;
  };
  std::mutex using_;
  read_mostly<known> known_;
};

} // namespace weir::viewing
