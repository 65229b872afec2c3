#include "actors/origin.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/http/auth.hpp"
#include "runtime/nginx/edge_probe.hpp"

#include <algorithm>
#include <charconv>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t stream_limit = 10'000;
constexpr auto names_told_every = 5s;
constexpr std::size_t reader_limit = 64; ///< a cluster has fewer directors
constexpr auto longest_wait = 20s;
constexpr std::size_t heads_kept = 4 * hls::max_rungs; ///< of a stream: of the segment that is listed next, and of some that come early

/// What a writer says of itself: the body of PUT /origin/v1/streams/{stream}/writers/{epoch}.
struct writer_body {
  std::string publication;
  hls_profile profile = hls_profile::standard;
  std::vector<rung_info> rungs;
  bool standby = false;
  static constexpr auto fields() {
    using o = writer_body;
    return std::tuple{field("publication", &o::publication, {0, 300}, "Names the source time line."), field("profile", &o::profile, "Timing."),
                      field("rungs", &o::rungs, {1, hls::max_rungs}, "What it makes."), field("standby", &o::standby, "Used only where the other writer's is missing.")};
  }
};

} // namespace

expected<void> origin_state::load(timestamp now) {
  auto streams = setup.store->streams();
  WEIR_TRY(streams);
  for (auto& stream : *streams) {
    auto text = setup.store->load_log(stream);
    if (!text && text.error().code == error_code::not_found)
      continue;
    WEIR_TRY(text);
    auto log = hls::segment_log::from_json(*text, setup.log);
    if (!log)
      return fail(log.error().in(fmt::format("log of stream {} in {}", stream, setup.options.dir)));
    logs.emplace(stream, std::move(*log));
  }
  auto gone = setup.store->sweep([this](std::string_view stream, const hls::segment_place& place) {
    auto log = logs.find(std::string(stream));
    return log != logs.end() && log->second.knows(place);
  });
  WEIR_TRY(gone);
  log::info("origin", "loaded", "streams={} leftovers_removed={} at={}", logs.size(), *gone, to_rfc3339(now));
  return {};
}

hls::segment_log& origin_state::log_of(const std::string& stream) { return logs.try_emplace(stream, stream, setup.log).first->second; }

expected<void> origin_state::announce(const writer_hello& hello) {
  if (!hls::is_address_word(hello.stream))
    return fail(error_code::invalid_input, fmt::format("{:?} is no stream's name", hello.stream));
  if (!logs.contains(hello.stream) && logs.size() >= stream_limit)
    return fail(error_code::too_many, fmt::format("this origin keeps {} streams already", stream_limit));
  auto timing = timing_of(hello.profile);
  if (setup.options.window > 0ms)
    timing.window = std::max(setup.options.window, timing.target * 6);
  auto done = log_of(hello.stream).begin_writer(hello.writer_epoch, hello.publication, hello.rungs, timing, hello.standby);
  if (!done && done.error().code == error_code::fenced)
    ++fenced;
  return done;
}

expected<void> origin_state::take(const segment_offer& offer, timestamp now, hls::log_change& change) {
  auto known = logs.find(offer.stream);
  if (known == logs.end())
    return fail(hls::refusal(hls::offer_result::unknown_writer, offer.info.rung, offer.info.slot));
  auto& log = known->second;
  auto refuse = [&](hls::offer_result why) {
    ++(why == hls::offer_result::fenced ? fenced : refused);
    return fail(hls::refusal(why, offer.info.rung, offer.info.slot));
  };
  auto place = log.locate(offer.writer_epoch, offer.info, now);
  if (!place) {
    // Also what is refused may have to become a gap, and what is there already tells how far a standby is: the log decides in offer().
    log.offer(offer.writer_epoch, offer.info, edges, now, &change);
    if (place.error() == hls::offer_result::duplicate)
      return {};
    return refuse(place.error());
  }
  auto stored = setup.store->put(offer.stream, *place, std::as_bytes(std::span(*offer.bytes)));
  if (!stored) {
    full += origin::is_full(stored.error());
    log::error("origin", "segment-not-stored", "stream={} rung={} slot={} error={}", offer.stream, offer.info.rung, offer.info.slot, stored.error().text);
    log.lost(offer.writer_epoch, offer.info, edges, now, &change);
    return stored;
  }
  auto result = log.offer(offer.writer_epoch, offer.info, edges, now, &change);
  if (result != hls::offer_result::accepted && result != hls::offer_result::duplicate)
    return refuse(result);
  auto& known_heads = heads[offer.stream];
  known_heads.push_back({*place, {.path = {}, .size = offer.bytes->size(), .digest = nginx::head_digest(*offer.bytes)}});
  if (known_heads.size() > heads_kept)
    known_heads.pop_front();
  ++written;
  bytes += offer.bytes->size();
  return {};
}

edge_epoch origin_state::oldest_named() const {
  auto oldest = edges;
  for (auto& [stream, log] : logs)
    if (auto named = log.oldest_edges())
      oldest = std::min(oldest, *named);
  return oldest;
}

void origin_state::take(log_wish wish, time_point now, timestamp wall) {
  // Whoever asks again has given its former question up, although its connection may still look well.
  auto former = std::ranges::find(readers, wish.reader, [](auto& r) { return r.wish.reader; });
  if (former != readers.end()) {
    former->wish.answer(fail(error_code::conflict, wish.reader + " has asked again"));
    readers.erase(former);
  }
  if (news.any_after(wish.after) || wish.wait <= 0ms)
    return wish.answer(news.page(wish.after, wall));
  if (readers.size() >= reader_limit)
    return wish.answer(fail(error_code::too_many, fmt::format("{} directors wait for logs of this origin already", reader_limit)));
  auto until = now + std::min<std::chrono::milliseconds>(wish.wait, longest_wait);
  readers.push_back({std::move(wish), until});
}

void origin_state::answer_readers(time_point now, timestamp wall) {
  std::erase_if(readers, [&](auto& one) {
    if (now < one.until && !news.any_after(one.wish.after))
      return false;
    one.wish.answer(news.page(one.wish.after, wall));
    return true;
  });
}

void origin_state::dismiss_readers(const error& why) {
  for (auto& one : readers)
    one.wish.answer(fail(why));
  readers.clear();
}

std::optional<segment_listed> origin_state::newest_of(const hls::stream_log& shown) const {
  if (shown.entries.empty() || shown.ended)
    return std::nullopt;
  auto& newest = shown.entries.back();
  for (auto rung = shown.rungs.size(); rung-- > 0;) {
    if (newest.gap(rung))
      continue;
    const auto& rendition = shown.rungs[rung].info.name;
    segment_listed listed{shown.stream, {}};
    if (auto known = heads.find(shown.stream); known != heads.end())
      for (auto& head : known->second)
        if (auto& at = head.place; at.instance == shown.instance && at.epoch == newest.epoch && at.rung == rendition && at.msn == newest.msn)
          listed.newest = head.probe;
    listed.newest.path = hls::path_of(hls::segment_address{shown.stream, shown.instance, newest.epoch, rendition, newest.msn});
    return listed;
  }
  return std::nullopt;
}

void origin_state::note_ages(const hls::stream_log& shown, std::size_t listed, timestamp now) {
  const auto all_gaps = static_cast<std::uint32_t>((std::uint64_t{1} << shown.rungs.size()) - 1);
  for (auto at = shown.entries.rbegin(); at != shown.entries.rend() && listed > 0; ++at, --listed)
    if (at->gaps != all_gaps)
      ages.observe(std::max(0.0, std::chrono::duration<double>(now - at->time).count()));
}

origin_actor::behavior_type origin_keeper(origin_actor::stateful_pointer<origin_state> self, origin_setup setup, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = origin_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto wall = [] { return std::chrono::system_clock::now(); };

  if (auto loaded = my.load(wall()); !loaded) {
    log::critical("origin", "log-unreadable", "error={}", loaded.error().text);
    self->quit(to_caf(loaded.error()));
    return origin_actor::behavior_type::make_empty_behavior();
  }
  // Saved first, shown after: what a viewer has seen survives kill -9.
  auto publish = [=, &my](hls::segment_log& log, const hls::log_change& change) {
    if (!change.changed)
      return;
    if (auto saved = my.setup.store->save_log(log.stream(), log.to_json()); !saved)
      log::error("origin", "log-not-saved", "stream={} error={}", log.stream(), saved.error().text);
    if (change.listed == 0 && !change.ended)
      return;
    auto shown = log.snapshot();
    my.note_ages(shown, change.listed, wall());
    if (change.ended)
      log::info("origin", "stream-ended", "stream={} instance={} next_msn={}", log.stream(), log.instance(), log.next_msn());
    if (auto newest = my.newest_of(shown))
      tell(self, coordinator, std::move(*newest));
    my.news.add(std::move(shown));
    my.answer_readers(now(), wall());
  };
  auto expire = [=, &my](hls::segment_log& log) {
    for (auto& place : log.take_expired(wall()))
      if (auto gone = my.setup.store->remove(log.stream(), place); !gone)
        log::warn("origin", "segment-not-removed", "stream={} error={}", log.stream(), gone.error().text);
  };

  for (auto& [stream, log] : my.logs)
    if (auto shown = log.snapshot(); !shown.entries.empty())
      my.news.add(std::move(shown));
  my.watching.follow(self, coordinator, watcher_actor{me});
  tell_after(self, 250ms, me, tick{});
  return {
    [=, &my](const edge_table& table) {
      my.watching.hears_table(now());
      my.edges = std::max(my.edges, table.epoch);
    },
    [=, &my](const edge_list&) { my.watching.hears(now()); }, // loads matter to directors only
    [](const origin_list&) {},
    [=, &my](const stream_notice& notice) {
      auto known = my.logs.find(notice.stream);
      if (known == my.logs.end())
        return;
      auto& log = known->second;
      if (notice.over && !log.ended())
        publish(log, log.end(my.edges, wall()));
      else if (notice.phase == stream_phase::ending)
        log.source_lost(wall());
      else if (notice.phase == stream_phase::live)
        log.source_back();
    },
    [=, &my](const writer_hello& hello) {
      auto done = my.announce(hello);
      if (done)
        log::info("origin", "writer", "stream={} writer_epoch={} rungs={} publication={} standby={}", hello.stream, hello.writer_epoch, hello.rungs.size(), hello.publication, hello.standby);
      hello.answer(std::move(done));
    },
    [=, &my](const segment_offer& offer) {
      hls::log_change change;
      auto done = my.take(offer, wall(), change);
      if (auto log = my.logs.find(offer.stream); log != my.logs.end())
        publish(log->second, change);
      if (!done)
        log::debug("origin", "segment-refused", "stream={} rung={} slot={} error={}", offer.stream, offer.info.rung, offer.info.slot, done.error().text);
      offer.answer(std::move(done));
    },
    [=, &my](log_wish& wish) { my.take(std::move(wish), now(), wall()); },
    [=, &my](const tick&) {
      for (auto& [stream, log] : my.logs) {
        publish(log, log.tick(my.edges, wall()));
        expire(log);
      }
      my.answer_readers(now(), wall());
      if (now() - my.names_told >= names_told_every) {
        my.names_told = now();
        tell(self, coordinator, edges_in_use{my.setup.node, my.oldest_named()});
      }
      my.watching.follow(self, coordinator, watcher_actor{me});
      tell_after(self, 250ms, me, tick{});
    },
    [=, &my](const stop&) {
      my.dismiss_readers({error_code::unavailable, "the origin ends"});
      self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](const ask_status&) {
      nlohmann::json streams = nlohmann::json::object();
      for (auto& [stream, log] : my.logs)
        streams[stream] = {{"instance", log.instance()}, {"next_msn", log.next_msn()}, {"epoch", log.epoch()}, {"ended", log.ended()}, {"standby_used", log.standby_used()},
                           {"fenced", log.fenced_count()}, {"refused", log.refused_count()}};
      auto ages = my.ages.now();
      nlohmann::json status{{"streams", streams}, {"written", my.written}, {"bytes", my.bytes}, {"fenced", my.fenced}, {"refused", my.refused}, {"full", my.full},
                            {"readers", my.readers.size()}, {"ages", {{"buckets", ages.buckets}, {"sum", ages.sum}}}};
      return report_of(self, "origin", status, my.started);
    },
  };
}

void add_log_route(http::server& server, const origin_actor& origin, const std::string& read_token) {
  http::route_options readers;
  readers.deadline = longest_wait + 10s;
  readers.guard = [read_token](const http::request& r) -> std::optional<http::response> {
    auto given = http::bearer_token(r);
    if (given && http::matches_secret(*given, read_token))
      return std::nullopt;
    return http::problem_response({error_code::unauthorized, "the origin's logs need their token"}, r.id);
  };
  server.route("GET", "/origin/v1/logs", readers, [origin](const http::request& r, http::responder answer) {
    auto after = hls::parse_news_mark(r.query.find("after").value_or(""));
    auto wait = parse_duration(r.query.find("wait").value_or("0s"));
    if (!after || !wait)
      return void(answer.fail(!after ? after.error() : wait.error().in("wait")));
    // An origin that ends drops what waits in its mailbox: whoever asked hears that then.
    std::shared_ptr<http::responder> last_word(new http::responder(answer), [](http::responder* unanswered) {
      unanswered->fail({error_code::unavailable, "the origin has ended"});
      delete unanswered;
    });
    auto reader = r.query.find("reader").value_or(r.peer_address).substr(0, 100);
    tell_anon(origin, log_wish{std::move(reader), std::move(*after), *wait, [last_word](expected<std::string> page) {
                                 if (!page)
                                   return void(last_word->fail(page.error()));
                                 auto text = http::text_response(200, std::move(*page), "application/x-ndjson");
                                 (*last_word)(std::move(text).with("Cache-Control", "no-store"));
                               }});
  });
}

void add_origin_routes(http::server& server, const origin_actor& origin, std::shared_ptr<origin::segment_store> store, const std::string& token, byte_size upload_limit) {
  http::route_options writers;
  writers.deadline = 10s;
  writers.guard = [token](const http::request& r) -> std::optional<http::response> {
    auto given = http::bearer_token(r);
    if (given && constant_time_equal(*given, token))
      return std::nullopt;
    return http::problem_response({error_code::unauthorized, "writing to the origin needs its token"}, r.id);
  };
  auto epoch_of = [](const http::request& r) -> expected<std::uint64_t> {
    std::uint64_t epoch = 0;
    auto text = r.param("epoch");
    if (auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), epoch); code != std::errc{} || end != text.data() + text.size())
      return fail(error_code::invalid_input, fmt::format("{:?} is no writer epoch", text));
    return epoch;
  };
  auto finish = [](http::responder answer) {
    return [answer](expected<void> done) { done ? answer(http::empty_response(204)) : answer.fail(done.error()); };
  };

  server.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}", writers, [=](const http::request& r, http::responder answer) {
    auto epoch = epoch_of(r);
    auto body = describe::from_json<writer_body>(r.body());
    if (!epoch || !body)
      return void(answer.fail(!epoch ? epoch.error() : body.error()));
    tell_anon(origin, writer_hello{std::string(r.param("stream")), *epoch, body->publication, body->profile, body->rungs, body->standby, finish(answer)});
  });

  writers.body_limit = static_cast<std::size_t>(upload_limit.bytes);
  server.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/segments", writers, [=](const http::request& r, http::responder answer) {
    auto epoch = epoch_of(r);
    auto info = describe::from_json<segment_info>(r.header("Weir-Segment").value_or(""));
    if (!epoch || !info)
      return void(answer.fail(!epoch ? epoch.error() : info.error().in("Weir-Segment")));
    if (info->bytes != r.payload->size())
      return void(answer.fail({error_code::invalid_input, fmt::format("the segment should have {} bytes, {} came", info->bytes, r.payload->size())}));
    tell_anon(origin, segment_offer{std::string(r.param("stream")), *epoch, std::move(*info), r.payload, finish(answer)});
  });

  http::route_options readers;
  readers.cors = true;
  server.route("GET", "/s/{rest...}", readers, [store](const http::request& r, http::responder answer) {
    auto address = hls::parse_segment_path(r.path);
    if (!address)
      return void(answer.fail(address.error()));
    hls::segment_place place{address->instance, address->epoch, std::string(address->rung), address->msn};
    auto file = store->open(address->stream, place);
    if (!file)
      return void(answer.fail(file.error()));
    auto page = file->bytes ? http::shared_response(file->bytes, "video/mp2t")
                            : http::file_response(std::make_shared<http::open_file>(file->fd.release(), file->size), "video/mp2t");
    // The name holds the writer's epoch and a number that never comes again: what it names can never change.
    page.with("Cache-Control", "public, max-age=43200, immutable").with("ETag", fmt::format("\"{}-{}\"", address->epoch, address->msn));
    http::apply_conditions({std::string(r.header("If-None-Match").value_or("")), std::string(r.header("Range").value_or("")), std::string(r.header("If-Range").value_or(""))}, page);
    answer(std::move(page));
  });
}

} // namespace weir
