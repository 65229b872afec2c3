#pragma once
// An origin that answers when a test says so.
#include "runtime/http/server.hpp"

#include <atomic>
#include <condition_variable>
#include <deque>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <mutex>

namespace weir::testing {

/// Holds each request until it is told what to answer, or answers all alike.
class held_origin {
public:
  explicit held_origin(int always = 0) {
    server_.route("GET", "/{rest...}", {}, [this, always](const http::request& r, http::responder answer) {
      if (always != 0) {
        ++asked_;
        return void(answer(http::text_response(always, r.path)));
      }
      std::lock_guard lock(guard_);
      held_.emplace_back(r.path, std::move(answer));
      ++asked_;
      came_.notify_all();
    });
    EXPECT_TRUE(server_.start());
  }
  ~held_origin() { server_.stop(std::chrono::milliseconds(0)); }
  std::string address() const { return fmt::format("127.0.0.1:{}", server_.port()); }
  int asked() const { return asked_; }
  /// Answers the oldest question that waits; its path.
  std::string answer(int status, std::string body = {}) {
    std::unique_lock lock(guard_);
    if (!came_.wait_for(lock, std::chrono::seconds(30), [&] { return !held_.empty(); }))
      return "nobody asked";
    auto [path, to] = std::move(held_.front());
    held_.pop_front();
    lock.unlock();
    to(http::text_response(status, std::move(body), "video/iso.segment").with("Cache-Control", "public, max-age=43200, immutable"));
    return path;
  }

private:
  std::mutex guard_;
  std::condition_variable came_;
  std::deque<std::pair<std::string, http::responder>> held_;
  std::atomic<int> asked_{0};
  http::server server_{{.name = "origin"}};
};

} // namespace weir::testing
