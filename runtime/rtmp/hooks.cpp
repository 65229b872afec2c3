#include "runtime/rtmp/hooks.hpp"

#include "runtime/rtmp/bounded_json.hpp"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <optional>

namespace weir::rtmp {
namespace {

using named_kind = std::pair<std::string_view, hook_kind>;

constexpr std::array srs_kinds{
  named_kind{"on_connect", hook_kind::connect}, named_kind{"on_publish", hook_kind::publish}, named_kind{"on_unpublish", hook_kind::unpublish},
  named_kind{"on_play", hook_kind::play},       named_kind{"on_stop", hook_kind::stop},       named_kind{"on_close", hook_kind::close},
};

// `done` comes beside publish_done and play_done and `record_done` beside the recorder: they say nothing new.
constexpr std::array nginx_kinds{
  named_kind{"connect", hook_kind::connect},           named_kind{"publish", hook_kind::publish}, named_kind{"publish_done", hook_kind::unpublish},
  named_kind{"play", hook_kind::play},                 named_kind{"play_done", hook_kind::stop},  named_kind{"disconnect", hook_kind::close},
  named_kind{"update_publish", hook_kind::update},     named_kind{"update_play", hook_kind::update},
};

hook_kind kind_of(const auto& kinds, std::string_view word) {
  const auto found = std::find_if(kinds.begin(), kinds.end(), [&](const auto& one) { return one.first == word; });
  return found == kinds.end() ? hook_kind::note : found->second;
}

bool names_a_stream(hook_kind kind) {
  return kind == hook_kind::publish || kind == hook_kind::unpublish || kind == hook_kind::play || kind == hook_kind::stop || kind == hook_kind::update;
}

bool asks(hook_kind kind) { return kind == hook_kind::connect || kind == hook_kind::publish || kind == hook_kind::play; }

/// Only complete calls leave the parsers: whoever publishes or plays can be told apart from all others on that server.
expected<hook_call> checked(hook_call call) {
  if (names_a_stream(call.kind) && (call.app.empty() || call.stream.empty()))
    return fail(error_code::invalid_input, fmt::format("{} without app or stream", to_string(call.kind)));
  if ((names_a_stream(call.kind) || call.kind == hook_kind::close) && call.client_id.empty())
    return fail(error_code::invalid_input, fmt::format("{} without a client id", to_string(call.kind)));
  for (const auto* text : {&call.client_id, &call.address, &call.vhost, &call.app, &call.stream, &call.key})
    if (!plain_text(*text))
      return fail(error_code::invalid_input, fmt::format("{} with control bytes or a field that is too long", to_string(call.kind)));
  return call;
}

/// Calls f(name, raw value) for each "name=value" of "a=1&b=2" until it returns false.
void for_each_pair(std::string_view form, auto&& f) {
  while (!form.empty()) {
    const auto pair = form.substr(0, form.find('&'));
    form.remove_prefix(std::min(form.size(), pair.size() + 1));
    const auto equals = std::min(pair.find('='), pair.size());
    if (!f(pair.substr(0, equals), equals < pair.size() ? pair.substr(equals + 1) : std::string_view()))
      return;
  }
}

int hex(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1; }

constexpr hook_answer accepted{200, "0"};
constexpr hook_answer refused{403, "1"};

} // namespace

bool same_vhost(std::string_view a, std::string_view b) {
  auto plain = [](std::string_view v) { return v.empty() || v == "__defaultVhost__"; };
  return a == b || (plain(a) && plain(b));
}

std::string percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? hex(text[i + 1]) : -1;
    const int low = high >= 0 ? hex(text[i + 2]) : -1;
    if (low < 0) {
      out += text[i];
      continue;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string argument(std::string_view query, std::string_view name) {
  if (query.starts_with('?'))
    query.remove_prefix(1);
  std::string found;
  for_each_pair(query, [&](std::string_view n, std::string_view value) {
    if (n != name)
      return true;
    found = percent_decoded(value);
    return false;
  });
  return found;
}

expected<hook_call> parse_srs_hook(std::string_view body, std::string server) {
  auto object = bounded_object(body, hook_body_limit, 8);
  WEIR_TRY(object);
  hook_call call;
  call.server = std::move(server);
  std::string action, param;
  using target = std::pair<const char*, std::string*>;
  for (const auto& [name, text] : {target{"action", &action}, {"param", &param}, {"service_id", &call.service_id}, {"client_id", &call.client_id},
                                   {"ip", &call.address}, {"vhost", &call.vhost}, {"app", &call.app}, {"stream", &call.stream}}) {
    auto value = text_field(*object, name);
    WEIR_TRY(value);
    *text = std::move(*value);
  }
  if (action.empty())
    return fail(error_code::invalid_input, "the body has no action");
  call.kind = kind_of(srs_kinds, action);
  call.key = argument(param, "key");
  // An HLS player asks for the playlist of the stream that it means.
  constexpr std::string_view playlist = ".m3u8";
  if ((call.kind == hook_kind::play || call.kind == hook_kind::stop) && call.stream.ends_with(playlist))
    call.stream.resize(call.stream.size() - playlist.size());
  return checked(std::move(call));
}

expected<hook_call> parse_nginx_rtmp_hook(std::string_view form_body, std::string server) {
  if (form_body.size() > hook_body_limit)
    return fail(error_code::too_large, fmt::format("{} bytes; at most {} are taken", form_body.size(), hook_body_limit));
  std::optional<std::string> app, address, client_id, word, name, key;
  using target = std::pair<std::string_view, std::optional<std::string>*>;
  const std::array targets{target{"app", &app},  target{"addr", &address}, target{"clientid", &client_id},
                           target{"call", &word}, target{"name", &name},    target{"key", &key}};
  for_each_pair(form_body, [&](std::string_view n, std::string_view value) {
    for (const auto& [wanted, slot] : targets)
      if (n == wanted && !*slot)
        *slot = percent_decoded(value);
    return true;
  });
  if (!word)
    return fail(error_code::invalid_input, "the body has no call");
  hook_call call;
  call.server = std::move(server);
  call.kind = kind_of(nginx_kinds, *word);
  call.playing = *word == "update_play";
  call.app = app.value_or("");
  call.address = address.value_or("");
  call.key = key.value_or("");
  // nginx-rtmp sends neither on connect, and no name on disconnect: what stands there then is the client's own argument.
  if (call.kind != hook_kind::connect)
    call.client_id = client_id.value_or("");
  if (names_a_stream(call.kind))
    call.stream = name.value_or("");
  return checked(std::move(call));
}

hook_answer srs_answer(hook_kind kind, const hook_verdict& verdict) { return verdict.accept || !asks(kind) ? accepted : refused; }

hook_answer nginx_answer(hook_kind kind, const hook_verdict& verdict) {
  return verdict.accept || !(asks(kind) || kind == hook_kind::update) ? accepted : refused;
}

hook_verdict verdict_in_trouble(hook_kind kind, std::string reason) {
  return {kind != hook_kind::publish && kind != hook_kind::play, std::move(reason)};
}

} // namespace weir::rtmp
