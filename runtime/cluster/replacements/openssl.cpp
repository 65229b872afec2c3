// Stands before OpenSSL's I/O functions. libcaf_openssl 0.17.6 never clears OpenSSL's error queue, which belongs to the thread: one failed handshake of a
// stranger would make the next operation on a healthy connection fail. Every caller of these functions wants an empty queue first. Who comes through an
// accepted handshake has a certificate of the cluster; a handshake that waits is not tried again before the other end has spoken.
#include "runtime/cluster/handshakes.hpp"
#include "runtime/cluster/replacements/next.hpp"
#include "runtime/cluster/strangers.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>

using weir::cluster::handshakes;
using weir::cluster::next;

namespace {

int shake_hands(SSL* ssl, int (*real)(SSL*)) {
  ERR_clear_error();
  int done = real(ssl);
  if (auto* here = handshakes::here()) {
    if (done != 1 && SSL_get_error(ssl, done) == SSL_ERROR_WANT_READ)
      here->waits(SSL_get_fd(ssl));
    else
      here->goes_on(SSL_get_fd(ssl));
  }
  return done;
}

} // namespace

extern "C" {

int SSL_read(SSL* ssl, void* to, int bytes) {
  static const auto real = next<int (*)(SSL*, void*, int)>("SSL_read");
  ERR_clear_error();
  return real(ssl, to, bytes);
}

int SSL_write(SSL* ssl, const void* from, int bytes) {
  static const auto real = next<int (*)(SSL*, const void*, int)>("SSL_write");
  ERR_clear_error();
  return real(ssl, from, bytes);
}

int SSL_accept(SSL* ssl) {
  static const auto real = next<int (*)(SSL*)>("SSL_accept");
  int done = shake_hands(ssl, real);
  if (auto* here = weir::cluster::strangers::here(); here && done == 1)
    here->settled(SSL_get_fd(ssl));
  return done;
}

int SSL_connect(SSL* ssl) {
  static const auto real = next<int (*)(SSL*)>("SSL_connect");
  return shake_hands(ssl, real);
}
}
