#include "tests/integration/origin/store_world.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <sys/mount.h>

namespace weir::origin {

namespace {

namespace fs = std::filesystem;

/// The real store, behind a disk that takes its time.
class slow_store final : public segment_store {
public:
  slow_store(std::unique_ptr<segment_store> behind, std::shared_ptr<std::atomic<std::int64_t>> each) : behind_(std::move(behind)), each_(std::move(each)) {}
  expected<void> claim(std::uint64_t term) override { return behind_->claim(term); }
  expected<std::uint64_t> claimed() const override { return behind_->claimed(); }
  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override {
    if (auto each = each_->load(); each > 0) // the slowness is the test's input
      std::this_thread::sleep_for(std::chrono::milliseconds(each));
    return behind_->put(stream, place, bytes);
  }
  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override { return behind_->open(stream, place); }
  expected<void> remove(std::string_view stream, const hls::segment_place& place) override { return behind_->remove(stream, place); }
  expected<void> save_log(std::string_view stream, std::string_view json, bool durable) override { return behind_->save_log(stream, json, durable); }
  expected<std::string> load_log(std::string_view stream) const override { return behind_->load_log(stream); }
  expected<std::vector<std::string>> streams() const override { return behind_->streams(); }
  expected<void> remove_stream(std::string_view stream) override { return behind_->remove_stream(stream); }
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override { return behind_->sweep(known); }
  expected<store_usage> usage() const override { return behind_->usage(); }

private:
  std::unique_ptr<segment_store> behind_;
  std::shared_ptr<std::atomic<std::int64_t>> each_;
};

/// A folder on a small disk of its own, where we may mount one.
class fs_world final : public store_world {
public:
  fs_world() {
    char name[] = "/tmp/weir-conformance-XXXXXX";
    if (::mkdtemp(name) == nullptr)
      throw std::runtime_error("no folder for the test");
    root_ = name;
    mounted_ = ::mount("tmpfs", root_.c_str(), "tmpfs", 0, "size=16m") == 0;
  }
  ~fs_world() override {
    if (mounted_)
      ::umount2(root_.c_str(), MNT_DETACH);
    fs::remove_all(root_);
  }
  std::shared_ptr<segment_store> open() override { return std::make_shared<slow_store>(std::move(open_folder_store(root_ / "segments").value()), each_); }
  bool fill() override {
    if (!mounted_)
      return false;
    std::ofstream other(root_ / "other", std::ios::binary);
    const std::string block(1 << 16, 'x');
    while (other.write(block.data(), static_cast<std::streamsize>(block.size())) && other.flush()) {
    }
    return true;
  }
  void slow(std::chrono::milliseconds each) override { *each_ = each.count(); }
  bool cut_half() override { return false; }
  void mend() override {
    *each_ = 0;
    fs::remove(root_ / "other");
  }
  std::uint64_t leave_halves() override {
    fs::create_directories(root_ / "segments/show/1/1/720p");
    std::ofstream(root_ / "segments/show/1/1/720p/77.ts.0a1b2c3d.put.11223344.new") << "ha";
    std::ofstream(root_ / "segments/show/1/1/720p/78.ts.0a1b2c3d.put") << "whole, but not in its place";
    std::ofstream(root_ / "segments/show/log.json.0a1b2c3d.put") << "{\"ha";
    return 3;
  }

private:
  fs::path root_;
  bool mounted_ = false;
  std::shared_ptr<std::atomic<std::int64_t>> each_ = std::make_shared<std::atomic<std::int64_t>>(0);
};

} // namespace

bool comes_alone() {
  auto others = [] {
    std::ptrdiff_t count = -1; // this one
    for (auto& task : fs::directory_iterator("/proc/self/task")) {
      std::string name;
      std::getline(std::ifstream(task.path() / "comm"), name);
      count += name != "weir-log";
    }
    return count;
  };
  for (auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30); std::chrono::steady_clock::now() < until; std::this_thread::yield())
    if (others() == 0)
      return true;
  return false;
}

std::unique_ptr<store_world> make_fs_world() { return std::make_unique<fs_world>(); }

} // namespace weir::origin
