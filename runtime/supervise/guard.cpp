#include "runtime/supervise/guard.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <poll.h>
#include <string>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::supervise {
namespace {

using clock = std::chrono::steady_clock;

constexpr int broken = 126; ///< exit code for the guard's own trouble, as shells use it

/// Our children now, adopted ones included.
std::string children() {
  std::ifstream list("/proc/self/task/" + std::to_string(getpid()) + "/children");
  return {std::istreambuf_iterator<char>(list), {}};
}

/// Kills every child until there is none. Grandchildren become children (subreaper) as their parents die, so this reaches all descendants.
void sweep(int signals) {
  const auto deadline = clock::now() + std::chrono::seconds(5); // a child in uninterruptible sleep must not hold us for ever
  while (clock::now() < deadline) {
    while (waitpid(-1, nullptr, WNOHANG) > 0) {}
    if (waitpid(-1, nullptr, WNOHANG) < 0 && errno == ECHILD)
      return;
    const auto list = children();
    for (const char *at = list.data(), *end = at + list.size(); at < end; ++at) {
      pid_t child = 0;
      at = std::from_chars(at, end, child).ptr;
      if (child > 0)
        kill(child, SIGKILL);
    }
    pollfd died{signals, POLLIN, 0};
    poll(&died, 1, 50);
    std::array<signalfd_siginfo, 16> seen;
    while (read(signals, seen.data(), sizeof seen) > 0) {}
  }
}

[[noreturn]] void end_like(int status) {
  if (WIFEXITED(status))
    _exit(WEXITSTATUS(status));
  prctl(PR_SET_DUMPABLE, 0); // the program may leave a core, its guard must not
  const int number = WTERMSIG(status);
  std::signal(number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  sigprocmask(SIG_UNBLOCK, &only, nullptr);
  kill(getpid(), number);
  _exit(128 + number);
}

[[noreturn]] void become(char** program, pid_t guard, const sigset_t& before, int life) {
  // TERM, not KILL: when guard and weir died together, an nginx master that gets TERM takes its workers with it.
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != guard)
    _exit(broken);
  close(life);
  sigprocmask(SIG_SETMASK, &before, nullptr);
  execvp(program[0], program);
  std::fprintf(stderr, "cannot start %s: %s\n", program[0], std::strerror(errno));
  _exit(errno == ENOENT ? 127 : broken);
}

struct order {
  int life = -1;
  int grace_ms = 2000;
  char** program = nullptr;
};

bool parse(int argc, char** argv, order& out) {
  for (int i = 2; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--") {
      out.program = argv + i + 1;
      return out.life >= 0 && i + 1 < argc;
    }
    int* const target = word == "--life-fd" ? &out.life : word == "--grace-ms" ? &out.grace_ms : nullptr;
    if (target == nullptr || ++i == argc)
      return false;
    const std::string_view value = argv[i];
    if (std::from_chars(value.data(), value.data() + value.size(), *target).ec != std::errc{})
      return false;
  }
  return false;
}

} // namespace

int guard_main(int argc, char** argv) {
  order given;
  if (!parse(argc, argv, given)) {
    std::fputs("usage: weir _guard --life-fd N [--grace-ms M] -- program arguments…\n", stderr);
    return 2;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  prctl(PR_SET_NAME, "weir-guard");
  sigset_t mine, before;
  sigemptyset(&mine);
  for (const int number : {SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH})
    sigaddset(&mine, number);
  sigprocmask(SIG_BLOCK, &mine, &before);
  const int signals = signalfd(-1, &mine, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signals < 0) {
    std::perror("signalfd");
    return broken;
  }
  const pid_t self = getpid();
  const pid_t leader = fork();
  if (leader < 0) {
    std::perror("fork");
    return broken;
  }
  if (leader == 0)
    become(given.program, self, before, given.life);

  bool orphaned = false;
  clock::time_point kill_at{};
  for (;;) {
    std::array<pollfd, 2> watched{pollfd{signals, POLLIN, 0}, pollfd{orphaned ? -1 : given.life, POLLIN, 0}};
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(kill_at - clock::now()).count();
    if (orphaned && left <= 0) {
      kill(leader, SIGKILL);
      sweep(signals);
      _exit(128 + SIGKILL);
    }
    poll(watched.data(), watched.size(), orphaned ? static_cast<int>(left) : -1);

    if (!orphaned && watched[1].revents != 0) {
      char command = 0;
      const auto got = read(given.life, &command, 1);
      if (got == 1 && command == 'K') { // kill everything now
        kill(leader, SIGKILL);
        int status = SIGKILL;
        waitpid(leader, &status, 0);
        sweep(signals);
        end_like(status);
      }
      if (got == 0 || (got < 0 && errno != EINTR)) { // weir is gone
        orphaned = true;
        kill_at = clock::now() + std::chrono::milliseconds(given.grace_ms);
        kill(0, SIGTERM);
      }
    }
    signalfd_siginfo seen;
    while (read(signals, &seen, sizeof seen) == sizeof seen)
      if (seen.ssi_signo != SIGCHLD && seen.ssi_pid != static_cast<std::uint32_t>(self))
        kill(leader, static_cast<int>(seen.ssi_signo));
    int status = 0;
    for (pid_t ended; (ended = waitpid(-1, &status, WNOHANG)) > 0;)
      if (ended == leader) {
        sweep(signals);
        end_like(status);
      }
  }
}

} // namespace weir::supervise
