#include "runtime/base/file.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>
#include <vector>

using namespace weir;
namespace fs = std::filesystem;

namespace {

class File : public testing::Test {
protected:
  ~File() override { fs::remove_all(folder); }
  std::size_t files() const { return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), {})); }
  fs::path folder = [] {
    std::string name = fs::temp_directory_path() / "weir-file-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
};

mode_t mode_of(const fs::path& path) {
  struct stat s {};
  return stat(path.c_str(), &s) == 0 ? s.st_mode & 07777 : 0;
}

} // namespace

TEST(FileLimit, IsRaisedToWhatTheSystemAllows) {
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  auto before = std::exchange(files.rlim_cur, 256);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(raise_file_limit(), files.rlim_max);
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(files.rlim_cur, files.rlim_max);
  files.rlim_cur = before;
  EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &files), 0);
}

TEST_F(File, IsReadWholeUpToALimit) {
  std::string bytes(200'000, 'x');
  ASSERT_TRUE(write_file_atomically(folder / "a", bytes));
  EXPECT_EQ(*read_file(folder / "a", bytes.size()), bytes);
  EXPECT_EQ(read_file(folder / "a", bytes.size() - 1).error().code, error_code::too_large);
}

TEST_F(File, SaysWhichOneIsMissing) {
  auto missing = read_file(folder / "none", 10);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, error_code::not_found);
  EXPECT_NE(missing.error().text.find((folder / "none").native()), std::string::npos);
}

TEST_F(File, IsReplacedWholeWithItsMode) {
  ASSERT_TRUE(write_file_atomically(folder / "a", "old"));
  ASSERT_TRUE(write_file_atomically(folder / "a", "new", 0600, sync::no));
  EXPECT_EQ(*read_file(folder / "a", 10), "new");
  EXPECT_EQ(mode_of(folder / "a"), 0600u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(File, StaysAsItWasWhenItCannotBeReplaced) {
  fs::create_directory(folder / "a");
  fs::create_directory(folder / "a" / "inside");
  EXPECT_FALSE(write_file_atomically(folder / "a", "x"));
  EXPECT_EQ(files(), 1u) << "nothing may lie beside it";
  EXPECT_FALSE(write_file_atomically(folder / "missing" / "a", "x"));
}

TEST_F(File, IsNeverSeenHalf) {
  const std::string a(50'000, 'a'), b(50'000, 'b');
  ASSERT_TRUE(write_file_atomically(folder / "f", a, 0644, sync::no));
  std::jthread writer([&](std::stop_token stop) {
    for (bool odd = false; !stop.stop_requested(); odd = !odd)
      EXPECT_TRUE(write_file_atomically(folder / "f", odd ? a : b, 0644, sync::no));
  });
  for (int i = 0; i < 300; ++i) {
    auto seen = read_file(folder / "f", 100'000);
    ASSERT_TRUE(seen);
    ASSERT_TRUE(*seen == a || *seen == b);
  }
}

TEST_F(File, WithASecretMustNotBeOpenToAll) {
  ASSERT_TRUE(write_file_atomically(folder / "secret", "weir_abc\n", 0600));
  EXPECT_EQ(*read_secret_file(folder / "secret"), "weir_abc");
  ASSERT_EQ(chmod((folder / "secret").c_str(), 0644), 0);
  EXPECT_EQ(read_secret_file(folder / "secret").error().code, error_code::forbidden);
}

TEST_F(File, FolderIsMadePrivate) {
  ASSERT_TRUE(make_private_directory(folder / "a" / "b"));
  EXPECT_EQ(mode_of(folder / "a" / "b"), 0700u);
  ASSERT_EQ(chmod((folder / "a" / "b").c_str(), 0755), 0);
  ASSERT_TRUE(make_private_directory(folder / "a" / "b"));
  EXPECT_EQ(mode_of(folder / "a" / "b"), 0700u);
  ASSERT_TRUE(write_file_atomically(folder / "file", ""));
  EXPECT_FALSE(make_private_directory(folder / "file"));
}

TEST(SealedMemory, CanBeMappedAndNotChanged) {
  auto fd = make_sealed_memory("weir-test", "hello");
  ASSERT_TRUE(fd);
  auto mapped = mapping::of(fd->get());
  ASSERT_TRUE(mapped);
  EXPECT_EQ(mapped->bytes(), "hello");
  auto moved = std::move(*mapped);
  EXPECT_EQ(moved.bytes(), "hello");
  EXPECT_EQ(::write(fd->get(), "x", 1), -1);
  EXPECT_EQ(::ftruncate(fd->get(), 0), -1);
  EXPECT_EQ(mapping::of(make_sealed_memory("weir-empty", "")->get())->bytes(), "");
}

TEST(UniqueFd, ClosesOnce) {
  unique_fd a(::open("/dev/null", O_RDONLY));
  auto number = a.get();
  unique_fd b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_EQ(b.get(), number);
  b.reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}
