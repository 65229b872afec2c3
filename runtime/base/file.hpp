#pragma once
// Files as values: read whole, replaced whole, private where they hold secrets. Errors carry the path and the system's reason.
#include "schemas/error.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>

namespace weir {

/// Owns a file descriptor.
class unique_fd {
public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other)
      reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~unique_fd() { reset(); }

  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);

private:
  int fd_ = -1;
};

/// Lets this process, and those that it starts from now on, open as many files as the system allows; returns how many these are.
std::uint64_t raise_file_limit();

/// The error of a system call that just failed: "WHAT: REASON", code io_failed, not_found (ENOENT) or already_exists (EEXIST).
error system_error(std::string_view what);

/// The whole file. Fails with too_large when it has more than `limit` bytes.
expected<std::string> read_file(const std::filesystem::path& path, std::size_t limit);

/// The whole file without a final line break. Fails with forbidden when others than owner and group may read or write it.
expected<std::string> read_secret_file(const std::filesystem::path& path, std::size_t limit = 4096);

/// yes: the new content is on disk when the call returns. no: after a power loss the file may be the old one or the new one, after a mere crash of the
/// process always a whole one.
enum class sync { no, yes };

/// Readers see the old or the new content, never a part; on failure the old content stays.
expected<void> write_file_atomically(const std::filesystem::path& path, std::string_view bytes, mode_t mode = 0644, sync durable = sync::yes);

/// Makes the directory, and missing ones above it, with mode 0700; takes foreign permissions from an existing one.
expected<void> make_private_directory(const std::filesystem::path& path);

/// Bytes in memory behind a descriptor that a child process can inherit and nobody can change any more.
expected<unique_fd> make_sealed_memory(const char* name, std::string_view bytes);

/// A file or sealed memory, mapped for reading.
class mapping {
public:
  static expected<mapping> of(int fd);
  mapping(mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  mapping& operator=(mapping&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~mapping();
  std::string_view bytes() const { return bytes_; }

private:
  explicit mapping(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes_;
};

} // namespace weir
