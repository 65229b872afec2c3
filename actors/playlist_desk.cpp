#include "actors/playlist_desk.hpp"

#include "runtime/base/secret.hpp"
#include "runtime/http/gzip.hpp"
#include "runtime/http/target.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <random>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr std::string_view playlist_type = "application/vnd.apple.mpegurl";
constexpr std::string_view plain_fields = "Vary: Accept-Encoding\r\n";
constexpr std::string_view coded_fields = "Vary: Accept-Encoding\r\nContent-Encoding: gzip\r\n";
constexpr std::size_t most_coded = 512; ///< forms of one playlist; a cluster has fewer edges
constexpr std::size_t rungs_when_nearly_full = 2; ///< balancing.md 5.8
constexpr std::size_t not_fetched_yet = 3;        ///< newest entries, a hold-back: players may have the older ones
constexpr std::chrono::seconds hurried_ttl = 10s; ///< hls.md 7: while an edge drains or is in doubt

bool refuse(http::fast_answer& a, int status, std::string_view text, std::string_view extra = {}) {
  a.status = status;
  a.content_type = "text/plain; charset=utf-8";
  a.cache_control = "max-age=1";
  a.extra = extra;
  a.add(text);
  return true;
}

/// What is not known is not there, once all has been heard.
bool unknown(http::fast_answer& a, const director_view* seen, std::string_view text) {
  return seen && seen->complete ? refuse(a, 404, text) : refuse(a, 503, "this director has only just started\n", "Retry-After: 1\r\n");
}

/// Text that lives as long as the answer needs it.
void own(http::fast_answer& a, std::string text) {
  auto kept = std::make_shared<const std::string>(std::move(text));
  a.add(*kept);
  a.owner = std::move(kept);
}

std::uint64_t random_bits() {
  thread_local std::mt19937_64 source = [] {
    std::uint64_t seed = 0;
    fill_random({reinterpret_cast<std::uint8_t*>(&seed), sizeof seed});
    return std::mt19937_64{seed};
  }();
  return source();
}

/// Who asks, by the peer's address or what the proxies before us say of it in the fields of its request.
std::string_view viewer_address(std::string_view peer, const auto& fields, const http::address_list& proxies) {
  std::array<std::string_view, 8> lines; // a proxy writes on or begins a line of its own; more of them than that are no work of proxies
  std::size_t n = 0;
  for (auto field = std::make_reverse_iterator(fields.end()); field != std::make_reverse_iterator(fields.begin()) && n < lines.size(); ++field) {
    const auto& [name, value] = *field;
    if (http::same_text(name, "X-Forwarded-For"))
      lines[lines.size() - ++n] = value;
  }
  return http::address_behind(proxies, peer, std::span(lines).last(n));
}

/// "/p/B.J/NAME~I/RUNG.m3u8": what is between.
std::string_view stream_in(std::string_view path) {
  auto from = path.find('/', 3) + 1;
  return path.substr(from, path.find('/', from) - from);
}

std::uint64_t seed_of(const hls::stream_log& log) { return steering::stream_seed(fmt::format("{}~{}", log.stream, log.instance)); }

expected<hls::reload_wish> wish_of(std::string_view query) {
  if (query.empty())
    return hls::reload_wish{};
  return hls::parse_reload(http::raw_query_value(query, "_HLS_msn"), http::raw_query_value(query, "_HLS_part"), http::raw_query_value(query, "_HLS_skip"));
}

/// The same answer for a request that took its time.
http::response slow(const http::fast_answer& a) {
  http::response out;
  out.status = a.status;
  out.with("Content-Type", std::string(a.content_type)).with("Cache-Control", std::string(a.cache_control));
  for (auto rest = a.extra; !rest.empty(); rest.remove_prefix(rest.find("\r\n") + 2))
    out.with(std::string(rest.substr(0, rest.find(": "))), std::string(rest.substr(rest.find(": ") + 2, rest.find("\r\n") - rest.find(": ") - 2)));
  if (a.owner && a.pieces().size() == 1) { // here all owners are texts
    out.body = http::shared_text{std::static_pointer_cast<const std::string>(a.owner), 0, a.size()};
    return out;
  }
  std::string text;
  text.reserve(a.size());
  for (auto piece : a.pieces())
    text += piece;
  out.body = std::move(text);
  return out;
}

http::response unavailable(std::string text) { return http::text_response(503, std::move(text)).with("Cache-Control", "max-age=1").with("Retry-After", "1"); }

bool takes_coded(const http::fast_request& r) { return http::accepts_gzip(r.header("Accept-Encoding")); }

} // namespace

std::shared_ptr<const std::string> coded_playlists::of(const std::vector<std::string_view>& pieces, std::string_view prefix) {
  // Pieces 1, 3, 5, … are the edges (with a prefix 1, 4, 7, …); all others but the prefix are the same in every form.
  thread_local std::string key;
  key = prefix;
  const std::size_t step = prefix.empty() ? 2 : 3;
  for (std::size_t i = 1; i + 1 < pieces.size(); i += step)
    if (i == 1 || pieces[i] != pieces[i - step])
      fmt::format_to(std::back_inserter(key), "{} {}\n", i, pieces[i]);
  std::lock_guard lock(guard_);
  if (auto made = made_.find(key); made != made_.end())
    return made->second;
  if (made_.size() >= most_coded && !prefix.empty()) // there are as many tokens as somebody cares to sign: the rest of them goes uncoded
    return nullptr;
  std::string text;
  for (auto piece : pieces)
    text += piece;
  auto coded = http::gzip(text);
  if (made_.size() >= most_coded)
    made_.clear();
  return made_[key] = coded.empty() ? nullptr : std::make_shared<const std::string>(std::move(coded));
}

director_view::rung::rung(const hls::stream_log& log, std::size_t index, const rung* former)
    : name(log.rungs[index].info.name), whole{.playlist = hls::prepared_playlist(log, index)}, lasting(fmt::format("max-age={}", 6 * log.target / 1s)) {
  if (whole.playlist.low_latency())
    delta.emplace(form{.playlist = hls::prepared_playlist(log, index, true)});
  if (log.live_window > 0ms && former && former->dvr)
    dvr = former->dvr;
  else if (log.live_window > 0ms)
    dvr.emplace(form{.playlist = hls::prepared_playlist(hls::for_time_shift(log), index)});
  if (!hls::has_iframes(log, index))
    return;
  iframes = former && former->iframes ? former->iframes : std::make_shared<form_on_demand>();
  if (dvr)
    dvr_iframes = former && former->dvr_iframes ? former->dvr_iframes : std::make_shared<form_on_demand>();
}

bool director_view::leaves(const edge_target& edge) const {
  if (!edges)
    return false;
  auto known = edges->find(edge.name);
  return known == edges->end() || (known->second != edge_phase::serving && known->second != edge_phase::starting); // starting: its coordinator has only just come
}

std::vector<std::string> playlist_desk::edge_urls() const {
  auto* seen = shown_.read();
  return seen && seen->edge_urls ? *seen->edge_urls : std::vector<std::string>{};
}

std::map<node_name, std::string> playlist_desk::unreached() const {
  auto* seen = shown_.read();
  return seen ? seen->unreached : std::map<node_name, std::string>{};
}

bool playlist_desk::admits(const viewing::address& at, std::string_view stream, http::fast_answer& a) {
  auto verdict = gate_ ? gate_->judge(stream, at.token, std::chrono::system_clock::now()) : viewing::verdict::open;
  if (viewing::admits(verdict))
    return true;
  if (verdict == viewing::verdict::unheard)
    return !refuse(a, 503, viewing::words(verdict), "Retry-After: 1\r\n");
  counts_.barred.fetch_add(1, std::memory_order_relaxed);
  refuse(a, 403, viewing::words(verdict));
  a.cache_control = "no-store";
  return false;
}

bool playlist_desk::answer_signed(const http::fast_request& r, http::fast_answer& a) {
  auto path = viewing::split(r.path).path;
  for (auto [prefix, answer] : {std::pair{std::string_view("/p/"), &playlist_desk::answer_media}, {"/hls/", &playlist_desk::answer_multivariant}, {"/steer/", &playlist_desk::answer_steering}})
    if (path.starts_with(prefix)) {
      a.route = prefix; // it is one playlist request like others
      return (this->*answer)(r, a);
    }
  return false;
}

bool playlist_desk::answer_multivariant(const http::fast_request& r, http::fast_answer& a) {
  auto* seen = shown_.read();
  const auto at = viewing::split(r.path);
  auto name = hls::parse_multivariant_path(at.path);
  if (name && !admits(at, name->stream, a))
    return true;
  auto stream = seen && name ? seen->live.find(name->stream) : decltype(seen->live.find(""))();
  if (!seen || !name || stream == seen->live.end()) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, "this stream is not live\n");
  }
  if (name->dvr && stream->second->log.live_window == 0ms)
    return refuse(a, 404, "this stream cannot be wound back\n");
  steering::join joined;
  // The group of edges goes into the viewer's addresses: whoever walks out of the venue while it watches finds what is listed where it was.
  auto locality = seen->localities ? seen->localities->of(viewer_address(r.peer_address, r.fields, proxies_)) : std::string_view{};
  if (!seen->tables.empty()) {
    std::lock_guard lock(joining_);
    // As wide as the newest entry, which is what the viewer fetches first.
    const auto& log = stream->second->log;
    auto drawn = admission_.admit(random_bits, locality, {seed_of(log), log.entries.empty() ? 0 : log.entries.back().width});
    if (!drawn) {
      counts_.refused_joins.fetch_add(1, std::memory_order_relaxed);
      return drawn.error().code == error_code::too_many
               ? refuse(a, 503, "all edges are full; please try again in a moment\n", "Retry-After: 5\r\nWeir-Reason: full\r\n")
               : refuse(a, 503, "no edge serves viewers; please try again in a moment\n", "Retry-After: 5\r\n");
    }
    joined = *drawn;
  } else if (own_base_.empty()) {
    counts_.refused_joins.fetch_add(1, std::memory_order_relaxed);
    return refuse(a, 503, "no edge serves viewers yet\n", "Retry-After: 1\r\n");
  }
  const hls::viewer_key viewer{.bucket = joined.bucket, .joined = joined.epoch, .locality = joined.near ? locality : std::string_view{}, .dvr = name->dvr, .width = joined.width};
  auto text = hls::multivariant(stream->second->log, viewer, joined.lowest_rungs_only ? rungs_when_nearly_full : hls::max_rungs, at.prefix);
  if (!text)
    return refuse(a, 404, "this stream has no segments yet\n");
  counts_.joins.fetch_add(1, std::memory_order_relaxed);
  audience_.begun(name->stream);
  a.content_type = playlist_type;
  a.cache_control = "no-store"; // it assigns the viewer
  a.extra = plain_fields;
  if (auto coded = takes_coded(r) ? http::gzip(*text) : std::string{}; !coded.empty()) {
    *text = std::move(coded);
    a.extra = coded_fields;
  }
  own(a, std::move(*text));
  return true;
}

bool playlist_desk::answer_media(const http::fast_request& r, http::fast_answer& a) {
  const bool answered = media(r.path, wish_of(r.query), takes_coded(r), a);
  counts_.playlists.fetch_add(answered ? 1 : 0, std::memory_order_relaxed);
  return answered;
}

bool playlist_desk::media(std::string_view path, const expected<hls::reload_wish>& wish, bool coded, http::fast_answer& a) {
  auto* seen = shown_.read();
  const auto at = viewing::split(path);
  auto address = hls::parse_playlist_path(at.path);
  if (address && !admits(at, address->stream, a))
    return true;
  if (!seen || !address) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, "there is no such playlist\n");
  }
  auto stream = seen->by_address.find(stream_in(at.path));
  const director_view::rung* rung = nullptr;
  if (stream != seen->by_address.end())
    for (auto& one : stream->second->rungs)
      if (one.name == address->rung)
        rung = &one;
  if (!rung) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, "there is no such playlist\n");
  }
  auto& viewer = address->viewer;
  if (viewer.joined > seen->tables.newest_epoch())
    return refuse(a, 503, "this director does not know that edge set yet\n", "Retry-After: 1\r\n");
  if (rung->whole.playlist.stale(std::chrono::system_clock::now())) {
    counts_.stale.fetch_add(1, std::memory_order_relaxed);
    return refuse(a, 503, "the origin is silent\n", "Retry-After: 1\r\n");
  }
  a.cache_control = "max-age=1";
  auto* form = viewer.dvr ? (rung->dvr ? &*rung->dvr : nullptr) : &rung->whole;
  if (address->iframes) {
    auto& wanted = viewer.dvr ? rung->dvr_iframes : rung->iframes;
    auto& log = stream->second->log;
    const auto index = static_cast<std::size_t>(rung - stream->second->rungs.data());
    auto make = [&] { return viewer.dvr ? hls::prepared_playlist::iframes(hls::for_time_shift(log), index) : hls::prepared_playlist::iframes(log, index); };
    form = wanted ? &wanted->get(make) : nullptr;
  }
  if (form == nullptr) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, address->iframes ? "no key frames of this rung are known\n" : "this stream cannot be wound back\n");
  }
  if (form->playlist.low_latency() && !form->playlist.ended()) { // to all others those numbers say nothing
    auto there = wish.and_then([&](auto& known) { return hls::has(form->playlist, known); });
    if (!there)
      return refuse(a, 400, "that cannot be asked for: _HLS_msn may be up to two segments ahead, _HLS_part goes with it\n");
    if (!*there)
      return false;
    if (wish->skip && rung->delta && !address->iframes)
      form = &*rung->delta;
    if (wish->msn && *wish->msn >= form->playlist.last_msn()) // who asks for an old one wants what is new
      a.cache_control = rung->lasting;
  }
  a.content_type = playlist_type;
  thread_local std::vector<std::string_view> pieces;
  bool lost = false;
  const auto seed = steering::stream_seed(stream->first);
  auto base = [&](edge_epoch epoch, std::uint32_t width) {
    auto url = seen->tables.base_url(epoch, viewer.bucket, viewer.backup, viewer.locality, {seed, width});
    if (url.empty() && seen->tables.knows(epoch)) // listed while no edge served, and at the origin's address for ever
      url = own_base_;
    lost = lost || url.empty();
    return url;
  };
  form->playlist.pieces(viewer.joined, base, pieces, at.prefix, viewer.width);
  if (lost) { // whoever loads the stream anew joins an edge set that is known
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return seen->complete ? refuse(a, 410, "this playlist names edges that are forgotten; please load the stream anew\n") : unknown(a, seen, {});
  }
  a.extra = plain_fields;
  if (auto text = coded ? form->coded->of(pieces, at.prefix) : nullptr) {
    a.extra = coded_fields;
    a.add(*text);
    a.owner = std::move(text);
    return true;
  }
  for (auto piece : pieces)
    a.add(piece);
  return true;
}

bool playlist_desk::answer_steering(const http::fast_request& r, http::fast_answer& a) {
  auto* seen = shown_.read();
  const auto at = viewing::split(r.path);
  auto address = hls::parse_steering_path(at.path);
  if (!address)
    return refuse(a, 404, "there is no such steering manifest\n");
  if (!admits(at, address->stream, a))
    return true;
  counts_.steering.fetch_add(1, std::memory_order_relaxed);
  auto stream = seen ? seen->live.find(address->stream) : decltype(seen->live.find(""))();
  if (!seen || stream == seen->live.end()) // 410 ends steering; after another error the player asks again
    return seen && seen->complete ? refuse(a, 410, "this stream is over\n") : unknown(a, seen, {});
  auto& log = stream->second->log;
  auto& entries = log.entries;
  const auto seed = seed_of(log);
  // What the player has still to fetch decides: where nobody serves any more its next request would fail, or wait.
  auto leaves = [&](bool backup) {
    return std::any_of(entries.end() - static_cast<std::ptrdiff_t>(std::min(entries.size(), not_fetched_yet)), entries.end(), [&](auto& e) {
      auto* edge = seen->tables.edge(std::max(e.edges, address->viewer.joined), address->viewer.bucket, backup, address->viewer.locality,
                                      {seed, hls::wider(e.width, address->viewer.width)});
      return edge && seen->leaves(*edge);
    });
  };
  bool main_leaves = leaves(false), backup_leaves = leaves(true);
  bool drains = seen->drained_until != 0 && !entries.empty() && entries.front().edges <= seen->drained_until;
  a.content_type = "application/vnd.apple.steering-list";
  a.cache_control = "no-store";
  own(a, hls::steering_manifest(main_leaves || backup_leaves || drains ? std::min(steering_ttl_, hurried_ttl) : steering_ttl_, main_leaves && !backup_leaves));
  return true;
}

std::string_view playlist_desk::viewer_of(const http::request& r) const { return viewer_address(r.peer_address, r.headers, proxies_); }

expected<void> playlist_desk::hear(std::string_view stream, const audience::beacon& word, std::string_view address, audience::books::steady_time now) {
  auto* seen = shown_.read();
  if (!seen || !seen->live.contains(stream)) // whoever invents names makes no numbers
    return fail(error_code::not_found, "this stream is not live");
  std::string_view edge;
  if (auto newest = seen->tables.newest())
    for (auto& one : newest->edges)
      if (one.url == word.edge)
        edge = one.name.value;
  return audience_.add(stream, edge, word, address, now);
}

playlist_desk::~playlist_desk() { close(); }

std::optional<http::response> playlist_desk::media(const media_request& r) {
  thread_local http::fast_answer a;
  a.reset();
  if (!media(r.path, r.wish, r.coded, a))
    return std::nullopt;
  counts_.playlists.fetch_add(1, std::memory_order_relaxed);
  auto made = slow(a);
  a.reset(); // it owns nothing for longer
  return made;
}

void playlist_desk::await_media(const http::request& r, http::responder answer) {
  waiter one{{r.path, wish_of(r.query.raw()), http::accepts_gzip(r.header("Accept-Encoding").value_or(""))}, std::move(answer), {}};
  std::unique_lock lock(waiting_guard_);
  // Once more, because it may have been shown meanwhile; what is shown from here on finds us in the room.
  auto there = media(one.request);
  if (!there && !closed_ && waiting_count_ < room_) {
    const auto key = stream_in(viewing::split(one.request.path).path);
    auto* seen = shown_.read();
    auto stream = seen->by_address.find(key);
    const auto target = stream != seen->by_address.end() ? stream->second->log.target : 0ms;
    one.until = std::chrono::steady_clock::now() + 3 * target;
    waiting_[std::string(key)].push_back(std::move(one));
    ++waiting_count_;
    counts_.waited.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  lock.unlock();
  if (!there)
    counts_.crowded.fetch_add(1, std::memory_order_relaxed);
  one.answer(there ? std::move(*there) : unavailable("this director cannot hold more requests\n"));
}

void playlist_desk::show(std::shared_ptr<const director_view> view) {
  shown_.publish(view);
  waiting_room ready;
  {
    std::lock_guard lock(waiting_guard_);
    const auto before = std::exchange(looked_at_, view);
    auto shown_in = [](const auto& v, const std::string& stream) {
      auto at = v ? v->by_address.find(stream) : decltype(v->by_address.find(stream))();
      return v && at != v->by_address.end() ? at->second.get() : nullptr;
    };
    for (auto room = waiting_.begin(); room != waiting_.end();) {
      auto next = std::next(room);
      if (shown_in(before, room->first) != shown_in(view, room->first))
        ready.insert(waiting_.extract(room));
      room = next;
    }
  }
  std::size_t answered = 0;
  for (auto& [stream, room] : ready)
    answered += std::erase_if(room, [&](waiter& one) {
      auto there = media(one.request);
      if (there)
        one.answer(std::move(*there));
      return there.has_value();
    });
  {
    std::lock_guard lock(waiting_guard_);
    if (!closed_) {
      waiting_count_ -= answered;
      for (auto& [stream, room] : ready)
        if (!room.empty())
          std::ranges::move(room, std::back_inserter(waiting_[stream]));
      return;
    }
  }
  for (auto& [stream, room] : ready)
    for (auto& one : room)
      one.answer(unavailable("this director stops\n"));
}

void playlist_desk::expire(std::chrono::steady_clock::time_point now) {
  std::vector<waiter> late;
  {
    std::lock_guard lock(waiting_guard_);
    for (auto& [stream, room] : waiting_) {
      auto rest = std::ranges::stable_partition(room, [&](auto& one) { return one.until > now; });
      late.insert(late.end(), std::move_iterator(rest.begin()), std::move_iterator(rest.end()));
      room.erase(rest.begin(), rest.end());
    }
    std::erase_if(waiting_, [](auto& room) { return room.second.empty(); });
    waiting_count_ -= late.size();
  }
  counts_.late.fetch_add(late.size(), std::memory_order_relaxed);
  for (auto& one : late)
    one.answer(unavailable("there is nothing new yet\n"));
}

void playlist_desk::close() {
  waiting_room left;
  {
    std::lock_guard lock(waiting_guard_);
    closed_ = true;
    left.swap(waiting_);
    waiting_count_ = 0;
  }
  for (auto& [stream, room] : left)
    for (auto& one : room)
      one.answer(unavailable("this director stops\n"));
}

std::size_t playlist_desk::waiting() const {
  std::lock_guard lock(waiting_guard_);
  return waiting_count_;
}

void add_director_routes(http::server& server, const std::shared_ptr<playlist_desk>& desk, bool beacons) {
  server.fast_path("/p/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_media(r, a); });
  server.fast_path("/hls/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_multivariant(r, a); });
  server.fast_path("/steer/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_steering(r, a); });
  server.fast_path("/t/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_signed(r, a); });
  http::route_options waits;
  waits.cors = true;
  waits.deadline = 60s; // the desk is sooner
  waits.late = [](std::string_view) { return unavailable("there is nothing new yet\n"); };
  for (auto* pattern : {"/p/{rest...}", "/t/{token}/p/{rest...}"})
    server.route("GET", pattern, waits, [desk](const http::request& r, http::responder answer) { desk->await_media(r, std::move(answer)); });
  http::route_options options;
  options.body_limit = audience::beacon_limit;
  options.cors = true;
  server.route("POST", "/beacon/{stream}", options, [desk, beacons](const http::request& r, http::responder answer) {
    if (!beacons) // and the page stops
      return void(answer.fail({error_code::forbidden, "director.beacons is off"}));
    auto word = audience::parse_beacon(r.body());
    if (!word)
      return void(answer.fail(word.error()));
    if (auto heard = desk->hear(r.param("stream"), *word, desk->viewer_of(r), std::chrono::steady_clock::now()); !heard)
      return void(answer.fail(heard.error()));
    answer(http::empty_response(204));
  });
}

} // namespace weir
