#pragma once
// runtime/rtmp: what RTMP servers say, in one form for SRS (4 to 7) and nginx-rtmp. Pure parsers; every byte comes from outside.
//
//   hooks   callbacks and the answers that each server understands (measured: rtmp-servers.md)
//   lists   who publishes now, from SRS's HTTP API and nginx-rtmp's statistics page
#include "schemas/error.hpp"
#include "schemas/hook.hpp"

#include <cstddef>
#include <string>
#include <string_view>

namespace weir::rtmp {

inline constexpr std::size_t hook_body_limit = 16 * 1024;

/// A callback of SRS (JSON). `server` is our name of that server: what a body says of itself decides nothing.
/// Errors: too_large, invalid_input (no JSON object, a known field of the wrong type, a field doubled, control bytes, no stream where one is needed).
expected<hook_call> parse_srs_hook(std::string_view body, std::string server);

/// A callback of nginx-rtmp (form-encoded). The client's own arguments stand unescaped at its end, so of equal names the first wins.
/// Errors: as above.
expected<hook_call> parse_nginx_rtmp_hook(std::string_view form_body, std::string server);

/// An HTTP answer to a callback.
struct hook_answer {
  int status = 200;
  std::string_view body; ///< static text, to be sent byte for byte
  std::string_view content_type = "text/plain";
};

/// SRS goes on only at status 200 with the body `0` and no byte more; 403 is a refusal at once. A refused notification would only
/// be logged there, so the verdict counts for connect, publish and play.
hook_answer srs_answer(hook_kind kind, const hook_verdict& verdict);
/// nginx-rtmp goes on at any 2xx and disconnects at 403. A refused update ends the live session (on purpose only: see verdict_in_trouble).
hook_answer nginx_answer(hook_kind kind, const hook_verdict& verdict);

/// The verdict when we cannot decide (deadline missed, part missing): closed for newcomers, open for everything that runs.
hook_verdict verdict_in_trouble(hook_kind kind, std::string reason);

/// Whether two names of virtual hosts mean the same one: nginx-rtmp knows none, SRS calls the one that everybody has __defaultVhost__.
bool same_vhost(std::string_view a, std::string_view b);

/// %XX decoded; a broken escape and '+' stay as they are.
std::string percent_decoded(std::string_view text);
/// Value of the first `name` in "a=1&name=2", decoded; empty when absent. A leading '?' is skipped.
std::string argument(std::string_view query, std::string_view name);

} // namespace weir::rtmp
