// The cluster's port in a process of its own, as strangers find it: nothing that they do keeps a node outside or fills the process.
#include "actors/uplink.hpp"
#include "actors/wire.hpp"
#include "runtime/cluster/authority.hpp"
#include "runtime/cluster/transport.hpp"
#include "runtime/supervise/process.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <atomic>
#include <csignal>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <mutex>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

namespace weir {
namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
namespace fs = std::filesystem;

/// A stranger's connection.
class knock {
public:
  explicit knock(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = socket_ >= 0 && ::connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  }
  knock(knock&& other) noexcept : socket_(std::exchange(other.socket_, -1)), connected_(other.connected_) {}
  knock& operator=(knock&& other) noexcept {
    std::swap(socket_, other.socket_);
    std::swap(connected_, other.connected_);
    return *this;
  }
  ~knock() {
    if (socket_ >= 0)
      ::close(socket_);
  }
  bool connected() const { return connected_; }
  void say(std::string_view bytes) const { EXPECT_EQ(::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size())); }
  /// Whether the other end hangs up before `until`.
  bool cut_before(clock::time_point until) const {
    for (;;) {
      pollfd wait{socket_, POLLIN, 0};
      auto left = std::chrono::ceil<std::chrono::milliseconds>(until - clock::now());
      if (::poll(&wait, 1, static_cast<int>(std::max(left, 0ms).count())) != 1)
        return false;
      std::array<char, 4096> heard{}; // CAF speaks first, without TLS
      if (::recv(socket_, heard.data(), heard.size(), 0) <= 0)
        return true;
    }
  }

private:
  int socket_;
  bool connected_ = false;
};

/// What a BASP header says on the wire: operation, three bytes of nothing and flags, then numbers with the highest byte first.
std::string header(std::uint8_t operation, std::uint32_t payload, std::uint64_t data, std::uint64_t from, std::uint64_t to) {
  std::string bytes{static_cast<char>(operation), 0, 0, 0};
  auto put = [&](std::uint64_t value, int size) {
    for (int n = size; n-- > 0;)
      bytes += static_cast<char>(value >> (8 * n));
  };
  put(payload, 4);
  put(data, 8);
  put(from, 8);
  put(to, 8);
  return bytes;
}
constexpr std::uint8_t client_handshake = 1, direct_message = 2;

enum class line { plain, tls };

/// What the process at the port says.
struct voice {
  std::mutex mutex;
  std::condition_variable spoken;
  std::string lines;
  std::uint16_t port = 0;
};

class Strangers : public testing::TestWithParam<line> {
protected:
  void SetUp() override {
    rlimit files{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &files), 0);
    ASSERT_GE(files.rlim_cur, 3000u) << "the strangers' ends are in this process";
    if (GetParam() == line::tls) {
      folder = fs::temp_directory_path() / ("weir-strangers-" + std::to_string(::getpid()));
      ASSERT_TRUE(cluster::make_authority(folder, "hall"));
      for (auto* name : {"boss", "w1"})
        ASSERT_TRUE(cluster::issue(folder, name));
    }
    supervise::launch how;
    how.arguments = {"_door", folder.string()};
    how.environment = {{"ASAN_OPTIONS", "quarantine_size_mb=1"}}; // what was given back is to count as given back
    how.on_line = [heard = heard](const std::string& said) {
      std::scoped_lock lock(heard->mutex);
      if (said.starts_with("port "))
        heard->port = static_cast<std::uint16_t>(std::stoi(said.substr(5)));
      heard->lines += said + "\n";
      heard->spoken.notify_all();
    };
    auto started = supervise::process::spawn(std::move(how));
    ASSERT_TRUE(started) << started.error().text;
    boss = std::move(*started);
    std::unique_lock lock(heard->mutex);
    ASSERT_TRUE(heard->spoken.wait_for(lock, 20s, [this] { return heard->port != 0; })) << heard->lines;
    port = heard->port;
  }
  ~Strangers() override {
    if (!folder.empty())
      fs::remove_all(folder);
  }

  /// Of a handshake that never ends.
  static std::string beginning() {
    return GetParam() == line::tls ? std::string("\x16\x03\x01\x02\x00\x01\x00\x01", 8) : header(client_handshake, 64 << 10, 0, 0, 0) + "and so on";
  }

  /// Stops the process at the port; the kernel goes on taking connections for it.
  void hang() const {
    ASSERT_EQ(::kill(boss.pid(), SIGSTOP), 0);
    for (auto until = clock::now() + 10s;;) {
      std::ifstream in(fs::path("/proc") / std::to_string(boss.pid()) / "stat");
      std::string pid, name, state;
      in >> pid >> name >> state;
      if (state == "T")
        return;
      ASSERT_LT(clock::now(), until);
      std::this_thread::yield();
    }
  }

  std::size_t files() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(fs::path("/proc") / std::to_string(boss.pid()) / "fd"), {})); }
  std::size_t memory() const {
    std::ifstream in(fs::path("/proc") / std::to_string(boss.pid()) / "statm");
    std::size_t all = 0, resident = 0;
    in >> all >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  }
  std::string said() const {
    std::scoped_lock lock(heard->mutex);
    return heard->lines;
  }

  fs::path folder;
  std::shared_ptr<voice> heard = std::make_shared<voice>(); // its end is told when the test may be over
  std::uint16_t port = 0;
  supervise::process boss;
};

/// A node of the cluster as far as its way to the coordinator.
class member {
public:
  member(const fs::path& folder, std::uint16_t port) {
    cluster::identity who;
    if (!folder.empty())
      who = {folder / "ca.pem", folder / "w1.pem", folder / "w1.key"};
    config_.set("scheduler.max-threads", std::size_t{2});
    add_wire_types(config_);
    cluster::prepare(config_, who);
    system_ = std::make_unique<caf::actor_system>(config_);
    uplink_setup setup{.addresses = {"127.0.0.1:" + std::to_string(port)}, .us = {"hall", "w1", "1", wire_form()}, .tls = who.tls()};
    uplink_ = system_->spawn<caf::detached>(uplink, setup);
  }
  ~member() {
    {
      caf::scoped_actor self{*system_}; // as the program does it
      self->monitor(uplink_);
      caf::anon_send(std::exchange(uplink_, nullptr), stop{});
      self->receive([](const caf::down_msg&) {}, caf::after(10s) >> [] { ADD_FAILURE() << "the uplink does not end"; });
    }
    cluster::settle(*system_);
    system_.reset();
  }
  bool reaches_the_coordinator() {
    bool reached = false;
    caf::scoped_actor self{*system_};
    self->request(uplink_, 5s, view_cluster{}).receive([&](const cluster_view& view) { reached = view.version == 42; }, [](const caf::error&) {});
    return reached;
  }
  bool joins_before(clock::time_point until) {
    while (!reaches_the_coordinator()) {
      if (clock::now() > until)
        return false;
      std::this_thread::sleep_for(20ms);
    }
    return true;
  }
  std::uint64_t connections() {
    std::uint64_t made = 0;
    caf::scoped_actor self{*system_};
    self->request(uplink_, 5s, ask_status{})
      .receive([&](const actor_report& r) { made = nlohmann::json::parse(r.status).at("connections"); },
               [](const caf::error& why) { ADD_FAILURE() << from_caf(why).text; });
    return made;
  }

private:
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::actor uplink_;
};

TEST_P(Strangers, AreFewHoweverManyComeAndANodeJoinsMeanwhile) {
  auto files_before = files(), memory_before = memory();
  std::atomic<std::size_t> most_files = 0, most_memory = 0, came = 0;
  std::deque<knock> idle;
  {
    std::jthread counts([&](const std::stop_token& end) {
      while (!end.stop_requested()) {
        most_files = std::max(most_files.load(), files());
        most_memory = std::max(most_memory.load(), memory());
        std::this_thread::sleep_for(5ms);
      }
    });
    std::jthread flood([&](const std::stop_token& end) { // two thousand of them at any time, and new ones for as long as the node needs
      while (!end.stop_requested()) {
        idle.emplace_back(port);
        if (idle.size() > 2000)
          idle.pop_front();
        came = came + 1;
        came.notify_all();
      }
    });
    for (auto n = came.load(); n < 2000; n = came.load())
      came.wait(n);
    auto begin = clock::now();
    member node(folder, port);
    EXPECT_TRUE(node.joins_before(begin + 30s)) << said();
    RecordProperty("joined_ms", static_cast<int>((clock::now() - begin) / 1ms));
    flood.request_stop();
    flood.join();
    RecordProperty("came", static_cast<int>(came));
    EXPECT_GE(idle.size(), 2000u);
    auto until = clock::now() + 20s;
    EXPECT_TRUE(std::ranges::all_of(idle, [&](auto& one) { return one.cut_before(until); })) << "who shows nothing is cut off after ten seconds";
    EXPECT_TRUE(node.reaches_the_coordinator());
    EXPECT_EQ(node.connections(), 1u) << "the node that has joined was never cut off";
  }
  EXPECT_LE(most_files, files_before + 270) << "256 strangers, one node, and what is being closed";
  EXPECT_LE(most_memory, memory_before + (64u << 20));
  RecordProperty("files", static_cast<int>(most_files - files_before));
  RecordProperty("memory_kb", static_cast<int>((most_memory - memory_before) >> 10));
  EXPECT_NE(said().find("stranger-cut-off"), std::string::npos);
}

TEST_P(Strangers, ThatBeginAHandshakeAreFewToo) {
  auto files_before = files(), memory_before = memory();
  std::vector<knock> begun;
  for (int n = 0; n < 400; ++n) {
    begun.emplace_back(port);
    ASSERT_TRUE(begun.back().connected());
    begun.back().say(beginning());
  }
  member node(folder, port);
  EXPECT_TRUE(node.joins_before(clock::now() + 30s)) << said();
  EXPECT_LE(files(), files_before + 270);
  EXPECT_LE(memory(), memory_before + (64u << 20));
  auto until = clock::now() + 20s;
  EXPECT_TRUE(std::ranges::all_of(begun, [&](auto& one) { return one.cut_before(until); }));
  EXPECT_TRUE(node.reaches_the_coordinator());
  EXPECT_EQ(node.connections(), 1u);
}

TEST_P(Strangers, WhoNeverFinishesItsHandshakeIsCutOffAfterTenSeconds) {
  auto begin = clock::now();
  knock silent(port), slow(port);
  ASSERT_TRUE(silent.connected() && slow.connected());
  slow.say(beginning());
  EXPECT_FALSE(silent.cut_before(begin + 9s));
  EXPECT_TRUE(silent.cut_before(begin + 13s));
  EXPECT_TRUE(slow.cut_before(begin + 13s));
}

TEST_P(Strangers, ANodeEndsWhileItsCoordinatorHangs) {
  auto node = std::make_unique<member>(folder, port);
  ASSERT_TRUE(node->joins_before(clock::now() + 30s));
  hang();
  EXPECT_FALSE(node->reaches_the_coordinator());
  node.reset(); // CAF joins its threads
}

INSTANTIATE_TEST_SUITE_P(Cluster, Strangers, testing::Values(line::plain, line::tls), [](const auto& of) { return of.param == line::tls ? "Tls" : "Plain"; });

class PlainStrangers : public Strangers {};

TEST_P(PlainStrangers, NothingIsPutAsideForWhomHasNotShakenHands) {
  auto before = memory();
  std::vector<knock> all;
  for (int n = 0; n < 200; ++n) {
    all.emplace_back(port);
    ASSERT_TRUE(all.back().connected());
    all.back().say(header(direct_message, 16 << 20, 0, 1, 1));
  }
  auto until = clock::now() + 8s; // sooner than for being slow
  EXPECT_TRUE(std::ranges::all_of(all, [&](auto& one) { return one.cut_before(until); }));
  EXPECT_LE(memory(), before + (32u << 20)) << "3 GiB were announced";
  knock large(port);
  large.say(header(client_handshake, (64 << 10) + 1, 0, 0, 0));
  EXPECT_TRUE(large.cut_before(clock::now() + 8s));
}

class TlsStrangers : public Strangers {
protected:
  static constexpr auto while_it_stands_still = 4s; ///< CAF itself gives up soon after

  /// What all threads of a process have used so far.
  static std::chrono::milliseconds cpu_time(const std::string& pid) {
    std::ifstream in("/proc/" + pid + "/stat");
    std::string field;
    std::int64_t ticks = 0;
    for (int n = 1; n <= 15 && in >> field; ++n) // proc(5): utime and stime are the 14th and the 15th; no name here has a space
      if (n >= 14)
        ticks += std::stoll(field);
    return std::chrono::milliseconds(ticks * 1000 / ::sysconf(_SC_CLK_TCK));
  }
};

TEST_P(TlsStrangers, WhoDoNotFinishTheirHandshakeKeepNobodyBusy) {
  std::vector<knock> begun;
  for (int n = 0; n < 20; ++n) {
    begun.emplace_back(port);
    ASSERT_TRUE(begun.back().connected());
    begun.back().say(beginning());
  }
  member node(folder, port);
  EXPECT_TRUE(node.joins_before(clock::now() + 30s)) << "all that came before it have been looked at by then";
  auto before = cpu_time(std::to_string(boss.pid()));
  std::this_thread::sleep_for(while_it_stands_still);
  EXPECT_LT(cpu_time(std::to_string(boss.pid())) - before, while_it_stands_still / 4);
}

TEST_P(TlsStrangers, AHandshakeWithANodeThatHangsKeepsNobodyBusy) {
  hang();
  member node(folder, port);
  EXPECT_FALSE(node.joins_before(clock::now() + 1s));
  auto before = cpu_time("self");
  std::this_thread::sleep_for(while_it_stands_still);
  EXPECT_LT(cpu_time("self") - before, while_it_stands_still / 4);
  ASSERT_EQ(::kill(boss.pid(), SIGCONT), 0);
  EXPECT_TRUE(node.joins_before(clock::now() + 30s));
}

TEST_P(TlsStrangers, ANodeEndsInTheMidstOfAHandshakeThatStandsStill) {
  hang();
  auto node = std::make_unique<member>(folder, port);
  EXPECT_FALSE(node->joins_before(clock::now() + 3s)) << "by then CAF has something to write there";
  node.reset(); // CAF joins its threads
}

INSTANTIATE_TEST_SUITE_P(Cluster, TlsStrangers, testing::Values(line::tls), [](const auto&) { return "Tls"; });
INSTANTIATE_TEST_SUITE_P(Cluster, PlainStrangers, testing::Values(line::plain), [](const auto&) { return "Plain"; });

} // namespace
} // namespace weir
