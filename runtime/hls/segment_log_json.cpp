// The segment log's state on disk. Strict both ways: what to_json() would not write is refused as corrupt, because a state that is
// half understood would make numbers step back.
#include "runtime/hls/addresses.hpp"
#include "runtime/hls/segment_log.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace weir::hls {

namespace {

using nlohmann::json;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t schema_version = 5; ///< with targets of parts
/// What is written while there are no parts …
constexpr std::uint64_t schema_without_parts = 4;
/// … no rung is a rendition and all edges serve the stream …
constexpr std::uint64_t schema_without_renditions = 3;
/// … no key frames are known, and no segment has a map: whoever goes back to the Weir before them can read it.
constexpr std::uint64_t schema_without_keys = 2;
constexpr std::uint64_t schema_without_maps = 1;
constexpr std::size_t text_limit = 4U << 20;
constexpr std::uint64_t number_limit = std::uint64_t{1} << 62;

std::int64_t to_number(timestamp t) { return std::chrono::duration_cast<microseconds>(t.time_since_epoch()).count(); }
std::int64_t to_number(milliseconds d) { return d.count(); }

/// One JSON object that must have exactly the members that are taken from it. Ends in an exception, caught in from_json().
class strict_object {
public:
  strict_object(const json& from, std::string where) : from_(from), where_(std::move(where)) {
    if (!from.is_object())
      bad("is not an object");
  }
  [[noreturn]] void bad(std::string_view what) const { throw std::invalid_argument(fmt::format("{} {}", where_, what)); }

  const json& member(const char* name) {
    auto found = from_.find(name);
    if (found == from_.end())
      bad(fmt::format("has no {:?}", name));
    ++taken_;
    return *found;
  }
  std::uint64_t count(const char* name, std::uint64_t limit = number_limit) {
    auto& value = member(name);
    if (!value.is_number_unsigned() || value.get<std::uint64_t>() > limit)
      bad(fmt::format("has no fitting number {:?}", name));
    return value.get<std::uint64_t>();
  }
  std::int64_t number(const char* name) {
    auto& value = member(name);
    if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > number_limit) || value.get<std::int64_t>() < -static_cast<std::int64_t>(number_limit))
      bad(fmt::format("has no fitting number {:?}", name));
    return value.get<std::int64_t>();
  }
  bool flag(const char* name) {
    auto& value = member(name);
    if (!value.is_boolean())
      bad(fmt::format("has no flag {:?}", name));
    return value.get<bool>();
  }
  std::string text(const char* name, std::size_t limit) {
    auto& value = member(name);
    if (!value.is_string() || value.get_ref<const std::string&>().size() > limit)
      bad(fmt::format("has no fitting text {:?}", name));
    return value.get<std::string>();
  }
  timestamp time(const char* name) {
    auto value = number(name);
    if (value > 8'000'000'000'000'000 || value < 0) // the year 2223; nanoseconds still fit
      bad(fmt::format("has no fitting time {:?}", name));
    return timestamp{microseconds{value}};
  }
  milliseconds span(const char* name) { return milliseconds{static_cast<std::int64_t>(count(name, 1'000'000'000'000))}; }
  const json& list(const char* name, std::size_t limit) {
    auto& value = member(name);
    if (!value.is_array() || value.size() > limit)
      bad(fmt::format("has no fitting list {:?}", name));
    return value;
  }
  void end() const {
    if (taken_ != from_.size())
      bad("has members that this Weir does not know");
  }

private:
  const json& from_;
  std::string where_;
  std::size_t taken_ = 0;
};

json rung_to_json(const rung_info& r, bool with_rendition) {
  json j{{"name", r.name}, {"width", r.width}, {"height", r.height}, {"fps_milli", r.fps_milli}, {"codecs", r.codecs}, {"nominal", r.nominal.bits_per_second}};
  if (with_rendition)
    j.update({{"rendition", r.rendition}, {"language", r.language}});
  return j;
}

rung_info rung_from_json(const json& from, const std::string& where, bool with_rendition) {
  strict_object o(from, where);
  rung_info r;
  r.name = o.text("name", 16);
  r.width = static_cast<std::uint32_t>(o.count("width", 16384));
  r.height = static_cast<std::uint32_t>(o.count("height", 16384));
  r.fps_milli = static_cast<std::int64_t>(o.count("fps_milli", 1'000'000));
  r.codecs = o.text("codecs", 200);
  r.nominal.bits_per_second = static_cast<std::int64_t>(o.count("nominal"));
  if (with_rendition) {
    r.rendition = o.flag("rendition");
    r.language = o.text("language", 35);
  }
  o.end();
  if (!is_language(r.language) || (r.rendition ? r.width != 0 : !r.language.empty()))
    o.bad("is a rendition that cannot be");
  if (!is_address_word(r.name, 16) || r.codecs.find_first_of("\"\r\n") != std::string::npos)
    o.bad("has a name or codecs that cannot stand in a playlist");
  return r;
}

/// Three numbers each.
json keys_to_json(const std::vector<key_frame>& keys) {
  auto list = json::array();
  for (auto& k : keys)
    list.insert(list.end(), {k.time, k.offset, k.bytes});
  return list;
}

std::uint64_t key_number(const strict_object& o, const json& from) {
  if (!from.is_number_unsigned() || from.get<std::uint64_t>() > number_limit)
    o.bad("has a key frame that cannot be");
  return from.get<std::uint64_t>();
}

json timing_to_json(const hls_timing& t, bool with_part) {
  json j{{"target", to_number(t.target)}, {"gop", to_number(t.gop)}, {"window", to_number(t.window)}, {"hold_back", to_number(t.hold_back)}};
  if (with_part)
    j["part"] = to_number(t.part);
  return j;
}

hls_timing timing_from_json(const json& from, const std::string& where, bool with_part) {
  strict_object o(from, where);
  hls_timing t{o.span("target"), o.span("gop"), o.span("window"), o.span("hold_back")};
  if (with_part)
    t.part = o.span("part");
  o.end();
  if (t.part > t.target)
    o.bad("has parts that are longer than segments");
  return t;
}

} // namespace

std::string segment_log::to_json() const {
  json j;
  const bool has_maps = map_ != 0 || !maps_.empty() || std::any_of(announced_.begin(), announced_.end(), [](auto& w) { return !w.second.maps.empty(); }) ||
                         std::any_of(entries_.begin(), entries_.end(), [](auto& e) { return e.map != 0; }) ||
                         std::any_of(expiring_.begin(), expiring_.end(), [](auto& e) { return e.place.kind != segment_kind::ts; });
  auto any_saved_writer = [&](auto holds) { return std::any_of(announced_.begin(), announced_.end(), [&](auto& w) { return !w.second.standby && holds(w.second); }); };
  const bool with_parts = timing_.part != milliseconds(0) || any_saved_writer([](auto& w) { return w.timing.part != milliseconds(0); });
  const bool with_renditions = with_parts || width_ != 0 || std::any_of(entries_.begin(), entries_.end(), [](auto& e) { return e.width != 0; }) ||
                               std::any_of(rungs_.begin(), rungs_.end(), [](auto& r) { return r.info.rendition; }) ||
                               any_saved_writer([](auto& w) { return std::any_of(w.rungs.begin(), w.rungs.end(), [](auto& r) { return r.rendition; }); });
  const bool with_keys = with_renditions || keys_from_ || std::any_of(waiting_.begin(), waiting_.end(), [](auto& w) {
    return std::any_of(w.second.rungs.begin(), w.second.rungs.end(), [](auto& r) { return !r.second.keys.empty(); });
  });
  const bool with_maps = with_keys || has_maps;
  j["schema"] = with_parts ? schema_version : with_renditions ? schema_without_parts : with_keys ? schema_without_renditions : with_maps ? schema_without_keys : schema_without_maps;
  j["stream"] = stream_;
  j["instance"] = instance_;
  j["version"] = version_;
  j["next_msn"] = next_msn_;
  j["dsn"] = dsn_;
  j["writer_epoch"] = writer_epoch_;
  j["publication"] = publication_;
  j["last_end"] = to_number(last_end_);
  j["begun"] = begun_;
  j["open"] = open_;
  j["ended"] = ended_;
  j["timing"] = timing_to_json(timing_, with_parts);
  j["offset"] = fmt::format("{}", offset_); // modulo 2^64: text, so that no reader rounds it
  j["next_slot"] = next_slot_;
  j["seam_pending"] = seam_pending_;
  j["clock_known"] = clock_known_;
  j["clock"] = clock_;
  j["edges"] = edges_;
  j["last_listed"] = to_number(last_listed_);
  j["last_content"] = to_number(last_content_);
  j["lost_since"] = to_number(lost_since_);
  j["ended_at"] = to_number(ended_at_);
  j["longest"] = to_number(longest_);
  j["fenced"] = fenced_;
  j["refused"] = refused_;
  auto& writers = j["writers"] = json::array();
  for (auto& [epoch, w] : announced_) {
    if (w.standby)
      continue; // announces itself again
    json rungs = json::array();
    for (auto& r : w.rungs)
      rungs.push_back(rung_to_json(r, with_renditions));
    writers.push_back({{"epoch", epoch}, {"publication", w.publication}, {"rungs", std::move(rungs)}, {"timing", timing_to_json(w.timing, with_parts)}});
    if (with_maps)
      writers.back()["maps"] = w.maps;
  }
  auto& rungs = j["rungs"] = json::array();
  for (auto& r : rungs_)
    rungs.push_back({{"info", rung_to_json(r.info, with_renditions)}, {"active", r.active}, {"failing", r.failing}, {"late", r.late}, {"good", r.good},
                     {"left", to_number(r.left)}, {"peak", r.peak}, {"bits", r.bits}, {"ticks", r.ticks}});
  if (with_keys)
    for (std::size_t i = 0; i < rungs_.size(); ++i)
      rungs[i].update({{"keys_peak", rungs_[i].keys_peak}, {"keys_gone", rungs_[i].keys_gone}});
  auto& entries = j["entries"] = json::array();
  for (auto& e : entries_) {
    entries.push_back({{"msn", e.msn}, {"dsn", e.dsn}, {"epoch", e.epoch}, {"edges", e.edges}, {"time", to_number(e.time)}, {"durations", e.durations},
                       {"gaps", e.gaps}, {"discontinuity", e.discontinuity}});
    if (with_maps)
      entries.back()["map"] = e.map;
    if (with_keys)
      entries.back()["keys"] = e.keys;
    if (with_renditions)
      entries.back()["width"] = e.width;
  }
  auto& waiting_slots = j["waiting"] = json::array();
  for (auto& [slot, w] : waiting_) {
    json arrivals = json::array();
    for (auto& [rung, a] : w.rungs) {
      arrivals.push_back({{"rung", rung}, {"first_pts", a.first_pts}, {"duration", a.duration}, {"bytes", a.bytes}});
      if (with_keys)
        arrivals.back()["keys"] = keys_to_json(a.keys);
    }
    waiting_slots.push_back({{"slot", slot}, {"arrivals", std::move(arrivals)}, {"failed", w.failed}, {"first_seen", to_number(w.first_seen)},
                             {"captured", to_number(w.captured)}, {"first_pts", w.first_pts}, {"discontinuity", w.discontinuity}});
  }
  auto& expiring_list = j["expiring"] = json::array();
  for (auto& e : expiring_) {
    expiring_list.push_back({{"instance", e.place.instance}, {"epoch", e.place.epoch}, {"rung", e.place.rung}, {"msn", e.place.msn}, {"due", to_number(e.due)}});
    if (with_maps)
      expiring_list.back()["kind"] = to_string(e.place.kind);
  }
  if (with_maps) {
    j["map"] = map_;
    auto& sets = j["maps"] = json::array();
    for (auto& m : maps_)
      sets.push_back({{"instance", m.instance}, {"epoch", m.epoch}, {"digest", m.digest}, {"rungs", m.rungs}});
  }
  if (with_renditions)
    j["width"] = width_;
  if (with_keys)
    j["keys_from"] = keys_from_ ? json(*keys_from_) : json(nullptr);
  return j.dump();
}

expected<segment_log> segment_log::from_json(std::string_view text, log_options options) {
  if (text.size() > text_limit)
    return fail(error_code::too_large, fmt::format("segment log of {} bytes, {} are allowed", text.size(), text_limit));
  try {
    auto j = json::parse(text, [](int depth, json::parse_event_t, json&) {
      if (depth > 6)
        throw std::invalid_argument("is nested too deep");
      return true;
    });
    strict_object o(j, "segment log");
    const auto schema = o.count("schema");
    if (schema > schema_version)
      return fail(error_code::newer_schema, fmt::format("segment log has schema {}, this Weir knows {}", schema, schema_version));
    if (schema < schema_without_maps)
      o.bad("has no known schema");
    const bool with_maps = schema > schema_without_maps, with_keys = schema > schema_without_keys, with_renditions = schema > schema_without_renditions,
               with_parts = schema > schema_without_parts;
    segment_log log(o.text("stream", 64), options);
    log.instance_ = o.count("instance");
    log.version_ = o.count("version");
    log.next_msn_ = o.count("next_msn");
    log.dsn_ = o.count("dsn");
    log.writer_epoch_ = o.count("writer_epoch");
    log.publication_ = o.text("publication", 256);
    log.last_end_ = o.time("last_end");
    log.begun_ = o.flag("begun");
    log.open_ = o.flag("open");
    log.ended_ = o.flag("ended");
    log.timing_ = timing_from_json(o.member("timing"), "timing", with_parts);
    auto offset = o.text("offset", 20);
    auto [offset_end, offset_error] = std::from_chars(offset.data(), offset.data() + offset.size(), log.offset_);
    if (offset_error != std::errc{} || offset_end != offset.data() + offset.size())
      o.bad("has no fitting offset");
    log.next_slot_ = o.count("next_slot");
    log.seam_pending_ = o.flag("seam_pending");
    log.clock_known_ = o.flag("clock_known");
    log.clock_ = o.number("clock");
    log.edges_ = o.count("edges");
    log.last_listed_ = o.time("last_listed");
    log.last_content_ = o.time("last_content");
    log.lost_since_ = o.time("lost_since");
    log.ended_at_ = o.time("ended_at");
    log.longest_ = o.span("longest");
    log.fenced_ = o.count("fenced");
    log.refused_ = o.count("refused");
    log.width_ = with_renditions ? static_cast<std::uint32_t>(o.count("width", width_limit)) : 0;
    for (auto& item : o.list("writers", 8)) {
      strict_object w(item, "writer");
      auto epoch = w.count("epoch");
      writer one{w.text("publication", 256), {}, timing_from_json(w.member("timing"), "writer's timing", with_parts)};
      if (with_maps)
        one.maps = w.text("maps", 64);
      for (auto& r : w.list("rungs", max_rungs))
        one.rungs.push_back(rung_from_json(r, "writer's rung", with_renditions));
      w.end();
      if (one.rungs.empty() || one.timing.target.count() <= 0 || !log.announced_.emplace(epoch, std::move(one)).second)
        w.bad("is empty or there twice");
    }
    for (auto& item : o.list("rungs", max_rungs)) {
      strict_object r(item, "rung");
      rung_state one{rung_from_json(r.member("info"), "rung", with_renditions)};
      one.active = r.flag("active");
      one.failing = r.flag("failing");
      one.late = static_cast<std::uint32_t>(r.count("late", UINT32_MAX));
      one.good = static_cast<std::uint32_t>(r.count("good", UINT32_MAX));
      one.left = r.time("left");
      one.peak = static_cast<std::int64_t>(r.count("peak"));
      one.bits = static_cast<std::int64_t>(r.count("bits"));
      one.ticks = static_cast<std::int64_t>(r.count("ticks"));
      if (with_keys) {
        one.keys_peak = static_cast<std::int64_t>(r.count("keys_peak"));
        one.keys_gone = r.count("keys_gone");
      }
      r.end();
      for (auto& other : log.rungs_)
        if (other.info.name == one.info.name)
          r.bad("is there twice");
      log.rungs_.push_back(std::move(one));
    }
    for (auto& item : o.list("entries", 1024)) {
      strict_object e(item, "entry");
      log_entry one;
      one.msn = e.count("msn");
      one.dsn = e.count("dsn");
      one.epoch = e.count("epoch");
      one.edges = e.count("edges");
      one.time = e.time("time");
      for (auto& d : e.list("durations", max_rungs)) {
        if (!d.is_number_unsigned() || d.get<std::uint64_t>() == 0 || d.get<std::uint64_t>() > (1U << 30))
          e.bad("has a duration that cannot be");
        one.durations.push_back(d.get<std::int64_t>());
      }
      one.gaps = static_cast<std::uint32_t>(e.count("gaps", log.all_rungs()));
      one.discontinuity = e.flag("discontinuity");
      one.map = with_maps ? e.count("map") : 0;
      if (with_keys)
        for (auto& number : e.list("keys", 4 * max_rungs * segment_keys_limit))
          one.keys.push_back(static_cast<std::int64_t>(key_number(e, number)));
      one.width = with_renditions ? static_cast<std::uint32_t>(e.count("width", width_limit)) : 0;
      e.end();
      if (one.durations.size() != 1 && one.durations.size() != log.rungs_.size())
        e.bad("has not one duration per rung");
      if (!are_keys_of(one, log.rungs_.size()))
        e.bad("has key frames that cannot be");
      if (!log.entries_.empty()) {
        auto& before = log.entries_.back();
        if (one.msn != before.msn + 1 || one.dsn != before.dsn + (one.discontinuity ? 1 : 0) || one.time <= before.time || one.edges < before.edges || one.epoch < before.epoch)
          e.bad("does not follow the one before");
      }
      log.entries_.push_back(std::move(one));
    }
    for (auto& item : o.list("waiting", 256)) {
      strict_object w(item, "waiting slot");
      waiting one;
      auto slot = w.count("slot");
      for (auto& arrived : w.list("arrivals", max_rungs)) {
        strict_object a(arrived, "arrival");
        auto rung = a.count("rung");
        arrival what{a.number("first_pts"), static_cast<std::int64_t>(a.count("duration", 1U << 30)), a.count("bytes")};
        if (with_keys) {
          auto& numbers = a.list("keys", 3 * segment_keys_limit);
          for (std::size_t i = 0; i + 2 < numbers.size(); i += 3)
            what.keys.push_back({static_cast<std::int64_t>(key_number(a, numbers[i])), key_number(a, numbers[i + 1]), key_number(a, numbers[i + 2])});
          if (numbers.size() % 3 != 0 || !is_row_of_keys(what.keys, what.duration, what.bytes))
            a.bad("has key frames that cannot be");
        }
        a.end();
        if (rung >= log.rungs_.size() || what.duration == 0 || !one.rungs.emplace(rung, what).second)
          a.bad("cannot be");
      }
      one.failed = static_cast<std::uint32_t>(w.count("failed", log.all_rungs()));
      one.first_seen = w.time("first_seen");
      one.captured = w.time("captured");
      one.first_pts = w.number("first_pts");
      one.discontinuity = w.flag("discontinuity");
      w.end();
      auto ahead = slot + log.offset_ - log.next_msn_;
      if (ahead > 4096 || !log.waiting_.emplace(slot, std::move(one)).second)
        w.bad("is there twice or does not follow what is listed");
    }
    for (auto& item : o.list("expiring", 65536)) {
      strict_object e(item, "expiring segment");
      expiring one{{e.count("instance"), e.count("epoch"), e.text("rung", 16), e.count("msn")}, e.time("due")};
      if (with_maps) {
        auto kind = from_string<segment_kind>(e.text("kind", 16));
        if (!kind)
          e.bad("is of no known kind");
        one.place.kind = *kind;
      }
      e.end();
      if (!is_address_word(one.place.rung, 16))
        e.bad("has a rung that cannot be");
      log.expiring_.push_back(std::move(one));
    }
    if (with_maps) {
      log.map_ = o.count("map");
      for (auto& item : o.list("maps", 1024)) { // each entry may have its own, and writers that may come theirs
        strict_object m(item, "set of maps");
        map_set one{m.count("instance"), m.count("epoch"), m.text("digest", 64), {}};
        for (auto& rung : m.list("rungs", max_rungs)) {
          if (!rung.is_string() || !is_address_word(rung.get_ref<const std::string&>(), 16))
            m.bad("has a rung that cannot be");
          one.rungs.push_back(rung.get<std::string>());
        }
        m.end();
        if (one.epoch == 0 || one.digest.empty() || log.stored_maps(one.epoch, one.instance) != nullptr)
          m.bad("is empty or there twice");
        log.maps_.push_back(std::move(one));
      }
    }
    if (with_keys) {
      if (auto& from = o.member("keys_from"); from.is_number_unsigned())
        log.keys_from_ = from.get<std::uint64_t>();
      else if (!from.is_null())
        o.bad("has no fitting number \"keys_from\"");
    }
    o.end();
    std::size_t keys = 0;
    for (auto& e : log.entries_) {
      keys += e.keys.size() / 4;
      if (!e.keys.empty() && (!log.keys_from_ || e.msn < *log.keys_from_))
        o.bad("has key frames of entries that are to tell of none");
    }
    if (keys > log_keys_limit || (log.keys_from_ && (*log.keys_from_ > log.next_msn_ || (!log.entries_.empty() && *log.keys_from_ < log.entries_.front().msn))))
      o.bad("has more key frames than are kept, or tells of some that were before its entries");
    auto has_maps = [&](lease_epoch epoch) { return epoch == 0 || log.stored_maps(epoch, log.instance_) != nullptr; };
    if (!has_maps(log.map_) || !std::all_of(log.entries_.begin(), log.entries_.end(), [&](auto& e) { return has_maps(e.map); }))
      o.bad("has entries whose maps are not stored");
    if (!is_address_word(log.stream_))
      o.bad("has a stream name that cannot be");
    if (log.begun_ && (log.timing_.target.count() <= 0 || log.rungs_.empty() || log.writer_epoch_ == 0 || !log.announced_.contains(log.writer_epoch_)))
      o.bad("has begun without a writer");
    if (!log.entries_.empty() && (!log.begun_ || log.entries_.back().msn + 1 != log.next_msn_ || log.entries_.back().dsn != log.dsn_ || log.entries_.back().time > log.last_end_))
      o.bad("has entries that do not lead up to its counters");
    return log;
  } catch (const std::exception& e) { // nlohmann's parse errors and ours
    return fail(error_code::corrupt, e.what());
  }
}

} // namespace weir::hls
