#include "runtime/election/roll_call.hpp"

#include "runtime/base/log.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir::election {

using namespace std::chrono_literals;

namespace {

constexpr auto call_every = 2s;
constexpr unsigned most = 100; ///< candidates that are told

} // namespace

roll_call::roll_call(election_options options)
    : options_(std::move(options)), folder_(candidates_key(prefix_of(options_.cluster))), key_(folder_ + options_.node), there_(options_.etcd), thread_([this] { run(); }) {}

roll_call::~roll_call() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

roll roll_call::seen() const {
  std::lock_guard lock(mutex_);
  return seen_;
}

void roll_call::stand(bool fit) {
  std::lock_guard lock(mutex_);
  fit_ = fit;
}

void roll_call::run() {
  for (;;) {
    bool fit = true;
    {
      std::lock_guard lock(mutex_);
      fit = fit_;
    }
    roll news;
    auto names = call(fit);
    if (names)
      news.candidates = std::move(*names);
    else
      news.trouble = names.error().text;
    news.members = there_.members();
    note(std::move(news));
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, call_every, [&] { return stopping_; }))
      break;
  }
  if (lease_ != 0 && seen_.candidates) // an etcd that does not answer must not hold up the end of the program twice
    if (auto gone = there_.revoke(lease_); !gone && gone.error().code != error_code::not_found)
      log::warn("election", "name-not-taken-back", "error={}", gone.error().text); // it goes by itself
}

expected<std::vector<std::string>> roll_call::call(bool fit) {
  if (lease_ != 0 && !fit) {
    if (auto gone = there_.revoke(lease_); !gone && gone.error().code != error_code::not_found)
      return fail(gone.error());
    lease_ = 0;
  }
  if (lease_ != 0)
    if (auto renewed = there_.keep_alive(lease_, options_.ttl); !renewed) {
      if (renewed.error().code != error_code::not_found)
        return fail(renewed.error());
      lease_ = 0;
    }
  auto found = there_.range(folder_, end_of_prefix(folder_), most);
  WEIR_TRY(found);
  std::vector<std::string> names;
  bool there = false;
  for (auto& one : found->records) {
    bool mine = one.key == key_;
    there |= mine && lease_ != 0 && one.lease == lease_;
    if (!mine)
      names.push_back(name_in(one.key.substr(folder_.size())));
  }
  if (fit && !there) { // at first, and after somebody took it away by hand
    if (lease_ == 0) {
      auto lease = there_.grant(options_.ttl);
      WEIR_TRY(lease);
      lease_ = *lease;
    }
    WEIR_TRY(there_.commit({.when = {}, .then = {put(key_, options_.address, lease_)}, .otherwise = {}}));
  }
  if (fit)
    names.push_back(options_.node);
  std::ranges::sort(names);
  return names;
}

void roll_call::note(roll news) {
  std::lock_guard lock(mutex_);
  for (std::size_t i = 0; i < news.members.size(); ++i) {
    auto& [endpoint, trouble] = news.members[i];
    bool served = i >= seen_.members.size() || seen_.members[i].trouble.empty();
    if (served && !trouble.empty())
      log::warn("election", "etcd-member-lost", "member={} reason={}", endpoint, trouble);
    else if (!served && trouble.empty())
      log::info("election", "etcd-member-back", "member={}", endpoint);
  }
  if (news.candidates && news.candidates != seen_.candidates)
    log::info("election", "candidates", "nodes={}", fmt::join(*news.candidates, ","));
  seen_ = std::move(news);
}

} // namespace weir::election
