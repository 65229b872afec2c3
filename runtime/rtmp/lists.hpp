#pragma once
// Who publishes on an RTMP server now: the truth that hooks only hint at.
#include "schemas/error.hpp"
#include "schemas/hook.hpp"

#include <cstddef>
#include <map>
#include <string>
#include <string_view>

namespace weir::rtmp {

inline constexpr std::size_t list_limit = 8 * 1024 * 1024;

/// nginx-rtmp's statistics page (`rtmp_stat all`). service_id is the pid of its worker: stable from poll to poll, new with each start.
/// (The page's uptime would wobble by a second, and nginx-rtmp's hooks name no start at all.) Errors: too_large, invalid_input.
expected<publication_list> parse_nginx_stat(std::string_view xml, std::string server);

/// SRS `GET /api/v1/streams/?count=N`: streams with an active publisher. SRS says so once on_publish was answered; its list of clients names whoever still
/// waits for that answer too. No addresses, and `vhost` is SRS's id of it: parse_srs_vhosts has the names. service_id equals that of its hooks.
/// Errors: too_large, invalid_input; unavailable when SRS answers with a code other than 0.
expected<publication_list> parse_srs_streams(std::string_view json, std::string server);
/// SRS `GET /api/v1/vhosts/`: id → name, as in its hooks. Nothing else of SRS says it: a tcUrl names the host that the encoder dialled, and whoever dials a host
/// that is no vhost of SRS gets the default one. Ids are new with each start. Errors: as above.
expected<std::map<std::string, std::string>> parse_srs_vhosts(std::string_view json);

} // namespace weir::rtmp
