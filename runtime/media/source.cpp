#include "runtime/media/source.hpp"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
extern "C" {
#include <libavcodec/avcodec.h>
}

namespace weir::media {
namespace {

constexpr ticks kept_span = 8 * ticks_per_second; ///< of a copy that is not in use: longer than a silence that is noticed, and than a group of pictures
constexpr std::size_t kept_most_bytes = 96u << 20;
constexpr milliseconds flows_for{700};            ///< a copy that has for so long, while the one in use is silent
constexpr milliseconds alive_within{500};         ///< a copy that was heard so lately may take over
constexpr milliseconds try_again{1'000};
constexpr milliseconds look_every{100};           ///< at silence, where there are several copies
constexpr ticks rounding = 90;                    ///< a server that counts in milliseconds may round either way
constexpr std::size_t most_distances = 32;
constexpr ticks arrival_slack = ticks_per_second; ///< two servers of one broadcast are never further apart on the way to us

source_item same_streams(const source_item& known) {
  source_item item;
  item.what = source_item::kind::streams;
  item.fps_milli = known.fps_milli;
  if (known.video_stream)
    item.video_stream = same_parameters(*known.video_stream);
  if (known.audio_stream)
    item.audio_stream = same_parameters(*known.audio_stream);
  return item;
}

} // namespace

std::uint64_t fingerprint(const AVPacket& packet) {
  std::uint64_t hash = 14695981039346656037ull ^ static_cast<std::uint64_t>(packet.size); // FNV-1a
  for (int i = 0; i < std::min(packet.size, 4096); ++i)
    hash = (hash ^ packet.data[i]) * 1099511628211ull;
  return hash;
}

void copy_matcher::memory::add(std::uint64_t print, ticks dts) {
  by_print.emplace(print, dts);
  order.emplace_back(dts, print);
  while (!order.empty() && dts - order.front().first > span) {
    auto [first, last] = by_print.equal_range(order.front().second);
    for (auto it = first; it != last; ++it)
      if (it->second == order.front().first) {
        by_print.erase(it);
        break;
      }
    order.pop_front();
  }
}

void copy_matcher::saw(bool in_use, std::uint64_t print, ticks dts) {
  (in_use ? used_ : other_).add(print, dts);
  auto& there = in_use ? other_ : used_;
  auto [first, last] = there.by_print.equal_range(print);
  for (auto it = first; it != last; ++it) {
    const auto apart = in_use ? dts - it->second : it->second - dts;
    if (about_ && std::abs(apart - *about_) > arrival_slack)
      continue;
    auto known = std::ranges::find_if(votes_, [&](auto& v) { return std::abs(v.apart - apart) <= rounding; });
    if (known != votes_.end()) {
      known->count = std::min(known->count + 1, 1000);
      continue;
    }
    if (votes_.size() >= most_distances)
      votes_.erase(std::ranges::min_element(votes_, {}, &vote::count));
    votes_.push_back({apart, 1});
  }
}

std::optional<ticks> copy_matcher::offset() const {
  // A still picture is equal at many distances, which get nearly as many votes: then arrival decides.
  auto most = std::ranges::max_element(votes_, {}, &vote::count);
  if (most == votes_.end() || most->count < needed)
    return std::nullopt;
  const auto* best = &*most;
  for (auto& v : votes_)
    if (about_ && 2 * v.count > most->count && v.count >= needed && std::abs(v.apart - *about_) < std::abs(best->apart - *about_))
      best = &v;
  return best->apart;
}

source::source(source_options options, pulse& progress, std::function<void(end_cause, std::string)> complain)
  : options_(std::move(options)), progress_(progress), complain_(std::move(complain)) {
  for (auto& url : options_.urls)
    copies_.emplace_back(std::make_unique<copy>())->url = url;
  for (auto& c : copies_)
    c->reader = open(c->url);
  if (!copies_.empty()) {
    used_ = copies_.front().get();
    used_->reader->in_use(true);
  }
}

source::~source() { stop(); }

std::unique_ptr<feed> source::open(const std::string& url) {
  auto about = [this, url](end_cause cause, const std::string& why) {
    bool alone = false;
    {
      std::lock_guard lock(mutex_);
      alone = copies_.size() < 2;
    }
    if (alone)
      complain_(cause, why);
  };
  return std::make_unique<feed>(feed_options{url, options_.realtime, options_.open_deadline, options_.read_deadline, options_.patience}, progress_, about, [this] {
    {
      std::lock_guard lock(mutex_);
      news_ = true;
    }
    changed_.notify_all();
  });
}

void source::stop() {
  std::lock_guard lock(mutex_);
  stopped_ = true;
  for (auto& c : copies_)
    if (c->reader)
      c->reader->stop();
  changed_.notify_all();
}

void source::use(std::vector<std::string> urls) {
  std::lock_guard lock(mutex_);
  wanted_ = std::move(urls);
  news_ = true;
  changed_.notify_all();
}

ticks source::backlog() const {
  ticks before = 0;
  if (auto first = std::ranges::find_if(pending_, [](auto& i) { return i.packet != nullptr; }); first != pending_.end())
    before = std::clamp<ticks>(pending_.back().packet->dts - first->packet->dts, 0, 60 * ticks_per_second);
  return before + (used_ && used_->reader ? used_->reader->backlog() : 0);
}

// What is no longer wanted goes, unless it is in use and nothing else can take over: the coordinator may have lost sight of a server that still delivers.
void source::apply_wishes() {
  std::vector<std::unique_ptr<copy>> gone; // ended outside the lock: their threads call us
  std::unique_lock lock(mutex_);
  if (!wanted_ || !options_.realtime)
    return;
  auto wanted = std::exchange(wanted_, std::nullopt);
  for (auto& url : *wanted)
    if (std::ranges::none_of(copies_, [&](auto& c) { return c->url == url; }) && copies_.size() < 4) {
      copies_.emplace_back(std::make_unique<copy>())->url = url; // opened like one that is tried again
    }
  lock.unlock();
  auto unwanted = [&](const copy& c) { return std::ranges::find(*wanted, c.url) == wanted->end(); };
  if (used_ && unwanted(*used_) && std::ranges::any_of(copies_, [&](auto& c) { return !unwanted(*c) && may_take_over(*c); }))
    switch_over("it is no longer said to have the stream");
  lock.lock();
  for (auto c = copies_.begin(); c != copies_.end();)
    if (unwanted(**c) && c->get() != used_) {
      gone.push_back(std::move(*c));
      c = copies_.erase(c);
    } else
      ++c;
  lock.unlock();
}

void source::note_arrival(copy& c, const source_item& item) const {
  auto apart = std::chrono::duration_cast<milliseconds>(item.read_at.time_since_epoch()).count() - (item.packet->dts) / 90;
  c.lowest = c.lowest ? std::min(*c.lowest + 1, apart) : apart; // a millisecond a packet: clocks drift
}

void source::remember(copy& c, source_item item) {
  if (item.what == source_item::kind::streams) {
    c.streams = std::move(item);
    return;
  }
  if (item.what == source_item::kind::jump)
    return c.forget();
  note_arrival(c, item);
  if (item.video) {
    if (used_ && used_->lowest && c.lowest)
      c.match.expect((*c.lowest - *used_->lowest) * 90 + used_->offset);
    c.match.saw(false, fingerprint(*item.packet), item.packet->dts);
  }
  c.kept_bytes += static_cast<std::size_t>(item.packet->size);
  c.kept.push_back(std::move(item));
  while (!c.kept.empty() && (c.kept.back().packet->dts - c.kept.front().packet->dts > kept_span || c.kept_bytes > kept_most_bytes)) {
    c.kept_bytes -= static_cast<std::size_t>(c.kept.front().packet->size);
    c.kept.pop_front();
  }
}

void source::copy::forget() {
  kept.clear();
  kept_bytes = 0;
  match.reset();
  lowest.reset();
}

// Ended outside the lock: its thread calls us.
void source::close(copy& c) {
  std::unique_ptr<feed> gone;
  {
    std::lock_guard lock(mutex_);
    gone = std::move(c.reader);
  }
  c.again = steady_clock::now() + try_again;
  c.forget();
}

// Reads what has come of a copy that is not in use.
void source::keep_up(copy& c) {
  if (!c.reader) {
    if (steady_clock::now() < c.again)
      return;
    auto fresh = open(c.url);
    std::lock_guard lock(mutex_);
    c.reader = std::move(fresh);
    if (stopped_)
      c.reader->stop();
    return;
  }
  while (auto item = c.reader->take()) {
    if (item->what != source_item::kind::end) {
      remember(c, std::move(*item));
      continue;
    }
    close(c);
    return;
  }
}

bool source::may_take_over(const copy& c) const { return &c != used_ && c.reader && !c.kept.empty() && !c.reader->troubled() && c.reader->silent_for() < alive_within; }

/// Silent although another copy flows: a source that paused is silent everywhere, and whichever copy is heard first afterwards is no better than the other.
bool source::only_silent() const {
  const auto silent = used_->reader->silent_for();
  return silent > options_.seamless_after && std::ranges::any_of(copies_, [&](auto& c) {
           return may_take_over(*c) && c->reader->flowing_for() > flows_for && silent > (c->match.offset() ? options_.seamless_after : options_.switch_after);
         });
}

bool source::lost() const { return !used_->reader || used_->reader->troubled() || only_silent(); }

// The next copy goes on behind the last packet that was delivered.
bool source::switch_over(const std::string& why) {
  auto next = std::ranges::find_if(copies_, [&](auto& c) { return may_take_over(*c); });
  if (next == copies_.end())
    return false;
  auto& c = **next;
  auto behind = [&](const source_item& i, ticks offset) {
    auto& last = last_[i.video ? 1 : 0];
    return !last || i.packet->dts + offset > *last;
  };
  auto same = c.match.offset();
  // Equal bytes are worth something only when none are missing in between.
  const bool seamless = same && last_[1] && std::ranges::any_of(c.kept, [&](auto& i) { return i.video && !behind(i, *same); });
  if (seamless) {
    c.offset = *same;
    for (auto& i : c.kept)
      if (behind(i, c.offset))
        pending_.push_back(std::move(i));
  } else {
    // Laid beside the former one by when they arrive.
    c.offset = used_->lowest && c.lowest ? (*c.lowest - *used_->lowest) * 90 + used_->offset : last_[1].value_or(last_[0].value_or(0)) - c.kept.back().packet->dts;
    auto is_key = [](const source_item& i) { return i.video && (i.packet->flags & AV_PKT_FLAG_KEY); };
    auto start = std::ranges::find_if(c.kept, [&](auto& i) { return is_key(i) && behind(i, c.offset); });
    if (options_.decodes) // the key frame before it: what was shown already is only decoded
      for (auto i = start; i != c.kept.begin();)
        if (is_key(*--i)) {
          start = i;
          break;
        }
    c.wait_for_key = start == c.kept.end() && c.streams.video_stream != nullptr;
    for (auto i = c.kept.begin(); i != c.kept.end(); ++i)
      if (i->video ? start != c.kept.end() && i - start >= 0 : behind(*i, c.offset))
        pending_.push_back(std::move(*i));
    pending_.push_front(same_streams(c.streams));
    pending_.front().reopened = true;
  }
  if (used_->reader)
    used_->reader->in_use(false);
  auto former = std::exchange(used_, &c);
  used_->reader->in_use(true);
  c.kept.clear();
  c.kept_bytes = 0;
  for (auto& other : copies_) // compared with another one from now on
    other->match.reset();
  complain_(end_cause::none, fmt::format("{}: {}; reading goes on from {}{}", former->url, why, c.url, seamless ? " without a missing packet" : " at a key frame"));
  return true;
}

// On our time line; nothing for what must not be seen.
std::optional<source_item> source::deliver(source_item item) {
  if (item.what == source_item::kind::streams)
    used_->streams = same_streams(item);
  if (item.what == source_item::kind::jump) {
    last_ = {};
    used_->lowest.reset();
    for (auto& c : copies_)
      c->match.reset();
    return item;
  }
  if (item.what != source_item::kind::packet)
    return item;
  if (copies_.size() > 1) {
    note_arrival(*used_, item);
    if (item.video)
      for (auto& c : copies_)
        if (c.get() != used_)
          c->match.saw(true, fingerprint(*item.packet), item.packet->dts + used_->offset);
  }
  if (used_->wait_for_key) {
    if (item.video && !(item.packet->flags & AV_PKT_FLAG_KEY))
      return std::nullopt;
    used_->wait_for_key &= !item.video;
  }
  item.packet->dts += used_->offset;
  item.packet->pts += used_->offset;
  last_[item.video ? 1 : 0] = item.packet->dts;
  return item;
}

source_item source::next() { return std::move(*wait_for_next(std::nullopt)); }

std::optional<source_item> source::next(steady_time until) { return wait_for_next(until); }

std::optional<source_item> source::wait_for_next(std::optional<steady_time> until) {
  for (;;) {
    {
      std::lock_guard lock(mutex_);
      if (stopped_ || !used_) {
        source_item end;
        end.cause = end_cause::requested;
        return end;
      }
      news_ = false;
    }
    apply_wishes();
    for (auto& c : copies_)
      if (c.get() != used_)
        keep_up(*c);
    if (!pending_.empty()) {
      auto item = std::move(pending_.front());
      pending_.pop_front();
      if (auto seen = deliver(std::move(item)))
        return std::move(*seen);
      continue;
    }
    if (auto item = used_->reader ? used_->reader->take() : std::nullopt) {
      if (item->what == source_item::kind::end && item->cause != end_cause::requested && copies_.size() > 1) {
        auto* ended = used_;
        if (switch_over(item->text.empty() ? "it ended" : item->text)) {
          close(*ended);
          continue;
        }
      }
      if (auto seen = deliver(std::move(*item)))
        return std::move(*seen);
      continue;
    }
    if (copies_.size() > 1 && lost() && switch_over(used_->reader && used_->reader->troubled() ? "it is lost" : "it is silent"))
      continue;
    std::unique_lock lock(mutex_);
    const auto something = [&] { return stopped_ || news_; };
    const auto now = steady_clock::now();
    if (until && now >= *until && !something())
      return std::nullopt;
    auto wake = until;
    if (copies_.size() > 1)
      wake = std::min(until.value_or(now + look_every), now + look_every);
    if (wake)
      changed_.wait_until(lock, *wake, something);
    else
      changed_.wait(lock, something);
  }
}

} // namespace weir::media
