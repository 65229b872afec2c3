#include "runtime/http/gzip.hpp"

#include <libdeflate.h>

#include <memory>
#include <optional>

namespace weir::http {
namespace {

constexpr int level = 6; ///< libdeflate's: playlists shrink to a fifth; higher ones gain 1 %

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
    text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t'))
    text.remove_suffix(1);
  return text;
}

bool same_word(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size())
    return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if ((a[i] >= 'A' && a[i] <= 'Z' ? a[i] - 'A' + 'a' : a[i]) != lower[i])
      return false;
  return true;
}

/// Takes the text up to `mark` off the front.
std::string_view next_part(std::string_view& rest, char mark) {
  auto end = rest.find(mark);
  auto part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
  return trimmed(part);
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
    if (same_word(coding, "gzip") || same_word(coding, "x-gzip"))
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
