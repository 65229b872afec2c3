#include "runtime/nginx/edge_probe.hpp"

#include "runtime/base/secret.hpp"
#include "runtime/http/target.hpp"
#include "runtime/nginx/edge_log.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>

namespace weir::nginx {

namespace {

constexpr std::uint64_t unasked_limit = 64 << 20; ///< of a server that answers with all of a segment whose size nobody knows

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t n = 0;
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), n);
  return code == std::errc{} && end == text.data() + text.size() ? std::optional{n} : std::nullopt;
}

/// The size of the whole, as an answer of status 200 or 206 to a question for its first bytes states it.
std::optional<std::uint64_t> stated_size(const http::client_response& answer) {
  if (answer.status == 200)
    return number(answer.headers.find("Content-Length").value_or(""));
  auto range = std::string_view(answer.headers.find("Content-Range").value_or(""));
  auto expected = answer.body.empty() ? std::string("?") : fmt::format("bytes 0-{}/", answer.body.size() - 1);
  return range.starts_with(expected) ? number(range.substr(expected.size())) : std::nullopt;
}

std::string fault_of_headers(const http::client_response& answer) {
  // Once: browsers take two of them, even of the same value, for none.
  auto grants = std::ranges::count_if(answer.headers, [](auto& h) { return http::same_text(h.first, "Access-Control-Allow-Origin"); });
  if (grants == 0)
    return "no Access-Control-Allow-Origin: browsers could not play";
  if (grants > 1)
    return "Access-Control-Allow-Origin more than once: browsers could not play";
  return {};
}

} // namespace

std::string head_digest(std::string_view segment) { return sha256_hex(segment.substr(0, probe_head)); }

http::client_request probe_request(const edge_probe& probe) {
  http::client_request request;
  request.headers.add("User-Agent", std::string(edge_probe_agent));
  // Without a live stream any answer will do: the edge knows no path outside /s/ and says 404.
  const bool live = !probe.newest.path.empty();
  request.url = probe.url + (live ? probe.newest.path : "/s/");
  if (live)
    request.headers.add("Range", fmt::format("bytes=0-{}", probe_head - 1));
  request.response_limit = probe.newest.size == 0 ? unasked_limit : std::max<std::uint64_t>(probe.newest.size, probe_head);
  request.authorities_text = probe.authorities; // who cannot verify the edge cannot use it, as a browser cannot
  request.deadline = request.connect_deadline = probe.deadline;
  return request;
}

std::string stranger_in(const http::client_response& answer, std::string_view name) {
  auto says = std::string_view(answer.headers.find(edge_name_header).value_or(name));
  return says == name ? std::string() : fmt::format("edge {} answers at its address", says.substr(0, 64));
}

std::string fault_of(const http::client_response& answer, const probe_target& newest) {
  if (newest.path.empty())
    return answer.status >= 500 ? fmt::format("status {}", answer.status) : fault_of_headers(answer);
  if (answer.status != 200 && answer.status != 206)
    return fmt::format("status {}", answer.status);
  if (auto fault = fault_of_headers(answer); !fault.empty())
    return fault;
  auto caching = answer.headers.find("Cache-Control").value_or("");
  if (caching.find("max-age=") == caching.npos || caching.find("no-store") != caching.npos || caching.find("private") != caching.npos)
    return fmt::format("Cache-Control is {:?}: players and caches could not keep it", caching);
  if (auto length = number(answer.headers.find("Content-Length").value_or("")); !length || *length != answer.body.size())
    return fmt::format("{} bytes came, Content-Length is {:?}", answer.body.size(), answer.headers.find("Content-Length").value_or(""));
  auto size = stated_size(answer);
  if (!size || (newest.size != 0 && *size != newest.size))
    return size ? fmt::format("the segment has {} bytes there, {} at the origin", *size, newest.size) : std::string("it does not say which bytes these are, of how many");
  if (auto wanted = std::min<std::uint64_t>(*size, probe_head); answer.body.size() < wanted)
    return fmt::format("{} bytes came of {}", answer.body.size(), wanted);
  if (!newest.digest.empty() && head_digest(answer.body) != newest.digest)
    return "other bytes than the origin's";
  return {};
}

void send_probe(http::client& client, const edge_probe& probe, std::function<void(steering::probe_result)> done) {
  auto asked = std::chrono::steady_clock::now();
  client.send(probe_request(probe), [asked, newest = probe.newest, name = probe.name, done = std::move(done)](expected<http::client_response> answer) {
    steering::probe_result result;
    result.took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - asked);
    result.trouble = answer ? stranger_in(*answer, name) : answer.error().text;
    if (result.trouble.empty())
      result.trouble = fault_of(*answer, newest);
    result.good = result.trouble.empty();
    done(std::move(result));
  });
}

} // namespace weir::nginx
