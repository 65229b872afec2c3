#include "runtime/http/client.hpp"

#include "runtime/base/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <curl/curl.h>
#include <fmt/format.h>
#include <future>
#include <map>
#include <mutex>
#include <thread>
#include <unistd.h>
#include <vector>

namespace weir::http {
namespace {

struct easy_deleter {
  void operator()(CURL* e) const { curl_easy_cleanup(e); }
};
struct slist_deleter {
  void operator()(curl_slist* l) const { curl_slist_free_all(l); }
};

/// libcurl wants this once before any thread uses it.
void initialise_curl() {
  static const CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
  assert(code == CURLE_OK);
  static_cast<void>(code);
}

struct transfer {
  client::request_id id = 0;
  client_request asked;
  client::callback done;
  client_response answer;
  std::unique_ptr<CURL, easy_deleter> easy;
  std::unique_ptr<curl_slist, slist_deleter> lines;
  std::array<char, CURL_ERROR_SIZE> why{};
  std::uint64_t sent = 0; // of the body
  bool too_large = false;
  bool refused_piece = false;
  bool unreadable = false; // a body from a descriptor
};

std::uint64_t body_size(const client_request& r) {
  if (auto* text = std::get_if<std::string>(&r.body))
    return text->size();
  if (auto* shared = std::get_if<std::shared_ptr<const std::string>>(&r.body))
    return *shared ? (*shared)->size() : 0;
  return std::get<fd_body>(r.body).length;
}

std::size_t take_header(char* data, std::size_t size, std::size_t count, void* to) {
  auto& t = *static_cast<transfer*>(to);
  const std::string_view line(data, size * count);
  if (line.starts_with("HTTP/")) {
    t.answer.headers = {}; // an earlier answer was 100 Continue
    return line.size();
  }
  const auto colon = line.find(':');
  if (colon != std::string_view::npos && t.answer.headers.size() < 200) {
    auto value = line.substr(colon + 1);
    while (!value.empty() && (value.back() == '\r' || value.back() == '\n'))
      value.remove_suffix(1);
    t.answer.headers.add(std::string(line.substr(0, colon)), std::string(trim(value)));
  }
  return line.size();
}

std::size_t take_body(char* data, std::size_t size, std::size_t count, void* to) {
  auto& t = *static_cast<transfer*>(to);
  const std::string_view piece(data, size * count);
  if (t.asked.on_piece) {
    t.refused_piece = !t.asked.on_piece(piece);
    return t.refused_piece ? 0 : piece.size();
  }
  if (t.answer.body.size() + piece.size() > t.asked.response_limit) {
    t.too_large = true;
    return 0;
  }
  t.answer.body.append(piece);
  return piece.size();
}

std::size_t give_body(char* to, std::size_t size, std::size_t count, void* from) {
  auto& t = *static_cast<transfer*>(from);
  const auto want = std::min<std::uint64_t>(size * count, body_size(t.asked) - t.sent);
  if (want == 0)
    return 0;
  if (auto* file = std::get_if<fd_body>(&t.asked.body)) {
    const auto n = ::pread(file->fd, to, want, static_cast<off_t>(t.sent));
    if (n <= 0) { // shorter than promised: the receiver must not take it for whole
      t.unreadable = true;
      return CURL_READFUNC_ABORT;
    }
    t.sent += static_cast<std::uint64_t>(n);
    return static_cast<std::size_t>(n);
  }
  const auto* text = std::get_if<std::string>(&t.asked.body);
  std::memcpy(to, (text ? *text : *std::get<std::shared_ptr<const std::string>>(t.asked.body)).data() + t.sent, want);
  t.sent += want;
  return want;
}

/// A reused connection that died is tried again on a new one: the body is then read from its start.
int seek_body(void* in, curl_off_t offset, int origin) {
  auto& t = *static_cast<transfer*>(in);
  if (origin != SEEK_SET || offset < 0 || static_cast<std::uint64_t>(offset) > body_size(t.asked))
    return CURL_SEEKFUNC_FAIL;
  t.sent = static_cast<std::uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

/// Whether a new connection ended between its TLS handshake and the first byte of an answer. With TLS 1.3 that is how a server says that it does not take our
/// certificate, or wants one: the alert that would tell is lost when it comes while we write.
bool ended_behind_the_handshake(const transfer& t) {
  curl_off_t handshake = 0;
  long connections = 0, answered = 0;
  curl_easy_getinfo(t.easy.get(), CURLINFO_APPCONNECT_TIME_T, &handshake);
  curl_easy_getinfo(t.easy.get(), CURLINFO_NUM_CONNECTS, &connections);
  curl_easy_getinfo(t.easy.get(), CURLINFO_HEADER_SIZE, &answered);
  return handshake > 0 && connections > 0 && answered == 0;
}

error explain(const transfer& t, CURLcode code) {
  const auto what = [&](std::string_view why) { return fmt::format("{} {}: {}", t.asked.method, masked_url(t.asked.url), why); };
  if (t.too_large)
    return {error_code::too_large, what(fmt::format("the answer is longer than {} bytes", t.asked.response_limit))};
  if (t.refused_piece)
    return {error_code::source_ended, what("ended by the receiver")};
  if (t.unreadable)
    return {error_code::io_failed, what("the body's file is shorter than promised")};
  const std::string_view why = t.why[0] != '\0' ? std::string_view(t.why.data()) : std::string_view(curl_easy_strerror(code));
  if (code != CURLE_OPERATION_TIMEDOUT && ended_behind_the_handshake(t))
    return {error_code::unavailable, what(fmt::format("{} ({})", refused_by_certificate, why))};
  switch (code) {
  case CURLE_OPERATION_TIMEDOUT: return {error_code::timeout, what(why)};
  case CURLE_URL_MALFORMAT:
  case CURLE_UNSUPPORTED_PROTOCOL: return {error_code::invalid_input, what(why)};
  case CURLE_COULDNT_RESOLVE_HOST:
  case CURLE_COULDNT_CONNECT:
  case CURLE_GOT_NOTHING:
  case CURLE_SEND_ERROR:
  case CURLE_RECV_ERROR: return {error_code::unavailable, what(why)};
  default: return {error_code::io_failed, what(why)};
  }
}

} // namespace

std::string masked_url(std::string_view url) {
  std::string out;
  const auto scheme = url.find("://");
  if (scheme != std::string_view::npos) {
    out.append(url.substr(0, scheme + 3));
    url.remove_prefix(scheme + 3);
    const auto end = std::min(url.find_first_of("/?#"), url.size());
    if (const auto at = url.substr(0, end).rfind('@'); at != std::string_view::npos) {
      out.append("***@");
      url.remove_prefix(at + 1);
    }
  }
  const auto mark = std::min(url.find('?'), url.size());
  out.append(url.substr(0, mark));
  bool in_value = false;
  for (const char c : url.substr(mark)) {
    if (c == '&' || c == '#')
      in_value = false;
    if (!in_value)
      out.push_back(c);
    if (c == '=' && !in_value) {
      in_value = true;
      out.append("***");
    }
  }
  return out;
}

struct client::impl {
  explicit impl(client_options o) : options(std::move(o)) {
    initialise_curl();
    multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAX_HOST_CONNECTIONS, static_cast<long>(options.connections_per_host));
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(options.connections));
    thread = std::thread([this] { run(); });
  }
  ~impl() {
    stopping = true;
    curl_multi_wakeup(multi);
    thread.join();
    curl_multi_cleanup(multi);
  }

  void run() {
    while (!stopping) {
      take_orders();
      int running = 0;
      if (const auto code = curl_multi_perform(multi, &running); code != CURLM_OK)
        log::error("http", "client-failed", "error={}", curl_multi_strerror(code));
      collect();
      if (stopping)
        break;
      // Wakes for sockets, its own timers and curl_multi_wakeup.
      if (const auto code = curl_multi_poll(multi, nullptr, 0, 1000, nullptr); code != CURLM_OK)
        log::error("http", "client-poll-failed", "error={}", curl_multi_strerror(code));
    }
    take_orders();
    while (!under_way.empty())
      finish(under_way.begin()->second->easy.get(), fail(error_code::source_ended, "the client stops"));
  }

  void take_orders() {
    std::vector<std::unique_ptr<transfer>> fresh;
    std::vector<request_id> ended;
    {
      std::lock_guard lock(guard);
      fresh.swap(waiting);
      ended.swap(cancelled);
    }
    for (auto& one : fresh)
      begin(std::move(one));
    for (const auto id : ended)
      for (auto& [easy, t] : under_way)
        if (t->id == id) {
          finish(easy, fail(error_code::source_ended, fmt::format("{} {}: cancelled", t->asked.method, masked_url(t->asked.url))));
          break;
        }
  }

  void begin(std::unique_ptr<transfer> t) {
    t->easy.reset(curl_easy_init());
    auto* e = t->easy.get();
    const auto& r = t->asked;
    CURLcode bad = CURLE_OK;
    const auto set = [&](CURLoption option, auto value) {
      if (const auto code = curl_easy_setopt(e, option, value); code != CURLE_OK)
        bad = code;
    };
    set(CURLOPT_URL, r.url.c_str());
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_NOPROXY, "*"); // cluster traffic: an http_proxy of the environment is not meant for it
    set(CURLOPT_USERAGENT, options.user_agent.c_str());
    set(CURLOPT_ERRORBUFFER, t->why.data());
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(r.connect_deadline.count()));
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(r.deadline.count()));
    set(CURLOPT_SSL_VERIFYPEER, r.verify ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, r.verify ? 2L : 0L);
    if (!r.authorities.empty())
      set(CURLOPT_CAINFO, r.authorities.c_str());
    if (curl_blob text{const_cast<char*>(r.authorities_text.data()), r.authorities_text.size(), CURL_BLOB_COPY}; text.len != 0)
      set(CURLOPT_CAINFO_BLOB, &text);
    if (!r.certificate.empty()) {
      set(CURLOPT_SSLCERT, r.certificate.c_str());
      set(CURLOPT_SSLKEY, r.key.c_str());
    }
    if (!r.unix_socket.empty())
      set(CURLOPT_UNIX_SOCKET_PATH, r.unix_socket.c_str());
    set(CURLOPT_HEADERFUNCTION, &take_header);
    set(CURLOPT_HEADERDATA, t.get());
    set(CURLOPT_WRITEFUNCTION, &take_body);
    set(CURLOPT_WRITEDATA, t.get());
    const auto size = body_size(r);
    if (r.method == "HEAD") {
      set(CURLOPT_NOBODY, 1L);
    } else if (size > 0 || r.method == "PUT" || r.method == "POST" || r.method == "PATCH") {
      set(CURLOPT_UPLOAD, 1L);
      set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(size));
      set(CURLOPT_READFUNCTION, &give_body);
      set(CURLOPT_READDATA, t.get());
      set(CURLOPT_SEEKFUNCTION, &seek_body);
      set(CURLOPT_SEEKDATA, t.get());
      set(CURLOPT_UPLOAD_BUFFERSIZE, 256L * 1024);
    }
    set(CURLOPT_CUSTOMREQUEST, r.method == "HEAD" ? nullptr : r.method.c_str());
    const auto line = [&](const std::string& text) {
      if (auto* longer = curl_slist_append(t->lines.get(), text.c_str())) {
        static_cast<void>(t->lines.release());
        t->lines.reset(longer);
      }
    };
    if (r.sign) { // user and password as two: an access key may hold a colon
      set(CURLOPT_AWS_SIGV4, ("aws:amz:" + r.sign->region + ":s3").c_str());
      set(CURLOPT_USERNAME, r.sign->key.access.c_str());
      set(CURLOPT_PASSWORD, r.sign->key.secret.c_str());
    } else { // curl's default of waiting a second for 100 Continue costs more than it saves; a line that takes it away would be signed, but not sent
      line("Expect:");
    }
    bool unsafe = false;
    for (auto& [name, value] : r.headers) {
      unsafe = unsafe || (name + value).find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos;
      line(value.empty() ? name + ";" : name + ": " + value);
    }
    set(CURLOPT_HTTPHEADER, t->lines.get());
    const auto started = bad == CURLE_OK && !unsafe ? curl_multi_add_handle(multi, e) : CURLM_BAD_EASY_HANDLE;
    auto& kept = *(under_way[e] = std::move(t));
    if (started != CURLM_OK)
      finish(e, fail(error_code::invalid_input, fmt::format("{} {}: {}", kept.asked.method, masked_url(kept.asked.url),
                                                            unsafe ? "line break in a header" : curl_easy_strerror(bad))));
  }

  void collect() {
    int left = 0;
    while (auto* m = curl_multi_info_read(multi, &left)) {
      if (m->msg != CURLMSG_DONE)
        continue;
      auto* e = m->easy_handle;
      const auto code = m->data.result;
      auto& t = *under_way.at(e);
      if (code != CURLE_OK) {
        finish(e, fail(explain(t, code)));
        continue;
      }
      long status = 0;
      curl_easy_getinfo(e, CURLINFO_RESPONSE_CODE, &status);
      t.answer.status = static_cast<int>(status);
      finish(e, std::move(t.answer));
    }
  }

  void finish(CURL* e, expected<client_response> result) {
    const auto at = under_way.find(e);
    auto t = std::move(at->second);
    under_way.erase(at);
    curl_multi_remove_handle(multi, e);
    try {
      t->done(std::move(result));
    } catch (const std::exception& wrong) {
      log::error("http", "client-callback-threw", "url={} error={}", masked_url(t->asked.url), wrong.what());
    }
  }

  client_options options;
  CURLM* multi = nullptr;
  std::atomic<bool> stopping{false};
  std::atomic<request_id> last_id{0};
  std::mutex guard;
  std::vector<std::unique_ptr<transfer>> waiting;
  std::vector<request_id> cancelled;
  std::map<CURL*, std::unique_ptr<transfer>> under_way; // the client's thread only
  std::thread thread;
};

client::client(client_options options) : impl_(std::make_unique<impl>(std::move(options))) {}
client::~client() = default;

client::request_id client::send(client_request r, callback done) {
  auto t = std::make_unique<transfer>();
  const auto id = ++impl_->last_id;
  t->id = id;
  t->asked = std::move(r);
  t->done = std::move(done);
  if (impl_->stopping) { // a callback that asks again while the client ends
    t->done(fail(error_code::source_ended, "the client stops"));
    return id;
  }
  {
    std::lock_guard lock(impl_->guard);
    impl_->waiting.push_back(std::move(t));
  }
  curl_multi_wakeup(impl_->multi);
  return id;
}

void client::cancel(request_id id) {
  {
    std::lock_guard lock(impl_->guard);
    impl_->cancelled.push_back(id);
  }
  curl_multi_wakeup(impl_->multi);
}

expected<client_response> client::call(client_request r) {
  assert(std::this_thread::get_id() != impl_->thread.get_id());
  std::promise<expected<client_response>> answer;
  auto future = answer.get_future();
  send(std::move(r), [&](expected<client_response> got) { answer.set_value(std::move(got)); });
  return future.get();
}

} // namespace weir::http
