#pragma once
// runtime/supervise: child processes that cannot outlive us, cannot flood us, and cannot end unnoticed.
//
//   process    spawns, reads its output, tells its end, stops it with everything it started     (process.hpp)
//   guard      stands between us and a foreign program (nginx), so that nothing survives us      (guard.hpp)
//   backoff    when to try again                                                                 (backoff.hpp)
//
// All children are spawned, read and reaped by one thread that lives as long as the program: Linux ties a parent-death signal to the
// thread that spawned (media.md 7.1), and a child's end arrives by pidfd, so no SIGCHLD handler exists. Callbacks come from that
// thread: they must be quick, must not block, and may outlive the `process` object (hand them a copy of an actor handle, not `this`).
#include "schemas/error.hpp"

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <utility>
#include <vector>

namespace weir::supervise {

/// How a process ended.
struct exit_status {
  int code = 0;           ///< exit code; meaningless when a signal ended it
  int signal = 0;         ///< signal that ended it, or 0
  bool requested = false; ///< stop() or kill_now() came before the end
  bool timed_out = false; ///< its deadline came before the end
  bool flooded = false;   ///< it wrote more than `capture`
  bool ok() const { return code == 0 && signal == 0; }
};
/// "exit code 1", "signal 9 (Killed)".
std::string to_string(const exit_status& status);

/// What to start and how to listen to it.
struct launch {
  std::string program = "/proc/self/exe"; ///< path, or a name that is looked up in PATH; the default is this program itself
  std::string name;                       ///< argv[0]; empty: the program
  std::vector<std::string> arguments;     ///< argv[1] and on; visible to everyone on the machine, so never a secret
  std::vector<std::pair<std::string, std::string>> environment; ///< set in addition to ours; WEIR_PARENT is always set to our pid
  std::string working_directory;                                ///< empty: ours
  std::vector<int> descriptors; ///< become 3, 4, … in the child; duplicated, so ours stay ours. All others are closed there
  int input = -1;               ///< standard input; -1: /dev/null
  int output = -1;              ///< standard output; -1: read as lines, together with standard error
  std::size_t capture = 0;      ///< bytes of standard output that on_output gets, instead of lines; whoever writes more is killed
  bool guarded = false;         ///< for programs that do not watch their parent themselves: see guard.hpp
  std::chrono::milliseconds guard_grace{2000}; ///< guarded: from TERM to KILL when we are gone
  std::chrono::milliseconds deadline{0};       ///< from the start to TERM, and 2 s later KILL; 0: none

  std::function<void(const std::string&)> on_line;   ///< each line, masked; at most `lines_per_second`, the surplus is counted in one line
  std::function<void(std::string)> on_output;        ///< with `capture`: once, before on_exit: what it wrote, at most `capture` bytes of it
  std::function<void(const exit_status&)> on_exit;   ///< exactly once, after the last line, after the process group was killed
  std::function<std::string(std::string_view)> mask; ///< hides secrets before a line is kept or told
  std::size_t kept_lines = 50;
  std::size_t line_bytes = 1024;
  unsigned lines_per_second = 200;
};

/// A child in a process group of its own. Thread-safe. Whatever ends it, its whole group is killed before on_exit is called.
/// The last owner's destructor kills it at once.
class process {
public:
  /// Starts it. Errors: not_found (no such program), io_failed.
  static expected<process> spawn(launch how);

  process() = default;
  process(process&&) noexcept = default;
  process& operator=(process&& other) noexcept;
  ~process();

  explicit operator bool() const { return child_ != nullptr; }
  pid_t pid() const;
  bool running() const;

  /// TERM, and after `grace` KILL, to the whole group. Returns at once.
  void stop(std::chrono::milliseconds grace);
  /// QUIT to the process itself, through the guard when there is one: nginx ends when the answers under way are out. After `patience` as
  /// stop(grace). Returns at once.
  void quit(std::chrono::milliseconds patience, std::chrono::milliseconds grace);
  /// KILL to the whole group. Returns at once.
  void kill_now();
  /// A signal to the process itself, through the guard when there is one (HUP, QUIT, INT, TERM).
  void signal(int number);

  /// Waits for the end; empty at the deadline. Not for actors: they have on_exit.
  std::optional<exit_status> wait(std::chrono::milliseconds deadline) const;
  /// The newest lines, oldest first.
  std::vector<std::string> last_lines() const;

private:
  struct child;
  explicit process(std::shared_ptr<child> c) : child_(std::move(c)) {}
  std::shared_ptr<child> child_;
};

/// What a short program left behind.
struct finished {
  exit_status status;
  std::vector<std::string> lines; ///< the last `kept_lines` of it
};
/// Runs a short program to its end. Blocks; kills it at the deadline (timeout).
expected<finished> run_to_end(launch how, std::chrono::milliseconds deadline);

/// For a child that is ours: die (KILL) with the parent, and fail when the parent is gone already. The first thing such a child calls.
expected<void> die_with_parent();

} // namespace weir::supervise
