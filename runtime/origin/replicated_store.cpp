#include "runtime/origin/replicated_store.hpp"

#include "runtime/base/log.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/hls/segment_log.hpp"

#include <algorithm>
#include <condition_variable>
#include <future>
#include <optional>
#include <ranges>
#include <set>
#include <tuple>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace weir::origin {

using namespace std::chrono_literals;

namespace {

using steady = std::chrono::steady_clock;
using answered = std::function<void(expected<std::string>)>;

constexpr auto trouble_counts = 10s; ///< of a peer: it is asked after others
constexpr auto most_held_up = 2s;    ///< writers, by copies that a new view needs: they give up after 5 s at the earliest

/// Answers of members to one question; who asked waits until they decide it. What comes later is dropped.
template <class T>
class ballot {
public:
  using answers = std::map<std::string, expected<T>>;

  void cast(const std::string& member, expected<T> answer) {
    {
      std::lock_guard lock(guard_);
      answers_.emplace(member, std::move(answer));
    }
    came_.notify_all();
  }
  /// All answers, once `decided(answers)` or at the deadline.
  template <class Decided>
  answers wait(steady::time_point until, Decided decided) {
    std::unique_lock lock(guard_);
    came_.wait_until(lock, until, [&] { return decided(std::as_const(answers_)); });
    return answers_;
  }

private:
  std::mutex guard_;
  std::condition_variable came_;
  answers answers_;
};

template <class Answers>
std::size_t successes(const Answers& answers, const replica_view& of) {
  return static_cast<std::size_t>(std::ranges::count_if(answers, [&](auto& a) { return a.second.has_value() && of.has(a.first); }));
}

template <class Answers>
std::size_t failures(const Answers& answers, const replica_view& of) {
  return static_cast<std::size_t>(std::ranges::count_if(answers, [&](auto& a) { return !a.second.has_value() && of.has(a.first); }));
}

/// Whether `wanted` successes have come or cannot come any more.
template <class Answers>
bool decided(const Answers& answers, const replica_view& of, std::size_t wanted) {
  return successes(answers, of) >= wanted || failures(answers, of) > of.members.size() - wanted;
}

/// Why too few members did what was asked. A full disk stands last, so that is_full() sees it.
template <class Answers>
error too_few(std::string_view what, const Answers& answers, const replica_view& of, std::size_t wanted) {
  std::vector<std::string> reasons, full;
  auto code = error_code::unavailable;
  const bool refused = failures(answers, of) > of.members.size() - wanted; // then nobody waited for the rest
  for (auto& m : of.members) {
    auto answer = answers.find(m.name);
    if (answer == answers.end()) {
      if (refused)
        continue;
      reasons.push_back(m.name + ": no answer in time");
      if (code == error_code::unavailable)
        code = error_code::timeout;
    } else if (!answer->second) {
      auto& why = answer->second.error();
      (is_full(why) ? full : reasons).push_back(m.name + ": " + why.text);
      if (why.code == error_code::fenced)
        code = error_code::fenced;
    }
  }
  if (!full.empty() && code != error_code::fenced)
    code = error_code::io_failed;
  reasons.insert(reasons.end(), full.begin(), full.end());
  return {code, fmt::format("{}: {} of {} origins did it, {} are needed: {}", what, successes(answers, of), of.members.size(), wanted, fmt::join(reasons, "; "))};
}

/// Each member once.
std::vector<replica> members_of(const std::vector<replica_view>& views) {
  std::vector<replica> all;
  for (auto& v : views)
    std::ranges::copy_if(v.members, std::back_inserter(all), [&](auto& m) { return std::ranges::find(all, m.name, &replica::name) == all.end(); });
  return all;
}

/// Whether no view of these can be written under an older term any more, or that cannot be reached.
template <class Answers>
bool enough_to_claim(const Answers& answers, const std::vector<replica_view>& views) {
  return std::ranges::all_of(views, [&](auto& v) { return decided(answers, v, v.to_claim()); });
}

template <class Answers>
expected<void> check_claimed(std::string_view what, const Answers& answers, const std::vector<replica_view>& views) {
  for (auto& v : views)
    if (successes(answers, v) < v.to_claim())
      return fail(too_few(what, answers, v, v.to_claim()));
  return {};
}

/// What a peer lacks.
struct debt {
  std::set<std::string> segments, removals, logs; // addresses; names of streams
  bool compare = false;                           // too much to note, or nobody knows: everything is compared
  std::size_t size() const { return segments.size() + removals.size() + logs.size() + (compare ? 1 : 0); }
  void bound(std::size_t most) {
    if (size() > most + 1)
      *this = {.segments = {}, .removals = {}, .logs = {}, .compare = true};
  }
};

struct peer {
  debt owed;
  std::size_t paying = 0; // of these, taken out by the mender
  std::size_t under_way = 0;
  std::uint64_t bytes_under_way = 0;
  std::string trouble;
  steady::time_point silent{}; // it did not answer a question then
};

/// A segment that is looked for at one peer after the other; the next one also when those before are slow. Under core::guard.
struct search {
  segment_id segment;
  std::string path;
  std::vector<replica> peers;
  std::size_t asked = 0, answered = 0; // of these
  std::vector<http::client::request_id> under_way;
  error why;
  bool over = false;
};

std::uint64_t microseconds_now() {
  return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch()).count());
}

struct question {
  std::string method = "GET";
  std::string path;
  std::string mark; ///< empty: none is needed
  std::shared_ptr<const std::string> body = nullptr;
  std::uint64_t answer_limit = 64 << 10;
};

} // namespace

struct replicated_store::core : std::enable_shared_from_this<core> {
  std::shared_ptr<replica_desk> desk;
  replicated_options options;

  mutable std::mutex web_guard;
  http::client* web = nullptr; // until close(); it answers every request at its end

  mutable std::mutex guard; // what follows
  std::condition_variable wake;
  replica_view view;
  bool writes = false; // use() took `view` over here; its holder's name alone may be that of a former start of this member
  std::map<std::string, peer> peers;
  std::map<std::string, std::uint64_t, std::less<>> versions; // of each stream's log: the last one given
  std::map<std::string, std::vector<fetched>> fetches;
  http::client::request_id mending = 0; // what the mender waits for
  std::set<std::string> removing;       // what it has removed from a peer just now: a put of that must come there after it
  std::condition_variable removed;
  std::map<std::string, log_stamp, std::less<>> newest_taken; // of each stream's log: as they were when `view` was taken over, or given since
  bool compare_here = false;
  bool ending = false;
  std::vector<replica> learners;        // members are not among them
  std::multimap<steady::time_point, std::function<void()>> alarms;
  std::condition_variable alarm;
  std::mutex using_view; // one use() at a time

  steady::time_point deadline() const { return steady::now() + options.deadline; }

  expected<replica_view> in_force() const {
    std::lock_guard lock(guard);
    if (view.members.empty())
      return fail(error_code::unavailable, "this origin has not yet agreed with the others who keeps copies");
    return view;
  }

  /// `done` runs on the client's thread, or on this one after close(): not under a lock that it takes.
  http::client::request_id ask(const replica& to, question q, answered done) const {
    http::client_request r;
    r.method = std::move(q.method);
    r.url = to.url + q.path;
    r.headers.add("Authorization", "Bearer " + (to.token.empty() ? options.token : to.token));
    if (auto disk = disk_of(to.name); !disk.empty())
      r.headers.add("Weir-Disk", std::string(disk));
    if (!q.mark.empty())
      r.headers.add("Weir-Term", std::move(q.mark));
    if (q.body)
      r.body = std::move(q.body);
    r.deadline = options.deadline;
    r.connect_deadline = std::min<std::chrono::milliseconds>(options.deadline, 2s);
    r.response_limit = q.answer_limit;
    {
      std::lock_guard lock(web_guard);
      if (web)
        return web->send(std::move(r), [done = std::move(done)](expected<http::client_response> got) {
          if (!got)
            return done(fail(std::move(got).error()));
          if (got->status / 100 != 2)
            return done(fail(parse_refusal(got->status, got->body)));
          done(std::move(got->body));
        });
    }
    done(fail(error_code::unavailable, "this origin is stopping"));
    return 0;
  }

  void cancel(http::client::request_id id) const {
    std::lock_guard lock(web_guard);
    if (web)
      web->cancel(id);
  }

  /// For the mender: waits, and ends with the store.
  expected<std::string> wait_for(const replica& to, question q) {
    auto votes = std::make_shared<ballot<std::string>>();
    auto id = ask(to, std::move(q), [votes](expected<std::string> got) { votes->cast("", std::move(got)); });
    bool over = false;
    {
      std::lock_guard lock(guard);
      mending = id;
      over = ending;
    }
    if (over)
      cancel(id);
    auto answers = votes->wait(steady::time_point::max(), [](auto& a) { return !a.empty(); });
    return answers.begin()->second;
  }

  /// Notes what `name` lacks.
  template <class Note>
  void owe(const std::string& name, Note note) {
    std::lock_guard lock(guard);
    auto& owed = peers[name].owed;
    note(owed); // also where everything is to be compared: only what a log lists already is
    owed.bound(options.most_owed);
  }

  /// 0: it may be sent to that peer, and counts as under way from now on. Otherwise how many are already.
  std::size_t begin_write(const std::string& name, std::uint64_t size) {
    std::lock_guard lock(guard);
    auto& p = peers[name];
    if (p.under_way >= options.most_under_way || (p.under_way > 0 && p.bytes_under_way + size > options.most_bytes_under_way))
      return p.under_way;
    ++p.under_way;
    p.bytes_under_way += size;
    return 0;
  }

  /// One write at all members; `note` says what a peer lacks that did not do it.
  template <class Note>
  expected<void> write(std::string_view what, const replica_view& of, std::uint64_t size, std::function<expected<void>()> here, const question& there, Note note) {
    auto votes = std::make_shared<ballot<void>>();
    auto me = shared_from_this();
    auto targets = of.members;
    {
      std::lock_guard lock(guard);
      if (of.mark == view.mark)
        targets.insert(targets.end(), learners.begin(), learners.end()); // whose answers count for nothing
    }
    for (auto& m : targets) {
      if (m.name == options.self)
        continue;
      if (auto waiting = begin_write(m.name, size); waiting > 0) {
        votes->cast(m.name, fail(error_code::too_many, fmt::format("{} writes wait for its answer already", waiting)));
        owe(m.name, note);
        continue;
      }
      ask(m, there, [me, votes, name = m.name, size, note, learns = !of.has(m.name)](expected<std::string> got) {
        const bool missed = !got && (learns || got.error().code != error_code::fenced);
        {
          std::lock_guard inner(me->guard);
          auto& back = me->peers[name];
          --back.under_way;
          back.bytes_under_way -= size;
          back.trouble = missed ? got.error().text : std::string{};
        }
        if (missed)
          me->owe(name, note);
        votes->cast(name, got ? expected<void>{} : fail(std::move(got).error()));
      });
    }
    auto local = [me, votes, here = std::move(here), self = options.self] { votes->cast(self, here()); };
    if (of.has(options.self) && !desk->writers().run(local))
      votes->cast(options.self, fail(error_code::too_many, "too much waits for the disk"));
    auto answers = votes->wait(deadline(), [&](auto& a) { return decided(a, of, of.needed()); });
    if (successes(answers, of) >= of.needed())
      return {};
    return fail(too_few(what, answers, of, of.needed()));
  }

  /// A question to the members of one or more views, this one included.
  template <class T, class Here, class Read>
  std::shared_ptr<ballot<T>> poll(const std::vector<replica>& members, Here here, const question& there, Read read) {
    auto votes = std::make_shared<ballot<T>>();
    for (auto& m : members)
      if (m.name == options.self) {
        if (!desk->others().run([me = shared_from_this(), votes, here, self = options.self] { votes->cast(self, here()); }))
          votes->cast(options.self, fail(error_code::too_many, "too much waits for the disk"));
      } else {
        ask(m, there, [votes, name = m.name, read](expected<std::string> got) {
          if (!got)
            return votes->cast(name, fail(std::move(got).error()));
          votes->cast(name, read(*got));
        });
      }
    return votes;
  }

  auto poll_words(const std::vector<replica>& members, const claim_mark& mark) {
    return poll<replica_word>(members, [d = desk.get(), mark] { return d->accept(mark); }, {"PUT", "/replica/v1/claim", to_text(mark)}, [](std::string_view text) { return parse_word(text); });
  }
  auto poll_streams(const std::vector<replica>& members) {
    return poll<std::vector<stamped_stream>>(members, [d = desk.get()]() -> expected<std::vector<stamped_stream>> { return d->streams(); },
                                             {.path = "/replica/v1/logs", .answer_limit = replica_text_limit}, [](std::string_view text) { return parse_streams(text); });
  }
  /// A member without that log has said so: an empty one.
  auto poll_log(const std::vector<replica>& members, std::string_view stream) {
    auto or_none = [](expected<stamped_log> log) -> expected<stamped_log> {
      if (!log && log.error().code == error_code::not_found)
        return stamped_log{};
      return log;
    };
    auto votes = std::make_shared<ballot<stamped_log>>();
    for (auto& m : members)
      if (m.name == options.self) {
        if (!desk->others().run([votes, or_none, d = desk, self = options.self, stream = std::string(stream)] { votes->cast(self, or_none(d->load_log(stream))); }))
          votes->cast(options.self, fail(error_code::too_many, "too much waits for the disk"));
      } else {
        ask(m, {.path = fmt::format("/replica/v1/logs/{}", stream), .answer_limit = replica_text_limit + 1'000}, [votes, or_none, name = m.name](expected<std::string> got) {
          votes->cast(name, or_none(got ? parse_log(*got) : expected<stamped_log>(fail(std::move(got).error()))));
        });
      }
    return votes;
  }

  /// Of those that `to_claim()` members of each view have.
  expected<stamped_log> newest_log(const std::vector<replica_view>& views, std::string_view stream) {
    auto votes = poll_log(members_of(views), stream);
    auto answers = votes->wait(deadline(), [&](auto& a) { return enough_to_claim(a, views); });
    WEIR_TRY(check_claimed(fmt::format("read the log of {}", stream), answers, views));
    // Of logs from before there were copies all are equal: the own one.
    stamped_log newest;
    if (auto own = answers.find(options.self); own != answers.end() && own->second)
      newest = *own->second;
    for (auto& [name, log] : answers)
      if (log)
        if (auto order = log->stamp.order(newest.stamp); order > 0 || (order == 0 && newest.json.empty()))
          newest = *log;
    return newest;
  }

  struct found_stream {
    stamped_stream best;
    std::set<std::string> at; ///< members that are known to have it
  };
  /// By stream: the newest stamp of those that `to_claim()` members of each view have. Removed streams are among them. Members of `next` are asked, too: what they
  /// have already need not be sent there.
  expected<std::map<std::string, found_stream>> newest_stamps(const std::vector<replica_view>& views, const replica_view& next = {}) {
    auto all = views;
    all.push_back(next);
    auto votes = poll_streams(members_of(all));
    auto answers = votes->wait(deadline(), [&](auto& a) { return enough_to_claim(a, views) && (next.members.empty() || decided(a, next, next.needed())); });
    WEIR_TRY(check_claimed("list the logs", answers, views));
    std::map<std::string, found_stream> found;
    for (auto& [name, streams] : answers)
      if (streams)
        for (auto& s : *streams) {
          auto& one = found.try_emplace(s.stream, found_stream{s, {}}).first->second;
          auto order = s.stamp.order(one.best.stamp);
          if (order > 0)
            one = {s, {}};
          if (order >= 0)
            one.at.insert(name);
        }
    return found;
  }

  /// Enough members of the view, and of all that may have been in force before it, accept its term. Returns those before it.
  expected<std::vector<replica_view>> claim(const replica_view& next, std::vector<replica_view> former) {
    auto with_addresses = [&](replica_view old) {
      for (auto& m : old.members)
        if (auto now = std::ranges::find(next.members, m.name, &replica::name); now != next.members.end())
          m = *now;
      return old;
    };
    // One that is in force: whatever was before it is over.
    auto hear = [&](const replica_view& settled) {
      if (settled.members.empty() || (!former.empty() && settled.mark.term <= former.front().mark.term))
        return false;
      std::erase_if(former, [&](auto& old) { return old.mark.term < settled.mark.term; });
      if (!former.empty() && former.front().mark.term == settled.mark.term)
        return true;
      former.insert(former.begin(), with_addresses(settled));
      return true;
    };
    for (auto& old : former)
      old = with_addresses(std::move(old));
    hear(desk->word().settled);
    if (former.empty()) {
      former.push_back(next);
      former.front().mark = {}; // so that any view that somebody knows is newer
    }
    const auto until = deadline();
    const auto what = fmt::format("claim term {}", next.mark.term);
    for (bool heard = true; heard;) {
      heard = false;
      auto all = former;
      all.push_back(next);
      auto votes = poll_words(members_of(all), next.mark);
      auto answers = votes->wait(until, [&](auto& a) { return decided(a, next, next.needed()) && enough_to_claim(a, former); });
      // A member may know of a view in force that this one has missed: then it is that view's members who have what was stored last.
      for (auto& [name, word] : answers)
        heard = (word && hear(word->settled)) || heard;
      if (heard && steady::now() < until)
        continue;
      if (successes(answers, next) < next.needed())
        return fail(too_few(what, answers, next, next.needed()));
      WEIR_TRY(check_claimed(what, answers, former));
      heard = false;
    }
    return former;
  }

  /// Under the lock.
  bool is_mine() const { return writes && view.mark.holder == options.self; }

  /// Under the lock.
  bool is_learner(std::string_view name) const { return std::ranges::find(learners, name, &replica::name) != learners.end(); }

  /// Under the lock. What a former owner owed is not known here.
  void take(const replica_view& next, bool to_write) {
    const bool anew = next.mark != view.mark || !next.same_members(view) || to_write != writes;
    view = next;
    writes = to_write;
    std::erase_if(learners, [&](auto& one) { return next.has(one.name); });
    std::erase_if(peers, [&](auto& p) { return !next.has(p.first) && !is_learner(p.first) && p.second.under_way == 0; });
    if (!anew)
      return;
    compare_here = true;
    for (auto& one : learners)
      peers[one.name].owed = {.segments = {}, .removals = {}, .logs = {}, .compare = true};
    for (auto& m : next.members)
      if (m.name == options.self)
        continue;
      else if (is_mine())
        peers[m.name].owed.compare = true;
      else
        peers[m.name].owed = {}; // whoever writes sends it
  }

  /// Whoever waits for a segment hears that nobody asks any more.
  void end_fetches() {
    std::vector<std::string> paths;
    {
      std::lock_guard lock(guard);
      for (auto& [path, waiting] : fetches)
        paths.push_back(path);
    }
    for (auto& path : paths)
      finish_fetch(path, fail(error_code::unavailable, "this origin is stopping"));
  }

  /// Nothing: somebody asks for it already. A callback: it cannot be asked for. An empty one: it is to be asked for.
  std::optional<fetched> start_fetch(const std::string& path, fetched& done) {
    std::lock_guard lock(guard);
    if (auto under_way = fetches.find(path); under_way != fetches.end()) {
      under_way->second.push_back(std::move(done));
      return std::nullopt;
    }
    if (fetches.size() >= options.most_fetches || ending)
      return std::move(done);
    fetches[path].push_back(std::move(done));
    return fetched{};
  }

  void fetch(const segment_id& segment, fetched done) {
    auto path = path_of(segment);
    if (desk->was_removed(segment)) // a peer may not have heard of it yet
      return done(fail(error_code::not_found, fmt::format("segment {}: it was removed", path)));
    if (ended())
      return done(fail(error_code::unavailable, "this origin is stopping"));
    auto turn = start_fetch(path, done);
    if (!turn)
      return;
    if (*turn)
      return (*turn)(fail(error_code::too_many, fmt::format("{} segments are being asked of other origins already", options.most_fetches)));
    auto wanted = std::make_shared<search>(search{.segment = segment, .path = path, .peers = {}, .under_way = {}, .why = {}});
    auto& others = wanted->peers;
    error none{error_code::not_found, fmt::format("segment {}: no origin has it", path)};
    {
      std::lock_guard lock(guard);
      if (view.members.empty())
        none = {error_code::unavailable, fmt::format("segment {}: this origin does not know yet whom to ask for it", path)};
      std::ranges::copy_if(view.members, std::back_inserter(others), [&](auto& m) { return m.name != options.self; });
      std::ranges::stable_partition(others, [&](auto& m) { return m.name == view.mark.holder; }); // it has it, or had
      const auto now = steady::now();
      std::ranges::stable_partition(others, [&](auto& m) { // one that stands still has it, too, and says so when it is too late
        auto known = peers.find(m.name);
        return known == peers.end() || known->second.silent == steady::time_point{} || now - known->second.silent > trouble_counts;
      });
    }
    wanted->why = std::move(none);
    ask_next(wanted);
  }

  /// The next peer that was not asked yet. When it has not answered in a moment, the one after it is asked as well.
  void ask_next(const std::shared_ptr<search>& wanted) {
    std::size_t at = 0;
    {
      std::lock_guard lock(guard);
      if (wanted->over)
        return;
      at = wanted->asked;
      if (at < wanted->peers.size())
        ++wanted->asked;
      else if (wanted->answered < wanted->asked)
        return; // somebody may have it yet
      else
        wanted->over = true;
    }
    if (at == wanted->peers.size())
      return finish_fetch(wanted->path, fail(wanted->why));
    auto me = shared_from_this();
    if (at + 1 < wanted->peers.size())
      later(options.hedge_after, [me, wanted, at] {
        {
          std::lock_guard lock(me->guard);
          if (wanted->over || wanted->asked != at + 1)
            return;
          me->peers[wanted->peers[at].name].silent = steady::now();
        }
        me->ask_next(wanted);
      });
    auto id = ask(wanted->peers[at], {.path = "/replica/v1/segments" + wanted->path.substr(2), .answer_limit = options.segment_limit},
                  [me, wanted, at](expected<std::string> got) { me->answer(wanted, at, std::move(got)); });
    std::lock_guard lock(guard);
    wanted->under_way.push_back(id);
  }

  /// What one peer says to it.
  void answer(const std::shared_ptr<search>& wanted, std::size_t at, expected<std::string> got) {
    std::vector<http::client::request_id> slower;
    {
      std::lock_guard lock(guard);
      ++wanted->answered;
      if (wanted->over)
        return;
      const bool silent = !got && got.error().code != error_code::not_found;
      if (auto known = peers.find(wanted->peers[at].name); silent)
        peers[wanted->peers[at].name].silent = steady::now();
      else if (known != peers.end())
        known->second.silent = {};
      // Nobody may conclude that a segment is nowhere while one that may have it is not reached.
      if (silent)
        wanted->why = {error_code::unavailable, fmt::format("segment {}: {}: {}", wanted->path, wanted->peers[at].name, got.error().text)};
      wanted->over = got.has_value();
      if (wanted->over)
        slower = std::exchange(wanted->under_way, {});
    }
    if (!got)
      return ask_next(wanted);
    for (auto id : slower)
      cancel(id);
    auto bytes = std::make_shared<const std::string>(std::move(*got));
    desk->writers().run([desk = desk, segment = wanted->segment, bytes] {
      if (desk->was_removed(segment))
        return;
      if (auto kept = desk->local().put(segment.stream, segment.place, std::as_bytes(std::span(*bytes))); !kept)
        log::warn("origin", "copy-not-kept", "segment={} error={}", path_of(segment), kept.error().text);
    });
    finish_fetch(wanted->path, std::move(bytes));
  }

  /// On the timer's thread.
  void later(std::chrono::milliseconds in, std::function<void()> what) {
    {
      std::lock_guard lock(guard);
      if (ending)
        return;
      alarms.emplace(steady::now() + in, std::move(what));
    }
    alarm.notify_one();
  }

  void keep_time() {
    std::unique_lock lock(guard);
    while (!ending) {
      if (alarms.empty()) {
        alarm.wait(lock);
        continue;
      }
      if (auto at = alarms.begin()->first; at > steady::now()) {
        alarm.wait_until(lock, at);
        continue;
      }
      auto what = std::move(alarms.begin()->second);
      alarms.erase(alarms.begin());
      lock.unlock();
      what();
      what = {};
      lock.lock();
    }
    alarms.clear();
  }

  void finish_fetch(const std::string& path, const expected<std::shared_ptr<const std::string>>& result) {
    std::vector<fetched> waiting;
    {
      std::lock_guard lock(guard);
      if (auto found = fetches.find(path); found != fetches.end()) {
        waiting = std::move(found->second);
        fetches.erase(found);
      }
    }
    for (auto& done : waiting)
      done(result);
  }

  expected<std::shared_ptr<const std::string>> fetch_and_wait(const segment_id& segment) {
    auto result = std::make_shared<std::promise<expected<std::shared_ptr<const std::string>>>>();
    auto future = result->get_future();
    fetch(segment, [result](expected<std::shared_ptr<const std::string>> got) { result->set_value(std::move(got)); });
    return future.get();
  }

  // The mender.

  void mend() {
    std::unique_lock lock(guard);
    while (!ending) {
      wake.wait_for(lock, options.mend_every, [&] { return ending; });
      if (ending || view.members.empty())
        continue;
      auto of = view;
      auto taught = learners;
      const bool mine = is_mine();
      auto here = std::exchange(compare_here, false) && of.has(options.self); // else whoever writes sends what is missing
      lock.unlock();
      if (here && !fill_here())
        owe_here();
      for (auto& m : of.members)
        if (mine && m.name != options.self)
          pay(of, m, false);
      for (auto& m : taught)
        if (mine)
          pay(of, m, true);
      lock.lock();
    }
  }

  void owe_here() {
    std::lock_guard lock(guard);
    compare_here = true;
  }

  /// Fetches what the logs here list and this member lacks, newest first. False: something is still to be fetched, and may be there later.
  bool fill_here() {
    bool complete = true;
    for (auto& s : desk->streams()) {
      auto log = desk->load_log(s.stream);
      if (!log || log->json.empty())
        continue;
      auto listed = listed_segments(log->json);
      if (!listed)
        continue;
      auto missing = desk->lacking(std::move(*listed));
      for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
        if (ended())
          return true;
        if (auto got = fetch_and_wait(*at); !got && got.error().code != error_code::not_found)
          complete = false;
      }
    }
    return complete;
  }

  bool ended() const {
    std::lock_guard lock(guard);
    return ending;
  }

  /// Sends a peer what it lacks, until it does not answer.
  void pay(const replica_view& of, const replica& to, bool learns) {
    auto until = learns ? steady::now() + options.lesson : steady::time_point::max();
    debt owed;
    {
      std::lock_guard lock(guard);
      auto& p = peers[to.name];
      owed = std::exchange(p.owed, {});
      p.paying = owed.size();
    }
    if (owed.size() == 0)
      return;
    auto began = owed.size();
    expected<void> done;
    if (owed.compare) {
      auto all = compare(of, to, until, learns); // which puts off the end by what it takes to find out what is missing
      done = all ? expected<void>{} : fail(all.error());
      owed.compare = !all || !*all;
    }
    auto pay_all = [&](std::set<std::string>& things, auto one) {
      while (done && !things.empty() && steady::now() < until) {
        auto last = std::prev(things.end());
        if (done = one(*last); done)
          things.erase(last);
      }
    };
    pay_all(owed.segments, [&](const std::string& path) { return send_segment(of, to, parse_segment(path).value()); });
    pay_all(owed.logs, [&](const std::string& stream) { return send_log(of, to, stream); });
    pay_all(owed.removals, [&](const std::string& path) { return send_removal(of, to, path); });
    std::lock_guard lock(guard);
    auto& p = peers[to.name];
    p.paying = 0;
    if (done && owed.size() == 0) {
      p.trouble.clear();
      log::info("origin", "peer-has-all", "peer={} sent={}", to.name, began);
      return;
    }
    p.trouble = done ? std::string{} : done.error().text;
    if (!done && done.error().code == error_code::fenced && !learns) // somebody else writes now, and sends it what it lacks
      return;
    p.owed.segments.merge(owed.segments);
    p.owed.removals.merge(owed.removals);
    p.owed.logs.merge(owed.logs);
    p.owed.compare |= owed.compare;
    p.owed.bound(options.most_owed);
  }

  static expected<void> sent(const expected<std::string>& answer) {
    if (!answer)
      return fail(answer.error());
    return {};
  }

  /// Of what is here. Fails: not_found, io_failed.
  expected<std::shared_ptr<const std::string>> bytes_of(const segment_id& segment) const {
    auto file = desk->local().open(segment.stream, segment.place);
    WEIR_TRY(file);
    if (file->bytes)
      return file->bytes;
    auto mapped = mapping::of(file->fd.get());
    WEIR_TRY(mapped);
    return std::make_shared<const std::string>(mapped->bytes());
  }

  /// A segment that is nowhere any more is owed to nobody.
  expected<void> send_segment(const replica_view& of, const replica& to, const segment_id& segment) {
    auto bytes = bytes_of(segment);
    if (!bytes && bytes.error().code == error_code::not_found)
      return {};
    WEIR_TRY(bytes);
    return sent(wait_for(to, {"PUT", "/replica/v1/segments" + path_of(segment).substr(2), to_text(of.mark), *bytes}));
  }

  /// What was put again since is not removed: a take-over sweeps what its writer brings once more.
  expected<void> send_removal(const replica_view& of, const replica& to, const std::string& path) {
    auto segment = parse_segment(path);
    WEIR_TRY(segment);
    {
      std::lock_guard lock(guard);
      if (!desk->was_removed(*segment))
        return {};
      removing.insert(path);
    }
    auto done = sent(wait_for(to, {"DELETE", "/replica/v1/segments" + path.substr(2), to_text(of.mark)}));
    {
      std::lock_guard lock(guard);
      removing.erase(path);
    }
    removed.notify_all();
    return done;
  }

  /// Before it is put: nothing that was to remove it comes to a peer later.
  void keep(const segment_id& segment, const std::string& path) {
    desk->forget_removed(segment);
    std::unique_lock lock(guard);
    removed.wait(lock, [&] { return !removing.contains(path); });
  }

  expected<void> send_log(const replica_view& of, const replica& to, const std::string& stream) {
    auto log = desk->load_log(stream);
    if (!log && log.error().code == error_code::not_found)
      return {};
    WEIR_TRY(log);
    return sent(wait_for(to, {"PUT", fmt::format("/replica/v1/logs/{}", stream), to_text(of.mark), std::make_shared<const std::string>(to_text(*log))}));
  }

  /// The view, the logs, and everything that they list: of all streams the newest segments first. False: there was not enough time for all.
  expected<bool> compare(const replica_view& of, const replica& to, steady::time_point& until, bool paced) {
    const auto asked = steady::now();
    if (of.mark.term > 0)
      WEIR_TRY(wait_for(to, {"PUT", "/replica/v1/view", {}, std::make_shared<const std::string>(describe::to_json(of))}));
    std::multimap<std::size_t, segment_id> missing; // by how many of its stream are newer
    for (auto& s : desk->streams()) {
      auto log = desk->load_log(s.stream);
      WEIR_TRY(log);
      WEIR_TRY(send_log(of, to, s.stream));
      auto listed = log->json.empty() ? expected<std::vector<segment_id>>() : listed_segments(log->json);
      if (!listed) {
        log::warn("origin", "log-not-compared", "stream={} peer={} error={}", s.stream, to.name, listed.error().text);
        continue;
      }
      auto text = wait_for(to, {"POST", "/replica/v1/lacking", {}, std::make_shared<const std::string>(to_text(*listed)), replica_text_limit});
      WEIR_TRY(text);
      auto lacks = parse_segments(*text);
      WEIR_TRY(lacks);
      for (std::size_t newer = 0; auto& segment : std::ranges::reverse_view(*lacks))
        missing.emplace(newer++, std::move(segment));
    }
    if (paced) // however long that took: else nothing would ever be sent
      until += steady::now() - asked;
    for (auto& [newer, segment] : missing) {
      const auto began = steady::now();
      if (began >= until)
        return false;
      WEIR_TRY(send_segment(of, to, segment));
      if (paced) // the live writes need the line, and its disk, more
        rest(steady::now() - began);
    }
    return true;
  }

  void rest(steady::duration time) {
    std::unique_lock lock(guard);
    wake.wait_for(lock, time, [&] { return ending; });
  }

  /// W of the view's members have what the logs list, or get it now. Nothing writes meanwhile.
  /// `strictly`: what none of them has is looked for elsewhere, and missed where it may be.
  expected<void> spread(const replica_view& next, const std::vector<replica_view>& views, const std::map<std::string, found_stream>& found, steady::time_point until, bool strictly) {
    std::vector<segment_id> listed;
    for (auto& [stream, one] : found) {
      if (one.best.removed)
        continue;
      auto log = desk->load_log(stream);
      if (!log || log->stamp.order(one.best.stamp) < 0)
        log = newest_log(views, stream);
      WEIR_TRY(log);
      if (steady::now() >= until)
        return fail(error_code::unavailable, "the logs could not be read in time");
      if (auto of_it = log->json.empty() ? expected<std::vector<segment_id>>() : listed_segments(log->json))
        listed.insert(listed.end(), of_it->begin(), of_it->end());
      else
        log::warn("origin", "log-not-compared", "stream={} peer={} error={}", stream, options.self, of_it.error().text);
    }
    constexpr std::size_t at_once = 5'000;
    for (std::size_t from = 0; from < listed.size(); from += at_once)
      WEIR_TRY(spread(next, {listed.begin() + static_cast<std::ptrdiff_t>(from), listed.begin() + static_cast<std::ptrdiff_t>(std::min(from + at_once, listed.size()))}, until, strictly));
    return {};
  }

  expected<void> spread(const replica_view& next, std::vector<segment_id> wanted, steady::time_point until, bool strictly) {
    for (bool again = false;; again = true) {
      auto text = std::make_shared<const std::string>(to_text(wanted));
      auto votes = poll<std::vector<segment_id>>(next.members, [d = desk.get(), wanted]() -> expected<std::vector<segment_id>> { return d->lacking(wanted); },
                                                 {"POST", "/replica/v1/lacking", {}, text, replica_text_limit}, [](std::string_view answer) { return parse_segments(answer); });
      auto have_all = [&](auto& answers) { return static_cast<std::size_t>(std::ranges::count_if(answers, [](auto& a) { return a.second && a.second->empty(); })); };
      auto answers = votes->wait(until, [&](auto& a) { return have_all(a) >= next.needed() || a.size() == next.members.size(); });
      if (have_all(answers) >= next.needed())
        return {};
      if (again || answers.size() < next.members.size()) {
        std::vector<std::string> lack;
        for (auto& [name, missing] : answers)
          if (!missing || !missing->empty())
            lack.push_back(missing ? fmt::format("{} lacks {} segments", name, missing->size()) : fmt::format("{}: {}", name, missing.error().text));
        return fail(error_code::unavailable, fmt::format("of {} origins {} have all that is listed, {} are needed: {}", next.members.size(), have_all(answers), next.needed(), fmt::join(lack, "; ")));
      }
      std::map<std::string, std::size_t> lack; // by path: how many
      for (auto& [name, missing] : answers)
        if (missing)
          for (auto& segment : *missing)
            ++lack[path_of(segment)];
      for (auto& [name, missing] : answers) {
        if (!missing)
          continue;
        for (auto& segment : std::ranges::reverse_view(*missing)) {
          if (!strictly && lack[path_of(segment)] == next.members.size()) {
            std::erase(wanted, segment); // whoever may have it has left
            continue;
          }
          if (steady::now() >= until)
            return fail(error_code::unavailable, fmt::format("{} lacks {} segments that are listed, and could not get them in time", name, missing->size()));
          auto sent = bring(next, name, segment, until);
          if (!sent && sent.error().code == error_code::not_found)
            std::erase(wanted, segment); // it is nowhere: nobody misses it
          else if (!sent)
            log::warn("origin", "copy-not-sent", "peer={} segment={} error={}", name, path_of(segment), sent.error().text);
        }
      }
    }
  }

  /// One segment to one member of a view that is about to come into force.
  expected<void> bring(const replica_view& next, const std::string& name, const segment_id& segment, steady::time_point until) {
    auto bytes = bytes_of(segment);
    if (!bytes && bytes.error().code == error_code::not_found)
      bytes = fetch_and_wait(segment);
    WEIR_TRY(bytes);
    if (name == options.self)
      return desk->put(next.mark, segment, **bytes);
    auto votes = std::make_shared<ballot<std::string>>();
    ask(*std::ranges::find(next.members, name, &replica::name), {"PUT", "/replica/v1/segments" + path_of(segment).substr(2), to_text(next.mark), *bytes},
        [votes](expected<std::string> got) { votes->cast("", std::move(got)); });
    auto answers = votes->wait(until, [](auto& a) { return !a.empty(); });
    return answers.empty() ? fail(error_code::timeout, "no answer in time") : sent(answers.begin()->second);
  }
};

replicated_store::replicated_store(std::shared_ptr<replica_desk> desk, http::client& web, replicated_options options) : core_(std::make_shared<core>()) {
  core_->desk = std::move(desk);
  core_->web = &web;
  core_->options = std::move(options);
  mender_ = std::thread([core = core_] { core->mend(); });
  timer_ = std::thread([core = core_] { core->keep_time(); });
}

replicated_store::replicated_store(std::shared_ptr<core> of, claim_mark only) : core_(std::move(of)), only_(std::move(only)) {}

replicated_store::~replicated_store() {
  if (!only_)
    close();
}

void replicated_store::close() {
  http::client::request_id mending = 0;
  {
    std::lock_guard lock(core_->guard);
    core_->ending = true;
    mending = core_->mending;
  }
  core_->wake.notify_all();
  core_->alarm.notify_all();
  core_->cancel(mending);
  core_->end_fetches();
  if (mender_.joinable())
    mender_.join();
  if (timer_.joinable())
    timer_.join();
  std::lock_guard lock(core_->web_guard);
  core_->web = nullptr;
}

expected<void> replicated_store::use(const replica_view& view, std::vector<replica_view> former) {
  auto& my = *core_;
  std::lock_guard alone(my.using_view);
  WEIR_TRY(check(view));
  if (!view.has(my.options.self))
    return fail(error_code::invalid_config, fmt::format("{} keeps no copies in this view", my.options.self));
  std::map<std::string, log_stamp, std::less<>> newest;
  if (view.mark.term > 0) {
    if (view.mark.holder != my.options.self)
      return fail(error_code::invalid_config, fmt::format("{} writes in this view, not {}", view.mark.holder, my.options.self));
    auto claimed = my.claim(view, std::move(former));
    WEIR_TRY(claimed);
    const bool grows = std::ranges::any_of(view.members, [&](auto& m) { return !claimed->front().has(m.name); });
    const bool shrinks = std::ranges::any_of(members_of(*claimed), [&](auto& m) { return !view.has(m.name); });
    // Nobody writes meanwhile: who comes in can wait and try again, with what it has got by then.
    const auto until = steady::now() + std::min<std::chrono::milliseconds>(my.options.deadline, most_held_up);
    auto views = *claimed;
    if (grows)
      views.push_back(view);
    auto found = my.newest_stamps(*claimed, view);
    WEIR_TRY(found);
    // W of the new members must have what is gone on with. Also where the members stay: what was not acknowledged may be at one of them alone, and would be shown
    // and then lost with it.
    for (auto& [stream, one] : *found) {
      newest.emplace(stream, one.best.stamp);
      if (std::ranges::count_if(one.at, [&](auto& name) { return view.has(name); }) >= static_cast<std::ptrdiff_t>(view.needed()))
        continue;
      if (grows && steady::now() >= until)
        return fail(error_code::unavailable, fmt::format("too few of {} origins have the log of {} and others, and could not get them in time", view.members.size(), stream));
      auto log = my.newest_log(views, stream);
      WEIR_TRY(log);
      auto text = std::make_shared<const std::string>(to_text(*log));
      WEIR_TRY(my.write(fmt::format("copy the log of {}", stream), view, text->size(), [d = my.desk.get(), mark = view.mark, name = stream, l = *log] { return d->save_log(mark, name, l, false); },
                        {"PUT", fmt::format("/replica/v1/logs/{}", stream), to_text(view.mark), text}, [name = stream](debt& owed) { owed.logs.insert(name); }));
    }
    if (grows) {
      WEIR_TRY(my.spread(view, views, *found, until, true));
    } else if (shrinks && view.members.size() > 1) {
      // What the ones that leave have and just enough others is at too few of those that stay. They go on all the same: nobody else can.
      if (auto all = my.spread(view, views, *found, steady::now() + most_held_up, false); !all)
        log::warn("origin", "members-lack-segments", "term={} error={}", view.mark.term, all.error().text);
    }
    auto text = std::make_shared<const std::string>(describe::to_json(view));
    WEIR_TRY(my.write(fmt::format("agree on the view of term {}", view.mark.term), view, text->size(), [d = my.desk.get(), view] { return d->settle(view); }, {"PUT", "/replica/v1/view", {}, text},
                      [](debt& owed) { owed.compare = true; }));
  }
  std::lock_guard lock(my.guard);
  my.take(view, true);
  my.newest_taken = std::move(newest);
  log::info("origin", "view-in-force", "term={} holder={} members={} quorum={}", view.mark.term, view.mark.holder, view.members.size(), view.needed());
  return {};
}

void replicated_store::teach(const std::vector<replica>& learners) {
  auto& my = *core_;
  std::lock_guard lock(my.guard);
  auto former = std::exchange(my.learners, {});
  for (auto& one : learners) {
    if (one.name == my.options.self || my.view.has(one.name))
      continue;
    if (std::ranges::find(former, one.name, &replica::name) == former.end())
      my.peers[one.name].owed.compare = true;
    my.learners.push_back(one);
  }
  std::erase_if(my.peers, [&](auto& p) { return !my.view.has(p.first) && !my.is_learner(p.first) && p.second.under_way == 0; });
}

void replicated_store::follow(const replica_view& view) {
  std::lock_guard lock(core_->guard);
  if (view.mark != core_->view.mark || !view.same_members(core_->view)) {
    core_->take(view, false);
    core_->newest_taken.clear();
    return;
  }
  for (auto& m : view.members)
    for (auto& known : core_->view.members)
      if (known.name == m.name) {
        known.url = m.url;
        if (!m.token.empty()) // one that is not known now is not another one
          known.token = m.token;
      }
}

std::shared_ptr<segment_store> replicated_store::under(claim_mark mark) const { return std::shared_ptr<segment_store>(new replicated_store(core_, std::move(mark))); }

expected<replica_view> replicated_store::writable() const {
  auto of = core_->in_force();
  WEIR_TRY(of);
  if (std::lock_guard lock(core_->guard); of->mark.term > 0 && !(of->mark == core_->view.mark && core_->is_mine()))
    return fail(error_code::fenced, fmt::format("{} writes, by term {}", core_->view.mark.holder, core_->view.mark.term));
  if (only_ && *only_ != of->mark)
    return fail(error_code::fenced, fmt::format("term {} is over, term {} is in force", only_->term, of->mark.term));
  return of;
}

replica_state replicated_store::state() const {
  std::lock_guard lock(core_->guard);
  replica_state s{.view = core_->view, .owed = {}, .trouble = {}, .learners = {}, .highest = core_->desk->word().mark.term};
  if (core_->is_mine())
    for (auto& one : core_->learners)
      s.learners[one.name] = false;
  for (auto& [name, p] : core_->peers) {
    if (!core_->view.has(name) && !core_->is_learner(name)) // something is still under way to one that was
      continue;
    s.owed[name] = p.owed.size() + p.paying;
    if (auto learner = s.learners.find(name); learner != s.learners.end())
      learner->second = s.owed[name] == 0;
    if (!p.trouble.empty())
      s.trouble[name] = p.trouble;
  }
  return s;
}

void replicated_store::fetch(const segment_id& segment, fetched done) const { core_->fetch(segment, std::move(done)); }

expected<void> replicated_store::claim(std::uint64_t term) {
  if (term == 0)
    return fail(error_code::invalid_input, "terms of a store begin at 1");
  auto of = core_->in_force();
  WEIR_TRY(of);
  of->mark = {term, core_->options.self};
  return use(*of);
}

expected<std::uint64_t> replicated_store::claimed() const {
  auto of = core_->in_force();
  WEIR_TRY(of);
  auto votes = core_->poll<replica_word>(of->members, [d = core_->desk.get()]() -> expected<replica_word> { return d->word(); }, {.path = "/replica/v1/word"},
                                         [](std::string_view text) { return parse_word(text); });
  auto answers = votes->wait(core_->deadline(), [&](auto& a) { return decided(a, *of, of->to_claim()); });
  if (successes(answers, *of) < of->to_claim())
    return fail(too_few("hear of the newest claim", answers, *of, of->to_claim()));
  auto highest = core_->desk->word().mark.term; // also one that nobody else has heard of
  for (auto& [name, word] : answers)
    if (word)
      highest = std::max(highest, word->mark.term);
  return highest;
}

expected<void> replicated_store::put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) {
  segment_id segment{std::string(stream), place};
  auto path = path_of(segment);
  if (auto good = parse_segment(path); !good || !(*good == segment))
    return fail(error_code::invalid_input, fmt::format("{:?} is no segment's address", path.substr(0, 200)));
  if (bytes.size() > core_->options.segment_limit)
    return fail(error_code::too_large, fmt::format("a segment of {} bytes is longer than {}", bytes.size(), core_->options.segment_limit));
  auto of = writable();
  WEIR_TRY(of);
  core_->keep(segment, path);
  auto copy = std::make_shared<const std::string>(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return core_->write("store segment " + path, *of, copy->size(), [d = core_->desk.get(), mark = of->mark, segment, copy] { return d->put(mark, segment, *copy); },
                      {"PUT", "/replica/v1/segments" + path.substr(2), to_text(of->mark), copy}, [path](debt& owed) { owed.segments.insert(path); });
}

expected<open_segment> replicated_store::open(std::string_view stream, const hls::segment_place& place) const {
  segment_id segment{std::string(stream), place};
  if (core_->desk->was_removed(segment))
    return fail(error_code::not_found, fmt::format("segment {}: it was removed", path_of(segment)));
  auto here = core_->desk->local().open(stream, place);
  if (here || here.error().code != error_code::not_found)
    return here;
  auto bytes = core_->fetch_and_wait(segment);
  WEIR_TRY(bytes);
  return open_segment{.fd = {}, .size = (*bytes)->size(), .bytes = *bytes};
}

expected<void> replicated_store::remove(std::string_view stream, const hls::segment_place& place) {
  segment_id segment{std::string(stream), place};
  auto path = path_of(segment);
  if (auto good = parse_segment(path); !good || !(*good == segment))
    return fail(error_code::invalid_input, fmt::format("{:?} is no segment's address", path.substr(0, 200)));
  auto of = writable();
  WEIR_TRY(of);
  core_->desk->note_removed(segment);
  auto done = core_->write("remove segment " + path, *of, 0, [d = core_->desk.get(), mark = of->mark, segment] { return d->remove(mark, segment); },
                      {"DELETE", "/replica/v1/segments" + path.substr(2), to_text(of->mark)}, [path](debt& owed) {
                        owed.segments.erase(path);
                        owed.removals.insert(path);
                      });
  if (!done && done.error().code == error_code::fenced) // it is not this one's any more: whoever has it may list it
    core_->desk->forget_removed(segment);
  return done;
}

expected<void> replicated_store::save_log(std::string_view stream, std::string_view json, bool durable) {
  if (json.size() > replica_text_limit - 1'000)
    return fail(error_code::too_large, fmt::format("the log of {} has {} bytes, more than {}", stream, json.size(), replica_text_limit - 1'000));
  auto of = writable();
  WEIR_TRY(of);
  std::string name(stream);
  if (!parse_segment(path_of(segment_id{name, {1, 1, "r", 1}})))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a stream", stream.substr(0, 100)));
  stamped_log log{{of->mark.term, 0, core_->options.self}, std::string(json)};
  {
    // The clock keeps a version from being given twice when this member begins anew and has forgotten one that only a member that is away has heard of.
    std::lock_guard lock(core_->guard);
    auto& version = core_->versions[name];
    log.stamp.version = version = std::max(version + 1, microseconds_now());
    if (of->mark == core_->view.mark)
      core_->newest_taken.insert_or_assign(name, log.stamp);
  }
  auto text = std::make_shared<const std::string>(to_text(log));
  auto done = core_->write("save the log of " + name, *of, text->size(), [d = core_->desk.get(), mark = of->mark, name, log, durable] { return d->save_log(mark, name, log, durable); },
                           {"PUT", fmt::format("/replica/v1/logs/{}{}", name, durable ? "?durable=1" : ""), to_text(of->mark), text}, [name](debt& owed) { owed.logs.insert(name); });
  // Others may have the stream: what too few of them know is not the state that its next owner goes on with, whatever the reason.
  if (!done && done.error().code == error_code::io_failed)
    return fail(error_code::unavailable, done.error().text);
  return done;
}

expected<std::string> replicated_store::load_log(std::string_view stream) const {
  if (!parse_segment(path_of(segment_id{std::string(stream), {1, 1, "r", 1}})))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a stream", stream.substr(0, 100)));
  auto of = core_->in_force();
  WEIR_TRY(of);
  // Whoever has taken over knows what is the newest: mostly it is here, and nobody has to be asked.
  std::optional<log_stamp> known;
  if (std::lock_guard lock(core_->guard); of->mark == core_->view.mark)
    if (auto at = core_->newest_taken.find(stream); at != core_->newest_taken.end())
      known = at->second;
  auto newest = known ? core_->desk->load_log(stream) : expected<stamped_log>(fail(error_code::not_found, ""));
  if (!newest || newest->stamp.order(*known) < 0)
    newest = core_->newest_log({*of}, stream);
  WEIR_TRY(newest);
  if (newest->json.empty())
    return fail(error_code::not_found, fmt::format("no origin has a log of {}", stream));
  return std::move(newest->json);
}

expected<std::vector<std::string>> replicated_store::streams() const {
  auto of = core_->in_force();
  WEIR_TRY(of);
  auto newest = core_->newest_stamps({*of});
  WEIR_TRY(newest);
  std::vector<std::string> names;
  for (auto& [stream, one] : *newest)
    if (!one.best.removed)
      names.push_back(stream);
  return names;
}

expected<void> replicated_store::remove_stream(std::string_view stream) { return save_log(stream, {}, true); }

expected<std::uint64_t> replicated_store::sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) {
  auto of = writable();
  WEIR_TRY(of);
  std::vector<segment_id> gone;
  auto count = core_->desk->sweep(of->mark, [&](std::string_view stream, const hls::segment_place& place) {
    if (known(stream, place))
      return true;
    if (segment_id segment{std::string(stream), place}; gone.size() < core_->options.most_owed && parse_segment(path_of(segment)))
      gone.push_back(std::move(segment));
    return false;
  });
  WEIR_TRY(count);
  for (auto& segment : gone) { // most of it is at the others, too
    core_->desk->note_removed(segment);
    for (auto& m : of->members)
      if (m.name != core_->options.self)
        core_->owe(m.name, [path = path_of(segment)](debt& owed) { owed.removals.insert(path); });
  }
  return count;
}

expected<store_usage> replicated_store::usage() const { return core_->desk->local().usage(); }

} // namespace weir::origin
