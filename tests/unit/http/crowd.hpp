#pragma once
// Viewers that ask a server all at once.
#include "runtime/http/client.hpp"

#include <atomic>
#include <chrono>
#include <gtest/gtest.h>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace weir::testing {

template <class F>
bool eventually(F condition) {
  using namespace std::chrono_literals;
  for (const auto end = std::chrono::steady_clock::now() + 30s; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(2ms))
    if (condition())
      return true;
  return condition();
}

class crowd {
public:
  /// "host:port".
  explicit crowd(const std::string& address) : at_("http://" + address) {}

  void ask(const std::string& target, http::header_list headers = {}, std::string method = "GET") {
    ++asked_;
    http::client_request question;
    question.method = std::move(method);
    question.url = at_ + target;
    question.headers = std::move(headers);
    question.deadline = std::chrono::seconds(60);
    client_.send(std::move(question), [this](expected<http::client_response> got) {
      std::lock_guard lock(guard_);
      answers_.push_back(got ? std::move(*got) : http::client_response{.status = 0, .headers = {}, .body = got.error().text});
      ++answered_;
    });
  }
  /// How many have an answer.
  int answered() const { return answered_; }
  /// The answers that all() has not given out yet, in the order in which they came; waits for those to come.
  std::vector<http::client_response> all() {
    EXPECT_TRUE(eventually([&] { return answered_ == asked_; })) << answered_ << " of " << asked_;
    std::lock_guard lock(guard_);
    return std::exchange(answers_, {});
  }
  http::client_response one(const std::string& target, http::header_list headers = {}, std::string method = "GET") {
    ask(target, std::move(headers), std::move(method));
    auto got = all();
    return got.empty() ? http::client_response{} : std::move(got.back());
  }

private:
  std::string at_;
  std::mutex guard_;
  std::vector<http::client_response> answers_;
  std::atomic<int> asked_{0}, answered_{0};
  http::client client_{{.connections_per_host = 1000, .user_agent = "viewers"}};
};

} // namespace weir::testing
