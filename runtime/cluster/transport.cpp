#include "runtime/cluster/transport.hpp"

#include "runtime/base/log.hpp"
#include "runtime/cluster/handshakes.hpp"
#include "runtime/cluster/strangers.hpp"
#include "schemas/config.hpp"

#include <caf/all.hpp>
#include <caf/io/all.hpp>
#include <caf/openssl/all.hpp>
#include <fmt/format.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <future>
#include <memory>

namespace weir::cluster {

using namespace std::chrono_literals;

namespace {

constexpr auto line_beat = 1s;
constexpr auto line_silence = 4s;

/// Whether a symbol resolves into this executable, so that our replacement is the one in force.
bool is_ours(const char* symbol) {
  Dl_info me{}, found{};
  auto* address = dlsym(RTLD_DEFAULT, symbol);
  return address && dladdr(reinterpret_cast<void*>(&check_replacements), &me) != 0 && dladdr(address, &found) != 0 && me.dli_fbase == found.dli_fbase;
}

} // namespace

expected<void> check_replacements() {
  std::string missing;
  for (auto* symbol : {"_ZN3caf2io4basp5validERKNS1_6headerE", "_ZN3caf6detail14get_process_idEv", "SSL_read", "SSL_write", "SSL_accept", "SSL_connect", "accept", "recv",
                       "epoll_ctl", "epoll_wait"})
    if (!is_ours(symbol))
      missing += (missing.empty() ? "" : ", ") + std::string(symbol);
  if (!missing.empty())
    return fail(error_code::internal, "this program lacks its replacements of " + missing + ": with CAF's own, a stranger's bytes would end the node (docs/6-decisions.md)");
  return {};
}

void prepare(caf::actor_system_config& config, const identity& who) {
  config.load<caf::io::middleman>();
  config.set("middleman.heartbeat-interval", caf::timespan{line_beat});
  config.set("middleman.connection-timeout", caf::timespan{line_silence});
  config.set("middleman.enable-automatic-connections", false);
  config.set("middleman.app-identifiers", std::vector<std::string>{"weir/1"}); // stays: what may differ between versions is told apart by the DOOR, in words
  if (!who.tls())
    return;
  config.load<caf::openssl::manager>();
  config.openssl_cafile = who.ca;
  config.openssl_certificate = who.certificate;
  config.openssl_key = who.key;
}

expected<std::uint16_t> publish(caf::actor_system& system, const caf::actor& who, const std::string& listen, bool tls) {
  auto at = parse_host_port(listen);
  WEIR_TRY(at);
  // Before CAF listens: its actors run in the thread that does what is posted, and may read what they are sent before that is done.
  std::promise<void> counted;
  system.middleman().backend().post([&] {
    handshakes::watch_here();
    strangers::count_here(tls ? first_word::theirs : first_word::ours);
    counted.set_value();
  });
  counted.get_future().wait();
  auto* host = at->host.empty() ? nullptr : at->host.c_str();
  auto port = tls ? caf::openssl::publish(who, at->port, host, true) : system.middleman().publish(who, at->port, host, true);
  if (!port)
    return fail(error_code::unavailable, fmt::format("cluster.listen: {} cannot be listened on: {}", listen, caf::to_string(port.error())));
  return *port;
}

expected<void> probe(const std::string& address, std::chrono::milliseconds patience) {
  auto to = parse_host_port(address);
  WEIR_TRY(to);
  addrinfo wanted{}, *list = nullptr;
  wanted.ai_socktype = SOCK_STREAM;
  if (int wrong = ::getaddrinfo(to->host.c_str(), std::to_string(to->port).c_str(), &wanted, &list); wrong != 0)
    return fail(error_code::unavailable, fmt::format("{}: {}", address, ::gai_strerror(wrong)));
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(list, &::freeaddrinfo);
  std::string why = "no address";
  auto until = std::chrono::steady_clock::now() + patience;
  for (auto* one = list; one; one = one->ai_next) {
    int socket = ::socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket < 0)
      continue;
    int wrong = ::connect(socket, one->ai_addr, one->ai_addrlen) == 0 ? 0 : errno;
    if (wrong == EINPROGRESS) {
      pollfd wait{socket, POLLOUT, 0};
      auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
      socklen_t size = sizeof wrong;
      if (::poll(&wait, 1, static_cast<int>(std::max(left, 1ms).count())) != 1)
        wrong = ETIMEDOUT;
      else if (::getsockopt(socket, SOL_SOCKET, SO_ERROR, &wrong, &size) != 0)
        wrong = errno;
    }
    ::close(socket);
    if (wrong == 0)
      return {};
    why = std::strerror(wrong);
  }
  return fail(error_code::unavailable, fmt::format("{}: {}", address, why));
}

void settle(caf::actor_system& system) {
  if (!system.has_middleman())
    return;
  caf::scoped_actor self{system, true};
  auto broker = system.middleman().named_broker<caf::io::basp_broker>(caf::atom("BASP"));
  self->request(broker, 2s, caf::get_atom::value, system.node())
    .receive([](const caf::node_id&, const std::string&, std::uint16_t) {}, [](const caf::error& why) { log::warn("weir", "broker-hangs", "error={}", caf::to_string(why)); });
}

caf::actor dialler(caf::actor_system& system, bool tls) {
  system.middleman().backend().post([] { handshakes::watch_here(); }); // comes before whatever this actor is asked for
  return caf::actor_cast<caf::actor>(tls ? system.openssl_manager().actor_handle() : system.middleman().actor_handle());
}

} // namespace weir::cluster

#if defined(__SANITIZE_ADDRESS__)
/// CAF 0.17.6's broker and what it was sent keep each other when a connection ends while the program does: some kB, at the end of the process only. Of a TLS
/// connection OpenSSL's session is among them, with nothing but OpenSSL's own frames in its stack, and often libcrypto's alone, which has no frame pointers.
/// What the tests of certificates take from libcrypto is still checked: they do not link this file.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() { return "leak:caf::io::basp_broker\nleak:libssl.so\nleak:libcrypto.so\nleak:libcaf_openssl.so\nleak:caf::io::network::default_multiplexer::new_scribe\n"; }
#endif
