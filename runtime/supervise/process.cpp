#include "runtime/supervise/process.hpp"

#include "runtime/supervise/guard.hpp"
#include "runtime/supervise/lines.hpp"
#include "runtime/supervise/reactor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <mutex>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char** environ;

namespace weir::supervise {
namespace {

using namespace std::chrono_literals;
using clock = reactor::clock;

constexpr std::string_view parent_variable = "WEIR_PARENT";

/// A descriptor with an owner.
class descriptor {
public:
  descriptor() = default;
  explicit descriptor(int fd) : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() { close(); }
  void close() {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }
  int get() const { return fd_; }

private:
  int fd_ = -1;
};

error system_error(std::string_view what, int number) {
  return {number == ENOENT ? error_code::not_found : error_code::io_failed, fmt::format("{}: {}", what, std::strerror(number))};
}

/// The attributes and actions of posix_spawn, released at the end of the scope.
struct spawn_plan {
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_t actions;
  spawn_plan() {
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
  }
  spawn_plan(const spawn_plan&) = delete;
  ~spawn_plan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
};

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> out;
  for (auto& word : words)
    out.push_back(word.data());
  out.push_back(nullptr);
  return out;
}

std::vector<std::string> environment_of(const launch& how) {
  auto changes = how.environment;
  changes.emplace_back(parent_variable, std::to_string(getpid()));
  std::vector<std::string> out;
  for (char** at = environ; *at != nullptr; ++at) {
    const std::string_view entry = *at;
    const auto name = entry.substr(0, entry.find('='));
    if (std::none_of(changes.begin(), changes.end(), [&](const auto& change) { return change.first == name; }))
      out.emplace_back(entry);
  }
  for (const auto& [name, value] : changes)
    out.push_back(name + "=" + value);
  return out;
}

/// The program and its words; with a guard, the guard's words in front.
std::vector<std::string> words_of(const launch& how, int life) {
  std::vector<std::string> words;
  if (how.guarded)
    words = {"weir", std::string(guard_word), "--life-fd", std::to_string(life), "--grace-ms", std::to_string(how.guard_grace.count()), "--", how.program};
  else
    words = {how.name.empty() ? how.program : how.name};
  words.insert(words.end(), how.arguments.begin(), how.arguments.end());
  return words;
}

} // namespace

std::string to_string(const exit_status& status) {
  if (status.signal != 0)
    return fmt::format("signal {} ({})", status.signal, strsignal(status.signal));
  return fmt::format("exit code {}", status.code);
}

/// Shared by its owner and the reactor. The reactor's watches hold it until the end was told.
struct process::child : std::enable_shared_from_this<process::child> {
  explicit child(launch how)
      : on_line(std::move(how.on_line)), on_output(std::move(how.on_output)), on_exit(std::move(how.on_exit)), capture(how.capture), lines_per_second(how.lines_per_second),
        ring(how.kept_lines, how.line_bytes, std::move(how.mask)) {}

  // Set before the reactor watches it.
  pid_t pid = 0;
  descriptor pidfd;
  descriptor life; ///< our end of the guard's life line

  // The reactor's alone.
  descriptor output;
  std::function<void(const std::string&)> on_line;
  std::function<void(std::string)> on_output;
  std::function<void(const exit_status&)> on_exit;
  descriptor answer;         ///< standard output when it is captured
  std::size_t capture;
  std::string captured;
  unsigned lines_per_second;
  clock::time_point second_started{};
  std::uint64_t told = 0;    ///< lines in this second
  std::uint64_t dropped = 0; ///< lines that on_line did not get

  mutable std::mutex mutex; ///< over what follows
  mutable std::condition_variable changed;
  line_ring ring;
  bool requested = false;
  bool timed_out = false;
  bool flooded = false;
  bool reaped = false;            ///< the pid is no longer ours
  std::optional<exit_status> end; ///< set when the last line is in the ring too

  bool guarded() const { return life.get() >= 0; }

  /// Signals as long as the pid is ours: it is reaped under the same lock.
  void send(pid_t to, int number) {
    const std::lock_guard lock(mutex);
    if (!reaped)
      kill(to, number);
  }
  void request() {
    const std::lock_guard lock(mutex);
    requested = true;
  }
  /// TERM, and after `grace` KILL.
  void terminate(std::chrono::milliseconds grace) {
    send(guarded() ? pid : -pid, SIGTERM);
    reactor::instance().at(clock::now() + grace, [self = shared_from_this()] { self->destroy(); });
  }
  /// The guard kills more than the group (all descendants), but a stopped or broken guard must not save anyone.
  void destroy() {
    if (!guarded())
      return send(-pid, SIGKILL);
    {
      const std::lock_guard lock(mutex);
      if (!reaped)
        ::send(life.get(), "K", 1, MSG_NOSIGNAL | MSG_DONTWAIT); // fails only when the guard is gone or beyond listening
    }
    reactor::instance().at(clock::now() + 1s, [self = shared_from_this()] { self->send(-self->pid, SIGKILL); });
  }

  void tell(const std::vector<std::string>& lines) {
    if (!on_line)
      return;
    for (const auto& line : lines) {
      const auto now = clock::now();
      if (now - second_started >= 1s) {
        tell_dropped();
        second_started = now;
        told = 0;
      }
      if (told++ < lines_per_second)
        on_line(line);
      else
        ++dropped;
    }
  }
  void tell_dropped() {
    if (dropped != 0 && on_line)
      on_line(fmt::format("({} more lines in that second)", std::exchange(dropped, 0)));
  }

  /// Reads what is there, at most `most` bytes so that a flooding child leaves time for others. False at the end of the stream.
  bool read_output(std::size_t most) {
    std::array<char, 16384> bytes;
    std::vector<std::string> lines;
    const auto keep = [&](const std::string& line) { lines.push_back(line); };
    bool open = true;
    for (std::size_t seen = 0; seen < most;) {
      const auto got = read(output.get(), bytes.data(), bytes.size());
      if (got < 0 && errno == EINTR)
        continue;
      if (got < 0)
        break; // EAGAIN: nothing more now
      const std::lock_guard lock(mutex);
      if (got == 0) {
        ring.finish(keep);
        open = false;
        break;
      }
      ring.feed({bytes.data(), static_cast<std::size_t>(got)}, keep);
      seen += static_cast<std::size_t>(got);
    }
    tell(lines);
    return open;
  }
  void close_output() { leave(output); }
  static void leave(descriptor& one) {
    if (one.get() < 0)
      return;
    reactor::instance().forget(one.get());
    one.close();
  }
  /// Reads what is there of what is captured. False at the end of the stream, or when there is too much.
  bool read_answer() {
    std::array<char, 16384> bytes;
    for (;;) {
      const auto got = read(answer.get(), bytes.data(), std::min(bytes.size(), capture - captured.size() + 1));
      if (got < 0 && errno == EINTR)
        continue;
      if (got <= 0)
        return got != 0; // EAGAIN: nothing more now
      captured.append(bytes.data(), static_cast<std::size_t>(got));
      if (captured.size() <= capture)
        continue;
      captured.resize(capture);
      {
        const std::lock_guard lock(mutex);
        flooded = true;
      }
      destroy();
      return false;
    }
  }

  void ended() {
    reactor::instance().forget(pidfd.get());
    exit_status status;
    {
      const std::lock_guard lock(mutex);
      kill(-pid, SIGKILL); // the sweep; before the pid is reaped it cannot belong to anyone else
      siginfo_t info{};
      while (waitid(P_PIDFD, static_cast<id_t>(pidfd.get()), &info, WEXITED) < 0 && errno == EINTR) {}
      (info.si_code == CLD_EXITED ? status.code : status.signal) = info.si_status;
      status.requested = requested;
      status.timed_out = timed_out;
      reaped = true;
    }
    // What the group wrote before it was killed is in the pipe; a descendant that left the group must not keep us reading.
    if (output.get() >= 0 && read_output(std::size_t{1} << 20)) {
      std::vector<std::string> rest;
      {
        const std::lock_guard lock(mutex);
        ring.finish([&](const std::string& line) { rest.push_back(line); });
      }
      tell(rest);
    }
    tell_dropped();
    close_output();
    if (answer.get() >= 0) {
      read_answer();
      leave(answer);
    }
    status.flooded = flooded;
    pidfd.close();
    {
      const std::lock_guard lock(mutex);
      end = status;
    }
    changed.notify_all();
    if (on_output)
      on_output(std::move(captured));
    if (on_exit)
      on_exit(status);
    on_line = {};
    on_output = {};
    on_exit = {};
  }

  static expected<std::shared_ptr<child>> start(launch how);
};

expected<std::shared_ptr<process::child>> process::child::start(launch how) {
  const int extra = 3 + static_cast<int>(how.descriptors.size());
  std::array<int, 2> pipe_ends{};
  descriptor null{open("/dev/null", O_RDWR | O_CLOEXEC)};
  descriptor read_end, write_end, life_theirs, life_ours, answer_read, answer_write;
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0)
    return fail(system_error("pipe", errno));
  read_end = descriptor{pipe_ends[0]};
  write_end = descriptor{pipe_ends[1]};
  fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  if (how.capture != 0) {
    if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0)
      return fail(system_error("pipe", errno));
    answer_read = descriptor{pipe_ends[0]};
    answer_write = descriptor{pipe_ends[1]};
    fcntl(answer_read.get(), F_SETFL, O_NONBLOCK);
    how.output = answer_write.get();
  }
  if (how.guarded) {
    // A socket pair: unlike a pipe, writing to one whose reader died raises no SIGPIPE (MSG_NOSIGNAL).
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipe_ends.data()) != 0)
      return fail(system_error("socketpair", errno));
    life_theirs = descriptor{pipe_ends[0]};
    life_ours = descriptor{pipe_ends[1]};
  }

  // Source and target numbers may cross (our 5 may have to become its 3): lift all sources above all targets first.
  std::vector<int> sources{how.input >= 0 ? how.input : null.get(), how.output >= 0 ? how.output : write_end.get(), write_end.get()};
  sources.insert(sources.end(), how.descriptors.begin(), how.descriptors.end());
  if (how.guarded)
    sources.push_back(life_theirs.get());
  std::vector<descriptor> lifted;
  for (const int source : sources) {
    lifted.emplace_back(fcntl(source, F_DUPFD_CLOEXEC, extra + 1));
    if (lifted.back().get() < 0)
      return fail(system_error(fmt::format("descriptor {}", source), errno));
  }
  spawn_plan plan;
  for (std::size_t target = 0; target < lifted.size(); ++target)
    posix_spawn_file_actions_adddup2(&plan.actions, lifted[target].get(), static_cast<int>(target));
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, static_cast<int>(lifted.size()));
  if (!how.working_directory.empty())
    posix_spawn_file_actions_addchdir_np(&plan.actions, how.working_directory.c_str());

  auto words = words_of(how, extra);
  auto variables = environment_of(how);
  const std::string program = how.guarded ? "/proc/self/exe" : how.program;
  const auto argv = pointers(words);
  const auto envp = pointers(variables);
  const auto deadline = how.deadline;
  const auto one = std::make_shared<child>(std::move(how));
  if (const int failed = posix_spawnp(&one->pid, program.c_str(), &plan.actions, &plan.attributes, argv.data(), envp.data()); failed != 0)
    return fail(system_error(fmt::format("cannot start {}", program), failed));
  one->pidfd = descriptor{static_cast<int>(syscall(SYS_pidfd_open, one->pid, 0))}; // glibc 2.36 declares pidfd_open() without extern "C"
  if (one->pidfd.get() < 0) {
    const int number = errno;
    kill(-one->pid, SIGKILL);
    waitpid(one->pid, nullptr, 0);
    return fail(system_error("pidfd_open", number));
  }
  one->output = std::move(read_end);
  one->life = std::move(life_ours);
  one->answer = std::move(answer_read);

  auto& r = reactor::instance();
  r.watch(one->pidfd.get(), [one] { one->ended(); });
  r.watch(one->output.get(), [one] {
    if (!one->read_output(std::size_t{1} << 16))
      one->close_output();
  });
  if (one->answer.get() >= 0)
    r.watch(one->answer.get(), [one] {
      if (!one->read_answer())
        leave(one->answer);
    });
  if (deadline.count() > 0)
    r.at(clock::now() + deadline, [late = std::weak_ptr(one)] {
      if (const auto still = late.lock()) {
        {
          const std::lock_guard lock(still->mutex);
          still->timed_out = !still->reaped;
        }
        still->terminate(2s);
      }
    });
  return one;
}

expected<process> process::spawn(launch how) {
  auto started = reactor::instance().call([&] { return child::start(std::move(how)); });
  WEIR_TRY(started);
  return process(std::move(*started));
}

process& process::operator=(process&& other) noexcept {
  if (child_ && child_ != other.child_)
    kill_now();
  child_ = std::move(other.child_);
  return *this;
}

process::~process() {
  if (child_)
    kill_now();
}

pid_t process::pid() const { return child_ ? child_->pid : 0; }

bool process::running() const {
  if (!child_)
    return false;
  const std::lock_guard lock(child_->mutex);
  return !child_->reaped;
}

void process::stop(std::chrono::milliseconds grace) {
  if (!child_ || !running())
    return;
  child_->request();
  child_->terminate(grace);
}

void process::quit(std::chrono::milliseconds patience, std::chrono::milliseconds grace) {
  if (!child_ || !running())
    return;
  child_->request();
  child_->send(child_->pid, SIGQUIT);
  reactor::instance().at(clock::now() + patience, [one = child_, grace] { one->terminate(grace); });
}

void process::kill_now() {
  if (!child_ || !running())
    return;
  child_->request();
  child_->destroy();
}

void process::signal(int number) {
  if (child_)
    child_->send(child_->pid, number);
}

std::optional<exit_status> process::wait(std::chrono::milliseconds deadline) const {
  if (!child_)
    return std::nullopt;
  std::unique_lock lock(child_->mutex);
  child_->changed.wait_for(lock, deadline, [&] { return child_->end.has_value(); });
  return child_->end;
}

std::vector<std::string> process::last_lines() const {
  if (!child_)
    return {};
  const std::lock_guard lock(child_->mutex);
  return {child_->ring.last().begin(), child_->ring.last().end()};
}

expected<finished> run_to_end(launch how, std::chrono::milliseconds deadline) {
  const auto program = how.program;
  auto one = process::spawn(std::move(how));
  WEIR_TRY(one);
  const auto status = one->wait(deadline);
  if (!status)
    return fail(error_code::timeout, fmt::format("{} did not end within {} ms", program, deadline.count())); // the destructor kills it
  return finished{*status, one->last_lines()};
}

expected<void> die_with_parent() {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
    return fail(system_error("PR_SET_PDEATHSIG", errno));
  const char* const text = std::getenv(parent_variable.data());
  const std::string_view value = text == nullptr ? "" : text;
  pid_t parent = 0;
  std::from_chars(value.data(), value.data() + value.size(), parent);
  if (parent == 0 || getppid() != parent)
    return fail(error_code::unavailable, fmt::format("the parent {} is gone; the parent now is {}", value, getppid()));
  return {};
}

} // namespace weir::supervise
