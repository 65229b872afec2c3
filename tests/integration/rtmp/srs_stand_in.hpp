#pragma once
// SRS's HTTP API as RTMP WATCH sees it: the answers that a real one gave (tests/data/srs-api), with the rows that a case needs. Its vhosts were not recorded:
// they have the form that the sources of SRS 4 to 7 give them.
#include "runtime/http/server.hpp"
#include "tests/unit/rtmp/recorded.hpp"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace weir::testing {

class srs_stand_in {
public:
  srs_stand_in() {
    web_.route("GET", "/api/v1/streams/", {}, [this](const http::request& r, http::responder answer) { take(r, std::move(answer), [&] { return streams(r.query); }); });
    web_.route("GET", "/api/v1/vhosts/", {}, [this](const http::request& r, http::responder answer) { take(r, std::move(answer), [&] { return vhosts(); }); });
    web_.route("DELETE", "/api/v1/clients/{id}", {}, [this](const http::request& r, http::responder answer) { take(r, std::move(answer), [&] { return drop(std::string(r.param("id"))); }); });
    if (auto started = web_.start(); !started)
      throw std::runtime_error(started.error().text);
  }
  std::string url() const { return fmt::format("http://127.0.0.1:{}", web_.port()); }

  void publish(const std::string& client, const std::string& stream, const std::string& vhost = "__defaultVhost__") { show(client, stream, vhost, true); }
  /// A client that wants to publish; on_publish is not answered yet.
  void arrive(const std::string& client, const std::string& stream) { show(client, stream, "__defaultVhost__", false); }
  void leave(const std::string& client) {
    std::lock_guard lock(mutex_);
    rows_.erase(client);
  }
  /// kill -9 and a new start: nobody is there, all ids are new.
  void restart(const std::string& service) {
    std::lock_guard lock(mutex_);
    service_ = service;
    rows_.clear();
    vhost_ids_.clear();
  }
  /// From now on it takes connections and requests and answers none.
  void hang() {
    std::lock_guard lock(mutex_);
    hangs_ = true;
  }
  void wake() {
    std::vector<http::responder> late;
    {
      std::lock_guard lock(mutex_);
      hangs_ = false;
      late.swap(held_);
    }
    for (auto& answer : late)
      answer(http::text_response(503, "too late"));
  }

  /// Waits until the condition holds of the requests so far ("GET /api/v1/streams/?start=0…"); it is looked at after each one.
  template <class F>
  bool wait(F condition, std::chrono::milliseconds limit = std::chrono::seconds(10)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return condition(asked_); });
  }
  bool wait_for(const std::string& request) {
    return wait([&](auto& asked) { return std::find(asked.begin(), asked.end(), request) != asked.end(); });
  }
  /// Waits for questions that begin from now on.
  bool wait_for_polls(std::size_t count) {
    const auto polls = [](auto& asked) { return std::size_t(std::count_if(asked.begin(), asked.end(), [](auto& a) { return a.starts_with("GET /api/v1/streams/"); })); };
    std::size_t before = 0;
    wait([&](auto& asked) { return before = polls(asked), true; });
    return wait([&](auto& asked) { return polls(asked) >= before + count; });
  }
  std::vector<std::string> asked() const {
    std::lock_guard lock(mutex_);
    return asked_;
  }
  bool holds_a_question() const {
    std::lock_guard lock(mutex_);
    return !held_.empty();
  }

private:
  using json = nlohmann::json;

  template <class F>
  void take(const http::request& r, http::responder answer, F make) {
    std::unique_lock lock(mutex_);
    asked_.push_back(r.method + " " + r.raw_target);
    changed_.notify_all();
    if (hangs_)
      return held_.push_back(std::move(answer));
    auto body = make();
    lock.unlock();
    answer(http::json_response(200, body));
  }
  json envelope(const std::string& recording) const {
    auto answer = json::parse(recorded("srs-api/" + recording));
    answer["service"] = service_;
    return answer;
  }
  json streams(const http::query_text& query) const {
    auto number = [&](const char* name, std::size_t otherwise) { return query.has(name) ? std::stoul(*query.find(name)) : otherwise; };
    auto answer = envelope("streams_after_unpublish.json");
    std::size_t at = 0, start = number("start", 0), count = number("count", 10);
    for (auto& [client, row] : rows_)
      if (at++ >= start && answer["streams"].size() < count)
        answer["streams"].push_back(row);
    return answer;
  }
  json vhosts() const {
    auto answer = envelope("streams_after_unpublish.json");
    answer.erase("streams");
    answer["vhosts"] = json::array();
    for (auto& [name, id] : vhost_ids_)
      answer["vhosts"].push_back({{"id", id}, {"name", name}, {"enabled", true}, {"clients", 1}, {"streams", 1}, {"hls", {{"enabled", false}}}});
    return answer;
  }
  json drop(const std::string& client) {
    if (rows_.erase(client) == 0)
      return json::parse(recorded("srs-api/client_notfound.json"));
    return json::parse(recorded_body("srs-api/kickoff.http"));
  }
  void show(const std::string& client, const std::string& stream, const std::string& vhost, bool active) {
    std::lock_guard lock(mutex_);
    auto& id = vhost_ids_[vhost];
    if (id.empty())
      id = fmt::format("vid-{}{}", service_.substr(0, 6), vhost_ids_.size());
    auto row = json::parse(recorded("srs-api/streams_.json"))["streams"][0];
    row["id"] = "vid-" + client;
    row["name"] = stream;
    row["vhost"] = id;
    row["url"] = "/live/" + stream;
    row["publish"] = active ? json{{"active", true}, {"cid", client}} : json{{"active", false}};
    rows_[client] = std::move(row);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string service_ = "51st40z1";
  std::map<std::string, json> rows_; ///< by client
  std::map<std::string, std::string> vhost_ids_;
  std::vector<std::string> asked_;
  std::vector<http::responder> held_;
  bool hangs_ = false;
  http::server web_{{.name = "srs", .listen = "127.0.0.1:0"}}; ///< ends first
};

} // namespace weir::testing
