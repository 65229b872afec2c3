#include "runtime/cluster/strangers.hpp"

#include "runtime/base/log.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <memory>
#include <netdb.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace weir::cluster {

namespace {

thread_local std::unique_ptr<strangers> of_this_thread;

ino_t inode_of(int socket) {
  struct stat found {};
  return ::fstat(socket, &found) == 0 ? found.st_ino : 0;
}

bool listens(int descriptor) {
  int yes = 0;
  socklen_t size = sizeof yes;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &yes, &size) == 0 && yes != 0;
}

std::string address_of(int socket) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  std::array<char, NI_MAXHOST> host{};
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &size) != 0 ||
      ::getnameinfo(reinterpret_cast<sockaddr*>(&peer), size, host.data(), host.size(), nullptr, 0, NI_NUMERICHOST) != 0)
    return "unknown"; // it has gone by itself
  return host.data();
}

} // namespace

strangers* strangers::here() { return of_this_thread.get(); }

void strangers::count_here(first_word speaks) {
  if (!of_this_thread)
    of_this_thread = std::make_unique<strangers>(speaks);
}

strangers::~strangers() {
  for (auto& one : waiting_)
    if (one.ours)
      ::close(one.socket);
  if (companion_ >= 0)
    ::close(companion_);
}

void strangers::polled(int epoll, int operation, int descriptor, const epoll_event* what) {
  if (operation == EPOLL_CTL_ADD && held_back_ && listener_ < 0 && listens(descriptor)) {
    listener_ = descriptor;
    if (companion_ < 0)
      companion_ = ::epoll_create1(EPOLL_CLOEXEC);
    auto same = *what;
    held_back_ = ::epoll_ctl(epoll, EPOLL_CTL_ADD, companion_, &same) == 0; // without it CAF hears of all at once, as it used to
  } else if (operation == EPOLL_CTL_DEL && descriptor == listener_) {
    ::epoll_ctl(epoll, EPOLL_CTL_DEL, companion_, nullptr);
    listener_ = -1;
  }
}

bool strangers::is_there(const stranger& one) { return one.ours || inode_of(one.socket) == one.inode; }

void strangers::hang_up(int socket) {
  ::epoll_ctl(companion_, EPOLL_CTL_DEL, socket, nullptr); // a child that is just being started has it too for a moment: closed is not gone
  ::close(socket);
}

void strangers::cut(place one, std::string_view why) {
  if (is_there(*one)) {
    log::warn("door", "stranger-cut-off", "address={} reason={}", address_of(one->socket), why);
    if (one->ours)
      hang_up(one->socket);
    else
      ::shutdown(one->socket, SHUT_RDWR); // CAF reads an end, and closes it
  }
  waiting_.erase(one);
}

void strangers::keep_few() {
  if (waiting_.size() > most)
    std::erase_if(waiting_, [](const stranger& one) { return !is_there(one); });
  if (waiting_.size() <= most)
    return;
  bool speaks = std::ranges::count(waiting_, false, &stranger::speaks) <= std::ptrdiff_t{most / 2};
  cut(std::ranges::find(waiting_, speaks, &stranger::speaks), "others came");
}

void strangers::came(int socket, steady_time now) {
  settled(socket); // whoever had this number is closed
  waiting_.push_back({socket, inode_of(socket), now, false, held_back_});
  if (held_back_) {
    epoll_event word{.events = EPOLLIN, .data = {.fd = socket}};
    ::epoll_ctl(companion_, EPOLL_CTL_ADD, socket, &word); // when it cannot be added it is cut off for its silence
  }
  keep_few();
}

int strangers::next_that_speaks() {
  epoll_event word{};
  while (::epoll_wait(companion_, &word, 1, 0) == 1) {
    auto socket = word.data.fd;
    auto one = std::ranges::find(waiting_, socket, &stranger::socket);
    int bytes = 0;
    if (::ioctl(socket, FIONREAD, &bytes) != 0 || bytes == 0) { // it has gone by itself
      hang_up(socket);
      waiting_.erase(one);
      continue;
    }
    ::epoll_ctl(companion_, EPOLL_CTL_DEL, socket, nullptr);
    one->speaks = true;
    one->ours = false;
    return socket;
  }
  return -1;
}

void strangers::settled(int socket) { std::erase_if(waiting_, [=](const stranger& one) { return one.socket == socket; }); }

bool strangers::may_say(bool handshake) {
  auto one = std::ranges::find(waiting_, heard_, &stranger::socket);
  if (one == waiting_.end())
    return true;
  if (one->speaks) {
    waiting_.erase(one);
    return true;
  }
  one->speaks = handshake;
  return handshake;
}

void strangers::cut_oldest() {
  if (!waiting_.empty())
    cut(waiting_.begin(), "no file can be opened");
}

void strangers::cut_overdue(steady_time now) {
  while (!waiting_.empty() && now - waiting_.front().since >= patience)
    cut(waiting_.begin(), "it did not show who it is");
}

std::optional<std::chrono::milliseconds> strangers::patient_for(steady_time now) const {
  if (waiting_.empty())
    return std::nullopt;
  return std::max(std::chrono::ceil<std::chrono::milliseconds>(waiting_.front().since + patience - now), std::chrono::milliseconds(0));
}

} // namespace weir::cluster
