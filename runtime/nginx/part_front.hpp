#pragma once
// Parts of low-latency segments, for one edge: nginx's cache lock looks twice a second whether a new object has come, which is longer than a part. So nginx hands
// requests for parts to this small server on the same machine; whoever waits for one waits for the same origin request, and is answered when it is.
#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace weir::nginx {

struct part_front_options {
  std::vector<std::string> origins;       ///< "host:port" or "unix:/path", asked in turn
  std::chrono::milliseconds hold{13'000}; ///< an origin holds a part that it has named until it is made: three target durations and 1 s
  std::chrono::milliseconds hurry{3'000}; ///< one that is not the only one is held for silent then, and the next is asked; the longest part
  std::chrono::milliseconds kept{30'000}; ///< from the last byte on
  std::size_t kept_limit = 64 << 20;      ///< bytes; the oldest go first
  std::size_t part_limit = 16 << 20;      ///< bytes of one part
  std::size_t flight_limit = 1024;        ///< parts that are asked for at a time, and
  std::size_t waiting_limit = 20'000;     ///< requests that wait for them; more are answered 503
};

/// Thread-safe.
class part_front {
public:
  using steady_time = std::chrono::steady_clock::time_point;

  /// Listens on a port of this machine only. Errors: io_failed.
  static expected<std::unique_ptr<part_front>> open(part_front_options options);
  /// Whoever waits is answered 503.
  ~part_front();
  part_front(const part_front&) = delete;
  part_front& operator=(const part_front&) = delete;

  /// Where nginx finds it: "127.0.0.1:port".
  std::string address() const;
  /// From the next question on. An empty list stands for nobody: 502.
  void use_origins(std::vector<std::string> origins);
  /// Drops what was kept long enough. For each second or so: without it the last parts of a stream stay until others come.
  void forget(steady_time now);

  struct figures {
    std::uint64_t hits = 0;    ///< it was there
    std::uint64_t joined = 0;  ///< somebody had asked already
    std::uint64_t asked = 0;   ///< nobody had
    std::uint64_t failed = 0;  ///< of those: no origin gave it
    std::uint64_t refused = 0; ///< too many were under way, or waited
    std::size_t waiting = 0;   ///< requests
    std::size_t kept = 0;      ///< parts
    std::size_t kept_bytes = 0;
  };
  figures now() const;

private:
  struct part {
    std::string key;
    std::string type, cache; ///< Content-Type and Cache-Control, as the origin says
    std::shared_ptr<const std::string> bytes;
    steady_time since{};
  };
  struct request {
    std::string path; ///< with the viewer's token
    http::responder answer;
    unsigned rounds = 0; ///< in which another one's token was refused
  };
  /// One part that is on its way, and all who wait for it.
  struct flight {
    std::string key;
    std::string path; ///< as the origin is asked: that of who was first
    std::vector<request> waiting;
    std::vector<std::string> origins; ///< in the order in which they are asked
    std::size_t next = 0;
    std::vector<std::string> silent; ///< those that said nothing in time: asked once more when no other has it, for as long as is left
    int status = 0;     ///< the worst so far: while one is not reached nobody knows that there is no such part
    steady_time until{};
  };
  using flight_ptr = std::shared_ptr<flight>;

  explicit part_front(part_front_options options);
  void ask(request one);
  void land(const flight_ptr& f, const std::string& origin, expected<http::client_response> got);
  // Each under the lock.
  bool step(const flight_ptr& f); ///< asks the next origin; false: there is none left
  std::vector<request> end(const flight_ptr& f);
  const part& keep(part fresh);
  void remember(const std::string& key, int status);
  void drop_oldest();
  static http::response answer_with(const part& p, std::string_view word);

  part_front_options options_;
  mutable std::mutex guard_;
  std::unordered_map<std::string, flight_ptr> flights_;
  std::list<part> kept_; ///< oldest first
  std::unordered_map<std::string_view, std::list<part>::iterator> by_key_;
  std::unordered_map<std::string, std::pair<int, steady_time>> refused_; ///< by key: what no origin gave a moment ago
  std::unordered_map<std::string, std::string> had_it_; ///< by stream: the origin that gave its last part, asked first
  figures figures_; ///< `kept` is not counted here
  bool closing_ = false;
  // Their threads use all of the above.
  http::client client_;
  http::server server_;
};

} // namespace weir::nginx
