#include "runtime/http/gzip.hpp"

#include "runtime/http/target.hpp"

#include <libdeflate.h>

#include <memory>
#include <optional>

namespace weir::http {
namespace {

constexpr int level = 6; ///< libdeflate's: playlists shrink to a fifth; higher ones gain 1 %

/// Takes the text up to `mark` off the front.
std::string_view next_part(std::string_view& rest, char mark) {
  auto end = rest.find(mark);
  auto part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return trim(part);
}

/// Whether the parameters of one coding leave it a weight above 0. "q=0", "q=0.", "q=0.000" do not.
bool has_weight(std::string_view parameters) {
  while (!parameters.empty()) {
    auto one = next_part(parameters, ';');
    if (one.size() >= 2 && (one[0] == 'q' || one[0] == 'Q') && one[1] == '=')
      return one.find_first_of("123456789", 2) != std::string_view::npos;
  }
  return true;
}

} // namespace

bool accepts_gzip(std::string_view accept_encoding) {
  std::optional<bool> named, any;
  while (!accept_encoding.empty()) {
    auto item = next_part(accept_encoding, ',');
    auto coding = next_part(item, ';');
    if (same_text(coding, "gzip") || same_text(coding, "x-gzip"))
      named = has_weight(item);
    else if (coding == "*")
      any = has_weight(item);
  }
  return named.value_or(any.value_or(false));
}

std::string gzip(std::string_view text) {
  struct end {
    void operator()(libdeflate_compressor* c) const { libdeflate_free_compressor(c); }
  };
  thread_local const std::unique_ptr<libdeflate_compressor, end> coder{libdeflate_alloc_compressor(level)};
  if (!coder || text.empty())
    return {};
  std::string out(text.size(), '\0');
  out.resize(libdeflate_gzip_compress(coder.get(), text.data(), text.size(), out.data(), out.size())); // 0: does not fit
  return out;
}

} // namespace weir::http
