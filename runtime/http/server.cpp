#include "runtime/http/server.hpp"

#include "runtime/base/log.hpp"
#include "runtime/http/router.hpp"

#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ip/v6_only.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <cassert>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <fmt/format.h>
#include <map>
#include <mutex>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <thread>

namespace weir::http {
namespace {

namespace asio = boost::asio;
namespace parsing = boost::beast::http;
using tcp = asio::ip::tcp;
using executor = asio::io_context::executor_type;
using tcp_socket = asio::basic_stream_socket<tcp, executor>;
using tcp_acceptor = asio::basic_socket_acceptor<tcp, executor>;
using steady = std::chrono::steady_clock;
using boost::system::error_code;

constexpr std::size_t input_size = 8192;       // holds the largest header (8000)
constexpr std::size_t most_fields = 100;       // more are answered 431
constexpr std::size_t flush_size = 48 * 1024;  // pipelined answers leave together up to this
constexpr std::size_t gather_size = 16 * 1024; // larger bodies leave from where they lie
constexpr std::size_t body_step = 1 << 20;     // a body's buffer grows by at least this, so a large Content-Length alone costs nothing
constexpr std::size_t pooled_sessions = 256;
constexpr std::uint32_t linger_seconds = 2;    // for the peer to read an error answer before the reset that unread input causes
constexpr std::size_t linger_bytes = 8 << 20;  // what a client has begun to send it sends on: a body that is refused for its size, above all
constexpr std::uint64_t body_rate = 1 << 20;   // bytes a second below which a body runs into its deadline

constexpr std::string_view cors_lines = "Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Age, Date, Retry-After, Weir-Reason\r\n";

struct worker;
struct session;

struct route_entry {
  std::string pattern;
  route_options options;
  handler run;
};
struct fast_entry {
  std::string prefix;
  fast_options options;
  fast_handler run;
};

/// What all threads share; constant once they run, but for the counters.
struct shared_state {
  server_options options;
  router table;
  std::vector<route_entry> routes;
  std::vector<fast_entry> fasts;
  std::vector<std::string> cors_prefixes; // a 404 below a CORS route needs the header too, or players cannot see the status
  observer watch;
  struct {
    std::atomic<std::uint64_t> accepted{0}, refused{0}, active{0}, requests{0}, malformed{0}, timed_out{0}, unanswered{0}, bytes_sent{0};
  } count;
};

void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by = 1) { counter.fetch_add(by, std::memory_order_relaxed); }

/// One request being answered. `at` belongs to the worker's thread; it is null once the session has let go.
struct exchange {
  worker* home = nullptr;
  session* at = nullptr;
  std::atomic<bool> claimed{false};
  const route_entry* route = nullptr;
  conditions wanted;
  bool conditional = false; // GET or HEAD
  std::string id;
  std::multimap<steady::time_point, std::weak_ptr<exchange>>::iterator deadline;
  bool has_deadline = false;
};

/// Beast's parser with the fields left where they are: views into the session's input.
class header_parser : public parsing::basic_parser<true> {
public:
  parsing::verb verb = parsing::verb::unknown;
  int version = 11;
  std::string_view method;
  std::string_view target;
  std::span<const fast_request::field> fields() const { return {store_->data(), count_}; }
  unsigned hosts = 0;
  unsigned codings = 0;
  bool only_chunked = true;
  bool too_many_fields = false;
  std::string* body = nullptr; // for chunked bodies
  std::size_t body_limit_bytes = 0;

  using field_store = std::array<fast_request::field, most_fields>;
  /// The fields go to `store`, which is valid until the next header is parsed on this thread.
  header_parser(const char* from, std::size_t size, field_store& store) : from_(from), size_(size), store_(&store) {}
  std::string_view find(std::string_view name) const {
    for (auto& one : fields())
      if (same_text(one.name, name))
        return one.value;
    return {};
  }

private:
  using text = boost::beast::string_view;
  static std::string_view view(text t) { return {t.data(), t.size()}; }

  void on_request_impl(parsing::verb v, text m, text t, int n, error_code& ec) override {
    verb = v;
    version = n;
    method = view(m);
    target = view(t);
    ec = {};
  }
  void on_response_impl(int, text, int, error_code& ec) override { ec = parsing::error::bad_version; }
  void on_field_impl(parsing::field name, text raw_name, text value, error_code& ec) override {
    if (header_read_)
      return; // trailers are read and forgotten
    if (!value.empty() && (value.data() < from_ || value.data() + value.size() > from_ + size_)) {
      ec = parsing::error::bad_value; // a folded value: deprecated, and read differently by different servers
      return;
    }
    if (count_ == store_->size()) {
      too_many_fields = true;
      ec = parsing::error::header_limit;
      return;
    }
    (*store_)[count_++] = {view(raw_name), view(value)};
    if (name == parsing::field::host)
      ++hosts;
    if (name == parsing::field::transfer_encoding) {
      ++codings;
      only_chunked = only_chunked && same_text(view(value), "chunked");
    }
  }
  void on_header_impl(error_code& ec) override {
    header_read_ = true;
    ec = {};
  }
  void on_body_init_impl(boost::optional<std::uint64_t> const&, error_code& ec) override { ec = {}; }
  std::size_t on_body_impl(text, error_code& ec) override {
    ec = parsing::error::unexpected_body; // bodies with a length are read past the parser
    return 0;
  }
  void on_chunk_header_impl(std::uint64_t size, text, error_code& ec) override {
    ec = {};
    if (body && size > body_limit_bytes - body->size())
      ec = parsing::error::body_limit;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, text data, error_code& ec) override {
    ec = {};
    body->append(data.data(), data.size());
    return data.size();
  }
  void on_finish_impl(error_code& ec) override { ec = {}; }

  const char* from_;
  std::size_t size_;
  field_store* store_;
  std::size_t count_ = 0;
  bool header_read_ = false;
};

void append_number(std::string& out, std::uint64_t value) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
}

bool safe_header(std::string_view text) { return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos; }

/// Headers that are the server's own business; a handler's are left out.
bool is_reserved(std::string_view name) {
  for (std::string_view own : {"Content-Length", "Transfer-Encoding", "Connection", "Date"})
    if (same_text(name, own))
      return true;
  return false;
}

} // namespace

struct event_stream::core {
  std::shared_ptr<worker> home;
  std::shared_ptr<exchange> about;
  header_list headers;
  std::mutex guard;
  std::string queue;    // not yet with the session
  std::size_t owed = 0; // queued and not yet taken by the socket
  bool posted = false;
  bool closed = false;
  std::function<void()> closing;

  void wake();
  void end();
  /// Marks it closed and tells the owner, once.
  void finish() {
    std::function<void()> tell;
    {
      std::lock_guard lock(guard);
      closed = true;
      queue.clear();
      tell = std::exchange(closing, nullptr);
    }
    if (tell)
      tell();
  }
};

struct event_stream::handle {
  explicit handle(std::shared_ptr<core> c) : stream(std::move(c)) {}
  handle(const handle&) = delete;
  handle& operator=(const handle&) = delete;
  std::shared_ptr<core> stream;
  ~handle() { stream->end(); }
};

struct responder::ticket {
  ticket(std::shared_ptr<worker> w, std::shared_ptr<exchange> x) : home(std::move(w)), about(std::move(x)) {}
  ticket(const ticket&) = delete;
  ticket& operator=(const ticket&) = delete;
  std::shared_ptr<worker> home;
  std::shared_ptr<exchange> about;
  ~ticket();
};

namespace {

enum class phase : std::uint8_t {
  header,    // waiting for a request or the rest of its header
  body,      // reading a body
  handling,  // a handler owes the answer
  streaming, // an event stream is open
  linger,    // answered for good; reads what is left so that the peer sees the answer
  closed,
};

struct session {
  explicit session(worker& w);

  // Life
  void open(tcp_socket&& with);
  void close();
  void sweep();
  void drain();

  // In
  void read();
  void on_read(std::size_t n);
  void pump();
  bool take_header();
  bool take_fast(std::size_t used, bool keep_alive, std::string_view path, std::string_view query);
  void begin_request(std::size_t used);
  void read_body();
  void body_read();
  void dispatch();
  void refuse(int status, weir::error_code code, std::string text);

  // Out
  void answer(response&& with);
  void append_head(int status, std::uint64_t length, bool has_length);
  void flush();
  void push();
  void wait_writable();
  void begin_stream(std::shared_ptr<event_stream::core> stream);
  void feed_stream();
  void let_go();
  void tell(std::string_view pattern, int status);

  bool idle() const { return now_in == phase::header && in_begin == in_end && !waiting_write; }
  std::size_t buffered() const { return in_end - in_begin; }

  worker& home;
  tcp_socket link;
  std::size_t slot = 0; // in worker::sessions
  phase now_in = phase::closed;
  bool reading = false;
  bool waiting_write = false;
  bool close_after = false;  // when all is written
  bool unread_input = false; // close gently: the peer is still sending
  bool http10 = false;
  bool head = false;
  bool cors = false;
  std::uint32_t deadline = 0; // tick; 0: none
  std::size_t lingered = 0;
  std::string peer;
  std::uint16_t peer_port = 0;
  steady::time_point since;

  std::array<char, input_size> in;
  std::size_t in_begin = 0;
  std::size_t in_end = 0;
  std::optional<header_parser> chunked;

  request incoming;
  std::string body;
  std::size_t body_have = 0;
  std::uint64_t body_want = 0; // Content-Length; unused when chunked
  std::uint32_t body_since = 0;
  const route_entry* route = nullptr;
  std::optional<response> refusal; // decided before the body was read
  std::shared_ptr<exchange> current;
  std::optional<response> ready; // given while the handler ran
  std::shared_ptr<event_stream::core> stream;
  std::size_t stream_taken = 0;

  struct {
    std::string copied;
    std::size_t at = 0;
    std::string_view view;
    std::shared_ptr<const void> owner;
    file_region file;
    bool empty() const { return at == copied.size() && view.empty() && file.length == 0; }
  } pending;
};

struct worker : std::enable_shared_from_this<worker> {
  explicit worker(std::shared_ptr<shared_state> s)
      : all(std::move(s)), io(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO), acceptor(io), sweep_timer(io), deadline_timer(io), accept_timer(io),
        stop_timer(io) {
    out.reserve(2 * flush_size);
    id_base = fmt::format("{:08x}", static_cast<std::uint32_t>(std::chrono::system_clock::now().time_since_epoch().count() / 1000) ^
                                        static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(this) >> 4));
    tick_date();
  }

  void run() {
    accept();
    arm_sweep();
    io.run();
    // Whoever still holds a responder or a stream finds it closed; what they have posted until now runs into sessions that are gone.
    stopped = true;
    for (auto& one : sessions)
      one->close();
    do
      io.restart();
    while (io.poll() > 0);
  }

  void accept() {
    acceptor.async_accept([this](error_code ec, tcp_socket link) {
      if (!acceptor.is_open())
        return;
      if (ec && ec != asio::error::connection_aborted) {
        log::warn("http", "accept-failed", "server={} error={}", all->options.name, ec.message());
        accept_timer.expires_after(std::chrono::milliseconds(100)); // out of descriptors: a busy loop would not free any
        accept_timer.async_wait([this](error_code cancelled) {
          if (!cancelled)
            accept();
        });
        return;
      }
      if (!ec)
        take(std::move(link));
      accept();
    });
  }

  void take(tcp_socket&& link) {
    bump(all->count.accepted);
    if (all->count.active.fetch_add(1, std::memory_order_relaxed) >= all->options.connection_limit) {
      all->count.active.fetch_sub(1, std::memory_order_relaxed);
      bump(all->count.refused);
      const auto full = fmt::format("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n{}Retry-After: 1\r\nConnection: close\r\n\r\n",
                                    cors_for_unread() ? cors_lines : std::string_view());
      if (::send(link.native_handle(), full.data(), full.size(), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log::debug("http", "refusal-unsent", "server={}", all->options.name);
      return;
    }
    std::unique_ptr<session> fresh;
    if (pool.empty()) {
      fresh = std::make_unique<session>(*this);
    } else {
      fresh = std::move(pool.back());
      pool.pop_back();
    }
    fresh->slot = sessions.size();
    sessions.push_back(std::move(fresh));
    sessions.back()->open(std::move(link));
  }

  /// After the last asynchronous operation of a closed session has ended.
  void recycle(session& s) {
    auto owned = std::move(sessions[s.slot]);
    if (s.slot + 1 != sessions.size()) {
      sessions[s.slot] = std::move(sessions.back());
      sessions[s.slot]->slot = s.slot;
    }
    sessions.pop_back();
    if (pool.size() < pooled_sessions)
      pool.push_back(std::move(owned));
    if (draining && sessions.empty())
      io.stop();
  }

  void arm_sweep() {
    sweep_timer.expires_after(std::chrono::seconds(1));
    sweep_timer.async_wait([this](error_code ec) {
      if (ec)
        return;
      ++tick;
      tick_date();
      for (std::size_t i = 0; i < sessions.size(); ++i)
        if (sessions[i]->deadline != 0 && sessions[i]->deadline < tick)
          sessions[i]->sweep();
      arm_sweep();
    });
  }

  void tick_date() {
    const std::time_t now = std::time(nullptr);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    date_size = std::strftime(date.data(), date.size(), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &utc);
  }

  void drain(std::chrono::milliseconds limit) {
    if (draining)
      return;
    draining = true;
    error_code ignored;
    acceptor.close(ignored); // nothing follows from a failure: the descriptor is gone either way
    accept_timer.cancel();
    stop_timer.expires_after(limit);
    stop_timer.async_wait([this](error_code ec) {
      if (!ec)
        io.stop();
    });
    for (std::size_t i = 0; i < sessions.size(); ++i)
      sessions[i]->drain();
    if (sessions.empty())
      io.stop();
  }

  void answer(const std::shared_ptr<exchange>& x, response&& with) {
    if (stopped)
      return;
    if (io.get_executor().running_in_this_thread() && in_handler && x->at == in_handler) {
      in_handler->ready = std::move(with);
      return;
    }
    asio::post(io, [x, with = std::move(with)]() mutable {
      if (!x->at)
        return; // the client has gone
      auto& s = *x->at;
      s.answer(std::move(with));
      s.pump();
    });
  }

  void add_deadline(const std::shared_ptr<exchange>& x) {
    const auto at = steady::now() + x->route->options.deadline;
    x->deadline = deadlines.emplace(at, x);
    x->has_deadline = true;
    if (deadlines.size() == 1 || at < armed)
      arm_deadline(deadlines.begin()->first);
  }

  void arm_deadline(steady::time_point at) {
    armed = at;
    deadline_timer.expires_at(at);
    deadline_timer.async_wait([this](error_code ec) {
      if (ec)
        return;
      const auto now = steady::now();
      while (!deadlines.empty() && deadlines.begin()->first <= now) {
        const auto x = deadlines.begin()->second.lock();
        deadlines.erase(deadlines.begin());
        if (!x)
          continue;
        x->has_deadline = false;
        if (!x->at || x->claimed.exchange(true))
          continue;
        bump(all->count.unanswered);
        log::warn("http", "answer-late", "route={} request={} deadline={}", x->route->pattern, x->id, to_string(x->route->options.deadline));
        auto& s = *x->at;
        s.answer(x->route->options.late ? x->route->options.late(x->id)
                                        : problem_response({weir::error_code::timeout, "nothing answered in time"}, x->id));
        s.pump();
      }
      if (!deadlines.empty())
        arm_deadline(deadlines.begin()->first);
    });
  }

  std::string next_id() { return fmt::format("{}{:08x}", id_base, ++id_count); }
  bool cors_for(std::string_view path) const {
    for (auto& prefix : all->cors_prefixes)
      if (path.starts_with(prefix))
        return true;
    return false;
  }

  /// For a request whose path nobody has read: it may have been a player's.
  bool cors_for_unread() const { return !all->cors_prefixes.empty(); }

  std::shared_ptr<shared_state> all;
  asio::io_context io;
  tcp_acceptor acceptor;
  asio::steady_timer sweep_timer;
  asio::steady_timer deadline_timer;
  asio::steady_timer accept_timer;
  asio::steady_timer stop_timer;
  std::atomic<bool> stopped{false};
  bool draining = false;
  std::uint32_t tick = 1;
  steady::time_point armed;
  std::multimap<steady::time_point, std::weak_ptr<exchange>> deadlines;
  std::vector<std::unique_ptr<session>> sessions;
  std::vector<std::unique_ptr<session>> pool;
  session* in_handler = nullptr;
  std::string out;         // answers of the session that is being pumped
  fast_answer fast;        // reused
  std::string decoded;     // reused: a fast path that needed decoding
  header_parser::field_store fields; // of the header that was parsed last
  std::array<char, 64> date;
  std::size_t date_size = 0;
  std::string id_base;
  std::uint32_t id_count = 0;
};

session::session(worker& w) : home(w), link(w.io) {}

void session::open(tcp_socket&& with) {
  link = std::move(with);
  error_code ec;
  link.non_blocking(true, ec);
  if (!ec)
    link.native_non_blocking(true, ec);
  if (!ec)
    link.set_option(tcp::no_delay(true), ec);
  const auto from = ec ? tcp::endpoint() : link.remote_endpoint(ec);
  now_in = phase::header;
  reading = waiting_write = close_after = unread_input = http10 = head = cors = false;
  lingered = in_begin = in_end = 0;
  if (ec) // the peer was gone before we looked
    return close();
  auto address = from.address();
  if (address.is_v6() && address.to_v6().is_v4_mapped())
    address = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
  peer = address.to_string();
  peer_port = from.port();
  deadline = home.tick + static_cast<std::uint32_t>(home.all->options.receive_deadline.count());
  read();
}

void session::let_go() {
  if (!current)
    return;
  if (current->has_deadline) {
    home.deadlines.erase(current->deadline);
    current->has_deadline = false;
  }
  current->at = nullptr;
  current.reset();
}

/// Reports an answer to the observer.
void session::tell(std::string_view pattern, int status) {
  if (!home.all->watch)
    return;
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - since);
  home.all->watch(pattern, status, static_cast<std::uint64_t>(took.count()));
}

void session::close() {
  if (now_in == phase::closed)
    return;
  now_in = phase::closed;
  deadline = 0;
  error_code ignored;
  link.close(ignored); // a failure to close leaves nothing to do
  home.all->count.active.fetch_sub(1, std::memory_order_relaxed);
  let_go();
  if (auto ended = std::exchange(stream, nullptr))
    ended->finish();
  chunked.reset();
  incoming = {};
  body = {};
  refusal.reset();
  ready.reset();
  pending = {};
  // Callers up the stack still look at this session: it goes back to the pool from the loop, after its operations have come back.
  if (!reading && !waiting_write)
    asio::post(home.io, [this] { home.recycle(*this); });
}

void session::sweep() {
  bump(home.all->count.timed_out);
  if (waiting_write || idle() || now_in == phase::linger)
    return close();
  const bool in_body = now_in == phase::body;
  if (in_body || now_in == phase::header)
    refuse(408, weir::error_code::timeout, "the request did not arrive in time");
  if (in_body || now_in != phase::header) // the read under way points into the body, which is gone now
    return close();
  pump();
}

void session::drain() {
  if ((now_in == phase::header && !waiting_write) || now_in == phase::linger)
    return close();
  close_after = true;
  if (now_in != phase::streaming)
    return;
  {
    std::lock_guard lock(stream->guard);
    stream->closed = true;
  }
  if (!waiting_write)
    feed_stream();
}

void session::read() {
  if (reading || now_in == phase::closed)
    return;
  asio::mutable_buffer into;
  if (now_in == phase::body && !chunked) {
    if (body_have == body.size())
      body.resize(std::min<std::size_t>(body_want, std::max(2 * body_have, body_have + body_step)));
    into = asio::buffer(body.data() + body_have, body.size() - body_have);
  } else {
    if (in_begin == in_end) {
      in_begin = in_end = 0;
    } else if (in_end == in.size()) {
      std::memmove(in.data(), in.data() + in_begin, buffered());
      in_end -= in_begin;
      in_begin = 0;
    }
    into = asio::buffer(in.data() + in_end, in.size() - in_end);
  }
  reading = true;
  link.async_read_some(into, [this](error_code ec, std::size_t n) {
    reading = false;
    if (now_in == phase::closed) {
      if (!waiting_write)
        home.recycle(*this);
      return;
    }
    if (ec)
      return close();
    on_read(n);
  });
}

void session::on_read(std::size_t n) {
  switch (now_in) {
  case phase::header:
    if (in_begin == in_end) // the first byte of a request starts its clock, later ones do not
      deadline = home.tick + static_cast<std::uint32_t>(home.all->options.receive_deadline.count());
    in_end += n;
    break;
  case phase::body:
    if (chunked)
      in_end += n;
    else
      body_have += n;
    read_body();
    break;
  case phase::streaming: // a reader has nothing to say; what it says is dropped
    break;
  case phase::linger:
    lingered += n;
    if (lingered > linger_bytes)
      return close();
    break;
  case phase::handling:
  case phase::closed: break;
  }
  pump();
}

/// Takes requests as long as there are any, sends what they gave, and waits for what comes next.
void session::pump() {
  while (now_in == phase::header && !waiting_write && !close_after && take_header()) {
  }
  flush();
  if (now_in == phase::closed || waiting_write)
    return;
  if (close_after && now_in == phase::header) {
    if (!unread_input && in_begin == in_end)
      return close();
    error_code ec;
    link.shutdown(tcp::socket::shutdown_send, ec);
    if (ec)
      return close();
    now_in = phase::linger;
    deadline = home.tick + linger_seconds;
  }
  if (now_in == phase::linger || now_in == phase::streaming)
    in_begin = in_end = 0;
  if (now_in != phase::handling)
    read();
}

/// Whether what has come of a header can no longer become one. LF alone, NUL and binary protocols would otherwise hold the line until the deadline.
bool cannot_be_header(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] == '\0' || (text[i] == '\n' && (i == 0 || text[i - 1] != '\r')))
      return true;
  const auto first = static_cast<unsigned char>(text.empty() ? 'G' : text.front());
  return first < 'A' || first > 'z';
}

bool session::take_header() {
  while (in_begin < in_end && (in[in_begin] == '\r' || in[in_begin] == '\n')) // an empty line before a request is tolerated (RFC 9112 2.2)
    ++in_begin;
  http10 = head = false;
  cors = home.cors_for_unread();
  route = nullptr;
  if (home.all->watch)
    since = steady::now();
  const std::string_view text(in.data() + in_begin, buffered());
  if (text.empty()) {
    deadline = home.tick + static_cast<std::uint32_t>(home.all->options.idle_deadline.count());
    return false;
  }
  const auto end = text.find("\r\n\r\n");
  const auto limit = home.all->options.header_limit;
  if ((end == std::string_view::npos ? text.size() : end + 4) > limit) {
    const bool line = text.substr(0, limit).find("\r\n") == std::string_view::npos;
    refuse(line ? 414 : 431, weir::error_code::too_large, line ? "request line is too long" : "header is too long");
    return true;
  }
  if (end == std::string_view::npos) {
    if (deadline == 0) // the rest of a pipelined request
      deadline = home.tick + static_cast<std::uint32_t>(home.all->options.receive_deadline.count());
    if (!cannot_be_header(text))
      return false;
    refuse(400, weir::error_code::invalid_input, "not an HTTP request");
    return true;
  }

  const std::size_t used = end + 4;
  chunked.emplace(text.data(), used, home.fields);
  auto& p = *chunked;
  p.header_limit(input_size);
  p.body_limit(boost::none);
  p.eager(false);
  error_code ec;
  p.put(asio::buffer(text.data(), used), ec);
  if (ec) {
    if (ec == parsing::error::bad_version)
      refuse(505, weir::error_code::unsupported, "HTTP/1.0 and HTTP/1.1 are understood");
    else if (p.too_many_fields)
      refuse(431, weir::error_code::too_large, "too many header fields");
    else
      refuse(400, weir::error_code::invalid_input, "malformed request: " + ec.message());
    return true;
  }
  http10 = p.version < 11;
  head = p.verb == parsing::verb::head;
  bump(home.all->count.requests);
  const auto bad = [&](int status, weir::error_code code, std::string why) {
    refuse(status, code, std::move(why));
    return true;
  };
  switch (p.verb) {
  case parsing::verb::get:
  case parsing::verb::head:
  case parsing::verb::post:
  case parsing::verb::put:
  case parsing::verb::patch:
  case parsing::verb::delete_:
  case parsing::verb::options: break;
  default: return bad(501, weir::error_code::unsupported, "unknown method");
  }
  if (p.hosts > 1 || (p.hosts == 0 && !http10))
    return bad(400, weir::error_code::invalid_input, "exactly one Host is needed");
  if (p.codings > 0 && (http10 || p.codings > 1))
    return bad(400, weir::error_code::invalid_input, "Transfer-Encoding is ambiguous");
  if (p.codings > 0 && !p.only_chunked)
    return bad(501, weir::error_code::unsupported, "only chunked is understood as Transfer-Encoding");
  const auto target = split(p.target);
  if (!target)
    return bad(400, target.error().code, target.error().text);
  const bool keep_alive = p.keep_alive() && !home.draining;

  if (p.is_done() && (head || p.verb == parsing::verb::get) && !home.all->fasts.empty()) {
    std::string_view path = target->path;
    if (!is_normal_path(path)) {
      auto normal = normalise_path(path);
      if (!normal)
        return bad(400, normal.error().code, normal.error().text);
      home.decoded = std::move(*normal);
      path = home.decoded;
    }
    if (take_fast(used, keep_alive, path, target->query))
      return true;
  }
  // A slow request starts with nothing owed: should earlier answers not leave now, its header is read again when they have.
  flush();
  if (now_in != phase::header || waiting_write)
    return false;
  close_after = close_after || !keep_alive;
  begin_request(used);
  return true;
}

bool session::take_fast(std::size_t used, bool keep_alive, std::string_view path, std::string_view query) {
  for (auto& one : home.all->fasts) {
    if (!path.starts_with(one.prefix))
      continue;
    auto& a = home.fast;
    a.reset();
    const fast_request r{path, query, head, chunked->fields(), peer};
    try {
      if (!one.run(r, a))
        continue;
    } catch (const std::exception& e) {
      log::error("http", "fast-path-threw", "path={} error={}", path, e.what());
      a.reset();
      a.status = 500;
    }
    in_begin += used;
    deadline = 0;
    cors = one.options.cors;
    close_after = close_after || !keep_alive;
    append_head(a.status, a.size(), true);
    auto& out = home.out;
    const auto line = [&](std::string_view name, std::string_view value) {
      if (!value.empty())
        out.append(name).append(value).append("\r\n");
    };
    line("Content-Type: ", a.content_type);
    line("Cache-Control: ", a.cache_control);
    out.append(a.extra).append("\r\n");
    if (!head) {
      if (a.owner && a.pieces().size() == 1 && a.size() > gather_size) {
        pending.view = a.pieces().front();
        pending.owner = std::move(a.owner);
      } else {
        for (const auto piece : a.pieces())
          out.append(piece);
      }
    }
    tell(a.route.empty() ? std::string_view(one.prefix) : a.route, a.status);
    if (out.size() > flush_size || !pending.empty())
      flush();
    return true;
  }
  return false;
}

void session::begin_request(std::size_t used) {
  const auto& p = *chunked;
  const auto target = *split(p.target);
  incoming = {};
  incoming.method = p.method;
  incoming.raw_target = p.target;
  incoming.query = query_text(std::string(target.query));
  incoming.peer_address = peer;
  incoming.peer_port = peer_port;
  incoming.id = home.next_id();
  incoming.payload = std::make_shared<const std::string>();
  for (auto& one : p.fields())
    incoming.headers.add(std::string(one.name), std::string(one.value));
  const auto expect = p.find("Expect");
  const auto length = p.content_length();
  const bool is_chunked = p.chunked();
  const bool has_body = is_chunked || (length && *length > 0);
  in_begin += used;
  deadline = 0;
  route = nullptr;
  refusal.reset();
  body.clear();
  body_have = 0;
  body_want = length ? *length : 0;
  const auto problem = [&](int status, weir::error_code code, std::string why) {
    return problem_response({code, std::move(why)}, incoming.id, {}, status);
  };

  std::size_t limit = home.all->options.body_limit;
  if (target.path == "*") {
    if (p.verb != parsing::verb::options)
      return refuse(400, weir::error_code::invalid_input, "* is for OPTIONS");
    cors = false;
    refusal = empty_response(204).with("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
  } else {
    auto path = normalise_path(target.path);
    if (!path)
      return refuse(400, path.error().code, path.error().text);
    incoming.path = std::move(*path);
    auto found = home.all->table.find(incoming.method, incoming.path);
    cors = home.cors_for(incoming.path);
    if (found.index != router::none) {
      route = &home.all->routes[found.index];
      cors = route->options.cors;
      incoming.params = std::move(found.params);
      incoming.route = route->pattern;
      if (route->options.body_limit > 0)
        limit = route->options.body_limit;
      if (route->options.guard) {
        try {
          refusal = route->options.guard(incoming);
        } catch (const std::exception& e) {
          log::error("http", "guard-threw", "route={} request={} error={}", route->pattern, incoming.id, e.what());
          refusal = problem(500, weir::error_code::internal, "the request could not be checked");
        }
      }
    } else if (found.allow.empty()) {
      refusal = problem(404, weir::error_code::not_found, "no such path");
    } else {
      cors = home.all->routes[found.sibling].options.cors;
      if (p.verb == parsing::verb::options) {
        refusal = empty_response(204).with("Allow", found.allow);
        if (cors)
          refusal->with("Access-Control-Allow-Methods", found.allow)
              .with("Access-Control-Allow-Headers", "*")
              .with("Access-Control-Max-Age", "86400");
      } else {
        refusal = problem(405, weir::error_code::unsupported, incoming.method + " is not allowed here").with("Allow", found.allow);
      }
    }
  }

  if (!has_body) {
    chunked.reset();
    return body_read();
  }
  const bool waits = !expect.empty() && !http10;
  if (waits && !same_text(expect, "100-continue")) {
    unread_input = true;
    return refuse(417, weir::error_code::unsupported, "only 100-continue is understood as Expect");
  }
  if (refusal) // what is refused is read for the next request's sake, but not much of it
    limit = std::min(limit, home.all->options.body_limit);
  if (!is_chunked && body_want > limit) {
    unread_input = true;
    if (refusal) {
      close_after = true;
      return answer(std::move(*refusal));
    }
    return refuse(413, weir::error_code::too_large, fmt::format("body of {} bytes, {} are allowed", body_want, limit));
  }
  if (waits && in_begin == in_end) {
    if (refusal) {
      close_after = unread_input = true;
      return answer(std::move(*refusal));
    }
    home.out.append("HTTP/1.1 100 Continue\r\n\r\n");
  }
  now_in = phase::body;
  body_since = home.tick;
  if (is_chunked) {
    chunked->body = &body;
    chunked->body_limit_bytes = limit;
  } else {
    chunked.reset();
    body_have = std::min<std::size_t>(buffered(), body_want);
    body.assign(in.data() + in_begin, body_have);
    in_begin += body_have;
  }
  read_body();
}

void session::read_body() {
  if (chunked) {
    while (in_begin < in_end && !chunked->is_done()) {
      error_code ec;
      in_begin += chunked->put(asio::buffer(in.data() + in_begin, buffered()), ec);
      if (ec == parsing::error::need_more) {
        if (in_begin == 0 && in_end == in.size())
          return refuse(431, weir::error_code::too_large, "chunk extension or trailer is too long");
        break;
      }
      if (ec == parsing::error::body_limit) {
        unread_input = true;
        return refuse(413, weir::error_code::too_large, fmt::format("body of more than the allowed {} bytes", chunked->body_limit_bytes));
      }
      if (ec)
        return refuse(400, weir::error_code::invalid_input, "malformed chunk: " + ec.message());
    }
    body_have = body.size();
    if (chunked->is_done()) {
      chunked.reset();
      return body_read();
    }
  } else if (body_have == body_want) {
    return body_read();
  }
  const auto allowed = static_cast<std::uint64_t>(home.all->options.receive_deadline.count()) + body_have / body_rate;
  deadline = body_since + static_cast<std::uint32_t>(allowed);
}

void session::body_read() {
  deadline = 0;
  now_in = phase::handling;
  if (refusal)
    return answer(std::move(*refusal));
  incoming.payload = std::make_shared<const std::string>(std::move(body));
  body = {};
  dispatch();
}

void session::dispatch() {
  current = std::make_shared<exchange>();
  current->home = &home;
  current->at = this;
  current->route = route;
  current->id = incoming.id;
  current->conditional = incoming.method == "GET" || head;
  if (current->conditional) {
    current->wanted.if_none_match = incoming.header("If-None-Match").value_or("");
    current->wanted.range = incoming.header("Range").value_or("");
    current->wanted.if_range = incoming.header("If-Range").value_or("");
  }
  home.add_deadline(current);
  const auto about = current;
  home.in_handler = this;
  {
    const responder own(std::make_shared<responder::ticket>(home.shared_from_this(), about));
    try {
      route->run(incoming, own);
    } catch (const std::exception& e) {
      log::error("http", "handler-threw", "route={} request={} error={}", route->pattern, about->id, e.what());
      own.fail({weir::error_code::internal, "the request could not be handled"});
    }
  }
  home.in_handler = nullptr;
  if (ready)
    answer(std::move(*ready));
}

/// Answers what is wrong with a request and ends the connection, because its rest cannot be trusted.
void session::refuse(int status, weir::error_code code, std::string text) {
  if (status == 400 || status == 414 || status == 431 || status == 501 || status == 505)
    bump(home.all->count.malformed);
  close_after = unread_input = true;
  chunked.reset();
  const auto id = incoming.id.empty() ? home.next_id() : incoming.id;
  answer(problem_response({code, std::move(text)}, id, {}, status));
}

void session::append_head(int status, std::uint64_t length, bool has_length) {
  auto& out = home.out;
  if (status == 200) {
    out.append("HTTP/1.1 200 OK\r\n");
  } else {
    out.append("HTTP/1.1 ");
    append_number(out, static_cast<std::uint64_t>(status));
    out.append(" ").append(reason(status)).append("\r\n");
  }
  out.append(home.date.data(), home.date_size);
  if (has_length) {
    out.append("Content-Length: ");
    append_number(out, length);
    out.append("\r\n");
  }
  if (close_after)
    out.append("Connection: close\r\n");
  else if (http10)
    out.append("Connection: keep-alive\r\n");
  if (cors)
    out.append(cors_lines);
}

namespace {
/// Appends a handler's headers; false when one would split the answer.
bool append_headers(std::string& out, const header_list& headers, bool cors) {
  for (auto& [name, value] : headers) {
    if (!safe_header(name) || !safe_header(value))
      return false;
    if (!is_reserved(name) && !(cors && (same_text(name, "Access-Control-Allow-Origin") || same_text(name, "Access-Control-Expose-Headers"))))
      out.append(name).append(": ").append(value).append("\r\n");
  }
  return true;
}
} // namespace

void session::answer(response&& with) {
  const std::string id = std::exchange(incoming.id, {});
  if (current && current->conditional)
    apply_conditions(current->wanted, with);
  const auto start = home.out.size();
  const auto write_head = [&](const response& r) {
    append_head(r.status, r.body_size(), r.status != 204 && r.status != 304);
    if (!id.empty())
      home.out.append("X-Request-Id: ").append(id).append("\r\n");
    return append_headers(home.out, r.headers, cors);
  };
  if (home.draining)
    close_after = true;
  if (!write_head(with)) {
    log::error("http", "header-unsafe", "request={} route={}", id, route ? route->pattern : "");
    home.out.resize(start);
    with = problem_response({weir::error_code::internal, "the answer could not be sent"}, id);
    write_head(with);
  }
  home.out.append("\r\n");
  tell(route ? std::string_view(route->pattern) : std::string_view(), with.status);
  if (!head && with.status != 204 && with.status != 304) {
    if (auto* text = std::get_if<std::string>(&with.body)) {
      if (text->size() <= gather_size) {
        home.out.append(*text);
      } else {
        auto owned = std::make_shared<const std::string>(std::move(*text));
        pending.view = *owned;
        pending.owner = std::move(owned);
      }
    } else if (auto* shared = std::get_if<shared_text>(&with.body)) {
      pending.view = std::string_view(*shared->text).substr(shared->offset, shared->length);
      pending.owner = std::move(shared->text);
    } else {
      pending.file = std::move(std::get<file_region>(with.body));
    }
  }
  let_go();
  incoming = {};
  body = {};
  refusal.reset();
  ready.reset();
  now_in = phase::header;
  flush();
}

void session::flush() {
  auto& out = home.out;
  if (out.empty())
    return;
  if (now_in == phase::closed) {
    out.clear();
    return;
  }
  assert(!waiting_write);
  std::array<iovec, 2> parts{iovec{out.data(), out.size()}, iovec{const_cast<char*>(pending.view.data()), pending.view.size()}};
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = pending.view.empty() ? 1 : 2;
  auto n = ::sendmsg(link.native_handle(), &message, MSG_NOSIGNAL | (pending.file.length > 0 ? MSG_MORE : 0));
  if (n < 0 && errno != EAGAIN && errno != EINTR) {
    out.clear();
    return close();
  }
  const auto sent = n < 0 ? 0 : static_cast<std::size_t>(n);
  bump(home.all->count.bytes_sent, sent);
  if (sent < out.size())
    pending.copied.assign(out, sent);
  else
    pending.view.remove_prefix(sent - out.size());
  out.clear();
  if (!pending.empty())
    push();
  else
    pending.owner.reset();
}

/// Sends what is pending as far as the socket takes it.
void session::push() {
  std::size_t budget = 4 << 20; // then others have their turn
  const int fd = link.native_handle();
  while (!pending.empty()) {
    if (budget == 0)
      return wait_writable();
    ssize_t n = 0;
    if (pending.at < pending.copied.size()) {
      n = ::send(fd, pending.copied.data() + pending.at, pending.copied.size() - pending.at, MSG_NOSIGNAL | (pending.file.length > 0 ? MSG_MORE : 0));
      pending.at += n > 0 ? static_cast<std::size_t>(n) : 0;
    } else if (!pending.view.empty()) {
      n = ::send(fd, pending.view.data(), std::min(pending.view.size(), budget), MSG_NOSIGNAL);
      pending.view.remove_prefix(n > 0 ? static_cast<std::size_t>(n) : 0);
    } else {
      auto at = static_cast<off_t>(pending.file.offset);
      n = ::sendfile(fd, pending.file.file->fd(), &at, std::min<std::uint64_t>(pending.file.length, budget));
      if (n == 0) { // the file became shorter: the promised length cannot be kept
        log::warn("http", "file-shortened", "missing={}", pending.file.length);
        return close();
      }
      pending.file.offset += n > 0 ? static_cast<std::uint64_t>(n) : 0;
      pending.file.length -= n > 0 ? static_cast<std::uint64_t>(n) : 0;
    }
    if (n < 0) {
      if (errno == EINTR)
        continue;
      return errno == EAGAIN ? wait_writable() : close();
    }
    bump(home.all->count.bytes_sent, static_cast<std::uint64_t>(n));
    budget -= std::min(budget, static_cast<std::size_t>(n));
  }
  pending.copied.clear();
  pending.at = 0;
  pending.owner.reset();
  pending.file = {};
  if (now_in != phase::body) // there the deadline is the body's
    deadline = 0;
}

void session::wait_writable() {
  deadline = home.tick + static_cast<std::uint32_t>(home.all->options.stall_deadline.count());
  waiting_write = true;
  link.async_wait(tcp::socket::wait_write, [this](error_code ec) {
    waiting_write = false;
    if (now_in == phase::closed) {
      if (!reading)
        home.recycle(*this);
      return;
    }
    if (ec)
      return close();
    push();
    if (waiting_write || now_in == phase::closed)
      return;
    if (stream)
      feed_stream();
    if (!waiting_write && now_in != phase::closed)
      pump();
  });
}

void session::begin_stream(std::shared_ptr<event_stream::core> with) {
  close_after = true; // a stream ends with its connection
  append_head(200, 0, false);
  home.out.append("Content-Type: text/event-stream\r\nCache-Control: no-store\r\nX-Request-Id: ").append(current->id).append("\r\n");
  if (!http10)
    home.out.append("Transfer-Encoding: chunked\r\n");
  if (!append_headers(home.out, with->headers, cors)) {
    log::error("http", "header-unsafe", "request={} route={}", current->id, route->pattern);
    home.out.clear();
    with->finish();
    return close();
  }
  home.out.append("\r\n");
  tell(route->pattern, 200);
  if (current->has_deadline) {
    home.deadlines.erase(current->deadline);
    current->has_deadline = false;
  }
  incoming = {};
  deadline = 0;
  stream = std::move(with);
  stream_taken = 0;
  now_in = phase::streaming;
  if (head) {
    flush();
    return close();
  }
  flush();
  if (now_in == phase::streaming && !waiting_write)
    feed_stream();
  pump();
}

void session::feed_stream() {
  bool ended = false;
  {
    std::lock_guard lock(stream->guard);
    stream->owed -= stream_taken;
    stream_taken = stream->queue.size();
    stream->posted = false;
    if (stream_taken > 0) {
      if (http10)
        pending.copied = std::move(stream->queue);
      else
        pending.copied = fmt::format("{:x}\r\n{}\r\n", stream_taken, stream->queue);
      stream->queue.clear();
    }
    ended = stream->closed;
  }
  if (ended && !http10)
    pending.copied.append("0\r\n\r\n");
  push();
  if (now_in == phase::closed || waiting_write)
    return;
  if (stream_taken > 0) {
    std::lock_guard lock(stream->guard);
    stream->owed -= std::exchange(stream_taken, 0);
  }
  if (ended)
    close();
}

} // namespace

// ---- Handles

void event_stream::core::wake() {
  if (home->stopped)
    return finish();
  asio::post(home->io, [x = about] {
    if (!x->at || !x->at->stream)
      return;
    auto& s = *x->at;
    if (s.waiting_write) {
      std::lock_guard lock(s.stream->guard);
      s.stream->posted = false; // fed when the socket takes more
      return;
    }
    s.feed_stream();
  });
}

void event_stream::core::end() {
  {
    std::lock_guard lock(guard);
    if (closed)
      return;
    closed = true;
  }
  wake();
}

event_stream::event_stream(std::shared_ptr<core> c) : handle_(std::make_shared<handle>(std::move(c))) {}

bool event_stream::write(std::string_view text) const {
  if (!handle_)
    return false;
  auto& s = *handle_->stream;
  bool too_slow = false;
  bool wake = false;
  {
    std::lock_guard lock(s.guard);
    if (s.closed)
      return false;
    too_slow = s.owed + text.size() > s.home->all->options.stream_backlog_limit;
    if (!too_slow) {
      s.queue.append(text);
      s.owed += text.size();
      wake = !std::exchange(s.posted, true);
    }
  }
  if (too_slow) {
    log::warn("http", "stream-reader-slow", "request={}", s.about->id);
    {
      std::lock_guard lock(s.guard);
      s.closed = true;
    }
    asio::post(s.home->io, [x = s.about] {
      if (x->at)
        x->at->close();
    });
    return false;
  }
  if (wake)
    s.wake();
  return true;
}

bool event_stream::send(std::string_view id, std::string_view name, std::string_view data) const {
  std::string text;
  const auto line = [&](std::string_view key, std::string_view value) {
    text.append(key).append(": ");
    for (const char c : value)
      if (c != '\r' && c != '\n' && c != '\0')
        text.push_back(c);
    text.push_back('\n');
  };
  if (!id.empty())
    line("id", id);
  if (!name.empty())
    line("event", name);
  for (;;) {
    const auto end = data.find('\n');
    line("data", data.substr(0, end));
    if (end == std::string_view::npos)
      break;
    data.remove_prefix(end + 1);
  }
  text.push_back('\n');
  return write(text);
}

void event_stream::close() const {
  if (handle_)
    handle_->stream->end();
}

bool event_stream::open() const {
  if (!handle_)
    return false;
  std::lock_guard lock(handle_->stream->guard);
  return !handle_->stream->closed;
}

void event_stream::on_close(std::function<void()> f) const {
  if (!handle_)
    return;
  {
    std::lock_guard lock(handle_->stream->guard);
    if (!handle_->stream->closed) {
      handle_->stream->closing = std::move(f);
      return;
    }
  }
  f();
}

responder::ticket::~ticket() {
  if (about->claimed.exchange(true))
    return;
  bump(home->all->count.unanswered);
  log::error("http", "answer-missing", "route={} request={}", about->route->pattern, about->id);
  home->answer(about, problem_response({weir::error_code::internal, "the request was dropped unanswered"}, about->id));
}

bool responder::operator()(response answer) const {
  if (!ticket_ || ticket_->about->claimed.exchange(true))
    return false;
  ticket_->home->answer(ticket_->about, std::move(answer));
  return true;
}

bool responder::fail(const error& e, const std::vector<problem_item>& errors) const { return (*this)(problem_response(e, request_id(), errors)); }

std::string_view responder::request_id() const { return ticket_ ? std::string_view(ticket_->about->id) : std::string_view(); }

event_stream responder::open_stream(header_list headers) const {
  if (!ticket_ || ticket_->about->claimed.exchange(true))
    return {};
  auto stream = std::make_shared<event_stream::core>();
  stream->home = ticket_->home;
  stream->about = ticket_->about;
  stream->headers = std::move(headers);
  if (stream->home->stopped)
    stream->finish();
  else
    asio::post(stream->home->io, [stream] {
      if (stream->about->at)
        stream->about->at->begin_stream(stream);
      else
        stream->finish();
    });
  return event_stream(std::move(stream));
}

std::string_view fast_request::header(std::string_view name) const {
  for (auto& one : fields)
    if (same_text(one.name, name))
      return one.value;
  return {};
}

void fast_answer::reset() {
  status = 200;
  content_type = cache_control = extra = route = {};
  owner.reset();
  pieces_.clear();
  size_ = 0;
}

// ---- The server

struct server::impl {
  std::shared_ptr<shared_state> all = std::make_shared<shared_state>();
  std::vector<std::shared_ptr<worker>> workers;
  std::vector<std::thread> threads;
  std::uint16_t port = 0;
  std::optional<error> wrong; // the first bad route, told by start()
};

namespace {

expected<tcp::endpoint> parse_listen(const std::string& text) {
  const auto colon = text.rfind(':');
  std::uint16_t port = 0;
  const auto bad = [&] {
    return fail(weir::error_code::invalid_config, fmt::format("listen address {}: ADDRESS:PORT or [IPV6]:PORT is wanted", text));
  };
  if (colon == std::string::npos)
    return bad();
  const auto [end, ec] = std::from_chars(text.data() + colon + 1, text.data() + text.size(), port);
  if (ec != std::errc() || end != text.data() + text.size())
    return bad();
  auto host = text.substr(0, colon);
  if (host == "localhost")
    host = "127.0.0.1";
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed)
    host = host.substr(1, host.size() - 2);
  error_code wrong;
  const auto address = asio::ip::make_address(host, wrong);
  if (wrong || address.is_v6() != bracketed)
    return bad();
  return tcp::endpoint(address, port);
}

/// Binds the address; `shared` with other sockets of this user that say so too.
expected<void> bind_to(tcp_acceptor& acceptor, const tcp::endpoint& at, bool shared) {
  const auto step = [&](error_code ec, const char* what) -> expected<void> {
    if (ec)
      return fail(weir::error_code::io_failed, fmt::format("{} {}:{}: {}", what, at.address().to_string(), at.port(), ec.message()));
    return {};
  };
  error_code ec;
  acceptor.open(at.protocol(), ec);
  WEIR_TRY(step(ec, "socket for"));
  acceptor.set_option(tcp::acceptor::reuse_address(true), ec);
  WEIR_TRY(step(ec, "reuse of"));
  if (at.address().is_v6()) {
    acceptor.set_option(asio::ip::v6_only(false), ec);
    WEIR_TRY(step(ec, "dual stack on"));
  }
  if (shared) {
    acceptor.set_option(asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>(true), ec);
    WEIR_TRY(step(ec, "sharing of"));
  }
  acceptor.bind(at, ec);
  return step(ec, "bind");
}

expected<void> listen(tcp_acceptor& acceptor, const tcp::endpoint& at, bool shared) {
  WEIR_TRY(bind_to(acceptor, at, shared));
  error_code ec;
  acceptor.listen(4096, ec);
  if (ec)
    return fail(weir::error_code::io_failed, fmt::format("listen on {}:{}: {}", at.address().to_string(), at.port(), ec.message()));
  return {};
}

} // namespace

server::server(server_options options) : impl_(std::make_unique<impl>()) {
  options.header_limit = std::min<std::size_t>(options.header_limit, 8000);
  options.threads = std::max(1U, options.threads);
  impl_->all->options = std::move(options);
}

server::~server() { stop(); }

void server::route(std::string_view method, std::string_view pattern, route_options options, handler f) {
  auto& all = *impl_->all;
  if (auto added = all.table.add(method, pattern, all.routes.size()); !added && !impl_->wrong)
    impl_->wrong = added.error();
  if (options.cors && literal_prefix(pattern).size() > 1)
    all.cors_prefixes.emplace_back(literal_prefix(pattern));
  all.routes.push_back({std::string(pattern), std::move(options), std::move(f)});
}

void server::fast_path(std::string_view prefix, fast_options options, fast_handler f) {
  if (options.cors)
    impl_->all->cors_prefixes.emplace_back(prefix);
  impl_->all->fasts.push_back({std::string(prefix), options, std::move(f)});
}

void server::on_answer(observer f) { impl_->all->watch = std::move(f); }

expected<void> server::start() {
  if (impl_->wrong)
    return fail(*impl_->wrong);
  auto at = parse_listen(impl_->all->options.listen);
  if (!at)
    return fail(at.error());
  const auto threads = impl_->all->options.threads;
  if (threads > 1 && at->port() != 0) {
    // SO_REUSEPORT would let a second server of the same user share the port in silence; without it the kernel tells. The probe does not listen: a program that is
    // just being started elsewhere in this process has a copy of it for some milliseconds, and a listening one would keep the port from us as long.
    asio::io_context io;
    tcp_acceptor probe(io);
    WEIR_TRY(bind_to(probe, *at, false));
  }
  std::vector<std::shared_ptr<worker>> workers;
  for (unsigned i = 0; i < threads; ++i) {
    workers.push_back(std::make_shared<worker>(impl_->all));
    WEIR_TRY(listen(workers.back()->acceptor, *at, threads > 1));
    error_code ec;
    at->port(workers.back()->acceptor.local_endpoint(ec).port());
    if (ec)
      return fail(weir::error_code::io_failed, "address of the listening socket: " + ec.message());
  }
  impl_->workers = std::move(workers);
  impl_->port = at->port();
  for (auto& one : impl_->workers)
    impl_->threads.emplace_back([w = one] { w->run(); });
  log::info("http", "listening", "server={} address={}:{} threads={}", impl_->all->options.name, at->address().to_string(), impl_->port, threads);
  return {};
}

std::uint16_t server::port() const { return impl_->port; }

void server::stop(std::chrono::milliseconds deadline) {
  for (auto& one : impl_->workers)
    asio::post(one->io, [w = one.get(), deadline] { w->drain(deadline); });
  for (auto& one : impl_->threads)
    one.join();
  impl_->threads.clear();
  impl_->workers.clear();
}

server_counters server::counters() const {
  const auto& c = impl_->all->count;
  const auto get = [](const std::atomic<std::uint64_t>& n) { return n.load(std::memory_order_relaxed); };
  return {get(c.accepted), get(c.refused), get(c.active), get(c.requests), get(c.malformed), get(c.timed_out), get(c.unanswered), get(c.bytes_sent)};
}

} // namespace weir::http
