#include "actors/keyring.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"

#include <filesystem>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto ask_every = 1s;
constexpr auto patience = 2s;
constexpr std::size_t file_limit = 4 << 20; ///< 10,000 streams have names of 64 bytes at most

} // namespace

void load_rules(const keyring_setup& setup) {
  if (setup.file.empty() || !std::filesystem::exists(setup.file))
    return;
  auto text = read_secret_file(setup.file, file_limit);
  auto kept = text ? describe::from_json<viewing_rules>(*text) : fail(text.error());
  if (kept && kept->keys.empty()) // written by hand: it would open all streams
    kept = fail(error_code::invalid_config, "it holds no keys");
  if (kept)
    setup.gate->use(viewing::with_version(std::move(*kept))); // whoever changed the file is found out by the version
  else
    log::warn("keyring", "rules-not-read", "file={} error={}", setup.file, kept.error().text);
}

void keyring_state::take(viewing_rules news) {
  if (kept)
    trouble.clear();
  const bool others = !news.keys.empty() && setup.gate->use(std::move(news));
  if (!others && kept)
    return;
  auto rules = setup.gate->rules();
  if (others)
    log::info("keyring", "rules-changed", "keys={} signed_streams={}", rules.keys.size(), rules.signed_only.size());
  if (setup.file.empty())
    return;
  auto written = write_file_atomically(setup.file, describe::to_json(rules, {.secrets = true}) + "\n", 0600);
  kept = written.has_value();
  trouble = kept ? std::string{} : written.error().text;
  if (!kept)
    log::error("keyring", "rules-not-kept", "file={} error={}", setup.file, trouble);
}

keyring_actor::behavior_type keyring(keyring_actor::stateful_pointer<keyring_state> self, keyring_setup setup, coordinator_actor coordinator) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
  auto me = keyring_actor{self};
  self->send(me, tick{});
  return {
    [=, &my](const tick&) {
      tell_after(self, ask_every, me, tick{});
      if (std::exchange(my.asking, true))
        return;
      ask(self, patience, coordinator, list_viewing{my.setup.gate->rules().version})
        .then(
          [&my](viewing_rules& rules) {
            my.asking = false;
            my.take(std::move(rules));
          },
          [&my](const caf::error& why) { // its last word stays in force
            my.asking = false;
            my.trouble = from_caf(why).text;
          });
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      auto rules = my.setup.gate->rules();
      auto keys = nlohmann::json::array();
      for (auto& key : rules.keys)
        keys.push_back(key.id);
      nlohmann::json status{{"version", rules.version}, {"keys", keys}, {"signed_streams", rules.signed_only.size()}, {"trouble", my.trouble}};
      return report_of(self, "keyring", status, my.started);
    },
  };
}

} // namespace weir
