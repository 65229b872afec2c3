#pragma once
// What these tests need of HTTP: a blocking server with a thread for each connection, and a blocking client.
#include <arpa/inet.h>
#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <netinet/in.h>
#include <poll.h>
#include <stdexcept>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

namespace tiny_http {

inline sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline int bound(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto address = loopback(port);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    throw std::runtime_error("bind");
  return fd;
}

inline int port_of(int fd) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

/// A port that was free a moment ago.
inline int free_port() {
  const int fd = bound(0);
  const int port = port_of(fd);
  close(fd);
  return port;
}

struct request {
  std::string head; ///< request line and headers
  std::string body;
  std::string target() const { return head.substr(head.find(' ') + 1, head.find(' ', head.find(' ') + 1) - head.find(' ') - 1); }
};

/// Reads one message; empty head at the end of the connection.
inline request read_message(int fd) {
  std::string text;
  char bytes[65536];
  std::size_t end, length = 0;
  const auto more = [&] {
    const auto got = recv(fd, bytes, sizeof bytes, 0);
    if (got > 0)
      text.append(bytes, static_cast<std::size_t>(got));
    return got > 0;
  };
  while ((end = text.find("\r\n\r\n")) == std::string::npos)
    if (!more())
      return {};
  bool known = false;
  for (const auto* name : {"Content-Length: ", "content-length: "})
    if (const auto at = text.find(name); at < end) {
      length = std::stoul(text.substr(at + 16));
      known = true;
    }
  while (known ? text.size() < end + 4 + length : text.starts_with("HTTP/") && !text.starts_with("HTTP/1.1 204"))
    if (!more())
      break;
  return {text.substr(0, end), text.substr(end + 4)};
}

inline void send_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto sent = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0)
      return;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
}

class server {
public:
  using handler = std::function<std::string(const request&)>; ///< returns the whole response

  explicit server(handler h) : handler_(std::move(h)), listener_(bound(0)), port_(port_of(listener_)) {
    listen(listener_, 512);
    accepter_ = std::thread([this] {
      for (int fd; (fd = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
        const std::lock_guard lock(mutex_);
        open_.push_back(fd);
        connections_.emplace_back([this, fd] {
          for (auto one = read_message(fd); !one.head.empty(); one = read_message(fd)) {
            ++requests_;
            send_all(fd, handler_(one));
            if (one.head.find(" HTTP/1.0\r\n") != std::string::npos) // nginx-rtmp takes the end of the connection for the end of the answer
              shutdown(fd, SHUT_RDWR);
          }
        });
      }
    });
  }
  ~server() {
    shutdown(listener_, SHUT_RDWR);
    accepter_.join();
    for (const int fd : open_)
      shutdown(fd, SHUT_RDWR);
    for (auto& one : connections_)
      one.join();
    for (const int fd : open_)
      close(fd);
    close(listener_);
  }
  int port() const { return port_; }
  int requests() const { return requests_; }
  std::size_t connections() const {
    const std::lock_guard lock(mutex_);
    return connections_.size();
  }

private:
  handler handler_;
  int listener_;
  int port_;
  std::atomic<int> requests_{0};
  mutable std::mutex mutex_;
  std::list<int> open_;
  std::list<std::thread> connections_;
  std::thread accepter_;
};

inline std::string response(int status, std::string_view body, std::string_view headers = "") {
  return "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + std::string(headers) + "\r\n" + std::string(body);
}

/// Status (0 without an answer), headers and body of one request.
struct answer {
  int status = 0;
  std::string head;
  std::string body;
  bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};
inline answer ask(int port, const std::string& target, const std::string& method = "GET", const std::string& headers = "") {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{20, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const auto address = loopback(port);
  answer out;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    send_all(fd, method + " " + target + " HTTP/1.1\r\nHost: test\r\nConnection: close\r\n" + headers + "\r\n");
    auto got = method == "HEAD" ? request{} : read_message(fd);
    if (got.head.size() > 12)
      out = {std::stoi(got.head.substr(9, 3)), got.head, got.body};
  }
  close(fd);
  return out;
}

} // namespace tiny_http
