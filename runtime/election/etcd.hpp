#pragma once
// etcd's third API as far as an election and its records need it, over its JSON gateway (etcd 3.4 and later: /v3/…).
//
//   etcd there({.endpoints = {"http://10.0.0.1:2379", "http://10.0.0.2:2379"}});
//   auto lease = there.grant(5s);
//   auto done = there.commit({.when = {{.key = "/k", .created = 0}}, .then = {put("/k", "v", *lease)}, .otherwise = {get("/k")}});
//
// Source: https://etcd.io/docs/v3.4/dev-guide/api_grpc_gateway/ and etcd's rpc.proto.
#include "runtime/http/client.hpp"

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weir::election {

using lease_number = std::int64_t;
/// Of etcd's whole store: grows with each change.
using revision_number = std::int64_t;

struct record {
  std::string key, value;
  revision_number created = 0, modified = 0;
  lease_number lease = 0; ///< the record goes with it; 0: it stays
};

struct range_answer {
  std::vector<record> records; ///< in the order of their keys
  bool more = false;           ///< there are others behind the last one
  revision_number revision = 0;
};

/// What must hold for a transaction: exactly one member is set. A record that does not exist has the revisions 0 and no value.
struct condition {
  std::string key;
  std::optional<revision_number> created, modified;
  std::optional<std::string> value;
};

struct operation {
  enum class kind : std::uint8_t { get, put, remove } what = kind::get;
  std::string key;
  std::string value;      ///< put
  lease_number lease = 0; ///< put
  std::string end;        ///< get and remove: all keys from `key` to this one, which is left out; empty: the one
};
operation get(std::string key);
operation put(std::string key, std::string value, lease_number lease = 0);
operation remove(std::string key);
/// All keys that begin so.
operation remove_all(std::string prefix);
/// The first key behind all that begin with the prefix; none of its bytes may be 0xff alone.
std::string end_of_prefix(std::string prefix);

/// All of it or nothing.
struct transaction {
  std::vector<condition> when; ///< all must hold
  std::vector<operation> then, otherwise;
};

struct transaction_answer {
  bool succeeded = false;
  revision_number revision = 0;
  std::vector<range_answer> found; ///< of the gets in the branch that was taken
};

/// etcd's answers are bytes from outside: bounded in size and depth, each field of its type. Fail: too_large, invalid_input.
expected<range_answer> parse_range(std::string_view body);
expected<transaction_answer> parse_transaction(std::string_view body);
expected<lease_number> parse_grant(std::string_view body);
/// The seconds that the lease has left; 0: there is no such lease any more.
expected<std::int64_t> parse_keep_alive(std::string_view body);
/// What an answer other than 200 says. invalid_input, too_many, not_found and forbidden are etcd's last word; unavailable may be otherwise at the next try.
error parse_refusal(int status, std::string_view body);

/// What a member says of itself: whether it knows who leads etcd, and what else is wrong with it, in etcd's words ("etcdserver: no leader",
/// "memberID:… alarm:NOSPACE"), cut to 300 bytes of printable ASCII.
struct member_status {
  bool has_leader = false;
  std::string trouble;
};
expected<member_status> parse_member_status(std::string_view body);

struct member_health {
  std::string endpoint;
  std::string trouble; ///< why it does not serve; empty: it does
};

struct etcd_options {
  std::vector<std::string> endpoints; ///< client addresses of the members, "http://host:port" or "https://host:port"
  std::string authorities;            ///< file with the certificates that theirs are checked against; empty: the system's
  std::string certificate, key;       ///< files of what they are shown (--client-cert-auth), read for each connection; empty: nothing
  std::chrono::milliseconds patience{1'000}; ///< with one member; then the next one is asked
};

/// Waits for answers: never in an actor that others wait for. Thread-safe. Each call asks one member after the other, beginning with the one that answered last,
/// for as long as `budget`. Fails with unavailable when none answered in time: then it is not known whether a change was made. Other errors are etcd's refusals.
class etcd {
public:
  explicit etcd(etcd_options options);

  expected<lease_number> grant(std::chrono::seconds ttl);
  /// Fails with not_found when the lease is over.
  expected<void> keep_alive(lease_number lease, std::chrono::milliseconds budget);
  expected<void> revoke(lease_number lease);
  /// Keys from `from` to `end` (left out; empty: only `from`), at most `limit`, as they stood at a revision (0: now).
  expected<range_answer> range(std::string from, std::string end, unsigned limit, revision_number at = 0,
                               std::chrono::milliseconds budget = std::chrono::seconds(3));
  expected<transaction_answer> commit(const transaction& wish, std::chrono::milliseconds budget = std::chrono::seconds(3));

  /// Asks all members at once how they are, and waits for the last answer, `patience` at most. In the order of the endpoints; whoever does not answer, knows
  /// no leader or has raised an alarm (its disk is full) is in trouble.
  std::vector<member_health> members();

private:
  http::client_request request(const std::string& endpoint, std::string_view path, std::shared_ptr<const std::string> body, std::chrono::milliseconds deadline,
                               std::uint64_t limit) const;
  expected<std::string> call(std::string_view path, std::string body, std::chrono::milliseconds budget, std::uint64_t limit);

  etcd_options options_;
  http::client web_;
  std::mutex mutex_;
  std::size_t preferred_ = 0; ///< the member that answered last
};

} // namespace weir::election
