#include "runtime/cluster/handshakes.hpp"

#include "runtime/cluster/replacements/next.hpp"

#include <memory>
#include <sys/socket.h>

namespace weir::cluster {

namespace {

thread_local std::unique_ptr<handshakes> of_this_thread;

} // namespace

handshakes* handshakes::here() { return of_this_thread.get(); }

void handshakes::watch_here() {
  if (!of_this_thread)
    of_this_thread = std::make_unique<handshakes>();
}

epoll_event handshakes::interest::granted() const {
  auto event = wanted;
  if (waits)
    event.events &= ~static_cast<std::uint32_t>(EPOLLOUT);
  return event;
}

void handshakes::tell_poller(int socket, const interest& now) {
  static const auto real = next<int (*)(int, int, int, epoll_event*)>("epoll_ctl"); // ours would come back here
  auto event = now.granted();
  real(now.epoll, EPOLL_CTL_MOD, socket, &event); // fails for a socket that is closed, of which nothing is wanted any more
}

epoll_event handshakes::asked(int epoll, int operation, int socket, const epoll_event* what) {
  if (operation == EPOLL_CTL_DEL) {
    all_.erase(socket);
    return {};
  }
  auto& now = all_[socket];
  if (operation == EPOLL_CTL_ADD) // a new socket: whoever had this number is closed
    now.waits = false;
  now.epoll = epoll;
  now.wanted = *what;
  if (now.given_up())
    ::shutdown(socket, SHUT_RDWR);
  return now.granted();
}

void handshakes::waits(int socket) {
  auto found = all_.find(socket);
  if (found == all_.end() || found->second.waits)
    return;
  found->second.waits = true;
  if (found->second.given_up())
    ::shutdown(socket, SHUT_RDWR);
  tell_poller(socket, found->second);
}

void handshakes::goes_on(int socket) {
  auto found = all_.find(socket);
  if (found == all_.end() || !found->second.waits)
    return;
  found->second.waits = false;
  tell_poller(socket, found->second);
}

} // namespace weir::cluster
