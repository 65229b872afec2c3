#include "actors/coordinator.hpp"

#include "actors/autoscaler.hpp"
#include "actors/known_keys.hpp"
#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/http/url.hpp"
#include "runtime/rtmp/hooks.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto order_patience = 3s; ///< from a grant until its node must name it
constexpr auto lease_margin = 500ms; ///< clock rates and scheduling, cluster.md 5
constexpr auto kick_lasts = 10s;
constexpr auto hand_over_lasts = 60s; ///< a run whose successor has not delivered by then ends all the same
constexpr auto server_patience = 3s; ///< after which an RTMP server's list is old
constexpr auto tick_every = 250ms;
constexpr std::size_t starts_remembered = 16; ///< of an RTMP server
constexpr auto just_joined = 1s;
constexpr lease_epoch epochs_at_once = 1024;
constexpr auto prune_every = 1min;
constexpr std::int64_t keeps_up_milli = 970; ///< speed, as TRANSCODER counts it
constexpr auto measured_after = 30s;       ///< of a run: its start costs more
constexpr auto settle_before_moving = 30s; ///< of a run that is slower than real time, or of the cluster
constexpr auto between_moves = 30s;        ///< for balance
constexpr auto director_forgotten = 60s; ///< whom it sent where is in the edges' own reports by then
constexpr auto longest_window = 12h;       ///< of origin.window: whatever an origin listed that has been silent for so long is over
constexpr double suspicious = 8;           ///< phi of a node's silence
constexpr double deviations_of_that = 5.61; ///< in a normal distribution

constexpr auto reserved_epochs_key = "reserved_epochs";
constexpr std::string_view copies_key = "origin_view";
constexpr auto take_over_patience = 8s; ///< with a holder that is there and cannot take over
constexpr auto newcomer_patience = 3s;  ///< the same where only newcomers may be what hinders it
constexpr auto member_patience = 60s;   ///< with an origin that is away, while the others can write: a restart changes nothing
constexpr auto steady_for = 10s;        ///< a learner has everything for so long before it counts
constexpr auto learner_barred_for = 5min; ///< after a view with it that could not be taken over
constexpr auto learner_stuck_after = 15min; ///< without having everything: others learn rather
constexpr auto learner_last_for = 1h;       ///< so long; then it has another try
constexpr auto time_to_call_again = 12s; ///< after our start: an UPLINK whose coordinator was away for long tries each 5 s, and its node joins after that
constexpr lease_epoch highest_term = lease_epoch{1} << 47; ///< that is believed: epochs and writers' numbers are made of it
constexpr auto newest_holds = 20s;                  ///< without a newer one: a segment is listed for longer than that
constexpr auto authorities_read_every = 10s;
constexpr std::size_t authorities_limit = 256 << 10;
constexpr std::size_t segment_path_limit = 1024;
constexpr std::size_t edges_told_limit = 10'000;    ///< by one observer at once
constexpr std::string_view edge_table_prefix = "edge_table/";
constexpr std::string_view request_prefix = "request/";
constexpr std::string_view roster_prefix = "roster/"; ///< node → address of its HTTP listener
constexpr std::string_view roster_list_prefix = "roster_list/"; ///< version → names, a line each
constexpr std::string_view edge_drained_prefix = "edge_drained/"; ///< edge → "by hand"
constexpr std::string_view machines_key = "machines"; ///< what the AUTOSCALER knows of those that it ordered
constexpr std::string_view wanted_prefix = "node_wanted/"; ///< node → cordoned or draining, by hand
constexpr std::string_view publication_prefix = "publication/"; ///< stream → its time line's name
constexpr auto roster_token_key = "roster_token";
constexpr auto signing_seed_key = "signing_seed";
constexpr auto viewing_key_key = "viewing_key"; ///< secret
constexpr auto viewing_key_former_key = "viewing_key_former";
constexpr auto viewing_key_since_key = "viewing_key_since"; ///< Unix time of the last change, seconds
constexpr std::string_view barred_prefix = "barred/";       ///< and the name of a signed stream that is no more: Unix time of its end, seconds
constexpr auto barred_for = 24h;                            ///< edges keep segments for 12 h, and playlists name none that are older
constexpr auto viewing_key_known_after = 15s; ///< to every node that is reached
constexpr auto probe_token_lasts = 1h;
constexpr auto keys_signed_every = 1min; ///< that they still count; new ones at once
constexpr std::size_t requests_kept = 1000;
constexpr std::size_t services_kept = 1000; ///< RTMP servers that only hooks name

/// Sorts like its number.
std::string edge_table_key(edge_epoch epoch) { return fmt::format("{}{:020}", edge_table_prefix, epoch); }

/// Tasks that cost the same: of one type, with the same options but for those that are secret.
std::string cost_key(const task_type& type, const std::string& options) { return type.name + type.masked(type.process(options)); }

std::vector<node_name> names_of(const roster& all) {
  std::vector<node_name> names;
  for (auto& w : all.nodes)
    names.push_back(w.name);
  return names;
}

std::string host_of(const std::string& url) {
  auto parts = http::parse_url(url);
  return parts ? parts->host : std::string{};
}

std::string roster_list_key(std::uint64_t version) { return fmt::format("{}{:020}", roster_list_prefix, version); }

/// A setting that unix_seconds() made; what is none is long ago.
timestamp at_unix_seconds(std::string_view text) {
  std::int64_t seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return timestamp{std::chrono::seconds(seconds)};
}

std::int64_t as_of(caf::actor_clock::time_point now) { return std::chrono::floor<std::chrono::milliseconds>(now.time_since_epoch()).count(); }

/// Of an edge that is only remembered from before our start nothing is known but its name.
bool is_edge_of(const edge_spec& edge, const node_name& node) { return edge.node.value.empty() ? node_of(edge.name) == node : edge.node == node; }

/// What is empty is not kept.
void put_or_remove(store::batch& batch, std::string_view prefix, const std::string& key, std::string_view value) {
  auto whole = std::string(prefix) + key;
  value.empty() ? batch.remove_setting(whole) : batch.put_setting(whole, value);
}

/// Of a publisher that only its server's list told of, the list may not say from where it publishes.
std::string encoder_of(const publisher& who) { return who.address.empty() ? "client " + who.client_id : who.address; }

origin_place place_of(const origin::replica& member) {
  return {.url = member.url, .token = {}, .node = {}, .read_token = {}, .peer_token = member.token, .copies = 0, .member = member.name};
}

origin_group group_of(const origin::replica_view& view, std::string instance) {
  origin_group group{.term = view.mark.term, .holder = view.mark.holder, .instance = std::move(instance), .members = {}};
  for (auto& m : view.members)
    group.members.push_back(place_of(m));
  return group;
}

/// An origin's name among those that keep copies. What cannot be its own is not believed.
std::string member_of(const node_name& node, const origin_place& place) { return origin::node_of(place.member) == node.value && origin::is_member_name(place.member) ? place.member : node.value; }
node_name node_of_member(std::string_view member) { return node_name{std::string(origin::node_of(member))}; }

bool live(task_phase p) { return p != task_phase::waiting && p != task_phase::done && p != task_phase::failed; }

} // namespace

std::int64_t coordinator_state::cost_of(const std::string& type, const std::string& options) const {
  auto* known = find_task_type(type);
  if (!known)
    return 0;
  auto measured = costs_.find(cost_key(*known, options));
  return measured == costs_.end() ? known->cost_milli(options) : std::max<std::int64_t>(measured->second * 5 / 4, 10);
}

void coordinator_state::learn_cost(const task_status& status, timestamp wall) {
  auto* known = find_task_type(status.spec.type);
  auto ran = std::chrono::duration_cast<std::chrono::milliseconds>(wall - status.progress.since);
  // The start costs more, and a run that cannot keep up says nothing about what it needs.
  if (!known || status.phase != task_phase::running || ran < measured_after || status.progress.speed_milli < keeps_up_milli || status.progress.cpu_milliseconds <= 0 ||
      status.last_cause == end_cause::overloaded) // with a rung left out it costs less than it will
    return;
  auto& cost = costs_[cost_key(*known, status.spec.options)];
  auto now_seen = status.progress.cpu_milliseconds * 1000 / ran.count();
  cost = cost == 0 ? now_seen : (31 * cost + now_seen) / 32;
  if (costs_.size() > 10'000)
    costs_.erase(costs_.begin());
}

bool coordinator_state::roomier(const task_id& seat, const lease_entry& held, time_point now) const {
  if (!fenced(seat) || now - held.granted < settle_before_moving)
    return false;
  const auto asked = asks(seat, held.cost_milli);
  return std::ranges::any_of(nodes, [&](auto& n) {
    auto& s = n.second.status;
    return n.first != held.node && placing::takes(s, asked) && std::max(s.granted_milli, s.load.cpu_milli) + held.cost_milli * 5 / 4 <= s.spec.capacity_milli;
  });
}

placing::wish coordinator_state::asks(const task_id& seat, std::int64_t cost_milli) const {
  auto& spec = tasks.at(task_of(seat)).spec;
  placing::wish w{.type = spec.type, .needs = spec.needs, .cost_milli = cost_milli, .avoid = {}, .apart_from = {}, .near = {}};
  // The two runs of a task with a standby never share a machine.
  if (auto other = leases.find(is_standby_seat(seat) ? spec.id : standby_seat(spec.id)); other != leases.end())
    w.apart_from = other->second.node;
  return w;
}

std::vector<const node_status*> coordinator_state::candidates() const {
  std::vector<const node_status*> all;
  for (auto& [id, node] : nodes)
    all.push_back(&node.status);
  return all;
}

expected<void> coordinator_state::load(timestamp wall, time_point now) {
  auto kept = setup.store->load();
  if (!kept)
    return fail(kept.error());
  for (auto& [id, spec] : kept->streams) {
    auto& entry = streams[id];
    entry.status.spec = entry.spec = spec;
    vhosts.insert(spec.vhost);
    entry.status.publishers = kept->publishers[id];
    for (auto& p : entry.status.publishers)
      services[p.server] = p.service_id;
  }
  for (auto& [id, spec] : kept->tasks)
    if (streams.contains(spec.stream)) {
      auto& entry = tasks[id];
      entry.status.spec = entry.spec = spec;
    }
  for (auto& [id, kept_lease] : kept->leases) {
    auto task = tasks.find(task_of(id));
    if (task == tasks.end())
      continue;
    auto& spec = task->second.spec;
    leases[id] = {.epoch = kept_lease.epoch, .node = kept_lease.node, .cost_milli = cost_of(spec.type, spec.options), .granted = now, .why = kept_lease.why, .runs_out = {}, .order = {}};
    auto& node = nodes[kept_lease.node]; // it has the lease's time to say that it goes on
    node.status.spec.name = kept_lease.node;
    node.status.phase = node_phase::suspect;
    node.status.granted_milli += leases[id].cost_milli;
    node.last_beat = now;
    newest_epochs[id] = kept_lease.epoch;
  }
  // The clock as a floor: a store that was restored from yesterday's backup must not repeat today's epochs. Nobody grants 4,096 leases each second for long.
  auto by_clock = static_cast<lease_epoch>(unix_seconds(wall));
  next_epoch = by_clock << 12;
  if (auto stored = kept->settings.find(reserved_epochs_key); stored != kept->settings.end()) {
    lease_epoch high = 0;
    auto& text = stored->second;
    if (std::from_chars(text.data(), text.data() + text.size(), high).ptr != text.data() + text.size())
      return fail(error_code::corrupt, fmt::format("setting {} is {:?}, not a number", reserved_epochs_key, text));
    next_epoch = std::max(next_epoch, high);
  }
  reserved_epochs = next_epoch;
  std::vector<edge_table> tables;
  for (auto& [key, text] : kept->settings)
    if (key.starts_with(request_prefix))
      requests[key.substr(request_prefix.size())] = text;
    else if (key.starts_with(barred_prefix))
      barred_[key.substr(barred_prefix.size())] = at_unix_seconds(text);
    else if (key.starts_with(edge_table_prefix)) {
      auto table = describe::from_json<edge_table>(text);
      if (!table)
        return fail(error_code::corrupt, key + ": " + table.error().text);
      tables.push_back(std::move(*table));
    } else if (key.starts_with(roster_prefix)) // whoever was there before counts before it has joined again: a node that misses us may have its word
      roster.nodes.push_back({node_name{key.substr(roster_prefix.size())}, text});
    else if (key.starts_with(edge_drained_prefix))
      drained_edges.insert(edge_name{key.substr(edge_drained_prefix.size())});
    else if (key == machines_key)
      machines = text;
    else if (key == copies_key) {
      auto stored = describe::from_json<origin::succession>(text);
      if (!stored)
        return fail(error_code::corrupt, key + ": " + stored.error().text);
      copies = std::move(*stored);
    } else if (key.starts_with(roster_list_prefix)) {
      std::uint64_t listed = 0;
      std::from_chars(key.data() + roster_list_prefix.size(), key.data() + key.size(), listed);
      auto& names = roster_lists[listed];
      std::istringstream lines(text);
      for (std::string line; std::getline(lines, line);)
        names.push_back(node_name{line});
    } else if (key.starts_with(publication_prefix)) {
      if (auto entry = streams.find(stream_id{key.substr(publication_prefix.size())}); entry != streams.end())
        entry->second.status.publication = text;
    } else if (auto wanted = key.starts_with(wanted_prefix) ? from_string<node_phase>(text) : std::nullopt) {
      auto& node = nodes[node_name{key.substr(wanted_prefix.size())}];
      node.wanted = *wanted;
      if (node.status.spec.name.value.empty()) {
        node.status.spec.name = node_name{key.substr(wanted_prefix.size())};
        node.status.phase = node_phase::down;
      }
    }
  started = copies_since = now;
  for (auto& known : roster.nodes) { // and has the lease's time to say what it runs, whether we know of it or not
    auto& node = nodes[known.name];
    node.status.spec.name = known.name;
    node.status.spec.http_url = known.http_url;
    node.status.phase = node_phase::suspect;
    node.last_beat = now;
  }
  edge_set = weir::edge_set{setup.steering};
  edge_set.restore(std::move(tables), now);
  widths = steering::stream_widths{now, {.concentrate = setup.steering.concentrate}};
  judge_widths(now);
  drain_edges();
  for (auto& [id, entry] : streams) // until its STREAM says more: whoever watches must not take a broadcast that goes on for one that is over
    entry.idle = entry.status.publishers.empty() && entry.status.publication.empty();
  roster.version = std::max<std::uint64_t>(by_clock << 20, roster_lists.empty() ? 0 : roster_lists.rbegin()->first + 1);
  roster_lists[roster.version] = names_of(roster);
  return load_secrets(kept->settings);
}

expected<void> coordinator_state::load_secrets(const std::map<std::string, std::string>& settings) {
  store::batch made;
  auto made_once = [&](const char* key) {
    auto kept = settings.find(key);
    auto value = kept != settings.end() ? kept->second : random_token("");
    if (kept == settings.end())
      made.put_setting(key, value);
    return value;
  };
  roster.token = made_once(roster_token_key);
  signer_ = signing_key{made_once(signing_seed_key)};
  auto& configured = setup.options.viewing_secret;
  std::vector<std::string> secrets{configured, setup.options.viewing_secret_former};
  if (configured.empty()) {
    auto former = settings.find(viewing_key_former_key), since = settings.find(viewing_key_since_key);
    secrets = {made_once(viewing_key_key), former == settings.end() ? std::string{} : former->second};
    viewing_key_since_ = since == settings.end() ? timestamp{} : at_unix_seconds(since->second);
  }
  viewing_keys_.clear();
  viewing_revision_ = 0;
  for (auto& one : secrets)
    if (!one.empty()) {
      if (auto good = viewing::check_secret(one); !good)
        return fail(good.error().in(viewing_keys_.empty() ? "coordinator.viewing_secret" : "coordinator.viewing_secret_former"));
      if (auto key = viewing::key_of(one); std::ranges::find(viewing_keys_, key) == viewing_keys_.end()) // the same one in both settings is one key
        viewing_keys_.push_back(std::move(key));
    }
  return made.empty() ? expected<void>{} : setup.store->commit(made, store::durability::synced);
}

void coordinator_state::note(std::string kind, std::string subject, std::string text, std::string actor, timestamp wall) {
  log::info("coordinator", "event", "kind={} subject={} actor={} text={}", kind, subject, actor, text);
  store::batch batch;
  batch.append_event({.number = 0, .at = wall, .kind = std::move(kind), .subject = std::move(subject), .text = std::move(text), .actor = std::move(actor)});
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
    log::error("coordinator", "event-not-stored", "error={}", done.error().text);
  ++version;
}

const coordinator_state::stream_entry* coordinator_state::find(const std::string& vhost, const std::string& app, const std::string& stream) const {
  for (auto& [id, entry] : streams)
    if (entry.spec.name == stream && entry.spec.app == app && rtmp::same_vhost(entry.spec.vhost, vhost))
      return &entry;
  return nullptr;
}

coordinator_state::verdict coordinator_state::judge(const hook_call& call, time_point now, timestamp wall) {
  verdict v;
  v.answer.accept = true;
  // A start that was there before is over: its late callbacks must not take the present one's publishers away. Of a server whose own list is read, only who
  // has a key is believed that it was started anew.
  auto note_start = [&](bool has_key) {
    if (!services.contains(call.server) && services.size() >= services_kept)
      return;
    auto& known = services[call.server];
    auto& past = past_services[call.server];
    if (call.service_id.empty() || call.service_id == known || (!has_key && std::ranges::find(past, call.service_id) != past.end()))
      return;
    v.service_changed = !known.empty();
    if (!known.empty())
      past.push_back(known);
    if (past.size() > starts_remembered)
      past.erase(past.begin());
    known = call.service_id;
  };
  if (!servers.contains(call.server))
    note_start(false);
  bool publishing = call.kind == hook_kind::publish || (call.kind == hook_kind::update && !call.playing);
  if (call.kind == hook_kind::connect || call.kind == hook_kind::note || (call.kind == hook_kind::update && call.playing))
    return v;

  auto* entry = find(call.vhost, call.app, call.stream);
  if (call.kind == hook_kind::unpublish || call.kind == hook_kind::close) {
    for (auto& [id, one] : streams)
      for (auto& p : one.status.publishers)
        if (p.server == call.server && p.client_id == call.client_id && (call.service_id.empty() || p.service_id == call.service_id))
          v.stream = id;
    if (!v.stream && entry && call.kind == hook_kind::unpublish)
      v.stream = entry->spec.id;
    return v;
  }
  auto refuse = [&](std::string why) {
    v.answer = {.accept = false, .reason = std::move(why)};
    // An update is only refused to end a session that must not go on.
    log::warn("coordinator", "hook-refused", "kind={} server={} app={} stream={} address={} reason={}", to_string(call.kind), call.server, call.app, call.stream,
              call.address, v.answer.reason);
    return v;
  };
  if (!entry)
    return refuse("there is no such stream");
  if (!entry->spec.enabled)
    return refuse("the stream is disabled");
  if (call.kind == hook_kind::play)
    return v;
  if (!publishing)
    return v;
  if (!constant_time_equal(call.key, entry->spec.key))
    return refuse(call.key.empty() ? "no key was presented" : "the key is wrong");
  if (now < entry->kicked_until)
    return refuse("the publisher was kicked");
  v.stream = entry->spec.id;
  v.publishes = true;
  note_start(true);
  v.who = {.server = call.server, .service_id = services[call.server], .client_id = call.client_id, .address = call.address, .since = wall};
  return v;
}

coordinator_state::sweep coordinator_state::judge(const publication_list& list, time_point now, timestamp wall) {
  sweep found;
  auto& known = services[list.server];
  found.service_changed = known != list.service_id;
  known = list.service_id;
  for (auto& [id, entry] : streams)
    if (std::ranges::any_of(entry.status.publishers, [&](auto& p) { return p.server == list.server; }))
      found.streams[id] = {list.server, list.service_id, {}};
  // A server of the operator's own may serve others too, whose callbacks never come here: nobody there is ours to count or to cut off.
  auto ours = [&](const std::string& vhost) { return rtmp::same_vhost(vhost, {}) || vhosts.contains(vhost); };
  for (auto& item : list.items) {
    auto* entry = find(item.vhost, item.app, item.stream);
    if (!entry && !ours(item.vhost))
      continue;
    if (!entry || !entry->spec.enabled || now < entry->kicked_until) {
      found.unwanted.items.push_back(item);
      continue;
    }
    auto& mine = found.streams.try_emplace(entry->spec.id, reconcile{list.server, list.service_id, {}}).first->second;
    mine.publishers.push_back({.server = list.server, .service_id = list.service_id, .client_id = item.client_id, .address = item.address, .since = wall});
  }
  return found;
}

expected<void> coordinator_state::check(const stream_spec& spec) const {
  if (!hls::is_address_word(spec.name))
    return fail(error_code::invalid_input, fmt::format("name: {:?} must be 1 to 64 letters, digits, '-', '_' or '.', and not begin with a dot", spec.name));
  if (!hls::is_address_word(spec.app))
    return fail(error_code::invalid_input, fmt::format("app: {:?} must be 1 to 64 letters, digits, '-', '_' or '.', and not begin with a dot", spec.app));
  auto plain = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' || c == '_' || c == '.' || c == '~'; };
  if (spec.key.size() < 8 || !std::ranges::all_of(spec.key, plain))
    return fail(error_code::invalid_input, "key: must be at least 8 letters, digits, '-', '_', '.' or '~', so that every encoder can send it in an address");
  for (auto& [id, other] : streams)
    if (id != spec.id && other.spec.name == spec.name)
      return fail(error_code::already_exists, fmt::format("name: a stream {:?} exists already", spec.name));
  return {};
}

std::string coordinator_state::made_before(const std::string& request) const {
  auto known = request.empty() ? requests.end() : requests.find(request);
  return known == requests.end() ? std::string{} : known->second;
}

void coordinator_state::remember(store::batch& batch, const std::string& request, const std::string& id) {
  if (request.empty())
    return;
  batch.put_setting(std::string(request_prefix) + request, id);
  requests[request] = id;
  while (requests.size() > requests_kept) { // names are hashes: whichever goes is as old as any
    auto gone = requests.begin()->first == request ? std::next(requests.begin()) : requests.begin();
    batch.remove_setting(std::string(request_prefix) + gone->first);
    requests.erase(gone);
  }
}

expected<stream_spec> coordinator_state::add(add_stream wish, timestamp wall) {
  if (auto known = streams.find(stream_id{made_before(wish.request)}); known != streams.end())
    return known->second.spec;
  auto spec = std::move(wish.spec);
  spec.id = stream_id{random_uuid()};
  spec.created = wall;
  spec.revision = 1;
  if (spec.key.empty())
    spec.key = random_token("");
  WEIR_TRY(check(spec));
  store::batch batch;
  batch.put_stream(spec);
  remember(batch, wish.request, spec.id.value);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  auto& entry = streams[spec.id];
  entry.status.spec = entry.spec = spec;
  vhosts.insert(spec.vhost);
  ++revision_;
  note("stream-added", "stream/" + spec.name, "The stream was added.", wish.actor, wall);
  return spec;
}

expected<stream_spec> coordinator_state::set(set_stream wish, timestamp wall) {
  auto entry = streams.find(wish.spec.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.spec.id.value);
  auto& old = entry->second.spec;
  if (wish.if_revision != 0 && wish.if_revision != old.revision)
    return fail(error_code::conflict, fmt::format("the stream is at revision {}, not {}", old.revision, wish.if_revision));
  auto spec = std::move(wish.spec);
  spec.created = old.created;
  spec.revision = old.revision + 1;
  if (spec.key.empty())
    spec.key = old.key;
  WEIR_TRY(check(spec));
  bool busy = std::ranges::any_of(tasks, [&](auto& t) { return t.second.spec.stream == spec.id && live(t.second.status.phase); });
  if ((spec.name != old.name || spec.app != old.app) && (busy || entry->second.status.phase != stream_phase::offline))
    return fail(error_code::conflict, "name and app are part of the addresses in use: they can be changed only while the stream is offline");
  store::batch batch;
  batch.put_stream(spec);
  const bool barred = spec.name != old.name && old.viewing == viewing_access::with_token;
  if (barred)
    bar(old.name, batch, wall);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  if (barred)
    barred_[old.name] = wall;
  bool toggled = spec.enabled != old.enabled;
  old = spec;
  vhosts.insert(spec.vhost);
  ++revision_;
  entry->second.status.spec = spec;
  note(!toggled ? "stream-changed" : spec.enabled ? "stream-enabled" : "stream-disabled", "stream/" + spec.name,
       !toggled ? "The configuration was changed." : spec.enabled ? "Publishing is accepted." : "Publishing is refused and its tasks stop.", wish.actor, wall);
  return spec;
}

expected<stream_spec> coordinator_state::remove(const remove_stream& wish, timestamp wall) {
  auto entry = streams.find(wish.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.id.value);
  auto spec = entry->second.spec;
  if (wish.if_revision != 0 && wish.if_revision != spec.revision)
    return fail(error_code::conflict, fmt::format("the stream is at revision {}, not {}", spec.revision, wish.if_revision));
  store::batch batch;
  batch.remove_stream(spec.id);
  batch.remove_setting(std::string(publication_prefix) + spec.id.value);
  for (auto& [id, task] : tasks)
    if (task.spec.stream == spec.id) {
      batch.remove_task(id);
      batch.remove_lease(standby_seat(id));
    }
  const bool barred = spec.viewing == viewing_access::with_token;
  if (barred)
    bar(spec.name, batch, wall);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  if (barred)
    barred_[spec.name] = wall;
  std::erase_if(newest_epochs, [&](auto& seat) { return tasks.contains(task_of(seat.first)) && tasks.at(task_of(seat.first)).spec.stream == spec.id; });
  std::erase_if(tasks, [&](auto& t) { return t.second.spec.stream == spec.id; });
  ++revision_;
  note("stream-removed", "stream/" + spec.name, "The stream and its tasks were removed.", wish.actor, wall);
  return spec;
}

/// What there was under a name of a signed stream lies at origins, in caches and in directors for hours, and is nobody's to see without a token all the time.
void coordinator_state::bar(const std::string& of, store::batch& batch, timestamp wall) {
  std::erase_if(barred_, [&](auto& one) {
    const bool over = one.second + barred_for < wall;
    if (over)
      batch.remove_setting(std::string(barred_prefix) + one.first);
    return over;
  });
  batch.put_setting(std::string(barred_prefix) + of, std::to_string(unix_seconds(wall)));
}

expected<std::string> coordinator_state::show(const show_key& wish, timestamp wall) {
  auto entry = streams.find(wish.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.id.value);
  note("stream-key-shown", "stream/" + entry->second.spec.name, "The publish key was shown.", wish.actor, wall);
  return entry->second.spec.key;
}

expected<std::string> coordinator_state::rotate(const rotate_key& wish, timestamp wall) {
  auto entry = streams.find(wish.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.id.value);
  auto spec = entry->second.spec;
  spec.key = random_token("");
  ++spec.revision;
  store::batch batch;
  batch.put_stream(spec);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  entry->second.spec = entry->second.status.spec = spec;
  ++revision_;
  note("stream-key-rotated", "stream/" + spec.name, "The publish key was replaced; the old one is refused from now on.", wish.actor, wall);
  return spec.key;
}

const viewing_key& coordinator_state::signs(timestamp wall) const {
  const bool known = wall >= viewing_key_since_ + viewing_key_known_after || wall < viewing_key_since_; // or the clock was set back
  return known || viewing_keys_.size() < 2 ? viewing_keys_.front() : viewing_keys_.back();
}

expected<viewing_pass> coordinator_state::sign(const sign_viewing& wish, timestamp wall) const {
  auto entry = streams.find(wish.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.id.value);
  auto& spec = entry->second.spec;
  if (spec.viewing != viewing_access::with_token)
    return fail(error_code::conflict, fmt::format("stream {} is open to all: its address needs no signature (viewing: signed would change that)", spec.name));
  if (wish.lifetime < 1s || wish.lifetime > viewing::longest_lifetime)
    return fail(error_code::invalid_input, "lifetime: must be 1 s to 366 days");
  viewing_pass pass;
  pass.expires = std::chrono::ceil<std::chrono::seconds>(wall + wish.lifetime);
  pass.token = viewing::make_token(signs(wall), spec.name, unix_seconds(pass.expires));
  pass.playback_url = fmt::format("{}/t/{}{}", setup.playback_base, pass.token, hls::multivariant_path(spec.name));
  return pass;
}

expected<void> coordinator_state::rotate(const rotate_viewing_key& wish, timestamp wall) {
  if (!setup.options.viewing_secret.empty())
    return fail(error_code::conflict, "the secret is configured: change coordinator.viewing_secret, and keep the former one in coordinator.viewing_secret_former while it is still in use");
  if (&signs(wall) != &viewing_keys_.front())
    return fail(error_code::conflict, fmt::format("every node has to hear of the last change first: try again in {} s", viewing_key_known_after / 1s));
  auto next = viewing::key_of(random_token(""));
  store::batch batch;
  batch.put_setting(viewing_key_key, next.secret);
  batch.put_setting(viewing_key_former_key, viewing_keys_.front().secret);
  batch.put_setting(viewing_key_since_key, std::to_string(unix_seconds(wall)));
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  viewing_keys_ = {std::move(next), viewing_keys_.front()};
  viewing_key_since_ = wall;
  viewing_revision_ = 0;
  note("viewing-key-rotated", "cluster/" + setup.cluster, "Viewing addresses get a new signature; those of the key before the former one are refused from now on.", wish.actor, wall);
  return {};
}

viewing_rules coordinator_state::who_may_watch(std::uint64_t held) const {
  if (viewing_revision_ != revision_) {
    viewing_revision_ = revision_;
    std::set<std::string> barred;
    for (auto& [one, since] : barred_)
      barred.insert(one);
    for (auto& [id, entry] : streams)
      if (entry.spec.viewing == viewing_access::with_token)
        barred.insert(entry.spec.name);
      else
        barred.erase(entry.spec.name);
    viewing_ = viewing::with_version({.version = 0, .keys = viewing_keys_, .signed_only = {barred.begin(), barred.end()}});
  }
  return held == viewing_.version ? viewing_rules{.version = held, .keys = {}, .signed_only = {}} : viewing_;
}

expected<void> coordinator_state::can_cut_off(const std::string& server) const {
  if (auto known = servers.find(server); known != servers.end())
    return known->second.silent ? expected<void>(fail(error_code::unavailable, fmt::format("RTMP server {:?} is not heard ({}), so nobody can be cut off there now", server, known->second.status.trouble)))
                                : expected<void>{};
  for (auto& [id, node] : nodes) // its watch has not spoken yet
    if (std::ranges::find(node.rtmp_servers, server, &rtmp_server::name) != node.rtmp_servers.end())
      return {};
  return fail(error_code::unsupported, fmt::format("RTMP server {:?} has no api_url, so nobody can be cut off there: set it in rtmp_servers and restart the coordinator", server));
}

expected<std::vector<publisher>> coordinator_state::kick(const kick_stream& wish, time_point now, timestamp wall) {
  auto entry = streams.find(wish.id);
  if (entry == streams.end())
    return fail(error_code::not_found, "there is no stream " + wish.id.value);
  std::vector<publisher> cut_off;
  std::map<std::string, error> stay; // by their servers
  for (auto& p : entry->second.status.publishers)
    if (auto reached = can_cut_off(p.server); reached)
      cut_off.push_back(p);
    else
      stay.try_emplace(p.server, reached.error());
  std::string why;
  for (auto& [server, e] : stay)
    why += (why.empty() ? "" : "; ") + e.text;
  if (cut_off.empty() && !stay.empty())
    return fail(stay.begin()->second.code, why);
  entry->second.kicked_until = now + kick_lasts;
  note("stream-kicked", "stream/" + entry->second.spec.name,
       fmt::format("The publisher is cut off within 2 s and refused for 10 s{}.", stay.empty() ? "" : ", but not everywhere: " + why), wish.actor, wall);
  return cut_off;
}

expected<void> coordinator_state::canonicalise(task_spec& spec) {
  auto options = canonical_options(spec.type, spec.options);
  if (!options)
    return fail(options.error());
  spec.options = std::move(*options);
  for (auto& need : spec.needs)
    WEIR_TRY(placing::check_need(need));
  return {};
}

expected<task_spec> coordinator_state::add(add_task wish, timestamp wall) {
  if (auto known = tasks.find(task_id{made_before(wish.request)}); known != tasks.end())
    return known->second.spec;
  auto spec = std::move(wish.spec);
  if (!streams.contains(spec.stream))
    return fail(error_code::not_found, "there is no stream " + spec.stream.value);
  WEIR_TRY(canonicalise(spec));
  spec.id = task_id{random_uuid()};
  spec.created = wall;
  spec.revision = 1;
  store::batch batch;
  batch.put_task(spec);
  remember(batch, wish.request, spec.id.value);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  auto& entry = tasks[spec.id];
  entry.status.spec = entry.spec = spec;
  note("task-added", "task/" + spec.id.value, fmt::format("A task of type {} was added to stream {}.", spec.type, streams[spec.stream].spec.name), wish.actor, wall);
  return spec;
}

expected<task_spec> coordinator_state::set(set_task wish, timestamp wall) {
  auto entry = tasks.find(wish.spec.id);
  if (entry == tasks.end())
    return fail(error_code::not_found, "there is no task " + wish.spec.id.value);
  auto& old = entry->second.spec;
  if (wish.if_revision != 0 && wish.if_revision != old.revision)
    return fail(error_code::conflict, fmt::format("the task is at revision {}, not {}", old.revision, wish.if_revision));
  auto spec = std::move(wish.spec);
  spec.stream = old.stream;
  spec.type = old.type;
  spec.created = old.created;
  spec.revision = old.revision + 1;
  WEIR_TRY(canonicalise(spec));
  store::batch batch;
  batch.put_task(spec);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  bool toggled = spec.enabled != old.enabled;
  old = entry->second.status.spec = spec;
  note(!toggled ? "task-changed" : spec.enabled ? "task-enabled" : "task-disabled", "task/" + spec.id.value, "The configuration was changed.", wish.actor, wall);
  return spec;
}

expected<task_spec> coordinator_state::remove(const remove_task& wish, timestamp wall) {
  auto entry = tasks.find(wish.id);
  if (entry == tasks.end())
    return fail(error_code::not_found, "there is no task " + wish.id.value);
  auto spec = entry->second.spec;
  if (wish.if_revision != 0 && wish.if_revision != spec.revision)
    return fail(error_code::conflict, fmt::format("the task is at revision {}, not {}", spec.revision, wish.if_revision));
  store::batch batch;
  batch.remove_task(spec.id);
  batch.remove_lease(standby_seat(spec.id));
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  tasks.erase(entry);
  for (auto& seat : {spec.id, standby_seat(spec.id)})
    newest_epochs.erase(seat);
  note("task-removed", "task/" + spec.id.value, fmt::format("The task of type {} was removed.", spec.type), wish.actor, wall);
  return spec;
}

expected<lease_epoch> coordinator_state::take_epoch() {
  if (next_epoch >= reserved_epochs) {
    store::batch batch;
    batch.put_setting(reserved_epochs_key, std::to_string(next_epoch + epochs_at_once));
    WEIR_TRY(setup.store->commit(batch, store::durability::synced));
    reserved_epochs = next_epoch + epochs_at_once;
  }
  return next_epoch++;
}

std::vector<std::string> coordinator_state::inputs_of(const std::vector<std::string>& from, const stream_spec& stream) const {
  std::vector<std::string> urls;
  for (auto& wanted : from) {
    const rtmp_server* server = nullptr;
    for (auto& [id, node] : nodes)
      if (node.status.phase != node_phase::down && node.status.phase != node_phase::left)
        for (auto& s : node.rtmp_servers)
          if (s.name == wanted)
            server = &s;
    for (auto& s : setup.foreign_servers)
      if (s.name == wanted)
        server = &s;
    if (server)
      urls.push_back(fmt::format("{}/{}/{}", server->read_url, stream.app, stream.name));
  }
  return urls;
}

expected<placement> coordinator_state::place(const place_task& wish, time_point now, timestamp wall) {
  auto entry = tasks.find(task_of(wish.task));
  if (entry == tasks.end())
    return fail(error_code::not_found, "the task was removed");
  auto& spec = entry->second.spec;
  auto& stream = streams.at(spec.stream).spec;
  auto inputs = inputs_of(wish.servers, stream);
  auto read_from = [&](task_order& order) {
    order.input_url = inputs.front();
    order.more_inputs.assign(inputs.begin() + 1, inputs.end());
  };
  auto in_force = [&](lease_entry& held) -> expected<placement> {
    auto node = nodes.find(held.node);
    if (!held.order.task || node == nodes.end() || !node->second.actor)
      return fail(error_code::conflict, fmt::format("node {} held it with epoch {}: it has time to say whether it goes on", held.node.value, held.epoch));
    if (held.runs_out != time_point{}) // to whoever has the name now it would be a second run
      return fail(error_code::conflict, fmt::format("node {} came back as another machine or after a power loss: what it ran before under epoch {} has time to end", held.node.value, held.epoch));
    if (!inputs.empty())
      read_from(held.order);
    if (auto* origin = writes_to(); origin && origin->copies > 0 && !held.order.origin_url.empty()) { // it goes on at whichever has the streams now
      held.order.origin_url = origin->url;
      held.order.origin_token = origin->token;
    }
    return placement{.order = held.order, .node = held.node, .where = node->second.actor, .why = held.why, .in_force = true};
  };
  if (auto held = leases.find(wish.task); held != leases.end())
    return in_force(held->second);
  auto other = leases.find(is_standby_seat(wish.task) ? spec.id : standby_seat(spec.id));
  // A TASK that was started anew does not know that its run sits in the other seat.
  if (auto& seen = entry->second.status; other != leases.end() && other->second.epoch != seen.epoch && seen.standby_node.value.empty())
    return in_force(other->second);
  auto* type = find_task_type(spec.type);
  if (!type)
    return fail(error_code::unsupported, fmt::format("this cluster has no task type {:?}", spec.type));
  // Grants may have been lost with the machine, or be younger than the backup that we were started from: whoever was there may run it.
  if (auto* node = awaited(now, type->needs_origin ? setup.suspect_after : lease_time()))
    return fail(error_code::unavailable, fmt::format("the coordinator has just started: node {} has time to say whether it runs it already", node->value));
  const auto cost = cost_of(spec.type, spec.options);
  if (inputs.empty())
    return fail(error_code::unavailable, fmt::format("the RTMP server {:?} is not known", wish.servers.empty() ? "" : wish.servers.front()));
  auto* origin = writes_to();
  if (type->needs_origin && !origin)
    return fail(error_code::unavailable, copies.present.mark.term == 0 ? "no origin has joined" : "the origin that writes is not there");

  auto asked = asks(wish.task, cost);
  asked.avoid = wish.avoid;
  if (auto before = std::ranges::find_if(outgoing, [&](auto& run) { return task_of(run.first) == spec.id; }); before != outgoing.end())
    asked.avoid = before->second.node; // it was sent away from there
  for (auto source = host_of(inputs.front()); auto& [id, node] : nodes)
    if (!source.empty() && node.host == source)
      asked.near.push_back(id);
  const auto chosen = placing::choose(candidates(), asked);
  if (!chosen.node)
    return fail(error_code::unavailable, chosen.why);

  auto epoch = take_epoch();
  if (!epoch)
    return fail(epoch.error());
  placement where;
  where.node = chosen.node->spec.name;
  where.where = nodes.at(where.node).actor;
  where.why = chosen.why + (cost == type->cost_milli(spec.options) ? "" : " (its cost was measured)");
  note("task-placed", "task/" + spec.id.value,
       fmt::format("Task {} of stream {}{} goes to node {} with epoch {}: {}.", spec.type, stream.name, other != leases.end() ? " (standby)" : "", where.node.value, *epoch, where.why),
       "coordinator", wall);
  where.order = {.task = wish.task,
                 .stream = spec.stream,
                 .stream_name = stream.name,
                 .type = spec.type,
                 .options = spec.options,
                 .epoch = *epoch,
                 .input_url = {},
                 .publication = wish.publication,
                 .origin_url = origin ? origin->url : std::string{},
                 .origin_token = origin ? origin->token : std::string{},
                 .more_inputs = {},
                 .standby = other != leases.end() || outgoing.contains(spec.id) || outgoing.contains(standby_seat(spec.id))};
  read_from(where.order);
  grant({.epoch = *epoch, .node = where.node, .cost_milli = cost, .granted = now, .why = where.why, .runs_out = {}, .order = where.order}, wish.task, wall);
  return where;
}

void coordinator_state::grant(lease_entry entry, const task_id& task, timestamp wall) {
  // Not synced: what a power loss takes, nodes have time to tell after our next start (`awaited`).
  store::batch batch;
  batch.put_lease({task, entry.node, entry.epoch, wall, entry.why});
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
    log::error("coordinator", "lease-not-stored", "task={} error={}", task.value, done.error().text);
  nodes[entry.node].status.granted_milli += entry.cost_milli;
  newest_epochs[task] = std::max(newest_epochs[task], entry.epoch);
  leases[task] = std::move(entry);
}

std::string coordinator_state::refuses(const join& news, time_point now) const {
  auto known = nodes.find(news.spec.name);
  if (known == nodes.end() || !known->second.actor || known->second.status.spec.instance == news.spec.instance)
    return {};
  auto& status = known->second.status;
  if (status.phase == node_phase::suspect || status.phase == node_phase::down || status.phase == node_phase::left || silent_too_long(known->second, now))
    return {};
  return fmt::format("a node of the name {} is here already, at {}: two of one name would take each other's tasks away", news.spec.name.value, status.spec.http_url);
}

bool coordinator_state::take(join news, time_point now, timestamp wall, std::vector<lease>& over, std::map<stream_id, std::string>* found) {
  auto& node = nodes[news.spec.name];
  const auto before = node.status.phase;
  bool fresh = !node.actor || node.status.spec.instance != news.spec.instance || node.status.phase == node_phase::down || node.status.phase == node_phase::left;
  // A program's processes end with it. On another machine, or another start of it, nothing is known of them: it may be another one of the same name.
  bool another = node.actor && node.status.spec.machine != news.spec.machine;
  for (auto& [task, held] : leases)
    if (held.node == news.spec.name) {
      auto run = std::ranges::find(news.runs, task, &task_order::task);
      if (run != news.runs.end() && run->epoch == held.epoch) {
        held.order = std::move(*run);
        held.runs_out = {};
      } else if (another && !fenced(task))
        held.runs_out = node.last_beat + lease_time();
      else if (fresh || must_be_named(held, news.as_of, now)) // an order may be on its way to a node that was here all the time
        over.push_back({task, held.epoch});
    }
  // What runs without a lease that we know of: our store is older than the grant. It goes on if nobody else is known to have the task.
  for (auto& run : news.runs) {
    auto task = tasks.find(task_of(run.task));
    if (task == tasks.end() || run.epoch < newest_epochs[run.task])
      continue;
    auto held = leases.find(run.task);
    if (held != leases.end() && (held->second.order.task || held->second.epoch >= run.epoch))
      continue;
    if (held != leases.end()) // of an older store: that run was over before this one began
      release({run.task, held->second.epoch});
    grant({.epoch = run.epoch, .node = news.spec.name, .cost_milli = cost_of(run.type, run.options), .granted = now, .why = "it ran there when the coordinator came back", .runs_out = {}, .order = run}, run.task, wall);
    next_epoch = std::max(next_epoch, run.epoch + 1);
    if (found && !run.publication.empty())
      found->emplace(task->second.spec.stream, run.publication);
  }
  node.actor = std::move(news.node);
  node.tree = std::move(news.tree);
  node.steady_since = now; // whoever joins did not get an answer before
  node.kept = false;
  node.rtmp_servers = std::move(news.rtmp_servers);
  node.origins = std::move(news.origins);
  node.host = host_of(news.spec.http_url);
  node.status.spec = std::move(news.spec);
  node.status.phase = node.wanted;
  node.status.last_heartbeat = wall;
  node.last_beat = now;
  node.rhythm = phi_accrual(setup.heartbeat, std::chrono::duration_cast<std::chrono::milliseconds>((setup.suspect_after - setup.heartbeat) / deviations_of_that));
  ++version;
  enter(node.status.spec);
  node.roster_sent = names_of(roster); // what the answer to this brings it
  if (!fresh && before == node_phase::suspect && node.status.phase != node_phase::suspect)
    note("node-ready", "node/" + node.status.spec.name.value, "The node is heard again, over another connection.", "coordinator", wall);
  if (fresh) {
    node.status.joined = wall;
    note("node-joined", "node/" + node.status.spec.name.value, "The node is ready.", "coordinator", wall);
  }
  return fresh;
}

origin_list coordinator_state::origins() const {
  origin_list all{.origins = {}, .complete = listened};
  for (auto& [where, node] : nodes)
    if (node.status.phase != node_phase::left)
      for (auto place : node.origins) {
        place.token.clear();
        place.peer_token.clear();
        place.node = where;
        all.origins.push_back(std::move(place));
      }
  return all;
}

origin_list coordinator_state::origins_for_edges() const {
  origin_list all{.origins = {}, .complete = listened};
  auto add = [&](const std::string& url) { all.origins.push_back({.url = url, .token = {}, .node = {}, .read_token = {}, .peer_token = {}, .copies = 0, .member = {}}); };
  bool shared = false;
  for (auto& [where, node] : nodes)
    for (auto& place : node.origins) {
      shared = shared || place.copies > 0;
      if (node.status.phase != node_phase::left && (place.copies == 0 || copies.present.mark.term == 0))
        add(place.url);
    }
  if (shared)
    for (auto& m : origin::with_addresses(copies.present, origin_candidates(started)).members)
      add(m.url);
  return all;
}

const origin_place* coordinator_state::writes_to() const {
  auto usable = [](const node_entry& node) { return !node.origins.empty() && node.status.phase != node_phase::down && node.status.phase != node_phase::left; };
  // A view is left behind where all went back to stores of their own.
  const bool shared = std::ranges::any_of(nodes, [](auto& n) { return !n.second.origins.empty() && n.second.origins.front().copies > 0; });
  if (shared && copies.present.mark.term != 0) {
    auto holder = nodes.find(node_of_member(copies.present.mark.holder));
    const bool there = holder != nodes.end() && usable(holder->second) && member_of(holder->first, holder->second.origins.front()) == copies.present.mark.holder;
    return there ? &holder->second.origins.front() : nullptr;
  }
  for (auto& [id, node] : nodes)
    if (usable(node) && node.origins.front().copies == 0) // those that keep copies wait for each other first
      return &node.origins.front();
  return nullptr;
}

nlohmann::json coordinator_state::origins_status(time_point now) const {
  auto& present = copies.present;
  nlohmann::json names = nlohmann::json::array(), learning = nlohmann::json::object();
  for (auto& m : present.members)
    names.push_back(origin::node_of(m.name));
  for (auto& [name_, one] : learners)
    learning[std::string(origin::node_of(name_))] = {{"seconds", std::chrono::duration<double>(now - one.since).count()}, {"complete", one.complete.has_value()}};
  return {{"term", present.mark.term}, {"writes", origin::node_of(present.mark.holder)}, {"in_force", copies.in_force}, {"members", present.members.size()}, {"names", std::move(names)},
          {"there", std::ranges::count_if(present.members, [&](auto& m) { return !members_away.contains(m.name); })}, {"wanted", copies_wanted}, {"learners", std::move(learning)}, {"former", copies.former.size()}, {"lost", copies_lost}};
}

std::vector<origin::candidate> coordinator_state::origin_candidates(time_point now) const {
  std::vector<origin::candidate> all;
  const auto patience = origin::newcomers(copies).empty() ? take_over_patience : newcomer_patience;
  for (auto& [name_, node] : nodes) {
    if (node.origins.empty() || node.origins.front().copies == 0)
      continue;
    auto& place = node.origins.front();
    auto phase = node.status.phase;
    origin::candidate one{.place = {member_of(name_, place), place.url, place.peer_token}, .instance = {}, .alive = false, .holds = false, .fails = false, .gone = false, .steady = false};
    one.alive = node.actor && phase != node_phase::suspect && phase != node_phase::down && phase != node_phase::left && !silent_too_long(node, now);
    if (auto said = origins_said.find(name_); said != origins_said.end()) {
      one.instance = said->second.says.instance;
      one.holds = said->second.says.in_force == copies.present.mark.term;
      one.fails = !one.holds && !said->second.says.trouble.empty() && one.place.name == copies.present.mark.holder && now - copies_since > patience;
    }
    auto until = [&](auto& times) {
      auto known = times.find(one.place.name);
      return known != times.end() && now < known->second;
    };
    const bool barred = until(learners_barred);
    one.last = barred || until(learners_last);
    one.behind = !members_taught.contains(one.place.name);
    if (auto learns = learners.find(one.place.name); learns != learners.end() && learns->second.instance == one.instance && learns->second.complete)
      one.steady = now - *learns->second.complete >= steady_for && !barred;
    all.push_back(std::move(one));
  }
  for (auto& m : copies.present.members) {
    auto known = std::ranges::find(all, m.name, [](auto& one) -> auto& { return one.place.name; });
    if (known == all.end()) // not there, or with another disk
      known = all.insert(all.end(), origin::candidate{.place = m, .instance = {}, .alive = false, .holds = false, .fails = false, .gone = false, .steady = false});
    auto away = members_away.find(m.name);
    const bool replaced = std::ranges::any_of(all, [&](auto& one) { return one.alive && one.place.name != m.name && origin::node_of(one.place.name) == origin::node_of(m.name); });
    known->gone = !known->alive && (replaced || (away != members_away.end() && now - away->second >= member_patience));
  }
  return all;
}

void coordinator_state::follow_origins(const std::vector<origin::candidate>& there, time_point now, timestamp wall) {
  auto alive = [&](const std::string& who) { return std::ranges::any_of(there, [&](auto& one) { return one.alive && one.place.name == who; }); };
  std::erase_if(members_away, [&](auto& one) { return alive(one.first) || !copies.present.has(one.first); });
  for (auto& m : copies.present.members)
    if (!alive(m.name))
      members_away.try_emplace(m.name, now);
  std::erase_if(learners_barred, [&](auto& one) { return now >= one.second; });
  std::erase_if(learners_last, [&](auto& one) { return now >= one.second; });
  for (auto& [who, one] : learners)
    if (!one.complete && now - one.since >= learner_stuck_after)
      learners_last.try_emplace(who, now + learner_last_for);
  const auto chosen = origin::learners(copies, there, copies_wanted);
  auto instance_of = [&](const std::string& who) { return std::ranges::find(there, who, [](auto& one) -> auto& { return one.place.name; })->instance; };
  std::erase_if(learners, [&](auto& one) { return std::ranges::find(chosen, one.first, &origin::replica::name) == chosen.end() || instance_of(one.first) != one.second.instance; });
  for (auto& one : chosen)
    if (learners.try_emplace(one.name, learner{instance_of(one.name), now, {}}).second)
      note("origin-learns", "node/" + node_of_member(one.name).value,
           fmt::format("It gets what the {} origins that keep copies have, and becomes one of them when it has had everything for {}.", copies.present.members.size(), to_string(std::chrono::milliseconds(steady_for))),
           "coordinator", wall);
}

expected<void> coordinator_state::keep_copies(const origin::succession& next, store::durability how) {
  store::batch batch;
  batch.put_setting(std::string(copies_key), describe::to_json(next));
  return setup.store->commit(batch, how);
}

origin_orders coordinator_state::take(const origin_word& news, time_point now, timestamp wall) {
  auto node = nodes.find(news.node);
  if (node == nodes.end() || node->second.origins.empty() || news.instance.empty())
    return {};
  auto& said = origins_said[news.node];
  said = {news, now};
  said.says.instance.resize(std::min<std::size_t>(news.instance.size(), 64));
  said.says.trouble.resize(std::min<std::size_t>(news.trouble.size(), 500));
  said.says.taught.clear(); // it is heeded below
  const bool writes = news.in_force != 0 && news.in_force == copies.present.mark.term && member_of(news.node, node->second.origins.front()) == copies.present.mark.holder && news.instance == copies.instance;
  if (writes) {
    members_taught.clear();
    std::ranges::copy_if(news.taught, std::inserter(members_taught, members_taught.end()), [&](auto& who) { return copies.present.has(who); });
    for (auto& [who, one] : learners) {
      if (std::ranges::find(news.taught, who) == news.taught.end())
        one.complete.reset();
      else if (!one.complete)
        one.complete = now;
    }
  }
  if (!copies.in_force && writes) {
    // Forgotten it costs the word of more members, no more; where some of them are new, one of them could then not be left out when it is lost.
    const auto how = origin::newcomers(copies).empty() ? store::durability::lazy : store::durability::synced;
    copies.in_force = true;
    if (auto kept = keep_copies(copies, how); !kept)
      log::error("coordinator", "origin-view-not-stored", "term={} error={}", copies.present.mark.term, kept.error().text);
    note("origin-took-over", "node/" + news.node.value, fmt::format("Its origin has all streams, under term {}.", copies.present.mark.term), "coordinator", wall);
  }
  const auto there = origin_candidates(now);
  origin_orders orders{.present = group_of(origin::with_addresses(copies.present, there), copies.instance), .former = {}, .learners = {}};
  for (auto& old : copies.former)
    orders.former.push_back(group_of(origin::with_addresses(old, there), {}));
  if (writes)
    for (auto& one : there)
      if (learners.contains(one.place.name))
        orders.learners.push_back(place_of(one.place));
  return orders;
}

bool coordinator_state::judge_origins(time_point now, timestamp wall) {
  if (copies.present.mark.term != 0 && now - started < setup.suspect_after) // whoever was there has that long to join
    return false;
  auto there = origin_candidates(now);
  std::uint64_t highest = 0;
  copies_wanted = 0;
  for (auto& [name_, node] : nodes)
    if (!node.origins.empty() && node.status.phase != node_phase::left)
      copies_wanted = std::max(copies_wanted, node.origins.front().copies);
  follow_origins(there, now, wall);
  for (auto& [name_, one] : origins_said)
    if (one.says.highest < highest_term)
      highest = std::max(highest, one.says.highest);
  auto decision = origin::decide(copies, there, copies_wanted, highest);
  if (decision.verdict != origin::succession_verdict::next) {
    auto why = decision.verdict == origin::succession_verdict::lost ? decision.why : std::string{};
    if (!why.empty() && copies_lost.empty())
      note("origin-quorum-lost", "node/" + node_of_member(copies.present.mark.holder).value, fmt::format("Nothing can be written, and nobody can take over: {}.", why), "coordinator", wall);
    copies_lost = std::move(why);
    return false;
  }
  // Who is left out has to learn before it comes in again: also whoever is slow to call after our start has the time to.
  if (copies.present.mark.term != 0 && decision.next.present.members.size() < copies.present.members.size() && now - started < time_to_call_again)
    return false;
  next_epoch = std::max(next_epoch, highest + 1);
  auto term = take_epoch();
  if (!term) {
    log::error("coordinator", "origin-view-not-stored", "term=none error={}", term.error().text);
    return false;
  }
  auto& next = decision.next;
  next.present.mark.term = *term;
  if (auto kept = keep_copies(next, store::durability::synced); !kept) {
    log::error("coordinator", "origin-view-not-stored", "term={} error={}", *term, kept.error().text);
    return false;
  }
  for (auto& who : origin::newcomers(copies))
    if (!next.present.has(who))
      learners_barred[who] = now + learner_barred_for;
  copies = std::move(next);
  members_taught.clear();
  copies_since = now;
  copies_lost.clear();
  note("origin-writes", "node/" + node_of_member(copies.present.mark.holder).value,
       fmt::format("Of {} origins that keep copies it is the one that writes, by term {}: {}.", copies.present.members.size(), *term, decision.why), "coordinator", wall);
  ++version;
  return true;
}

edge_list coordinator_state::listing(time_point now) {
  std::erase_if(joins, [&](auto& one) { return now - one.second.heard > director_forgotten || !nodes.contains(one.first); });
  edge_list list{.edges = edge_set.statuses(), .oldest_table = edge_set.oldest(), .joins = {}, .widths = widths.list()};
  for (auto& e : list.edges) { // told to many each second: what is there for people stays here
    e.seen.clear();
    e.load.streams.clear();
  }
  for (auto& [director, one] : joins) {
    list.joins.push_back(one.says);
    list.joins.back().age_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now - one.heard).count();
  }
  return list;
}

std::vector<lease> coordinator_state::take(const leaving& news, timestamp wall) {
  std::vector<lease> over;
  auto entry = nodes.find(news.node);
  if (entry == nodes.end() || entry->second.status.spec.instance != news.instance || entry->second.status.phase == node_phase::left)
    return over;
  auto& node = entry->second;
  node.status.phase = node_phase::left;
  node.kept = false;
  leave(news.node);
  edge_set.forget_observer(news.node);
  for (auto& s : node.rtmp_servers)
    if (auto server = servers.find(s.name); server != servers.end()) {
      server->second.heard = {}; // its publishers went with it
      server->second.status.up = false;
      server->second.status.trouble = "its node was stopped";
    }
  for (auto& [task, held] : leases)
    if (held.node == news.node)
      over.push_back({task, held.epoch});
  note("node-left", "node/" + news.node.value, "The node was stopped.", "coordinator", wall);
  return over;
}

expected<std::vector<lease>> coordinator_state::take(const forget_node& wish, timestamp wall) {
  auto entry = nodes.find(wish.name);
  if (entry == nodes.end())
    return fail(error_code::not_found, "there is no node " + wish.name.value);
  auto& node = entry->second;
  if (wish.name == setup.own_node)
    return fail(error_code::conflict, "the coordinator runs there");
  if (node.kept && !wish.dead)
    return fail(error_code::conflict, fmt::format("node {} is silent and may still run its tasks; say that it is dead if you know that it is", wish.name.value));
  if (!node.kept && node.status.phase != node_phase::down && node.status.phase != node_phase::left)
    return fail(error_code::conflict, fmt::format("node {} is {}: stop it first", wish.name.value, to_string(node.status.phase)));
  store::batch batch;
  batch.remove_setting(std::string(wanted_prefix) + wish.name.value);
  for (auto& status : edge_set.statuses())
    if (is_edge_of(status.spec, wish.name))
      batch.remove_setting(std::string(edge_drained_prefix) + status.spec.name.value);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  std::vector<lease> over;
  for (auto& [task, held] : leases)
    if (held.node == wish.name)
      over.push_back({task, held.epoch});
  leave(wish.name);
  edge_set.forget_observer(wish.name);
  for (auto& s : node.rtmp_servers)
    servers.erase(s.name);
  nodes.erase(entry);
  named.erase(wish.name);
  told.erase(wish.name);
  ++version;
  note("node-forgotten", "node/" + wish.name.value, wish.dead ? "Removed by hand, as dead." : "Removed by hand.", wish.actor, wall);
  return over;
}

const node_name* coordinator_state::awaited(time_point now, std::chrono::milliseconds patience) const {
  if (now - started >= patience)
    return nullptr;
  auto silent = std::ranges::find_if(nodes, [](auto& n) { return !n.second.actor && n.second.status.phase == node_phase::suspect; });
  return silent == nodes.end() ? nullptr : &silent->first;
}

std::chrono::milliseconds coordinator_state::lease_time() const { return setup.options.lease_ttl + lease_margin; }

bool coordinator_state::is_over(const stream_entry& entry, time_point now) const {
  return entry.status.phase == stream_phase::offline && entry.idle && now - started >= std::max(setup.options.publish_grace, lease_time());
}

void coordinator_state::give_back(const release_task& done, timestamp wall) {
  auto held = leases.find(done.task);
  if (held == leases.end() || held->second.epoch != done.epoch)
    return;
  // Its TASK has never said that it took it. After a take-over the standby sits in the task's own seat.
  auto task = tasks.find(done.task);
  if (task != tasks.end() && task->second.status.epoch != done.epoch && task->second.status.standby_node != held->second.node)
    note("lease-given-back", "task/" + done.task.value,
         fmt::format("Lease {} of node {} is given back before the node was asked: something else is wanted by now.", done.epoch, held->second.node.value), "coordinator", wall);
  release(done);
}

void coordinator_state::release(const release_task& done) {
  auto held = leases.find(done.task);
  if (held == leases.end() || held->second.epoch != done.epoch)
    return;
  if (auto node = nodes.find(held->second.node); node != nodes.end())
    node->second.status.granted_milli -= held->second.cost_milli;
  leases.erase(held);
  ++version;
  store::batch batch;
  batch.remove_lease(done.task);
  if (auto gone = setup.store->commit(batch, store::durability::lazy); !gone)
    log::error("coordinator", "lease-not-stored", "task={} error={}", done.task.value, gone.error().text);
}

beat_answer coordinator_state::take(const beat& b, time_point now, timestamp wall, std::vector<lease>& lost) {
  auto entry = nodes.find(b.node);
  if (entry == nodes.end() || entry->second.status.spec.instance != b.instance || entry->second.status.phase == node_phase::left)
    return {.known = false, .renewed = {}};
  auto& node = entry->second;
  if (now - node.last_beat > beat_gap())
    node.steady_since = now;
  node.last_beat = now;
  node.rhythm.heartbeat(now);
  node.kept = false;
  node.status.last_heartbeat = wall;
  node.status.load = b.load;
  ++version;
  if (node.status.phase != node.wanted && node.status.phase != node_phase::ready) {
    note("node-ready", "node/" + b.node.value, "The node is heard again.", "coordinator", wall);
    node.status.phase = node.wanted;
  } else
    node.status.phase = node.wanted;
  beat_answer answer;
  answer.roster = roster_for(node, b.roster);
  answer.as_of = as_of(now);
  const std::set<lease_epoch> held_there(b.leases.begin(), b.leases.end());
  for (auto& [task, held] : leases)
    if (held.node != b.node)
      continue;
    else if (held_there.contains(held.epoch))
      answer.renewed.push_back(held.epoch);
    else if (must_be_named(held, b.as_of, now)) // an order may still be on its way: only an old grant that the node does not name is lost
      lost.push_back({task, held.epoch});
  for (auto& [task, run] : outgoing)
    if (run.node == b.node && held_there.contains(run.epoch))
      answer.renewed.push_back(run.epoch);
  return answer;
}

bool coordinator_state::must_be_named(const lease_entry& held, std::int64_t heard, time_point now) const {
  return held.runs_out == time_point{} && heard <= as_of(now) && heard > as_of(held.granted + order_patience); // later than now: another coordinator's clock
}

void coordinator_state::enter(const node_spec& spec) {
  auto known = std::ranges::find(roster.nodes, spec.name, &witness::name);
  if (known != roster.nodes.end() && known->http_url == spec.http_url)
    return;
  if (known == roster.nodes.end())
    roster.nodes.push_back({spec.name, spec.http_url});
  else
    known->http_url = spec.http_url;
  keep_roster(spec.name, &spec.http_url);
}

void coordinator_state::leave(const node_name& gone) {
  if (std::erase_if(roster.nodes, [&](auto& w) { return w.name == gone; }) == 0)
    return;
  keep_roster(gone, nullptr);
}

void coordinator_state::keep_roster(const node_name& changed, const std::string* http_url) {
  ++roster.version;
  store::batch batch;
  auto key = std::string(roster_prefix) + changed.value;
  http_url ? batch.put_setting(key, *http_url) : batch.remove_setting(key);
  auto& list = roster_lists[roster.version] = names_of(roster);
  std::string lines;
  for (auto& one : list)
    lines += one.value + "\n";
  batch.put_setting(roster_list_key(roster.version), lines);
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
    log::error("coordinator", "roster-not-stored", "node={} error={}", changed.value, done.error().text);
}

weir::roster coordinator_state::roster_for(node_entry& node, std::uint64_t held) {
  node.roster_sent = names_of(roster);
  if (held != roster.version)
    return roster;
  node.roster_held = node.roster_sent;
  if (std::exchange(node.roster_version, held) != held)
    forget_rosters();
  return {};
}

void coordinator_state::forget_rosters() {
  auto oldest = roster.version;
  for (auto& [id, node] : nodes)
    if (node.status.phase != node_phase::down && node.status.phase != node_phase::left)
      oldest = std::min(oldest, node.roster_version);
  store::batch batch;
  const auto former = roster_lists.size();
  for (auto list = roster_lists.begin(); list != roster_lists.end() && list->first < oldest; list = roster_lists.erase(list))
    batch.remove_setting(roster_list_key(list->first));
  if (roster_lists.size() == former)
    return;
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done) // it costs caution after our next start, no more
    log::error("coordinator", "roster-not-stored", "node={} error={}", "all", done.error().text);
}

bool coordinator_state::has_majority(const node_entry& silent, time_point now) const {
  const auto long_enough = lease_time();
  auto heard = [&](const node_name& one) {
    if (one == setup.own_node)
      return true;
    auto node = nodes.find(one);
    return node != nodes.end() && node->second.actor && now - node->second.last_beat < beat_gap() &&
           now - node->second.steady_since > long_enough;
  };
  // Under each list that it may have. Our own node breaks a tie: the other side needs more than half.
  auto holds = [&](std::vector<node_name> list) {
    if (std::ranges::find(list, setup.own_node) == list.end())
      list.push_back(setup.own_node);
    return 2 * std::ranges::count_if(list, heard) >= std::ssize(list);
  };
  if (silent.roster_version == 0 && !std::ranges::all_of(roster_lists, [&](auto& list) { return holds(list.second); }))
    return false;
  return holds(silent.roster_held) && holds(silent.roster_sent);
}

bool coordinator_state::stood_still(time_point now) {
  if (auto late = still.ticked(now, setup.options.lease_ttl); late > late.zero())
    log::warn("coordinator", "stood-still", "for={}", to_string(std::chrono::floor<std::chrono::milliseconds>(late)));
  return still.listens(now);
}

bool coordinator_state::silent_too_long(const node_entry& node, time_point now) const {
  if (now - node.last_beat <= setup.heartbeat * 3 / 2)
    return false; // as on nearly every tick
  return node.rhythm.heard() ? node.rhythm.phi(now) >= suspicious : now - node.last_beat > setup.suspect_after;
}

std::vector<lease> coordinator_state::judge_nodes(time_point now, timestamp wall) {
  std::vector<lease> over;
  for (auto& [id, node] : nodes) {
    auto silent = now - node.last_beat;
    auto& phase = node.status.phase;
    if (silent > lease_time() && phase != node_phase::down && phase != node_phase::left) {
      auto for_so_long = to_string(std::chrono::floor<std::chrono::milliseconds>(silent));
      if (!has_majority(node, now)) { // it may be alive and have the word of the others: what only it can end must not start twice
        if (!std::exchange(node.kept, true))
          note("node-unreachable", "node/" + id.value,
               fmt::format("No heartbeat for {}, and too few nodes are heard to know that it has ended its tasks: what the origin cannot fence stays there.", for_so_long), "coordinator", wall);
        phase = node_phase::suspect;
        continue;
      }
      phase = node_phase::down;
      leave(id);
      for (auto& s : node.rtmp_servers)
        if (auto server = servers.find(s.name); server != servers.end())
          server->second.heard = {}; // its publishers went with it
      note("node-down", "node/" + id.value, fmt::format("No heartbeat for {}: its leases are over.", for_so_long), "coordinator", wall);
      for (auto& [task, held] : leases)
        if (held.node == id)
          over.push_back({task, held.epoch});
    } else if (silent_too_long(node, now) && phase != node_phase::suspect && phase != node_phase::down && phase != node_phase::left) {
      phase = node_phase::suspect;
      note("node-suspect", "node/" + id.value, fmt::format("No heartbeat for {}: it gets no new tasks.", to_string(std::chrono::floor<std::chrono::milliseconds>(silent))), "coordinator", wall);
    }
  }
  // What the origin fences need not wait: it goes on elsewhere as soon as there is room. A node that has not been heard since our start gets the time that its dialling takes.
  auto gives_up = [&](const node_entry& node) {
    return node.status.phase == node_phase::suspect && now - node.last_beat > (node.actor ? setup.suspect_after : lease_time());
  };
  const bool any = std::ranges::any_of(nodes, [&](auto& n) { return gives_up(n.second); });
  for (auto& [task, held] : leases) {
    if (held.runs_out != time_point{} && now > held.runs_out)
      over.push_back({task, held.epoch});
    else if (auto node = any ? nodes.find(held.node) : nodes.end(); node != nodes.end() && gives_up(node->second) && movable(task, held))
      over.push_back({task, held.epoch});
  }
  return over;
}

void coordinator_state::take(const rtmp_health& news, time_point now) {
  auto [entry, fresh] = servers.try_emplace(news.server);
  auto& one = entry->second;
  if (fresh)
    one.heard = now; // it has the usual time to speak
  if (one.status.up != news.up || one.status.trouble != news.text || one.status.publishers != news.publishers)
    ++version;
  one.status.name = news.server;
  one.status.watched = true;
  one.status.up = news.up;
  one.status.trouble = news.text;
  one.status.publishers = news.publishers;
  if (news.up)
    one.heard = now;
}

coordinator_state::server_verdicts coordinator_state::judge_servers(time_point now, timestamp wall) {
  server_verdicts found;
  for (auto& [name_, one] : servers) {
    auto age = now - one.heard;
    if (bool silent = age > server_patience; silent != one.silent) {
      one.silent = silent;
      found.changed.push_back({name_, silent});
      note(silent ? "rtmp-server-silent" : "rtmp-server-back", "rtmp-server/" + name_,
           silent ? fmt::format("Its list could not be read for {}: {}. Streams that are on another server too are read there.", to_string(server_patience),
                                one.status.trouble.empty() ? "nobody reads it" : one.status.trouble)
                  : std::string("Its list is read again."),
           "rtmp-watch", wall);
    }
    // Unreachable is not empty; but who stays silent for as long as a stream may be away is away.
    bool give_up = age > std::max<std::chrono::milliseconds>(setup.options.publish_grace, server_patience);
    if (give_up && !one.given_up)
      found.given_up.push_back(name_);
    one.given_up = give_up;
  }
  return found;
}

known_keys coordinator_state::keys(std::uint64_t version_held, timestamp wall) const {
  auto until = std::chrono::floor<std::chrono::seconds>(wall + key_cache::lasts);
  bool others = keys_revision_ != revision_;
  if (others) {
    keys_revision_ = revision_;
    keys_ = {.version = roster.version + revision_, .until = {}, .keys = {}, .signature = {}, .signer = signer_.public_key()};
    for (auto& [id, entry] : streams)
      if (entry.spec.enabled)
        keys_.keys.push_back({entry.spec.app, entry.spec.name, entry.spec.vhost, salted_hash(entry.spec.key)});
  }
  if (others || until >= keys_.until + keys_signed_every || until < keys_.until) { // or the clock was set back
    keys_.until = until;
    keys_.signature = signer_.sign(known_keys_text(keys_));
  }
  if (version_held != keys_.version)
    return keys_;
  return {.version = keys_.version, .until = keys_.until, .keys = {}, .signature = keys_.signature, .signer = keys_.signer};
}

bool coordinator_state::fenced(const task_id& seat) const {
  auto task = tasks.find(task_of(seat));
  auto* type = task == tasks.end() ? nullptr : find_task_type(task->second.spec.type);
  return type && type->needs_origin;
}

bool coordinator_state::has_elsewhere(const task_id& seat, const lease_entry& held) const {
  auto asked = asks(seat, held.cost_milli);
  asked.apart_from = held.node; // where it goes its standby may be: then it goes on in its place
  return std::ranges::any_of(nodes, [&](auto& n) { return placing::takes(n.second.status, asked); });
}

bool coordinator_state::suits(const task_id& seat, const lease_entry& held) const {
  auto node = nodes.find(held.node);
  return node == nodes.end() || placing::suits(node->second.status.spec, asks(seat, held.cost_milli));
}

std::optional<placing::move> coordinator_state::rebalance(time_point now) const {
  if (now - moved < between_moves || now - started < settle_before_moving || !outgoing.empty())
    return std::nullopt;
  if (std::ranges::none_of(nodes, [](auto& n) { return placing::is_crowded(n.second.status); }))
    return std::nullopt; // as nearly always
  for (auto& [id, node] : nodes) // whoever just came or is unsure may change the picture by itself
    if (node.status.phase != node_phase::left && node.status.phase != node_phase::down && (node.status.phase != node.wanted || now - node.steady_since < settle_before_moving))
      return std::nullopt;
  std::vector<placing::run> runs;
  for (auto& [seat, held] : leases)
    if (held.order.task && fenced(seat) && now - held.granted >= settle_before_moving)
      runs.push_back({seat, held.node, asks(seat, held.cost_milli)});
  return placing::rebalance(candidates(), runs);
}

std::vector<lease> coordinator_state::to_drain() const {
  std::vector<lease> found;
  if (std::ranges::none_of(nodes, [](auto& n) { return n.second.status.phase == node_phase::draining; }))
    return found; // as on nearly every tick
  for (auto& [task, held] : leases)
    if (auto node = nodes.find(held.node); node != nodes.end() && node->second.status.phase == node_phase::draining && has_elsewhere(task, held))
      found.push_back({task, held.epoch});
  return found;
}

void coordinator_state::hand_over(const lease& l, time_point now) {
  auto task = tasks.find(task_of(l.task));
  outgoing[l.task] = {.epoch = l.epoch, .node = leases.at(l.task).node, .until = now + hand_over_lasts, .stood_by = task != tasks.end() && task->second.status.epoch != l.epoch};
  release({l.task, l.epoch});
}

std::optional<std::pair<node_name, lease_epoch>> coordinator_state::take_outgoing(const task_id& task) {
  auto run = outgoing.find(task);
  if (run == outgoing.end())
    return std::nullopt;
  std::pair gone{run->second.node, run->second.epoch};
  outgoing.erase(run);
  return gone;
}

void coordinator_state::drain_edges() {
  auto leaves = [&](const edge_status& e) {
    auto node = nodes.find(e.spec.node);
    return node != nodes.end() && node->second.wanted == node_phase::draining;
  };
  const auto all = edge_set.statuses();
  // Viewers stay on a drained node rather than nowhere.
  const bool elsewhere = std::ranges::any_of(all, [&](auto& e) { return e.phase == edge_phase::serving && !leaves(e); });
  for (auto& e : all) {
    bool drained = e.phase == edge_phase::draining;
    bool wanted = drained_edges.contains(e.spec.name) || (leaves(e) && (drained || elsewhere));
    if (wanted != drained)
      edge_set.drain(e.spec.name, wanted);
  }
}

void coordinator_state::take(const edges_in_use& news, time_point now) {
  if (nodes.contains(news.node)) // one that was removed would hold on to tables for hours with its last word
    named[news.node] = {news.oldest, now};
}

void coordinator_state::take(audience_news news) {
  if (nodes.contains(news.node))
    told[news.node] = std::move(news.streams);
}

coordinator_state::audiences coordinator_state::watched(const std::vector<edge_status>& edges_seen) const {
  audiences all;
  for (auto& [node, counted] : told)
    for (auto& s : counted) {
      auto& sum = all[s.stream];
      sum.sessions += s.sessions;
      sum.joins += s.joins;
      sum.join_ms += s.join_ms;
      sum.stalls += s.stalls;
      sum.stalled_ms += s.stalled_ms;
      sum.played_ms += s.played_ms;
    }
  for (auto& e : edges_seen)
    if (e.phase != edge_phase::dead) // its last word is no longer true
      for (auto& s : e.load.streams) {
        auto& sum = all[s.stream];
        sum.viewers += s.viewers;
        sum.bits_per_second += s.bits_per_second;
        sum.hits += s.hits;
        sum.misses += s.misses;
      }
  return all;
}

void coordinator_state::judge_widths(time_point now) {
  steering::stream_widths::demands seen;
  for (auto& [stream, one] : watched(edge_set.statuses()))
    seen.emplace(stream, steering::stream_demand{one.viewers, one.sessions, one.bits_per_second});
  widths.step(seen, edge_set.table(), now);
}

edge_epoch coordinator_state::oldest_named(time_point now) const {
  auto oldest = edge_set::no_epoch;
  for (auto& [node, says] : named)
    if (now - says.heard <= longest_window)
      oldest = std::min(oldest, says.oldest);
  return oldest;
}

probe_orders coordinator_state::take(const edge_sighting& news, time_point now) {
  probe_orders orders;
  if (auto node = nodes.find(news.observer); node == nodes.end() || node->second.status.phase == node_phase::left) // it joins in a moment, or is about to end
    return orders;
  if (edge_set.hear(news.observer, now) && news.edges.size() <= edges_told_limit) {
    for (auto seen : news.edges) {
      seen.sight.observer = news.observer;
      edge_set.observe(seen.edge, std::move(seen.sight), now);
    }
    ++version;
  }
  orders.edges = edge_set.watched_by(news.observer, now);
  orders.urgent = edge_set.urgent(now);
  if (now - newest_at <= newest_holds)
    orders.newest = newest_segment;
  orders.every = setup.steering.probe_every;
  orders.timeout = setup.steering.probe_timeout;
  orders.authorities = authorities_digest;
  if (orders.authorities != news.authorities)
    orders.authorities_text = authorities;
  return orders;
}

void coordinator_state::take(segment_listed news, time_point now, timestamp wall) {
  if (!news.newest.path.starts_with("/s/") || news.newest.path.size() > segment_path_limit)
    return;
  // Each is fetched once by every edge: with a thousand streams all observers still ask for the same one.
  if (now - newest_at < setup.steering.probe_every && !newest_segment.path.empty())
    return;
  newest_segment = std::move(news.newest);
  newest_at = now;
  // An observer is a viewer like others.
  auto stream = std::ranges::find(streams, news.stream, [](auto& s) -> auto& { return s.second.spec.name; });
  if (stream == streams.end() ? barred_.contains(news.stream) : stream->second.spec.viewing == viewing_access::with_token)
    newest_segment.path = fmt::format("/t/{}{}", viewing::make_token(signs(wall), news.stream, unix_seconds(wall + probe_token_lasts)), newest_segment.path);
}

void coordinator_state::use_authorities(std::string pem) {
  if (pem == authorities)
    return;
  authorities = std::move(pem);
  authorities_digest = authorities.empty() ? std::string{} : sha256_hex(authorities);
}

void coordinator_state::read_authorities() {
  const auto& file = setup.steering.edge_authorities;
  if (file.empty())
    return;
  auto text = read_file(file, authorities_limit);
  if (text)
    use_authorities(std::move(*text));
  else
    log::error("coordinator", "edge-authorities-unreadable", "file={} error={}", file, text.error().text);
}

void coordinator_state::note_joined(const edge_spec& edge, timestamp wall) {
  const auto subject = "edge/" + edge.name.value;
  note("edge-joined", subject, fmt::format("The edge serves at {}.", edge.url), edge.node.value, wall);
  const auto& pages = setup.playback_base;
  if (!pages.starts_with("https://") || !edge.url.starts_with("http://"))
    return;
  log::warn("coordinator", "edge-without-tls", "edge={} url={} pages={}", edge.name.value, edge.url, pages);
  note("edge-without-tls", subject,
       fmt::format("The edge serves at {}, which browsers do not load in a page at {}: set edge.certificate and edge.key, or edge.public_url, on its node.", edge.url, pages),
       edge.node.value, wall);
}

void coordinator_state::note_certificate(const edge_load& before, const edge_load& now, timestamp wall) {
  const auto subject = "edge/" + now.edge.value;
  if (!before.certificate.empty() && !now.certificate.empty() && before.certificate != now.certificate)
    note("edge-certificate-renewed", subject, fmt::format("The edge shows a new certificate: {}.", now.certificate), subject, wall);
  if (!now.certificate_trouble.empty() && before.certificate_trouble != now.certificate_trouble)
    note("edge-certificate-refused", subject, fmt::format("A new certificate is not used: {}. The edge still shows {}.", now.certificate_trouble, now.certificate), subject, wall);
}

void coordinator_state::note_locality(const edge_name& edge, const std::string& before, timestamp wall) {
  auto* known = edge_set.find(edge);
  if (!known->locality_trouble.empty() && known->locality_trouble != before)
    note("edge-locality-refused", "edge/" + edge.value,
         fmt::format("Whom the edge is near to is not used: {}. It serves {}.", known->locality_trouble, known->spec.networks_only ? "nobody" : "like any other edge"), "coordinator", wall);
}

neighbour_list coordinator_state::take(const address_word& word, time_point now, timestamp wall) {
  const auto subject = "edge/" + word.edge.value;
  for (auto& step : addresses.take(word, now))
    note(step.kind, subject, step.text, subject, wall);
  return {.edges = addresses.neighbours(edge_set, now), .steps = addresses.steps_of(word.edge)};
}

bool coordinator_state::judge_edges(time_point now, timestamp wall) {
  drain_edges();
  auto change = edge_set.judge(now, oldest_named(now));
  for (auto& p : change.phases)
    note("edge-" + std::string(to_string(p.to)), "edge/" + p.edge.value, p.reason, "coordinator", wall);
  if (!change.phases.empty())
    ++version;
  if (change.overflow)
    log::warn("coordinator", "edge-tables-dropped", "newest={} limit={} why=playlists still name them; who watches those loads the stream anew", change.forgotten.back(),
              steering::history_limit);
  store::batch batch;
  for (auto old : change.forgotten)
    batch.remove_setting(edge_table_key(old));
  auto& table = edge_set.table();
  if (!change.table) {
    if (!change.forgotten.empty())
      if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
        log::error("coordinator", "edge-tables-not-removed", "epochs={} error={}", change.forgotten.size(), done.error().text);
    return false;
  }
  batch.put_setting(edge_table_key(table.epoch), describe::to_json(table));
  if (auto done = setup.store->commit(batch, store::durability::synced); !done)
    log::error("coordinator", "edge-table-not-stored", "epoch={} error={}", table.epoch, done.error().text);
  std::string names;
  for (auto& e : table.edges)
    names += (names.empty() ? "" : ", ") + fmt::format("{} with weight {:.2f}", e.name.value, double(e.weight_milli) / 1000);
  note("edge-set-changed", "edges", fmt::format("Edge epoch {}: {}. Cause: {}.", table.epoch, names.empty() ? "no edge" : names, change.cause), "coordinator", wall);
  return true;
}

void coordinator_state::decorate(stream_status& status, const audiences& watched) const {
  auto audience = watched.find(status.spec.name);
  status.audience = audience == watched.end() ? stream_audience{} : audience->second;
  status.audience.stream = status.spec.name;
  const auto width = widths.width(status.spec.name);
  const auto everybody = std::ranges::count(edge_set.table().edges, false, &edge_target::networks_only);
  status.edges = width != 0 ? width : static_cast<std::uint32_t>(everybody);
  status.playback_url = setup.playback_base + hls::multivariant_path(status.spec.name);
  status.publish_urls.clear();
  auto add = [&](const rtmp_server& s) { status.publish_urls.push_back(fmt::format("{}/{}/{}", s.publish_url, status.spec.app, status.spec.name)); };
  for (auto& [id, node] : nodes)
    if (node.status.phase != node_phase::left)
      std::ranges::for_each(node.rtmp_servers, add);
  std::ranges::for_each(setup.foreign_servers, add);
}

cluster_view coordinator_state::view(time_point now) const {
  cluster_view v;
  v.cluster = setup.cluster;
  v.version = version;
  v.edges_epoch = edge_set.table().epoch;
  v.edges = edge_set.statuses();
  addresses.decorate(v.edges, now);
  const auto seen_by = watched(v.edges);
  for (auto& [id, entry] : streams) {
    v.streams.push_back(entry.status);
    decorate(v.streams.back(), seen_by);
  }
  for (auto& [id, entry] : tasks)
    v.tasks.push_back(entry.status);
  for (auto& [id, node] : nodes)
    v.nodes.push_back(node.status);
  v.scaling = scaling;
  auto show = [&](const rtmp_server& s, const node_name& node) {
    auto seen = servers.find(s.name);
    auto status = seen == servers.end() ? rtmp_server_status{} : seen->second.status;
    status.name = s.name;
    status.node = node;
    status.publish_url = s.publish_url;
    if (auto runs_it = nodes.find(node); status.up && runs_it != nodes.end() && runs_it->second.status.phase == node_phase::down) {
      status.up = false;
      status.trouble = "its node is down";
    }
    v.rtmp_servers.push_back(std::move(status));
  };
  for (auto& [id, node] : nodes)
    for (auto& s : node.rtmp_servers)
      show(s, id);
  for (auto& s : setup.foreign_servers)
    show(s, {});
  return v;
}

coordinator_actor::behavior_type coordinator(coordinator_actor::stateful_pointer<coordinator_state> self, coordinator_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  auto me = coordinator_actor{self};
  auto now = [self] { return self->clock().now(); };
  auto wall = [] { return std::chrono::system_clock::now(); };

  if (auto loaded = my.load(wall(), now()); !loaded) {
    log::critical("coordinator", "store-unreadable", "error={}", loaded.error().text);
    self->quit(to_caf(loaded.error()));
    return coordinator_actor::behavior_type::make_empty_behavior();
  }

  auto spawn_stream = [=, &my](const stream_id& id) {
    auto& entry = my.streams.at(id);
    entry.status.phase = stream_phase::offline;
    entry.actor = self->spawn<caf::linked>(stream, entry.status, my.setup.options.publish_grace, me);
  };
  auto spawn_autoscaler = [=, &my] {
    auto& o = my.setup.scaling;
    machines_setup machines{.driver = nullptr, .cluster = my.setup.cluster, .kept = my.machines};
    if (o.driver == scaling_driver::exec)
      machines.driver = machines::make_exec(o.command, o.order_timeout);
    else if (o.driver == scaling_driver::webhook)
      machines.driver = machines::make_webhook({.url = o.url, .token_file = o.token_file, .authorities = o.authorities, .deadline = o.order_timeout}, my.setup.http);
    my.autoscaler = self->spawn<caf::linked + caf::detached>(autoscaler, o, my.setup.steering, std::move(machines), me);
  };
  auto spawn_watch = [=, &my](const std::string& server) {
    auto& entry = my.watches.at(server);
    entry.actor = self->spawn<caf::linked>(rtmp_watch, entry.setup, my.setup.http, me);
  };
  auto tell_watchers = [=, &my](const auto& message) {
    for (auto& who : my.watchers)
      tell(self, who, message);
  };
  // Runs hear where they deliver from now on, as they do when their node comes back.
  auto judge_origins = [=, &my] {
    if (my.stood_still(now()) || !my.judge_origins(now(), wall())) // what was sent to us meanwhile may lie behind this in the mailbox
      return;
    std::set<std::pair<stream_id, node_name>> concerned;
    for (auto& [seat, held] : my.leases)
      if (auto task = my.tasks.find(task_of(seat)); task != my.tasks.end() && my.fenced(seat))
        concerned.emplace(task->second.spec.stream, held.node);
    for (auto& [id, node] : concerned)
      tell(self, my.streams.at(id).actor, node_back{node});
  };
  auto has_origins = [&my](const node_name& name) {
    auto node = my.nodes.find(name);
    return node != my.nodes.end() && !node->second.origins.empty();
  };
  // The lease is taken back: the node is told, and the task if it is still there.
  auto end_lease = [=, &my](const lease& l, const std::string& why) {
    auto held = my.leases.find(l.task);
    if (held == my.leases.end() || held->second.epoch != l.epoch)
      return;
    my.note("lease-over", "task/" + task_of(l.task).value, fmt::format("Lease {} of node {} is over: {}.", l.epoch, held->second.node.value, why), "coordinator", wall());
    if (auto node = my.nodes.find(held->second.node); node != my.nodes.end())
      tell(self, node->second.actor, revoke{l.task, l.epoch});
    my.release({l.task, l.epoch});
    if (auto task = my.tasks.find(task_of(l.task)); task != my.tasks.end())
      tell(self, my.streams.at(task->second.spec.stream).actor, lease_over{l.task, l.epoch, why});
  };
  auto end_outgoing_in = [=, &my](const task_id& seat) {
    if (auto gone = my.take_outgoing(seat))
      if (auto node = my.nodes.find(gone->first); node != my.nodes.end())
        tell(self, node->second.actor, revoke{seat, gone->second});
  };
  auto end_outgoing = [=, &my](const task_id& id) {
    for (auto& seat : {id, standby_seat(id)})
      end_outgoing_in(seat);
  };
  // The successor of a run that was handed over delivers.
  auto settle_outgoing = [=, &my](const task_spec& spec, bool standby) {
    for (auto& seat : {spec.id, standby_seat(spec.id)})
      if (auto run = my.outgoing.find(seat); run != my.outgoing.end() && (run->second.stood_by || !standby))
        run->second.until = now();
  };
  auto forget_the_edge = [=, &my](const edge_name& edge) {
    my.drained_edges.erase(edge);
    my.edge_set.remove(edge);
    my.addresses.forget(edge, now());
  };
  auto end_edge_for_good = [=, &my](const forget_edge& wish) {
    store::batch batch;
    put_or_remove(batch, edge_drained_prefix, wish.name.value, "");
    if (auto kept = my.setup.store->commit(batch, store::durability::lazy); !kept)
      log::error("coordinator", "edge-drain-not-forgotten", "edge={} error={}", wish.name.value, kept.error().text);
    my.note("edge-ended", "edge/" + wish.name.value, "The edge is no more.", wish.actor, wall());
    forget_the_edge(wish.name);
    if (my.judge_edges(now(), wall()))
      tell_watchers(my.edge_set.table());
  };
  // Whatever runs for the task ends, its successor with it.
  auto end_runs = [=, &my](const task_id& id, const std::string& why) {
    end_outgoing(id);
    for (auto& seat : {id, standby_seat(id)})
      if (auto held = my.leases.find(seat); held != my.leases.end())
        end_lease({seat, held->second.epoch}, why);
  };
  // The run goes on until its successor can take its place.
  auto move_away = [=, &my](const lease& l, const std::string& why) {
    my.note("task-handed-over", "task/" + task_of(l.task).value, fmt::format("Node {} goes on with it until another one delivers: {}.", my.leases.at(l.task).node.value, why), "coordinator", wall());
    my.hand_over(l, now());
    tell(self, my.streams.at(my.tasks.at(task_of(l.task)).spec.stream).actor, lease_over{l.task, l.epoch, why});
  };
  // Where what its task needs by now is not to be had.
  auto leave_if_unsuited = [=, &my](const task_id& seat) {
    auto held = my.leases.find(seat);
    if (held == my.leases.end() || !held->second.order.task || my.suits(seat, held->second))
      return;
    lease l{seat, held->second.epoch};
    const auto* why = "its node does not have what it needs now";
    if (!my.fenced(seat)) // it ends first, and its TASK asks for another place when it has
      tell(self, my.nodes.at(held->second.node).actor, revoke{l.task, l.epoch});
    else
      my.movable(seat, held->second) ? move_away(l, why) : end_lease(l, why);
  };
  // What the origin fences is handed over with an overlap. Anything else ends first, and its TASK asks for another place when it has.
  auto drain = [=, &my] {
    for (auto& l : my.to_drain()) {
      auto& held = my.leases.at(l.task);
      if (!my.fenced(l.task)) {
        tell(self, my.nodes.at(held.node).actor, revoke{l.task, l.epoch});
        continue;
      }
      move_away(l, "its node is drained");
    }
    for (auto runs = my.outgoing; auto& [seat, run] : runs)
      if (now() >= run.until)
        end_outgoing_in(seat);
  };
  auto remember_publishers = [=, &my](const stream_id& id) {
    store::batch batch;
    auto& status = my.streams.at(id).status;
    batch.put_publishers(id, status.publishers);
    put_or_remove(batch, publication_prefix, id.value, status.publication);
    if (auto done = my.setup.store->commit(batch, store::durability::lazy); !done)
      log::error("coordinator", "publishers-not-stored", "error={}", done.error().text);
  };
  // Everyone on an earlier start of that server is gone.
  auto forget_service = [=, &my](const std::string& server, const std::string& present) {
    for (auto& [id, entry] : my.streams)
      for (auto& p : entry.status.publishers)
        if (p.server == server && p.service_id != present)
          tell(self, entry.actor, unpublished{server, p.service_id, {}, "its RTMP server was restarted"});
  };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    for (auto& [id, entry] : my.streams)
      if (entry.actor.address() == who) {
        ++entry.restarts;
        log::error("coordinator", "stream-actor-died", "stream={} restarts={} reason={}", entry.spec.name, entry.restarts, caf::to_string(why));
        spawn_stream(id);
        for (auto& [task, one] : my.tasks)
          if (one.spec.stream == id)
            tell(self, entry.actor, use_task_spec{one.spec});
        return true;
      }
    if (my.autoscaler && my.autoscaler.address() == who) {
      log::error("coordinator", "autoscaler-died", "restarts={} reason={}", ++my.autoscaler_restarts, caf::to_string(why));
      spawn_autoscaler();
      return true;
    }
    for (auto& [server, entry] : my.watches)
      if (entry.actor.address() == who) {
        ++entry.restarts;
        log::error("coordinator", "rtmp-watch-died", "server={} restarts={} reason={}", server, entry.restarts, caf::to_string(why));
        spawn_watch(server);
        return true;
      }
    return false;
  });
  self->set_down_handler([=, &my](caf::down_msg& down) {
    std::erase_if(my.watchers, [&](auto& who) { return who.address() == down.source; });
    if (my.stood_still(now())) // its silence is judged when we have listened
      return;
    for (auto& [name, node] : my.nodes)
      if (node.actor.address() == down.source && node.status.phase != node_phase::left && node.status.phase != node_phase::down && node.status.phase != node_phase::suspect &&
          now() - node.steady_since > just_joined) { // else of its former connection: the handles are equal
        // Leases that nobody can fence off run on until their end: only that proves that nothing of them runs.
        node.status.phase = node_phase::suspect;
        my.note("node-suspect", "node/" + name.value, "The connection to the node is gone.", "coordinator", wall());
        for (auto leases = my.leases; auto& [task, held] : leases)
          if (held.node == name && my.movable(task, held)) // the origin refuses the former writer, should it still be there
            end_lease({task, held.epoch}, "the connection to its node is gone");
        judge_origins();
      }
  });

  for (auto& [id, entry] : my.streams)
    spawn_stream(id);
  for (auto& [task, one] : my.tasks)
    tell(self, my.streams.at(one.spec.stream).actor, use_task_spec{one.spec});
  for (auto& watched : my.setup.watched_servers) {
    my.watches[watched.server].setup = watched;
    my.take(rtmp_health{watched.server, false, "not asked yet", 0}, now());
    spawn_watch(watched.server);
  }
  const auto scales_by = my.setup.scaling.driver;
  if (scales_by != scaling_driver::off)
    spawn_autoscaler();
  if (scales_by != scaling_driver::exec && scales_by != scaling_driver::webhook && my.machines.find("\nmachine ") != std::string::npos)
    my.note("edge-machines-left", "edges", "Machines were ordered that nobody ends: autoscaler.driver is another one now. The store still has their names.", "coordinator", wall());
  my.note("coordinator-started", "cluster", fmt::format("{} streams and {} tasks are configured.", my.streams.size(), my.tasks.size()), "coordinator", wall());
  tell_after(self, tick_every, me, tick{});
  auto pruned = std::make_shared<coordinator_state::time_point>(now()), authorities_read = std::make_shared<coordinator_state::time_point>(now());
  my.read_authorities();

  return {
    [=, &my](const hook_call& call) {
      auto v = my.judge(call, now(), wall());
      if (v.service_changed)
        forget_service(call.server, call.service_id);
      if (v.stream) {
        auto& entry = my.streams.at(v.stream);
        if (v.publishes)
          tell(self, entry.actor, published{v.who});
        else
          tell(self, entry.actor, unpublished{call.server, call.service_id, call.client_id, std::string(to_string(call.kind))});
      }
      return v.answer;
    },
    [=, &my](const publication_list& list) {
      auto found = my.judge(list, now(), wall());
      if (found.service_changed)
        forget_service(list.server, list.service_id);
      for (auto& [id, one] : found.streams)
        tell(self, my.streams.at(id).actor, std::move(one));
      return std::move(found.unwanted);
    },
    [=, &my](const rtmp_health& news) { my.take(news, now()); },
    [=, &my](const list_keys& wish) { return my.keys(wish.version, wall()); },
    [=, &my](const list_trees&) {
      tree_list all;
      for (auto& [name, node] : my.nodes)
        if (node.status.phase != node_phase::left)
          all.trees.push_back({name, node.actor ? node.tree : introspection_actor{}});
      return all;
    },
    [=, &my](const view_cluster&) { return my.view(now()); },
    [=, &my](const list_events& wish) -> caf::result<event_list> {
      auto limit = std::min(wish.limit, 1000u);
      auto read = wish.newest ? my.setup.store->read_last_events(limit) : my.setup.store->read_events(wish.after, limit);
      if (!read)
        return to_caf(read.error());
      return event_list{std::move(*read)};
    },
    [=, &my](const find_stream& wish) -> caf::result<stream_status> {
      for (auto& [id, entry] : my.streams)
        if (wish.id ? id == wish.id : entry.spec.name == wish.name) {
          auto status = entry.status;
          my.decorate(status, my.watched(my.edge_set.statuses()));
          return status;
        }
      return to_caf({error_code::not_found, "there is no stream " + (wish.id ? wish.id.value : wish.name)});
    },
    [=, &my](add_stream& wish) -> caf::result<stream_status> {
      auto done = my.add(std::move(wish), wall());
      if (!done)
        return to_caf(done.error());
      if (!my.streams.at(done->id).actor)
        spawn_stream(done->id);
      auto status = my.streams.at(done->id).status;
      my.decorate(status, my.watched(my.edge_set.statuses()));
      return status;
    },
    [=, &my](set_stream& wish) -> caf::result<stream_status> {
      auto done = my.set(std::move(wish), wall());
      if (!done)
        return to_caf(done.error());
      auto& entry = my.streams.at(done->id);
      tell(self, entry.actor, use_stream_spec{*done});
      auto status = entry.status;
      my.decorate(status, my.watched(my.edge_set.statuses()));
      return status;
    },
    [=, &my](const remove_stream& wish) -> caf::result<void> {
      std::vector<task_id> tasks;
      for (auto& [task, one] : my.tasks)
        if (one.spec.stream == wish.id)
          tasks.push_back(task);
      auto done = my.remove(wish, wall());
      if (!done)
        return to_caf(done.error());
      for (auto& task : tasks)
        end_runs(task, "the stream was removed");
      end_child(self, my.streams.at(wish.id).actor);
      my.streams.erase(wish.id);
      tell_watchers(stream_notice{done->name, stream_phase::offline, true});
      return caf::unit;
    },
    [=, &my](const show_key& wish) { return reply(my.show(wish, wall()).map([](std::string key) { return stream_key{std::move(key)}; })); },
    [=, &my](const rotate_key& wish) -> caf::result<stream_key> {
      auto key = my.rotate(wish, wall());
      if (!key)
        return to_caf(key.error());
      auto& entry = my.streams.at(wish.id);
      tell(self, entry.actor, use_stream_spec{entry.spec});
      return stream_key{std::move(*key)};
    },
    [=, &my](const kick_stream& wish) -> caf::result<void> {
      auto cut_off = my.kick(wish, now(), wall());
      if (!cut_off)
        return to_caf(cut_off.error());
      for (auto& p : *cut_off)
        tell(self, my.streams.at(wish.id).actor, unpublished{p.server, p.service_id, p.client_id, "kicked"});
      return caf::unit;
    },
    [=, &my](const list_viewing& wish) { return my.who_may_watch(wish.version); },
    [=, &my](const sign_viewing& wish) { return reply(my.sign(wish, wall())); },
    [=, &my](const rotate_viewing_key& wish) -> caf::result<void> {
      if (auto done = my.rotate(wish, wall()); !done)
        return to_caf(done.error());
      return caf::unit;
    },
    [=, &my](const find_task& wish) -> caf::result<task_status> {
      if (auto task = my.tasks.find(wish.id); task != my.tasks.end())
        return task->second.status;
      return to_caf({error_code::not_found, "there is no task " + wish.id.value});
    },
    [=, &my](add_task& wish) -> caf::result<task_status> {
      auto done = my.add(std::move(wish), wall());
      if (!done)
        return to_caf(done.error());
      tell(self, my.streams.at(done->stream).actor, use_task_spec{*done});
      return my.tasks.at(done->id).status;
    },
    [=, &my](set_task& wish) -> caf::result<task_status> {
      auto done = my.set(std::move(wish), wall());
      if (!done)
        return to_caf(done.error());
      end_outgoing(done->id); // whatever it is now, it runs by its new configuration or not at all
      for (auto& seat : {done->id, standby_seat(done->id)})
        leave_if_unsuited(seat);
      tell(self, my.streams.at(done->stream).actor, use_task_spec{*done});
      return my.tasks.at(done->id).status;
    },
    [=, &my](const remove_task& wish) -> caf::result<void> {
      auto done = my.remove(wish, wall());
      if (!done)
        return to_caf(done.error());
      end_runs(wish.id, "the task was removed");
      tell(self, my.streams.at(done->stream).actor, drop_task{wish.id});
      return caf::unit;
    },
    [=, &my](const retry_task& wish) {
      if (auto task = my.tasks.find(wish.id); task != my.tasks.end()) {
        my.note("task-retried", "task/" + wish.id.value, "Tried again by hand.", wish.actor, wall());
        tell(self, my.streams.at(task->second.spec.stream).actor, wish);
      }
    },
    [=, &my](join& news) -> caf::result<joined> {
      if (auto why = my.refuses(news, now()); !why.empty())
        return to_caf({error_code::conflict, std::move(why)});
      auto name = news.spec.name;
      std::vector<lease> over;
      std::map<stream_id, std::string> found;
      const bool waited = my.awaited(now(), my.lease_time()) != nullptr;
      const bool had_origins = has_origins(name);
      if (auto known = my.nodes.find(name); known != my.nodes.end() && known->second.actor)
        self->demonitor(known->second.actor.address());
      my.take(std::move(news), now(), wall(), over, &found);
      for (auto& l : over)
        end_lease(l, "its node does not run it any more");
      std::vector<task_id> here; // of all leases only these: each node joins when the coordinator starts
      for (auto& [seat, held] : my.leases)
        if (held.node == name)
          here.push_back(seat);
      for (auto& seat : here) // an order to leave may have gone to the connection that broke
        leave_if_unsuited(seat);
      for (auto& [id, publication] : found)
        tell(self, my.streams.at(id).actor, publication_found{publication});
      self->monitor(my.nodes.at(name).actor);
      std::set<stream_id> concerned;
      for (auto& [task, held] : my.leases)
        if (auto one = my.tasks.find(task_of(task)); held.node == name && one != my.tasks.end())
          concerned.insert(one->second.spec.stream);
      if (waited && !my.awaited(now(), my.lease_time())) // nothing has to wait any more
        for (auto& [id, entry] : my.streams)
          if (entry.status.phase != stream_phase::offline)
            concerned.insert(id);
      for (auto& id : concerned)
        tell(self, my.streams.at(id).actor, node_back{name});
      if (had_origins || has_origins(name)) // also where they are the same: the origin was started anew, or reached again
        tell_watchers(my.origins());
      return joined{my.setup.cluster, my.setup.options.lease_ttl, my.roster, as_of(now())};
    },
    [=, &my](const beat& b) {
      std::vector<lease> lost;
      auto answer = my.take(b, now(), wall(), lost);
      for (auto& l : lost)
        end_lease(l, "its node does not know it");
      return answer;
    },
    [=, &my](const leaving& news) {
      if (auto node = my.nodes.find(news.node); node != my.nodes.end() && node->second.actor && node->second.status.spec.instance == news.instance)
        self->demonitor(node->second.actor.address());
      for (auto& l : my.take(news, wall()))
        end_lease(l, "its node was stopped");
      judge_origins();
      if (has_origins(news.node))
        tell_watchers(my.origins());
    },
    [=, &my](const forget_node& wish) -> caf::result<void> {
      std::vector<edge_name> its_edges;
      for (auto& status : my.edge_set.statuses())
        if (is_edge_of(status.spec, wish.name))
          its_edges.push_back(status.spec.name);
      const bool had_origins = has_origins(wish.name);
      auto over = my.take(wish, wall());
      if (!over && over.error().code == error_code::not_found && !its_edges.empty()) { // of the node nothing is left but edges that are remembered
        for (auto& edge : its_edges)
          end_edge_for_good({edge, wish.actor});
        return caf::unit;
      }
      if (!over)
        return to_caf(over.error());
      for (auto& l : *over)
        end_lease(l, "its node was removed");
      if (had_origins)
        tell_watchers(my.origins());
      my.farms.erase(wish.name);
      for (auto& edge : its_edges)
        forget_the_edge(edge);
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      return caf::unit;
    },
    [=, &my](const set_node_phase& wish) -> caf::result<void> {
      auto node = my.nodes.find(wish.name);
      if (node == my.nodes.end())
        return to_caf({error_code::not_found, "there is no node " + wish.name.value});
      store::batch batch;
      put_or_remove(batch, wanted_prefix, wish.name.value, wish.phase == node_phase::ready ? std::string_view{} : to_string(wish.phase));
      if (auto kept = my.setup.store->commit(batch, store::durability::synced); !kept)
        return to_caf(kept.error());
      node->second.wanted = wish.phase;
      if (auto& phase = node->second.status.phase; phase != node_phase::down && phase != node_phase::suspect && phase != node_phase::left) // which only a beat changes
        phase = wish.phase;
      my.note("node-" + std::string(to_string(wish.phase)), "node/" + wish.name.value, "Set by hand.", wish.actor, wall());
      drain();
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      return caf::unit;
    },
    [=, &my](const place_task& wish) { return reply(my.place(wish, now(), wall())); },
    [=, &my](const release_task& done) {
      if (auto held = my.leases.find(done.task); held != my.leases.end() && (done.epoch == 0 || held->second.epoch == done.epoch))
        if (auto node = my.nodes.find(held->second.node); node != my.nodes.end())
          tell(self, node->second.actor, revoke{done.task, held->second.epoch}); // nothing runs any more, or should
      if (done.epoch == 0)
        return; // whoever says so does not know: the lease is over when its node does not name it any more
      my.give_back(done, wall());
    },
    [=, &my](stream_news& news) {
      auto entry = my.streams.find(news.status.spec.id);
      if (entry == my.streams.end())
        return;
      auto& old = entry->second.status;
      bool phase_changed = old.phase != news.status.phase, idle_changed = entry->second.idle != news.idle;
      bool publishers_changed = old.publishers.size() != news.status.publishers.size() || old.publication != news.status.publication ||
                                !std::ranges::equal(old.publishers, news.status.publishers, [](auto& a, auto& b) { return identity(a) == identity(b) && a.address == b.address; });
      if (!old.publication.empty() && !news.status.publication.empty() && old.publication != news.status.publication)
        my.note("stream-source-changed", "stream/" + old.spec.name, fmt::format("Its tasks read another publication now, of {} on {}.", news.status.publishers.empty() ? "nobody" : encoder_of(news.status.publishers.back()), news.status.input_server),
                "rtmp", wall());
      else if (!old.input_server.empty() && !news.status.input_server.empty() && old.input_server != news.status.input_server)
        my.note("stream-input-changed", "stream/" + old.spec.name, fmt::format("It is read from {} instead of {}, without a restart.", news.status.input_server, old.input_server), "rtmp", wall());
      news.status.spec = entry->second.spec;
      old = std::move(news.status);
      entry->second.idle = news.idle;
      ++my.version;
      if (publishers_changed)
        remember_publishers(entry->first);
      if (phase_changed) {
        auto text = old.phase == stream_phase::live     ? fmt::format("It is published by {} on {}.", encoder_of(old.publishers.back()), old.publishers.back().server)
                    : old.phase == stream_phase::ending ? fmt::format("The last publisher left ({}); its tasks go on for {}.", news.left_because.empty() ? "before the coordinator came back" : news.left_because, to_string(my.setup.options.publish_grace))
                                                        : std::string("Nobody publishes.");
        my.note("stream-" + std::string(to_string(old.phase)), "stream/" + old.spec.name, text, "hook", wall());
      }
      if (phase_changed && old.phase == stream_phase::offline)
        for (auto& [task, one] : my.tasks)
          if (one.spec.stream == entry->first)
            end_outgoing(task);
      if (phase_changed || idle_changed)
        tell_watchers(stream_notice{old.spec.name, old.phase, my.is_over(entry->second, now())});
    },
    [=, &my](task_news& news) {
      auto entry = my.tasks.find(news.status.spec.id);
      if (entry == my.tasks.end())
        return;
      auto& old = entry->second.status;
      news.status.spec = entry->second.spec;
      my.learn_cost(news.status, wall());
      auto* its_type = find_task_type(news.status.spec.type);
      const bool too_slow = its_type && its_type->moves(news.status.spec.options) && news.status.phase == task_phase::running && news.status.last_cause == end_cause::overloaded && news.status.progress.speed_milli < keeps_up_milli;
      bool trouble = news.status.phase != old.phase && (news.status.phase == task_phase::backing_off || news.status.phase == task_phase::crash_looping ||
                                                        news.status.phase == task_phase::failed);
      bool good = (news.status.phase != old.phase || news.status.epoch != old.epoch) && news.status.phase == task_phase::running;
      const bool took_over = !old.standby_node.value.empty() && news.status.standby_node.value.empty() && news.status.node == old.standby_node && news.status.epoch != old.epoch;
      const bool stands_by = news.status.standby_phase == task_phase::running && old.standby_phase != task_phase::running;
      const bool alone = !took_over && old.standby_phase == task_phase::running && news.status.standby_phase != task_phase::running;
      const bool stops = news.status.phase == task_phase::stopping && old.phase != task_phase::stopping && news.status.spec.enabled &&
                         my.streams.at(news.status.spec.stream).status.phase == stream_phase::live; // else another event says why
      const auto former = old.node, former_standby = old.standby_node;
      old = std::move(news.status);
      ++my.version;
      auto subject = "task/" + old.spec.id.value;
      auto name = fmt::format("{} of stream {}", old.spec.type, my.streams.at(old.spec.stream).spec.name);
      if (trouble)
        my.note(old.phase == task_phase::backing_off     ? "task-backing-off"
                : old.phase == task_phase::crash_looping ? "task-crash-looping"
                                                         : "task-failed",
                subject, fmt::format("Task {}: {} ({}).", name, old.last_error.empty() ? old.reason : old.last_error, to_string(old.last_cause)), old.node.value, wall());
      if (stops)
        my.note("task-stopping", subject, fmt::format("Task {} ends on node {}, to go on in another way: {}.", name, old.node.value, old.reason), "coordinator", wall());
      if (took_over)
        my.note("standby-took-over", subject, fmt::format("Task {} goes on with its standby on node {}; the run on node {} is over ({}).", name, old.node.value, former.value, to_string(old.last_cause)), "coordinator", wall());
      else if (alone)
        my.note("standby-lost", subject, fmt::format("The standby of task {} on node {} is over: {}.", name, former_standby.value, old.standby_reason.empty() ? "it is no longer wanted" : old.standby_reason), "coordinator", wall());
      if (stands_by) {
        settle_outgoing(old.spec, true);
        my.note("standby-running", subject, fmt::format("Node {} stands by for task {}.", old.standby_node.value, name), old.standby_node.value, wall());
      }
      if (too_slow)
        for (auto& seat : {old.spec.id, standby_seat(old.spec.id)})
          if (auto held = my.leases.find(seat); held != my.leases.end() && held->second.epoch == old.epoch && my.roomier(seat, held->second, now())) {
            my.note("task-moves", subject, fmt::format("Task {} is slower than real time on node {} and goes where there is room.", name, old.node.value), "coordinator", wall());
            move_away({seat, held->second.epoch}, "its node is too slow for it");
            break;
          }
      if (good) {
        settle_outgoing(old.spec, false); // its successor delivers
        my.note("task-running", subject, fmt::format("Task {} runs on node {}.", name, old.node.value), old.node.value, wall());
      }
    },
    [=, &my](const edge_hello& news) {
      auto* known = my.edge_set.find(news.spec.name);
      bool moved = known && known->spec.url != news.spec.url;
      bool fresh = !known || known->spec.node.value.empty();
      const auto trouble = known ? known->locality_trouble : std::string{};
      my.edge_set.add(news.spec, now());
      my.note_locality(news.spec.name, trouble, wall());
      if (moved || fresh)
        my.note_joined(news.spec, wall());
    },
    [=, &my](const edge_load& load) {
      auto* known = my.edge_set.find(load.edge);
      const auto before = known ? known->load : edge_load{};
      if (!my.edge_set.take(load, now()))
        return;
      ++my.version;
      my.note_certificate(before, load, wall());
    },
    [=, &my](const edge_sighting& news) {
      auto orders = my.take(news, now());
      if (!my.stood_still(now()) && my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      return orders;
    },
    [=, &my](const drain_edge& wish) -> caf::result<void> {
      if (!my.edge_set.find(wish.name))
        return to_caf({error_code::not_found, "there is no edge " + wish.name.value});
      store::batch batch;
      put_or_remove(batch, edge_drained_prefix, wish.name.value, wish.drain ? "by hand" : "");
      if (auto kept = my.setup.store->commit(batch, store::durability::synced); !kept)
        return to_caf(kept.error());
      wish.drain ? void(my.drained_edges.insert(wish.name)) : void(my.drained_edges.erase(wish.name));
      const bool scales = wish.actor == autoscaler_state::acts_as;
      my.note(wish.drain ? "edge-drain" : "edge-undrain", "edge/" + wish.name.value, scales ? "So that there are as many edges as are needed." : "Set by hand.", wish.actor, wall());
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      return caf::unit;
    },
    [=, &my](const forget_edge& wish) {
      if (auto* known = my.edge_set.find(wish.name); known && known->spec.spare) // what a node always runs is there for as long as the node is
        end_edge_for_good(wish);
    },
    [=, &my](const farm_hello& news) {
      if (!my.nodes.contains(news.node)) // it joins in a moment, and is told each second
        return;
      my.farms[news.node] = {news, now()};
      for (auto& idle : news.idle) // of what is only remembered from before our start nothing was heard; what was ended since may not have been told
        if (auto* known = my.edge_set.find(idle); known && (known->spec.node.value.empty() || (known->spec.spare && known->spec.node == news.node)))
          end_edge_for_good({idle, autoscaler_state::acts_as});
    },
    [=, &my](const view_farms&) {
      farm_view view{my.edge_set.statuses(), {}};
      for (auto& [node, farm] : my.farms)
        if (auto runs_it = my.nodes.find(node); now() - farm.heard <= 3s && runs_it != my.nodes.end() && runs_it->second.status.phase == node_phase::ready)
          view.farms.push_back(farm.says);
      return view;
    },
    [=, &my](scaling_news& news) {
      if (!news.kind.empty())
        my.note(news.kind, "edges", news.status.last, autoscaler_state::acts_as, wall());
      my.scaling = std::move(news.status);
      ++my.version;
    },
    [=, &my](const keep_machines& wish) -> caf::result<void> {
      store::batch batch;
      batch.put_setting(machines_key, wish.text);
      if (auto kept = my.setup.store->commit(batch, store::durability::synced); !kept)
        return to_caf(kept.error());
      my.machines = wish.text;
      return caf::unit;
    },
    [=, &my](segment_listed& news) { my.take(std::move(news), now(), wall()); },
    [=, &my](const edges_in_use& news) { my.take(news, now()); },
    [=, &my](const origin_word& news) {
      auto orders = my.take(news, now(), wall());
      judge_origins(); // it hears of that with its next word
      return orders;
    },
    [&my](const ask_origins&) { return my.origins_for_edges(); },
    [=, &my](const address_word& word) { return my.take(word, now(), wall()); },
    [=, &my](audience_news& news) { my.take(std::move(news)); },
    [=, &my](const director_joins& news) {
      if (my.nodes.contains(news.director)) // it joins in a moment, and is told each second
        my.joins[news.director] = {news, now()};
    },
    [=, &my](const watch& wish) {
      // Whoever hears nothing for a while says it again, perhaps over another connection: the former handle compares equal and is dead.
      std::erase(my.watchers, wish.who);
      self->monitor(wish.who);
      my.watchers.push_back(wish.who);
      for (auto& table : my.edge_set.history())
        tell(self, wish.who, table);
      for (auto& [id, entry] : my.streams)
        tell(self, wish.who, stream_notice{entry.spec.name, entry.status.phase, my.is_over(entry, now())});
      tell(self, wish.who, my.origins());
      tell(self, wish.who, my.listing(now())); // last: whoever has it has all
    },
    [=, &my](const tick&) {
      if (!my.stood_still(now())) {
        for (auto& l : my.judge_nodes(now(), wall()))
          end_lease(l, "its node is down");
        judge_origins();
        auto verdicts = my.judge_servers(now(), wall());
        for (auto& change : verdicts.changed)
          for (auto& [id, entry] : my.streams)
            tell(self, entry.actor, change);
        for (auto& server : verdicts.given_up)
          forget_service(server, {});
        if (my.judge_edges(now(), wall()))
          tell_watchers(my.edge_set.table());
      }
      drain();
      if (!my.listened && now() - my.started >= std::max(my.setup.options.publish_grace, my.lease_time())) {
        my.listened = true;
        tell_watchers(my.origins()); // which are all, from now on
        for (auto& [id, entry] : my.streams)
          if (my.is_over(entry, now()))
            tell_watchers(stream_notice{entry.spec.name, entry.status.phase, true});
      }
      if (now() - my.edges_told >= 1s) {
        my.edges_told = now();
        if (auto move = my.rebalance(now())) {
          auto& held = my.leases.at(move->seat);
          my.note("task-moves", "task/" + task_of(move->seat).value, fmt::format("The task goes to an emptier node: {}.", move->why), "coordinator", wall());
          my.moved = now();
          move_away({move->seat, held.epoch}, "its node is crowded");
        }
        my.judge_widths(now());
        tell_watchers(my.listing(now()));
      }
      if (now() - *authorities_read >= authorities_read_every) {
        *authorities_read = now();
        my.read_authorities();
      }
      if (now() - *pruned >= prune_every) {
        *pruned = now();
        if (auto done = my.setup.store->prune_events(my.setup.options.events_kept); !done)
          log::warn("coordinator", "events-not-pruned", "error={}", done.error().text);
      }
      tell_after(self, tick_every, me, tick{});
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      std::vector<caf::actor> children;
      std::uint64_t restarts = 0;
      for (auto& [id, entry] : my.streams) {
        children.push_back(caf::actor_cast<caf::actor>(entry.actor));
        restarts += entry.restarts;
      }
      for (auto& [server, entry] : my.watches) {
        children.push_back(caf::actor_cast<caf::actor>(entry.actor));
        restarts += entry.restarts;
      }
      if (my.autoscaler) {
        children.push_back(caf::actor_cast<caf::actor>(my.autoscaler));
        restarts += my.autoscaler_restarts;
      }
      auto store = my.setup.store->measure();
      nlohmann::json status{{"streams", my.streams.size()}, {"tasks", my.tasks.size()}, {"nodes", my.nodes.size()}, {"leases", my.leases.size()},
                            {"edges", my.edge_set.statuses().size()}, {"edge_epoch", my.edge_set.table().epoch}, {"next_epoch", my.next_epoch}};
      if (my.copies_wanted != 0 && my.copies.present.mark.term != 0)
        status["origins"] = my.origins_status(now());
      status["store"] = {{"table_bytes", store.table_bytes}, {"wal_bytes", store.wal_bytes}, {"records", store.records}, {"failures", store.failures}};
      return report_of(self, "coordinator", status, my.started, std::move(children), restarts);
    },
  };
}

} // namespace weir
