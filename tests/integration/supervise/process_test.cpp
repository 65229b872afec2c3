// Real children. This program is its own guard and its own victims: main() dispatches hidden modes before GoogleTest sees the arguments.
#include "runtime/supervise/guard.hpp"
#include "runtime/supervise/process.hpp"
#include "tests/integration/supervise/processes.hpp"

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <dirent.h>
#include <filesystem>
#include <fstream>
#include <future>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace std::chrono_literals;
using namespace weir::supervise;
using weir::error_code;

namespace {

using clock_type = std::chrono::steady_clock;

using weir::testing::alive;
using weir::testing::eventually;

launch shell(std::string script) { return {.program = "sh", .arguments = {"-c", std::move(script)}}; }

/// The pid that the child printed as line `index`.
pid_t printed_pid(const process& one, std::size_t index = 0) {
  eventually([&] { return one.last_lines().size() > index; });
  const auto lines = one.last_lines();
  return lines.size() > index ? std::stoi(lines[index]) : 0;
}

std::size_t open_descriptors() {
  const auto folder = std::filesystem::directory_iterator("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(folder), end(folder)));
}

/// Hidden mode: starts `sh` with the script (guarded, or as one of ours that watches its parent), prints pids, waits for ever.
int parent_mode(bool guarded, const std::string& script) {
  launch how;
  if (guarded) {
    how = shell(script);
    how.guarded = true;
    how.guard_grace = 500ms;
  } else {
    how.name = "victim";
    how.arguments = {"_watching_child"};
  }
  how.on_line = [](const std::string& line) {
    std::puts(line.c_str());
    std::fflush(stdout);
  };
  auto one = process::spawn(std::move(how));
  if (!one)
    return 1;
  std::printf("%d\n", one->pid());
  std::fflush(stdout);
  for (;;)
    pause();
}

int watching_child_mode() {
  if (auto watched = die_with_parent(); !watched) {
    std::puts(watched.error().text.c_str());
    return 1;
  }
  std::printf("%d\n", getpid());
  std::fflush(stdout);
  for (;;)
    pause();
}

} // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == guard_word)
    return guard_main(argc, argv);
  if (mode == "_parent")
    return parent_mode(true, argv[2]);
  if (mode == "_parent_of_ours")
    return parent_mode(false, "");
  if (mode == "_watching_child")
    return watching_child_mode();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

TEST(Process, TellsItsLinesAndThenItsEnd) {
  auto how = shell("echo out; echo err >&2; exit 7");
  std::promise<exit_status> end;
  std::vector<std::string> lines;
  how.on_line = [&](const std::string& line) { lines.push_back(line); };
  how.on_exit = [&](const exit_status& status) { end.set_value(status); };
  auto one = process::spawn(std::move(how));
  ASSERT_TRUE(one) << one.error().text;
  const auto status = end.get_future().get();
  EXPECT_EQ(status.code, 7);
  EXPECT_EQ(status.signal, 0);
  EXPECT_FALSE(status.requested);
  EXPECT_EQ(lines, (std::vector<std::string>{"out", "err"}));
  EXPECT_FALSE(one->running());
}

TEST(Process, TellsTheSignalThatEndedIt) {
  auto one = process::spawn(shell("kill -SEGV $$"));
  ASSERT_TRUE(one);
  EXPECT_EQ(one->wait(5s).value().signal, SIGSEGV);
}

TEST(Process, SaysThatAProgramDoesNotExist) {
  auto one = process::spawn({.program = "/nonexistent/program"});
  ASSERT_FALSE(one);
  EXPECT_EQ(one.error().code, error_code::not_found);
  EXPECT_NE(one.error().text.find("/nonexistent/program"), std::string::npos);
}

TEST(Process, StartsWithDefaultSignalsAnEmptyMaskAndItsOwnGroup) {
  std::signal(SIGPIPE, SIG_IGN);
  auto done = run_to_end(shell("grep -E 'Sig(Blk|Ign)' /proc/self/status; echo group $(cut -d' ' -f5 /proc/$$/stat) $$"), 5s);
  std::signal(SIGPIPE, SIG_DFL);
  ASSERT_TRUE(done) << done.error().text;
  ASSERT_EQ(done->lines.size(), 3u);
  EXPECT_EQ(done->lines[0], "SigBlk:\t0000000000000000");
  // Without the two signals that glibc keeps for itself (32, 33) and nobody can reset.
  EXPECT_EQ(std::stoull(done->lines[1].substr(8), nullptr, 16) & ~0x180000000ULL, 0u);
  const auto group = done->lines[2].substr(6, done->lines[2].find(' ', 6) - 6);
  EXPECT_EQ(done->lines[2], "group " + group + " " + group);
}

TEST(Process, InheritsOnlyWhatItWasGiven) {
  int ours[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ours), 0); // deliberately without CLOEXEC
  auto how = shell("ls /proc/$$/fd; printf hello >&3");
  how.descriptors = {ours[1]};
  auto done = run_to_end(std::move(how), 5s);
  ASSERT_TRUE(done) << done.error().text;
  EXPECT_EQ(done->lines, (std::vector<std::string>{"0", "1", "2", "3"}));
  char text[16];
  EXPECT_EQ(std::string(text, static_cast<std::size_t>(recv(ours[0], text, sizeof text, MSG_DONTWAIT))), "hello");
  close(ours[0]);
  close(ours[1]);
}

TEST(Process, KeepsItsOrderWhenDescriptorNumbersCross) {
  int first[2], second[2];
  ASSERT_EQ(pipe(first), 0);
  ASSERT_EQ(pipe(second), 0);
  auto how = shell("printf a >&3; printf b >&4");
  // The source of 3 is (very likely) numbered above that of 4, and one of them may be 3 or 4 itself.
  how.descriptors = {second[1], first[1]};
  ASSERT_TRUE(run_to_end(std::move(how), 5s));
  char byte = 0;
  EXPECT_EQ(read(second[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'a');
  EXPECT_EQ(read(first[0], &byte, 1), 1);
  EXPECT_EQ(byte, 'b');
  for (const int fd : {first[0], first[1], second[0], second[1]})
    close(fd);
}

TEST(Process, GetsEnvironmentAndFolder) {
  auto how = shell("echo $WORD $WEIR_PARENT; pwd");
  how.environment = {{"WORD", "weir"}};
  how.working_directory = "/usr";
  auto done = run_to_end(std::move(how), 5s);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->lines, (std::vector<std::string>{"weir " + std::to_string(getpid()), "/usr"}));
}

TEST(Process, DiesAfterTheGraceWhenItIgnoresTerm) {
  auto one = process::spawn(shell("trap '' TERM; echo ready; while :; do read -r line < /dev/zero; done"));
  ASSERT_TRUE(one);
  ASSERT_TRUE(eventually([&] { return !one->last_lines().empty(); }));
  const auto asked = clock_type::now();
  one->stop(300ms);
  const auto end = one->wait(5s);
  const auto took = clock_type::now() - asked;
  ASSERT_TRUE(end);
  EXPECT_EQ(end->signal, SIGKILL);
  EXPECT_TRUE(end->requested);
  EXPECT_GE(took, 290ms);
  EXPECT_LT(took, 2s);
}

TEST(Process, EndsByTermAtOnceWhenItListens) {
  auto one = process::spawn(shell("echo ready; sleep 60"));
  ASSERT_TRUE(one);
  ASSERT_TRUE(eventually([&] { return !one->last_lines().empty(); }));
  const auto asked = clock_type::now();
  one->stop(10s);
  EXPECT_EQ(one->wait(5s).value().signal, SIGTERM);
  EXPECT_LT(clock_type::now() - asked, 2s);
}

TEST(Process, SweepsGrandchildrenThatItsLeaderLeftBehind) {
  auto one = process::spawn(shell("trap 'exit 0' USR1; sh -c 'trap \"\" TERM; echo $$; kill -USR1 $PPID; sleep 600' & while :; do sleep 0.01; done"));
  ASSERT_TRUE(one);
  const auto grandchild = printed_pid(*one);
  ASSERT_GT(grandchild, 0);
  EXPECT_EQ(one->wait(5s).value().code, 0);
  EXPECT_TRUE(eventually([&] { return !alive(grandchild); }));
}

TEST(Process, IsKilledByItsOwnersDestructor) {
  pid_t pid = 0;
  {
    auto one = process::spawn(shell("sleep 600"));
    ASSERT_TRUE(one);
    pid = one->pid();
    EXPECT_TRUE(alive(pid));
  }
  EXPECT_TRUE(eventually([&] { return !alive(pid); }));
}

TEST(Process, BoundsTheLogOfAChildThatFloods) {
  auto how = shell("yes 'a line that says the same again and again'");
  std::atomic<unsigned> told{0};
  how.on_line = [&](const std::string&) { ++told; };
  how.lines_per_second = 100;
  auto flood = process::spawn(std::move(how));
  ASSERT_TRUE(flood);
  // Beside it another child is heard without delay.
  const auto asked = clock_type::now();
  auto other = run_to_end(shell("echo here"), 5s);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->lines, std::vector<std::string>{"here"});
  EXPECT_LT(clock_type::now() - asked, 2s);
  ASSERT_TRUE(eventually([&] { return told >= 100; }));
  const auto seconds = 2 + std::chrono::ceil<std::chrono::seconds>(clock_type::now() - asked).count();
  flood->kill_now();
  ASSERT_TRUE(flood->wait(5s));
  EXPECT_LE(told.load(), 101u * static_cast<unsigned>(seconds));
  EXPECT_EQ(flood->last_lines().size(), 50u);
}

TEST(Process, LeaksNothingOverTwoHundredSpawns) {
  ASSERT_TRUE(run_to_end(shell("true"), 5s));
  const auto before = open_descriptors();
  for (int i = 0; i < 200; ++i) {
    auto how = shell("exit 3");
    how.guarded = i % 20 == 0;
    auto done = run_to_end(std::move(how), 5s);
    ASSERT_TRUE(done) << done.error().text;
    ASSERT_EQ(done->status.code, 3);
  }
  EXPECT_TRUE(eventually([&] { return open_descriptors() <= before; })) << open_descriptors() << " beside " << before;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a zombie is left";
  EXPECT_EQ(errno, ECHILD);
}

TEST(Process, MayBeStartedFromACallbackOfAnother) {
  std::promise<std::vector<std::string>> result;
  auto how = shell("true");
  std::shared_ptr<process> second;
  how.on_exit = [&](const exit_status&) {
    auto next = shell("echo second");
    next.on_line = [&](const std::string& line) { result.set_value({line}); };
    auto started = process::spawn(std::move(next));
    ASSERT_TRUE(started);
    second = std::make_shared<process>(std::move(*started));
  };
  auto first = process::spawn(std::move(how));
  ASSERT_TRUE(first);
  EXPECT_EQ(result.get_future().get(), std::vector<std::string>{"second"});
  first->wait(5s);
  second->wait(5s);
}

TEST(Process, RunToEndKillsAtItsDeadline) {
  const auto asked = clock_type::now();
  auto done = run_to_end(shell("sleep 600"), 200ms);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, error_code::timeout);
  EXPECT_LT(clock_type::now() - asked, 2s);
}

TEST(OurChild, DiesWithItsParent) {
  auto parent = process::spawn({.arguments = {"_parent_of_ours"}});
  ASSERT_TRUE(parent);
  const auto child = printed_pid(*parent, 1);
  ASSERT_GT(child, 0);
  ASSERT_TRUE(alive(child));
  kill(parent->pid(), SIGKILL); // the leader only; the sweep does not reach the child's own group
  EXPECT_TRUE(eventually([&] { return !alive(child); }));
}

TEST(OurChild, RefusesToStartUnderAnotherParent) {
  // The shell stands between: its pid is not the one that WEIR_PARENT names.
  auto done = run_to_end(shell("/proc/" + std::to_string(getpid()) + "/exe _watching_child; echo status $?"), 10s);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->lines.back(), "status 1");
}

TEST(Guard, EndsAsItsProgramEnded) {
  for (const auto& [script, code, number] : {std::tuple{"exit 5", 5, 0}, std::tuple{"kill -KILL $$", 0, SIGKILL}, std::tuple{"kill -SEGV $$", 0, SIGSEGV}}) {
    auto how = shell(script);
    how.guarded = true;
    auto done = run_to_end(std::move(how), 10s);
    ASSERT_TRUE(done) << done.error().text;
    EXPECT_EQ(done->status.code, code) << script;
    EXPECT_EQ(done->status.signal, number) << script;
  }
}

TEST(Guard, SaysThatAProgramDoesNotExist) {
  auto done = run_to_end({.program = "/nonexistent/program", .guarded = true}, 10s);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->status.code, 127);
  EXPECT_EQ(done->lines.at(0), "cannot start /nonexistent/program: No such file or directory");
}

TEST(Guard, ForwardsSignalsToTheLeaderOnly) {
  auto how = shell("trap 'echo hup' HUP; trap 'exit 9' QUIT; echo ready; while :; do sleep 0.05; done");
  how.guarded = true;
  auto one = process::spawn(std::move(how));
  ASSERT_TRUE(one);
  ASSERT_TRUE(eventually([&] { return !one->last_lines().empty(); }));
  one->signal(SIGHUP);
  ASSERT_TRUE(eventually([&] { return one->last_lines().size() == 2; }));
  EXPECT_EQ(one->last_lines().back(), "hup");
  one->signal(SIGQUIT);
  EXPECT_EQ(one->wait(5s).value().code, 9);
}

TEST(Guard, LetsItsProgramEndByQuitAndGoesOnToTermAndKill) {
  for (const auto& [quit, term, code, signal] : {std::tuple{"exit 9", "exit 8", 9, 0}, {"echo quit", "exit 8", 8, 0}, {"echo quit", "echo term", 0, SIGKILL}}) {
    auto how = shell(std::string("trap '") + quit + "' QUIT; trap '" + term + "' TERM; echo ready; while :; do sleep 0.05; done");
    how.guarded = true;
    auto one = process::spawn(std::move(how));
    ASSERT_TRUE(one);
    ASSERT_TRUE(eventually([&] { return !one->last_lines().empty(); }));
    const auto asked = clock_type::now();
    one->quit(300ms, 300ms);
    const auto end = one->wait(5s);
    const auto took = clock_type::now() - asked;
    ASSERT_TRUE(end) << quit << ", " << term;
    EXPECT_EQ(end->code, code) << quit << ", " << term;
    EXPECT_EQ(end->signal, signal) << quit << ", " << term;
    EXPECT_TRUE(end->requested);
    EXPECT_GE(took, code == 9 ? 0ms : code == 8 ? 290ms : 590ms);
    EXPECT_LT(took, 3s);
  }
}

TEST(Guard, KillsDescendantsThatLeftTheGroup) {
  auto how = shell("setsid sh -c 'trap \"\" TERM HUP; echo $$; sleep 600' & wait");
  how.guarded = true;
  auto one = process::spawn(std::move(how));
  ASSERT_TRUE(one);
  const auto runaway = printed_pid(*one);
  ASSERT_GT(runaway, 0);
  one->stop(300ms);
  ASSERT_TRUE(one->wait(5s));
  EXPECT_TRUE(eventually([&] { return !alive(runaway); }));
}

TEST(Guard, LeavesNothingWhenTheParentIsKilled) {
  auto parent = process::spawn({.arguments = {"_parent", "trap '' TERM; setsid sh -c 'echo $$; sleep 600' & echo $$; while :; do sleep 0.05; done"}});
  ASSERT_TRUE(parent);
  ASSERT_TRUE(eventually([&] { return parent->last_lines().size() == 3; }));
  std::vector<pid_t> pids; // guard, leader and runaway in the order of their printing
  for (std::size_t i = 0; i < 3; ++i)
    pids.push_back(printed_pid(*parent, i));
  kill(parent->pid(), SIGKILL);
  for (const auto pid : pids)
    EXPECT_TRUE(eventually([&] { return !alive(pid); })) << pid;
}

TEST(Guard, LeavesNothingWhenItIsKilledItself) {
  auto how = shell("trap '' TERM; sh -c 'echo $$; sleep 600' & echo $$; while :; do sleep 0.05; done");
  how.guarded = true;
  auto one = process::spawn(std::move(how));
  ASSERT_TRUE(one);
  const auto first = printed_pid(*one, 0), second = printed_pid(*one, 1);
  kill(one->pid(), SIGKILL);
  EXPECT_EQ(one->wait(5s).value().signal, SIGKILL);
  EXPECT_TRUE(eventually([&] { return !alive(first) && !alive(second); }));
}

TEST(Guard, IsKilledEvenWhenItIsStopped) {
  auto how = shell("echo $$; sleep 600");
  how.guarded = true;
  auto one = process::spawn(std::move(how));
  ASSERT_TRUE(one);
  const auto leader = printed_pid(*one);
  kill(one->pid(), SIGSTOP);
  one->kill_now();
  ASSERT_TRUE(one->wait(5s));
  EXPECT_TRUE(eventually([&] { return !alive(leader); }));
}
