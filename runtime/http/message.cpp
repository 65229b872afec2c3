#include "runtime/http/message.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>
#include <unistd.h>

namespace weir::http {

std::optional<std::string_view> header_list::find(std::string_view name) const {
  for (auto& [key, value] : items_)
    if (same_text(key, name))
      return value;
  return std::nullopt;
}

void header_list::remove(std::string_view name) {
  std::erase_if(items_, [&](auto& item) { return same_text(item.first, name); });
}

void header_list::set(std::string_view name, std::string value) {
  remove(name);
  add(std::string(name), std::move(value));
}

std::string_view request::param(std::string_view name) const {
  for (auto& [key, value] : params)
    if (key == name)
      return value;
  return {};
}

expected<std::shared_ptr<const open_file>> open_file::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) {
    const int e = errno; // later calls change it
    const bool absent = e == ENOENT || e == ENOTDIR || e == ELOOP;
    return fail(absent ? error_code::not_found : error_code::io_failed, fmt::format("open {}: {}", path, std::strerror(e)));
  }
  struct stat about {};
  if (::fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) {
    ::close(fd);
    return fail(error_code::not_found, fmt::format("{} is not a regular file", path));
  }
  return std::make_shared<const open_file>(fd, static_cast<std::uint64_t>(about.st_size));
}

open_file::~open_file() {
  if (fd_ >= 0)
    ::close(fd_);
}

std::uint64_t response::body_size() const {
  if (auto* text = std::get_if<std::string>(&body))
    return text->size();
  if (auto* shared = std::get_if<shared_text>(&body))
    return shared->length;
  return std::get<file_region>(body).length;
}

response text_response(int status, std::string text, std::string content_type) {
  response answer{.status = status, .headers = {}, .body = std::move(text)};
  answer.headers.add("Content-Type", std::move(content_type));
  return answer;
}

response json_response(int status, const nlohmann::json& value) {
  // Text that came from outside may be invalid UTF-8; dump() would throw on it.
  return text_response(status, value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "application/json");
}

response empty_response(int status) { return {.status = status, .headers = {}, .body = std::string()}; }

response shared_response(std::shared_ptr<const std::string> text, std::string content_type) {
  const std::uint64_t size = text->size();
  response answer{.status = 200, .headers = {}, .body = shared_text{std::move(text), 0, size}};
  answer.headers.add("Content-Type", std::move(content_type));
  return answer;
}

response file_response(std::shared_ptr<const open_file> file, std::string content_type) {
  const std::uint64_t size = file->size();
  response answer{.status = 200, .headers = {}, .body = file_region{std::move(file), 0, size}};
  answer.headers.add("Content-Type", std::move(content_type));
  return answer;
}

response problem_response(const error& e, std::string_view request_id, const std::vector<problem_item>& errors, int status) {
  if (status == 0)
    status = http_status(e.code);
  nlohmann::json body{{"type", fmt::format("urn:weir:error:{}", to_string(e.code))},
                      {"title", sentence(e.code)},
                      {"status", status},
                      {"detail", e.text},
                      {"code", to_string(e.code)},
                      {"request_id", request_id}};
  for (auto& one : errors)
    body["errors"].push_back({{"pointer", one.pointer}, {"detail", one.detail}});
  auto answer = json_response(status, body);
  answer.headers.set("Content-Type", "application/problem+json");
  answer.headers.add("Cache-Control", "no-store");
  return answer;
}

std::string_view reason(int status) {
  switch (status) {
  case 100: return "Continue";
  case 200: return "OK";
  case 201: return "Created";
  case 202: return "Accepted";
  case 204: return "No Content";
  case 206: return "Partial Content";
  case 301: return "Moved Permanently";
  case 302: return "Found";
  case 303: return "See Other";
  case 304: return "Not Modified";
  case 307: return "Temporary Redirect";
  case 308: return "Permanent Redirect";
  case 400: return "Bad Request";
  case 401: return "Unauthorized";
  case 403: return "Forbidden";
  case 404: return "Not Found";
  case 405: return "Method Not Allowed";
  case 406: return "Not Acceptable";
  case 408: return "Request Timeout";
  case 409: return "Conflict";
  case 410: return "Gone";
  case 411: return "Length Required";
  case 412: return "Precondition Failed";
  case 413: return "Content Too Large";
  case 414: return "URI Too Long";
  case 415: return "Unsupported Media Type";
  case 416: return "Range Not Satisfiable";
  case 417: return "Expectation Failed";
  case 422: return "Unprocessable Content";
  case 428: return "Precondition Required";
  case 429: return "Too Many Requests";
  case 431: return "Request Header Fields Too Large";
  case 500: return "Internal Server Error";
  case 501: return "Not Implemented";
  case 502: return "Bad Gateway";
  case 503: return "Service Unavailable";
  case 504: return "Gateway Timeout";
  case 505: return "HTTP Version Not Supported";
  default: return "Unknown";
  }
}

namespace {

/// The body's part, when its kind can be sent in parts.
bool cut(response& answer, const byte_range& part) {
  const auto narrow = [&](auto& body) {
    body.offset += part.offset;
    body.length = part.length;
    return true;
  };
  if (auto* shared = std::get_if<shared_text>(&answer.body))
    return narrow(*shared);
  if (auto* file = std::get_if<file_region>(&answer.body))
    return narrow(*file);
  return false;
}

} // namespace

void apply_conditions(const conditions& wanted, response& answer) {
  if (answer.status != 200)
    return;
  const std::string etag(answer.headers.find("ETag").value_or("")); // a copy, because setting headers moves them
  if (!etag.empty() && !wanted.if_none_match.empty() && matches_etag(wanted.if_none_match, etag)) {
    answer.status = 304;
    answer.body = std::string();
    answer.headers.remove("Content-Type");
    return;
  }
  if (std::holds_alternative<std::string>(answer.body))
    return;
  answer.headers.set("Accept-Ranges", "bytes");
  // If-Range needs a strong match: after a change the old part must not be joined to the new one.
  const bool changed = !wanted.if_range.empty() && (etag.empty() || etag.starts_with("W/") || trim(wanted.if_range) != etag);
  if (wanted.range.empty() || changed)
    return;
  const auto size = answer.body_size();
  byte_range part;
  switch (parse_range(wanted.range, size, part)) {
  case range_verdict::whole: return;
  case range_verdict::part:
    if (!cut(answer, part))
      return;
    answer.status = 206;
    answer.headers.set("Content-Range", fmt::format("bytes {}-{}/{}", part.offset, part.offset + part.length - 1, size));
    return;
  case range_verdict::unsatisfiable:
    answer.status = 416;
    answer.body = std::string();
    answer.headers.remove("Content-Type");
    answer.headers.set("Content-Range", fmt::format("bytes */{}", size));
    return;
  }
}

} // namespace weir::http
