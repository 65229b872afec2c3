#pragma once
#include "actors/interfaces.hpp"
#include "runtime/http/client.hpp"

#include <memory>
#include <optional>

namespace weir {

struct log_feed_setup {
  origin_place origin;
  std::string reader; ///< who we are to the origin: the node's name
  std::shared_ptr<http::client> client;
};

struct log_feed_state {
  static inline const char* name = "log_feed";
  using time_point = caf::actor_clock::time_point;

  log_feed_setup setup;
  hls::news_mark have;
  std::uint64_t round = 0; ///< of the last question
  std::optional<http::client::request_id> under_way;
  time_point asked{};
  std::chrono::milliseconds pause{}; ///< after a failure
  std::uint64_t pages = 0, logs = 0, failures = 0;
  std::uint32_t in_a_row = 0; ///< of the failures
  std::string trouble;
  time_point started{};

  ~log_feed_state();
  /// Gives the question up that is under way.
  void cancel();
  http::client_request question() const;
  /// Takes an answer: what the director is told, and when to ask again.
  struct next_step {
    feed_news news;
    std::chrono::milliseconds again{};
  };
  next_step take(const feed_answer& answer, time_point now, timestamp wall);
};

/// Follows the segment logs of one origin over HTTP, on whatever node it is: asks for what changed, waits for it there, asks again.
///
/// Parent:  DIRECTOR.
/// Tells:   DIRECTOR the logs that changed, and why there are none.
/// Fails:   never; what is no page of logs counts as no answer.
/// Numbers: a question waits for 5 s at the origin and 8 s in all; not more than one in 20 ms; after a failure 250 ms, growing to 2 s.
/// Source:  docs/2-how-it-works/4-playlists-and-edges.md
log_feed_actor::behavior_type log_feed(log_feed_actor::stateful_pointer<log_feed_state> self, log_feed_setup setup, director_actor director);

} // namespace weir
