#pragma once
// TLS handshakes that wait for the other end's word. CAF 0.17.6 has things to write by then (its heartbeat, an acceptor's greeting), so it has its poller tell when
// the socket can be written to; it always can, and CAF tries the handshake again without a pause: most of a core for as long as a peer hangs
// (actor-framework#1060). Here that interest is withheld from the poller until the other end has spoken. When CAF ends it wants to write what is left and reads no
// more; with a handshake that waits that would never come to an end.
#include <sys/epoll.h>

#include <unordered_map>

namespace weir::cluster {

/// Those of the thread that does CAF's network I/O, and what CAF has asked its poller for.
class handshakes {
public:
  /// Those of this thread; null where nobody has called watch_here().
  static handshakes* here();
  /// This thread's handshakes are watched from now on. Once more changes nothing.
  static void watch_here();

  /// CAF asks the poller for something: what to ask it for instead. `what` is null for EPOLL_CTL_DEL only. A handshake that waits and is no longer read from is
  /// cut off: CAF is told that the connection has ended.
  epoll_event asked(int epoll, int operation, int socket, const epoll_event* what);
  /// The handshake on this socket goes on when the other end has spoken.
  void waits(int socket);
  /// The handshake has something to write, is done or has failed.
  void goes_on(int socket);

private:
  struct interest {
    int epoll = -1;
    epoll_event wanted{}; ///< by CAF
    bool waits = false;
    bool given_up() const { return waits && !(wanted.events & EPOLLIN); }
    epoll_event granted() const;
  };
  static void tell_poller(int socket, const interest& now);
  std::unordered_map<int, interest> all_; ///< by socket
};

} // namespace weir::cluster
