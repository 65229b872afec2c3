#include "runtime/rtmp/lists.hpp"

#include "runtime/rtmp/bounded_json.hpp"

#include <fmt/format.h>
#include <pugixml.hpp>

namespace weir::rtmp {
namespace {

/// The checked envelope of an answer of SRS's API, and the rows of one of its lists.
struct srs_rows {
  publication_list list;
  nlohmann::json rows;
};

expected<srs_rows> rows_of(std::string_view text, std::string server, const char* name) {
  auto answer = bounded_object(text, list_limit, 8);
  WEIR_TRY(answer);
  const auto code = answer->find("code");
  if (code == answer->end() || !code->is_number_integer())
    return fail(error_code::invalid_input, "the answer of SRS has no code");
  if (*code != 0)
    return fail(error_code::unavailable, fmt::format("SRS answers with code {}", code->dump()));
  auto service = text_field(*answer, "service");
  WEIR_TRY(service);
  const auto rows = answer->find(name);
  if (rows == answer->end() || !rows->is_array())
    return fail(error_code::invalid_input, fmt::format("the answer of SRS has no list {}", name));
  return srs_rows{{std::move(server), std::move(*service), {}}, std::move(*rows)};
}

bool is_true(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

} // namespace

expected<publication_list> parse_nginx_stat(std::string_view xml, std::string server) {
  if (xml.size() > list_limit)
    return fail(error_code::too_large, fmt::format("{} bytes of statistics; at most {} are taken", xml.size(), list_limit));
  pugi::xml_document document;
  if (const auto parsed = document.load_buffer(xml.data(), xml.size()); !parsed)
    return fail(error_code::invalid_input, fmt::format("statistics of nginx-rtmp at byte {}: {}", parsed.offset, parsed.description()));
  const auto root = document.child("rtmp");
  publication_list list{std::move(server), root.child_value("pid"), {}};
  if (list.service_id.empty())
    return fail(error_code::invalid_input, "these are not statistics of nginx-rtmp: rtmp/pid is absent");
  for (const auto host : root.children("server"))
    for (const auto application : host.children("application"))
      for (const auto stream : application.child("live").children("stream"))
        for (const auto client : stream.children("client"))
          if (client.child("publishing")) {
            publication_list::item one{application.child_value("name"), stream.child_value("name"), client.child_value("id"), client.child_value("address"), {}};
            for (const auto* text : {&one.app, &one.stream, &one.client_id, &one.address})
              if (!plain_text(*text))
                return fail(error_code::invalid_input, "statistics of nginx-rtmp: a name that is too long or holds control bytes");
            list.items.push_back(std::move(one));
          }
  return list;
}

expected<publication_list> parse_srs_streams(std::string_view json, std::string server) {
  auto answer = rows_of(json, std::move(server), "streams");
  WEIR_TRY(answer);
  for (const auto& row : answer->rows) {
    const auto publish = row.is_object() ? row.find("publish") : row.end();
    if (!row.is_object() || publish == row.end() || !publish->is_object() || !is_true(*publish, "active"))
      continue; // a stream that has ended stays listed for a while
    auto app = text_field(row, "app");
    WEIR_TRY(app);
    auto name = text_field(row, "name");
    WEIR_TRY(name);
    auto id = text_field(*publish, "cid");
    WEIR_TRY(id);
    auto vhost = text_field(row, "vhost");
    WEIR_TRY(vhost);
    answer->list.items.push_back({std::move(*app), std::move(*name), std::move(*id), {}, std::move(*vhost)});
  }
  return std::move(answer->list);
}

expected<std::map<std::string, std::string>> parse_srs_vhosts(std::string_view json) {
  auto answer = rows_of(json, {}, "vhosts");
  WEIR_TRY(answer);
  std::map<std::string, std::string> names;
  for (const auto& row : answer->rows) {
    if (!row.is_object())
      continue;
    auto id = text_field(row, "id");
    WEIR_TRY(id);
    auto name = text_field(row, "name");
    WEIR_TRY(name);
    names[std::move(*id)] = std::move(*name);
  }
  return names;
}

} // namespace weir::rtmp
