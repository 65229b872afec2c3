// Random lives of a low-latency stream: parts and segments of two rungs in any order, lost and late; writers, standbys and edge sets that change; logs that take
// their time to be saved. Whatever happens, no line that viewers have seen changes or is taken back, but as hls.md 3 P4 allows.
#include "runtime/hls/log_news.hpp"

#include <gtest/gtest.h>

#include "tests/unit/hls/part_writer.hpp"

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

namespace weir::hls {
namespace {

/// One media playlist, taken apart line by line.
struct seen_playlist {
  struct segment {
    std::vector<std::string> parts; ///< lines
    std::string date, rest;         ///< rest: of an entry, all lines but that one, parts and maps
    std::string uri;                ///< empty: it is not listed yet
    bool gap = false, discontinuity = false;
    std::int64_t hundredths = 0;    ///< of milliseconds: EXTINF
  };
  std::map<std::uint64_t, segment> segments;
  std::string hint; ///< its URI
  std::string promises; ///< lines: what holds for as long as it is loaded
  std::uint64_t end = 0; ///< MSN behind the last entry
  bool ended = false;
};

std::string uri_in(const std::string& line) {
  auto from = line.find("URI=\"") + 5;
  return line.substr(from, line.find('"', from) - from);
}

std::int64_t number_behind(const std::string& line, char sign) { return std::llround(std::stod(line.substr(line.find(sign) + 1)) * 100'000); }

seen_playlist take_apart(const std::string& text) {
  seen_playlist p;
  std::uint64_t msn = 0;
  for (std::size_t at = 0; at < text.size();) {
    const auto line = text.substr(at, text.find('\n', at) - at);
    at += line.size() + 1;
    auto& s = p.segments[msn];
    if (line.starts_with("#EXT-X-MEDIA-SEQUENCE:")) {
      p.segments.clear();
      msn = std::stoull(line.substr(22));
    } else if (line.starts_with("#EXT-X-PART-INF:") || line.starts_with("#EXT-X-SERVER-CONTROL:") || line.starts_with("#EXT-X-TARGETDURATION:")) {
      p.promises += line + '\n';
    } else if (line.starts_with("#EXT-X-PROGRAM-DATE-TIME:")) {
      s.date = line;
    } else if (line.starts_with("#EXT-X-PART:")) {
      s.parts.push_back(line);
    } else if (line.starts_with("#EXT-X-GAP") || line == "#EXT-X-DISCONTINUITY" || line.starts_with("#EXTINF:")) {
      s.gap = s.gap || line == "#EXT-X-GAP";
      s.discontinuity = s.discontinuity || line == "#EXT-X-DISCONTINUITY";
      s.rest += line + '\n';
      if (line.starts_with("#EXTINF:"))
        s.hundredths = number_behind(line, ':');
    } else if (line.starts_with("http")) {
      s.uri = line;
      s.rest += line;
      p.end = ++msn;
    } else if (line.starts_with("#EXT-X-PRELOAD-HINT")) {
      p.hint = uri_in(line);
    } else if (line == "#EXT-X-ENDLIST") {
      p.ended = true;
    }
  }
  return p;
}

std::string host_of(const std::string& uri) { return uri.substr(0, uri.find("/s/")); }
std::string parent_of(const std::string& uri) { return uri.substr(0, uri.rfind('/')); } ///< names the writer
std::string writer_of(const std::string& uri) { return parent_of(uri).substr(host_of(uri).size()); }
/// "MSN.PART" of the address of a part.
std::string name_of(const std::string& uri) { return uri.substr(uri.rfind('/') + 1); }

struct parts_life {
  struct thing {
    lease_epoch epoch;
    std::uint32_t part; ///< 4: the segment
    std::string rung;
    std::uint64_t slot;
    timestamp born;
    bool discontinuity;
  };
  segment_log log{"show"};
  live_parts parts;
  timestamp now = start_time;
  edge_epoch edges = 1;
  lease_epoch epoch = 0;
  std::uint64_t slot = 10;
  std::optional<lease_epoch> standby;
  std::vector<thing> under_way;
  std::optional<stream_log> saving;
  stream_log shown;
  // What viewers have seen, by rung.
  std::map<std::string, seen_playlist> before;
  std::map<std::string, std::set<std::string>> taken_back;
  std::map<std::string, std::map<std::string, std::string>> promised; ///< name of a part → its URI
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::string> hosts; ///< of whatever was named of a segment, by instance and MSN
  std::pair<std::uint64_t, std::uint64_t> version;
  std::string page;

  parts_life() { begin(false); }
  void begin(bool as_standby) {
    const auto next = std::max(epoch, standby.value_or(0)) + 1;
    auto timing = timing_of(hls_profile::low_latency);
    timing.part = next % 5 == 0 ? 0s : 1s;
    RC_ASSERT(log.begin_writer(next, "pub", two_rungs(), timing, as_standby, fmt::format("m{}", next / 4)).has_value());
    if (log.lacks_maps(next, log.instance()))
      log.maps_stored(next, log.instance());
    if (as_standby) {
      standby = next;
    } else {
      epoch = next;
      standby.reset();
    }
  }
  void make(bool discontinuity) {
    for (std::uint32_t k = 0; k <= 4; ++k)
      for (auto rung : {"720p", "360p"})
        under_way.push_back({epoch, k, rung, slot, now, discontinuity});
    if (standby)
      for (auto rung : {"720p", "360p"})
        under_way.push_back({*standby, 4, rung, slot, now, false});
    ++slot;
  }
  void deliver(std::size_t which, bool lost) {
    if (under_way.empty())
      return;
    auto at = under_way.begin() + static_cast<std::ptrdiff_t>(which % std::min<std::size_t>(under_way.size(), 5));
    const auto t = *at;
    under_way.erase(at);
    if (lost)
      return;
    if (t.part < 4) {
      auto p = make_part(t.rung, t.slot, t.part, t.born);
      p.discontinuity = t.discontinuity;
      auto place = parts.locate(t.epoch, p, log, shown.entries.empty() ? 0 : shown.entries.back().msn + 1);
      if (!place || !*place)
        return;
      parts.enter(**place, p);
      if (!shown.stream.empty()) {
        const auto was = shown.parts_version;
        const bool changed = parts.fill(shown, log, edges, now);
        RC_ASSERT(changed == (shown.parts_version > was));
        look();
      }
    } else {
      auto s = make_segment(t.rung, t.slot, t.born);
      s.discontinuity = t.discontinuity;
      if (auto place = log.locate(t.epoch, s, now); place && log.lacks_maps(t.epoch, place->instance))
        log.maps_stored(t.epoch, place->instance);
      log.offer(t.epoch, s, edges, now);
    }
  }
  void save() {
    if (saving && !saving->entries.empty()) {
      shown = *saving;
      parts.fill(shown, log, edges, now);
      look();
    }
    saving = log.snapshot();
  }
  /// Whether what was said of the segment behind the newest one holds no longer.
  bool broken(const std::string& rung, std::uint64_t msn, const std::string& part) const {
    const auto all = log.snapshot();
    if (all.instance != shown.instance || all.ended)
      return true;
    auto made_by = [&](lease_epoch writer) { return part.find(fmt::format("~{}/{}/", shown.instance, writer)) != std::string::npos; };
    if (msn > all.entries.back().msn)
      return !made_by(log.epoch());
    const auto& entries = msn <= shown.entries.back().msn ? shown.entries : all.entries; // viewers may be behind
    if (msn < entries.front().msn) // what viewers see is a whole window behind: nothing tells any more what became of it
      return true;
    auto& e = entries.at(msn - entries.front().msn);
    bool gap = false;
    for (std::size_t i = 0; i < all.rungs.size(); ++i)
      gap = gap || (e.gap(i) && rung.starts_with(all.rungs[i].info.name + ' '));
    return !made_by(e.epoch) || e.discontinuity || gap;
  }

  void look() {
    RC_ASSERT((std::pair{shown.version, shown.parts_version} >= version));
    log_news news("b");
    news.add(shown);
    const auto told = news.page({}, now);
    auto read = parse_log_page(told);
    if (!read)
      RC_FAIL(read.error().text);
    RC_ASSERT(read->logs.at(0) == shown);
    std::string texts;
    for (std::size_t rung = 0; rung < shown.rungs.size(); ++rung) {
      prepared_playlist prepared(shown, rung);
      auto text = prepared.text(1, [](edge_epoch e, std::uint32_t width) { return std::string_view(width % 2 == 0 ? "http://edge00000000000000000000" : "http://host00000000000000000000").substr(0, 11 + e); });
      texts += text;
      follow(fmt::format("{} of {}", shown.rungs[rung].info.name, shown.instance), take_apart(text), text);
      RC_ASSERT(prepared.reached(prepared.last_msn(), {}));
      const auto last = prepared.last_point();
      RC_ASSERT(last.part < 0 || prepared.reached(last.msn, static_cast<std::uint32_t>(last.part)));
      RC_ASSERT(shown.ended || !prepared.reached(last.msn + 1, {}));
    }
    if (version == std::pair{shown.version, shown.parts_version})
      RC_ASSERT(texts == page);
    version = {shown.version, shown.parts_version};
    page = texts;
  }

  void follow(const std::string& rung, seen_playlist p, const std::string& text) {
    auto& old = before[rung];
    auto& gone = taken_back[rung];
    auto& words = promised[rung];
    auto wrong = [&](std::string_view why, const std::string& what) { RC_FAIL(fmt::format("{}: {}\n{}", why, what, text)); };
    RC_ASSERT(p.end >= old.end);
    if (!old.promises.empty() && p.promises != old.promises)
      wrong("it was promised otherwise", old.promises);
    for (auto& [msn, s] : p.segments) {
      auto was = old.segments.find(msn);
      const bool seen = was != old.segments.end();
      const bool listed_before = seen && !was->second.uri.empty();
      if (listed_before && (s.rest != was->second.rest || s.date != was->second.date))
        wrong("an entry changed", was->second.rest);
      std::int64_t sum = 0;
      for (std::size_t k = 0; k < s.parts.size(); ++k) {
        const auto uri = uri_in(s.parts[k]);
        sum += number_behind(s.parts[k], '=');
        if (name_of(uri) != fmt::format("{}.{}.m4s", msn, k))
          wrong("parts do not follow one another", s.parts[k]);
        if (gone.contains(name_of(uri)))
          wrong("a part came back", s.parts[k]);
        if (seen && k < was->second.parts.size() ? s.parts[k] != was->second.parts[k] : listed_before)
          wrong("a part changed, or came in front of an entry", s.parts[k]);
        if (auto word = words.find(name_of(uri)); word != words.end() && word->second != uri && writer_of(word->second) == writer_of(uri)) // another writer's hints are void
          wrong("a part is not where it was promised", s.parts[k]);
        if (!s.uri.empty() && parent_of(uri) != parent_of(s.uri))
          wrong("a part is of another segment than its own", s.parts[k]);
        if (s.gap || s.discontinuity)
          wrong("a segment that has no parts has one", s.parts[k]);
        hosts.try_emplace({shown.instance, msn}, host_of(uri));
      }
      if (!s.uri.empty()) {
        if (s.parts.size() == 4 ? sum != s.hundredths : sum > s.hundredths)
          wrong("parts do not sum up to their segment", s.rest);
        if (auto host = hosts.find({shown.instance, msn}); host != hosts.end() && host->second != host_of(s.uri))
          wrong("a segment is on another host than its parts or their hint", s.uri);
        if (seen && !listed_before && !was->second.parts.empty() && parent_of(uri_in(was->second.parts[0])) == parent_of(s.uri) && !s.discontinuity && s.date != was->second.date)
          wrong("a segment has another date than was shown with its parts", was->second.date);
      }
    }
    if (!p.hint.empty()) {
      auto [word, fresh] = words.try_emplace(name_of(p.hint), p.hint);
      const auto msn = std::stoull(name_of(p.hint));
      if (!fresh && writer_of(word->second) != writer_of(p.hint))
        word->second = p.hint;
      if (word->second != p.hint)
        wrong("a hint has two addresses", p.hint);
      if (auto [host, first] = hosts.try_emplace({shown.instance, msn}, host_of(p.hint)); host->second != host_of(p.hint))
        wrong("a hint is on another host than its segment", p.hint);
    }
    // What is not there any more.
    std::int64_t behind = 0; // from the end of a segment
    std::map<std::uint64_t, std::int64_t> distance;
    for (auto at = p.segments.rbegin(); at != p.segments.rend(); ++at) {
      distance[at->first] = behind;
      for (auto& part : at->second.parts)
        behind += at->second.uri.empty() ? number_behind(part, '=') : 0;
      behind += at->second.hundredths;
    }
    for (auto& [msn, s] : old.segments)
      for (auto& part : s.parts) {
        auto now_there = p.segments.find(msn);
        if (now_there == p.segments.end() ? msn < p.end : now_there->second.parts.empty() && distance.at(msn) > 12 * 100'000) {
          gone.insert(name_of(uri_in(part)));
          continue;
        }
        if (now_there != p.segments.end() && std::ranges::find(now_there->second.parts, part) != now_there->second.parts.end())
          continue;
        if (!broken(rung, msn, part))
          wrong("a part was taken back", part);
        gone.insert(name_of(uri_in(part)));
      }
    old = std::move(p);
  }
};

RC_GTEST_PROP(LivePartsHistory, TakesBackNothingThatViewersHaveSeen, ()) {
  parts_life l;
  auto live = [&] {
    l.make(false);
    while (!l.under_way.empty()) {
      l.now += 400ms;
      l.deliver(0, false);
    }
    l.save();
    l.save();
  };
  for (int n = 0; n < 5; ++n)
    live();
  RC_ASSERT(!l.shown.parts.empty());
  RC_ASSERT(l.shown.open.epoch != 0);
  std::size_t most = 0;
  const auto steps = *rc::gen::container<std::vector<std::pair<int, std::size_t>>>(rc::gen::pair(rc::gen::inRange(0, 40), rc::gen::inRange<std::size_t>(0, 50)));
  for (auto [step, n] : steps) {
    switch (step) {
      case 0: ++l.edges; break;
      case 39: l.log.use_width(static_cast<std::uint32_t>(n % 6)); break;
      case 1: l.begin(false); break;
      case 2:
        if (!l.standby)
          l.begin(true);
        break;
      case 3: l.deliver(n, true); break;
      case 4: // the writer in charge is gone; its standby, if there is one, goes on
        std::erase_if(l.under_way, [&](auto& t) { return t.epoch == l.epoch; });
        break;
      case 5:
        l.slot += n;
        l.make(true);
        break;
      case 6:
        l.now += std::chrono::milliseconds(n * 100);
        l.log.tick(l.edges, l.now);
        break;
      case 7: live(); break;
      case 8: l.log.source_lost(l.now); break;
      case 9: l.log.source_back(); break;
      case 10:
        if (n == 0)
          l.log.end(l.edges, l.now);
        break;
      case 11: case 12: case 13: case 14: l.save(); break;
      case 15: case 16: l.make(false); break;
      default:
        l.now += 200ms;
        l.log.tick(l.edges, l.now);
        l.deliver(n % 7 == 0 ? n : 0, false);
    }
    most = std::max(most, l.shown.parts.size());
  }
  RC_TAG(most > 20 ? "many parts" : "few parts");
}

} // namespace
} // namespace weir::hls
