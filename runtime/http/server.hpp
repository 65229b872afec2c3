#pragma once
// The one HTTP/1.1 server of Weir: API, hooks, playlists, segments, event streams, dashboard.
//
// Each thread has its own io_context, acceptor (SO_REUSEPORT) and sessions; nothing is shared between threads but counters. A request is parsed in
// place in its session's buffer. Hot answers (`fast_path`) are made on that thread without allocation and leave in one send; everything else goes
// through routes, whose handlers get a `responder` that answers once, from any thread, at any later time. Strict where proxies and caches could
// disagree with us (smuggling shapes are refused), and bounded everywhere: header, body, connections, times, buffers.
//
//   server web({.listen = "127.0.0.1:0"});
//   web.route("GET", "/api/v1/streams/{id}", {}, [](const request& r, responder answer) { answer(json_response(200, …)); });
//   web.fast_path("/p/", {.cors = true}, [](const fast_request& r, fast_answer& a) { a.add(text); return true; });
//   WEIR_TRY(web.start());
//   … web.port() … web.stop();
#include "runtime/http/message.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::http {

struct server_options {
  std::string name = "http";            ///< in logs
  std::string listen = "127.0.0.1:0";   ///< "ADDRESS:PORT"; IPv6 in brackets, "[::]" takes IPv4 too; port 0: the kernel's choice
  unsigned threads = 1;
  std::size_t header_limit = 8000;      ///< bytes of request line and fields; at most 8000
  std::size_t body_limit = 64 * 1024;   ///< bytes, where a route says nothing
  std::size_t connection_limit = 20000; ///< more are answered 503 and closed
  std::chrono::seconds receive_deadline{10}; ///< for a header; for a body this plus a second for each MiB
  std::chrono::seconds idle_deadline{65};    ///< between requests
  std::chrono::seconds stall_deadline{30};   ///< a reader that takes nothing
  std::size_t stream_backlog_limit = 1 << 20; ///< bytes that an event stream's slow reader may owe
};

/// A thread-safe handle of an answer that stays open: server-sent events. The stream ends with the last copy.
class event_stream {
public:
  event_stream() = default;
  /// Queues text (already in event-stream form). False when the stream is closed, or closes now because its reader is too slow.
  bool write(std::string_view text) const;
  /// `id: …`, `event: …`, `data: …` (one line each line of data) and the empty line. Line breaks in id and name are left out.
  bool send(std::string_view id, std::string_view name, std::string_view data) const;
  void close() const;
  bool open() const;
  /// Called once, on the server's thread, when the reader is gone or the stream has ended; at once if that is so already.
  void on_close(std::function<void()> f) const;

  struct core;
  explicit event_stream(std::shared_ptr<core> c);

private:
  struct handle;
  std::shared_ptr<handle> handle_;
};

/// Answers one request: once, from any thread, at any later time. Harmless when the client has gone. If the last copy dies unanswered, the
/// client gets a 500 and the log a line.
class responder {
public:
  responder() = default;
  /// False when it was answered already (by another copy or by the route's deadline).
  bool operator()(response answer) const;
  /// Answers with a problem; the status is the code's own.
  bool fail(const error& e, const std::vector<problem_item>& errors = {}) const;
  /// Answers 200 with an open stream; `headers` beside Content-Type: text/event-stream and Cache-Control: no-store.
  event_stream open_stream(header_list headers = {}) const;
  std::string_view request_id() const;

  struct ticket;
  explicit responder(std::shared_ptr<ticket> t) : ticket_(std::move(t)) {}

private:
  std::shared_ptr<ticket> ticket_;
};

using handler = std::function<void(const request&, responder)>;

struct route_options {
  std::size_t body_limit = 0;                     ///< bytes; 0: the server's
  bool cors = false;                              ///< Access-Control-Allow-Origin: * on every status; preflight is answered
  std::chrono::milliseconds deadline{30'000};     ///< when nothing has answered by then, `late` is sent
  std::function<response(std::string_view request_id)> late; ///< empty: 504 problem
  /// Runs when the header is there and before the body is read; an answer refuses the request (401, 403, 429 …).
  std::function<std::optional<response>(const request&)> guard;
};

/// What the hot path sees: views into the session's buffer, valid during the call.
struct fast_request {
  std::string_view path;  ///< decoded, normalised
  std::string_view query; ///< raw: raw_query_value() reads it
  bool head = false;
  struct field {
    std::string_view name;
    std::string_view value;
  };
  std::span<const field> fields;
  std::string_view header(std::string_view name) const; ///< empty when absent
  std::string_view peer_address;
};

/// What the hot path answers. Reused between requests, so a steady state allocates nothing.
class fast_answer {
public:
  int status = 200;
  std::string_view content_type;
  std::string_view cache_control;
  std::string_view extra;            ///< more header lines, each with its CRLF
  std::string_view route;            ///< what the observer hears it as, for good; empty: the fast path's prefix
  /// Keeps pieces alive while they leave. Without it pieces may point into the request, static text, or anything that lives until the handler
  /// returns plus what keep() returned: a slow reader's rest is then copied. A single piece with an owner is never copied.
  std::shared_ptr<const void> owner;

  void add(std::string_view piece) {
    pieces_.push_back(piece);
    size_ += piece.size();
  }
  std::size_t size() const { return size_; }
  std::span<const std::string_view> pieces() const { return pieces_; }
  void reset();

private:
  std::vector<std::string_view> pieces_;
  std::size_t size_ = 0;
};

struct fast_options {
  bool cors = false;
};
/// True: answered. False: goes on to the routes. Runs on an io thread and must not block.
using fast_handler = std::function<bool(const fast_request&, fast_answer&)>;

/// One answer: the route's pattern (or the fast path's prefix; "" when none matched), its status, and microseconds from header to answer.
using observer = std::function<void(std::string_view route, int status, std::uint64_t microseconds)>;

struct server_counters {
  std::uint64_t accepted = 0;
  std::uint64_t refused = 0; ///< over connection_limit
  std::uint64_t active = 0;
  std::uint64_t requests = 0;
  std::uint64_t malformed = 0;  ///< answered 400, 414, 431, 501 or 505 by the parser
  std::uint64_t timed_out = 0;  ///< connections cut by a deadline
  std::uint64_t unanswered = 0; ///< routes whose deadline answered, and dropped responders
  std::uint64_t bytes_sent = 0;
};

class server {
public:
  explicit server(server_options options);
  ~server();
  server(const server&) = delete;
  server& operator=(const server&) = delete;

  // Before start(). A wrong or doubled pattern is a bug of the caller: start() reports it.
  void route(std::string_view method, std::string_view pattern, route_options options, handler f);
  void fast_path(std::string_view prefix, fast_options options, fast_handler f);
  void on_answer(observer f);

  /// Listens and starts the threads. Errors: invalid_config (address, routes), io_failed (port in use …).
  expected<void> start();
  /// The port listened on; 0 before start().
  std::uint16_t port() const;
  /// Accepts no more, ends idle connections and event streams, lets answers in flight finish until the deadline, joins the threads. Idempotent;
  /// not from a handler.
  void stop(std::chrono::milliseconds deadline = std::chrono::seconds(5));
  server_counters counters() const;

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

} // namespace weir::http
