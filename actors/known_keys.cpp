#include "actors/known_keys.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/rtmp/hooks.hpp"

#include <filesystem>
#include <nlohmann/json.hpp>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t file_limit = 16 << 20;
constexpr auto save_every = 10min; ///< that they count longer; new keys are written at once
constexpr auto nobody = "?";        ///< signs nothing

} // namespace

std::string known_keys_text(const known_keys& keys) {
  // Names are address words and digests are base64url: no separator can be inside.
  auto text = fmt::format("weir known keys {} until {}\n", keys.version, unix_seconds(keys.until));
  for (auto& k : keys.keys)
    text += fmt::format("{} {} {} {}\n", k.app, k.stream, k.vhost, k.hash);
  return text;
}

key_cache::key_cache(std::string file) : file_(std::move(file)) {
  if (file_.empty())
    return;
  auto refuse = [](const std::string& what, std::string_view why) { log::warn("http-bridge", "known-keys-refused", "file={} reason={}", what, why); };
  if (std::filesystem::exists(signer_file())) {
    auto signer = read_secret_file(signer_file());
    if (!signer || signer->empty())
      refuse(signer_file(), signer ? "it is empty" : signer.error().text);
    signer_ = signer && !signer->empty() ? *signer : nobody; // a damaged one is not an invitation to trust somebody else
  }
  if (!std::filesystem::exists(file_))
    return;
  auto text = read_file(file_, file_limit);
  if (!text) {
    refuse(file_, text.error().text);
    return;
  }
  try {
    auto j = nlohmann::json::parse(*text);
    auto until = timestamp{std::chrono::duration_cast<timestamp::duration>(std::chrono::seconds(j.at("until").get<std::int64_t>()))};
    known_keys kept{.version = j.at("version"), .until = until, .keys = {}, .signature = j.at("signature"), .signer = signer_};
    for (auto& k : j.at("keys"))
      kept.keys.push_back({k.at("app"), k.at("stream"), k.at("vhost"), k.at("hash")});
    if (!verify_signature(known_keys_text(kept), kept.signature, signer_)) {
      refuse(file_, "it is not signed by the coordinator that " + signer_file() + " names");
      return;
    }
    keys_ = std::move(kept);
    saved_until_ = until;
  } catch (const nlohmann::json::exception& e) {
    refuse(file_, e.what());
  }
}

std::string key_cache::signer_file() const { return std::filesystem::path(file_).replace_extension(".signer"); }

expected<void> key_cache::trust(const std::string& signer) {
  if (!file_.empty())
    WEIR_TRY(write_file_atomically(signer_file(), signer + "\n", 0600));
  signer_ = signer;
  return {};
}

expected<void> key_cache::take(known_keys news) {
  if (!signer_.empty() && news.signer != signer_)
    return fail(error_code::unauthorized,
                fmt::format("the known keys are signed by another coordinator than the one that {} names; if its database is a new one, remove the file", signer_file()));
  bool same = news.version == keys_.version;
  if (same) // without entries
    news.keys = keys_.keys;
  if (!verify_signature(known_keys_text(news), news.signature, news.signer))
    return fail(error_code::unauthorized, "the known keys are not signed by the coordinator");
  if (signer_.empty())
    WEIR_TRY(trust(news.signer));
  keys_ = std::move(news);
  if (same && keys_.until - saved_until_ < save_every)
    return {};
  saved_until_ = keys_.until;
  return save();
}

expected<void> key_cache::save() const {
  if (file_.empty())
    return {};
  auto keys = nlohmann::json::array();
  for (auto& k : keys_.keys)
    keys.push_back({{"app", k.app}, {"stream", k.stream}, {"vhost", k.vhost}, {"hash", k.hash}});
  nlohmann::json j{{"version", keys_.version}, {"until", unix_seconds(keys_.until)}, {"keys", keys}, {"signature", keys_.signature}};
  return write_file_atomically(file_, j.dump() + "\n", 0600);
}

std::optional<hook_verdict> key_cache::judge(const hook_call& call, timestamp now) const {
  if (keys_.version == 0 || now >= keys_.until)
    return std::nullopt;
  if (call.kind == hook_kind::connect)
    return hook_verdict{.accept = true, .reason = "the coordinator is not reached"};
  for (auto& k : keys_.keys)
    if (k.app == call.app && k.stream == call.stream && rtmp::same_vhost(k.vhost, call.vhost)) {
      if (call.kind == hook_kind::play || matches_hash(call.key, k.hash))
        return hook_verdict{.accept = true, .reason = "the coordinator is not reached; the key was known"};
      return hook_verdict{.accept = false, .reason = call.key.empty() ? "no key was presented" : "the key is wrong, as far as is known without the coordinator"};
    }
  return hook_verdict{.accept = false, .reason = "there is no such stream, as far as is known without the coordinator"};
}

} // namespace weir
