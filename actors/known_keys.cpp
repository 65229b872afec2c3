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
constexpr auto save_every = 10min; ///< that it was confirmed; new keys are written at once

} // namespace

std::string known_keys_text(const known_keys& keys) {
  // Names are address words and digests are base64url: no separator can be inside.
  auto text = fmt::format("weir known keys {}\n", keys.version);
  for (auto& k : keys.keys)
    text += fmt::format("{} {} {} {}\n", k.app, k.stream, k.vhost, k.hash);
  return text;
}

key_cache::key_cache(std::string file) : file_(std::move(file)) {
  if (file_.empty() || !std::filesystem::exists(file_))
    return;
  auto refuse = [&](std::string_view why) { log::warn("http-bridge", "known-keys-refused", "file={} reason={}", file_, why); };
  auto text = read_file(file_, file_limit);
  if (!text) {
    refuse(text.error().text);
    return;
  }
  try {
    auto j = nlohmann::json::parse(*text);
    known_keys kept{.version = j.at("version"), .keys = {}, .signature = j.at("signature"), .signer = j.at("signer")};
    for (auto& k : j.at("keys"))
      kept.keys.push_back({k.at("app"), k.at("stream"), k.at("vhost"), k.at("hash")});
    if (!verify_signature(known_keys_text(kept), kept.signature, kept.signer)) {
      refuse("its signature is wrong");
      return;
    }
    keys_ = std::move(kept);
    confirmed_ = saved_ = timestamp{std::chrono::duration_cast<timestamp::duration>(std::chrono::seconds(j.at("confirmed").get<std::int64_t>()))};
  } catch (const nlohmann::json::exception& e) {
    refuse(e.what());
  }
}

expected<void> key_cache::take(known_keys news, timestamp now) {
  if (news.version == keys_.version) {
    confirmed_ = now;
    if (now - saved_ < save_every)
      return {};
    saved_ = now;
    return save();
  }
  if (!verify_signature(known_keys_text(news), news.signature, news.signer))
    return fail(error_code::unauthorized, "the known keys are not signed by the coordinator");
  keys_ = std::move(news);
  confirmed_ = saved_ = now;
  return save();
}

expected<void> key_cache::save() const {
  if (file_.empty())
    return {};
  auto keys = nlohmann::json::array();
  for (auto& k : keys_.keys)
    keys.push_back({{"app", k.app}, {"stream", k.stream}, {"vhost", k.vhost}, {"hash", k.hash}});
  nlohmann::json j{{"version", keys_.version}, {"keys", keys}, {"signature", keys_.signature}, {"signer", keys_.signer},
                   {"confirmed", std::chrono::duration_cast<std::chrono::seconds>(confirmed_.time_since_epoch()).count()}};
  return write_file_atomically(file_, j.dump() + "\n", 0600);
}

std::optional<hook_verdict> key_cache::judge(const hook_call& call, timestamp now) const {
  if (keys_.version == 0 || now - confirmed_ > lasts)
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
