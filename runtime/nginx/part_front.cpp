#include "runtime/nginx/part_front.hpp"

#include "runtime/viewing/viewing.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace weir::nginx {

using namespace std::chrono_literals;

namespace {

constexpr auto refused_for = 1s;
constexpr std::size_t most_refused = 4096;
constexpr unsigned most_rounds = 8; ///< of tokens that are refused one after the other
constexpr std::size_t most_streams = 4096; ///< whose origin is remembered
constexpr std::string_view here = "HIT", fetched = "MISS"; ///< nginx's own words, for its log

/// All that an address of a part is made of; anything else would have to be written otherwise in a request.
bool is_plain(std::string_view path) {
  return path.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._~-") == std::string_view::npos;
}

/// "NAME~I" of "/s/NAME~I/…".
std::string_view stream_of(std::string_view path) {
  const auto from = std::min(path.find("/s/") + 3, path.size());
  return path.substr(from, path.find('/', from) - from);
}

http::response refusal(int status) {
  auto answer = http::text_response(status, status == 404 ? "there is no such part\n" : status == 403 ? "the origin refuses it\n" : "no origin gives this part now\n");
  answer.with("Cache-Control", "no-store");
  if (status == 503)
    answer.with("Retry-After", "1");
  return answer;
}

} // namespace

expected<std::unique_ptr<part_front>> part_front::open(part_front_options options) {
  auto made = std::unique_ptr<part_front>(new part_front(std::move(options)));
  WEIR_TRY(made->server_.start());
  return made;
}

part_front::part_front(part_front_options options)
    : options_(std::move(options)), client_({.connections_per_host = static_cast<unsigned>(options_.flight_limit), .user_agent = "weir-edge"}),
      server_({.name = "parts", .listen = "127.0.0.1:0", .threads = 2}) {
  http::route_options route;
  route.deadline = options_.hold + 1s;
  auto run = [this](const http::request& r, http::responder answer) { ask({r.path, std::move(answer)}); };
  server_.route("GET", "/s/{rest...}", route, run);
  server_.route("GET", "/t/{token}/s/{rest...}", route, run);
}

part_front::~part_front() {
  std::vector<request> left;
  {
    std::lock_guard lock(guard_);
    closing_ = true;
    for (auto& [key, f] : flights_)
      std::ranges::move(f->waiting, std::back_inserter(left));
    flights_.clear();
  }
  for (auto& one : left)
    one.answer(refusal(503));
  server_.stop(1s);
}

std::string part_front::address() const { return fmt::format("127.0.0.1:{}", server_.port()); }

void part_front::use_origins(std::vector<std::string> origins) {
  std::lock_guard lock(guard_);
  options_.origins = std::move(origins);
}

void part_front::forget(steady_time now) {
  std::lock_guard lock(guard_);
  while (!kept_.empty() && now - kept_.front().since > options_.kept)
    drop_oldest();
}

part_front::figures part_front::now() const {
  std::lock_guard lock(guard_);
  auto all = figures_;
  all.kept = kept_.size();
  return all;
}

void part_front::ask(request one) {
  auto& [path, answer, rounds] = one;
  if (!is_plain(path))
    return void(answer(refusal(404)));
  const auto at = viewing::split(path);
  // Whether a stream may be watched without a token is the origin's to say: what it answers then says nothing to those who have one, and the other way round.
  auto key = fmt::format("{}{}", at.token.empty() ? "" : "signed ", at.path);
  std::unique_lock lock(guard_);
  if (auto there = by_key_.find(key); there != by_key_.end()) {
    ++figures_.hits;
    auto found = answer_with(*there->second, here);
    lock.unlock();
    return void(answer(std::move(found)));
  }
  if (auto no = refused_.find(key); no != refused_.end() && std::chrono::steady_clock::now() < no->second.second) {
    auto found = refusal(no->second.first);
    lock.unlock();
    return void(answer(std::move(found)));
  }
  auto under_way = flights_.find(key);
  if (closing_ || rounds > most_rounds || figures_.waiting >= options_.waiting_limit || (under_way == flights_.end() && flights_.size() >= options_.flight_limit)) {
    ++figures_.refused;
    lock.unlock();
    return void(answer(refusal(503)));
  }
  ++figures_.waiting;
  if (under_way != flights_.end()) {
    ++figures_.joined;
    return under_way->second->waiting.push_back(std::move(one));
  }
  ++figures_.asked;
  auto f = std::make_shared<flight>();
  f->key = key;
  f->path = path;
  f->origins = options_.origins;
  f->until = std::chrono::steady_clock::now() + options_.hold;
  if (auto had = had_it_.find(std::string(stream_of(path))); had != had_it_.end())
    std::ranges::stable_partition(f->origins, [&](auto& origin) { return origin == had->second; });
  f->waiting.push_back(std::move(one));
  flights_.emplace(std::move(key), f);
  if (step(f))
    return;
  ++figures_.failed;
  auto nobody = end(f);
  lock.unlock();
  nobody.front().answer(refusal(502));
}

bool part_front::step(const flight_ptr& f) {
  auto left = std::chrono::ceil<std::chrono::milliseconds>(f->until - std::chrono::steady_clock::now());
  if (f->next == f->origins.size()) {
    f->origins = std::exchange(f->silent, {});
    f->next = 0;
  }
  if (f->origins.empty() || left <= 0ms)
    return false;
  if (f->origins.size() > 1)
    left = std::min(left, options_.hurry);
  const auto origin = f->origins[f->next++];
  http::client_request question;
  if (origin.starts_with("unix:")) {
    question.unix_socket = origin.substr(5);
    question.url = "http://origin" + f->path;
  } else {
    question.url = fmt::format("http://{}{}", origin, f->path);
  }
  question.connect_deadline = 1s;
  question.deadline = left;
  question.response_limit = options_.part_limit;
  client_.send(std::move(question), [this, f, origin](expected<http::client_response> got) { land(f, origin, std::move(got)); });
  return true;
}

void part_front::land(const flight_ptr& f, const std::string& origin, expected<http::client_response> got) {
  std::unique_lock lock(guard_);
  if (closing_)
    return;
  const int status = !got ? (got.error().code == error_code::timeout ? 504 : 502) : got->status == 200 || got->status >= 400 ? got->status : 502;
  if (status != 200 && status != 403) {
    f->status = std::max(f->status, status);
    if (status == 504)
      f->silent.push_back(origin);
    if (step(f))
      return;
  }
  auto ready = end(f);
  std::vector<request> again;
  http::response answer;
  if (status == 200) {
    if (had_it_.size() >= most_streams)
      had_it_.clear();
    had_it_[std::string(stream_of(f->path))] = origin;
    answer = answer_with(keep({.key = f->key, .type = std::string(got->headers.find("Content-Type").value_or("video/iso.segment")),
                               .cache = std::string(got->headers.find("Cache-Control").value_or("max-age=1")),
                               .bytes = std::make_shared<const std::string>(std::move(got->body)), .since = std::chrono::steady_clock::now()}),
                         here);
  } else if (status == 403) { // it says so of one token, and others may have better ones
    answer = refusal(403);
    if (viewing::split(f->path).token.empty()) // nobody else's token is better
      remember(f->key, 403);
    auto others = std::ranges::stable_partition(ready, [&](auto& one) { return one.path == f->path; });
    again.assign(std::move_iterator(others.begin()), std::move_iterator(others.end()));
    ready.erase(others.begin(), others.end());
  } else {
    ++figures_.failed;
    answer = refusal(f->status);
    if (f->status == 404)
      remember(f->key, 404);
  }
  lock.unlock();
  for (auto& one : ready) {
    auto its = answer;
    if (status == 200 && &one == &ready.front())
      its.headers.set("X-Cache", std::string(fetched));
    one.answer(std::move(its));
  }
  for (auto& one : again) {
    ++one.rounds;
    ask(std::move(one));
  }
}

void part_front::remember(const std::string& key, int status) {
  if (refused_.size() >= most_refused)
    refused_.clear();
  refused_[key] = {status, std::chrono::steady_clock::now() + refused_for};
}

std::vector<part_front::request> part_front::end(const flight_ptr& f) {
  figures_.waiting -= f->waiting.size();
  flights_.erase(f->key);
  return std::move(f->waiting);
}

const part_front::part& part_front::keep(part fresh) {
  figures_.kept_bytes += fresh.bytes->size();
  kept_.push_back(std::move(fresh));
  by_key_.emplace(kept_.back().key, std::prev(kept_.end()));
  while (figures_.kept_bytes > options_.kept_limit && kept_.size() > 1)
    drop_oldest();
  return kept_.back();
}

void part_front::drop_oldest() {
  figures_.kept_bytes -= kept_.front().bytes->size();
  by_key_.erase(kept_.front().key);
  kept_.pop_front();
}

http::response part_front::answer_with(const part& p, std::string_view word) {
  return http::shared_response(p.bytes, p.type).with("Cache-Control", p.cache).with("X-Cache", std::string(word));
}

} // namespace weir::nginx
