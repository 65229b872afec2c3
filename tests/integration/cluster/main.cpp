// This program is its own coordinator's node, so that a test can count what strangers cost it.
#include "actors/door.hpp"
#include "actors/wire.hpp"
#include "runtime/cluster/transport.hpp"
#include "runtime/supervise/process.hpp"

#include <cstdio>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

/// Lets nodes in with the identity in this folder, or without TLS; says at which port. It may open no more than 400 files.
int door_mode(const std::string& folder) {
  using namespace weir;
  rlimit files{400, 400};
  if (!supervise::die_with_parent() || ::setrlimit(RLIMIT_NOFILE, &files) != 0 || !cluster::check_replacements())
    return 1;
  cluster::identity who;
  if (!folder.empty())
    who = {folder + "/ca.pem", folder + "/boss.pem", folder + "/boss.key"};
  caf::actor_system_config config;
  config.set("scheduler.max-threads", std::size_t{2});
  add_wire_types(config);
  cluster::prepare(config, who);
  caf::actor_system system{config};
  auto boss = system.spawn([]() -> caf::behavior {
    return {[](const view_cluster&) {
      cluster_view view;
      view.version = 42;
      return view;
    }};
  });
  auto way_in = system.spawn(door, hello{"hall", "boss", "1", wire_form()}, caf::actor_cast<coordinator_actor>(boss), caf::actor{});
  auto port = cluster::publish(system, caf::actor_cast<caf::actor>(way_in), "127.0.0.1:0", who.tls());
  if (!port)
    return 1;
  std::printf("port %d\n", int{*port});
  std::fflush(stdout);
  for (;;)
    ::pause();
}

} // namespace

int main(int argc, char** argv) {
  if (argc == 3 && argv[1] == std::string_view("_door"))
    return door_mode(argv[2]);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
