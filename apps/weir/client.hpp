#pragma once
// How the program speaks to a running node: where it is, who we are, one request after another, errors as people read them.
//
//   return speak(*options, [&](connection& node) -> answer<void> {
//     auto stream = node.get("/api/v1/streams/" + part(id));
//     WEIR_TRY(stream);
//     …
//   });
#include "apps/weir/commands.hpp"
#include "runtime/http/client.hpp"
#include "schemas/error.hpp"

#include <nlohmann/json.hpp>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace weir::cli {

using json = nlohmann::ordered_json;

/// What every command that speaks to a node takes.
struct client_options {
  std::string servers; ///< with commas; empty: WEIR_SERVER, else this machine
  std::string token;
  std::string token_file;
  std::string form = "table"; ///< table, json or yaml
  bool table() const { return form == "table"; }
};
/// A subcommand with `--server`, `--token`, `--token-file` and `-o`; `examples` close its help. `then` runs when the command line names it.
CLI::App* add_client_command(CLI::App& parent, const std::string& name, const std::string& about, const std::string& examples, const std::shared_ptr<client_options>& options,
                             command& run, std::function<int()> then);
/// A subcommand that only holds others: `weir stream …`.
CLI::App* add_noun(CLI::App& app, const std::string& name, const std::string& about);

/// Why a command could not be done, and the exit status that says so.
struct refusal {
  exit_status status = failed;
  std::string text;
  std::vector<std::string> places; ///< "/options/url: is required"

  refusal(exit_status s, std::string t) : status(s), text(std::move(t)) {}
  /// Of this machine (files, options).
  refusal(const error& e); // NOLINT: an error is a refusal
};
template <class T>
using answer = tl::expected<T, refusal>;

/// One of the servers, chosen once: the first that can be reached.
class connection {
public:
  /// Errors: wrong_usage (address, token file), not_reachable (all of them).
  static answer<connection> open(const client_options& options);

  answer<json> get(const std::string& path) { return call("GET", path, {}); }
  /// Null when the answer has no body.
  answer<json> send(const std::string& method, const std::string& path, const json& body = {}) { return call(method, path, body); }
  /// The items of all pages of a list; `query` like "phase=live".
  answer<json> list(const std::string& path, const std::string& query = {});
  /// An answer as it is, whatever its status. Errors: not_reachable.
  answer<http::client_response> raw(const std::string& path);

  /// Follows an event stream until `stop` says so or the connection ends; `event` gets id, name and data, in order, on this thread.
  /// `stop` waits a moment for a reason to stop, and is asked again and again. Done with true: stopped; with false: the stream ended and may be followed anew.
  answer<bool> follow(const std::string& path, const std::string& last_id, const std::function<bool()>& stop,
                      const std::function<void(const std::string& id, const std::string& name, const std::string& data)>& event);

  /// The stream of that name, else of that id.
  answer<json> stream(const std::string& name_or_id);
  /// The task of that id, or the only one whose name it is or whose id begins so.
  answer<json> task(const std::string& which);
  /// The node or edge (noun) of that name.
  answer<json> named(const std::string& noun, const std::string& name);

  /// For people: without user and password.
  std::string server() const { return http::masked_url(server_); }

private:
  connection(std::string server, std::string token) : web_(std::make_unique<http::client>(http::client_options{})), server_(std::move(server)), token_(std::move(token)) {}
  http::client_request request(const std::string& method, const std::string& path) const;
  answer<json> call(const std::string& method, const std::string& path, const json& body);

  std::unique_ptr<http::client> web_;
  std::string server_;
  std::string token_;
};

/// Opens the connection, runs the work, tells on stderr what was refused; the exit status.
int speak(const client_options& options, const std::function<answer<void>(connection&)>& work);
/// The same for several things: each is tried, the first refusal decides the exit status.
int speak_of_each(const client_options& options, const std::vector<std::string>& names, const std::function<answer<void>(connection&, const std::string&)>& work);
/// Runs the work; an answer of unexpected shape (of another version of Weir, or not of Weir) becomes a refusal.
answer<void> understood(const std::function<answer<void>()>& work);
/// `weir: …` on stderr, with the places below it.
void tell(const refusal& why);

/// A part of a path.
std::string part(std::string_view text);
/// Whether the person at the terminal agrees; true off a terminal or with `--yes`.
bool agreed(bool yes, const std::string& question);

} // namespace weir::cli

namespace weir {
/// So that WEIR_TRY hands refusals on as well.
inline tl::unexpected<cli::refusal> fail(cli::refusal r) { return tl::unexpected<cli::refusal>(std::move(r)); }
} // namespace weir
