#include "runtime/describe/node_config.hpp"

#include "runtime/base/file.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/describe/yaml_writer.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

namespace weir::describe {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t file_limit = 1 << 20;

value read_yaml(const fs::path& path, const environment& variables, problems& found) {
  auto text = read_file(path, file_limit);
  if (!text) {
    found.push_back({{std::make_shared<const std::string>(path.string()), 0, 0}, "", "", text.error().text});
    value nothing;
    nothing.broken = true;
    return nothing;
  }
  auto tree = parse_yaml(*text, path.string(), found);
  substitute(tree, variables, found);
  return tree;
}

std::vector<fs::path> included(const fs::path& path) {
  std::vector<fs::path> out;
  std::error_code ignored; // no folder, no includes
  for (fs::directory_iterator it(path.parent_path() / "conf.d", ignored), end; !ignored && it != end; it.increment(ignored))
    if (it->path().extension() == ".yaml" && it->path().filename().string().front() != '.')
      out.push_back(it->path());
  std::sort(out.begin(), out.end(), [](auto& a, auto& b) { return a.native() < b.native(); });
  return out;
}

std::string host_name() {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) != 0)
    return "node";
  return std::string(name).substr(0, 64);
}

void sort_by_place(problems& found) {
  std::stable_sort(found.begin(), found.end(), [](const problem& a, const problem& b) {
    auto file = [](const problem& p) { return p.at.file ? std::string_view(*p.at.file) : std::string_view(); };
    return std::tuple(file(a), a.at.line, a.at.column) < std::tuple(file(b), b.at.line, b.at.column);
  });
}

// From files and then the built-in ones, as far as their names are still free.
void add_ladders(loaded_config& loaded, const fs::path& folder, const environment& variables, bool files) {
  auto& ladders = loaded.config.ladders;
  auto taken = [&](const std::string& name) { return std::any_of(ladders.begin(), ladders.end(), [&](auto& l) { return l.name == name; }); };
  auto* written = loaded.tree.find("ladder_files");
  std::map<std::string, std::string> from; // name → file, to report a name that two files use
  for (std::size_t i = 0; files && i < loaded.config.ladder_files.size(); ++i) {
    auto& file = loaded.config.ladder_files[i];
    auto ladder = load_ladder(folder / file, loaded.found, variables);
    if (!ladder)
      continue;
    auto [before, fresh] = from.emplace(ladder->name, file);
    if (!fresh)
      loaded.found.push_back({written && i < written->items.size() ? written->items[i].at : place{}, fmt::format("ladder_files[{}]", i), fmt::format("/ladder_files/{}", i),
                              fmt::format("{} names its ladder {:?}, as {} does", file, ladder->name, before->second)});
    else if (!taken(ladder->name))
      ladders.push_back(std::move(*ladder));
  }
  for (auto& ladder : built_in_ladders())
    if (!taken(ladder.name))
      ladders.push_back(std::move(ladder));
}

/// Whether the files of certificates and keys are there and are what they should be; which of them fit together, who uses them says.
void check_certificates(loaded_config& loaded) {
  auto& config = loaded.config;
  struct wanted {
    std::string_view group, name;
    const std::string& file;
    std::string_view holds, words;
    bool is_private;
  };
  std::vector<wanted> files{{"http", "certificate", config.http.certificate, "-----BEGIN CERTIFICATE-----", "certificate", false},
                            {"http", "key", config.http.key, "PRIVATE KEY-----", "key", true}};
  if (config.has(role::edge)) {
    files.push_back({"edge", "certificate", config.edge.certificate, "-----BEGIN CERTIFICATE-----", "certificate", false});
    files.push_back({"edge", "key", config.edge.key, "PRIVATE KEY-----", "key", true});
  }
  if (config.has(role::coordinator)) // it probes
    files.push_back({"director", "edge_authorities", config.director.edge_authorities, "-----BEGIN CERTIFICATE-----", "certificate", false});
  for (auto& w : files) {
    if (w.file.empty())
      continue;
    auto* group = loaded.tree.find(w.group);
    auto* written = group ? group->find(w.name) : nullptr;
    auto say = [&](std::string what, bool fatal) {
      loaded.found.push_back({written ? written->at : place{}, fmt::format("{}.{}", w.group, w.name), fmt::format("/{}/{}", w.group, w.name), std::move(what), fatal});
    };
    std::error_code unknown; // a file that cannot be asked cannot be read either
    auto text = read_file(w.file, file_limit);
    if (!text)
      say(text.error().text, true);
    else if (text->find(w.holds) == std::string::npos)
      say(fmt::format("{} holds no {} (PEM)", w.file, w.words), true);
    else if (w.is_private && (fs::status(w.file, unknown).permissions() & fs::perms::others_all) != fs::perms::none)
      say(fmt::format("{} can be read by everyone on this machine: chmod o= {}", w.file, w.file), false);
  }
}

loaded_config finish(loaded_config loaded, const fs::path& folder, const environment& variables, bool files) {
  override_from(loaded.tree, shape_of<node_config>(), variables, loaded.found);
  decode_options options;
  options.read_secret = files ? secret_reader(variables) : [](const std::string&, const place&) -> expected<std::string> { return std::string(); };
  if (decode(loaded.tree, loaded.config, loaded.found, options)) {
    add_ladders(loaded, folder, variables, files);
    if (files)
      check_certificates(loaded);
    if (loaded.config.node.name.empty())
      loaded.config.node.name = host_name();
  }
  sort_by_place(loaded.found);
  return loaded;
}

void list_values(const shape& type, const void* at, const value* written, field_flags flags, const std::string& path, std::vector<effective_value>& out) {
  for (auto& f : type.fields) {
    auto name = path.empty() ? std::string(f.name) : fmt::format("{}.{}", path, f.name);
    auto* here = written ? written->find(f.name) : nullptr;
    if (!here && written && f.is(secret))
      here = written->find(std::string(f.name) + "_file");
    auto* member = f.of_const(at);
    if (f.type().is == shape::kind::object) {
      list_values(f.type(), member, here, flags | f.flags, name, out);
      continue;
    }
    auto shown = has(flags | f.flags, secret) && f.type().is == shape::kind::text ? (f.type().text(const_cast<void*>(member)).empty() ? "" : "***")
                                                                                   : detail::encode(f.type(), member, {});
    out.push_back({name, yaml_inline(shown), here ? to_string(here->at) : "default"});
  }
}

} // namespace

loaded_config load_node_config(const fs::path& path, const environment& variables) {
  loaded_config loaded;
  loaded.tree = read_yaml(path, variables, loaded.found);
  for (auto& file : included(path))
    merge(loaded.tree, read_yaml(file, variables, loaded.found), loaded.found);
  return finish(std::move(loaded), path.parent_path(), variables, true);
}

loaded_config parse_node_config(std::string_view text, std::string_view file, const environment& variables) {
  loaded_config loaded;
  loaded.tree = parse_yaml(text, file, loaded.found);
  substitute(loaded.tree, variables, loaded.found);
  return finish(std::move(loaded), {}, variables, false);
}

expected<ladder_spec> load_ladder(const fs::path& path, problems& found, const environment& variables) {
  problems own;
  ladder_spec ladder;
  auto tree = read_yaml(path, variables, own);
  if (decode(tree, ladder, own))
    for (auto& c : check(ladder))
      own.push_back({tree.at, c.path, "", c.detail, c.fatal});
  auto failed = any_fatal(own);
  auto why = to_error(own, error_code::invalid_config);
  found.insert(found.end(), std::make_move_iterator(own.begin()), std::make_move_iterator(own.end()));
  if (failed)
    return fail(std::move(why));
  return ladder;
}

std::vector<effective_value> effective_values(const loaded_config& loaded) {
  std::vector<effective_value> out;
  list_values(shape_of<node_config>(), &loaded.config, &loaded.tree, field_flags::none, "", out);
  return out;
}

} // namespace weir::describe
