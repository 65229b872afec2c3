#include "runtime/origin/s3_wire.hpp"

#include "runtime/hls/addresses.hpp"
#include "runtime/hls/text_reader.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>

#include <fmt/format.h>
#include <pugixml.hpp>

namespace weir::origin {

namespace {

constexpr std::size_t word_limit = 300, name_limit = 64, rung_limit = 16;
constexpr std::size_t refusal_limit = 64U << 10; ///< bytes: each callback of the one client thread waits while it is read

struct key_reader : hls::text_reader {
  /// Up to `stop`, or to the end.
  std::string word(char stop, std::size_t limit) {
    auto text = rest.substr(0, stop == '\0' ? rest.size() : rest.find(stop));
    ok = ok && hls::is_address_word(text, limit);
    if (!ok)
      return {};
    rest.remove_prefix(text.size());
    return std::string(text);
  }
};

/// Of foreign text, for a line of a log.
std::string line_of(std::string_view text) {
  std::string line(text.substr(0, word_limit));
  std::replace_if(line.begin(), line.end(), [](char c) { return c < ' ' || c > '~'; }, ' ');
  return line;
}

} // namespace

std::string s3_layout::segment_base(std::string_view stream, const hls::segment_place& p) const {
  return fmt::format("{}{}/{}/{}/{}/{}.", prefix, stream, p.instance, p.epoch, p.rung, hls::segment_name(p.kind, p.msn));
}

std::string s3_layout::segment(std::string_view stream, const hls::segment_place& place, std::uint64_t term, std::uint64_t number) const {
  return fmt::format("{}{}.{}", segment_base(stream, place), term, number);
}

std::string s3_layout::log(std::string_view stream, std::uint64_t term, std::uint64_t version) const {
  return fmt::format("{}{}.{}.json", logs_of(stream), term, version);
}

std::string s3_layout::claim(std::uint64_t term, std::string_view holder) const { return fmt::format("{}{}.{}", claims(), term, holder); }

std::string s3_layout::opening(std::uint64_t term) const { return fmt::format("{}{}", openings(), term); }

std::optional<s3_segment_key> s3_layout::segment(std::string_view key) const {
  key_reader in{key};
  s3_segment_key k;
  in.literal(prefix);
  k.stream = in.word('/', name_limit);
  in.literal("/");
  k.place.instance = in.number();
  in.literal("/");
  k.place.epoch = in.number();
  in.literal("/");
  k.place.rung = in.word('/', rung_limit);
  in.literal("/");
  // The name has a point of its own: the last two are in front of the term and of the number.
  const auto last = std::min(in.rest.rfind('.'), in.rest.size());
  auto name = hls::parse_segment_name(in.rest.substr(0, std::min(in.rest.substr(0, last).rfind('.'), last)));
  if (!in.ok || !name)
    return std::nullopt;
  std::tie(k.place.kind, k.place.msn) = *name;
  in.literal(hls::segment_name(k.place.kind, k.place.msn));
  in.literal(".");
  k.term = in.number();
  in.literal(".");
  k.number = in.number();
  return in.done() ? std::optional(std::move(k)) : std::nullopt;
}

std::optional<s3_log_key> s3_layout::log(std::string_view key) const {
  key_reader in{key};
  s3_log_key k;
  in.literal(logs());
  k.stream = in.word('/', name_limit);
  in.literal("/");
  k.term = in.number();
  in.literal(".");
  k.version = in.number();
  in.literal(".json");
  return in.done() ? std::optional(std::move(k)) : std::nullopt;
}

std::optional<s3_claim_key> s3_layout::claim(std::string_view key) const {
  key_reader in{key};
  s3_claim_key k;
  in.literal(claims());
  k.term = in.number();
  in.literal(".");
  k.holder = in.word('\0', name_limit);
  return in.done() ? std::optional(std::move(k)) : std::nullopt;
}

std::optional<std::uint64_t> s3_layout::opening(std::string_view key) const {
  key_reader in{key};
  in.literal(openings());
  const auto term = in.number();
  return in.done() ? std::optional(term) : std::nullopt;
}

expected<std::string> checked_prefix(std::string_view text) {
  std::string prefix(text);
  if (!prefix.empty() && prefix.back() != '/')
    prefix += '/';
  for (std::string_view rest = prefix; !rest.empty(); rest.remove_prefix(rest.find('/') + 1))
    if (!hls::is_address_word(rest.substr(0, rest.find('/')), word_limit))
      return fail(error_code::invalid_config, fmt::format("{:?} cannot begin an object's key: take words of letters, digits, '-', '_' and '.', with '/' between them",
                                                          text.substr(0, 100)));
  return prefix;
}

expected<s3_page> parse_s3_page(std::string_view xml) {
  pugi::xml_document document;
  if (auto read = document.load_buffer(xml.data(), xml.size()); !read)
    return fail(error_code::corrupt, fmt::format("the list of objects is no XML: {} at byte {}", read.description(), read.offset));
  auto root = document.child("ListBucketResult");
  auto truncated = root.child("IsTruncated").text();
  if (!root || !truncated)
    return fail(error_code::corrupt, "the answer is no list of objects");
  s3_page page;
  for (auto item : root.children("Contents")) {
    s3_object o{item.child_value("Key"), 0};
    std::string_view size = item.child_value("Size");
    auto [end, code] = std::from_chars(size.data(), size.data() + size.size(), o.size);
    if (o.key.empty() || code != std::errc{} || end != size.data() + size.size())
      return fail(error_code::corrupt, "the list of objects has one without key or size");
    page.objects.push_back(std::move(o));
  }
  if (std::string_view(truncated.get()) == "true") {
    page.next = root.child_value("NextContinuationToken");
    if (page.next.empty())
      return fail(error_code::corrupt, "the list of objects goes on, but does not say where");
  }
  return page;
}

s3_refusal parse_s3_refusal(std::string_view body) {
  pugi::xml_document document;
  if (!document.load_buffer(body.data(), std::min(body.size(), refusal_limit)))
    return {};
  auto root = document.child("Error");
  return {line_of(root.child_value("Code")), line_of(root.child_value("Message"))};
}

bool says_full(int status, const s3_refusal& r) {
  // Ceph's quota, MinIO's disks, and the quota of Swift: a segment is never as large as an object may be.
  return status == 507 || r.code == "QuotaExceeded" || r.code == "XMinioStorageFull" || r.code == "XMinioAdminBucketQuotaExceeded" || r.code == "EntityTooLarge";
}

std::string s3_escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '~' || c == '-')
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  return out;
}

} // namespace weir::origin
