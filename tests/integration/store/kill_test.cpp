// The store under what machines do to it: the process is killed at any moment, the disk fills up, bytes rot.
#include "runtime/base/clock.hpp"
#include "runtime/base/file.hpp"
#include "runtime/store/store.hpp"

#include <fcntl.h>
#include <csignal>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <random>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace weir;
using store::batch;
using store::durability;
namespace fs = std::filesystem;

namespace {

constexpr auto writer_folder = "WEIR_STORE_WRITER"; // set in the environment of the child
constexpr int report_fd = 3;

class Storage : public testing::Test {
protected:
  ~Storage() override { fs::remove_all(folder); }
  fs::path folder = [] {
    std::string name = fs::temp_directory_path() / "weir-kill-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
};

store::options small_tables() {
  store::options how;
  how.memtable_bytes = 128 << 10; // so that the kill also meets flushes and compactions
  return how;
}

// The nth batch touches a stream, a task, a setting and the event log, all with the number n.
batch numbered(std::uint64_t n) {
  batch b;
  stream_spec s;
  s.id = stream_id("s" + std::to_string(n % 20));
  s.revision = n;
  s.comment = std::string(1500, static_cast<char>('a' + n % 26));
  b.put_stream(s);
  task_spec t;
  t.id = task_id("t");
  t.revision = n;
  b.put_task(t);
  b.put_setting("n", std::to_string(n));
  b.append_event({0, {}, "test", "x", std::to_string(n), "writer"});
  return b;
}

struct report {
  std::uint64_t batch;
  lease_epoch epoch;
};

struct child {
  pid_t pid = 0;
  unique_fd reports;
};

// The child is this program once more, since RocksDB's threads do not survive a fork.
child start_writer(const fs::path& folder) {
  std::array<int, 2> ends{};
  EXPECT_EQ(pipe2(ends.data(), O_CLOEXEC), 0);
  unique_fd theirs(ends[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, theirs.get(), report_fd);
  setenv(writer_folder, folder.c_str(), 1);
  std::string program = fs::read_symlink("/proc/self/exe"), filter = "--gtest_filter=Writer.DISABLED_WritesUntilItIsKilled", disabled = "--gtest_also_run_disabled_tests";
  std::array<char*, 4> arguments{program.data(), filter.data(), disabled.data(), nullptr};
  child c{0, unique_fd(ends[0])};
  EXPECT_EQ(posix_spawn(&c.pid, program.c_str(), &actions, nullptr, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  unsetenv(writer_folder);
  return c;
}

bool readable(const unique_fd& fd, milliseconds limit) {
  pollfd p{fd.get(), POLLIN, 0};
  return poll(&p, 1, static_cast<int>(limit.count())) == 1 && (p.revents & POLLIN) != 0;
}

} // namespace

TEST(Writer, DISABLED_WritesUntilItIsKilled) {
  auto* folder = getenv(writer_folder);
  ASSERT_NE(folder, nullptr) << "only Storage.LosesNothing… starts this";
  auto db = store::store::open(folder, small_tables());
  ASSERT_TRUE(db) << db.error().text;
  auto all = db->load();
  ASSERT_TRUE(all);
  auto found = all->settings.find("n");
  for (std::uint64_t n = found == all->settings.end() ? 1 : std::stoull(found->second) + 1;; ++n) {
    auto b = numbered(n);
    auto done = db->commit(b, n % 8 == 0 ? durability::synced : durability::lazy);
    ASSERT_TRUE(done) << done.error().text;
    auto epoch = n % 16 == 0 ? db->reserve_epoch(task_id("t")) : expected<lease_epoch>(0);
    ASSERT_TRUE(epoch);
    if (n % 64 == 0) {
      ASSERT_TRUE(db->prune_events(200));
    }
    report r{n, *epoch};
    ASSERT_EQ(write(report_fd, &r, sizeof r), static_cast<ssize_t>(sizeof r));
  }
}

TEST_F(Storage, LosesNothingAcknowledgedWhenKilledAtAnyMoment) {
  std::mt19937 random(42);
  std::uint64_t acknowledged = 0;
  lease_epoch reserved = 0;
  int kills_while_writing = 0;
  for (int round = 0; round < 40; ++round) {
    auto c = start_writer(folder / "db");
    ASSERT_GT(c.pid, 0);
    if (round % 5 != 4) { // every fifth kill falls into the start
      ASSERT_TRUE(readable(c.reports, seconds(30)));
      ++kills_while_writing;
    }
    auto until = steady_clock::now() + std::chrono::microseconds(random() % 120'000);
    report r{};
    auto take = [&] {
      if (read(c.reports.get(), &r, sizeof r) != static_cast<ssize_t>(sizeof r))
        return false;
      acknowledged = r.batch;
      reserved = std::max(reserved, r.epoch);
      return true;
    };
    while (steady_clock::now() < until)
      if (readable(c.reports, milliseconds(1)) && !take())
        break;
    ASSERT_EQ(kill(c.pid, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(c.pid, &status, 0), c.pid);
    ASSERT_TRUE(WIFSIGNALED(status)) << "the writer ended by itself";
    while (take()) {
    }

    auto db = store::store::open(folder / "db", small_tables());
    ASSERT_TRUE(db) << "round " << round << ": " << db.error().text;
    auto all = db->load();
    ASSERT_TRUE(all) << all.error().text;
    if (all->settings.empty()) {
      ASSERT_EQ(acknowledged, 0u);
      continue;
    }
    auto n = std::stoull(all->settings.at("n"));
    ASSERT_GE(n, acknowledged) << "round " << round;
    ASSERT_LE(n, acknowledged + 1) << "only the one in flight may be there besides";
    ASSERT_EQ(all->tasks.at(task_id("t")).revision, n) << "half a batch";
    ASSERT_EQ(all->streams.at(stream_id("s" + std::to_string(n % 20))).revision, n) << "half a batch";
    ASSERT_EQ(db->read_last_events(1)->at(0).text, std::to_string(n)) << "half a batch";
    ASSERT_EQ(all->last_event, n);
    for (auto& [id, s] : all->streams)
      ASSERT_GT(s.revision + 20, n) << "an older batch went missing";
    auto highest = all->epochs.find(task_id("t"));
    ASSERT_GE(highest == all->epochs.end() ? 0 : highest->second, reserved);
    acknowledged = n;
  }
  EXPECT_GE(kills_while_writing, 30);
  EXPECT_GT(acknowledged, 500u) << "the writer hardly wrote";
  RecordProperty("batches", std::to_string(acknowledged));
}

// --- rot ----------------------------------------------------------------------------------------------------------------------------

namespace {

void fill(const fs::path& folder, std::uint64_t batches) {
  auto db = store::store::open(folder, small_tables());
  ASSERT_TRUE(db);
  for (std::uint64_t n = 1; n <= batches; ++n) {
    auto b = numbered(n);
    ASSERT_TRUE(db->commit(b, durability::synced));
  }
}

std::vector<fs::path> files(const fs::path& folder, std::string_view what) {
  std::vector<fs::path> found;
  for (auto& f : fs::directory_iterator(folder))
    if (auto name = f.path().filename().string(); (name.starts_with(what) || name.ends_with(what)) && f.file_size() > 0)
      found.push_back(f.path());
  std::sort(found.begin(), found.end());
  return found;
}

// Turns the bits of a few bytes at a share of the file.
void damage(const fs::path& file, double share) {
  std::fstream f(file, std::ios::in | std::ios::out | std::ios::binary);
  auto at = static_cast<std::streamoff>(static_cast<double>(fs::file_size(file)) * share);
  std::array<char, 4> bytes{};
  f.seekg(at);
  f.read(bytes.data(), bytes.size());
  for (auto& b : bytes)
    b = static_cast<char>(~b);
  f.seekp(at);
  f.write(bytes.data(), bytes.size());
}

void expect_refusal(const fs::path& folder) {
  auto opened = store::store::open(folder, small_tables());
  ASSERT_FALSE(opened) << "damaged, and nobody noticed";
  EXPECT_EQ(opened.error().code, error_code::corrupt) << opened.error().text;
  EXPECT_NE(opened.error().text.find("weir restore"), std::string::npos) << opened.error().text;
}

} // namespace

class Rot : public Storage, public testing::WithParamInterface<std::string> {};

TEST_P(Rot, IsRefusedWithWhatToDo) {
  auto db = folder / "db";
  fill(db, 300); // enough for tables and a log
  auto found = files(db, GetParam());
  ASSERT_FALSE(found.empty()) << GetParam();
  damage(found.back(), GetParam() == "CURRENT" ? 0.0 : 0.4);
  expect_refusal(db);
}
INSTANTIATE_TEST_SUITE_P(Of, Rot, testing::Values(".sst", ".log", "MANIFEST", "CURRENT"), [](auto& p) {
  std::string name;
  for (char c : p.param)
    if (std::isalpha(c))
      name += c;
  return name;
});

class Loss : public Storage, public testing::WithParamInterface<std::string> {};

TEST_P(Loss, IsRefusedWithWhatToDo) {
  auto db = folder / "db";
  fill(db, 300);
  auto found = files(db, GetParam());
  ASSERT_FALSE(found.empty()) << GetParam();
  fs::remove(found.back());
  expect_refusal(db);
}
INSTANTIATE_TEST_SUITE_P(Of, Loss, testing::Values(".sst", "MANIFEST", "CURRENT"), [](auto& p) {
  std::string name;
  for (char c : p.param)
    if (std::isalpha(c))
      name += c;
  return name;
});

// --- a full disk --------------------------------------------------------------------------------------------------------------------

namespace {

// Random text of its own for each batch, which no compression and no compaction makes smaller.
batch with_ballast(std::uint64_t n) {
  auto b = numbered(n);
  std::mt19937_64 random(n);
  std::string text;
  while (text.size() < 16'000)
    text += std::to_string(random());
  b.put_setting("ballast-" + std::to_string(n), text);
  return b;
}

// Writes until refused, then lets `make_room` help, then expects everything acknowledged and further writes.
template <class F>
void expect_recovery(const fs::path& folder, F make_room) {
  auto db = store::store::open(folder, small_tables());
  ASSERT_TRUE(db) << db.error().text;
  std::uint64_t n = 0;
  for (expected<void> done; done && n < 10'000;) {
    auto b = with_ballast(++n);
    done = db->commit(b, durability::synced);
    if (!done) {
      EXPECT_EQ(done.error().code, error_code::io_failed) << done.error().text;
    }
  }
  ASSERT_LT(n, 10'000u) << "the disk never filled up";
  for (int again = 0; again < 3; ++again) {
    auto b = with_ballast(n);
    if (auto done = db->commit(b, durability::synced); !done) {
      EXPECT_EQ(done.error().code, error_code::io_failed) << done.error().text;
    }
  }
  make_room();
  auto b = with_ballast(n);
  auto done = db->commit(b, durability::synced);
  ASSERT_TRUE(done) << done.error().text;
  auto all = db->load();
  ASSERT_TRUE(all);
  EXPECT_EQ(all->settings.at("n"), std::to_string(n));
  for (auto& [id, s] : all->streams)
    EXPECT_GT(s.revision + 21, n) << "an acknowledged batch went missing";
  EXPECT_GT(db->measure().failures, 0u);
}

} // namespace

TEST_F(Storage, GoesOnWhenAFullDiskHasRoomAgain) {
  auto disk = folder / "disk";
  fs::create_directory(disk);
  if (mount("weir-test", disk.c_str(), "tmpfs", 0, "size=6m") != 0)
    GTEST_SKIP() << "mounting a small disk needs root; the test below covers the same with a limit on files";
  {
    std::ofstream(disk / "ballast") << std::string(2 << 20, 'x');
    expect_recovery(disk / "db", [&] { fs::remove(disk / "ballast"); });
  }
  EXPECT_EQ(umount2(disk.c_str(), MNT_DETACH), 0);
}

TEST_F(Storage, GoesOnWhenFilesMayGrowAgain) {
  auto old = signal(SIGXFSZ, SIG_IGN); // the write then fails instead
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit tight{64 << 10, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &tight), 0);
  expect_recovery(folder / "db", [&] { EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0); });
  setrlimit(RLIMIT_FSIZE, &before);
  signal(SIGXFSZ, old);
}
