#pragma once
// A plain TCP client for tests that must control every byte.
#include <arpa/inet.h>
#include <chrono>
#include <cstdint>
#include <netinet/tcp.h>
#include <poll.h>
#include <string>
#include <string_view>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

namespace weir::http::testing {

using namespace std::chrono_literals;

class wire {
public:
  explicit wire(std::uint16_t port, int receive_buffer = 0) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0)
      ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    const int on = 1;
    ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~wire() { ::close(fd_); }
  wire(wire&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  wire(const wire&) = delete;
  wire& operator=(const wire&) = delete;

  bool connected() const { return connected_; }
  bool send(std::string_view text) {
    while (!text.empty()) {
      const auto n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0)
        return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  void finish_sending() { ::shutdown(fd_, SHUT_WR); }

  /// Everything until the peer closes, or what has come by the deadline.
  std::string read_all(std::chrono::milliseconds limit = 5s) {
    std::string got = std::exchange(rest_, {});
    while (read_some(got, limit)) {
    }
    return got;
  }
  /// Reads until `end` has come (and all that came with it).
  std::string read_until(std::string_view end, std::chrono::milliseconds limit = 5s) {
    std::string got;
    while (got.find(end) == std::string::npos && read_some(got, limit)) {
    }
    return got;
  }
  /// One answer: header and Content-Length bytes of body. Keeps what follows for the next call.
  std::string read_answer(std::chrono::milliseconds limit = 5s) {
    std::string& got = rest_;
    std::size_t end = std::string::npos;
    while ((end = got.find("\r\n\r\n")) == std::string::npos)
      if (!read_some(got, limit))
        return std::exchange(got, {});
    std::size_t size = end + 4;
    if (const auto at = got.find("Content-Length: "); at != std::string::npos && at < end)
      size += std::stoul(got.substr(at + 16));
    while (got.size() < size)
      if (!read_some(got, limit))
        break;
    auto answer = got.substr(0, size);
    got.erase(0, answer.size());
    return answer;
  }
  /// Whether the peer closes within the limit (what it still says is thrown away).
  bool closed_within(std::chrono::milliseconds limit) {
    const auto until = std::chrono::steady_clock::now() + limit;
    std::string dump;
    while (std::chrono::steady_clock::now() < until) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, 20) <= 0)
        continue;
      char chunk[65536];
      if (::recv(fd_, chunk, sizeof chunk, 0) <= 0)
        return true;
    }
    return false;
  }

private:
  bool read_some(std::string& into, std::chrono::milliseconds limit) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, static_cast<int>(limit.count())) <= 0)
      return false;
    char chunk[65536];
    const auto n = ::recv(fd_, chunk, sizeof chunk, 0);
    if (n <= 0)
      return false;
    into.append(chunk, static_cast<std::size_t>(n));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string rest_;
};

inline int status_of(std::string_view answer) { return answer.starts_with("HTTP/1.") && answer.size() > 12 ? std::stoi(std::string(answer.substr(9, 3))) : 0; }
inline std::string_view body_of(std::string_view answer) {
  const auto end = answer.find("\r\n\r\n");
  return end == std::string_view::npos ? std::string_view() : answer.substr(end + 4);
}
inline std::size_t count_of(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != std::string_view::npos; at = text.find(what, at + what.size()))
    ++n;
  return n;
}

} // namespace weir::http::testing
