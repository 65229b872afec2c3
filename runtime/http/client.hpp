#pragma once
// The HTTP client: one thread for any number of requests, connections reused. For origins, edges, RTMP servers, SRS's API and the `weir` program.
//
//   client web({});
//   auto id = web.send({.url = "http://127.0.0.1:1985/api/v1/streams/"}, [](expected<client_response> r) { … });   // on the client's thread
//   auto answer = web.call({.method = "PUT", .url = url, .body = shared});                                         // waits: never in an actor
#include "runtime/http/message.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace weir::http {

/// The first `length` bytes of a descriptor that can be read at any offset (a memfd, a file). Not closed; must stay open until the answer.
struct fd_body {
  int fd = -1;
  std::uint64_t length = 0;
};

/// What an S3 server knows us by.
struct aws_key {
  std::string access, secret;
};
/// Signs a request as AWS wants it (SigV4, service s3). The caller gives the header x-amz-content-sha256, and an address that needs no further escaping, whose
/// parameters are sorted by name and have values each; all given headers are signed.
struct aws_signing {
  aws_key key;
  std::string region;
};

struct client_request {
  std::string method = "GET";
  std::string url; ///< http or https
  header_list headers;
  std::variant<std::string, std::shared_ptr<const std::string>, fd_body> body;
  std::chrono::milliseconds connect_deadline{2'000};
  std::chrono::milliseconds deadline{10'000}; ///< for everything; 0: none (event streams)
  std::uint64_t response_limit = 8 << 20;     ///< bytes of body; more is an error (too_large)
  bool verify = true;                         ///< the certificate and its name
  std::string authorities;                    ///< file with trusted certificates; empty: the system's
  std::string authorities_text;               ///< or those certificates themselves (PEM)
  std::string certificate, key;               ///< files (PEM) of what we show when the server asks who we are; empty: nothing
  std::string unix_socket;                    ///< path; empty: TCP
  std::optional<aws_signing> sign;
  /// When set, the body goes here piece by piece, on the client's thread, and client_response.body stays empty. False ends the transfer
  /// (source_ended).
  std::function<bool(std::string_view piece)> on_piece;
};

struct client_response {
  int status = 0;
  header_list headers;
  std::string body;
};

struct client_options {
  unsigned connections_per_host = 8;   ///< more requests wait for a free one
  unsigned connections = 256;          ///< kept altogether
  std::string user_agent = "weir";
};

/// What an error says (unavailable) when a server ended a new connection right behind the TLS handshake, as one does that takes no certificate of ours.
inline constexpr std::string_view refused_by_certificate = "the server ended the connection behind the TLS handshake";

/// Thread-safe. Any status is an answer; errors are: invalid_input (URL), unavailable (not reached), timeout, too_large, io_failed, and source_ended
/// (cancelled). Their text has the URL with user, password and query values as ***.
class client {
public:
  using callback = std::function<void(expected<client_response>)>;
  using request_id = std::uint64_t;

  explicit client(client_options options);
  /// Requests under way are answered source_ended.
  ~client();
  client(const client&) = delete;
  client& operator=(const client&) = delete;

  /// `done` runs once, on the client's thread, and must not block.
  request_id send(client_request r, callback done);
  /// The request's callback gets source_ended, unless it has run already.
  void cancel(request_id id);
  /// Waits for the answer. For command lines and tests; never on the client's thread, never in an actor.
  expected<client_response> call(client_request r);

private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// For logs and errors: user, password and the values of the query as ***.
std::string masked_url(std::string_view url);

} // namespace weir::http
