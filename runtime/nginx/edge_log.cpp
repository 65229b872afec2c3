#include "runtime/nginx/edge_log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <thread>
#include <tuple>
#include <unistd.h>

namespace weir::nginx {
namespace {

/// Takes the next word off the front of `rest`.
std::string_view next_word(std::string_view& rest) {
  const auto word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(rest.size(), word.size() + 1));
  return word;
}

template <class N>
bool read_number(std::string_view text, N& out) {
  const auto end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, out);
  return parsed.ec == std::errc{} && parsed.ptr == end && out >= 0;
}

std::optional<cache_result> cache_of(std::string_view word) {
  using pair = std::pair<std::string_view, cache_result>;
  for (const auto& [name, result] : {pair{"-", cache_result::none}, {"HIT", cache_result::hit}, {"STALE", cache_result::hit}, {"UPDATING", cache_result::hit},
                                     {"REVALIDATED", cache_result::hit}, {"MISS", cache_result::miss}, {"EXPIRED", cache_result::miss}, {"BYPASS", cache_result::miss}})
    if (word == name)
      return result;
  return std::nullopt;
}

/// "0.123": seconds with three decimals.
bool read_seconds(std::string_view text, std::chrono::milliseconds& out) {
  const auto point = text.find('.');
  std::int64_t whole = 0, thousandths = 0;
  if (point == text.npos || text.size() - point != 4 || point > 9 || !read_number(text.substr(0, point), whole) || !read_number(text.substr(point + 1), thousandths))
    return false;
  out = std::chrono::milliseconds(1000 * whole + thousandths);
  return true;
}

constexpr std::size_t longest_stream = 64;         ///< as hls::is_address_word, and as the map in edge_config.cpp
constexpr std::size_t most_reported_streams = 64; ///< the busiest ones; a report travels each second

/// FNV-1a: the same viewer has the same hash on every edge.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

/// The rate, to the nearest whole one, of what came in `ms` milliseconds.
std::uint64_t a_second(std::uint64_t sum, std::int64_t ms) { return (sum * 1000 + static_cast<std::uint64_t>(ms) / 2) / static_cast<std::uint64_t>(ms); }

} // namespace

std::optional<edge_request> parse_edge_line(std::string_view datagram) {
  // "<190>Nov 22 15:04:05 weir_edge: 1024 200 HIT 0.001 192.0.2.1 Mozilla/5.0 …"
  constexpr std::size_t header_limit = 64;
  static const std::string mark = std::string(edge_log_tag) + ": ";
  const auto at = datagram.substr(0, header_limit).find(mark);
  if (!datagram.starts_with('<') || at == datagram.npos)
    return std::nullopt;
  auto rest = datagram.substr(at + mark.size());
  edge_request request;
  if (!read_number(next_word(rest), request.bytes) || !read_number(next_word(rest), request.status) || request.status > 999)
    return std::nullopt;
  const auto cache = cache_of(next_word(rest));
  if (!cache || !read_seconds(next_word(rest), request.took) || request.bytes > (std::int64_t{1} << 40))
    return std::nullopt;
  request.stream = next_word(rest);
  if (request.stream.empty() || request.stream.size() > longest_stream || rest.empty())
    return std::nullopt;
  if (request.stream == "-")
    request.stream = {};
  request.cache = *cache;
  request.viewer = hash_of(rest);
  request.probe = rest.ends_with(edge_probe_agent);
  return request;
}

void edge_counter::add(const edge_request& request, steady_time now) {
  if (!since_)
    since_ = now;
  load_.bits_per_second += request.bytes;
  ++load_.requests;
  load_.hits += request.cache == cache_result::hit;
  load_.misses += request.cache == cache_result::miss;
  ++(request.cache == cache_result::hit ? totals_.hits : request.cache == cache_result::miss ? totals_.misses : totals_.uncached);
  load_.errors += request.status >= 500;
  const bool delivered = request.cache != cache_result::none && (request.status == 200 || request.status == 206 || request.status == 304);
  if (!delivered || request.probe)
    return;
  if (const auto known = viewers_.find(request.viewer); known != viewers_.end())
    known->second = now;
  else if (viewers_.size() < most_viewers_)
    viewers_.emplace(request.viewer, now);
  // Only what was delivered: whoever asks for streams that do not exist makes none.
  if (!request.stream.empty())
    add_to_stream(request, now);
}

void edge_counter::add_to_stream(const edge_request& request, steady_time now) {
  auto known = streams_.find(request.stream);
  if (known == streams_.end())
    known = streams_.try_emplace(streams_.size() < most_counted_streams ? std::string(request.stream) : std::string()).first;
  auto& stream = known->second;
  stream.last = now;
  stream.totals.bytes += static_cast<std::uint64_t>(request.bytes);
  ++(request.cache == cache_result::hit ? stream.totals.hits : stream.totals.misses);
  if (const auto viewer = stream.viewers.find(request.viewer); viewer != stream.viewers.end())
    viewer->second = now;
  else if (stream_viewers_ < most_viewers_) {
    stream.viewers.emplace(request.viewer, now);
    ++stream_viewers_;
  }
}

std::vector<stream_load> edge_counter::sample_streams(steady_time now, std::int64_t ms) {
  std::vector<stream_load> out;
  for (auto at = streams_.begin(); at != streams_.end();) {
    auto& [name, stream] = *at;
    stream_viewers_ -= std::erase_if(stream.viewers, [&](const auto& one) { return now - one.second >= viewer_window; });
    if (now - stream.last >= stream_kept) {
      at = streams_.erase(at);
      continue;
    }
    stream_load load{name, static_cast<std::int64_t>(a_second(8 * (stream.totals.bytes - stream.before.bytes), ms)), a_second(stream.totals.hits - stream.before.hits, ms),
                     a_second(stream.totals.misses - stream.before.misses, ms), stream.viewers.size()};
    stream.before = stream.totals;
    if (load.viewers + load.hits + load.misses > 0)
      out.push_back(std::move(load));
    ++at;
  }
  if (out.size() > most_reported_streams) {
    // The unnamed ones last: with whoever is too small to be named they make the rest.
    std::ranges::sort(out, [](auto& a, auto& b) { return std::tuple(a.stream.empty(), b.viewers, a.stream) < std::tuple(b.stream.empty(), a.viewers, b.stream); });
    stream_load rest;
    for (auto one = out.begin() + (most_reported_streams - 1); one != out.end(); ++one) {
      rest.bits_per_second += one->bits_per_second;
      rest.hits += one->hits;
      rest.misses += one->misses;
      rest.viewers += one->viewers;
    }
    out.resize(most_reported_streams - 1);
    out.push_back(std::move(rest));
  }
  return out;
}

std::map<std::string, stream_totals, std::less<>> edge_counter::totals_by_stream() const {
  std::map<std::string, stream_totals, std::less<>> out;
  for (auto& [name, stream] : streams_)
    out.emplace(name, stream.totals);
  return out;
}

edge_load edge_counter::sample(steady_time now) {
  std::erase_if(viewers_, [&](const auto& one) { return now - one.second >= viewer_window; });
  const auto ms = since_ ? std::max<std::int64_t>(1, std::chrono::duration_cast<std::chrono::milliseconds>(now - *since_).count()) : 1000;
  edge_load out = load_;
  ++out.sequence;
  out.bits_per_second = std::llround(static_cast<double>(load_.bits_per_second) * 8000 / static_cast<double>(ms));
  out.requests = a_second(load_.requests, ms);
  out.hits = a_second(load_.hits, ms);
  out.misses = a_second(load_.misses, ms);
  out.errors = a_second(load_.errors, ms);
  out.viewers = viewers_.size();
  out.streams = sample_streams(now, ms);
  load_ = {};
  load_.edge = out.edge;
  load_.sequence = out.sequence;
  since_ = now;
  return out;
}

expected<stub_status> parse_stub_status(std::string_view text) {
  // Active connections: 1 \nserver accepts handled requests\n 3 3 7 \nReading: 0 Writing: 1 Waiting: 0 \n
  if (text.size() > 1024)
    return fail(error_code::invalid_input, "the stub_status page is too long");
  stub_status out;
  const auto take = [&](std::string_view label, std::uint64_t& value) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\n' || text.front() == '\r'))
      text.remove_prefix(1);
    if (!text.starts_with(label))
      return false;
    text.remove_prefix(label.size());
    text.remove_prefix(std::min(text.size(), text.find_first_not_of(" \r\n")));
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
    text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
    return parsed.ec == std::errc{};
  };
  if (take("Active connections:", out.active) && take("server accepts handled requests", out.accepted) && take("", out.handled) && take("", out.requests) &&
      take("Reading:", out.reading) && take("Writing:", out.writing) && take("Waiting:", out.waiting))
    return out;
  return fail(error_code::invalid_input, "this is not a stub_status page");
}

struct edge_log_reader::state {
  state(std::string p, edge_name edge) : path(std::move(p)), counter(std::move(edge)) {}
  ~state() {
    if (thread.joinable()) {
      const std::uint64_t one = 1;
      [[maybe_unused]] const auto written = write(wake, &one, sizeof one);
      thread.join();
    }
    for (const int fd : {socket, wake})
      if (fd >= 0)
        close(fd);
    unlink(path.c_str());
  }

  void run() {
    std::array<char, 4096> datagram; // nginx cuts its lines at 2 kB
    for (;;) {
      std::array<pollfd, 2> watched{pollfd{socket, POLLIN, 0}, pollfd{wake, POLLIN, 0}};
      poll(watched.data(), watched.size(), -1);
      if (watched[1].revents != 0)
        return;
      for (ssize_t got; (got = recv(socket, datagram.data(), datagram.size(), MSG_DONTWAIT)) >= 0;) {
        const auto request = parse_edge_line({datagram.data(), static_cast<std::size_t>(got)});
        if (!request) {
          ++unreadable;
          continue;
        }
        const std::lock_guard lock(mutex);
        counter.add(*request, std::chrono::steady_clock::now());
      }
    }
  }

  std::string path;
  int socket = -1;
  int wake = -1;
  std::mutex mutex; ///< over the counter
  edge_counter counter;
  std::atomic<std::uint64_t> unreadable{0};
  std::thread thread;
};

expected<edge_log_reader> edge_log_reader::open(const std::string& path, edge_name edge, bool open_to_all) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    return fail(error_code::invalid_config, fmt::format("log socket {}: the path of a unix socket has at most {} bytes", path, sizeof address.sun_path - 1));
  std::memcpy(address.sun_path, path.data(), path.size());
  auto one = std::make_unique<state>(path, std::move(edge));
  one->socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  one->wake = eventfd(0, EFD_CLOEXEC);
  unlink(path.c_str());
  if (one->socket < 0 || one->wake < 0 || bind(one->socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      chmod(path.c_str(), open_to_all ? 0666 : 0600) != 0)
    return fail(error_code::io_failed, fmt::format("log socket {}: {}", path, std::strerror(errno)));
  // Room for bursts; nginx drops lines rather than wait. The kernel gives what it allows.
  const int room = 4 << 20;
  setsockopt(one->socket, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  one->thread = std::thread([s = one.get()] { s->run(); });
  return edge_log_reader(std::move(one));
}

edge_log_reader::edge_log_reader(std::unique_ptr<state> s) : state_(std::move(s)) {}
edge_log_reader::edge_log_reader(edge_log_reader&&) noexcept = default;
edge_log_reader& edge_log_reader::operator=(edge_log_reader&&) noexcept = default;
edge_log_reader::~edge_log_reader() = default;

edge_load edge_log_reader::sample() {
  const std::lock_guard lock(state_->mutex);
  return state_->counter.sample(std::chrono::steady_clock::now());
}

edge_totals edge_log_reader::totals() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counter.totals();
}

std::map<std::string, stream_totals, std::less<>> edge_log_reader::totals_by_stream() const {
  const std::lock_guard lock(state_->mutex);
  return state_->counter.totals_by_stream();
}

std::uint64_t edge_log_reader::unreadable() const { return state_->unreadable; }

} // namespace weir::nginx
