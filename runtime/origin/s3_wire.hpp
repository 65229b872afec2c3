#pragma once
// How the store in a bucket names its objects, and what an S3 server says.
//
//   {prefix}{stream}/{instance}/{epoch}/{rung}/{name}.{term}.{n}   a segment or a map, "5.ts", "5.m4s", "init.mp4", the n-th put of the owner of that term; the
//                                                                  highest term counts, of that the highest n
//   {prefix}.logs/{stream}/{term}.{version}.json                   a log, whole; the highest term counts, of that the highest version
//   {prefix}.claims/{term}.{holder}                                there, and none of a higher term: that holder may write
//   {prefix}.opened/{term}                                         there: all logs of older terms have been copied to this one, and count no more
//
// No stream's name begins with a dot. Nothing but checked words and numbers becomes part of a key, so none has to be escaped.
#include "runtime/hls/segment_log.hpp"
#include "schemas/error.hpp"

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::origin {

struct s3_segment_key {
  std::string stream;
  hls::segment_place place;
  std::uint64_t term = 0, number = 0;
  bool operator==(const s3_segment_key&) const = default;
  auto age() const { return std::pair{term, number}; }
};

struct s3_log_key {
  std::string stream;
  std::uint64_t term = 0, version = 0;
  bool operator==(const s3_log_key&) const = default;
  auto age() const { return std::pair{term, version}; }
};

struct s3_claim_key {
  std::uint64_t term = 0;
  std::string holder;
  bool operator==(const s3_claim_key&) const = default;
};

/// The keys below one prefix. The names given to it were checked before.
struct s3_layout {
  std::string prefix; ///< empty, or ends in a slash

  /// Of one segment in any term: a key is this, the term, and which put of that term it is.
  std::string segment_base(std::string_view stream, const hls::segment_place& place) const;
  std::string segment(std::string_view stream, const hls::segment_place& place, std::uint64_t term, std::uint64_t number) const;
  std::string segments_of(std::string_view stream) const { return prefix + std::string(stream) + "/"; }
  std::string logs() const { return prefix + ".logs/"; }
  std::string logs_of(std::string_view stream) const { return logs() + std::string(stream) + "/"; }
  std::string log(std::string_view stream, std::uint64_t term, std::uint64_t version) const;
  std::string claims() const { return prefix + ".claims/"; }
  std::string claim(std::uint64_t term, std::string_view holder) const;
  std::string openings() const { return prefix + ".opened/"; }
  std::string opening(std::uint64_t term) const;

  /// What a key of the server names; nothing when it is none of ours of that kind.
  std::optional<s3_segment_key> segment(std::string_view key) const;
  std::optional<s3_log_key> log(std::string_view key) const;
  std::optional<s3_claim_key> claim(std::string_view key) const;
  std::optional<std::uint64_t> opening(std::string_view key) const;
};

/// "" and "a/b" (or "a/b/") as "" and "a/b/". Fails: invalid_config.
expected<std::string> checked_prefix(std::string_view text);

struct s3_object {
  std::string key;
  std::uint64_t size = 0;
};
struct s3_page {
  std::vector<s3_object> objects;
  std::string next; ///< where the next page begins; empty: this is the last one
};
/// An answer of ListObjectsV2. Fails: corrupt.
expected<s3_page> parse_s3_page(std::string_view xml);

struct s3_refusal {
  std::string code, words; ///< printable, of a line each; empty where the body says none
};
/// The body of an answer that is no success; of a long one its first 64 KiB, in which a refusal fits.
s3_refusal parse_s3_refusal(std::string_view body);
/// Whether the server has no room, as far as servers say so.
bool says_full(int status, const s3_refusal& refusal);

/// Of a query or a path: everything but letters, digits and ._~- as %XX, as SigV4 wants it.
std::string s3_escaped(std::string_view text);

} // namespace weir::origin
