#pragma once
// What origins that keep copies for each other (members) say about themselves and their logs, and how many of them it takes.
//
// Of N members W must have a segment or a log before it counts as stored. Whoever takes over asks N - W + 1 of them, each of which refuses the
// former term from then on: at least one of these has what was stored last.
#include "runtime/hls/segment_log.hpp"
#include "schemas/error.hpp"
#include "schemas/field.hpp"

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::origin {

/// Most members of a view: each of them gets every segment.
inline constexpr std::size_t most_members = 9;
/// Bytes of a log, and of any list that members send each other.
inline constexpr std::uint64_t replica_text_limit = 8U << 20;

/// A member is a node and what is on its disk: NODE.DISK, where DISK are eight hexadecimal digits that a disk is given once. Who has lost its disk is another one: it
/// has forgotten what it promised, and must not be asked as who it was.
std::string member_name(std::string_view node, std::string_view disk);
/// Without the disk; a name without one is that of a node.
std::string_view node_of(std::string_view member);
/// Empty: the name has none.
std::string_view disk_of(std::string_view member);
/// Whether it can be a member's.
bool is_member_name(std::string_view text);

struct replica {
  std::string name; ///< of its node and disk
  std::string url;  ///< without a slash at its end
  std::string token; ///< that it wants to be shown; never stored nor sent with a view

  static constexpr auto fields() {
    using o = replica;
    return std::tuple{field("name", &o::name, {1, 73}, "Name of the node and of its disk."), field("url", &o::url, {1, 500}, "Where its origin answers.")};
  }
  bool operator==(const replica&) const = default;
};

/// Who may write: a larger term beats a smaller one; of one term there is one holder.
struct claim_mark {
  std::uint64_t term = 0;
  std::string holder; ///< a member's name

  static constexpr auto fields() {
    using o = claim_mark;
    return std::tuple{field("term", &o::term, "Grows with each claim; 0: nobody has claimed yet."), field("holder", &o::holder, {0, 73}, "Whose term it is.")};
  }
  bool operator==(const claim_mark&) const = default;
};

/// Who keeps copies, and how many copies it takes.
struct replica_view {
  claim_mark mark;
  std::vector<replica> members;
  std::uint32_t quorum = 0; ///< copies that must be there before a thing counts as stored; 0: more than half of the members

  std::size_t needed() const; ///< to store
  std::size_t to_claim() const; ///< to take over
  bool has(std::string_view name) const;
  bool same_members(const replica_view& other) const; ///< and the same quorum; addresses may differ

  static constexpr auto fields() {
    using o = replica_view;
    return std::tuple{field("mark", &o::mark, "Under which term."), field("members", &o::members, {0, most_members}, "Who keeps copies."),
                      field("quorum", &o::quorum, {0, most_members}, "How many copies it takes; 0: more than half.")};
  }
  bool operator==(const replica_view&) const = default;
};

/// Fails: invalid_config, for a view in which two takers-over could both succeed or a name, an address or a number is wrong.
expected<void> check(const replica_view& view);

/// What a member says of itself.
struct replica_word {
  claim_mark mark;      ///< it refuses everything older
  replica_view settled; ///< the newest view that it knows to be in force; without members: none yet
  std::string disk = {}; ///< its own, as in its name
  std::uint64_t claims = 0; ///< of its folder, with its present start's: a folder that has had fewer, or many more, is not the one that goes with this

  static constexpr auto fields() {
    using o = replica_word;
    return std::tuple{field("mark", &o::mark, "The newest claim that it accepted."), field("settled", &o::settled, "The newest view in force that it knows."),
                      field("disk", &o::disk, {0, 8}, "What its disk is called."), field("claims", &o::claims, "How often its folder was claimed.")};
  }
};

/// Which state of a stream's log: the larger (term, version) is the newer one.
struct log_stamp {
  std::uint64_t term = 0;
  std::uint64_t version = 0;
  std::string owner; ///< the member that saved it

  bool operator==(const log_stamp&) const = default;
  std::strong_ordering order(const log_stamp& other) const;
};

/// A log as members keep it and hand it over. An empty text says that the stream was removed.
struct stamped_log {
  log_stamp stamp;
  std::string json;
};
struct stamped_stream {
  std::string stream;
  log_stamp stamp;
  bool removed = false;
};

// What follows is text from a member: each part is bounded and checked, and anything else is refused (corrupt).

/// One line with the stamp, then the log. Text without such a line is the log of an origin that kept no copies: term 0.
std::string to_text(const stamped_log& log);
expected<stamped_log> parse_log(std::string_view text);
/// "TERM VERSION OWNER STREAM" a line, followed by " removed" where it is; at most 100,000.
std::string to_text(const std::vector<stamped_stream>& streams);
expected<std::vector<stamped_stream>> parse_streams(std::string_view text);
/// "TERM HOLDER".
std::string to_text(const claim_mark& mark);
expected<claim_mark> parse_mark(std::string_view text);
/// JSON.
expected<replica_word> parse_word(std::string_view text);

struct segment_id {
  std::string stream;
  hls::segment_place place;
  bool operator==(const segment_id&) const = default;
};
/// Segment addresses (/s/…), one a line; at most 20,000.
std::string to_text(const std::vector<segment_id>& segments);
expected<std::vector<segment_id>> parse_segments(std::string_view text);
std::string path_of(const segment_id& segment);
expected<segment_id> parse_segment(std::string_view path);

/// Why a member refused, from its answer. Never empty, at most 500 bytes, one line.
error parse_refusal(int status, std::string_view body);

/// The segments that a log's listed entries name, oldest first, and after them all maps that it takes for stored. Fails: corrupt.
expected<std::vector<segment_id>> listed_segments(std::string_view log_json);

} // namespace weir::origin
