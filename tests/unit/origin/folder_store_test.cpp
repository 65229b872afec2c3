#include "runtime/origin/segment_store.hpp"

#include <gtest/gtest.h>

#include <csignal>
#include <cstdlib>
#include <fstream>

#include <fmt/format.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::origin {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;

struct StoreTest : testing::Test {
  fs::path root;
  std::unique_ptr<segment_store> store;
  void SetUp() override {
    char name[] = "/tmp/weir-store-XXXXXX";
    root = ::mkdtemp(name);
    store = std::move(open_folder_store(root).value());
  }
  void TearDown() override { fs::remove_all(root); }
};
using FolderStore = StoreTest;

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(const open_segment& s) {
  std::string text(s.size, 0);
  EXPECT_EQ(::read(s.fd.get(), text.data(), text.size()), static_cast<ssize_t>(s.size));
  return text;
}

TEST_F(FolderStore, GivesBackWhatWasPutAndRemovesIt) {
  hls::segment_place place{1, 2, "720p", 3};
  EXPECT_EQ(store->open("show", place).error().code, error_code::not_found);
  ASSERT_TRUE(store->put("show", place, bytes("abc")));
  EXPECT_TRUE(fs::exists(root / "show/1/2/720p/3.ts"));
  for (auto [other, name] : {std::pair{hls::segment_place{1, 2, "720p", 3, hls::segment_kind::fmp4}, "3.m4s"},
                             std::pair{hls::segment_place{1, 2, "720p", 0, hls::segment_kind::map}, "init.mp4"}}) {
    ASSERT_TRUE(store->put("show", other, bytes("other")));
    EXPECT_TRUE(fs::exists(root / "show/1/2/720p" / name));
    EXPECT_EQ(store->open("show", other)->size, 5U);
    EXPECT_TRUE(store->remove("show", other));
  }
  EXPECT_EQ(text_of(store->open("show", place).value()), "abc");
  EXPECT_EQ(store->usage().value().bytes, 3U);
  ASSERT_TRUE(store->remove("show", place));
  ASSERT_TRUE(store->remove("show", place));
  EXPECT_FALSE(fs::exists(root / "show/1")) << "empty folders go too";
}

TEST_F(FolderStore, NeverLeavesItsFolder) {
  for (auto name : {"..", "a/b", "", ".hidden", "a\n", "/etc"}) {
    EXPECT_EQ(store->put(name, {1, 1, "r", 1}, bytes("x")).error().code, error_code::invalid_input) << name;
    EXPECT_EQ(store->put("show", {1, 1, name, 1}, bytes("x")).error().code, error_code::invalid_input) << name;
    EXPECT_EQ(store->save_log(name, "{}").error().code, error_code::invalid_input);
    EXPECT_FALSE(store->remove_stream(name));
  }
}

TEST_F(FolderStore, KeepsLogsAndListsStreams) {
  EXPECT_EQ(store->load_log("show").error().code, error_code::not_found);
  ASSERT_TRUE(store->save_log("show", "{1}"));
  ASSERT_TRUE(store->save_log("show", "{2}", true));
  EXPECT_EQ(store->load_log("show").value(), "{2}");
  EXPECT_EQ(store->streams().value(), std::vector<std::string>{"show"});
  ASSERT_TRUE(store->remove_stream("show"));
  EXPECT_TRUE(store->streams().value().empty());
}

TEST_F(FolderStore, SweepsLeftovers) {
  hls::segment_place known{1, 1, "720p", 1}, unknown{1, 1, "720p", 2};
  ASSERT_TRUE(store->put("show", known, bytes("a")));
  ASSERT_TRUE(store->put("show", unknown, bytes("b")));
  ASSERT_TRUE(store->save_log("show", "{}"));
  std::ofstream(root / "show/1/1/720p/9.ts.0a1b2c3d.new") << "ha";
  auto swept = store->sweep([&](std::string_view stream, const hls::segment_place& p) { return stream == "show" && p == known; });
  EXPECT_EQ(swept.value(), 2U);
  EXPECT_TRUE(store->open("show", known));
  EXPECT_FALSE(store->open("show", unknown));
  EXPECT_TRUE(store->load_log("show"));
}

TEST_F(FolderStore, OnlyTheLastClaimMayWrite) {
  EXPECT_EQ(store->claimed().value(), 0U);
  EXPECT_EQ(store->claim(0).error().code, error_code::invalid_input);
  ASSERT_TRUE(store->claim(7));
  ASSERT_TRUE(store->claim(7)) << "its own term again";
  ASSERT_TRUE(store->put("show", {1, 1, "720p", 1}, bytes("a")));
  ASSERT_TRUE(store->save_log("show", "{1}"));

  auto other = std::move(open_folder_store(root).value());
  EXPECT_EQ(other->claimed().value(), 7U);
  EXPECT_EQ(other->put("show", {1, 1, "720p", 2}, bytes("b")).error().code, error_code::fenced) << "it has claimed nothing";
  EXPECT_EQ(other->claim(7).error().code, error_code::fenced);
  EXPECT_EQ(other->claim(6).error().code, error_code::fenced);
  ASSERT_TRUE(other->claim(8));
  EXPECT_EQ(store->put("show", {1, 1, "720p", 2}, bytes("b")).error().code, error_code::fenced);
  EXPECT_EQ(store->save_log("show", "{2}").error().code, error_code::fenced);
  EXPECT_EQ(store->remove("show", {1, 1, "720p", 1}).error().code, error_code::fenced);
  EXPECT_EQ(store->remove_stream("show").error().code, error_code::fenced);
  std::ofstream(root / "show/left") << "over";
  EXPECT_EQ(store->sweep([](auto&&...) { return false; }).error().code, error_code::fenced);
  EXPECT_EQ(store->claim(7).error().code, error_code::fenced);
  EXPECT_EQ(text_of(store->open("show", {1, 1, "720p", 1}).value()), "a") << "nothing was changed, and anybody may read";
  EXPECT_EQ(other->load_log("show").value(), "{1}");
  EXPECT_EQ(other->sweep([](auto&&...) { return true; }).value(), 1U) << "the claim is no leftover";
  ASSERT_TRUE(other->put("show", {1, 1, "720p", 2}, bytes("b")));
  ASSERT_TRUE(store->claim(9));
  EXPECT_EQ(other->put("show", {1, 1, "720p", 3}, bytes("c")).error().code, error_code::fenced);
}

TEST_F(FolderStore, AHandleOfTheSameNameGoesOnWithItsClaim) {
  ASSERT_TRUE(open_folder_store(root, "media-1").value()->claim(3));
  auto again = std::move(open_folder_store(root, "media-1").value());
  ASSERT_TRUE(again->claim(3));
  ASSERT_TRUE(again->save_log("show", "{}"));
  EXPECT_EQ(open_folder_store(root, "media-2").value()->claim(3).error().code, error_code::fenced);
  EXPECT_EQ(open_folder_store(root, "a b").error().code, error_code::invalid_input);
}

TEST_F(FolderStore, DoesNotGuessWhenItsClaimCannotBeRead) {
  for (auto text : {"", "7", "7 ", "x y\n", "0 a\n", "7 a"}) {
    std::ofstream(root / ".claim") << text;
    EXPECT_EQ(store->put("show", {1, 1, "720p", 1}, bytes("a")).error().code, error_code::corrupt) << text;
    EXPECT_EQ(store->claim(9).error().code, error_code::corrupt) << text;
  }
}

TEST_F(FolderStore, SaysWhenTheDiskIsFullAndLeavesNothingBehind) {
  auto small = root / "small";
  fs::create_directory(small);
  if (::mount("tmpfs", small.c_str(), "tmpfs", 0, "size=256k") != 0)
    GTEST_SKIP() << "no right to mount a small disk here";
  {
    auto full = open_folder_store(small).value()->put("show", {1, 1, "720p", 1}, bytes(std::string(1 << 20, 'x')));
    ASSERT_FALSE(full);
    EXPECT_TRUE(is_full(full.error())) << full.error().text;
    auto again = open_folder_store(small).value()->put("show", {1, 1, "720p", 2}, bytes(std::string(1 << 10, 'x')));
    EXPECT_TRUE(again) << "the half file is gone";
  }
  EXPECT_EQ(::umount(small.c_str()), 0);
}

/// A child that stores segments and logs as an origin does, until it is killed.
[[noreturn]] void run_writer(const fs::path& root) {
  auto store = std::move(open_folder_store(root).value());
  auto loaded = store->load_log("show");
  auto log = loaded ? std::move(hls::segment_log::from_json(*loaded).value()) : hls::segment_log("show");
  auto now = std::chrono::system_clock::now();
  auto epoch = log.epoch() + 1;
  if (!log.begin_writer(epoch, "pub", {{"720p", 1280, 720, 25'000, "avc1.64001f", {3'000'000}}}, timing_of(hls_profile::brief)))
    ::_exit(1);
  for (std::uint64_t slot = log.next_msn();; ++slot) {
    now += 2s;
    segment_info s{"720p", slot, static_cast<std::int64_t>(slot) * 180'000, 180'000, true, false, now, 100'000};
    auto place = log.locate(epoch, s, now);
    if (!place || !store->put("show", *place, bytes(std::string(100'000, static_cast<char>('a' + slot % 26)))))
      ::_exit(2);
    if (log.offer(epoch, s, 1, now) != hls::offer_result::accepted || !store->save_log("show", log.to_json()))
      ::_exit(3);
    for (auto& gone : log.take_expired(now))
      if (!store->remove("show", gone))
        ::_exit(4);
  }
}

TEST_F(FolderStore, SurvivesBeingKilledAtAnyMoment) {
  std::uint64_t msn = 0;
  for (int round = 0; round < 25; ++round) {
    auto child = ::fork();
    if (child == 0)
      run_writer(root);
    ::usleep(static_cast<useconds_t>(20'000 + round * 1'700)); // the moment of death is the test's input
    ::kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);
    auto json = store->load_log("show");
    if (!json)
      continue;
    auto log = hls::segment_log::from_json(*json);
    ASSERT_TRUE(log) << log.error().text;
    EXPECT_GE(log->next_msn(), msn);
    msn = log->next_msn();
    auto snapshot = log->snapshot();
    for (auto& e : snapshot.entries)
      if (!e.gap(0)) {
        auto file = store->open("show", {snapshot.instance, e.epoch, "720p", e.msn});
        ASSERT_TRUE(file) << "listed, so it is there";
        EXPECT_EQ(file->size, 100'000U) << "and whole";
      }
    ASSERT_TRUE(store->sweep([&](std::string_view, const hls::segment_place& p) { return log->knows(p); }));
  }
  EXPECT_GT(msn, 0U);
}

} // namespace
} // namespace weir::origin
