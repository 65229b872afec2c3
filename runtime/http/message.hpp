#pragma once
// What a request says and what an answer is made of.
#include "runtime/http/target.hpp"
#include "schemas/error.hpp"

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace weir::http {

/// Names compare without case; order and repetition are kept.
class header_list {
public:
  /// The first value of that name; nothing when absent.
  std::optional<std::string_view> find(std::string_view name) const;
  void add(std::string name, std::string value) { items_.emplace_back(std::move(name), std::move(value)); }
  /// Replaces all of that name.
  void set(std::string_view name, std::string value);
  void remove(std::string_view name);
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }
  std::size_t size() const { return items_.size(); }

private:
  std::vector<std::pair<std::string, std::string>> items_;
};

/// A request with its body, as a handler sees it. Valid during the handler's call: copy what must live longer (`payload` shares the body).
struct request {
  std::string method;     ///< as sent: "GET", "HEAD", "POST" …
  std::string raw_target; ///< as sent
  std::string path;       ///< percent-decoded once, normalised
  query_text query;
  header_list headers;
  std::shared_ptr<const std::string> payload; ///< never null
  std::string peer_address;                   ///< numeric; IPv4 also when it came over a dual-stack socket
  std::uint16_t peer_port = 0;
  std::vector<std::pair<std::string, std::string>> params; ///< of the route's pattern, decoded
  std::string route;                                       ///< the pattern
  std::string id;                                          ///< of this request, for logs and problem answers

  std::string_view body() const { return *payload; }
  std::optional<std::string_view> header(std::string_view name) const { return headers.find(name); }
  /// Value of a route parameter; empty when the pattern has none of that name.
  std::string_view param(std::string_view name) const;
};

/// An open file that closes with its last user.
class open_file {
public:
  /// Errors: not_found, io_failed; a directory is not_found.
  static expected<std::shared_ptr<const open_file>> open(const std::string& path);
  /// Takes over a descriptor whose size is known (a memfd, for example).
  open_file(int fd, std::uint64_t size) : fd_(fd), size_(size) {}
  ~open_file();
  open_file(const open_file&) = delete;
  open_file& operator=(const open_file&) = delete;
  int fd() const { return fd_; }
  std::uint64_t size() const { return size_; }

private:
  int fd_;
  std::uint64_t size_;
};

/// A part of a file that goes out with sendfile.
struct file_region {
  std::shared_ptr<const open_file> file;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

/// Bytes of one part of shared text that go out without a copy.
struct shared_text {
  std::shared_ptr<const std::string> text;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

struct response {
  int status = 200;
  header_list headers;
  std::variant<std::string, shared_text, file_region> body;

  response& with(std::string name, std::string value) & {
    headers.add(std::move(name), std::move(value));
    return *this;
  }
  response&& with(std::string name, std::string value) && { return std::move(with(std::move(name), std::move(value))); }
  std::uint64_t body_size() const;
};

response text_response(int status, std::string text, std::string content_type = "text/plain; charset=utf-8");
response json_response(int status, const nlohmann::json& value);
response empty_response(int status);
/// 200 with a shared body; text must not be null.
response shared_response(std::shared_ptr<const std::string> text, std::string content_type);
/// 200 with a whole file.
response file_response(std::shared_ptr<const open_file> file, std::string content_type);

/// One wrong place in a request body.
struct problem_item {
  std::string pointer; ///< JSON pointer: "/options/url"
  std::string detail;
};
/// RFC 9457: type, title, status, detail, code, errors[], request_id. The status is the code's own unless given.
response problem_response(const error& e, std::string_view request_id, const std::vector<problem_item>& errors = {}, int status = 0);

/// The reason phrase: 404 → "Not Found"; "Unknown" for others.
std::string_view reason(int status);

/// What a request wants to know of a representation that it may have already.
struct conditions {
  std::string if_none_match;
  std::string range;
  std::string if_range;
};
/// Turns a 200 into 304 (its ETag is in if_none_match), 206 or 416 (single range of a shared or file body). Other statuses stay.
void apply_conditions(const conditions& wanted, response& answer);

} // namespace weir::http
