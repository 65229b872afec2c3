#pragma once
// The subcommands of `weir`. Each adds itself to the command line and leaves in `run` what is to be done.
#include <CLI/App.hpp>
#include <functional>
#include <memory>
#include <string>

namespace weir {

/// Exit statuses of contract.md.
enum exit_status : int { done = 0, failed = 1, wrong_usage = 2, not_found = 3, not_reachable = 4, not_allowed = 5 };

using command = std::function<int()>;

void add_run_command(CLI::App& app, command& run);
void add_demo_command(CLI::App& app, command& run);
void add_config_commands(CLI::App& app, command& run);
/// config srs: files for real SRS servers; a subcommand of `config`.
void add_srs_command(CLI::App& config, command& run);
/// cluster init-ca, issue, show: the certificates with which nodes join.
void add_cluster_commands(CLI::App& app, command& run);
/// status, top, events, stream, task, node, edge, task-type: everything that speaks to a running node.
void add_client_commands(CLI::App& app, command& run);

} // namespace weir
