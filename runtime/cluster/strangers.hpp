#pragma once
// Connections to the cluster's port that have not shown yet who they are. CAF 0.17.6 waits for them for ever, takes as many as come, and with TLS reads the
// certificates anew for each one; here they are counted and held back, in the thread that does CAF's network I/O. The functions that are replaced say what
// happens to them (replacements/).
#include "runtime/base/clock.hpp"

#include <cstddef>
#include <deque>
#include <optional>
#include <string_view>
#include <sys/epoll.h>
#include <sys/types.h>

namespace weir::cluster {

/// Who speaks first on a connection: with TLS the stranger, without it CAF.
enum class first_word { theirs, ours };

/// Cuts off who takes longer than 10 s, and the oldest of a kind when there are more than 256: of those who say nothing while they are more than half of all, else
/// of those who have begun to speak; so neither kind is in the other's way. Where strangers speak first, CAF hears of them when they have. Who has shown who it
/// is, is forgotten here. Belongs to one thread, which has one listener.
class strangers {
public:
  static constexpr auto patience = std::chrono::seconds(10);
  static constexpr std::size_t most = 256;

  /// Those of this thread; null where nobody has called count_here().
  static strangers* here();
  /// This thread is the one that accepts them, from now on.
  static void count_here(first_word speaks);

  explicit strangers(first_word speaks) : held_back_(speaks == first_word::theirs) {}
  ~strangers();
  strangers(const strangers&) = delete;
  strangers& operator=(const strangers&) = delete;

  /// What CAF has done with epoll_ctl. Its listener gets a companion with the same event: the sockets that are held back.
  void polled(int epoll, int operation, int descriptor, const epoll_event* what);
  bool held_back() const { return held_back_; }
  void came(int socket, steady_time now);
  /// One that was held back and has spoken, for CAF; -1 when there is none.
  int next_that_speaks();
  /// Its certificate is one of ours.
  void settled(int socket);
  /// Whose bytes are read next.
  void heard(int socket) { heard_ = socket; }
  /// Whether the one that was heard may say this. CAF's handshake comes first; what comes after it shows that CAF has taken it.
  /// With TLS nobody is heard so: CAF reads through OpenSSL.
  bool may_say(bool handshake);
  /// No socket is left: makes room.
  void cut_oldest();
  void cut_overdue(steady_time now);
  /// Until somebody is overdue; nothing while nobody is here.
  std::optional<std::chrono::milliseconds> patient_for(steady_time now) const;
  std::size_t count() const { return waiting_.size(); }

private:
  struct stranger {
    int socket = -1;
    ino_t inode = 0; ///< CAF closes sockets without a word, and their numbers are given anew
    steady_time since{};
    bool speaks = false;
    bool ours = false; ///< held back: CAF does not know of it
  };
  using place = std::deque<stranger>::iterator;
  static bool is_there(const stranger& one);
  void hang_up(int socket);
  void cut(place one, std::string_view why);
  void keep_few();
  std::deque<stranger> waiting_; ///< oldest first
  bool held_back_;
  int heard_ = -1;
  int listener_ = -1;
  int companion_ = -1; ///< an epoll of ours, of those that are held back
};

} // namespace weir::cluster
