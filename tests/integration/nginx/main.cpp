// This program is its own guard, and the owner of an edge that a test kills.
#include "runtime/base/file.hpp"
#include "runtime/nginx/edge_config.hpp"
#include "runtime/nginx/server.hpp"
#include "runtime/supervise/guard.hpp"

#include <csignal>
#include <gtest/gtest.h>
#include <unistd.h>

namespace {

/// FOLDER PORT STATUS-PORT ORIGIN-PORT: starts an edge; USR1 asks it to end, with half a minute for what is under way.
int owner_mode(char** argv) {
  using namespace weir;
  using namespace std::chrono_literals;
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &asked, nullptr); // before there are threads
  nginx::edge_config config;
  config.listen = std::string("127.0.0.1:") + argv[3];
  config.status = std::string("127.0.0.1:") + argv[4];
  config.origins = {std::string("127.0.0.1:") + argv[5]};
  auto at = nginx::prefix::prepare(argv[2]);
  const auto text = nginx::render(config);
  if (!at || !text || !write_file_atomically(at->file(nginx::viewing_script_file), nginx::viewing_script(), 0600) || !at->install(*text))
    return 1;
  auto child = supervise::process::spawn(at->start());
  if (!child)
    return 1;
  for (int number = 0;;)
    if (sigwait(&asked, &number) == 0)
      child->quit(30s, 1s);
}

} // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == weir::supervise::guard_word)
    return weir::supervise::guard_main(argc, argv);
  if (mode == "_owner")
    return owner_mode(argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
