#include "schemas/error.hpp"

namespace weir {
namespace {

struct row {
  error_code code;
  std::string_view word;
  int status;
  std::string_view sentence;
};

constexpr std::array rows{
  row{error_code::none, "none", 200, "Nothing is wrong."},
  row{error_code::invalid_input, "invalid-input", 400, "The input does not follow its format."},
  row{error_code::invalid_config, "invalid-config", 422, "A setting is unknown, of the wrong type or outside its bounds."},
  row{error_code::not_found, "not-found", 404, "There is no such thing."},
  row{error_code::already_exists, "already-exists", 409, "A thing of that name exists already."},
  row{error_code::conflict, "conflict", 412, "The thing was changed since it was read."},
  row{error_code::fenced, "fenced", 409, "A newer epoch has taken over."},
  row{error_code::unauthorized, "unauthorized", 401, "No credentials, or wrong ones."},
  row{error_code::forbidden, "forbidden", 403, "Not allowed."},
  row{error_code::too_large, "too-large", 413, "Over a limit of size or depth."},
  row{error_code::too_many, "too-many", 429, "Over a limit of rate or number."},
  row{error_code::timeout, "timeout", 504, "No answer within the deadline."},
  row{error_code::unavailable, "unavailable", 503, "The part that should answer is not there now."},
  row{error_code::io_failed, "io-failed", 500, "The operating system refused."},
  row{error_code::corrupt, "corrupt", 500, "Stored data does not check out."},
  row{error_code::newer_schema, "newer-schema", 500, "Stored data was written by a newer Weir."},
  row{error_code::media_failed, "media-failed", 500, "The media library refused."},
  row{error_code::source_ended, "source-ended", 500, "The input ended."},
  row{error_code::source_stalled, "source-stalled", 500, "The input is silent."},
  row{error_code::target_refused, "target-refused", 502, "The target refuses."},
  row{error_code::crashed, "crashed", 500, "A child process died."},
  row{error_code::hung, "hung", 500, "A child process made no progress."},
  row{error_code::overloaded, "overloaded", 503, "Slower than real time."},
  row{error_code::unsupported, "unsupported", 501, "Valid, but this Weir cannot do it."},
  row{error_code::internal, "internal", 500, "A bug in Weir."},
};

const row& find(error_code code) {
  for (auto& r : rows)
    if (r.code == code)
      return r;
  return rows.back();
}

} // namespace

std::string_view sentence(error_code code) { return find(code).sentence; }
int http_status(error_code code) { return find(code).status; }
std::string_view to_string(error_code code) { return find(code).word; }

} // namespace weir
