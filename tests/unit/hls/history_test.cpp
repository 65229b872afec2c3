// Random lives of a stream: segments lost, late, doubled; writers, publications, ladders and profiles that change; sources that go;
// origins that are killed. Whatever happens, numbers never step back and every playlist passes the linter.
#include "tests/unit/hls/writer.hpp"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

namespace weir::hls {
namespace {

const std::vector<viewer_key> viewers{{0, 1, false}, {0, 1, true}, {17, 3, false}, {1023, 9, false}, {17, 3, true, {}, false, 4}, {5, 1, false, {}, false, 0}};

/// The low rung is in all of them.
const std::vector<std::vector<rung_info>> ladders{
  two_rungs(), {two_rungs()[0], make_rung("480p", 480, 1'500'000), two_rungs()[1]}, {two_rungs()[1]}, {make_rung("480p", 480, 1'500'000), two_rungs()[1]}};

struct life {
  segment_log log{"show"};
  timestamp now = start_time;
  edge_epoch edges = 1;
  lease_epoch epoch = 1;
  int publication = 1;
  std::uint64_t slot = 50;
  std::map<std::uint64_t, std::unique_ptr<linter>> linters; ///< by instance: another one has other addresses
  stream_log before;
  std::map<std::pair<std::string, std::uint64_t>, std::string> addresses; ///< (viewer + rung + instance, MSN)
  std::set<std::tuple<std::uint64_t, lease_epoch, std::string, std::uint64_t>> stored; ///< segments, where they were said to belong: instance, writer, rung, MSN
  std::map<std::string, int> forgotten; ///< rungs, how often: their playlists are gone for good to whoever had them
  std::size_t ladder = 0;
  hls_timing timing = timing_of(hls_profile::quick);

  bool fragments; ///< of MP4; every third writer or so has other maps than the one before

  explicit life(bool in_mp4) : fragments(in_mp4) { begin(); }
  void begin() {
    auto begun = log.begin_writer(epoch, fmt::format("pub{}", publication), ladders[ladder], timing, false, fragments ? fmt::format("m{}.{}", epoch / 3, ladder) : "");
    RC_ASSERT(begun.has_value());
  }
  void pass(std::chrono::milliseconds time) {
    for (auto end = now + time; now < end;) {
      now = std::min(now + 1s, end);
      log.tick(edges, now);
      look();
    }
  }
  void offer(std::string rung, std::uint64_t n, std::chrono::milliseconds duration) {
    auto segment = make_segment(std::move(rung), n, now - duration, duration);
    segment.first_pts = static_cast<std::int64_t>(n * static_cast<std::uint64_t>(timing.target.count()) * 90); // may wrap for nonsense
    auto place = log.locate(epoch, segment, now);
    if (place && log.lacks_maps(epoch, place->instance))
      log.maps_stored(epoch, place->instance);
    if (log.offer(epoch, segment, edges, now) == offer_result::accepted)
      stored.insert({place.value().instance, epoch, segment.rung, place.value().msn});
  }
  /// The next slot of all rungs, but for the low one where it is said.
  void offer_next(std::chrono::milliseconds duration, bool low = true) {
    for (auto& r : ladders[ladder])
      if (low || &r != &ladders[ladder].back())
        offer(r.name, slot, duration);
  }
  void live_slot() {
    pass(timing.target);
    offer_next(timing.target);
    ++slot;
  }
  void forget_rungs_that_are_gone(const stream_log& s) {
    for (auto& was : before.rungs)
      if (std::none_of(s.rungs.begin(), s.rungs.end(), [&](auto& r) { return r.info.name == was.info.name; }))
        ++forgotten[was.info.name];
  }

  void look() {
    auto s = log.snapshot();
    RC_ASSERT(s.instance >= before.instance);
    RC_ASSERT(log.next_msn() >= (before.entries.empty() ? 0 : before.entries.back().msn + 1));
    if (!s.entries.empty()) {
      if (!before.entries.empty()) {
        RC_ASSERT(s.entries.back().msn >= before.entries.back().msn);
        RC_ASSERT(s.entries.back().dsn >= before.entries.back().dsn);
        RC_ASSERT(s.entries.back().time >= before.entries.back().time);
      }
      forget_rungs_that_are_gone(s);
      auto& lint = linters[s.instance];
      if (!lint) {
        lint = std::make_unique<linter>();
        for (auto& v : viewers)
          lint->multivariant("m", multivariant(s, v).value_or(""));
      }
      for (auto& v : viewers)
        for (std::size_t rung = 0; rung < s.rungs.size(); ++rung) {
          auto url = path_of(playlist_address{v, "show", s.instance, s.rungs[rung].info.name});
          auto text = render(s, rung, v);
          lint->media(fmt::format("{}?{}", url, forgotten[s.rungs[rung].info.name]), text, now);
          auto parsed = parse_media_playlist(text).value();
          for (auto& e : parsed.entries) {
            auto [known, added] = addresses.try_emplace({url, e.msn}, e.uri);
            RC_ASSERT(known->second == e.uri);
          }
        }
      for (auto& e : s.entries)
        for (std::size_t rung = 0; rung < s.rungs.size(); ++rung) {
          auto& name = s.rungs[rung].info.name;
          RC_ASSERT(e.gap(rung) || stored.contains({s.instance, e.epoch, name, e.msn}));
          RC_ASSERT(e.map == 0 || e.gap(rung) || log.knows({s.instance, e.map, name, 0, segment_kind::map}));
        }
      if (!lint->findings().empty())
        RC_FAIL(show(lint->findings()));
      before = s;
    }
    for (auto& gone : log.take_expired(now))
      for (auto& e : s.entries)
        RC_ASSERT(gone.instance != s.instance || (gone.kind == segment_kind::map ? gone.epoch != e.map : gone.msn != e.msn || gone.epoch != e.epoch));
  }
};

RC_GTEST_PROP(SegmentLogHistory, NeverStepsBackAndAlwaysPassesTheLinter, ()) {
  life l(*rc::gen::arbitrary<bool>());
  l.slot = *rc::gen::inRange<std::uint64_t>(0, 100'000);
  for (int n = 0; n < 4; ++n) {
    l.live_slot();
    l.look();
  }
  auto steps = *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 23));
  for (auto step : steps) {
    switch (step) {
      case 0: // the low rung is missing
        l.pass(l.timing.target);
        l.offer_next(l.timing.target, false);
        ++l.slot;
        break;
      case 1: // it comes late
        l.pass(l.timing.target);
        l.offer_next(l.timing.target, false);
        l.pass(l.timing.target * 5 / 8);
        l.offer("360p", l.slot++, l.timing.target);
        break;
      case 2: // a slot is missing altogether
        l.pass(l.timing.target);
        ++l.slot;
        break;
      case 3: // another writer of the same publication
        ++l.epoch;
        l.begin();
        break;
      case 4: // the encoder reconnects
        ++l.epoch;
        ++l.publication;
        l.slot = *rc::gen::inRange<std::uint64_t>(0, 100'000);
        l.begin();
        l.pass(5s);
        break;
      case 5: // the origin is killed and starts again
        if (auto back = segment_log::from_json(l.log.to_json()))
          l.log = std::move(*back);
        else
          RC_FAIL(back.error().text);
        break;
      case 6:
        l.log.source_lost(l.now);
        l.pass(std::chrono::seconds(*rc::gen::inRange(1, 45)));
        l.log.source_back();
        break;
      case 7: // the true end, then a new broadcast
        l.log.end(l.edges, l.now);
        l.look();
        ++l.epoch;
        ++l.publication;
        l.fragments = *rc::gen::arbitrary<bool>();
        l.begin();
        break;
      case 8: ++l.edges; break;
      case 13: l.log.use_width(*rc::gen::inRange<std::uint32_t>(0, 6)); break;
      case 9: // nonsense
        l.offer("360p", *rc::gen::arbitrary<std::uint64_t>(), std::chrono::milliseconds(*rc::gen::inRange(-5000, 9000)));
        break;
      case 10: // the same again
        l.offer("360p", l.slot > 0 ? l.slot - 1 : 0, l.timing.target);
        break;
      case 11: // a pause of the publisher
        l.pass(std::chrono::seconds(*rc::gen::inRange(1, 30)));
        break;
      case 12: // a short first segment of a new writer
        ++l.epoch;
        l.begin();
        l.pass(l.timing.target / 2);
        l.offer_next(l.timing.target / 2);
        ++l.slot;
        break;
      case 14: // another ladder
        ++l.epoch;
        l.ladder = *rc::gen::inRange<std::size_t>(0, ladders.size());
        l.begin();
        break;
      case 15: // another profile
        ++l.epoch;
        l.timing = timing_of(l.timing.target == 4s ? hls_profile::brief : hls_profile::quick);
        l.begin();
        break;
      default: l.live_slot();
    }
    l.look();
  }
}

} // namespace
} // namespace weir::hls
