#pragma once
// Where viewers' playlist requests are answered, on the HTTP threads, without a message to any actor: the DIRECTOR puts an immutable view here, requests
// read it. Addresses: runtime/hls/addresses.hpp.
#include "runtime/audience/audience.hpp"
#include "runtime/base/read_mostly.hpp"
#include "runtime/http/auth.hpp"
#include "runtime/hls/reload.hpp"
#include "runtime/http/server.hpp"
#include "runtime/steering/joins.hpp"
#include "runtime/steering/localities.hpp"
#include "runtime/steering/table.hpp"
#include "runtime/viewing/viewing.hpp"

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir {

/// The gzip-coded forms of one media playlist. Viewers of the same edges, and of the same viewing token, get the same bytes, so each is coded once.
class coded_playlists {
public:
  /// `pieces` as prepared_playlist gives them out with this prefix. Null when coding gains nothing, or when tokens have made so many forms already that another
  /// one would cost more than it gains. Thread-safe.
  std::shared_ptr<const std::string> of(const std::vector<std::string_view>& pieces, std::string_view prefix = {});

private:
  std::mutex guard_;
  std::map<std::string, std::shared_ptr<const std::string>, std::less<>> made_; ///< by the prefix and the edges' addresses in the playlist's order
};

/// All that a playlist is made of. Never changed once it is shown.
struct director_view {
  /// A media playlist, and what was made of it.
  struct form {
    hls::prepared_playlist playlist;
    std::shared_ptr<coded_playlists> coded = std::make_shared<coded_playlists>();
  };
  /// One that few players ask for, made for the first who does.
  class form_on_demand {
  public:
    /// `make` gives the playlist. Thread-safe.
    template <class F>
    const form& get(F make) {
      std::call_once(once_, [&] { made_.emplace(form{.playlist = make()}); });
      return *made_;
    }

  private:
    std::once_flag once_;
    std::optional<form> made_;
  };
  struct rung {
    /// `index` into log.rungs; the log has entries.
    /// `former`: of the same entries, but other parts; null: there is none.
    rung(const hls::stream_log& log, std::size_t index, const rung* former = nullptr);
    std::string name;
    form whole;
    std::optional<form> delta; ///< low latency: without what a player has already
    std::optional<form> dvr;   ///< the whole of a window that is longer than what live playlists list
    std::shared_ptr<form_on_demand> iframes, dvr_iframes; ///< of key frames alone; null: none are known, or that window is not there
    std::string lasting;       ///< Cache-Control of what was asked for by number
  };
  struct stream {
    hls::stream_log log;
    std::vector<rung> rungs;
  };
  std::map<std::string, std::shared_ptr<const stream>, std::less<>> live;      ///< by name: what new viewers get
  std::map<std::string, std::shared_ptr<const stream>, std::less<>> by_address; ///< by "name~instance"
  steering::table_history tables;
  using edge_phases = std::map<edge_name, edge_phase>;
  std::shared_ptr<const edge_phases> edges; ///< as the coordinator sees them; null until it was heard
  edge_epoch drained_until = 0;             ///< the newest table that names a draining edge: entries up to it may still be fetched there; 0: none drains
  std::shared_ptr<const std::vector<std::string>> edge_urls; ///< of all edges that viewers may be sent to; null: none is known
  std::shared_ptr<const steering::localities> localities; ///< which edges are near to whom; null: none to anybody
  bool complete = false; ///< all that the coordinator and the origins know has been heard
  std::map<node_name, std::string> unreached; ///< origins, by their nodes, and why

  /// Whether players had better fetch elsewhere: it drains, is suspect or dead, or was removed.
  bool leaves(const edge_target& edge) const;
};

class playlist_desk {
public:
  /// `own_base`: where viewers fetch what was listed while no edge served, "http://host:port" of the origin here; empty: there is none, and without edges
  /// nobody gets in. `gate`: who may watch what; null: whoever asks. `proxies`: whose word of who asks is believed.
  /// `room`: for requests that wait; more are answered 503.
  explicit playlist_desk(std::chrono::seconds steering_ttl, steering::join_options joins = {}, std::string own_base = {}, std::shared_ptr<const viewing::gate> gate = nullptr,
                         http::address_list proxies = {}, std::size_t room = 10'000)
    : steering_ttl_(steering_ttl), own_base_(std::move(own_base)), gate_(std::move(gate)), proxies_(std::move(proxies)), admission_(joins), room_(room) {}

  ~playlist_desk();

  // All three from one thread.
  /// Answers those who wait for what is there now.
  void show(std::shared_ptr<const director_view> view);
  /// Answers those who have waited for three target durations. For each second.
  void expire(std::chrono::steady_clock::time_point now);
  /// Answers all who wait; from now on nobody does. Before the server's end, which they would hold up.
  void close();
  /// Runs `f` on the admission of new viewers.
  template <class F>
  void with_admission(F f) {
    std::lock_guard lock(joining_);
    f(admission_);
  }

  /// Answers requests under /t/TOKEN; false for what is none of the three.
  bool answer_signed(const http::fast_request& r, http::fast_answer& a);
  /// Each answers requests under its prefix: /hls/, /p/, /steer/; the same behind /t/TOKEN.
  bool answer_multivariant(const http::fast_request& r, http::fast_answer& a);
  /// False, too: of a low-latency playlist something is asked for that is not listed yet. Such a request goes to await_media().
  bool answer_media(const http::fast_request& r, http::fast_answer& a);
  bool answer_steering(const http::fast_request& r, http::fast_answer& a);
  /// Answers a request under /p/, or that behind /t/TOKEN, as soon as it can.
  void await_media(const http::request& r, http::responder answer);

  /// The base addresses of all edges of the cluster that playlists may name, now and while a page that is loaded now stays open as far as one can know.
  std::vector<std::string> edge_urls() const;

  /// How streams are watched, since the start.
  audience::books& audience() { return audience_; }
  /// The address that this request comes from, in front of the proxies that are trusted; valid as long as it.
  std::string_view viewer_of(const http::request& r) const;
  /// A player page's word of a stream, from the viewer at `address`. Fails: not_found (the stream is not shown here), too_many.
  expected<void> hear(std::string_view stream, const audience::beacon& word, std::string_view address, audience::books::steady_time now);
  /// Nodes whose origins' logs do not come, with what is wrong in words; none before anything was shown.
  std::map<node_name, std::string> unreached() const;

  struct counters {
    std::atomic<std::uint64_t> joins{0}, refused_joins{0}, playlists{0}, stale{0}, unknown{0}, steering{0}, barred{0};
    std::atomic<std::uint64_t> waited{0}, late{0}, crowded{0}; ///< requests of low-latency playlists: all that waited, those in vain, those for whom there was no room
  };
  const counters& counts() const { return counts_; }
  /// Requests that wait now.
  std::size_t waiting() const;

private:
  /// A media playlist as it is asked for.
  struct media_request {
    std::string path;
    expected<hls::reload_wish> wish;
    bool coded = false;
  };
  struct waiter {
    media_request request;
    http::responder answer;
    std::chrono::steady_clock::time_point until{};
  };
  /// By stream, "name~instance".
  using waiting_room = std::map<std::string, std::vector<waiter>, std::less<>>;

  /// False: it has to wait.
  bool media(std::string_view path, const expected<hls::reload_wish>& wish, bool coded, http::fast_answer& a);
  /// Nothing: it has to wait.
  std::optional<http::response> media(const media_request& r);
  /// Whether the viewer may see this stream; else the answer says why not.
  bool admits(const viewing::address& at, std::string_view stream, http::fast_answer& a);

  std::chrono::seconds steering_ttl_;
  std::string own_base_;
  std::shared_ptr<const viewing::gate> gate_;
  http::address_list proxies_;
  read_mostly<director_view> shown_;
  std::mutex joining_;
  steering::join_admission admission_;
  audience::books audience_;
  counters counts_;
  const std::size_t room_;
  mutable std::mutex waiting_guard_;
  waiting_room waiting_;
  std::size_t waiting_count_ = 0;
  std::shared_ptr<const director_view> looked_at_; ///< for those who wait
  bool closed_ = false;
};

/// `beacons`: whether player pages may tell how they fare.
void add_director_routes(http::server& server, const std::shared_ptr<playlist_desk>& desk, bool beacons = true);

} // namespace weir
