#pragma once
// The nouns and views that client_commands.cpp puts together.
#include "apps/weir/client_output.hpp"

#include <map>

namespace weir::cli {

void add_stream_commands(CLI::App& app, command& run);
void add_task_commands(CLI::App& app, command& run);
void add_task_type_commands(CLI::App& app, command& run);
void add_node_commands(CLI::App& app, command& run);
void add_edge_commands(CLI::App& app, command& run);
/// status, top, events, introspect.
void add_view_commands(CLI::App& app, command& run);

// Lists that several views show.
table node_table();
std::vector<cell> node_row(const json& node);
table edge_table();
std::vector<cell> edge_row(const json& edge);
table task_table();
/// `names`: of streams, by id.
std::vector<cell> task_row(const json& task, const std::map<std::string, std::string>& names);
table stream_table();
std::vector<cell> stream_row(const json& stream);

} // namespace weir::cli
