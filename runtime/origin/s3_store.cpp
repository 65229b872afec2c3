#include "runtime/origin/s3_store.hpp"

#include "runtime/base/clock.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/addresses.hpp"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <future>
#include <list>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>
#include <sstream>
#include <thread>
#include <unordered_map>

#include <fmt/format.h>

namespace weir::origin {

using namespace std::chrono_literals;
using shared_bytes = std::shared_ptr<const std::string>;
using put_age = std::pair<std::uint64_t, std::uint64_t>; ///< a term, and the number of a put

namespace {

constexpr std::uint64_t log_limit = 8U << 20;
constexpr std::uint64_t answer_limit = 4U << 20; ///< a list of 1,000 objects with the longest keys has 2 MB
constexpr std::size_t page_limit = 10'000;       ///< of one list: ten million objects
constexpr std::size_t removals_at_a_time = 8;
constexpr std::size_t askers_limit = 256; ///< of one segment
constexpr int attempts = 3;
constexpr auto first_pause = 100ms; ///< before the second attempt; then four times as long
constexpr int races = 5;            ///< a log that is replaced while it is read is read again

/// The bytes of segments used last.
class recent_segments {
public:
  explicit recent_segments(std::uint64_t limit) : limit_(limit) {}
  void add(const std::string& name, shared_bytes bytes) {
    remove(name);
    if (bytes->size() > limit_)
      return;
    size_ += bytes->size();
    order_.emplace_front(name, std::move(bytes));
    where_[name] = order_.begin();
    while (size_ > limit_)
      remove(std::string(order_.back().first));
  }
  shared_bytes find(const std::string& name) {
    auto at = where_.find(name);
    if (at == where_.end())
      return nullptr;
    order_.splice(order_.begin(), order_, at->second);
    return at->second->second;
  }
  void clear() {
    order_.clear();
    where_.clear();
    size_ = 0;
  }
  void remove(const std::string& name) {
    if (auto at = where_.find(name); at != where_.end()) {
      size_ -= at->second->second->size();
      order_.erase(at->second);
      where_.erase(at);
    }
  }

private:
  std::list<std::pair<std::string, shared_bytes>> order_; ///< used last first
  std::unordered_map<std::string, decltype(order_)::iterator> where_;
  std::uint64_t limit_, size_ = 0;
};

bool worth_another_attempt(const expected<http::client_response>& got) {
  return got ? got->status == 500 || got->status == 502 || got->status == 503 || got->status == 504 : got.error().code == error_code::unavailable;
}

expected<void> check_names(std::string_view stream, const hls::segment_place* place = nullptr) {
  if (!hls::is_address_word(stream))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a stream", stream.substr(0, 100)));
  if (place && !hls::is_address_word(place->rung, 16))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the name of a rung", place->rung.substr(0, 100)));
  return {};
}

} // namespace

/// Shared with callbacks and with threads that hang in a call: those outlive the store.
struct s3_store::core : std::enable_shared_from_this<s3_store::core> {
  core(http::client& client, s3_options o, std::string address)
    : web(client), options(std::move(o)), base(std::move(address)), layout{options.prefix}, recent(options.cache_bytes) {}

  http::client& web;
  const s3_options options;
  const std::string base; ///< of the bucket's URL, with a slash at its end
  const s3_layout layout;

  std::shared_mutex open_or_closed; ///< while it is held shared the client lives
  bool closed = false;

  std::mutex claiming;
  std::atomic<std::uint64_t> term{0}; ///< claimed by this handle
  std::atomic<bool> lost{false};      ///< another one has claimed since

  std::mutex guard; ///< of everything below
  struct versions {
    std::uint64_t last = 0;  ///< that was given; 0 is the copy of a former term's
    std::uint64_t first = 1; ///< that may still be there
  };
  std::map<std::string, versions, std::less<>> logs; ///< of the present term
  std::uint64_t puts = 0;                            ///< number of the last put
  std::unordered_map<std::string, std::uint64_t> own; ///< of the segments that were put in the present term: base → number of the put that counts
  recent_segments recent;
  std::map<std::string, std::vector<fetched>> fetching; ///< by base

  std::string where() const { return fmt::format("{}/{}", options.bucket, options.prefix); }

  // One request.

  http::client_request request(std::string method, const std::string& key_or_query, shared_bytes body, std::uint64_t limit) const {
    http::client_request r{.method = std::move(method), .url = base + key_or_query, .headers = {}, .body = std::string{}};
    r.headers.add("x-amz-content-sha256", sha256_hex(body ? std::string_view(*body) : std::string_view()));
    if (!options.session_token.empty())
      r.headers.add("x-amz-security-token", options.session_token);
    if (body)
      r.body = std::move(body);
    r.sign = {options.key, options.region};
    r.authorities = options.authorities;
    r.deadline = options.deadline;
    r.connect_deadline = std::min<std::chrono::milliseconds>(2s, options.deadline);
    r.response_limit = limit;
    return r;
  }

  void send(http::client_request r, http::client::callback done) {
    {
      std::shared_lock lock(open_or_closed);
      if (!closed)
        return void(web.send(std::move(r), std::move(done)));
    }
    done(fail(error_code::unavailable, "this store is closed"));
  }

  /// A success, or what is wrong in words: of `what`, an object's key or a list.
  expected<http::client_response> judge(expected<http::client_response> got, std::string_view method, std::string_view what) const {
    auto named = [&](std::string_view why) { return fmt::format("{} {}/{}: {}", method, options.bucket, what, why); };
    if (!got)
      return fail(got.error().code == error_code::source_ended ? error_code::unavailable : got.error().code, named(got.error().text));
    if (got->status >= 200 && got->status < 300)
      return got;
    auto refusal = parse_s3_refusal(got->body);
    const auto words = named(refusal.code.empty() ? fmt::format("status {} from something that is no S3 server, or from a proxy before it", got->status)
                                                  : fmt::format("{} {}: {}", got->status, refusal.code, refusal.words));
    if (refusal.code == "NoSuchKey")
      return fail(error_code::not_found, words);
    if (refusal.code == "RequestTimeTooSkewed")
      return fail(error_code::unauthorized, fmt::format("{} (the clocks differ: here it is {}, there {}; set this machine's clock, by NTP for example)", words,
                                                        to_rfc3339(std::chrono::system_clock::now()), got->headers.find("Date").value_or("not said")));
    if (method == "PUT" && says_full(got->status, refusal))
      return fail(error_code::io_failed, fmt::format("{}: {}", words, std::strerror(ENOSPC)));
    if (got->status == 403 && refusal.code == "AccessDenied")
      return fail(error_code::forbidden, words);
    if (got->status == 401 || got->status == 403)
      return fail(error_code::unauthorized, words);
    return fail(got->status >= 500 || refusal.code.empty() ? error_code::unavailable : error_code::io_failed, words);
  }

  /// Waits. Tries again, within the deadline, what a busy server refuses: each request may be carried out twice.
  expected<http::client_response> ask(const std::string& method, const std::string& key_or_query, std::string_view what, shared_bytes body = nullptr,
                                      std::uint64_t limit = answer_limit) {
    const auto until = steady_clock::now() + options.deadline;
    auto r = request(method, key_or_query, std::move(body), limit);
    auto pause = first_pause;
    for (int attempt = 1;; ++attempt, pause *= 4) {
      std::promise<expected<http::client_response>> answer;
      auto future = answer.get_future();
      send(r, [&](expected<http::client_response> got) { answer.set_value(std::move(got)); });
      auto got = future.get();
      const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
      if (attempt == attempts || !worth_another_attempt(got) || left < 2 * pause || (got && says_full(got->status, parse_s3_refusal(got->body))))
        return judge(std::move(got), method, what);
      std::this_thread::sleep_for(pause); // a server that says that it is busy is left alone for a moment
      r.deadline = left - pause;
    }
  }
  expected<http::client_response> get(const std::string& key, std::uint64_t limit) { return ask("GET", key, key, nullptr, limit); }
  expected<void> put(const std::string& key, shared_bytes body) {
    WEIR_TRY(ask("PUT", key, key, std::move(body)));
    return {};
  }
  expected<void> remove(const std::string& key) {
    auto gone = ask("DELETE", key, key);
    if (!gone && gone.error().code != error_code::not_found)
      return fail(std::move(gone).error());
    return {};
  }
  expected<void> remove_all(const std::vector<std::string>& keys) {
    for (std::size_t at = 0; at < keys.size();) {
      std::vector<std::future<expected<http::client_response>>> answers;
      const auto first = at;
      for (; at < keys.size() && at - first < removals_at_a_time; ++at) {
        auto answer = std::make_shared<std::promise<expected<http::client_response>>>();
        answers.push_back(answer->get_future());
        send(request("DELETE", keys[at], nullptr, answer_limit), [answer](expected<http::client_response> got) { answer->set_value(std::move(got)); });
      }
      for (std::size_t i = 0; i < answers.size(); ++i)
        if (auto gone = judge(answers[i].get(), "DELETE", keys[first + i]); !gone && gone.error().code != error_code::not_found)
          WEIR_TRY(remove(keys[first + i])); // once more, with patience
    }
    return {};
  }
  /// Nobody waits for it; the sweep at the next start finds what is left.
  void forget(const std::string& key) {
    send(request("DELETE", key, nullptr, answer_limit), [self = shared_from_this(), key](expected<http::client_response> got) {
      if (auto gone = self->judge(std::move(got), "DELETE", key); !gone && gone.error().code != error_code::not_found && gone.error().code != error_code::unavailable)
        log::warn("origin", "log-not-removed", "error={}", gone.error().text);
    });
  }

  std::string list_query(const std::string& prefix, const std::string& from) const {
    // In the order of their names, and each with a value: libcurl 7.88 signs a query as it stands.
    return fmt::format("?{}list-type=2&max-keys={}&prefix={}", from.empty() ? std::string{} : fmt::format("continuation-token={}&", s3_escaped(from)), options.page,
                       s3_escaped(prefix));
  }
  expected<void> list(const std::string& prefix, const std::function<expected<void>(const std::vector<s3_object>&)>& each_page) {
    std::string from;
    for (std::size_t pages = 0; pages < page_limit; ++pages) {
      const auto what = prefix + "*";
      auto got = ask("GET", list_query(prefix, from), what);
      WEIR_TRY(got);
      auto page = parse_s3_page(got->body);
      if (!page)
        return fail(page.error().in(fmt::format("GET {}/{}", options.bucket, what)));
      WEIR_TRY(each_page(page->objects));
      if (page->next.empty())
        return {};
      from = std::move(page->next);
    }
    return fail(error_code::too_large, fmt::format("{}/{}*: more than {} pages of objects", options.bucket, prefix, page_limit));
  }

  // Who may write.

  expected<std::vector<s3_claim_key>> all_claims() {
    std::vector<s3_claim_key> found;
    WEIR_TRY(list(layout.claims(), [&](auto& objects) -> expected<void> {
      for (auto& o : objects)
        if (auto claim = layout.claim(o.key))
          found.push_back(std::move(*claim));
      return {};
    }));
    return found;
  }
  tl::unexpected<error> fenced(std::uint64_t after) const {
    return fail(error_code::fenced, fmt::format("another origin has claimed {} after term {}", where(), after));
  }
  /// Its claim alone is not enough: the server may carry out a PUT of it that was given up for lost, or was sent twice, after it was removed.
  expected<void> look_for_claim(std::uint64_t of) {
    auto claims = all_claims();
    WEIR_TRY(claims);
    const bool there = std::any_of(claims->begin(), claims->end(), [&](auto& c) { return c.term == of && c.holder == options.holder; });
    const bool higher = std::any_of(claims->begin(), claims->end(), [&](auto& c) { return c.term > of; });
    return there && !higher ? expected<void>{} : fenced(of);
  }
  expected<void> check_licence(std::uint64_t of) {
    if (of == 0)
      return fail(error_code::fenced, fmt::format("nobody who has not claimed {} may write there", where()));
    if (lost && term == of)
      return fenced(of);
    auto there = look_for_claim(of);
    if (!there && there.error().code == error_code::fenced && term == of)
      lost = true;
    return there;
  }

  // Logs.

  expected<std::uint64_t> oldest_term_that_counts() {
    std::uint64_t newest = 0;
    WEIR_TRY(list(layout.openings(), [&](auto& objects) -> expected<void> {
      for (auto& o : objects)
        newest = std::max(newest, layout.opening(o.key).value_or(0));
      return {};
    }));
    return newest;
  }
  /// Of each stream, or of the one whose logs begin with `prefix`.
  expected<std::map<std::string, s3_log_key>> newest_logs(const std::string& prefix) {
    auto oldest = oldest_term_that_counts();
    WEIR_TRY(oldest);
    std::map<std::string, s3_log_key> newest;
    WEIR_TRY(list(prefix, [&](auto& objects) -> expected<void> {
      for (auto& o : objects)
        if (auto log = layout.log(o.key); log && log->term >= *oldest)
          if (auto& known = newest.try_emplace(log->stream, *log).first->second; known.age() < log->age())
            known = std::move(*log);
      return {};
    }));
    return newest;
  }
  expected<std::string> get_log(const s3_log_key& log) {
    auto got = get(layout.log(log.stream, log.term, log.version), log_limit);
    WEIR_TRY(got);
    return std::move(got->body);
  }
  /// The newest one of a stream.
  expected<std::string> read_log(const std::string& stream) {
    for (int race = 0; race < races; ++race) {
      auto newest = newest_logs(layout.logs_of(stream));
      WEIR_TRY(newest);
      auto at = newest->find(stream);
      if (at == newest->end())
        break;
      auto text = get_log(at->second);
      if (text || text.error().code != error_code::not_found)
        return text;
    }
    return fail(error_code::not_found, fmt::format("{}{} has no log", where(), stream));
  }

  expected<void> claim(std::uint64_t wanted) {
    auto mine = [&](const s3_claim_key& c) { return c.term == wanted && c.holder == options.holder; };
    auto taken = [&](const std::vector<s3_claim_key>& claims) -> expected<void> {
      for (auto& c : claims)
        if (c.term > wanted || (c.term == wanted && !mine(c)))
          return fail(error_code::fenced, fmt::format("claim {} for term {}: term {} was claimed already", where(), wanted, c.term));
      return {};
    };
    auto before = all_claims();
    WEIR_TRY(before);
    WEIR_TRY(taken(*before));
    const bool begins_anew = std::any_of(before->begin(), before->end(), mine);
    if (term == wanted && begins_anew)
      return {};
    const auto licence = layout.claim(wanted, options.holder);
    WEIR_TRY(put(licence, std::make_shared<const std::string>(options.holder + "\n")));
    auto after = all_claims(); // of two who claim at a time at least one sees the other
    WEIR_TRY(after);
    if (auto alone = taken(*after); !alone) {
      WEIR_TRY(remove(licence));
      return alone;
    }
    std::vector<std::string> former;
    for (auto& c : *after)
      if (c.term < wanted)
        former.push_back(layout.claim(c.term, c.holder));
    WEIR_TRY(remove_all(former)); // who had them is told of no success from here on
    auto logs_there = newest_logs(layout.logs());
    WEIR_TRY(logs_there);
    for (auto& [stream, log] : *logs_there) {
      if (log.term >= wanted)
        continue;
      auto text = get_log(log);
      if (!text && text.error().code == error_code::not_found) // its owner, who did not notice yet, has written another version
        text = read_log(stream);
      if (!text && text.error().code == error_code::not_found)
        continue; // removed meanwhile
      WEIR_TRY(text);
      WEIR_TRY(put(layout.log(stream, wanted, 0), std::make_shared<const std::string>(std::move(*text))));
    }
    WEIR_TRY(put(layout.opening(wanted), std::make_shared<const std::string>(options.holder + "\n")));
    WEIR_TRY(look_for_claim(wanted));
    std::lock_guard lock(guard);
    // A holder that begins anew with its term does not know what it has put: the clock is ahead of that, at less than a thousand puts a second.
    if (begins_anew)
      puts = std::max(puts, static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(std::chrono::system_clock::now().time_since_epoch()).count()));
    logs.clear();
    for (auto& [stream, log] : *logs_there) { // a holder that begins anew with its term goes on above what it wrote
      const auto last = log.term == wanted ? log.version : 0;
      logs[stream] = {.last = last, .first = last};
    }
    own.clear();
    recent.clear(); // another owner in between may have put others
    term = wanted;
    lost = false;
    return {};
  }

  // Segments.

  /// Which put of a segment counts, as far as this handle knows: its term, and the number of its put there, 0 without one. `guard` is held.
  put_age counting(const std::string& segment_base) const {
    auto at = own.find(segment_base);
    return {term.load(), at == own.end() ? 0 : at->second};
  }
  /// `segment_base` names it in any term; `asked` is what counted when it was asked for.
  void finish_fetch(const std::string& segment_base, put_age asked, expected<shared_bytes> result) {
    std::vector<fetched> askers;
    {
      std::lock_guard lock(guard);
      if (result && asked == counting(segment_base)) // otherwise it may be one that counts no more
        recent.add(segment_base, *result);
      askers = std::move(fetching.extract(segment_base).mapped());
    }
    for (auto& done : askers)
      done(result);
  }
  void fetch_key(const std::string& segment_base, put_age asked, const std::string& key) {
    send(request("GET", key, nullptr, options.segment_limit), [self = shared_from_this(), segment_base, asked, key](expected<http::client_response> got) {
      auto answer = self->judge(std::move(got), "GET", key);
      if (!answer)
        return self->finish_fetch(segment_base, asked, fail(std::move(answer).error()));
      self->finish_fetch(segment_base, asked, std::make_shared<const std::string>(std::move(answer->body)));
    });
  }
  /// Of a segment of another term, or of another handle: its key has to be found.
  void find_and_fetch(const std::string& segment_base, put_age asked) {
    send(request("GET", list_query(segment_base, {}), nullptr, answer_limit), [self = shared_from_this(), segment_base, asked](expected<http::client_response> got) {
      auto answer = self->judge(std::move(got), "GET", segment_base + "*");
      if (!answer)
        return self->finish_fetch(segment_base, asked, fail(std::move(answer).error()));
      auto page = parse_s3_page(answer->body);
      if (!page)
        return self->finish_fetch(segment_base, asked, fail(page.error().in(fmt::format("GET {}/{}*", self->options.bucket, segment_base))));
      std::optional<s3_segment_key> newest;
      for (auto& o : page->objects)
        if (auto found = self->layout.segment(o.key); found && (!newest || newest->age() < found->age()))
          newest = std::move(found);
      if (!newest)
        return self->finish_fetch(segment_base, asked, fail(error_code::not_found, fmt::format("there is no {}/{}*", self->options.bucket, segment_base)));
      self->fetch_key(segment_base, asked, self->layout.segment(newest->stream, newest->place, newest->term, newest->number));
    });
  }
};

expected<std::unique_ptr<s3_store>> s3_store::open(http::client& web, s3_options options) {
  auto prefix = checked_prefix(options.prefix);
  WEIR_TRY(prefix);
  options.prefix = std::move(*prefix);
  if (options.holder.empty())
    options.holder = random_uuid();
  if (!hls::is_address_word(options.holder))
    return fail(error_code::invalid_input, fmt::format("{:?} cannot be the holder of a store", options.holder.substr(0, 100)));
  std::string_view address = options.endpoint;
  while (address.ends_with('/'))
    address.remove_suffix(1);
  const auto host = address.find("://");
  if (host == std::string_view::npos || host + 3 == address.size())
    return fail(error_code::invalid_config, fmt::format("{:?} is no address of an S3 server", http::masked_url(options.endpoint)));
  auto base = options.virtual_host ? fmt::format("{}://{}.{}/", address.substr(0, host), options.bucket, address.substr(host + 3))
                                   : fmt::format("{}/{}/", address, options.bucket);
  return std::unique_ptr<s3_store>(new s3_store(std::make_shared<core>(web, std::move(options), std::move(base))));
}

s3_store::s3_store(std::shared_ptr<core> of) : core_(std::move(of)) {}
s3_store::~s3_store() { close(); }

void s3_store::close() {
  std::lock_guard lock(core_->open_or_closed);
  core_->closed = true;
}

void s3_store::fetch(const segment_id& segment, fetched done) const {
  auto& c = *core_;
  if (auto fine = check_names(segment.stream, &segment.place); !fine)
    return done(fail(std::move(fine).error()));
  const auto base = c.layout.segment_base(segment.stream, segment.place);
  std::unique_lock lock(c.guard);
  if (auto here = c.recent.find(base)) {
    lock.unlock();
    return done(std::move(here));
  }
  auto at = c.fetching.find(base);
  if (at == c.fetching.end() ? c.fetching.size() >= c.options.most_fetches : at->second.size() >= askers_limit) {
    lock.unlock();
    return done(fail(error_code::too_many, fmt::format("too many segments are being read from {}", c.where())));
  }
  c.fetching[base].push_back(std::move(done));
  if (at != c.fetching.end())
    return;
  const auto asked = c.counting(base);
  lock.unlock();
  if (const auto [term, number] = asked; number != 0)
    c.fetch_key(base, asked, c.layout.segment(segment.stream, segment.place, term, number));
  else
    c.find_and_fetch(base, asked);
}

expected<void> s3_store::claim(std::uint64_t term) {
  if (term == 0)
    return fail(error_code::invalid_input, "terms of a store begin at 1");
  std::lock_guard alone(core_->claiming);
  return core_->claim(term);
}

expected<std::uint64_t> s3_store::claimed() const {
  auto claims = core_->all_claims();
  WEIR_TRY(claims);
  std::uint64_t highest = 0;
  for (auto& c : *claims)
    highest = std::max(highest, c.term);
  return highest;
}

expected<void> s3_store::put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) {
  auto& c = *core_;
  WEIR_TRY(check_names(stream, &place));
  const auto term = c.term.load();
  WEIR_TRY(c.check_licence(term));
  auto body = std::make_shared<const std::string>(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::uint64_t number = 0;
  {
    std::lock_guard lock(c.guard);
    number = ++c.puts;
  }
  WEIR_TRY(c.put(c.layout.segment(stream, place, term, number), body));
  const auto base = c.layout.segment_base(stream, place);
  std::lock_guard lock(c.guard);
  if (c.term != term) // claimed anew meanwhile
    return {};
  if (auto& counts = c.own[base]; counts < number) {
    counts = number;
    c.recent.add(base, std::move(body));
  }
  return {};
}

expected<open_segment> s3_store::open(std::string_view stream, const hls::segment_place& place) const {
  std::promise<expected<shared_bytes>> answer;
  auto future = answer.get_future();
  fetch({std::string(stream), place}, [&](expected<shared_bytes> got) { answer.set_value(std::move(got)); });
  auto got = future.get();
  WEIR_TRY(got);
  const auto size = (*got)->size();
  return open_segment{.fd = {}, .size = size, .bytes = std::move(*got)};
}

expected<void> s3_store::remove(std::string_view stream, const hls::segment_place& place) {
  auto& c = *core_;
  WEIR_TRY(check_names(stream, &place));
  const auto term = c.term.load();
  WEIR_TRY(c.check_licence(term));
  const auto base = c.layout.segment_base(stream, place);
  std::uint64_t put_here = 0;
  {
    std::lock_guard lock(c.guard);
    c.recent.remove(base);
    if (auto at = c.own.find(base); at != c.own.end()) {
      put_here = at->second;
      c.own.erase(at);
    }
  }
  if (put_here != 0)
    return c.remove(c.layout.segment(stream, place, term, put_here));
  std::vector<std::string> keys;
  WEIR_TRY(c.list(base, [&](auto& objects) -> expected<void> {
    for (auto& o : objects)
      if (auto found = c.layout.segment(o.key); found && found->term <= term)
        keys.push_back(o.key);
    return {};
  }));
  return c.remove_all(keys);
}

expected<void> s3_store::save_log(std::string_view stream, std::string_view json, bool) {
  auto& c = *core_;
  WEIR_TRY(check_names(stream));
  const auto term = c.term.load();
  if (term == 0 || c.lost)
    return c.check_licence(term);
  std::uint64_t version = 0;
  {
    std::lock_guard lock(c.guard);
    version = ++c.logs[std::string(stream)].last;
  }
  auto saved = c.put(c.layout.log(stream, term, version), std::make_shared<const std::string>(json));
  if (saved)
    saved = c.check_licence(term);
  if (!saved) // there or not: the next one has a higher version
    return saved.error().code == error_code::io_failed ? fail(error_code::unavailable, std::move(saved).error().text) : saved;
  std::vector<std::string> former;
  {
    std::lock_guard lock(c.guard);
    if (c.term != term) // claimed anew meanwhile: what it wrote before that counts no more
      return {};
    auto& known = c.logs[std::string(stream)];
    for (; known.first < version; ++known.first)
      former.push_back(c.layout.log(stream, term, known.first));
  }
  for (auto& key : former)
    c.forget(key);
  return {};
}

expected<std::string> s3_store::load_log(std::string_view stream) const {
  WEIR_TRY(check_names(stream));
  return core_->read_log(std::string(stream));
}

expected<std::vector<std::string>> s3_store::streams() const {
  auto logs = core_->newest_logs(core_->layout.logs());
  WEIR_TRY(logs);
  std::vector<std::string> names;
  for (auto& [stream, log] : *logs)
    names.push_back(stream);
  return names;
}

expected<void> s3_store::remove_stream(std::string_view stream) {
  auto& c = *core_;
  WEIR_TRY(check_names(stream));
  const auto term = c.term.load();
  WEIR_TRY(c.check_licence(term));
  for (auto& prefix : {c.layout.logs_of(stream), c.layout.segments_of(stream)}) {
    std::vector<std::string> keys; // all first: a server may lose its place in a list that shrinks
    WEIR_TRY(c.list(prefix, [&](auto& objects) -> expected<void> {
      for (auto& o : objects) {
        auto segment = c.layout.segment(o.key);
        auto log = c.layout.log(o.key);
        if ((segment && segment->term <= term) || (log && log->term <= term))
          keys.push_back(o.key);
        if (segment) {
          std::lock_guard lock(c.guard);
          const auto base = c.layout.segment_base(stream, segment->place);
          c.own.erase(base);
          c.recent.remove(base);
        }
      }
      return {};
    }));
    WEIR_TRY(c.remove_all(keys));
  }
  return {};
}

expected<std::uint64_t> s3_store::sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) {
  auto& c = *core_;
  const auto term = c.term.load();
  WEIR_TRY(c.check_licence(term));
  std::vector<std::string> segments, others;
  std::optional<s3_segment_key> before; ///< the object before this one in the list, when it is a segment that stays
  WEIR_TRY(c.list(c.layout.prefix, [&](auto& objects) -> expected<void> {
    for (auto& o : objects) {
      if (auto segment = c.layout.segment(o.key); segment && segment->term <= term) {
        if (!known(segment->stream, segment->place)) {
          segments.push_back(o.key);
        } else if (before && before->stream == segment->stream && before->place == segment->place) { // put twice: the newer one counts
          if (before->age() < segment->age())
            std::swap(before, segment);
          segments.push_back(c.layout.segment(segment->stream, segment->place, segment->term, segment->number));
        } else {
          before = std::move(segment);
        }
        continue;
      }
      const auto log = c.layout.log(o.key);
      const auto claim = c.layout.claim(o.key);
      if (c.layout.opening(o.key).value_or(term) < term || (log && log->term < term) || (claim && claim->term < term))
        others.push_back(o.key);
    }
    return {};
  }));
  for (auto* keys : {&segments, &others}) {
    WEIR_TRY(c.check_licence(term));
    WEIR_TRY(c.remove_all(*keys));
  }
  return segments.size();
}

expected<store_usage> s3_store::usage() const {
  store_usage u;
  WEIR_TRY(core_->list(core_->layout.prefix, [&](auto& objects) -> expected<void> {
    for (auto& o : objects)
      if (core_->layout.segment(o.key) || core_->layout.log(o.key)) {
        ++u.files;
        u.bytes += o.size;
      }
    return {};
  }));
  return u;
}

expected<s3_credentials> parse_s3_credentials(std::string_view text) {
  s3_credentials found;
  std::istringstream words{std::string(text)};
  std::string more;
  words >> found.key.access >> found.key.secret >> found.session_token;
  if (found.key.secret.empty() || words >> more)
    return fail(error_code::invalid_config, "the credentials are not an access key and its secret, perhaps with a session token, each on a line");
  return found;
}

expected<s3_credentials> find_s3_credentials(const std::string& path) {
  if (!path.empty()) {
    auto text = read_secret_file(path);
    WEIR_TRY(text);
    auto found = parse_s3_credentials(*text);
    return found ? found : fail(found.error().in(path));
  }
  auto variable = [](const char* name) { // set before any thread begins
    const char* value = std::getenv(name); // NOLINT(concurrency-mt-unsafe)
    return std::string(value ? value : "");
  };
  s3_credentials found{{variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")}, variable("AWS_SESSION_TOKEN")};
  if (found.key.access.empty() || found.key.secret.empty())
    return fail(error_code::invalid_config, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and no file with credentials is configured");
  return found;
}

} // namespace weir::origin
