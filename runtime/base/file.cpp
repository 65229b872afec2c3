#include "runtime/base/file.hpp"

#include "runtime/base/secret.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>

namespace weir {
namespace {

namespace fs = std::filesystem;

expected<unique_fd> open_to_read(const fs::path& path) {
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd)
    return fail(system_error(path.native()));
  return fd;
}

expected<std::string> read_all(const unique_fd& fd, const fs::path& path, std::size_t limit) {
  std::string bytes;
  for (std::size_t size = 0;;) {
    bytes.resize(std::min(limit + 1, size + 64 * 1024));
    auto n = ::read(fd.get(), bytes.data() + size, bytes.size() - size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail(system_error(path.native()));
    size += static_cast<std::size_t>(n);
    if (size > limit)
      return fail(error_code::too_large, fmt::format("{}: more than {} bytes", path.native(), limit));
    if (n == 0) {
      bytes.resize(size);
      return bytes;
    }
  }
}

expected<void> write_all(const unique_fd& fd, std::string_view bytes) {
  while (!bytes.empty()) {
    auto n = ::write(fd.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return fail(system_error("write"));
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

} // namespace

void unique_fd::reset(int fd) {
  if (fd_ >= 0)
    ::close(fd_);
  fd_ = fd;
}

std::uint64_t raise_file_limit() {
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) != 0)
    return 0;
  auto before = std::exchange(files.rlim_cur, files.rlim_max);
  return ::setrlimit(RLIMIT_NOFILE, &files) == 0 ? files.rlim_max : before;
}

error system_error(std::string_view what) {
  auto number = errno;
  auto code = number == ENOENT ? error_code::not_found : number == EEXIST ? error_code::already_exists : error_code::io_failed;
  return {code, fmt::format("{}: {}", what, std::generic_category().message(number))};
}

expected<std::string> read_file(const fs::path& path, std::size_t limit) {
  return open_to_read(path).and_then([&](const unique_fd& fd) { return read_all(fd, path, limit); });
}

expected<std::string> read_secret_file(const fs::path& path, std::size_t limit) {
  auto fd = open_to_read(path);
  WEIR_TRY(fd);
  struct stat s {};
  if (::fstat(fd->get(), &s) != 0)
    return fail(system_error(path.native()));
  if ((s.st_mode & (S_IROTH | S_IWOTH)) != 0)
    return fail(error_code::forbidden, fmt::format("{}: holds a secret but has mode {:04o}, open to every user (chmod o-rw)", path.native(), s.st_mode & 07777));
  auto text = read_all(*fd, path, limit);
  if (text && text->ends_with('\n'))
    text->erase(text->size() - (text->ends_with("\r\n") ? 2 : 1));
  return text;
}

expected<void> write_file_atomically(const fs::path& path, std::string_view bytes, mode_t mode, sync durable) {
  // A name of its own for each writer: two may replace the same file at once.
  fs::path aside = fmt::format("{}.{}.new", path.native(), random_uuid().substr(0, 8));
  unique_fd fd(::open(aside.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (!fd)
    return fail(system_error(path.native()));
  auto written = write_all(fd, bytes);
  if (written && ::fchmod(fd.get(), mode) != 0) // the umask may have taken bits away
    written = fail(system_error("chmod"));
  if (written && durable == sync::yes && ::fsync(fd.get()) != 0)
    written = fail(system_error("fsync"));
  if (written && ::rename(aside.c_str(), path.c_str()) != 0)
    written = fail(system_error("rename"));
  if (!written) {
    ::unlink(aside.c_str());
    return fail(written.error().in(path.native()));
  }
  if (durable == sync::no)
    return {};
  auto folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
  unique_fd directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory || ::fsync(directory.get()) != 0)
    return fail(system_error(folder.native()));
  return {};
}

expected<void> make_private_directory(const fs::path& path) {
  fs::path so_far;
  for (auto& part : path) {
    so_far /= part;
    if (::mkdir(so_far.c_str(), 0700) != 0 && errno != EEXIST)
      return fail(system_error(so_far.native()));
  }
  unique_fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat s {};
  if (!fd || ::fstat(fd.get(), &s) != 0 || ((s.st_mode & 077) != 0 && ::fchmod(fd.get(), 0700) != 0))
    return fail(system_error(path.native()));
  return {};
}

expected<unique_fd> make_sealed_memory(const char* name, std::string_view bytes) {
  unique_fd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd)
    return fail(system_error(name));
  if (auto written = write_all(fd, bytes); !written)
    return fail(written.error().in(name));
  if (::fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0 || ::lseek(fd.get(), 0, SEEK_SET) != 0)
    return fail(system_error(name));
  return fd;
}

expected<mapping> mapping::of(int fd) {
  struct stat s {};
  if (::fstat(fd, &s) != 0)
    return fail(system_error("mapping"));
  auto size = static_cast<std::size_t>(s.st_size);
  if (size == 0)
    return mapping({});
  auto* at = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (at == MAP_FAILED)
    return fail(system_error("mapping"));
  return mapping({static_cast<const char*>(at), size});
}

mapping::~mapping() {
  if (!bytes_.empty())
    ::munmap(const_cast<char*>(bytes_.data()), bytes_.size());
}

} // namespace weir
