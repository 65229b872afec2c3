#pragma once
// The real program as an operator runs it: arguments and environment in, exit status and both outputs back.
#include <array>
#include <chrono>
#include <cstdlib>
#include <fcntl.h>
#include <map>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace weir::testing {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

enum class terminal { no, yes };

/// One run. Off a terminal, standard input is empty and the outputs are apart; on one, everything is in `out`.
class program {
public:
  program(std::vector<std::string> arguments, std::map<std::string, std::string> environment = {}, terminal on = terminal::no) {
    std::array<int, 2> result{}, trouble{};
    if (on == terminal::no && (::pipe2(result.data(), O_CLOEXEC) != 0 || ::pipe2(trouble.data(), O_CLOEXEC) != 0))
      std::abort();
    winsize size{.ws_row = 40, .ws_col = 120, .ws_xpixel = 0, .ws_ypixel = 0};
    int master = -1;
    pid_ = on == terminal::yes ? ::forkpty(&master, nullptr, nullptr, &size) : ::fork();
    if (pid_ == 0) {
      if (on == terminal::no) {
        ::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
        ::dup2(result[1], STDOUT_FILENO);
        ::dup2(trouble[1], STDERR_FILENO);
      }
      ::unsetenv("NO_COLOR");
      for (auto& name : ours_of_the_environment())
        ::unsetenv(name.c_str());
      for (auto& [name, value] : environment)
        ::setenv(name.c_str(), value.c_str(), 1);
      std::vector<char*> argv{const_cast<char*>("weir")};
      for (auto& a : arguments)
        argv.push_back(a.data());
      argv.push_back(nullptr);
      ::execv(WEIR_PROGRAM, argv.data());
      ::_exit(126);
    }
    out_ = on == terminal::yes ? master : result[0];
    err_ = on == terminal::yes ? -1 : trouble[0];
    if (on == terminal::no) {
      ::close(result[1]);
      ::close(trouble[1]);
    }
  }
  ~program() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(out_);
    if (err_ >= 0)
      ::close(err_);
  }
  program(const program&) = delete;
  program& operator=(const program&) = delete;

  /// Reads until the text has come on either output; false at the deadline or the end.
  bool says(std::string_view text, std::chrono::milliseconds limit = 20s) {
    auto deadline = steady::now() + limit;
    auto there = [&] { return out.find(text) != std::string::npos || err.find(text) != std::string::npos; };
    while (!there() && read_some(deadline)) {
    }
    return there();
  }
  void type(std::string_view keys) const { [[maybe_unused]] auto n = ::write(out_, keys.data(), keys.size()); }
  void signal(int number) const { ::kill(pid_, number); }
  pid_t pid() const { return pid_; }
  /// Reads to the end; the exit status, or -1 when it did not end by itself.
  int wait(std::chrono::milliseconds limit = 20s) {
    auto deadline = steady::now() + limit;
    while (read_some(deadline)) {
    }
    if (steady::now() >= deadline)
      return -1;
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  std::string out, err;

private:
  /// What the program would read as settings (WEIR_CI of the test suite too, of which it would warn).
  static std::vector<std::string> ours_of_the_environment() {
    std::vector<std::string> names;
    for (auto** entry = ::environ; *entry; ++entry)
      if (std::string_view text = *entry; text.starts_with("WEIR_"))
        names.emplace_back(text.substr(0, text.find('=')));
    return names;
  }
  bool read_some(steady::time_point deadline) {
    std::array<pollfd, 2> from{pollfd{out_open_ ? out_ : -1, POLLIN, 0}, pollfd{err_, POLLIN, 0}};
    if (from[0].fd < 0 && from[1].fd < 0)
      return false;
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady::now()).count();
    if (left <= 0 || ::poll(from.data(), from.size(), int(left)) <= 0)
      return false;
    std::array<char, 4096> bytes{};
    for (std::size_t i = 0; i < from.size(); ++i) {
      if (from[i].fd < 0 || from[i].revents == 0)
        continue;
      auto n = ::read(from[i].fd, bytes.data(), bytes.size());
      if (n > 0)
        (i == 0 ? out : err).append(bytes.data(), std::size_t(n));
      else if (i == 0)
        out_open_ = false; // EIO is the end of a terminal
      else
        ::close(std::exchange(err_, -1));
    }
    return true;
  }

  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  bool out_open_ = true;
};

} // namespace weir::testing
