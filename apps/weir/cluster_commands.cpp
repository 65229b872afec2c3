// `weir cluster …`: the authority whose certificates let nodes join. It works on files and speaks to no node.
#include "apps/weir/commands.hpp"
#include "runtime/cluster/authority.hpp"

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fmt/format.h>
#include <vector>

namespace weir {
namespace {

struct authority_wish {
  std::string folder = "./weir-ca";
  std::string cluster_name = "weir";
  std::vector<std::string> nodes;
  int authority_days = 3650;
  int node_days = 825;
  std::string file;
};

int refused(const error& e, int status) {
  fmt::print(stderr, "{}\n", e.text);
  return status;
}
int refused(const error& e) { return refused(e, e.code == error_code::not_found ? not_found : failed); }

std::string path_in(const authority_wish& wish, std::string_view file) { return (std::filesystem::path(wish.folder) / file).native(); }
/// To the second, as certificates have it.
std::string date(timestamp t) { return to_rfc3339(t).substr(0, 19) + "Z"; }

int init_authority(const authority_wish& wish) {
  auto made = cluster::make_authority(wish.folder, wish.cluster_name, std::chrono::days(wish.authority_days));
  if (!made)
    return made.error().code == error_code::invalid_input ? refused(made.error(), wrong_usage) : refused(made.error());
  fmt::print("{} is the authority of cluster {}. Whoever has {} can let nodes in: keep it off the nodes.\n", path_in(wish, "ca.pem"),
             wish.cluster_name, path_in(wish, "ca.key"));
  fmt::print("Next: weir cluster issue NODE --dir {}; then copy ca.pem, NODE.pem and NODE.key to each node and name them in its YAML\n"
             "as cluster.ca, cluster.certificate and cluster.key.\n",
             wish.folder);
  return done;
}

int issue_certificates(const authority_wish& wish) {
  for (auto& node : wish.nodes) // all names before the first file
    if (auto good = cluster::check_node_name(node); !good)
      return refused(good.error(), wrong_usage);
  for (auto& node : wish.nodes) {
    if (auto issued = cluster::issue(wish.folder, node, std::chrono::days(wish.node_days)); !issued)
      return refused(issued.error());
    auto file = path_in(wish, node + ".pem"), key = path_in(wish, node + ".key");
    auto facts = cluster::read_certificate(file);
    if (!facts)
      return refused(facts.error());
    fmt::print("{} and {} are valid until {}.\n", file, key, date(facts->not_after));
    fmt::print("Next: copy them and {} to {}, the key with mode 0600 for the user that runs weir,\n"
               "and name them in its YAML as cluster.certificate, cluster.key and cluster.ca.\n",
               path_in(wish, "ca.pem"), node);
  }
  return done;
}

int show_certificate(const std::string& file) {
  auto facts = cluster::read_certificate(file);
  if (!facts)
    return refused(facts.error());
  auto now = std::chrono::system_clock::now();
  fmt::print("subject      {}\nissuer       {}\n", facts->subject, facts->issuer);
  fmt::print("valid        {} to {}{}\n", date(facts->not_before), date(facts->not_after),
             now > facts->not_after ? " (expired)" : now < facts->not_before ? " (not yet)" : "");
  fmt::print("authority    {}\n", facts->is_authority ? "yes" : "no");
  return done;
}

} // namespace

void add_cluster_commands(CLI::App& app, command& run) {
  auto* noun = app.add_subcommand("cluster", "Certificates with which nodes join: makes the authority, issues, shows");
  noun->require_subcommand(1);
  auto wish = std::make_shared<authority_wish>();
  auto add_options = [wish](CLI::App* sub, int& days) {
    sub->add_option("--dir", wish->folder, "Folder of the authority")->type_name("DIR")->capture_default_str();
    sub->add_option("--days", days, "Validity")->type_name("N")->check(CLI::Range(1, 36'500))->capture_default_str();
  };

  auto* init = noun->add_subcommand("init-ca", "Makes the cluster's authority: ca.pem and ca.key; never overwrites one");
  add_options(init, wish->authority_days);
  init->add_option("--name", wish->cluster_name, "Name of the cluster, as it stands in certificates")->type_name("NAME")->capture_default_str();
  init->callback([=, &run] { run = [=] { return init_authority(*wish); }; });

  auto* issue = noun->add_subcommand("issue", "Issues a certificate and a key for each node; replaces those that are there");
  issue->add_option("NODE", wish->nodes, "Names of nodes")->required();
  add_options(issue, wish->node_days);
  issue->callback([=, &run] { run = [=] { return issue_certificates(*wish); }; });

  auto* show = noun->add_subcommand("show", "Shows subject, issuer and validity of a certificate");
  show->add_option("FILE", wish->file, "A PEM file")->required();
  show->callback([=, &run] { run = [=] { return show_certificate(wish->file); }; });
}

} // namespace weir
