// `weir stream …`
#include "apps/weir/client_nouns.hpp"
#include "runtime/base/file.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#include <iostream>
#include <optional>

namespace weir::cli {
namespace {

const std::vector<std::string_view> first_of_stream{"name", "title", "phase", "enabled", "viewing", "playback_url", "publish_urls", "publishers"};

/// What `add` and `set` may say of a stream; what is not said is not sent.
struct stream_wish {
  std::optional<std::string> name, app, vhost, title, comment, key_file, viewing;
  bool enable = false;
  bool disable = false;

  void add_to(CLI::App& sub) {
    sub.add_option("--app", app, "RTMP application that it is published to");
    sub.add_option("--vhost", vhost, "RTMP virtual host");
    sub.add_option("--title", title, "Title shown to viewers");
    sub.add_option("--comment", comment, "Note for the organisers");
    sub.add_option("--key-file", key_file, "File with the secret key that a publisher must present (made by Weir when not given)");
    sub.add_option("--viewing", viewing, "Who may watch: open (whoever knows the name) or signed (who has an address from weir stream sign)")->check(CLI::IsMember({"open", "signed"}));
    sub.add_flag("--disable", disable, "Refuse publishers");
  }
  answer<json> body() const {
    json b = json::object();
    for (auto& [key, value] : {std::pair{"name", &name}, {"app", &app}, {"vhost", &vhost}, {"title", &title}, {"comment", &comment}, {"viewing", &viewing}})
      if (*value)
        b[key] = **value;
    if (key_file) {
      auto key = read_secret_file(*key_file);
      if (!key)
        return fail(refusal(key.error()));
      b["key"] = *key;
    }
    if (enable || disable)
      b["enabled"] = enable;
    return b;
  }
};

answer<void> print_key(const client_options& options, const answer<json>& key) {
  WEIR_TRY(key);
  if (options.table())
    std::cout << shown(*key, "key") << '\n';
  else
    print_data(options, *key);
  return {};
}

std::string path_of(const json& stream) { return "/api/v1/streams/" + part(stream.at("id").get<std::string>()); }

} // namespace

table stream_table() { return {"STREAM", "PHASE", "ENABLED", "APP", ">PUBLISHERS", ">LIVE FOR", "TITLE"}; }

std::vector<cell> stream_row(const json& s) {
  auto publishers = s.value("publishers", json::array());
  return {{shown(s, "name")},
          phase_cell(s),
          {shown(s, "enabled")},
          {shown(s, "app")},
          {std::to_string(publishers.size())},
          {publishers.empty() ? "-" : age(publishers.front(), "since")},
          {shown(s, "title")}};
}

void add_stream_commands(CLI::App& app, command& run) {
  auto* noun = add_noun(app, "stream", "Streams: what may be published and what is live");
  auto options = std::make_shared<client_options>();
  auto which = std::make_shared<std::string>();
  auto several = std::make_shared<std::vector<std::string>>();
  auto wish = std::make_shared<stream_wish>();
  auto one = [=](CLI::App* sub) { sub->add_option("STREAM", *which, "Name or id")->required(); };

  auto filter = std::make_shared<std::vector<std::string>>(3);
  auto* list = add_client_command(*noun, "list", "Lists streams", "  weir stream list --phase live\n  weir stream list -q stage -o json", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      std::string query;
      for (auto [key, value] : {std::pair{"phase", &(*filter)[0]}, {"app", &(*filter)[1]}, {"q", &(*filter)[2]}})
        if (!value->empty())
          query += fmt::format("{}{}={}", query.empty() ? "" : "&", key, part(*value));
      auto streams = node.list("/api/v1/streams", query);
      WEIR_TRY(streams);
      print_list(*options, *streams, stream_table(), stream_row);
      return {};
    });
  });
  list->add_option("--phase", (*filter)[0], "Only those offline, live or ending")->check(CLI::IsMember({"offline", "live", "ending"}));
  list->add_option("--app", (*filter)[1], "Only those of this RTMP application");
  list->add_option("-q", (*filter)[2], "Only those whose name holds this text");

  one(add_client_command(*noun, "show", "Shows a stream", "  weir stream show main\n  weir stream show main -o yaml", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto stream = node.stream(*which);
      WEIR_TRY(stream);
      print_object(*options, *stream, first_of_stream);
      return {};
    });
  }));

  auto* add = add_client_command(*noun, "add", "Adds a stream",
                                 "  weir stream add main --title 'Main stage'\n  weir stream key main         # what the encoder needs beside the address", options, run, [=] {
                                   return speak(*options, [&](connection& node) -> answer<void> {
                                     auto body = wish->body();
                                     WEIR_TRY(body);
                                     (*body)["name"] = *which;
                                     auto stream = node.send("POST", "/api/v1/streams", *body);
                                     WEIR_TRY(stream);
                                     print_object(*options, *stream, first_of_stream);
                                     return {};
                                   });
                                 });
  add->add_option("NAME", *which, "Public name: letters, digits, '-', '_' and '.'")->required();
  wish->add_to(*add);

  auto* set = add_client_command(*noun, "set", "Changes a stream; what is not named stays", "  weir stream set main --title 'Main stage, day 2'\n  weir stream set main --disable", options, run,
                                 [=] {
                                   return speak(*options, [&](connection& node) -> answer<void> {
                                     auto body = wish->body();
                                     WEIR_TRY(body);
                                     if (body->empty())
                                       return fail(refusal(wrong_usage, "nothing to change was named; see weir stream set --help"));
                                     auto stream = node.stream(*which);
                                     WEIR_TRY(stream);
                                     auto changed = node.send("PATCH", path_of(*stream), *body);
                                     WEIR_TRY(changed);
                                     print_object(*options, *changed, first_of_stream);
                                     return {};
                                   });
                                 });
  one(set);
  set->add_option("--name", wish->name, "New public name");
  wish->add_to(*set);
  set->add_flag("--enable", wish->enable, "Accept publishers")->excludes("--disable");

  auto yes = std::make_shared<bool>(false);
  auto* rm = add_client_command(*noun, "rm", "Removes streams with their tasks", "  weir stream rm rehearsal --yes", options, run, [=] {
    return speak_of_each(*options, *several, [&](connection& node, const std::string& name) -> answer<void> {
      auto stream = node.stream(name);
      WEIR_TRY(stream);
      if (!agreed(*yes, fmt::format("Remove stream {} and its tasks for good?", shown(*stream, "name"))))
        return fail(refusal(failed, fmt::format("stream {} stays", name)));
      WEIR_TRY(node.send("DELETE", path_of(*stream)));
      say(*options, fmt::format("stream {} is removed", shown(*stream, "name")));
      return {};
    });
  });
  rm->add_option("STREAM", *several, "Names or ids")->required();
  rm->add_flag("-y,--yes", *yes, "Do not ask");

  one(add_client_command(*noun, "rotate-key", "Makes a new key and prints it; the old one is no longer accepted", "  weir stream rotate-key main", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto stream = node.stream(*which);
      WEIR_TRY(stream);
      return print_key(*options, node.send("POST", path_of(*stream) + "/rotate-key"));
    });
  }));
  one(add_client_command(*noun, "key", "Prints the secret key; every sight of it is recorded", "  weir stream key main", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto stream = node.stream(*which);
      WEIR_TRY(stream);
      return print_key(*options, node.get(path_of(*stream) + "/key"));
    });
  }));
  auto lifetime = std::make_shared<std::string>("8h");
  auto* sign = add_client_command(*noun, "sign", "Prints an address at which a signed stream can be watched for a while", "  weir stream sign main --for 8h", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto stream = node.stream(*which);
      WEIR_TRY(stream);
      auto pass = node.send("POST", path_of(*stream) + "/viewing-tokens", json{{"lifetime", *lifetime}});
      WEIR_TRY(pass);
      if (options->table())
        std::cout << shown(*pass, "playback_url") << '\n';
      else
        print_data(*options, *pass);
      return {};
    });
  });
  one(sign);
  sign->add_option("--for", *lifetime, "How long: 30m, 8h, 336h")->capture_default_str();
  add_client_command(*noun, "rotate-viewing-key", "Makes a new secret for the signed addresses of all streams; those of the former one are good until the next time",
                     "  weir stream rotate-viewing-key", options, run, [=] {
                       return speak(*options, [&](connection& node) -> answer<void> {
                         WEIR_TRY(node.send("POST", "/api/v1/rotate-viewing-key"));
                         say(*options, "addresses are signed with a new secret; done twice, nobody can watch by one that was signed before");
                         return {};
                       });
                     });
  one(add_client_command(*noun, "kick", "Disconnects whoever publishes", "  weir stream kick main", options, run, [=] {
    return speak(*options, [&](connection& node) -> answer<void> {
      auto stream = node.stream(*which);
      WEIR_TRY(stream);
      WEIR_TRY(node.send("POST", path_of(*stream) + "/kick"));
      say(*options, fmt::format("the publishers of {} are cut off; weir events says where that cannot be done", shown(*stream, "name")));
      return {};
    });
  }));
}

} // namespace weir::cli
