#pragma once
// How an origin's logs reach directors on any node: what it has shown is numbered; a director asks for what changed since and gets it page by page.
//
//   GET /origin/v1/logs?after=BOOT.N&wait=5s
//   {"boot":"…","next":17,"all":true,"now":"2026-11-28T10:00:00.000Z"}
//   {"stream":"show",…}                                                      a stream_log on each further line
#include "runtime/hls/stream_log.hpp"
#include "schemas/error.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::hls {

inline constexpr std::size_t page_size = 256 << 10; ///< bytes; a page that has as many takes no further log
inline constexpr std::size_t page_limit = 2 << 20;  ///< bytes of any page: one log has at most 1 MiB

/// How far a reader has come: "BOOT.N". Numbers are of one start of the origin; without any, everything is news.
struct news_mark {
  std::string boot;
  std::uint64_t number = 0;
  bool operator==(const news_mark&) const = default;
};
std::string to_string(const news_mark& m);
/// Empty text is the mark of a reader that has nothing. Fails: invalid_input.
expected<news_mark> parse_news_mark(std::string_view text);

struct log_page {
  news_mark next;  ///< to be asked with
  bool all = true; ///< false: there is more already
  timestamp now{}; ///< the origin's clock when it wrote this
  std::vector<stream_log> logs;
};
/// Takes what log_news::page() makes, from whoever sent it: of every log that it returns playlists can be rendered. Fails: invalid_input, too_large.
expected<log_page> parse_log_page(std::string_view text);

/// What one start of an origin has shown. Of each stream the present instance and the one before, whose end its viewers have still to hear of.
class log_news {
public:
  /// `boot` names this start: an address word.
  explicit log_news(std::string boot) : boot_(std::move(boot)) {}
  log_news(log_news&&) = default; // a copy would point into this one
  log_news& operator=(log_news&&) = default;

  void add(stream_log shown);
  /// Whether there is anything for a reader that has come so far.
  bool any_after(const news_mark& mark) const { return !knows(mark) || mark.number < newest_; }
  /// What it does not have, in the order of the changes, up to page_size.
  std::string page(const news_mark& after, timestamp now);

private:
  struct shown_log {
    std::uint64_t number = 0;
    stream_log log;
    std::string line; ///< made when the first reader wants it
  };
  bool knows(const news_mark& mark) const { return mark.boot == boot_ && mark.number <= newest_; }

  std::string boot_;
  std::uint64_t newest_ = 0;
  std::map<std::pair<std::string, std::uint64_t>, shown_log> logs_; ///< by stream and instance
  std::map<std::uint64_t, shown_log*> by_number_;
};

} // namespace weir::hls
