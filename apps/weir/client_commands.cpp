// Everything that speaks to a running node.
#include "apps/weir/client_nouns.hpp"

namespace weir {

void add_client_commands(CLI::App& app, command& run) {
  cli::add_view_commands(app, run);
  cli::add_stream_commands(app, run);
  cli::add_task_commands(app, run);
  cli::add_task_type_commands(app, run);
  cli::add_node_commands(app, run);
  cli::add_edge_commands(app, run);
}

} // namespace weir
