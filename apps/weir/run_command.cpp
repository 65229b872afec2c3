// `weir run -c FILE`: a node in the foreground. `weir check`, `weir config …`: its YAML.
#include "apps/weir/commands.hpp"
#include "apps/weir/node_program.hpp"
#include "apps/weir/signals.hpp"
#include "runtime/base/log.hpp"
#include "runtime/describe/config_commands.hpp"
#include "runtime/metrics/metrics.hpp"
#include "runtime/network/capabilities.hpp"

#include <fmt/format.h>
#include <fstream>
#include <iostream>

namespace weir {
namespace {

log::level level_of(const log_options& wanted) { return *from_string<log::level>(to_string(wanted.level)); }

/// What SIGHUP does. A file that does not check out changes nothing.
void reload(node_program& node, const std::string& file) {
  auto loaded = describe::load_node_config(file);
  for (auto& p : loaded.found)
    log::warn("weir", "configuration-refused", "problem={}", describe::to_string(p));
  metrics::note_reload(loaded.good(), std::chrono::system_clock::now());
  if (!loaded.good())
    return log::error("weir", "reload-failed", "file={} problems={}", file, loaded.found.size());
  auto waiting = node.reload(loaded.config);
  log::info("weir", "reloaded", "file={} takes_restart={}", file, waiting.empty() ? "nothing" : fmt::format("{}", fmt::join(waiting, ",")));
  log::set_level(level_of(loaded.config.log));
}

int run_node(const std::string& file) {
  auto loaded = describe::load_node_config(file);
  for (auto& p : loaded.found)
    fmt::print(stderr, "{}\n", describe::to_string(p));
  if (!loaded.good())
    return wrong_usage;
  auto& wanted = loaded.config.log;
  auto style = wanted.format == log_format::json ? log::format::json : wanted.format == log_format::text ? log::format::text : log::format::automatic;
  if (auto opened = log::configure({.lowest = level_of(wanted), .style = style}); !opened) {
    fmt::print(stderr, "{}\n", opened.error().text);
    return failed;
  }
  if (auto kept = network::keep_capabilities_from_children(); !kept) // before any thread starts: each has its own
    log::error("weir", "capabilities-inherited", "error={}", kept.error().text);
  signals stopping; // before any thread starts, so that all of them leave the signals to us
  auto node = node_program::start(loaded.config);
  if (!node) {
    log::critical("weir", "not-started", "error={}", node.error().text);
    return failed;
  }
  metrics::note_reload(true, std::chrono::system_clock::now());
  log::info("weir", "ready", "dashboard={} token_file={} first_start={}", (*node)->base_url(), (*node)->token_file(), (*node)->made_token());
  for (;;) {
    int signal = stopping.wait(std::chrono::milliseconds(250));
    if ((*node)->role_died())
      return failed;
    if (signal == SIGHUP)
      reload(**node, file);
    else if (signal != 0) {
      log::info("weir", "stopping", "signal={}", signal);
      return done;
    }
  }
}

} // namespace

void add_run_command(CLI::App& app, command& run) {
  auto* sub = app.add_subcommand("run", "Starts a node with the roles of its YAML, in the foreground");
  auto file = std::make_shared<std::string>("/etc/weir/weir.yaml");
  sub->add_option("-c,--config", *file, "The node's YAML")->capture_default_str();
  sub->callback([&run, file] { run = [file] { return run_node(*file); }; });
}

void add_config_commands(CLI::App& app, command& run) {
  auto file = std::make_shared<std::string>("/etc/weir/weir.yaml");
  auto format = std::make_shared<std::string>("text");
  auto add_options = [=](CLI::App* sub) {
    sub->add_option("-c,--config", *file, "The node's YAML")->capture_default_str();
    sub->add_option("-o,--output", *format, "text or json")->check(CLI::IsMember({"text", "json"}))->capture_default_str();
  };
  auto form = [format] { return *format == "json" ? describe::output_format::json : describe::output_format::text; };

  auto* check = app.add_subcommand("check", "Checks a node's YAML and reports every error at once");
  add_options(check);
  check->callback([=, &run] { run = [=] { return describe::check_command(*file, std::cout, form()); }; });

  auto* config = app.add_subcommand("config", "The configuration: schema, example, effective values, and that of SRS servers");
  config->require_subcommand(1);
  config->add_subcommand("schema", "JSON Schema of a node's YAML")->callback([&run] {
    run = [] {
      std::cout << describe::config_schema();
      return int(done);
    };
  });
  config->add_subcommand("example", "A YAML with every key, commented")->callback([&run] {
    run = [] {
      std::cout << describe::config_example();
      return int(done);
    };
  });
  auto* show = config->add_subcommand("show", "The values in force and where each comes from, secrets masked");
  add_options(show);
  show->callback([=, &run] { run = [=] { return describe::show_command(*file, std::cout, form()); }; });
  add_srs_command(*config, run);
}

} // namespace weir
