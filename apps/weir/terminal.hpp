#pragma once
#include <csignal>
#include <string>
#include <string_view>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <poll.h>
#include <termios.h>
#include <unistd.h>

namespace weir::cli {

/// The whole terminal for a view that is drawn again and again; given back as it was. Ctrl-C, q and TERM end it. Made before any other thread, so that
/// the signals come here.
class full_screen {
public:
  full_screen() {
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);
    signals_ = signalfd(-1, &ends, SFD_CLOEXEC);
    keys_ = ::isatty(STDIN_FILENO) != 0 && tcgetattr(STDIN_FILENO, &before_) == 0;
    if (keys_) {
      auto raw = before_;
      raw.c_lflag &= ~tcflag_t(ICANON | ECHO); // keys at once, and Ctrl-C still as a signal
      tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
    write("\x1b[?1049h\x1b[?25l");
  }
  ~full_screen() {
    write("\x1b[?25h\x1b[?1049l");
    if (keys_)
      tcsetattr(STDIN_FILENO, TCSANOW, &before_);
    ::close(signals_);
  }
  full_screen(const full_screen&) = delete;
  full_screen& operator=(const full_screen&) = delete;

  struct size {
    std::size_t columns = 80;
    std::size_t rows = 24;
  };
  static size now() {
    winsize w{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0)
      return {};
    return {w.ws_col, w.ws_row};
  }
  /// From the top left corner; what was there before and is not overwritten goes away. One write, so that nothing flickers.
  void draw(const std::string& lines) {
    std::string text = "\x1b[H";
    for (char c : lines)
      text += c == '\n' ? "\x1b[K\r\n" : std::string(1, c);
    write(text + "\x1b[J");
  }
  /// Whether it shall end; waits at most so long for that.
  bool ended_within(int milliseconds) {
    pollfd from[]{{signals_, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (::poll(from, keys_ ? 2 : 1, milliseconds) <= 0)
      return false;
    if (from[0].revents != 0)
      return true;
    char key = 0;
    auto got = ::read(STDIN_FILENO, &key, 1);
    return got <= 0 || key == 'q' || key == 'Q';
  }

private:
  static void write(std::string_view text) {
    while (!text.empty()) {
      auto n = ::write(STDOUT_FILENO, text.data(), text.size());
      if (n <= 0)
        return; // the terminal is gone: the signal that says so ends the view
      text.remove_prefix(std::size_t(n));
    }
  }

  int signals_ = -1;
  bool keys_ = false;
  termios before_{};
};

} // namespace weir::cli
