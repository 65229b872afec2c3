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
  if (name && !admits(at, *name, a))
    return true;
  auto stream = seen && name ? seen->live.find(*name) : decltype(seen->live.find(""))();
  if (!seen || !name || stream == seen->live.end()) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, "this stream is not live\n");
  }
  steering::join joined;
  // The group of edges goes into the viewer's addresses: whoever walks out of the venue while it watches finds what is listed where it was.
  auto locality = seen->localities ? seen->localities->of(viewer_address(r.peer_address, r.fields, proxies_)) : std::string_view{};
  if (!seen->tables.empty()) {
    std::lock_guard lock(joining_);
    auto drawn = admission_.admit(random_bits, locality);
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
  auto text = hls::multivariant(stream->second->log, {.bucket = joined.bucket, .joined = joined.epoch, .backup = false, .locality = joined.near ? locality : std::string_view{}},
                                joined.lowest_rungs_only ? rungs_when_nearly_full : hls::max_rungs, at.prefix);
  if (!text)
    return refuse(a, 404, "this stream has no segments yet\n");
  counts_.joins.fetch_add(1, std::memory_order_relaxed);
  audience_.begun(*name);
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
  counts_.playlists.fetch_add(1, std::memory_order_relaxed);
  auto* seen = shown_.read();
  const auto at = viewing::split(r.path);
  auto address = hls::parse_playlist_path(at.path);
  if (address && !admits(at, address->stream, a))
    return true;
  if (!seen || !address) {
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return unknown(a, seen, "there is no such playlist\n");
  }
  // "/p/B.J/NAME~I/RUNG.m3u8": the part between is the key.
  auto from = at.path.find('/', 3) + 1;
  auto stream = seen->by_address.find(at.path.substr(from, at.path.find('/', from) - from));
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
  if (rung->playlist.stale(std::chrono::system_clock::now())) {
    counts_.stale.fetch_add(1, std::memory_order_relaxed);
    return refuse(a, 503, "the origin is silent\n", "Retry-After: 1\r\n");
  }
  a.content_type = playlist_type;
  a.cache_control = "max-age=1";
  thread_local std::vector<std::string_view> pieces;
  bool lost = false;
  auto base = [&](edge_epoch epoch) {
    auto url = seen->tables.base_url(epoch, viewer.bucket, viewer.backup, viewer.locality);
    if (url.empty() && seen->tables.knows(epoch)) // listed while no edge served, and at the origin's address for ever
      url = own_base_;
    lost = lost || url.empty();
    return url;
  };
  rung->playlist.pieces(viewer.joined, base, pieces, at.prefix);
  if (lost) { // whoever loads the stream anew joins an edge set that is known
    counts_.unknown.fetch_add(1, std::memory_order_relaxed);
    return seen->complete ? refuse(a, 410, "this playlist names edges that are forgotten; please load the stream anew\n") : unknown(a, seen, {});
  }
  a.extra = plain_fields;
  if (auto coded = takes_coded(r) ? rung->coded->of(pieces, at.prefix) : nullptr) {
    a.extra = coded_fields;
    a.add(*coded);
    a.owner = std::move(coded);
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
  auto& entries = stream->second->log.entries;
  // What the player has still to fetch decides: where nobody serves any more its next request would fail, or wait.
  auto leaves = [&](bool backup) {
    return std::any_of(entries.end() - static_cast<std::ptrdiff_t>(std::min(entries.size(), not_fetched_yet)), entries.end(), [&](auto& e) {
      auto* edge = seen->tables.edge(std::max(e.edges, address->viewer.joined), address->viewer.bucket, backup, address->viewer.locality);
      return edge && seen->leaves(*edge);
    });
  };
  bool main_leaves = leaves(false), backup_leaves = leaves(true);
  bool drains = seen->drained_until != 0 && !entries.empty() && entries.front().edges <= seen->drained_until;
  a.content_type = "application/vnd.apple.steering-list";
  a.cache_control = "no-store";
  own(a, hls::steering_manifest(*address, main_leaves || backup_leaves || drains ? std::min(steering_ttl_, hurried_ttl) : steering_ttl_, main_leaves && !backup_leaves, at.prefix));
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

void add_director_routes(http::server& server, const std::shared_ptr<playlist_desk>& desk, bool beacons) {
  server.fast_path("/p/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_media(r, a); });
  server.fast_path("/hls/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_multivariant(r, a); });
  server.fast_path("/steer/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_steering(r, a); });
  server.fast_path("/t/", {.cors = true}, [desk](auto& r, auto& a) { return desk->answer_signed(r, a); });
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
