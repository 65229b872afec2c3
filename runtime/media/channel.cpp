#include "runtime/media/channel.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::media {
namespace {

constexpr int all_seals = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

tl::unexpected<error> io_failure(std::string_view what) { return fail(error_code::io_failed, fmt::format("{}: {}", what, std::strerror(errno))); }

} // namespace

owned_fd::~owned_fd() {
  if (fd_ >= 0)
    ::close(fd_);
}

expected<memory_file> memory_file::create() {
  memory_file file;
  file.fd_ = owned_fd{::memfd_create("weir-segment", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
  if (!file.fd_)
    return io_failure("memfd_create");
  return file;
}

expected<void> memory_file::append(const void* bytes, std::size_t size) {
  auto* at = static_cast<const char*>(bytes);
  for (std::size_t left = size; left > 0;) {
    auto n = ::write(fd_.get(), at, left);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return io_failure("write to a memory file");
    at += n;
    left -= static_cast<std::size_t>(n);
  }
  size_ += size;
  return {};
}

expected<owned_fd> memory_file::seal() && {
  if (::fcntl(fd_.get(), F_ADD_SEALS, all_seals) != 0)
    return io_failure("seal a memory file");
  return std::move(fd_);
}

expected<void> check_sealed(int fd, std::uint64_t size) {
  auto seals = ::fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & all_seals) != all_seals)
    return fail(error_code::invalid_input, "media came in a file that is not sealed");
  struct stat state {};
  if (::fstat(fd, &state) != 0)
    return io_failure("fstat");
  if (static_cast<std::uint64_t>(state.st_size) != size)
    return fail(error_code::invalid_input, fmt::format("media of {} bytes came with a record that says {}", state.st_size, size));
  return {};
}

expected<std::string> read_sealed(int fd, std::uint64_t size) {
  WEIR_TRY(check_sealed(fd, size));
  std::string bytes(size, '\0');
  for (std::size_t at = 0; at < bytes.size();) {
    auto n = ::pread(fd, bytes.data() + at, bytes.size() - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return io_failure("read a memory file");
    at += static_cast<std::size_t>(n);
  }
  return bytes;
}

expected<received> record_channel::receive(milliseconds wait) {
  const auto until = steady_clock::now() + wait;
  pollfd p{fd_.get(), POLLIN, 0};
  for (;;) {
    auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now()).count();
    auto n = ::poll(&p, 1, static_cast<int>(std::clamp<std::int64_t>(left, 0, 3'600'000)));
    if (n > 0)
      break;
    if (n < 0 && errno != EINTR)
      return io_failure("poll a channel");
    if (steady_clock::now() >= until)
      return fail(error_code::timeout, "no record came");
  }

  std::string text(record_limit + 1, '\0');
  iovec buffer{text.data(), text.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do
    n = ::recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
  while (n < 0 && errno == EINTR);
  if (n == 0 || (n < 0 && errno == ECONNRESET))
    return fail(error_code::unavailable, "the other side has closed the channel");
  if (n < 0)
    return io_failure("receive a record");

  // Whatever descriptors came are owned from here on, also those that nobody asked for.
  std::vector<owned_fd> files;
  for (auto* c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
      for (std::size_t at = 0; CMSG_LEN(at + sizeof(int)) <= c->cmsg_len; at += sizeof(int)) {
        int fd = -1;
        std::memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
        files.emplace_back(fd);
      }
  if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
    return fail(error_code::too_large, "a message is longer than a record may be");

  auto r = decode(std::string_view(text).substr(0, static_cast<std::size_t>(n)));
  if (!r)
    return fail(r.error());
  auto* segment = std::get_if<segment_report>(&*r);
  auto* part = std::get_if<part_report>(&*r);
  if (files.size() != (segment || part ? 1u : 0u))
    return fail(error_code::invalid_input, fmt::format("a record came with {} files", files.size()));
  if (files.empty())
    return received{std::move(*r), {}};
  WEIR_TRY(check_sealed(files[0].get(), segment ? segment->segment.bytes : part->part.bytes));
  return received{std::move(*r), std::move(files[0])};
}

expected<void> record_channel::send_message(const record& r, int media) {
  auto text = encode(r);
  if (!text)
    return fail(text.error());
  iovec buffer{text->data(), text->size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  if (media >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    auto* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof media);
    std::memcpy(CMSG_DATA(c), &media, sizeof media);
  }
  std::lock_guard lock(*sending_);
  ssize_t n = 0;
  do
    n = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
    return fail(error_code::unavailable, "the other side has closed the channel");
  if (n < 0)
    return io_failure("send a record");
  return {};
}

expected<channel_pair> make_channel() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return io_failure("socketpair");
  return channel_pair{parent_channel{owned_fd{ends[0]}}, owned_fd{ends[1]}};
}

} // namespace weir::media
