#pragma once
// Origins that keep copies for each other, in one process, over real HTTP. Each directed line between two of them has its own server, so that it can be cut alone.
#include "runtime/base/file.hpp"
#include "runtime/origin/replicated_store.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fmt/format.h>
#include <unistd.h>

namespace weir::origin {

using namespace std::chrono_literals;

inline std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

inline std::string text_of(const open_segment& s) {
  if (s.bytes)
    return *s.bytes;
  std::string text(s.size, 0);
  EXPECT_EQ(::pread(s.fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(s.size));
  return text;
}

/// A folder whose disk can be slow or full.
class ailing_store : public segment_store {
public:
  explicit ailing_store(std::unique_ptr<segment_store> whole) : whole_(std::move(whole)) {}
  std::atomic<int> slow_ms{0};      ///< each write takes so long
  std::atomic<int> slow_puts_ms{0}; ///< and each put so long besides
  std::atomic<int> slow_reads_ms{0}; ///< each open takes so long
  std::atomic<bool> full{false};

  expected<void> claim(std::uint64_t term) override { return whole_->claim(term); }
  expected<std::uint64_t> claimed() const override { return whole_->claimed(); }
  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> b) override {
    WEIR_TRY(write());
    std::this_thread::sleep_for(std::chrono::milliseconds(slow_puts_ms));
    return whole_->put(stream, place, b);
  }
  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override {
    std::this_thread::sleep_for(std::chrono::milliseconds(slow_reads_ms));
    return whole_->open(stream, place);
  }
  expected<void> remove(std::string_view stream, const hls::segment_place& place) override { return whole_->remove(stream, place); }
  expected<void> save_log(std::string_view stream, std::string_view json, bool durable) override {
    WEIR_TRY(write());
    return whole_->save_log(stream, json, durable);
  }
  expected<std::string> load_log(std::string_view stream) const override { return whole_->load_log(stream); }
  expected<std::vector<std::string>> streams() const override { return whole_->streams(); }
  expected<void> remove_stream(std::string_view stream) override { return whole_->remove_stream(stream); }
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override { return whole_->sweep(known); }
  expected<store_usage> usage() const override { return whole_->usage(); }

private:
  expected<void> write() const {
    std::this_thread::sleep_for(std::chrono::milliseconds(slow_ms)); // the disk's time is the test's input
    if (full)
      return fail(error_code::io_failed, fmt::format("write: {}", std::strerror(ENOSPC)));
    return {};
  }
  std::unique_ptr<segment_store> whole_;
};

class replica_cluster {
public:
  static constexpr auto token = "origins_secret";

  struct member {
    std::string name;
    std::filesystem::path folder;
    std::shared_ptr<ailing_store> disk;
    std::shared_ptr<replica_desk> desk;
    std::map<std::size_t, std::unique_ptr<http::server>> from; ///< the line from each other member
    std::map<std::size_t, std::uint16_t> ports;
    std::unique_ptr<replicated_store> store;
  };

  explicit replica_cluster(std::size_t count, replicated_options options = {}) : options_(std::move(options)) {
    char made[] = "/tmp/weir-replicas-XXXXXX";
    root_ = ::mkdtemp(made);
    members_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto& m = members_[i];
      m.name = fmt::format("o{}", i + 1);
      m.folder = root_ / m.name;
      open(i);
    }
    for (std::size_t i = 0; i < count; ++i)
      reopen_store(i);
  }
  ~replica_cluster() {
    for (auto& m : members_)
      m.store.reset();
    for (auto& m : members_)
      m.from.clear();
    web_.reset();
    for (auto& m : members_)
      m.desk->close(20s);
    members_.clear();
    std::filesystem::remove_all(root_);
  }
  replica_cluster(const replica_cluster&) = delete;
  replica_cluster& operator=(const replica_cluster&) = delete;

  member& at(std::size_t i) { return members_[i]; }
  replicated_store& store(std::size_t i) { return *members_[i].store; }
  std::size_t size() const { return members_.size(); }

  /// As member `i` reaches the others.
  replica_view view_of(std::size_t i, std::vector<std::size_t> of = {}, std::uint32_t quorum = 0) const {
    replica_view v{.mark = {}, .members = {}, .quorum = quorum};
    if (of.empty())
      for (std::size_t j = 0; j < members_.size(); ++j)
        of.push_back(j);
    for (auto j : of)
      v.members.push_back({members_[j].name, fmt::format("http://127.0.0.1:{}", i == j ? 9 : members_[j].ports.at(i)), token});
    return v;
  }
  /// Neither reaches the other. What is under way ends.
  void cut(std::size_t a, std::size_t b) {
    members_[a].from[b].reset();
    members_[b].from[a].reset();
  }
  void mend(std::size_t a, std::size_t b) {
    serve(a, b);
    serve(b, a);
  }
  void cut_off(std::size_t i) { each_other(i, [&](auto j) { cut(i, j); }); }
  void mend(std::size_t i) { each_other(i, [&](auto j) { mend(i, j); }); }

  /// The process begins anew on the same folder; nobody reached it meanwhile.
  void restart(std::size_t i) {
    auto& m = members_[i];
    std::vector<std::size_t> lines;
    each_other(i, [&](auto j) {
      if (m.from[j])
        lines.push_back(j);
    });
    m.store.reset();
    m.from.clear();
    m.desk->close(20s); // a process that has ended writes nothing more
    m.desk.reset();
    open_desk(i);
    for (auto j : lines)
      serve(i, j);
    reopen_store(i);
  }

private:
  template <class F>
  void each_other(std::size_t i, F f) {
    for (std::size_t j = 0; j < members_.size(); ++j)
      if (j != i)
        f(j);
  }
  void open(std::size_t i) {
    open_desk(i);
    each_other(i, [&](auto j) { serve(i, j); });
  }
  void open_desk(std::size_t i) {
    auto& m = members_[i];
    m.disk = std::make_shared<ailing_store>(std::move(open_folder_store(m.folder, m.name).value()));
    m.desk = replica_desk::open(m.disk, root_ / (m.name + ".replica")).value();
  }
  void reopen_store(std::size_t i) {
    auto o = options_;
    o.self = members_[i].name;
    members_[i].store = std::make_unique<replicated_store>(members_[i].desk, *web_, o);
  }
  /// `i` answers `j` from now on.
  void serve(std::size_t i, std::size_t j) {
    auto& m = members_[i];
    if (m.from[j])
      return;
    auto server = std::make_unique<http::server>(http::server_options{.listen = fmt::format("127.0.0.1:{}", m.ports[j])});
    add_replica_routes(*server, m.desk, token, options_.segment_limit);
    auto started = server->start();
    ASSERT_TRUE(started) << started.error().text;
    m.ports[j] = server->port();
    m.from[j] = std::move(server);
  }

  std::filesystem::path root_;
  replicated_options options_;
  std::vector<member> members_;
  std::unique_ptr<http::client> web_ = std::make_unique<http::client>(http::client_options{});
};

/// Until `what` holds; a failure when it does not within 20 s.
template <class F>
bool comes_true(F what) {
  for (auto until = std::chrono::steady_clock::now() + 20s; std::chrono::steady_clock::now() < until;) {
    if (what())
      return true;
    std::this_thread::sleep_for(10ms);
  }
  return what();
}

} // namespace weir::origin
