#include "runtime/election/etcd.hpp"

#include "runtime/base/base64.hpp"
#include "runtime/http/target.hpp"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <future>
#include <nlohmann/json.hpp>

namespace weir::election {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

constexpr std::size_t answer_limit = 64 << 20;     ///< of a page of records
constexpr std::size_t short_answer_limit = 1 << 20; ///< of everything else
constexpr int deepest = 8;
constexpr auto whole_call = 3s;
constexpr auto last_call = 1500ms; ///< giving back what ends by itself must not hold up the end of the program

expected<json> bounded(std::string_view text, std::size_t limit) {
  if (text.size() > limit)
    return fail(error_code::too_large, fmt::format("etcd answered {} bytes; at most {} are taken", text.size(), limit));
  bool deep = false;
  const auto watch = [&](int level, json::parse_event_t, json&) {
    deep |= level > deepest;
    return level <= deepest; // deeper values are not even kept
  };
  auto object = json::parse(text, watch, false);
  if (deep)
    return fail(error_code::too_large, fmt::format("etcd's answer is nested deeper than {}", deepest));
  if (!object.is_object())
    return fail(error_code::invalid_input, "etcd's answer is not a JSON object");
  return object;
}

/// An integer of 64 bits: in proto3's JSON a string, absent when it is 0.
expected<std::int64_t> number(const json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null())
    return 0;
  if (found->is_number_integer() && (!found->is_number_unsigned() || found->get<std::uint64_t>() <= std::uint64_t{INT64_MAX}))
    return found->get<std::int64_t>();
  std::int64_t n = 0;
  if (found->is_string()) {
    auto& text = found->get_ref<const std::string&>();
    if (auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), n); code == std::errc{} && end == text.data() + text.size() && !text.empty())
      return n;
  }
  return fail(error_code::invalid_input, fmt::format("etcd's answer: {} is not an integer", name));
}

expected<bool> truth(const json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null())
    return false;
  if (!found->is_boolean())
    return fail(error_code::invalid_input, fmt::format("etcd's answer: {} is not a truth value", name));
  return found->get<bool>();
}

expected<std::string> bytes(const json& object, const char* name) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null())
    return std::string();
  if (!found->is_string())
    return fail(error_code::invalid_input, fmt::format("etcd's answer: {} is not a text", name));
  auto decoded = from_base64(found->get_ref<const std::string&>());
  if (!decoded)
    return fail(decoded.error().in(fmt::format("etcd's answer: {}", name)));
  return decoded;
}

/// With what an operator can do about it.
error explained(error wrong, bool shown) {
  if (wrong.text.find(http::refused_by_certificate) != std::string::npos)
    wrong.text += shown ? ": does etcd accept coordinator.etcd_certificate?" : ": does etcd demand a certificate (coordinator.etcd_certificate, etcd_key)?";
  return wrong;
}

/// A member that may be missing; `kind` is a type of JSON.
expected<const json*> member(const json& object, const char* name, json::value_t kind) {
  auto found = object.find(name);
  if (found == object.end() || found->is_null())
    return nullptr;
  if (found->type() != kind)
    return fail(error_code::invalid_input, fmt::format("etcd's answer: {} is of another type", name));
  return &*found;
}

expected<revision_number> revision_in(const json& answer) {
  auto header = member(answer, "header", json::value_t::object);
  WEIR_TRY(header);
  return *header ? number(**header, "revision") : expected<revision_number>{0};
}

expected<range_answer> range_in(const json& answer) {
  range_answer out;
  auto revision = revision_in(answer);
  WEIR_TRY(revision);
  out.revision = *revision;
  auto more = truth(answer, "more");
  WEIR_TRY(more);
  out.more = *more;
  auto list = member(answer, "kvs", json::value_t::array);
  WEIR_TRY(list);
  if (!*list)
    return out;
  for (auto& one : **list) {
    if (!one.is_object())
      return fail(error_code::invalid_input, "etcd's answer: a record is not an object");
    auto key = bytes(one, "key"), value = bytes(one, "value");
    auto created = number(one, "create_revision"), modified = number(one, "mod_revision"), lease = number(one, "lease");
    WEIR_TRY(key);
    WEIR_TRY(value);
    WEIR_TRY(created);
    WEIR_TRY(modified);
    WEIR_TRY(lease);
    if (key->empty())
      return fail(error_code::invalid_input, "etcd's answer: a record has no key");
    out.records.push_back({std::move(*key), std::move(*value), *created, *modified, *lease});
  }
  return out;
}

json encode(const condition& c) {
  json j{{"key", to_base64(c.key)}, {"result", "EQUAL"}};
  if (c.created) {
    j["target"] = "CREATE";
    j["create_revision"] = std::to_string(*c.created);
  } else if (c.modified) {
    j["target"] = "MOD";
    j["mod_revision"] = std::to_string(*c.modified);
  } else {
    j["target"] = "VALUE";
    j["value"] = to_base64(c.value.value_or(std::string()));
  }
  return j;
}

json encode(const operation& o) {
  json j{{"key", to_base64(o.key)}};
  if (!o.end.empty())
    j["range_end"] = to_base64(o.end);
  switch (o.what) {
  case operation::kind::get: return {{"request_range", std::move(j)}};
  case operation::kind::remove: return {{"request_delete_range", std::move(j)}};
  case operation::kind::put: break;
  }
  j["value"] = to_base64(o.value);
  if (o.lease != 0)
    j["lease"] = std::to_string(o.lease);
  return {{"request_put", std::move(j)}};
}

template <class T>
json encode(const std::vector<T>& list) {
  auto all = json::array();
  for (auto& one : list)
    all.push_back(encode(one));
  return all;
}

} // namespace

operation get(std::string key) { return {.what = operation::kind::get, .key = std::move(key), .value = {}, .end = {}}; }
operation put(std::string key, std::string value, lease_number lease) {
  return {.what = operation::kind::put, .key = std::move(key), .value = std::move(value), .lease = lease, .end = {}};
}
operation remove(std::string key) { return {.what = operation::kind::remove, .key = std::move(key), .value = {}, .end = {}}; }
operation remove_all(std::string prefix) {
  auto end = end_of_prefix(prefix);
  return {.what = operation::kind::remove, .key = std::move(prefix), .value = {}, .end = std::move(end)};
}
std::string end_of_prefix(std::string prefix) {
  prefix.back() = static_cast<char>(static_cast<unsigned char>(prefix.back()) + 1);
  return prefix;
}

expected<range_answer> parse_range(std::string_view body) {
  auto answer = bounded(body, answer_limit);
  WEIR_TRY(answer);
  return range_in(*answer);
}

expected<transaction_answer> parse_transaction(std::string_view body) {
  auto answer = bounded(body, answer_limit);
  WEIR_TRY(answer);
  transaction_answer out;
  auto succeeded = truth(*answer, "succeeded");
  WEIR_TRY(succeeded);
  out.succeeded = *succeeded;
  auto revision = revision_in(*answer);
  WEIR_TRY(revision);
  out.revision = *revision;
  auto list = member(*answer, "responses", json::value_t::array);
  WEIR_TRY(list);
  if (!*list)
    return out;
  for (auto& one : **list) {
    if (!one.is_object())
      return fail(error_code::invalid_input, "etcd's answer: a response is not an object");
    auto range = member(one, "response_range", json::value_t::object);
    WEIR_TRY(range);
    if (!*range)
      continue;
    auto found = range_in(**range);
    WEIR_TRY(found);
    out.found.push_back(std::move(*found));
  }
  return out;
}

expected<lease_number> parse_grant(std::string_view body) {
  auto answer = bounded(body, short_answer_limit);
  WEIR_TRY(answer);
  auto id = number(*answer, "ID");
  WEIR_TRY(id);
  if (*id == 0)
    return fail(error_code::invalid_input, "etcd granted a lease without a number");
  return id;
}

expected<std::int64_t> parse_keep_alive(std::string_view body) {
  auto answer = bounded(body, short_answer_limit);
  WEIR_TRY(answer);
  auto result = member(*answer, "result", json::value_t::object);
  WEIR_TRY(result);
  if (!*result)
    return fail(error_code::invalid_input, "etcd's answer has no result");
  auto left = number(**result, "TTL");
  WEIR_TRY(left);
  return std::max<std::int64_t>(*left, 0);
}

expected<member_status> parse_member_status(std::string_view body) {
  auto answer = bounded(body, short_answer_limit);
  WEIR_TRY(answer);
  member_status out;
  auto leader = answer->find("leader"); // a number of 64 bits without a sign, which nobody here counts with
  out.has_leader = leader != answer->end() && ((leader->is_string() && *leader != "0" && *leader != "") || (leader->is_number_integer() && *leader != 0));
  auto list = member(*answer, "errors", json::value_t::array);
  WEIR_TRY(list);
  if (*list)
    for (auto& one : **list) {
      if (!one.is_string())
        return fail(error_code::invalid_input, "etcd's answer: an error is not a text");
      out.trouble += (out.trouble.empty() ? "" : "; ") + std::string(http::trim(one.get_ref<const std::string&>()));
    }
  out.trouble.resize(std::min<std::size_t>(out.trouble.size(), 300));
  std::ranges::replace_if(out.trouble, [](unsigned char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

error parse_refusal(int status, std::string_view body) {
  auto answer = bounded(body, short_answer_limit);
  std::string text = fmt::format("etcd answers with status {}", status);
  std::int64_t code = 0;
  if (answer) {
    if (auto said = answer->find("error"); said != answer->end() && said->is_string())
      text = "etcd: " + said->get<std::string>().substr(0, 300);
    code = number(*answer, "code").value_or(0);
  }
  switch (code) { // of gRPC
  case 3: return {error_code::invalid_input, std::move(text)};
  case 5: return {error_code::not_found, std::move(text)};
  case 7:
  case 16: return {error_code::forbidden, std::move(text)};
  case 8: return {error_code::too_many, std::move(text)}; // its disk quota, most likely
  default: return {error_code::unavailable, std::move(text)};
  }
}

etcd::etcd(etcd_options options) : options_(std::move(options)), web_({.connections_per_host = 4}) {}

http::client_request etcd::request(const std::string& endpoint, std::string_view path, std::shared_ptr<const std::string> body, std::chrono::milliseconds deadline,
                                   std::uint64_t limit) const {
  http::client_request wish;
  wish.method = "POST";
  wish.url = endpoint;
  if (wish.url.ends_with('/'))
    wish.url.pop_back();
  wish.url += path;
  wish.headers.set("Content-Type", "application/json");
  wish.body = std::move(body);
  wish.deadline = deadline;
  wish.connect_deadline = std::min(options_.patience / 2, deadline);
  wish.response_limit = limit;
  wish.authorities = options_.authorities;
  wish.certificate = options_.certificate;
  wish.key = options_.key;
  return wish;
}

expected<std::string> etcd::call(std::string_view path, std::string body, std::chrono::milliseconds budget, std::uint64_t limit) {
  auto until = std::chrono::steady_clock::now() + budget;
  auto shared = std::make_shared<const std::string>(std::move(body)); // for each member that is asked
  std::size_t first = 0;
  {
    std::lock_guard lock(mutex_);
    first = preferred_;
  }
  std::string tried;
  for (std::size_t i = 0; i < options_.endpoints.size(); ++i) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left < 20ms)
      break;
    auto at = (first + i) % options_.endpoints.size();
    auto answer = web_.call(request(options_.endpoints[at], path, shared, std::min(options_.patience, left), limit));
    error wrong;
    if (!answer)
      wrong = explained(answer.error(), !options_.certificate.empty());
    else if (answer->status == 200) {
      std::lock_guard lock(mutex_);
      preferred_ = at;
      return std::move(answer->body);
    } else
      wrong = parse_refusal(answer->status, answer->body);
    bool last_word = wrong.code == error_code::invalid_input || wrong.code == error_code::not_found || wrong.code == error_code::forbidden ||
                     wrong.code == error_code::too_many || wrong.code == error_code::too_large;
    if (last_word)
      return fail(wrong.in(options_.endpoints[at]));
    tried += fmt::format("{}{}: {}", tried.empty() ? "" : "; ", options_.endpoints[at], wrong.text);
  }
  return fail(error_code::unavailable, "no member of etcd answers: " + (tried.empty() ? std::string("no time was left") : tried));
}

expected<lease_number> etcd::grant(std::chrono::seconds ttl) {
  auto answer = call("/v3/lease/grant", json{{"TTL", std::to_string(ttl.count())}}.dump(), whole_call, short_answer_limit);
  WEIR_TRY(answer);
  return parse_grant(*answer);
}

expected<void> etcd::keep_alive(lease_number lease, std::chrono::milliseconds budget) {
  auto answer = call("/v3/lease/keepalive", json{{"ID", std::to_string(lease)}}.dump(), budget, short_answer_limit);
  WEIR_TRY(answer);
  auto left = parse_keep_alive(*answer);
  WEIR_TRY(left);
  if (*left == 0)
    return fail(error_code::not_found, "the lease is over");
  return {};
}

expected<void> etcd::revoke(lease_number lease) {
  WEIR_TRY(call("/v3/lease/revoke", json{{"ID", std::to_string(lease)}}.dump(), last_call, short_answer_limit));
  return {};
}

expected<range_answer> etcd::range(std::string from, std::string end, unsigned limit, revision_number at, std::chrono::milliseconds budget) {
  json wish{{"key", to_base64(from)}, {"limit", std::to_string(limit)}};
  if (!end.empty())
    wish["range_end"] = to_base64(end);
  if (at != 0)
    wish["revision"] = std::to_string(at);
  auto answer = call("/v3/kv/range", wish.dump(), budget, answer_limit);
  WEIR_TRY(answer);
  return parse_range(*answer);
}

expected<transaction_answer> etcd::commit(const transaction& wish, std::chrono::milliseconds budget) {
  auto answer = call("/v3/kv/txn", json{{"compare", encode(wish.when)}, {"success", encode(wish.then)}, {"failure", encode(wish.otherwise)}}.dump(), budget, answer_limit);
  WEIR_TRY(answer);
  return parse_transaction(*answer);
}

std::vector<member_health> etcd::members() {
  auto nothing = std::make_shared<const std::string>("{}");
  std::vector<std::future<std::string>> answers;
  for (auto& endpoint : options_.endpoints) {
    auto told = std::make_shared<std::promise<std::string>>();
    answers.push_back(told->get_future());
    web_.send(request(endpoint, "/v3/maintenance/status", nothing, options_.patience, short_answer_limit),
              [told, shown = !options_.certificate.empty()](const expected<http::client_response>& answer) {
                if (!answer)
                  return told->set_value(explained(answer.error(), shown).text);
                if (answer->status != 200)
                  return told->set_value(parse_refusal(answer->status, answer->body).text);
                auto status = parse_member_status(answer->body);
                told->set_value(!status ? status.error().text : status->has_leader || !status->trouble.empty() ? status->trouble : "it knows no leader of etcd");
              });
  }
  std::vector<member_health> all;
  for (std::size_t i = 0; i < answers.size(); ++i)
    all.push_back({options_.endpoints[i], answers[i].get()});
  return all;
}

} // namespace weir::election
