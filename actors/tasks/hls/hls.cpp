// HLS: transcodes the stream into a ladder and gives the segments to the origin.
#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "actors/transcoder.hpp"
#include "runtime/base/log.hpp"
#include "runtime/http/client.hpp"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>

namespace weir::tasks::hls {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t queue_limit = 64;    ///< segments that wait for the origin
constexpr std::size_t uploads_at_once = 4;
constexpr std::size_t parts_at_once = 16;
constexpr auto drain_patience = 3s;        ///< for the last segments after the engine ended
constexpr std::chrono::milliseconds shortest_patience = 12s; ///< with a segment that nobody takes: another origin may have to take over first

/// What happens while the machine is too slow for the ladder.
enum class overload_answer : std::uint8_t { move, drop_rung };
constexpr auto enum_names(overload_answer) {
  return std::array{std::pair{overload_answer::move, std::string_view("move")}, std::pair{overload_answer::drop_rung, std::string_view("drop_rung")}};
}

struct options {
  static constexpr bool needs_origin = true;

  std::string ladder = "default";
  hls_profile profile = hls_profile::standard;
  bool standby = false;
  overload_answer on_overload = overload_answer::move;
  media::media_container container = media::media_container::ts;
  std::chrono::milliseconds part = 1s;
  media::audio_packing audio = media::audio_packing::muxed;
  std::string language;

  static constexpr auto fields() {
    return std::tuple{
      field("ladder", &options::ladder, {1, 64}, "Name of the ladder: default, economy, low, or one of the node's own."),
      field("profile", &options::profile,
            "Timing: standard (6 s segments), quick (4 s), short (2 s) or low_latency (4 s, in parts that players get while the segment is made)."),
      field("standby", &options::standby,
            "A second encoder on another node makes the same segments; the origin goes on with its own when the first one's stop.", cosmetic),
      field("on_overload", &options::on_overload,
            "While the machine is too slow: move (to a node with room; without one, pictures are left out) or drop_rung (the top rung is left out, and comes back "
            "later)."),
      field("container", &options::container,
            "What segments are: ts (MPEG-TS, for every player) or fmp4 (fragmented MP4: fewer bytes). Another one begins the playlist anew. With low_latency always fmp4."),
      field("part", &options::part, {200ms, 2s}, "With low_latency: no part of a segment is longer. Players stay three parts behind."),
      field("audio", &options::audio,
            "Where the sound is: muxed (in each rung) or separate (once, as a rendition of its own that all rungs share; silence stands for what is missing of it). "
            "Another one begins the playlist anew."),
      field("language", &options::language, {0, 35}, "With separate sound: the language that players are told, as a BCP 47 tag such as de or pt-BR. Empty: none."),
    };
  }

  std::vector<complaint> check() const {
    if (!is_language(language))
      return {complaint{"language", "is not a language tag (write it like de or pt-BR)"}};
    return {};
  }

  std::int64_t cost_milli() const { return ladder == "low" ? 400 : ladder == "economy" ? 900 : 1500; } ///< measured: media.md 2
  bool low_latency() const { return profile == hls_profile::low_latency; }
  bool moves() const { return on_overload == overload_answer::move; }
};

struct upload {
  std::uint32_t writer = 0;
  segment_info info;
  std::shared_ptr<const int> memory_file;
  bool under_way = false;
  std::uint32_t tries = 0;
  caf::actor_clock::time_point born{};
  http::client::request_id request = 0; ///< while it is under way
};

/// A part is of use while its segment is made: it has one try.
struct part_upload {
  std::uint32_t writer = 0;
  part_info info;
  std::shared_ptr<const int> memory_file;
  bool under_way = false;
  caf::actor_clock::time_point born{};
  http::client::request_id request = 0;
};

struct state {
  state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "task-hls";
  transcoder_actor engine;
  task_report last;
  std::string origin_url, origin_token;
  std::uint32_t origins = 0;             ///< how many were delivered to before this one
  std::uint64_t moved = 0;               ///< segments that were on their way to a former one
  std::map<std::uint64_t, upload> queue; ///< ticket → segment, oldest first
  std::uint64_t tickets = 0;
  std::uint32_t run = 0;                 ///< of the engine
  std::uint32_t writer = 0;              ///< grows with each start of the engine, and each time that other rungs begin
  std::uint32_t announced = 0;           ///< the writer that the origin knows
  std::uint32_t announcing = 0;
  http::client::request_id announcement = 0;
  std::map<std::uint32_t, std::vector<rung_info>> rungs; ///< by writer
  std::map<std::uint32_t, std::vector<std::string>> maps; ///< by writer, by rung, base64; none: MPEG-TS
  std::map<std::uint32_t, std::chrono::milliseconds> part_targets; ///< by writer; 0: it makes no parts
  std::map<std::uint64_t, part_upload> parts; ///< ticket → part, oldest first
  std::uint64_t delivered = 0;
  std::uint64_t lost = 0;
  std::uint64_t parts_delivered = 0;
  std::uint64_t parts_lost = 0;
  task_phase engine_phase = task_phase::starting;
  bool in_charge = true;                 ///< false: a second run whose parts the origin does not take yet
  bool follows = true;                   ///< false: a second run that could not go on yet in the place of the first
  std::pair<std::uint64_t, std::set<std::string>> whole; ///< the newest slot of which the origin has a whole segment, and in which rungs
  std::optional<std::chrono::milliseconds> late; ///< that slot's last segment
  bool engine_ended = false;
  bool stop_ordered = false;
  bool fenced = false;
  caf::actor_clock::time_point drain_by{};
};

/// Whether it is a whole segment: the first one is not, within which an encoder began.
bool is_whole(const segment_info& s, std::chrono::milliseconds target) { return s.duration >= target.count() * 81; }
/// How long after its last frame was captured the origin has it.
std::chrono::milliseconds lateness(const segment_info& s, timestamp now) {
  return std::chrono::floor<std::chrono::milliseconds>(now - s.captured) - std::chrono::milliseconds(s.duration / 90);
}

/// Grows with every writer under every lease, so that the origin can tell an old one from a new one.
std::uint64_t writer_epoch(const task_order& order, std::uint32_t writer) { return order.epoch << 16 | (writer & 0xffff); }

task_runner_actor::behavior_type run(task_runner_actor::stateful_pointer<state> self, node_actor node, task_order order, options wanted, runner_tools tools) {
  auto& my = self->state;
  auto started = self->clock().now();
  auto me = task_runner_actor{self};
  auto timing = timing_of(wanted.profile);
  my.follows = my.in_charge = !order.standby;
  my.last = {.task = order.task, .epoch = order.epoch, .phase = task_phase::starting, .attempts = 0, .cause = end_cause::none, .text = {}, .progress = {}, .log_tail = {},
             .ended = false};

  auto ladder = std::ranges::find(tools.ladders, wanted.ladder, &ladder_spec::name);
  if (ladder == tools.ladders.end()) {
    my.last.phase = task_phase::failed;
    my.last.cause = end_cause::bad_options;
    my.last.text = fmt::format("this node has no ladder {:?}", wanted.ladder);
    my.last.ended = true;
    tell(self, node, my.last);
    self->quit(caf::exit_reason::user_shutdown);
    return task_runner_actor::behavior_type::make_empty_behavior();
  }
  engine_plan plan;
  plan.what.kind = media::pipeline_kind::hls;
  plan.what.input_url = order.input_url;
  plan.what.more_inputs = order.more_inputs;
  plan.what.gop = timing.gop;
  plan.what.segment = timing.target;
  plan.what.ladder = *ladder;
  plan.what.container = wanted.low_latency() ? media::media_container::fmp4 : wanted.container;
  plan.what.part = wanted.low_latency() ? wanted.part : 0ms;
  plan.what.audio = wanted.audio;
  // Not of a standby: the origin takes one with fewer rungs for a writer of its own, which would end the better one. A first run whose standby keeps up
  // does not go on with fewer either: the origin answers its new writer that the standby has taken over.
  plan.what.leave_out_rungs = wanted.on_overload == overload_answer::drop_rung && !order.standby;
  plan.label = order.task.value;
  plan.program = tools.program;
  plan.retry = tools.retry;
  plan.niceness = tools.niceness;
  my.engine = self->spawn<caf::linked>(transcoder, std::move(plan), engine_owner_actor{me});

  my.origin_url = order.origin_url;
  my.origin_token = order.origin_token;
  auto base = [=, &my] { return fmt::format("{}/origin/v1/streams/{}/writers/", my.origin_url, order.stream_name); };
  auto finish = [=, &my] {
    if (!my.engine_ended || (!my.queue.empty() && !my.fenced && self->clock().now() < my.drain_by))
      return;
    if (!my.queue.empty())
      log::warn("task-hls", "segments-undelivered", "task={} count={}", order.task.value, my.queue.size());
    my.last.ended = true;
    if (my.fenced) {
      my.last.cause = end_cause::fenced;
      my.last.text = "a newer writer has taken over";
    }
    tell(self, node, my.last);
    self->quit(caf::exit_reason::user_shutdown);
  };
  // Whoever waits for a second run, to end the first, hears of it when it can go on in its place.
  auto phase_now = [&my] { return my.engine_phase == task_phase::running && !my.follows ? task_phase::starting : my.engine_phase; };
  auto note_whole = [=, &my](const upload& u) {
    if (my.follows || u.writer != my.announced || !is_whole(u.info, timing.target) || u.info.slot < my.whole.first)
      return;
    if (u.info.slot != my.whole.first)
      my.whole = {u.info.slot, {}};
    my.whole.second.insert(u.info.rung);
    if (my.whole.second.size() < my.rungs[u.writer].size())
      return;
    // It starts with what the RTMP server had kept for it. As soon as the other one is, it may never be on a busy machine; but it does not get any sooner then.
    const auto late = lateness(u.info, std::chrono::system_clock::now());
    const bool catches_up = late > timing.target / 2 && (!my.late || late < *my.late - timing.target / 20);
    my.late = late;
    if (catches_up)
      return;
    my.follows = true;
    my.last.phase = phase_now();
    tell(self, node, my.last);
  };
  // The answer comes on the client's thread and becomes a message.
  auto send = [=, &my](http::client_request request, std::uint32_t writer, std::uint64_t ticket, std::shared_ptr<const int> file = nullptr) {
    request.headers.add("Authorization", "Bearer " + my.origin_token);
    request.deadline = std::chrono::milliseconds(timing.target) * 2;
    return tools.http->send(std::move(request), [weak = caf::actor_cast<caf::actor_addr>(me), writer, ticket, file, origin = my.origins](expected<http::client_response> answer) { // `file` stays open until now
      auto strong = caf::actor_cast<task_runner_actor>(caf::actor_cast<caf::strong_actor_ptr>(weak));
      tell_anon(strong, answer ? upload_result{writer, ticket, answer->status, answer->body, origin} : upload_result{writer, ticket, 0, answer.error().text, origin});
    });
  };
  // A segment or a part: what it is stands in that field.
  auto put = [=](std::string_view where, std::string_view type, std::string_view field, const auto& u, std::uint64_t ticket) {
    http::client_request request;
    request.method = "PUT";
    request.url = base() + fmt::format("{}/{}", writer_epoch(order, u.writer), where);
    request.headers.add("Content-Type", std::string(type));
    request.headers.add(std::string(field), describe::to_json(u.info));
    if constexpr (std::is_same_v<std::decay_t<decltype(u.info)>, segment_info>)
      if (!u.info.keys.empty()) // beside the others: an origin of before key frames takes the segment all the same
        request.headers.add("Weir-Key-Frames", describe::to_json(key_frame_list{u.info.keys}));
    request.body = http::fd_body{*u.memory_file, u.info.bytes};
    return send(std::move(request), u.writer, ticket, u.memory_file);
  };
  auto announce = [=, &my](std::uint32_t writer) {
    my.announcing = writer;
    nlohmann::json rungs = nlohmann::json::array();
    for (auto& r : my.rungs[writer]) {
      rungs.push_back(nlohmann::json::parse(describe::to_json(r)));
      if (!r.rendition) // as an origin of before renditions knows it
        for (auto* name : {"rendition", "language"})
          rungs.back().erase(name);
    }
    http::client_request request;
    request.method = "PUT";
    request.url = base() + std::to_string(writer_epoch(order, writer));
    request.headers.add("Content-Type", "application/json");
    nlohmann::json body{{"publication", order.publication}, {"profile", to_string(wanted.profile)}, {"rungs", rungs}, {"standby", order.standby}};
    if (const auto part = my.part_targets[writer]; part.count() > 0)
      body["part"] = to_string(part);
    if (!my.maps[writer].empty())
      body["maps"] = my.maps[writer];
    request.body = body.dump();
    my.announcement = send(std::move(request), writer, 0);
  };
  auto pump = [=, &my] {
    auto busy = static_cast<std::size_t>(std::ranges::count_if(my.queue, [](auto& u) { return u.second.under_way; }));
    for (auto& [ticket, u] : my.queue) {
      if (busy >= uploads_at_once || my.fenced)
        return;
      if (u.under_way)
        continue;
      if (u.writer != my.announced) { // in order: what was cut by the writer before is delivered as that writer's
        if (u.writer > my.announced && my.announcing != u.writer && busy == 0)
          announce(u.writer);
        if (u.writer > my.announced)
          return;
      }
      u.under_way = true;
      ++u.tries;
      ++busy;
      u.request = put("segments", my.maps[u.writer].empty() ? "video/mp2t" : "video/iso.segment", "Weir-Segment", u, ticket);
    }
  };

  auto pump_parts = [=, &my] {
    auto busy = static_cast<std::size_t>(std::ranges::count_if(my.parts, [](auto& p) { return p.second.under_way; }));
    for (auto next = my.parts.begin(); next != my.parts.end();) {
      auto& [ticket, p] = *next;
      if (!p.under_way && (my.fenced || p.writer != my.announced || self->clock().now() - p.born > timing.target)) {
        ++my.parts_lost;
        next = my.parts.erase(next);
        continue;
      }
      if (!p.under_way && busy < parts_at_once) {
        p.under_way = true;
        ++busy;
        p.request = put("parts", "video/iso.segment", "Weir-Part", p, ticket);
      }
      ++next;
    }
  };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    if (my.engine.address() != who)
      return false;
    if (!my.engine_ended) // it died: so do we, and NODE reports it
      self->quit(why ? why : caf::error{caf::exit_reason::unhandled_exception});
    return true;
  });
  return {
    [=, &my](engine_rungs& news) {
      // Other rungs are another writer (hls.md 5): the origin refuses them of one that it knows, and sets the discontinuity at the first segment of the next.
      // So are other maps: those of one writer never change, for their addresses are its. What the rungs before have cut has all come.
      for (auto& r : news.rungs)
        if (r.rendition)
          r.language = wanted.language;
      auto& known = my.rungs[my.writer];
      if (news.run != my.run || !std::ranges::is_permutation(news.rungs, known, {}, &rung_info::name, &rung_info::name) || news.maps != my.maps[my.writer] ||
          news.part != my.part_targets[my.writer]) {
        my.run = news.run;
        ++my.writer;
        // Of a writer all of whose segments are delivered nobody asks any more.
        const auto oldest = my.queue.empty() ? my.writer : my.queue.begin()->second.writer;
        my.rungs.erase(my.rungs.begin(), my.rungs.lower_bound(oldest));
        my.maps.erase(my.maps.begin(), my.maps.lower_bound(oldest));
        my.part_targets.erase(my.part_targets.begin(), my.part_targets.lower_bound(oldest));
      }
      my.rungs[my.writer] = std::move(news.rungs);
      my.maps[my.writer] = std::move(news.maps);
      my.part_targets[my.writer] = news.part;
      if (my.writer == my.announced) // sound has come, say
        my.announced = 0;
      pump();
    },
    [=, &my](engine_segment& segment) {
      if (my.queue.size() >= queue_limit) {
        auto oldest = std::ranges::find_if(my.queue, [](auto& u) { return !u.second.under_way; });
        if (oldest != my.queue.end()) {
          my.queue.erase(oldest);
          ++my.lost;
          log::warn("task-hls", "segment-dropped", "task={} reason={}", order.task.value, "the origin takes nothing");
        }
      }
      my.queue.emplace(++my.tickets, upload{my.writer, segment.info, segment.memory_file, false, 0, self->clock().now()});
      pump();
    },
    [=, &my](engine_part& part) {
      // Of a second run the origin takes no parts until it goes on in the place of the first. When that is, the first part of a segment tells.
      if (!my.in_charge && (part.info.part != 0 || my.rungs[my.writer].empty() || part.info.rung != my.rungs[my.writer].front().name))
        return;
      my.parts.emplace(++my.tickets, part_upload{my.writer, std::move(part.info), std::move(part.memory_file), false, self->clock().now()});
      pump_parts();
    },
    [=, &my](engine_report& news) {
      my.engine_phase = news.phase;
      my.last.phase = phase_now();
      my.last.attempts = news.run;
      my.last.cause = news.cause;
      my.last.text = std::move(news.text);
      my.last.progress = news.progress;
      my.last.log_tail = std::move(news.log_tail);
      if (news.ended) {
        my.engine_ended = true;
        my.drain_by = self->clock().now() + drain_patience;
        tell_after(self, drain_patience, me, upload_result{});
        return finish();
      }
      tell(self, node, my.last);
    },
    [=, &my](const engine_retry& retry) { tell(self, my.engine, retry); },
    [=, &my](const use_inputs& news) { tell(self, my.engine, news); },
    [=, &my](const use_origin& news) {
      if (news.url == my.origin_url && news.token == my.origin_token)
        return;
      log::info("task-hls", "origin-changed", "task={} origin={} waiting={}", order.task.value, news.url, my.queue.size());
      my.origin_url = news.url;
      my.origin_token = news.token;
      ++my.origins; // what a former one still answers counts no longer: it may not be safe
      if (my.announcing != 0)
        tools.http->cancel(my.announcement);
      my.announced = my.announcing = 0;
      for (auto& [ticket, u] : my.queue)
        if (std::exchange(u.under_way, false)) {
          tools.http->cancel(u.request);
          ++my.moved;
        }
      for (auto& [ticket, p] : my.parts)
        if (p.under_way)
          tools.http->cancel(p.request);
      my.parts_lost += my.parts.size();
      my.parts.clear();
      pump();
    },
    [=, &my](const upload_result& result) {
      if (result.origin != my.origins && (result.run != 0 || result.ticket != 0)) // else it is only time to try again
        return;
      bool good = result.status >= 200 && result.status < 300;
      if (result.status == 409 && result.text.find("\"fenced\"") != std::string::npos) {
        log::warn("task-hls", "fenced", "task={} epoch={}", order.task.value, order.epoch);
        my.fenced = true;
        tell(self, my.engine, stop{});
      } else if (result.ticket == 0 && result.run != 0) {
        my.announcing = 0;
        if (good)
          my.announced = result.run;
        else {
          log::warn("task-hls", "writer-refused", "task={} writer_epoch={} status={} text={}", order.task.value, writer_epoch(order, result.run), result.status, result.text);
          tell_after(self, 200ms, me, upload_result{});
          return;
        }
      } else if (my.parts.erase(result.ticket) > 0) {
        if (good || my.in_charge)
          ++(good ? my.parts_delivered : my.parts_lost);
        my.in_charge = my.in_charge || good;
        return pump_parts();
      } else if (auto u = my.queue.find(result.ticket); u != my.queue.end()) {
        u->second.under_way = false;
        const bool ended_there = result.text.find("\"source-ended\"") != std::string::npos && !my.stop_ordered;
        // What the origin refuses by content it will refuse again; what it could not answer is worth another try while a player could still want it.
        // 504: the origin has made a gap of it.
        bool hopeless = result.status == 504 || (result.status >= 400 && result.status < 500 && result.status != 404 && result.status != 429) ||
                        self->clock().now() - u->second.born > std::max<std::chrono::milliseconds>(timing.target * 2, shortest_patience);
        if (good || hopeless) {
          good ? ++my.delivered : ++my.lost;
          if (good)
            note_whole(u->second);
          else
            log::warn("task-hls", "segment-lost", "task={} rung={} slot={} status={} text={}", order.task.value, u->second.info.rung, u->second.info.slot, result.status, result.text);
          my.queue.erase(u);
        } else {
          if (result.status == 404 || ended_there) // the origin does not know this writer (any more), or its playlist has ended although we go on
            my.announced = 0;
          tell_after(self, 200ms, me, upload_result{});
          return finish();
        }
      }
      pump();
      finish();
    },
    [=, &my](const stop& order_to_stop) {
      my.stop_ordered = true;
      tell(self, my.engine, order_to_stop);
    },
    [=, &my](const ask_status&) {
      nlohmann::json status{{"phase", to_string(my.last.phase)}, {"waiting", my.queue.size()}, {"delivered", my.delivered}, {"lost", my.lost}, {"origin", my.origin_url}, {"moved", my.moved}, {"run", my.last.attempts}};
      if (wanted.low_latency())
        status.update({{"parts_delivered", my.parts_delivered}, {"parts_lost", my.parts_lost}});
      return report_of(self, "run/" + order.task.value, status, started, {caf::actor_cast<caf::actor>(my.engine)});
    },
  };
}

} // namespace

WEIR_TASK_TYPE(hls, options, run, "Transcodes the stream into a ladder of renditions and publishes it as HLS.")

} // namespace weir::tasks::hls
