#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"
#include "runtime/origin/replicated_store.hpp"
#include "tests/integration/origin/replica_cluster.hpp"
#include "tests/integration/origin/store_world.hpp"

#include <array>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <utility>

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>

namespace weir::origin {

namespace {

namespace fs = std::filesystem;

constexpr std::size_t members = 3;
constexpr auto world_token = "origins_secret";

/// One member: its disk, its desk and its server.
class station {
public:
  station(const fs::path& root, const std::string& name, std::uint16_t port) {
    disk = std::make_shared<ailing_store>(std::move(open_folder_store(root / name, name).value()));
    desk = replica_desk::open(disk, root / (name + ".replica"), 8).value();
    server = std::make_unique<http::server>(http::server_options{.listen = fmt::format("127.0.0.1:{}", port)});
    add_replica_routes(*server, desk, world_token, 64U << 20);
    if (auto started = server->start(); !started)
      throw std::runtime_error(started.error().text);
  }
  ~station() {
    server.reset();
    desk->close(20s);
  }
  std::shared_ptr<ailing_store> disk;
  std::shared_ptr<replica_desk> desk;
  std::unique_ptr<http::server> server;
};

/// A handle with everything that it needs: what stands lower ends first.
struct handle {
  std::shared_ptr<station> mine;
  http::client web{{}};
  std::unique_ptr<replicated_store> store;
};

class replicated_world final : public store_world {
public:
  replicated_world() {
    char name[] = "/tmp/weir-replicated-XXXXXX";
    if (::mkdtemp(name) == nullptr)
      throw std::runtime_error("no folder for the test");
    root_ = name;
    mounted_ = ::mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=48m") == 0;
    for (std::size_t i = 0; i < members; ++i) {
      stations_[i] = std::make_shared<station>(root_, name_of(i), std::uint16_t{0});
      ports_[i] = stations_[i]->server->port();
    }
  }
  ~replicated_world() override {
    for (auto& s : stations_)
      s.reset();
    for (auto child : children_) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    if (mounted_)
      ::umount2(root_.c_str(), MNT_DETACH);
    fs::remove_all(root_);
  }

  /// Each is of the next member, since a term has one: another handle is another origin.
  std::shared_ptr<segment_store> open() override {
    auto h = std::make_shared<handle>();
    const auto i = apart_ ? 0 : next_++ % members;
    h->mine = apart_ ? std::make_shared<station>(root_, name_of(0), ports_[0]) : stations_[i];
    h->store = std::make_unique<replicated_store>(h->mine->desk, h->web, replicated_options{.self = name_of(i), .token = world_token, .deadline = 10s, .mend_every = 50ms});
    replica_view view;
    for (std::size_t j = 0; j < members; ++j)
      view.members.push_back({name_of(j), fmt::format("http://127.0.0.1:{}", ports_[j])});
    if (auto used = h->store->use(view); !used)
      throw std::runtime_error(used.error().text);
    return {h, h->store.get()};
  }

  void settle() override {
    EXPECT_TRUE(comes_true([&] {
      auto first = files_of(0);
      return files_of(1) == first && files_of(2) == first;
    })) << "the members differ";
  }

  /// The two others become processes of their own; each ends with this one.
  void stand_apart() override {
    if (std::exchange(apart_, true))
      return;
    for (auto& s : stations_)
      s.reset();
    for (std::size_t i = 1; i < members; ++i) {
      int ready[2];
      if (::pipe(ready) != 0)
        throw std::runtime_error("no pipe");
      if (!comes_alone())
        throw std::runtime_error("a thread goes on");
      auto child = ::fork();
      if (child == 0) {
        ::close(ready[0]);
        be_member(i, ready[1]);
      }
      children_.push_back(child);
      ::close(ready[1]);
      char word = 0;
      if (::read(ready[0], &word, 1) != 1)
        throw std::runtime_error("a member did not start");
      ::close(ready[0]);
    }
  }

  bool fill() override {
    if (!mounted_)
      return false;
    std::ofstream other(root_ / "other", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (other.write(block.data(), static_cast<std::streamsize>(block.size())) && other.flush()) {
    }
    return true;
  }
  void slow(std::chrono::milliseconds each) override {
    for (auto& s : stations_)
      s->disk->slow_puts_ms = static_cast<int>(each.count());
  }
  /// One of three: the store goes on.
  bool cut_half() override {
    stations_[members - 1]->server.reset();
    return true;
  }
  void mend() override {
    fs::remove(root_ / "other");
    slow(0ms);
    auto& last = stations_[members - 1];
    if (!last->server) {
      last.reset();
      last = std::make_shared<station>(root_, name_of(members - 1), ports_[members - 1]);
    }
  }
  std::uint64_t leave_halves() override {
    for (std::size_t i = 0; i < members; ++i) {
      auto folder = root_ / name_of(i) / "show";
      fs::create_directories(folder / "1/1/720p");
      std::ofstream(folder / "1/1/720p/77.ts.0a1b2c3d.put.11223344.new") << "ha";
      std::ofstream(folder / "1/1/720p/78.ts.0a1b2c3d.put") << "whole, but not in its place";
      std::ofstream(folder / "log.json.0a1b2c3d.put") << "{\"ha";
    }
    return 3; // each member has its own
  }

private:
  [[noreturn]] void be_member(std::size_t i, int ready) const noexcept { // what throws must not go on with the parent's tests
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    station serves(root_, name_of(i), ports_[i]);
    if (::write(ready, "r", 1) != 1)
      ::_exit(1);
    for (;;)
      ::pause();
  }
  static std::string name_of(std::size_t i) { return fmt::format("o{}", i + 1); }

  /// Relative path → contents, of segments and logs.
  std::map<std::string, std::string> files_of(std::size_t i) const {
    std::map<std::string, std::string> found;
    std::error_code gone;
    for (fs::recursive_directory_iterator at(root_ / name_of(i), gone), end; !gone && at != end; at.increment(gone))
      if (auto name = at->path().filename().string(); name.ends_with(".ts") || name == "log.json")
        if (auto text = read_file(at->path(), 64U << 20))
          found.emplace(at->path().lexically_relative(root_ / name_of(i)), std::move(*text));
    return found;
  }

  fs::path root_;
  bool mounted_ = false, apart_ = false;
  std::array<std::shared_ptr<station>, members> stations_;
  std::array<std::uint16_t, members> ports_{};
  std::vector<pid_t> children_;
  std::size_t next_ = 0;
};

} // namespace

std::unique_ptr<store_world> make_replicated_world() { return std::make_unique<replicated_world>(); }

} // namespace weir::origin
