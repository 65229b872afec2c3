#pragma once
// A simulated run of an HLS task: an encoder that cuts its publication into segments, and what actors/tasks/hls does with them. The encoder is a process of its own:
// it goes on while the program stands still.
#include "tests/sim/origin_judge.hpp"

#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

namespace weir::testing {

class ladder : public std::enable_shared_from_this<ladder> {
public:
  ladder(task_order order, node_name where, std::shared_ptr<world> all)
    : all_(std::move(all)), where_(std::move(where)), order_(std::move(order)), skew_(all_->between(-50, 50)), reads_from_(all_->now() + all_->between(200, 800)) {
    auto wanted = nlohmann::json::parse(order_.options);
    timing_ = timing_of(from_string<hls_profile>(wanted.value("profile", "standard")).value_or(hls_profile::standard));
    auto rung = [&](const char* name, std::uint32_t height, std::int64_t rate) { rungs_.push_back({name, height * 16 / 9, height, 30'000, "avc1.64001f,mp4a.40.2", {rate}}); };
    if (wanted.value("ladder", "") != "low")
      rung("720p", 720, 1'500'000);
    rung("360p", 360, 600'000);
    rung("240p", 240, 300'000);
  }

  /// Another order of the same run: where the stream is read.
  void use(const task_order& order) { order_ = order; }
  bool fenced() const { return fenced_; }
  /// Nothing is left to be delivered, or it takes too long.
  bool over() const { return encoder_over_ && (made_.empty() || fenced_ || all_->now() >= drain_by_) && (queue_.empty() || fenced_ || all_->now() >= drain_by_); }

  // --- the process ---

  /// It ends by itself and is started again; its next one is another writer.
  void crash() {
    reading_ = false;
    reads_from_ = all_->now() + all_->between(600, 1500);
  }
  /// Cuts what has come since the last time.
  void encode() {
    if (encoder_over_ || all_->now() < reads_from_)
      return;
    const auto now = all_->now();
    if (!reading_)
      return begin_reading();
    if (auto* source = all_->read(where_, url_, order_.stream_name); !source || source->client != client_) {
      const auto other = std::ranges::find_if(inputs(), [&](auto& url) { return url != url_ && all_->read(where_, url, order_.stream_name); });
      if (other != inputs_.end()) { // the same pictures: its clock stays
        url_ = *other;
        client_ = all_->read(where_, url_, order_.stream_name)->client;
      } else if (source) // another connection, and another clock
        return crash();
      else {
        missing_ = true;
        return;
      }
    }
    if (std::exchange(missing_, false)) {
      slot_ = slot_at(now);
      from_ = on_grid(now);
    }
    for (; end_of(slot_) <= now; ++slot_, from_ = end_of(slot_ - 1))
      if (now - end_of(slot_) < std::chrono::seconds(8) && from_ < end_of(slot_)) // what lies further back was never kept for it
        cut(end_of(slot_));
  }
  /// As ordered: what it has of the present segment still comes.
  void stop() {
    if (encoder_over_ || stopping_)
      return;
    stopping_ = true;
    stop_at_ = all_->now() + (all_->one_in(20) ? std::chrono::milliseconds(3000) : all_->between(50, 900));
  }
  void end_encoder() {
    if (encoder_over_ || !stopping_ || all_->now() < stop_at_)
      return;
    if (reading_ && !missing_ && all_->now() - from_ > std::chrono::milliseconds(200))
      cut(all_->now());
    encoder_over_ = true;
    drain_by_ = all_->now() + std::chrono::seconds(3);
  }

  // --- the runner ---

  void deliver() {
    const auto now = all_->now();
    while (!made_.empty() && made_.begin()->first <= now) {
      if (queue_.size() >= 64)
        if (auto oldest = std::ranges::find_if(queue_, [](auto& u) { return !u.second.under_way; }); oldest != queue_.end())
          queue_.erase(oldest);
      queue_.emplace(++tickets_, std::move(made_.begin()->second));
      made_.erase(made_.begin());
    }
    for (auto& [number, answer] : std::exchange(answers_, {}))
      if (auto known = asked_.find(number); known != asked_.end()) { // else it came after the deadline
        auto asked = known->second;
        asked_.erase(known);
        take(asked, answer);
      }
    for (auto known = asked_.begin(); known != asked_.end();)
      if (now >= known->second.until) {
        auto asked = known->second;
        known = asked_.erase(known);
        take(asked, error_code::timeout);
      } else
        ++known;
    pump();
  }

private:
  struct upload {
    std::uint32_t writer = 0;
    segment_info info;
    time_point born{}, not_before{};
    bool under_way = false;
  };
  struct question {
    std::uint32_t writer = 0;
    std::uint64_t ticket = 0; ///< 0: of an announcement
    time_point until{};
  };

  const std::vector<std::string>& inputs() {
    inputs_ = order_.more_inputs;
    inputs_.insert(inputs_.begin(), order_.input_url);
    return inputs_;
  }
  std::uint64_t slot_at(time_point t) const { return static_cast<std::uint64_t>((t - zero_) / timing_.target); }
  time_point end_of(std::uint64_t slot) const { return zero_ + timing_.target * (slot + 1); }
  /// The next key frame.
  time_point on_grid(time_point t) const { return zero_ + timing_.gop * ((t - zero_) / timing_.gop + 1); }

  void begin_reading() {
    for (auto& url : inputs())
      if (auto* source = all_->read(where_, url, order_.stream_name)) {
        url_ = url;
        client_ = source->client;
        zero_ = source->zero;
        slot_ = slot_at(on_grid(all_->now()));
        from_ = on_grid(all_->now());
        reading_ = true;
        ++writer_;
        return;
      }
  }
  void cut(time_point until) {
    auto ticks = [](time_point::duration d) { return std::chrono::duration_cast<std::chrono::milliseconds>(d).count() * 90; };
    for (auto& r : rungs_)
      made_.emplace(all_->now() + all_->between(0, 100), upload{.writer = writer_,
                                                                .info = {.rung = r.name, .slot = slot_, .first_pts = ticks(from_ - zero_), .duration = ticks(until - from_),
                                                                         .independent = true, .discontinuity = false, .captured = wall(from_) + skew_, .bytes = 100'000},
                                                                .born = all_->now(), .not_before = {}, .under_way = false});
  }

  std::uint64_t epoch_of(std::uint32_t writer) const { return order_.epoch << 16 | (writer & 0xffff); }
  /// A PUT. The client gives up after a while; what the system has taken by then may arrive all the same.
  void put(std::uint32_t writer, std::uint64_t ticket, std::function<expected<void>(origin_judge&)> what) {
    const auto number = ++questions_;
    const auto patience = timing_.target * 2;
    asked_[number] = {writer, ticket, all_->now() + patience};
    auto back = [weak = weak_from_this(), number](error_code answer) {
      return [weak, number, answer] {
        if (auto me = weak.lock())
          me->answers_.emplace_back(number, answer);
      };
    };
    auto arrives = [all = all_, where = where_, back, patience, what = std::move(what)] {
      auto done = what(*all->origin);
      all->post({all->origin_node, where, all->now() + patience, back(done ? error_code::none : done.error().code), nullptr}, all->between(1, 30));
    };
    all_->post({where_, all_->origin_node, all_->now() + patience + all_->between(0, 30'000), std::move(arrives), back(error_code::unavailable)}, all_->between(1, 30));
  }
  void announce(std::uint32_t writer) {
    announcing_ = writer;
    put(writer, 0, [order = order_, epoch = epoch_of(writer), rungs = rungs_, timing = timing_](origin_judge& there) {
      return there.announce(order.stream_name, epoch, order.publication, rungs, timing, order.standby);
    });
  }
  void pump() {
    const auto now = all_->now();
    auto busy = std::ranges::count_if(queue_, [](auto& u) { return u.second.under_way; });
    for (auto& [ticket, u] : queue_) {
      if (busy >= 4 || fenced_)
        return;
      if (u.under_way || now < u.not_before)
        continue;
      if (u.writer != announced_) { // in order: what was cut by the writer before is delivered as that writer's
        if (u.writer > announced_ && announcing_ != u.writer && busy == 0 && now >= announce_from_)
          announce(u.writer);
        if (u.writer > announced_)
          return;
      }
      u.under_way = true;
      ++busy;
      put(u.writer, ticket, [stream = order_.stream_name, epoch = epoch_of(u.writer), from = where_, info = u.info](origin_judge& there) { return there.take(stream, epoch, from, info); });
    }
  }
  void take(const question& asked, error_code answer) {
    const auto now = all_->now();
    if (answer == error_code::fenced) {
      fenced_ = encoder_over_ = true;
    } else if (asked.ticket == 0) {
      announcing_ = 0;
      if (answer == error_code::none)
        announced_ = asked.writer;
      else
        announce_from_ = now + std::chrono::milliseconds(500);
    } else if (auto u = queue_.find(asked.ticket); u != queue_.end()) {
      u->second.under_way = false;
      const bool hopeless = answer == error_code::conflict || answer == error_code::invalid_input || now - u->second.born > timing_.target * 2;
      if (answer == error_code::none || hopeless) {
        queue_.erase(u);
        return;
      }
      if (answer == error_code::not_found || (answer == error_code::source_ended && !stopping_)) // the origin does not know this writer any more, or its playlist has ended
        announced_ = 0;
      u->second.not_before = now + std::chrono::milliseconds(200);
    }
  }

  std::shared_ptr<world> all_;
  node_name where_;
  task_order order_;
  std::vector<std::string> inputs_;
  hls_timing timing_{};
  std::vector<rung_info> rungs_;
  std::chrono::milliseconds skew_; ///< of the machine's clock
  // The process.
  time_point reads_from_{}, stop_at_{}, drain_by_{};
  bool reading_ = false, missing_ = false, stopping_ = false, encoder_over_ = false;
  std::string url_, client_; ///< of the connection that it reads
  time_point zero_{};        ///< of the clock that it cuts by
  std::uint64_t slot_ = 0;   ///< that it is at
  time_point from_{};        ///< beginning of what it has of it
  std::uint32_t writer_ = 0;
  std::multimap<time_point, upload> made_; ///< on their way to the program
  // The runner.
  std::map<std::uint64_t, upload> queue_; ///< ticket → segment, oldest first
  std::uint64_t tickets_ = 0, questions_ = 0;
  std::map<std::uint64_t, question> asked_;
  std::vector<std::pair<std::uint64_t, error_code>> answers_; ///< that the program has not read yet
  std::uint32_t announced_ = 0, announcing_ = 0;
  time_point announce_from_{};
  bool fenced_ = false;
};

} // namespace weir::testing
