#include "apps/weir/free_port.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace weir {
namespace {

/// Binds a port of 127.0.0.1 and gives the descriptor; −1 when it is taken. Port 0 is the kernel's choice. Reuse is allowed once it is ours: a program that is just
/// being started has a copy of the socket for some milliseconds after we closed it.
int bind_port(std::uint16_t port) {
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  const int on = 1;
  if (fd >= 0 && ::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0 && ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0)
    return fd;
  if (fd >= 0)
    ::close(fd);
  return -1;
}

std::uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? ntohs(address.sin_port) : std::uint16_t{0};
}

} // namespace

expected<std::uint16_t> free_ports(unsigned count) {
  for (int attempt = 0; attempt < 100; ++attempt) {
    std::vector<int> held{bind_port(0)};
    auto first = held[0] >= 0 ? port_of(held[0]) : std::uint16_t{0};
    for (unsigned i = 1; first != 0 && i < count && held.back() >= 0 && first + i <= 65535; ++i)
      held.push_back(bind_port(static_cast<std::uint16_t>(first + i)));
    bool all = first != 0 && held.size() == count && held.back() >= 0;
    for (int fd : held)
      if (fd >= 0)
        ::close(fd);
    if (all)
      return first;
  }
  return fail(error_code::io_failed, "no free ports on 127.0.0.1");
}

} // namespace weir
