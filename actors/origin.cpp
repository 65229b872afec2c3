#include "actors/origin.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/base64.hpp"
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

constexpr auto names_told_every = 5s;
constexpr std::size_t reader_limit = 64; ///< a cluster has fewer directors
constexpr auto longest_wait = 20s;
constexpr unsigned reading_threads = 4;
constexpr std::size_t reads_waiting = 1'024; ///< a cold segment is asked for once by each edge
constexpr std::size_t largest_part = 16 << 20; ///< bytes
constexpr std::size_t heads_kept = 4 * hls::max_rungs; ///< of a stream: of the segment that is listed next, and of some that come early

/// What a writer says of itself: the body of PUT /origin/v1/streams/{stream}/writers/{epoch}.
struct writer_body {
  std::string publication;
  hls_profile profile = hls_profile::standard;
  std::vector<rung_info> rungs;
  bool standby = false;
  std::vector<std::string> maps;
  std::chrono::milliseconds part{};
  static constexpr auto fields() {
    using o = writer_body;
    return std::tuple{field("publication", &o::publication, {0, 300}, "Names the source time line."), field("profile", &o::profile, "Timing."),
                      field("rungs", &o::rungs, {1, hls::max_rungs}, "What it makes."), field("standby", &o::standby, "Used only where the other writer's is missing."),
                      field("maps", &o::maps, {0, hls::max_rungs}, "Base64, by rung: what players need before its segments, where these are fragmented MP4."),
                      field("part", &o::part, "Low latency: no part of a segment is longer; 0: it brings no parts.")};
  }
};

std::vector<origin::replica> members_of(const std::vector<origin_place>& places) {
  std::vector<origin::replica> all;
  for (auto& m : places)
    all.push_back({m.member, m.url, m.peer_token});
  return all;
}

/// As the store wants it.
origin::replica_view view_of(const origin_group& group) {
  return {.mark = {group.term, group.holder}, .members = members_of(group.members), .quorum = 0};
}

expected<std::uint64_t> epoch_of(const http::request& r) {
  std::uint64_t epoch = 0;
  auto text = r.param("epoch");
  if (auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), epoch); code != std::errc{} || end != text.data() + text.size())
    return fail(error_code::invalid_input, fmt::format("{:?} is no writer epoch", text));
  return epoch;
}

/// Tells a writer how it went.
auto finish(http::responder answer) {
  return [answer](expected<void> done) {
    if (done)
      answer(http::empty_response(204));
    else if (done.error().code == error_code::unavailable) // no room now
      answer(http::problem_response(done.error(), answer.request_id()).with("Retry-After", "1"));
    else
      answer.fail(done.error());
  };
}

/// Takes what a writer brings: its description stands in that header field, its bytes are the body.
template <class Offer>
http::handler take_offer(const origin_actor& origin, std::string field, std::string called) {
  return [origin, field = std::move(field), called = std::move(called)](const http::request& r, http::responder answer) {
    auto epoch = epoch_of(r);
    auto info = describe::from_json<decltype(Offer::info)>(r.header(field).value_or(""));
    if (!epoch || !info)
      return void(answer.fail(!epoch ? epoch.error() : info.error().in(field)));
    if constexpr (std::is_same_v<Offer, segment_offer>)
      if (auto text = r.header("Weir-Key-Frames")) {
        // Where its key frames are is not worth a segment: I-frame playlists have a gap there.
        auto told = describe::from_json<key_frame_list>(*text);
        if (told && hls::is_row_of_keys(told->keys, info->duration, info->bytes))
          info->keys = std::move(told->keys);
        else
          log::warn("origin", "key-frames-refused", "stream={} rung={} slot={} error={}", r.param("stream"), info->rung, info->slot,
                    told ? "they are not in order within the segment" : told.error().text);
      }
    if (info->bytes != r.payload->size())
      return void(answer.fail({error_code::invalid_input, fmt::format("the {} should have {} bytes, {} came", called, info->bytes, r.payload->size())}));
    tell_anon(origin, Offer{std::string(r.param("stream")), *epoch, std::move(*info), r.payload, finish(answer)});
  };
}

/// What a viewer hears of a segment that was not got from a bucket or another origin: what those say is the operator's, and a status that is about our rights there
/// is not about the viewer's.
error for_viewers(const error& why) {
  if (why.code == error_code::not_found)
    return {why.code, "there is no such segment"};
  return {why.code == error_code::timeout ? why.code : error_code::unavailable, "the segment cannot be read now"};
}

/// What members lack; learners are counted elsewhere. A node whose disk was lost is two members until the former one is left out.
std::map<std::string, std::size_t, std::less<>> owed_by_node(const origin::replica_state& copies) {
  std::map<std::string, std::size_t, std::less<>> sums;
  for (auto& [member, things] : copies.owed)
    if (copies.view.has(member))
      sums[std::string(origin::node_of(member))] += things;
  return sums;
}

} // namespace

bool origin_state::holds() const { return orders.present.term != 0 && orders.present.holder == setup.member && orders.present.instance == setup.instance; }

origin_word origin_state::word() const {
  auto copies = setup.copies->state();
  origin_word says{.node = setup.node, .instance = setup.instance, .in_force = ready ? held : 0, .highest = copies.highest, .trouble = trouble, .taught = {}};
  for (auto& [learner, has_all] : copies.learners)
    if (has_all)
      says.taught.push_back(learner);
  if (says.in_force != 0)
    for (auto& [peer, things] : copies.owed)
      if (things == 0 && copies.view.has(peer))
        says.taught.push_back(peer);
  return says;
}

bool origin_state::take(origin_orders& fresh) {
  if (fresh.present.term < orders.present.term)
    return false;
  orders = std::move(fresh);
  return true;
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

void origin_state::note_head(const origin::store_order& order) {
  if (order.what != origin::store_order::kind::put || order.place.kind == hls::segment_kind::map)
    return;
  auto& known = heads[order.stream];
  known.push_back({order.place, {.path = {}, .size = order.bytes->size(), .digest = nginx::head_digest(*order.bytes)}});
  if (known.size() > heads_kept)
    known.pop_front();
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
    listed.newest.path = hls::path_of(hls::segment_address{shown.stream, shown.instance, newest.epoch, rendition, newest.msn, newest.map != 0 ? hls::segment_kind::fmp4 : hls::segment_kind::ts});
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
  if (my.setup.member.empty())
    my.setup.member = my.setup.node.value;
  my.started = self->clock().now();
  auto me = origin_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto wall = [] { return std::chrono::system_clock::now(); };

  const origin::intake_options taking{.log = my.setup.log, .window = my.setup.options.window, .dvr_window = my.setup.options.dvr_window, .write_deadline = my.setup.options.write_deadline, .shared = my.setup.copies != nullptr, .shelf = my.setup.shelf};
  my.in = origin::intake(taking);
  if (!my.setup.copies) {
    if (auto loaded = my.in.load(*my.setup.store, my.setup.options.dir, wall()); !loaded) {
      if (const auto& why = loaded.error(); why.code == error_code::corrupt || why.code == error_code::newer_schema)
        log::critical("origin", "log-unreadable", "error={}", why.text);
      else
        log::critical("origin", "store-not-reached", "code={} error={}", to_string(why.code), why.text);
      self->quit(to_caf(loaded.error()));
      return origin_actor::behavior_type::make_empty_behavior();
    }
    my.ready = true;
  }
  // A shared store waits for other machines: not in this thread.
  auto take_over = [=, &my] {
    if (my.loading.joinable() || now() < my.load_again)
      return;
    std::vector<origin::replica_view> former;
    for (auto& group : my.orders.former)
      former.push_back(view_of(group));
    my.loading = std::thread([me, taking, former, view = view_of(my.orders.present), copies = my.setup.copies, dir = my.setup.options.dir, tickets = my.in.last_ticket()] {
      auto in = std::make_shared<origin::intake>(taking, tickets); // what was asked of the store before may still be answered
      auto result = copies->use(view, former);
      if (result)
        result = in->load(*copies, dir, std::chrono::system_clock::now());
      tell_anon(me, store_loaded{view.mark.term, std::move(in), std::move(result)});
    });
  };
  auto stand_by = [=, &my](std::string why) {
    my.not_ready_why = std::move(why);
    if (!my.ready)
      return;
    log::info("origin", "stands-by", "term={} streams={} why={}", my.held, my.in.logs().size(), my.not_ready_why);
    my.in.close(); // whoever waits for an answer tries again, and hears where
    auto edges = my.in.oldest_named();
    auto widths = my.in.widths();
    my.in = origin::intake(taking, my.in.last_ticket());
    my.in.use_edges(edges);
    my.in.use_widths(widths);
    my.heads.clear();
    my.news = hls::log_news(random_uuid()); // what it has shown another one tells from now on
    my.ready = false;
  };
  auto obey = [=, &my] {
    auto& present = my.orders.present;
    if (present.term == 0)
      return;
    if (!my.holds()) {
      stand_by(fmt::format("origin {} has them", origin::node_of(present.holder)));
      my.trouble.clear();
      if (!my.loading.joinable()) {
        my.setup.copies->follow(view_of(present));
        my.setup.copies->teach({}); // that is for whoever writes
      }
    } else if (my.ready && my.held == present.term) {
      my.setup.copies->follow(view_of(present)); // whose members may have other addresses
      my.setup.copies->teach(members_of(my.orders.learners));
    } else {
      if (my.ready)
        stand_by("its turn begins anew");
      take_over();
    }
  };
  auto heed = [=, &my](const stream_notice& notice) {
    if (notice.over)
      my.in.end(notice.stream, now(), wall());
    else if (notice.phase == stream_phase::ending)
      my.in.source_lost(notice.stream, wall());
    else if (notice.phase == stream_phase::live)
      my.in.source_back(notice.stream);
  };
  auto ask_for_orders = [=, &my] {
    if (my.asking)
      return;
    my.asking = true;
    ask(self, 2s, coordinator, my.word())
      .then(
        [=, &my](origin_orders& news) {
          my.asking = false;
          if (my.take(news))
            obey();
        },
        [&my](const caf::error&) { my.asking = false; }); // it goes on as it was told
  };
  my.queue = std::make_unique<origin::store_queue>(my.setup.store, my.setup.options.writers);
  // What the queue has done becomes a message; one that hangs in a dead disk must not keep this actor.
  auto told = [weak = caf::actor_cast<caf::actor_addr>(me)](origin::store_order::kind what, const std::string& stream, std::uint64_t ticket, expected<void> result) {
    tell_anon(caf::actor_cast<origin_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak)), store_result{what == origin::store_order::kind::save_log, stream, ticket, std::move(result)});
  };
  auto show = [=, &my](const origin::shown_news& news) {
    auto& shown = my.in.shown().at(news.stream);
    my.note_ages(shown, news.listed, wall());
    if (auto newest = news.listed > 0 ? my.newest_of(shown) : std::nullopt)
      tell(self, coordinator, std::move(*newest));
    my.news.add(shown);
  };
  // After each call of the intake.
  auto follow = [=, &my] {
    auto orders = my.in.take_orders();
    for (auto& order : orders)
      my.note_head(order);
    origin::carry_out(std::move(orders), *my.queue, now(), told);
    auto all = my.in.take_news();
    for (auto& one : all)
      show(one);
    if (!all.empty())
      my.answer_readers(now(), wall());
  };

  for (auto& [stream, shown] : my.in.shown())
    my.news.add(shown);
  my.watching.follow(self, coordinator, watcher_actor{me});
  tell_after(self, 250ms, me, tick{});
  return {
    [=, &my](const edge_table& table) {
      my.watching.hears_table(now());
      my.in.use_edges(table.epoch);
    },
    [=, &my](const edge_list& list) { // loads matter to directors only
      my.watching.hears(now());
      my.in.use_widths(list.widths);
    },
    [](const origin_list&) {},
    [=, &my](const stream_notice& notice) {
      if (my.setup.copies)
        my.notices.insert_or_assign(notice.stream, notice);
      heed(notice);
      follow();
    },
    [=, &my](const writer_hello& hello) {
      if (!my.ready)
        return hello.answer(fail(error_code::unavailable, "this origin does not take segments now: " + my.not_ready_why));
      auto done = my.in.announce(hello.stream, hello.writer_epoch, hello.publication, hello.profile, hello.rungs, hello.standby, hello.maps, hello.part);
      if (done)
        log::info("origin", "writer", "stream={} writer_epoch={} rungs={} publication={} standby={}", hello.stream, hello.writer_epoch, hello.rungs.size(), hello.publication, hello.standby);
      hello.answer(std::move(done));
    },
    [=, &my](const segment_offer& offer) {
      if (!my.ready) // its writer has to present itself first
        return offer.answer(fail(hls::refusal(hls::offer_result::unknown_writer, offer.info.rung, offer.info.slot)));
      my.in.offer({offer.stream, offer.writer_epoch, offer.info, offer.bytes, offer.answer}, now(), wall());
      follow();
    },
    [=, &my](const part_offer& offer) {
      if (!my.ready)
        return offer.answer(fail(hls::refusal(hls::offer_result::unknown_writer, offer.info.rung, offer.info.slot)));
      offer.answer(my.in.offer_part(offer.stream, offer.writer_epoch, offer.info, offer.bytes, now(), wall()));
      follow();
    },
    [=, &my](const store_result& done) {
      if (done.log)
        my.in.saved(done.stream, done.ticket, done.result, now());
      else
        my.in.stored(done.stream, done.ticket, done.result, now(), wall());
      follow();
    },
    [=, &my](const store_loaded& loaded) {
      my.loading.join();
      if (loaded.term != my.orders.present.term || !my.holds()) // told otherwise meanwhile
        return obey();
      if (!loaded.result) {
        auto& why = loaded.result.error();
        if (why.code == error_code::corrupt || why.code == error_code::newer_schema) {
          log::critical("origin", "log-unreadable", "error={}", why.text);
          return self->quit(to_caf(why));
        }
        log::warn("origin", "store-not-taken-over", "term={} error={}", loaded.term, why.text);
        my.trouble = my.not_ready_why = why.text;
        my.load_again = now() + 500ms;
        return;
      }
      auto edges = my.in.oldest_named(); // with nothing listed the one in force
      auto widths = my.in.widths();
      my.in = std::move(*loaded.in);
      my.in.use_edges(edges);
      my.in.use_widths(widths);
      my.queue->use(my.setup.copies->under({loaded.term, my.setup.member})); // what waits there from a former turn fails
      my.ready = true;
      my.held = loaded.term;
      my.trouble.clear();
      for (auto& [stream, shown] : my.in.shown())
        my.news.add(shown);
      for (auto& [stream, notice] : my.notices) // whoever had it may not have come to heed it
        heed(notice);
      std::erase_if(my.notices, [&](auto& one) { return one.second.over && !my.in.logs().contains(one.first); });
      follow();
      my.answer_readers(now(), wall());
      ask_for_orders(); // the coordinator hears of it at once
    },
    [=, &my](log_wish& wish) { my.take(std::move(wish), now(), wall()); },
    [=, &my](const tick&) {
      my.in.tick(now(), wall());
      follow();
      if (my.setup.copies) {
        if (my.in.ousted()) // another origin goes on; who it is the coordinator says
          stand_by("another origin has taken them over");
        if (my.holds() && !my.ready) // the coordinator, without which nothing new is said, may be away
          obey();
        ask_for_orders();
      }
      my.answer_readers(now(), wall());
      if (now() - my.names_told >= names_told_every) {
        my.names_told = now();
        tell(self, coordinator, edges_in_use{my.setup.node, my.in.oldest_named()});
      }
      my.watching.follow(self, coordinator, watcher_actor{me});
      tell_after(self, 250ms, me, tick{});
    },
    [=, &my](const stop&) {
      my.dismiss_readers({error_code::unavailable, "the origin ends"});
      my.in.close(); // nobody was told that it is in whose log is not saved
      self->quit(caf::exit_reason::user_shutdown);
    },
    [=, &my](const ask_status&) {
      nlohmann::json streams = nlohmann::json::object();
      for (auto& [stream, log] : my.in.logs())
        streams[stream] = {{"instance", log.instance()}, {"next_msn", log.next_msn()}, {"epoch", log.epoch()}, {"ended", log.ended()}, {"standby_used", log.standby_used()},
                           {"fenced", log.fenced_count()}, {"refused", log.refused_count()}};
      auto ages = my.ages.now();
      auto& n = my.in.counted();
      nlohmann::json status{{"streams", streams}, {"written", n.written}, {"bytes", n.bytes}, {"fenced", n.fenced}, {"refused", n.refused}, {"full", n.full},
                            {"late", n.late}, {"turned_away", n.turned_away}, {"under_way", my.in.under_way()}, {"in_store", my.queue->segments()}, {"ousted", my.in.ousted()},
                            {"readers", my.readers.size()}, {"ages", {{"buckets", ages.buckets}, {"sum", ages.sum}}}};
      if (auto& shelf = my.setup.shelf)
        status["parts"] = {{"taken", n.parts}, {"refused", n.parts_refused}, {"kept", shelf->parts()}, {"bytes", shelf->bytes()}, {"awaited", shelf->waiting()}};
      if (my.setup.copies) {
        auto copies = my.setup.copies->state();
        status["copies"] = {{"writes", my.ready}, {"term", copies.view.mark.term}, {"holder", origin::node_of(copies.view.mark.holder)}, {"members", copies.view.members.size()}, {"needed", copies.view.needed()},
                            {"owed", owed_by_node(copies)}, {"trouble", copies.trouble}, {"learners", copies.learners}};
        if (!my.ready)
          status["copies"]["stands_by"] = my.not_ready_why;
      }
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

void add_origin_routes(http::server& server, const origin_actor& origin, std::shared_ptr<origin::segment_store> store, const std::string& token, const origin_options& options,
                       std::shared_ptr<const viewing::gate> gate, segment_fetch fetch, std::shared_ptr<origin::part_shelf> shelf) {
  http::route_options writers;
  writers.deadline = std::max<std::chrono::milliseconds>(10s, options.write_deadline + 2s); // the ORIGIN answers in time itself; this is for when it cannot
  writers.guard = [token](const http::request& r) -> std::optional<http::response> {
    auto given = http::bearer_token(r);
    if (given && constant_time_equal(*given, token))
      return std::nullopt;
    return http::problem_response({error_code::unauthorized, "writing to the origin needs its token"}, r.id);
  };

  server.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}", writers, [=](const http::request& r, http::responder answer) {
    auto epoch = epoch_of(r);
    auto body = describe::from_json<writer_body>(r.body());
    if (!epoch || !body)
      return void(answer.fail(!epoch ? epoch.error() : body.error()));
    std::vector<std::shared_ptr<const std::string>> maps;
    for (auto& text : body->maps) {
      auto bytes = from_base64(text);
      if (!bytes)
        return void(answer.fail(error{error_code::invalid_input, bytes.error().in("maps").text}));
      maps.push_back(std::make_shared<const std::string>(std::move(*bytes)));
    }
    tell_anon(origin, writer_hello{std::string(r.param("stream")), *epoch, body->publication, body->profile, body->rungs, body->standby, finish(answer), std::move(maps), body->part});
  });

  writers.body_limit = largest_part;
  server.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/parts", writers, take_offer<part_offer>(origin, "Weir-Part", "part"));

  writers.body_limit = static_cast<std::size_t>(options.upload_limit.bytes);
  server.route("PUT", "/origin/v1/streams/{stream}/writers/{epoch}/segments", writers, take_offer<segment_offer>(origin, "Weir-Segment", "segment"));

  http::route_options readers;
  readers.cors = true;
  // A disk that does not answer must hold up nobody else of this node.
  auto disk = std::make_shared<origin::disk_crew>(reading_threads, reads_waiting);
  auto read = [store, fetch, disk, gate, shelf](const http::request& r, http::responder answer) {
    const auto at = viewing::split(r.path);
    auto address = hls::parse_segment_path(at.path);
    if (!address)
      return void(answer.fail(address.error()));
    // An edge has judged the token before. Whoever comes here past the edges, or without one, has to show it all the same.
    if (auto verdict = gate->judge(address->stream, at.token, std::chrono::system_clock::now(), viewing::origin_grace); verdict == viewing::verdict::unheard)
      return void(answer(http::text_response(503, std::string(viewing::words(verdict))).with("Retry-After", "1")));
    else if (!viewing::admits(verdict))
      return void(answer(http::text_response(403, std::string(viewing::words(verdict))).with("Cache-Control", "no-store")));
    auto show = [answer, etag = fmt::format("\"{}-{}\"", address->epoch, hls::segment_name(address->kind, address->msn, address->part)),
                 wish = http::conditions{std::string(r.header("If-None-Match").value_or("")), std::string(r.header("Range").value_or("")), std::string(r.header("If-Range").value_or(""))}](http::response page) {
      // The name holds the writer's epoch and a number that never comes again: what it names can never change.
      page.with("Cache-Control", "public, max-age=43200, immutable").with("ETag", etag);
      http::apply_conditions(wish, page);
      answer(std::move(page));
    };
    const std::string type(hls::media_type(address->kind));
    if (address->kind == hls::segment_kind::part) {
      if (!shelf)
        return void(answer.fail({error_code::not_found, "this origin has no parts"}));
      return shelf->get({std::string(address->stream), {address->instance, address->epoch, std::string(address->rung), address->msn, address->part}}, steady_clock::now(),
                        [answer, show, type](expected<origin::part_shelf::bytes_ptr> got) { got ? show(http::shared_response(std::move(*got), type)) : void(answer.fail(got.error())); });
    }
    origin::segment_id wanted{std::string(address->stream), {address->instance, address->epoch, std::string(address->rung), address->msn, address->kind}};
    auto elsewhere = [fetch, answer, show, type](const origin::segment_id& segment) {
      fetch(segment, [answer, show, type](expected<std::shared_ptr<const std::string>> got) {
        if (got)
          return show(http::shared_response(std::move(*got), type));
        if (got.error().code != error_code::not_found) // which anybody can ask for
          log::warn("origin", "segment-not-read", "error={}", got.error().text);
        answer.fail(for_viewers(got.error()));
      });
    };
    if (!store)
      return elsewhere(wanted);
    const bool taken = disk->run([store, elsewhere, here_only = !fetch, answer, show, type, wanted = std::move(wanted)] {
      auto file = store->open(wanted.stream, wanted.place);
      if (file)
        return show(file->bytes ? http::shared_response(file->bytes, type)
                                : http::file_response(std::make_shared<http::open_file>(file->fd.release(), file->size), type));
      if (here_only || file.error().code != error_code::not_found)
        return void(answer.fail(file.error()));
      elsewhere(wanted);
    });
    if (!taken)
      answer.fail({error_code::unavailable, "the origin's disk does not answer: too much waits for it"});
  };
  server.route("GET", "/s/{rest...}", readers, read);
  server.route("GET", "/t/{token}/s/{rest...}", readers, read);
}

} // namespace weir
