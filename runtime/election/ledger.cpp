#include "runtime/election/ledger.hpp"

#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>

namespace weir::election {

using namespace std::chrono_literals;

namespace {

constexpr unsigned page = 500;         ///< records in one answer
constexpr auto soon_again = 100ms;     ///< after a write whose fate is not known
constexpr auto refused_pause = 5s;     ///< after a write of the queue that etcd refused
constexpr std::uint64_t event_slots = 512;
constexpr std::string_view event_prefix = "event/";

/// A list of changes as one value: "LENGTH:KEY-" or "LENGTH:KEY+LENGTH:VALUE" for each.
std::string pack(const std::vector<operation>& all) {
  std::string text;
  for (auto& one : all) {
    text += fmt::format("{}:{}", one.key.size(), one.key);
    text += one.what == operation::kind::put ? fmt::format("+{}:{}", one.value.size(), one.value) : std::string("-");
  }
  return text;
}

} // namespace

expected<std::vector<operation>> parse_pending(std::string_view text) {
  auto damaged = fail(error_code::corrupt, "a pending change in etcd is damaged");
  auto word = [&]() -> std::optional<std::string> {
    std::size_t length = 0;
    auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), length);
    auto used = static_cast<std::size_t>(end - text.data());
    if (code != std::errc{} || used == text.size() || *end != ':' || length > text.size() - used - 1)
      return std::nullopt;
    std::string out(text.substr(used + 1, length));
    text.remove_prefix(used + 1 + length);
    return out;
  };
  std::vector<operation> all;
  while (!text.empty()) {
    auto key = word();
    if (!key || key->empty() || text.empty())
      return damaged;
    bool kept = text.front() == '+';
    if (!kept && text.front() != '-')
      return damaged;
    text.remove_prefix(1);
    if (!kept) {
      all.push_back(remove(std::move(*key)));
      continue;
    }
    auto value = word();
    if (!value)
      return damaged;
    all.push_back(put(std::move(*key), std::move(*value)));
  }
  return all;
}

namespace {

std::size_t weight(const operation& one) { return one.key.size() + one.value.size() + 32; }

} // namespace

ledger::ledger(std::shared_ptr<election::etcd> there, std::shared_ptr<term> mine, const std::string& cluster, ledger_limits limits)
    : there_(std::move(there)), mine_(std::move(mine)), prefix_(prefix_of(cluster)), leader_(leader_key(prefix_)), sequence_(prefix_ + "sequence"), limits_(limits),
      thread_([this] { ship_queued(); }) {}

ledger::~ledger() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

error ledger::over() const { return {error_code::fenced, "this node does not coordinate any more: " + mine_->why()}; }

std::string ledger::part_key(std::size_t i) const { return fmt::format("{}pending/part/{:06}", prefix_, i); }

void ledger::give_up(std::string why) { mine_->end(std::move(why)); }

expected<void> ledger::add(write_set& to, const std::vector<store::change>& changes) const {
  for (auto& c : changes) {
    if (c.key.size() + (c.value ? c.value->size() : 0) > limits_.record_bytes)
      return fail(error_code::too_large, fmt::format("{}: has {} bytes, etcd takes {}", c.key, c.value->size(), limits_.record_bytes));
    if (!c.key.starts_with(event_prefix)) {
      to[prefix_ + "store/" + c.key] = c.value;
      continue;
    }
    auto digits = c.key.substr(event_prefix.size());
    std::uint64_t number = 0;
    std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
    to[fmt::format("{}events/{:03x}", prefix_, number % event_slots)] = digits + " " + c.value.value_or(std::string());
  }
  return {};
}

expected<std::map<std::string, record>> ledger::read_everything() {
  std::map<std::string, record> all;
  auto from = prefix_;
  auto limit = page;
  revision_number at = 0;
  for (;;) {
    auto some = there_->range(from, end_of_prefix(prefix_), limit, at);
    if (!some && some.error().code == error_code::too_large && limit > 1) {
      limit /= 2;
      continue;
    }
    WEIR_TRY(some);
    at = at == 0 ? some->revision : at; // the other pages as they stood then
    if (some->records.empty())
      return all;
    from = some->records.back().key + '\0';
    for (auto& one : some->records)
      all.emplace(one.key, std::move(one));
    if (!some->more)
      return all;
  }
}

expected<store::mirrored> ledger::take_over() {
  std::lock_guard writing(writing_);
  auto all = read_everything();
  WEIR_TRY(all);
  auto last = all->find(sequence_);
  auto claimed = there_->commit({.when = {{.key = leader_, .created = mine_->epoch(), .modified = {}, .value = {}},
                                          {.key = sequence_, .created = {}, .modified = last == all->end() ? 0 : last->second.modified, .value = {}}},
                                 .then = {put(sequence_, fmt::format("{}:0", mine_->epoch()))},
                                 .otherwise = {}});
  WEIR_TRY(claimed);
  if (!claimed->succeeded) {
    mine_->end("another node has taken over");
    return fail(over());
  }
  write_set found;
  for (auto& [key, one] : *all)
    found.emplace(key, std::move(one.value));

  // What a former leader had announced whole, it had promised.
  if (auto ready = found.find(prefix_ + "pending/ready"); ready != found.end()) {
    std::size_t count = 0;
    std::from_chars(ready->second->data(), ready->second->data() + ready->second->size(), count);
    for (std::size_t i = 0; i < count; ++i) { // parts behind these are of a change that never counted
      auto part = found.find(part_key(i));
      if (part == found.end())
        return fail(error_code::corrupt, fmt::format("part {} of {} of a pending change is missing in etcd", i, count));
      auto parts = parse_pending(*part->second);
      WEIR_TRY(parts);
      for (std::size_t first = 0; first < parts->size(); first += limits_.operations) {
        auto end = std::min(parts->size(), first + limits_.operations);
        unfinished_.emplace_back(parts->begin() + static_cast<std::ptrdiff_t>(first), parts->begin() + static_cast<std::ptrdiff_t>(end));
      }
    }
    for (auto& some : unfinished_)
      for (auto& one : some)
        found[one.key] = one.what == operation::kind::put ? std::optional(one.value) : std::nullopt;
  }
  unfinished_.push_back({remove_all(prefix_ + "pending/")});
  WEIR_TRY(finish());

  store::mirrored out;
  for (auto& [key, value] : found) {
    auto rest = std::string_view(key).substr(prefix_.size());
    if (!value)
      continue;
    if (rest == "initialised")
      out.mark = std::move(*value);
    else if (rest.starts_with("store/"))
      out.records.emplace(rest.substr(6), std::move(*value));
    else if (auto blank = value->find(' '); rest.starts_with("events/") && blank == 16)
      out.events.emplace(std::string(event_prefix) + value->substr(0, 16), value->substr(17));
  }
  if (out.mark.empty()) { // what an upload left that did not come to its end
    out = {};
    WEIR_TRY(commit({remove_all(prefix_ + "store/"), remove_all(prefix_ + "events/")}));
  }
  return out;
}

expected<void> ledger::initialise(const store::raw_contents& records, const std::map<std::string, std::string>& events, const std::string& mark) {
  std::lock_guard writing(writing_);
  std::vector<store::change> all;
  for (auto& [key, value] : records)
    all.push_back({key, value});
  for (auto& [key, value] : events)
    all.push_back({key, value});
  write_set writes;
  WEIR_TRY(add(writes, all));
  writes[prefix_ + "initialised"] = mark;
  return write(writes);
}

expected<void> ledger::commit(const operations& wishes) {
  auto before = fmt::format("{}:{}", mine_->epoch(), number_), after = fmt::format("{}:{}", mine_->epoch(), number_ + 1);
  transaction wish{.when = {{.key = leader_, .created = mine_->epoch(), .modified = {}, .value = {}}, {.key = sequence_, .created = {}, .modified = {}, .value = before}},
                   .then = wishes,
                   .otherwise = {get(leader_), get(sequence_)}};
  wish.then.push_back(put(sequence_, after));
  while (mine_->holds()) {
    auto done = there_->commit(wish, mine_->left());
    if (!done && done.error().code != error_code::unavailable)
      return fail(done.error());
    if (!done) {
      log::warn("election", "write-not-answered", "left_ms={} error={}", mine_->left().count(), done.error().text);
      mine_->wait_for(soon_again);
      continue;
    }
    if (!done->succeeded) {
      bool leads = done->found.size() == 2 && done->found[0].records.size() == 1 && done->found[0].records[0].created == mine_->epoch();
      bool was_done = leads && done->found[1].records.size() == 1 && done->found[1].records[0].value == after; // by a try whose answer did not come
      if (!was_done) {
        mine_->end(leads ? "somebody else writes the records of this term" : "another node has taken over");
        break;
      }
    }
    ++number_;
    return {};
  }
  return fail(over());
}

expected<void> ledger::finish() {
  while (!unfinished_.empty()) {
    WEIR_TRY(commit(unfinished_.front()));
    unfinished_.erase(unfinished_.begin());
  }
  return {};
}

expected<void> ledger::write(const write_set& changes) {
  WEIR_TRY(finish());
  std::vector<operations> parts(1);
  std::size_t bytes = 0;
  for (auto& [key, value] : changes) {
    auto one = value ? put(key, *value) : remove(key);
    if (!parts.back().empty() && (parts.back().size() >= limits_.operations || bytes + weight(one) > limits_.transaction_bytes)) {
      parts.emplace_back();
      bytes = 0;
    }
    bytes += weight(one);
    parts.back().push_back(std::move(one));
  }
  if (parts.size() == 1)
    return commit(parts.front());
  // Larger than a transaction: announced in parts first, so that whoever takes over in between finishes it or finds nothing of it.
  for (std::size_t i = 0; i < parts.size(); ++i)
    WEIR_TRY(commit({put(part_key(i), pack(parts[i]))}));
  WEIR_TRY(commit({put(prefix_ + "pending/ready", std::to_string(parts.size()))}));
  unfinished_ = std::move(parts);
  unfinished_.push_back({remove_all(prefix_ + "pending/")});
  if (auto done = finish(); !done && done.error().code == error_code::fenced)
    return done; // it counts all the same; that it did is for the next leader to say
  return {};
}

expected<void> ledger::ship(const std::vector<store::change>& changes) {
  std::lock_guard writing(writing_);
  write_set waiting;
  {
    std::lock_guard lock(mutex_);
    waiting.swap(queued_);
  }
  auto all = waiting;
  auto done = add(all, changes);
  if (done)
    done = all.empty() ? expected<void>{} : write(all);
  if (!done) {
    std::lock_guard lock(mutex_);
    queued_.merge(waiting); // what was queued since is newer and stays
  }
  return done;
}

expected<void> ledger::queue(const std::vector<store::change>& changes) {
  if (!mine_->holds())
    return fail(over());
  write_set all;
  WEIR_TRY(add(all, changes));
  {
    std::lock_guard lock(mutex_);
    all.merge(queued_); // the newer ones stay
    queued_ = std::move(all);
  }
  changed_.notify_all();
  return {};
}

void ledger::ship_queued() {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, [&] { return stopping_ || !queued_.empty(); }), !stopping_) {
    changed_.wait_for(lock, limits_.ship_after, [&] { return stopping_; }); // others come along
    lock.unlock();
    auto done = ship({});
    lock.lock();
    if (done)
      continue;
    if (done.error().code == error_code::fenced)
      return;
    log::error("election", "records-not-shipped", "records={} error={}", queued_.size(), done.error().text);
    changed_.wait_for(lock, refused_pause, [&] { return stopping_; });
  }
}

expected<std::shared_ptr<ledger>> take_over(store::store& mine, std::shared_ptr<election::etcd> there, std::shared_ptr<term> term, const election_options& who, timestamp wall) {
  mine.use_mirror(nullptr);
  auto book = std::make_shared<ledger>(std::move(there), term, who.cluster);
  auto kept = book->take_over();
  WEIR_TRY(kept);
  if (kept->mark.empty()) {
    auto mark = mine.mark();
    WEIR_TRY(mark);
    if (!mark->empty())
      return fail(error_code::conflict, fmt::format("etcd has nothing of cluster {:?}, but this store is a copy, perhaps an old one, of what it had: restore etcd, or start the node with the "
                                                    "newest copy once with coordinator.election: single", who.cluster));
    auto records = mine.records();
    WEIR_TRY(records);
    auto events = mine.raw_events(event_slots);
    WEIR_TRY(events);
    auto made = random_uuid();
    WEIR_TRY(book->initialise(*records, *events, made));
    WEIR_TRY(mine.set_mark(made));
    log::info("election", "records-uploaded", "records={} events={}", records->size(), events->size());
  } else {
    event note{.number = 0, .at = wall, .kind = "coordinator-elected", .subject = "cluster",
               .text = fmt::format("Node {} coordinates, epoch {}.", who.node, term->epoch()), .actor = who.node};
    WEIR_TRY(mine.adopt(*kept, std::move(note)));
    auto now = mine.records(); // a newer Weir has migrated them
    WEIR_TRY(now);
    std::vector<store::change> newer;
    for (auto& [key, value] : *now)
      if (auto was = kept->records.find(key); was == kept->records.end() || was->second != value)
        newer.push_back({key, value});
    for (auto& [key, value] : kept->records)
      if (!now->contains(key))
        newer.push_back({key, {}});
    WEIR_TRY(book->ship(newer));
    log::info("election", "records-taken-over", "records={} events={} migrated={}", kept->records.size(), kept->events.size(), newer.size());
  }
  if (!term->holds())
    return fail(error_code::fenced, "the term ended meanwhile: " + term->why());
  mine.use_mirror(book);
  return book;
}

} // namespace weir::election
