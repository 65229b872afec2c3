// Stands before libc's functions by which libcaf_io 0.17.6 takes connections. It waits for ever for those that say nothing, and at the limit of open files its
// only network thread spins, as it does while the other end of a TLS handshake hangs. In every other thread these are libc's.
#include "runtime/cluster/handshakes.hpp"
#include "runtime/cluster/replacements/next.hpp"
#include "runtime/cluster/strangers.hpp"

#include <cerrno>
#include <sys/epoll.h>
#include <sys/socket.h>

using weir::cluster::handshakes;
using weir::cluster::next;
using weir::cluster::strangers;

namespace {

constexpr int most_at_once = 64; ///< before who has come long since is heard again

/// Takes in who has come; true when nobody was left to come.
bool take_in(strangers& here, int listener) {
  int socket = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (socket >= 0)
    here.came(socket, weir::steady_clock::now());
  else if (errno == EMFILE || errno == ENFILE)
    here.cut_oldest();
  return socket < 0;
}

} // namespace

extern "C" {

int accept(int listener, sockaddr* from, socklen_t* size) {
  static const auto real = next<int (*)(int, sockaddr*, socklen_t*)>("accept");
  auto* here = strangers::here();
  if (!here)
    return real(listener, from, size);
  if (here->held_back()) {
    for (int n = 0; n < most_at_once && !take_in(*here, listener); ++n) {
    }
    int socket = here->next_that_speaks();
    errno = EAGAIN; // what CAF reads of it when there is none
    return socket;
  }
  int socket = real(listener, from, size);
  auto wrong = errno;
  if (socket >= 0)
    here->came(socket, weir::steady_clock::now());
  else if (wrong == EMFILE || wrong == ENFILE)
    here->cut_oldest();
  errno = wrong;
  return socket;
}

ssize_t recv(int socket, void* to, size_t bytes, int flags) {
  static const auto real = next<ssize_t (*)(int, void*, size_t, int)>("recv");
  if (auto* here = strangers::here())
    here->heard(socket);
  return real(socket, to, bytes, flags);
}

int epoll_ctl(int epoll, int operation, int descriptor, epoll_event* what) {
  static const auto real = next<int (*)(int, int, int, epoll_event*)>("epoll_ctl");
  epoll_event instead{};
  auto* waiting = handshakes::here();
  if (waiting)
    instead = waiting->asked(epoll, operation, descriptor, what);
  int done = real(epoll, operation, descriptor, waiting ? &instead : what);
  if (auto* here = strangers::here(); here && done == 0)
    here->polled(epoll, operation, descriptor, what);
  return done;
}

int epoll_wait(int epoll, epoll_event* events, int most, int timeout) {
  static const auto real = next<int (*)(int, epoll_event*, int, int)>("epoll_wait");
  auto* here = strangers::here();
  if (!here || timeout >= 0) // CAF waits not at all or for ever
    return real(epoll, events, most, timeout);
  for (;;) {
    auto patient = here->patient_for(weir::steady_clock::now());
    int found = real(epoll, events, most, patient ? static_cast<int>(patient->count()) : -1);
    auto wrong = errno;
    here->cut_overdue(weir::steady_clock::now());
    errno = wrong;
    if (found != 0)
      return found;
  }
}
}
