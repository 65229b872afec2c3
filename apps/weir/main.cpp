// The `weir` program: a node, and the tools to speak to one. Three hidden modes are its own child processes.
#include "apps/weir/commands.hpp"
#include "actors/wire.hpp"
#include "runtime/base/version.hpp"
#include "runtime/media/child_main.hpp"
#include "runtime/media/synthetic.hpp"
#include "runtime/supervise/guard.hpp"
#include "runtime/supervise/process.hpp"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <fmt/format.h>
#include <string_view>

namespace weir {
namespace {

/// Reads records on descriptor 3 and dies with its parent.
int pipeline_mode() {
  auto* parent = std::getenv("WEIR_PARENT");
  return media::child_main(3, parent ? std::atoi(parent) : 0);
}

/// The sender of `weir demo`; its address comes by environment, since it holds the key.
int sender_mode() {
  if (auto alive = supervise::die_with_parent(); !alive)
    return failed;
  auto* url = std::getenv("WEIR_SENDER_URL");
  if (!url)
    return wrong_usage;
  std::atomic<bool> never{false};
  auto sent = media::run_synthetic_sender(url, {}, never);
  if (!sent)
    fmt::print(stderr, "{}\n", sent.error().text);
  return sent ? done : failed;
}

int command_line(int argc, char** argv) {
  CLI::App app{"Weir: live streaming made of actors. RTMP in, multi-variant HLS out, over edges that share the load."};
  app.name("weir");
  app.set_version_flag("--version", fmt::format("weir {} ({})", version(), commit()));
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  command run;
  add_run_command(app, run);
  add_demo_command(app, run);
  add_config_commands(app, run);
  add_cluster_commands(app, run);
  add_client_commands(app, run);
  app.add_subcommand("version", "Prints version, commit and the form of the messages between nodes, which must be the same in one cluster")->callback([&] {
    run = [] {
      fmt::print("weir {} ({}), messages {}\n", version(), commit(), wire_form());
      return int(done);
    };
  });
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? done : wrong_usage;
  }
  return run ? run() : wrong_usage;
}

} // namespace
} // namespace weir

int main(int argc, char** argv) {
  std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == weir::supervise::guard_word)
    return weir::supervise::guard_main(argc, argv);
  if (mode == weir::media::pipeline_word)
    return weir::pipeline_mode();
  if (mode == weir::media::sender_word)
    return weir::sender_mode();
  return weir::command_line(argc, argv);
}
