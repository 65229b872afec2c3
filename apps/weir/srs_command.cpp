// `weir config srs`: the configuration of a cluster of real SRS servers, made of the coordinator's YAML. It works on files and speaks to no node.
#include "apps/weir/commands.hpp"
#include "runtime/base/file.hpp"
#include "runtime/describe/node_config.hpp"
#include "runtime/rtmp/srs_config.hpp"

#include <CLI/CLI.hpp>
#include <charconv>
#include <filesystem>
#include <fmt/format.h>

namespace weir {
namespace {

constexpr std::string_view our_mark = "Written by `weir config srs`"; ///< in the first line of every file
constexpr std::size_t file_limit = 1 << 20;

struct srs_wish {
  std::string file = "/etc/weir/weir.yaml";
  std::string folder;
  std::vector<std::string> edges; ///< NAME=LISTEN
  unsigned edge_count = 0;
};

/// Where the value of that path ("rtmp_servers[0].rtmp_url") was written; the file alone if it was not.
describe::place find_place(const describe::loaded_config& loaded, std::string_view path, const std::string& file) {
  auto* at = &loaded.tree;
  describe::place found{std::make_shared<const std::string>(file), 0, 0};
  while (at && !path.empty()) {
    auto end = std::min(path.find_first_of(".["), path.size());
    if (path.front() == '[') {
      std::size_t index = 0;
      end = std::min(path.find(']'), path.size() - 1) + 1;
      std::from_chars(path.data() + 1, path.data() + end, index);
      at = index < at->items.size() ? &at->items[index] : nullptr;
    } else
      at = at->find(path.substr(0, end));
    if (at && at->at.line != 0)
      found = at->at;
    path.remove_prefix(std::min(end + (end < path.size() && path[end] == '.'), path.size()));
  }
  return found;
}

/// One of ours may be replaced; what somebody wrote by hand is kept.
expected<void> check_free(const std::filesystem::path& path) {
  auto there = read_file(path, file_limit);
  if (!there)
    return there.error().code == error_code::not_found ? expected<void>{} : fail(there.error());
  if (there->substr(0, there->find('\n')).find(our_mark) == std::string::npos)
    return fail(error_code::already_exists, fmt::format("{}: was not written by this command: move it away, or choose another --out", path.native()));
  return {};
}

int write_files(const std::vector<rtmp::srs_file>& files, const std::filesystem::path& folder) {
  std::error_code made;
  std::filesystem::create_directories(folder, made);
  if (made) {
    fmt::print(stderr, "{}: {}\n", folder.native(), made.message());
    return failed;
  }
  for (auto& f : files) // all before the first is written
    if (auto free = check_free(folder / f.name); !free) {
      fmt::print(stderr, "{}\n", free.error().text);
      return failed;
    }
  for (auto& f : files) {
    if (auto written = write_file_atomically(folder / f.name, f.text, 0600); !written) { // they hold the hooks' secret
      fmt::print(stderr, "{}\n", written.error().text);
      return failed;
    }
    fmt::print("{}\n", (folder / f.name).native());
  }
  return done;
}

int make_srs_config(const srs_wish& wish) {
  auto loaded = describe::load_node_config(wish.file);
  for (auto& p : loaded.found)
    fmt::print(stderr, "{}\n", describe::to_string(p));
  if (!loaded.good())
    return wrong_usage;
  std::vector<rtmp::srs_edge> edges;
  for (auto& text : wish.edges) {
    auto split = text.find('=');
    if (split == text.npos) {
      fmt::print(stderr, "--edge {:?}: is not NAME=LISTEN, such as edge-1=1935\n", text);
      return wrong_usage;
    }
    edges.push_back({text.substr(0, split), text.substr(split + 1)});
  }
  for (unsigned i = 1; i <= wish.edge_count; ++i)
    edges.push_back({fmt::format("edge-{}", i), "1935"});
  auto made = rtmp::render_srs_cluster(loaded.config, edges);
  for (auto& c : made.found) {
    auto at = c.path.starts_with("--") ? describe::place{} : find_place(loaded, c.path, wish.file);
    fmt::print(stderr, "{}\n", describe::to_string(describe::problem{.at = at, .path = c.path, .pointer = {}, .detail = c.detail, .fatal = c.fatal}));
  }
  if (!made.good())
    return wrong_usage;
  if (!wish.folder.empty())
    return write_files(made.files, wish.folder);
  for (auto& f : made.files)
    fmt::print("{}##### {} #####\n{}", &f == &made.files.front() ? "" : "\n", f.name, f.text);
  return done;
}

} // namespace

void add_srs_command(CLI::App& config, command& run) {
  auto wish = std::make_shared<srs_wish>();
  auto* srs = config.add_subcommand("srs", "Configuration of a cluster of real SRS servers: one file for each SRS in rtmp_servers, and for each edge");
  srs->add_option("-c,--config", wish->file, "The coordinator's YAML")->capture_default_str();
  srs->add_option("--out", wish->folder, "Write NAME.conf there, with mode 0600, instead of printing")->type_name("DIR");
  auto* named = srs->add_option("--edge", wish->edges, "An edge and where it listens: a port, or IP address:port; repeatable")->type_name("NAME=LISTEN");
  srs->add_option("--edges", wish->edge_count, "That many edges, edge-1 and on, each on a machine of its own with port 1935")
    ->type_name("N")
    ->check(CLI::Range(1, 64))
    ->excludes(named);
  srs->footer("Examples:\n  weir config srs -c /etc/weir/weir.yaml --edge edge-1=1936\n  weir config srs -c /etc/weir/weir.yaml --edges 2 --out ./srs\n"
              "\nSRS (https://ossrs.io) is not in Debian and Weir's tests do not run it: `srs -t -c NAME.conf` checks what was written.");
  srs->callback([wish, &run] { run = [wish] { return make_srs_config(*wish); }; });
}

} // namespace weir
