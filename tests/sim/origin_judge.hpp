#pragma once
// The origin of the simulation: a real segment_log for each stream, fenced as actors/origin.cpp does it, and what must hold of whatever it takes.
#include "runtime/hls/segment_log.hpp"
#include "tests/sim/world.hpp"

namespace weir::testing {

/// The simulation's clock as people read it.
inline timestamp wall(time_point t) { return timestamp{} + std::chrono::hours(24 * 365 * 50) + std::chrono::duration_cast<timestamp::duration>(t.time_since_epoch()); }

class origin_judge {
public:
  struct listed {
    hls::log_entry entry;
    time_point at{};    ///< when viewers first saw it
    bool gap = false;   ///< in a rung that they were offered then
  };
  struct kept {
    hls::segment_log log;
    lease_epoch highest = 0;    ///< writer that was ever in charge
    std::uint64_t instance = 0; ///< that viewers have seen last
    std::uint64_t next_msn = 0; ///< after the last one that they have seen
    std::uint64_t dsn = 0;
    std::map<std::uint64_t, listed> shown; ///< by MSN, those that are listed now
    std::map<lease_epoch, bool> writers;   ///< announced → as a standby
  };
  std::map<std::string, kept> streams;
  std::map<lease_epoch, node_name> writers; ///< lease → whose segments were accepted under it
  std::uint64_t accepted = 0, fenced = 0;

  explicit origin_judge(world& all) : all_(all) {}

  expected<void> announce(const std::string& stream, lease_epoch writer, const std::string& publication, std::vector<rung_info> rungs, hls_timing timing, bool standby) {
    auto& one = streams.try_emplace(stream, kept{.log = hls::segment_log(stream)}).first->second;
    auto done = one.log.begin_writer(writer, publication, std::move(rungs), timing, standby);
    if (done)
      one.writers[writer] = standby;
    else
      fenced += done.error().code == error_code::fenced;
    return done;
  }

  expected<void> take(const std::string& stream, lease_epoch writer, const node_name& from, const segment_info& segment) {
    auto known = streams.find(stream);
    if (known == streams.end())
      return fail(hls::refusal(hls::offer_result::unknown_writer, segment.rung, segment.slot));
    auto& one = known->second;
    const auto now = wall(all_.now());
    auto place = one.log.locate(writer, segment, now);
    hls::log_change change;
    auto result = one.log.offer(writer, segment, 1, now, &change);
    if (place.has_value() != (result == hls::offer_result::accepted))
      all_.breach(fmt::format("the origin located a segment of writer {:x} on {} and then answered {}", writer, from.value, to_string(result)));
    if (result == hls::offer_result::accepted)
      judge(stream, one, writer, from);
    look(one, change);
    if (result == hls::offer_result::accepted || result == hls::offer_result::duplicate)
      return {};
    fenced += result == hls::offer_result::fenced;
    return fail(hls::refusal(result, segment.rung, segment.slot));
  }

  void tick() {
    for (auto& [stream, one] : streams) {
      look(one, one.log.tick(1, wall(all_.now())));
      (void)one.log.take_expired(wall(all_.now()));
    }
  }
  void hear(const stream_notice& news) {
    auto known = streams.find(news.stream);
    if (known == streams.end())
      return;
    auto& one = known->second;
    if (news.over && !one.log.ended())
      look(one, one.log.end(1, wall(all_.now())));
    else if (news.phase == stream_phase::ending)
      one.log.source_lost(wall(all_.now()));
    else if (news.phase == stream_phase::live)
      one.log.source_back();
  }
  /// Its program was started anew: each change was saved before it was shown.
  void restart() {
    for (auto& [stream, one] : streams) {
      auto back = hls::segment_log::from_json(one.log.to_json());
      if (!back) {
        all_.breach(fmt::format("the log of {} cannot be read: {}", stream, back.error().text));
        continue;
      }
      one.log = std::move(*back);
      look(one, {.listed = 1, .changed = true, .ended = false});
    }
  }

private:
  /// A segment was accepted.
  void judge(const std::string& stream, kept& one, lease_epoch writer, const node_name& from) {
    ++accepted;
    const auto lease = writer >> 16;
    if (writer < one.highest)
      all_.breach(fmt::format("{}: a segment of writer {:x} on {} is accepted after writer {:x}", stream, writer, from.value, one.highest));
    // Who stands by is in charge when its segments are listed, everybody else at once.
    auto announced = one.writers.find(writer);
    if ((announced == one.writers.end() || !announced->second) && one.log.epoch() < writer)
      all_.breach(fmt::format("{}: a segment of writer {:x} on {} is accepted, and writer {:x} stays in charge", stream, writer, from.value, one.log.epoch()));
    auto [other, fresh] = writers.try_emplace(lease, from);
    if (other->second != from)
      all_.breach(fmt::format("two writers in one epoch: {} and {} with epoch {} of {}", other->second.value, from.value, lease, stream));
    auto granted = all_.grants.find(lease);
    if (granted == all_.grants.end() || granted->second.node != from)
      all_.breach(fmt::format("{}: a segment of {} is accepted with epoch {}, which was {}", stream, from.value, lease, granted == all_.grants.end() ? "never granted" : "granted to " + granted->second.node.value));
  }
  /// What viewers see now, against what they have seen.
  void look(kept& one, const hls::log_change& change) {
    if (one.log.epoch() < one.highest)
      all_.breach(fmt::format("{}: writer {:x} is in charge after writer {:x}", one.log.stream(), one.log.epoch(), one.highest));
    one.highest = std::max(one.highest, one.log.epoch());
    if (change.listed == 0 && !change.ended)
      return;
    auto seen = one.log.snapshot();
    auto wrong = [&](std::uint64_t msn, std::string_view what) { all_.breach(fmt::format("{}: MSN {} {}", seen.stream, msn, what)); };
    const bool anew = seen.instance != one.instance;
    if (seen.instance < one.instance)
      all_.breach(fmt::format("{}: instance {} comes after instance {}", seen.stream, seen.instance, one.instance));
    const hls::log_entry* former = nullptr;
    for (auto& e : seen.entries) {
      if (former && e.msn != former->msn + 1)
        wrong(e.msn, "does not follow the one before");
      if (former && e.epoch < former->epoch)
        wrong(e.msn, "is of an older writer than the one before");
      former = &e;
      if (e.msn < one.next_msn) {
        if (auto before = one.shown.find(e.msn); before == one.shown.end())
          wrong(e.msn, "comes again");
        else if (auto& b = before->second.entry; b.epoch != e.epoch || b.dsn != e.dsn || b.time != e.time || b.discontinuity != e.discontinuity)
          wrong(e.msn, "changed after it was listed");
        continue;
      }
      if (!anew && !one.shown.empty() && e.msn != one.next_msn)
        wrong(e.msn, "leaves some out");
      if (e.dsn < one.dsn)
        wrong(e.msn, "has a lower DSN than the one before");
      if (!writers.contains(e.epoch >> 16))
        wrong(e.msn, "is of a writer whose segments were never accepted");
      one.next_msn = e.msn + 1;
      one.dsn = e.dsn;
    }
    one.instance = seen.instance;
    std::map<std::uint64_t, listed> shown;
    for (auto& e : seen.entries) {
      auto before = one.shown.find(e.msn);
      if (before != one.shown.end()) {
        shown.emplace(e.msn, listed{e, before->second.at, before->second.gap});
        continue;
      }
      listed fresh{e, all_.now(), false};
      for (std::size_t rung = 0; rung < seen.rungs.size(); ++rung)
        fresh.gap |= seen.rungs[rung].active && e.gap(rung);
      shown.emplace(e.msn, std::move(fresh));
    }
    one.shown = std::move(shown);
  }

  world& all_;
};

} // namespace weir::testing
