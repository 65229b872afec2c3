#include "runtime/election/candidate.hpp"

#include "runtime/base/log.hpp"

#include <algorithm>
#include <fmt/format.h>

namespace weir::election {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

namespace {

constexpr auto soon_again = 200ms; ///< after a renewal that failed

} // namespace

std::string prefix_of(const std::string& cluster) { return "/weir/" + cluster + "/"; }
std::string leader_key(const std::string& prefix) { return prefix + "leader"; }
std::string candidates_key(const std::string& prefix) { return prefix + "candidates/"; }

std::string name_in(const std::string& value) {
  auto name = value.substr(0, std::min<std::size_t>(value.find(' '), 64));
  std::ranges::replace_if(name, [](unsigned char c) { return c <= ' ' || c > '~'; }, '?');
  return name;
}

candidate::candidate(election_options options, std::shared_ptr<election::etcd> there, listener tell)
    : options_(std::move(options)), key_(leader_key(prefix_of(options_.cluster))), there_(std::move(there)), tell_(std::move(tell)), thread_([this] { run(); }) {}

candidate::~candidate() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
    if (mine_)
      mine_->end("the node ends");
  }
  changed_.notify_all();
  thread_.join();
}

void candidate::stand_again(milliseconds patience) {
  {
    std::lock_guard lock(mutex_);
    released_ = true;
    hold_off_ = patience;
  }
  changed_.notify_all();
}

bool candidate::pause(milliseconds patience) {
  std::unique_lock lock(mutex_);
  return !changed_.wait_for(lock, patience, [&] { return stopping_; });
}

void candidate::run() {
  do {
    auto made = stand();
    if (!made) {
      if (trouble_.empty()) // the same every half second says nothing new
        log::warn("election", "etcd-not-reached", "reason={}", made.error().text);
      trouble_ = made.error().text;
      continue;
    }
    if (!trouble_.empty())
      log::info("election", "etcd-reached", "endpoints={}", fmt::join(options_.etcd.endpoints, ","));
    trouble_.clear();
    if (!*made)
      continue;
    {
      std::lock_guard lock(mutex_);
      if (stopping_)
        break;
      mine_ = *made;
      released_ = false;
    }
    log::info("election", "elected", "node={} epoch={}", options_.node, (*made)->epoch());
    tell_.elected(*made);
    serve(**made);
    log::warn("election", "term-over", "node={} epoch={} reason={}", options_.node, (*made)->epoch(), (*made)->why());
    tell_.ended((*made)->why());
    milliseconds hold_off;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stopping_ || released_; });
      mine_ = nullptr;
      hold_off = hold_off_;
    }
    give_back();
    leader_ = std::string("?"); // GCC 12 warns of a plain literal here
    if (!pause(hold_off))
      return;
  } while (pause(options_.look_every));
  give_back();
}

expected<std::shared_ptr<term>> candidate::stand() {
  auto look = there_->range(key_, {}, 1);
  WEIR_TRY(look);
  if (!look->records.empty()) {
    auto& held = look->records.front();
    if (lease_ != 0 && held.lease == lease_) // made by a request whose answer did not come
      return std::make_shared<term>(held.created, options_.ttl, asked_);
    auto leader = name_in(held.value);
    if (leader != leader_) {
      log::info("election", "follows", "node={} leader={}", options_.node, leader);
      tell_.follows(leader);
    }
    leader_ = std::move(leader);
    return nullptr;
  }
  if (leader_ != "") {
    leader_.clear();
    tell_.follows({});
  }
  auto asked = wakeful_clock::now();
  auto lease = there_->grant(options_.ttl);
  WEIR_TRY(lease);
  lease_ = *lease;
  asked_ = asked;
  auto made = there_->commit({.when = {{.key = key_, .created = 0, .modified = {}, .value = {}}},
                              .then = {put(key_, options_.node + " " + options_.address, lease_)},
                              .otherwise = {}});
  WEIR_TRY(made);
  if (!made->succeeded) {
    give_back();
    return nullptr;
  }
  return std::make_shared<term>(made->revision, options_.ttl, asked_);
}

void candidate::serve(term& mine) {
  while (mine.wait_for(std::min(options_.renew_every, mine.left()))) {
    for (;;) {
      auto asked = wakeful_clock::now();
      auto renewed = there_->keep_alive(lease_, mine.left());
      if (renewed) {
        // Somebody may have taken the key away by hand, whatever the lease says.
        auto held = there_->range(key_, {}, 1, 0, mine.left());
        if (held && (held->records.empty() || held->records.front().created != mine.epoch())) {
          mine.end("the key at etcd is gone");
          return;
        }
        mine.renew(asked);
        break;
      }
      if (renewed.error().code == error_code::not_found) {
        mine.end("etcd does not know the lease any more");
        return;
      }
      log::warn("election", "lease-not-renewed", "left_ms={} error={}", mine.left().count(), renewed.error().text);
      if (!mine.wait_for(soon_again))
        return;
    }
  }
}

void candidate::give_back() {
  if (lease_ == 0)
    return;
  if (auto gone = there_->revoke(lease_); !gone && gone.error().code != error_code::not_found)
    log::warn("election", "lease-not-given-back", "error={}", gone.error().text); // it ends by itself
  lease_ = 0;
}

} // namespace weir::election
