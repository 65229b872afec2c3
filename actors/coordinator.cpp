#include "actors/coordinator.hpp"

#include "actors/reporting.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/hls/addresses.hpp"

#include <algorithm>
#include <charconv>

namespace weir {

using namespace std::chrono_literals;

namespace {

constexpr auto order_patience = 3s; ///< from a grant until its node must name it
constexpr auto lease_margin = 500ms; ///< clock rates and scheduling, cluster.md 5
constexpr auto kick_lasts = 10s;
constexpr auto hand_over_lasts = 60s; ///< a run whose successor has not delivered by then ends all the same
constexpr lease_epoch epochs_at_once = 1024;
constexpr auto prune_every = 1min;

bool same_app(const std::string& spec_vhost, const std::string& vhost) {
  // nginx-rtmp knows no virtual hosts; SRS calls the one that everybody has __defaultVhost__.
  auto plain = [](const std::string& v) { return v.empty() || v == "__defaultVhost__"; };
  return spec_vhost == vhost || (plain(spec_vhost) && plain(vhost));
}

constexpr auto reserved_epochs_key = "reserved_epochs";
constexpr std::string_view edge_table_prefix = "edge_table/";
constexpr std::string_view request_prefix = "request/";
constexpr std::size_t requests_kept = 1000;

/// Sorts like its number.
std::string edge_table_key(edge_epoch epoch) { return fmt::format("{}{:020}", edge_table_prefix, epoch); }

/// Cores × 1000 that a run of this type takes; 0 of one that this program does not know.
std::int64_t cost_of(const std::string& type, const std::string& options) {
  auto* known = find_task_type(type);
  return known ? known->cost_milli(options) : 0;
}

bool live(task_phase p) { return p != task_phase::waiting && p != task_phase::done && p != task_phase::failed; }

} // namespace

expected<void> coordinator_state::load(timestamp wall, time_point now) {
  auto kept = setup.store->load();
  if (!kept)
    return fail(kept.error());
  for (auto& [id, spec] : kept->streams) {
    auto& entry = streams[id];
    entry.status.spec = entry.spec = spec;
    entry.status.publishers = kept->publishers[id];
    entry.idle = entry.status.publishers.empty(); // until its STREAM says more: whoever watches must not take a broadcast that goes on for one that is over
    for (auto& p : entry.status.publishers)
      services[p.server] = p.service_id;
  }
  for (auto& [id, spec] : kept->tasks)
    if (streams.contains(spec.stream)) {
      auto& entry = tasks[id];
      entry.status.spec = entry.spec = spec;
    }
  for (auto& [id, kept_lease] : kept->leases) {
    auto task = tasks.find(id);
    if (task == tasks.end())
      continue;
    auto& spec = task->second.spec;
    leases[id] = {.epoch = kept_lease.epoch, .node = kept_lease.node, .cost_milli = cost_of(spec.type, spec.options), .granted = now, .order = {}};
    auto& node = nodes[kept_lease.node]; // it has the lease's time to say that it goes on
    node.status.spec.name = kept_lease.node;
    node.status.phase = node_phase::suspect;
    node.status.granted_milli += leases[id].cost_milli;
    node.last_beat = now;
  }
  // The clock as a floor: a store that was restored from yesterday's backup must not repeat today's epochs.
  auto by_clock = static_cast<lease_epoch>(std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count());
  next_epoch = by_clock;
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
    else if (key.starts_with(edge_table_prefix)) {
      auto table = describe::from_json<edge_table>(text);
      if (!table)
        return fail(error_code::corrupt, key + ": " + table.error().text);
      tables.push_back(std::move(*table));
    }
  edge_set = weir::edge_set{setup.steering};
  edge_set.restore(std::move(tables), now);
  return {};
}

void coordinator_state::note(std::string kind, std::string subject, std::string text, std::string actor, timestamp wall) {
  log::info("coordinator", "event", "kind={} subject={} actor={} text={}", kind, subject, actor, text);
  store::batch batch;
  batch.append_event({.number = 0, .at = wall, .kind = std::move(kind), .subject = std::move(subject), .text = std::move(text), .actor = std::move(actor)});
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
    log::error("coordinator", "event-not-stored", "error={}", done.error().text);
  ++version;
}

const coordinator_state::stream_entry* coordinator_state::find(const std::string& app, const std::string& stream) const {
  for (auto& [id, entry] : streams)
    if (entry.spec.name == stream && entry.spec.app == app)
      return &entry;
  return nullptr;
}

coordinator_state::verdict coordinator_state::judge(const hook_call& call, time_point now, timestamp wall) {
  verdict v;
  v.answer.accept = true;
  if (!call.service_id.empty()) {
    auto& known = services[call.server];
    v.service_changed = !known.empty() && known != call.service_id;
    known = call.service_id;
  }
  bool publishing = call.kind == hook_kind::publish || (call.kind == hook_kind::update && !call.playing);
  if (call.kind == hook_kind::connect || call.kind == hook_kind::note || (call.kind == hook_kind::update && call.playing))
    return v;

  auto* entry = find(call.app, call.stream);
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
  if (!entry || !same_app(entry->spec.vhost, call.vhost))
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
  v.who = {.server = call.server, .service_id = services[call.server], .client_id = call.client_id, .address = call.address, .since = wall};
  return v;
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
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  bool toggled = spec.enabled != old.enabled;
  old = spec;
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
  for (auto& [id, task] : tasks)
    if (task.spec.stream == spec.id)
      batch.remove_task(id);
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  std::erase_if(tasks, [&](auto& t) { return t.second.spec.stream == spec.id; });
  note("stream-removed", "stream/" + spec.name, "The stream and its tasks were removed.", wish.actor, wall);
  return spec;
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
  note("stream-key-rotated", "stream/" + spec.name, "The publish key was replaced; the old one is refused from now on.", wish.actor, wall);
  return spec.key;
}

expected<task_spec> coordinator_state::add(add_task wish, timestamp wall) {
  if (auto known = tasks.find(task_id{made_before(wish.request)}); known != tasks.end())
    return known->second.spec;
  auto spec = std::move(wish.spec);
  if (!streams.contains(spec.stream))
    return fail(error_code::not_found, "there is no stream " + spec.stream.value);
  auto options = canonical_options(spec.type, spec.options);
  if (!options)
    return fail(options.error());
  spec.options = *options;
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
  auto options = canonical_options(spec.type, spec.options);
  if (!options)
    return fail(options.error());
  spec.options = *options;
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
  WEIR_TRY(setup.store->commit(batch, store::durability::synced));
  tasks.erase(entry);
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

expected<placement> coordinator_state::place(const place_task& wish, time_point now, timestamp wall) {
  auto entry = tasks.find(wish.task);
  if (entry == tasks.end())
    return fail(error_code::not_found, "the task was removed");
  auto& spec = entry->second.spec;
  if (auto held = leases.find(spec.id); held != leases.end()) {
    auto node = nodes.find(held->second.node);
    if (held->second.order.task && node != nodes.end() && node->second.actor)
      return placement{held->second.order, held->second.node, node->second.actor};
    return fail(error_code::conflict, fmt::format("node {} held it with epoch {}: it has time to say whether it goes on", held->second.node.value, held->second.epoch));
  }
  auto* type = find_task_type(spec.type);
  if (!type)
    return fail(error_code::unsupported, fmt::format("this cluster has no task type {:?}", spec.type));
  auto cost = type->cost_milli(spec.options);

  const rtmp_server* server = nullptr;
  const origin_place* origin = nullptr;
  for (auto& [id, node] : nodes)
    if (node.status.phase != node_phase::down && node.status.phase != node_phase::left) {
      for (auto& s : node.rtmp_servers)
        if (s.name == wish.server)
          server = &s;
      if (!origin && !node.origins.empty())
        origin = &node.origins.front();
    }
  for (auto& s : setup.foreign_servers)
    if (s.name == wish.server)
      server = &s;
  if (!server)
    return fail(error_code::unavailable, fmt::format("the RTMP server {:?} is not known", wish.server));
  if (type->needs_origin && !origin)
    return fail(error_code::unavailable, "no origin has joined");

  node_entry* best = nullptr;
  std::string fullest = fmt::format("no node offers {}", spec.type);
  for (auto pass : {0, 1}) { // the node where it failed last only when there is no other
    for (auto& [id, node] : nodes) {
      auto& offered = node.status.spec.task_types;
      if (node.status.phase != node_phase::ready || (pass == 0 && id == wish.avoid) || std::ranges::find(offered, spec.type) == offered.end())
        continue;
      auto capacity = node.status.spec.capacity_milli, granted = node.status.granted_milli;
      if (granted != 0 && granted + cost > capacity) { // a task larger than any node runs alone
        fullest = fmt::format("no node has {:.1f} cores free ({}: {:.1f} of {:.1f} are granted)", double(cost) / 1000, id.value, double(granted) / 1000, double(capacity) / 1000);
        continue;
      }
      auto share = [](const node_entry& n) { return double(n.status.granted_milli) / double(std::max<std::int64_t>(n.status.spec.capacity_milli, 1)); };
      if (!best || share(node) < share(*best))
        best = &node;
    }
    if (best)
      break;
  }
  if (!best)
    return fail(error_code::unavailable, fullest);

  auto epoch = take_epoch();
  if (!epoch)
    return fail(epoch.error());
  auto& stream = streams.at(spec.stream).spec;
  auto node = best->status.spec.name;
  note("task-placed", "task/" + spec.id.value, fmt::format("Task {} of stream {} goes to node {} with epoch {}.", spec.type, stream.name, node.value, *epoch), "coordinator",
       wall);
  placement where;
  where.node = node;
  where.where = best->actor;
  where.order = {.task = spec.id,
                 .stream = spec.stream,
                 .stream_name = stream.name,
                 .type = spec.type,
                 .options = spec.options,
                 .epoch = *epoch,
                 .input_url = fmt::format("{}/{}/{}", server->read_url, stream.app, stream.name),
                 .publication = wish.publication,
                 .origin_url = origin ? origin->url : std::string{},
                 .origin_token = origin ? origin->token : std::string{}};
  grant({.epoch = *epoch, .node = node, .cost_milli = cost, .granted = now, .order = where.order}, spec.id, wall);
  return where;
}

void coordinator_state::grant(lease_entry entry, const task_id& task, timestamp wall) {
  // Not synced: what a power loss takes, the node has lost its lease for until this machine is up again.
  store::batch batch;
  batch.put_lease({task, entry.node, entry.epoch, wall});
  if (auto done = setup.store->commit(batch, store::durability::lazy); !done)
    log::error("coordinator", "lease-not-stored", "task={} error={}", task.value, done.error().text);
  nodes[entry.node].status.granted_milli += entry.cost_milli;
  leases[task] = std::move(entry);
}

bool coordinator_state::take(join news, time_point now, timestamp wall, std::vector<lease>& over) {
  auto& node = nodes[news.spec.name];
  bool fresh = !node.actor || node.status.spec.instance != news.spec.instance || node.status.phase == node_phase::down;
  for (auto& [task, held] : leases)
    if (held.node == news.spec.name) {
      auto run = std::ranges::find(news.runs, task, &task_order::task);
      if (run != news.runs.end() && run->epoch == held.epoch)
        held.order = std::move(*run);
      else if (fresh || now - held.granted > order_patience) // an order may be on its way to a node that was here all the time
        over.push_back({task, held.epoch});
    }
  // What runs without a lease that we know of: our store is older than the grant. It goes on if nobody else has the task.
  for (auto& run : news.runs)
    if (auto task = tasks.find(run.task); task != tasks.end() && !leases.contains(run.task)) {
      grant({.epoch = run.epoch, .node = news.spec.name, .cost_milli = cost_of(run.type, run.options), .granted = now, .order = run}, run.task, wall);
      next_epoch = std::max(next_epoch, run.epoch + 1);
    }
  node.actor = std::move(news.node);
  node.rtmp_servers = std::move(news.rtmp_servers);
  node.origins = std::move(news.origins);
  node.status.spec = std::move(news.spec);
  node.status.phase = node.wanted;
  node.status.last_heartbeat = wall;
  node.last_beat = now;
  ++version;
  if (fresh) {
    node.status.joined = wall;
    note("node-joined", "node/" + node.status.spec.name.value, "The node is ready.", "coordinator", wall);
  }
  return fresh;
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
  if (entry == nodes.end() || entry->second.status.spec.instance != b.instance)
    return {.known = false, .renewed = {}};
  auto& node = entry->second;
  node.last_beat = now;
  node.status.last_heartbeat = wall;
  node.status.load = b.load;
  ++version;
  if (node.status.phase != node.wanted && node.status.phase != node_phase::ready) {
    note("node-ready", "node/" + b.node.value, "The node is heard again.", "coordinator", wall);
    node.status.phase = node.wanted;
  } else
    node.status.phase = node.wanted;
  beat_answer answer;
  for (auto& l : b.leases)
    if (auto held = leases.find(l.task); held != leases.end() && held->second.epoch == l.epoch && held->second.node == b.node)
      answer.renewed.push_back(l);
    else if (auto run = outgoing.find(l.task); run != outgoing.end() && run->second.epoch == l.epoch && run->second.node == b.node)
      answer.renewed.push_back(l);
  for (auto& [task, held] : leases) // an order may still be on its way: only an old grant that the node does not name is lost
    if (held.node == b.node && now - held.granted > order_patience && std::ranges::find(b.leases, lease{task, held.epoch}) == b.leases.end())
      lost.push_back({task, held.epoch});
  return answer;
}

std::vector<lease> coordinator_state::judge_nodes(time_point now, timestamp wall) {
  std::vector<lease> over;
  for (auto& [id, node] : nodes) {
    auto silent = now - node.last_beat;
    auto& phase = node.status.phase;
    if (silent > setup.options.lease_ttl + lease_margin && phase != node_phase::down && phase != node_phase::left) {
      phase = node_phase::down;
      note("node-down", "node/" + id.value, fmt::format("No heartbeat for {}: its leases are over.", to_string(std::chrono::floor<std::chrono::milliseconds>(silent))),
           "coordinator", wall);
      for (auto& [task, held] : leases)
        if (held.node == id)
          over.push_back({task, held.epoch});
    } else if (silent > setup.suspect_after && phase != node_phase::suspect && phase != node_phase::down && phase != node_phase::left) {
      phase = node_phase::suspect;
      for (auto& [task, held] : leases)
        if (held.node == id && movable(held))
          over.push_back({task, held.epoch});
      note("node-suspect", "node/" + id.value, fmt::format("No heartbeat for {}: it gets no new tasks.", to_string(setup.suspect_after)), "coordinator", wall);
    }
  }
  return over;
}

bool coordinator_state::fenced(const lease_entry& held) const {
  auto* type = find_task_type(held.order.type);
  return type && type->needs_origin;
}

bool coordinator_state::has_elsewhere(const lease_entry& held) const {
  return std::ranges::any_of(nodes, [&](auto& n) {
    auto& s = n.second.status;
    return n.first != held.node && s.phase == node_phase::ready && std::ranges::find(s.spec.task_types, held.order.type) != s.spec.task_types.end() &&
           (s.granted_milli == 0 || s.granted_milli + held.cost_milli <= s.spec.capacity_milli);
  });
}

std::vector<lease> coordinator_state::to_drain() const {
  std::vector<lease> found;
  if (std::ranges::none_of(nodes, [](auto& n) { return n.second.status.phase == node_phase::draining; }))
    return found; // as on nearly every tick
  for (auto& [task, held] : leases)
    if (auto node = nodes.find(held.node); node != nodes.end() && node->second.status.phase == node_phase::draining && has_elsewhere(held))
      found.push_back({task, held.epoch});
  return found;
}

void coordinator_state::hand_over(const lease& l, time_point now) {
  outgoing[l.task] = {.epoch = l.epoch, .node = leases.at(l.task).node, .until = now + hand_over_lasts};
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

bool coordinator_state::judge_edges(time_point now, timestamp wall) {
  auto change = edge_set.judge(now);
  for (auto& p : change.phases)
    note("edge-" + std::string(to_string(p.to)), "edge/" + p.edge.value, p.reason, "coordinator", wall);
  if (!change.phases.empty())
    ++version;
  if (!change.table)
    return false;
  auto& table = edge_set.table();
  store::batch batch;
  batch.put_setting(edge_table_key(table.epoch), describe::to_json(table));
  for (auto old : change.forgotten)
    batch.remove_setting(edge_table_key(old));
  if (auto done = setup.store->commit(batch, store::durability::synced); !done)
    log::error("coordinator", "edge-table-not-stored", "epoch={} error={}", table.epoch, done.error().text);
  std::string names;
  for (auto& e : table.edges)
    names += (names.empty() ? "" : ", ") + fmt::format("{} with weight {:.2f}", e.name.value, double(e.weight_milli) / 1000);
  note("edge-set-changed", "edges", fmt::format("Edge epoch {}: {}. Cause: {}.", table.epoch, names.empty() ? "no edge" : names, change.cause), "coordinator", wall);
  return true;
}

void coordinator_state::decorate(stream_status& status) const {
  status.playback_url = setup.playback_base + hls::multivariant_path(status.spec.name);
  status.publish_urls.clear();
  auto add = [&](const rtmp_server& s) { status.publish_urls.push_back(fmt::format("{}/{}/{}", s.publish_url, status.spec.app, status.spec.name)); };
  for (auto& [id, node] : nodes)
    std::ranges::for_each(node.rtmp_servers, add);
  std::ranges::for_each(setup.foreign_servers, add);
}

cluster_view coordinator_state::view() const {
  cluster_view v;
  v.cluster = setup.cluster;
  v.version = version;
  v.edges_epoch = edge_set.table().epoch;
  for (auto& [id, entry] : streams) {
    v.streams.push_back(entry.status);
    decorate(v.streams.back());
  }
  for (auto& [id, entry] : tasks)
    v.tasks.push_back(entry.status);
  for (auto& [id, node] : nodes)
    v.nodes.push_back(node.status);
  v.edges = edge_set.statuses();
  return v;
}

coordinator_actor::behavior_type coordinator(coordinator_actor::stateful_pointer<coordinator_state> self, coordinator_setup setup) {
  auto& my = self->state;
  my.setup = std::move(setup);
  my.started = self->clock().now();
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
    for (auto& [task, one] : my.tasks)
      if (one.spec.stream == id)
        tell(self, entry.actor, use_task_spec{one.spec});
  };
  auto spawn_monitor = [=, &my](const edge_spec& spec) {
    my.edges[spec.name].monitor = self->spawn<caf::linked>(edge_monitor, spec, my.setup.steering, my.setup.http, me);
  };
  auto tell_watchers = [=, &my](const auto& message) {
    for (auto& who : my.watchers)
      tell(self, who, message);
  };
  // The lease is taken back: the node is told, and the task if it is still there.
  auto end_lease = [=, &my](const lease& l, const std::string& why) {
    auto held = my.leases.find(l.task);
    if (held == my.leases.end() || held->second.epoch != l.epoch)
      return;
    if (auto node = my.nodes.find(held->second.node); node != my.nodes.end())
      tell(self, node->second.actor, revoke{l.task, l.epoch});
    my.release({l.task, l.epoch});
    if (auto task = my.tasks.find(l.task); task != my.tasks.end())
      tell(self, my.streams.at(task->second.spec.stream).actor, lease_over{l.task, l.epoch, why});
  };
  auto end_outgoing = [=, &my](const task_id& id) {
    if (auto gone = my.take_outgoing(id))
      if (auto node = my.nodes.find(gone->first); node != my.nodes.end())
        tell(self, node->second.actor, revoke{id, gone->second});
  };
  // Whatever runs for the task ends, its successor with it.
  auto end_runs = [=, &my](const task_id& id, const std::string& why) {
    end_outgoing(id);
    if (auto held = my.leases.find(id); held != my.leases.end())
      end_lease({id, held->second.epoch}, why);
  };
  // What the origin fences is handed over with an overlap. Anything else ends first, and its TASK asks for another place when it has.
  auto drain = [=, &my] {
    for (auto& l : my.to_drain()) {
      auto& held = my.leases.at(l.task);
      if (!my.fenced(held)) {
        tell(self, my.nodes.at(held.node).actor, revoke{l.task, l.epoch});
        continue;
      }
      my.hand_over(l, now());
      tell(self, my.streams.at(my.tasks.at(l.task).spec.stream).actor, lease_over{l.task, l.epoch, "its node is drained"});
    }
    for (auto runs = my.outgoing; auto& [task, run] : runs)
      if (now() > run.until)
        end_outgoing(task);
  };
  auto remember_publishers = [=, &my](const stream_id& id) {
    store::batch batch;
    batch.put_publishers(id, my.streams.at(id).status.publishers);
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
        return true;
      }
    for (auto& [name, entry] : my.edges)
      if (entry.monitor.address() == who) {
        ++entry.restarts;
        log::error("coordinator", "edge-monitor-died", "edge={} restarts={} reason={}", name.value, entry.restarts, caf::to_string(why));
        spawn_monitor(my.edge_set.find(name)->spec);
        return true;
      }
    return false;
  });
  self->set_down_handler([=, &my](caf::down_msg& down) {
    std::erase_if(my.watchers, [&](auto& who) { return who.address() == down.source; });
    for (auto& [name, node] : my.nodes)
      if (node.actor.address() == down.source && node.status.phase != node_phase::left) {
        // Leases that nobody can fence off run on until their end: only that proves that nothing of them runs.
        node.status.phase = node_phase::suspect;
        my.note("node-suspect", "node/" + name.value, "The connection to the node is gone.", "coordinator", wall());
        for (auto leases = my.leases; auto& [task, held] : leases)
          if (held.node == name && my.movable(held)) // the origin refuses the former writer, should it still be there
            end_lease({task, held.epoch}, "the connection to its node is gone");
      }
  });

  for (auto& [id, entry] : my.streams)
    spawn_stream(id);
  for (auto& known : my.edge_set.statuses())
    spawn_monitor(known.spec);
  my.note("coordinator-started", "cluster", fmt::format("{} streams and {} tasks are configured.", my.streams.size(), my.tasks.size()), "coordinator", wall());
  tell_after(self, 250ms, me, tick{});
  auto pruned = std::make_shared<coordinator_state::time_point>(now());

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
      auto& known = my.services[list.server];
      if (known != list.service_id)
        forget_service(list.server, list.service_id);
      known = list.service_id;
      std::map<stream_id, reconcile> seen;
      for (auto& [id, entry] : my.streams)
        if (std::ranges::any_of(entry.status.publishers, [&](auto& p) { return p.server == list.server; }))
          seen[id] = {list.server, list.service_id, {}};
      drop_list unwanted;
      for (auto& item : list.items) {
        auto* entry = my.find(item.app, item.stream);
        if (!entry || !entry->spec.enabled || now() < entry->kicked_until) {
          unwanted.items.push_back(item);
          continue;
        }
        auto& mine = seen.try_emplace(entry->spec.id, reconcile{list.server, list.service_id, {}}).first->second;
        mine.publishers.push_back({.server = list.server, .service_id = list.service_id, .client_id = item.client_id, .address = item.address, .since = wall()});
      }
      for (auto& [id, one] : seen)
        tell(self, my.streams.at(id).actor, std::move(one));
      return unwanted;
    },
    [=, &my](const view_cluster&) { return my.view(); },
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
          my.decorate(status);
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
      my.decorate(status);
      return status;
    },
    [=, &my](set_stream& wish) -> caf::result<stream_status> {
      auto done = my.set(std::move(wish), wall());
      if (!done)
        return to_caf(done.error());
      auto& entry = my.streams.at(done->id);
      tell(self, entry.actor, use_stream_spec{*done});
      auto status = entry.status;
      my.decorate(status);
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
      auto entry = my.streams.find(wish.id);
      if (entry == my.streams.end())
        return to_caf({error_code::not_found, "there is no stream " + wish.id.value});
      entry->second.kicked_until = now() + kick_lasts;
      my.note("stream-kicked", "stream/" + entry->second.spec.name, "The publisher is cut off within 2 s and refused for 10 s.", wish.actor, wall());
      for (auto& p : entry->second.status.publishers)
        tell(self, entry->second.actor, unpublished{p.server, p.service_id, p.client_id, "kicked"});
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
    [=, &my](join& news) {
      auto name = news.spec.name;
      std::vector<lease> over;
      my.take(std::move(news), now(), wall(), over);
      for (auto& l : over)
        end_lease(l, "its node does not run it any more");
      self->monitor(my.nodes.at(name).actor);
      std::set<stream_id> concerned;
      for (auto& [task, held] : my.leases)
        if (auto one = my.tasks.find(task); held.node == name && one != my.tasks.end())
          concerned.insert(one->second.spec.stream);
      for (auto& id : concerned)
        tell(self, my.streams.at(id).actor, node_back{name});
      return joined{my.setup.cluster, my.setup.options.lease_ttl};
    },
    [=, &my](const beat& b) {
      std::vector<lease> lost;
      auto answer = my.take(b, now(), wall(), lost);
      for (auto& l : lost)
        end_lease(l, "its node does not know it");
      return answer;
    },
    [=, &my](const set_node_phase& wish) -> caf::result<void> {
      auto node = my.nodes.find(wish.name);
      if (node == my.nodes.end())
        return to_caf({error_code::not_found, "there is no node " + wish.name.value});
      node->second.wanted = node->second.status.phase = wish.phase;
      my.note("node-" + std::string(to_string(wish.phase)), "node/" + wish.name.value, "Set by hand.", wish.actor, wall());
      drain();
      return caf::unit;
    },
    [=, &my](const place_task& wish) { return reply(my.place(wish, now(), wall())); },
    [=, &my](const release_task& done) {
      if (auto held = my.leases.find(done.task); held != my.leases.end() && held->second.epoch == done.epoch)
        if (auto node = my.nodes.find(held->second.node); node != my.nodes.end())
          tell(self, node->second.actor, revoke{done.task, done.epoch}); // nothing runs any more, or should
      my.release(done);
    },
    [=, &my](stream_news& news) {
      auto entry = my.streams.find(news.status.spec.id);
      if (entry == my.streams.end())
        return;
      auto& old = entry->second.status;
      bool phase_changed = old.phase != news.status.phase, idle_changed = entry->second.idle != news.idle;
      bool publishers_changed = old.publishers.size() != news.status.publishers.size() ||
                                !std::ranges::equal(old.publishers, news.status.publishers, {}, identity, identity);
      news.status.spec = entry->second.spec;
      old = std::move(news.status);
      entry->second.idle = news.idle;
      ++my.version;
      if (publishers_changed)
        remember_publishers(entry->first);
      if (phase_changed) {
        auto text = old.phase == stream_phase::live     ? fmt::format("{} publishes on {}.", old.publishers.back().address, old.publishers.back().server)
                    : old.phase == stream_phase::ending ? fmt::format("The last publisher left; its tasks go on for {}.", to_string(my.setup.options.publish_grace))
                                                        : std::string("Nobody publishes.");
        my.note("stream-" + std::string(to_string(old.phase)), "stream/" + old.spec.name, text, "hook", wall());
      }
      if (phase_changed && old.phase == stream_phase::offline)
        for (auto& [task, one] : my.tasks)
          if (one.spec.stream == entry->first)
            end_outgoing(task);
      if (phase_changed || idle_changed)
        tell_watchers(stream_notice{old.spec.name, old.phase, old.phase == stream_phase::offline && entry->second.idle});
    },
    [=, &my](task_news& news) {
      auto entry = my.tasks.find(news.status.spec.id);
      if (entry == my.tasks.end())
        return;
      auto& old = entry->second.status;
      news.status.spec = entry->second.spec;
      bool trouble = news.status.phase != old.phase && (news.status.phase == task_phase::backing_off || news.status.phase == task_phase::crash_looping ||
                                                        news.status.phase == task_phase::failed);
      bool good = news.status.phase != old.phase && news.status.phase == task_phase::running;
      old = std::move(news.status);
      ++my.version;
      auto subject = "task/" + old.spec.id.value;
      auto name = fmt::format("{} of stream {}", old.spec.type, my.streams.at(old.spec.stream).spec.name);
      if (trouble)
        my.note(old.phase == task_phase::backing_off     ? "task-backing-off"
                : old.phase == task_phase::crash_looping ? "task-crash-looping"
                                                         : "task-failed",
                subject, fmt::format("Task {}: {} ({}).", name, old.last_error.empty() ? old.reason : old.last_error, to_string(old.last_cause)), old.node.value, wall());
      if (good) {
        end_outgoing(old.spec.id); // its successor delivers
        my.note("task-running", subject, fmt::format("Task {} runs on node {}.", name, old.node.value), old.node.value, wall());
      }
    },
    [=, &my](const edge_hello& news) {
      auto* known = my.edge_set.find(news.spec.name);
      bool moved = known && known->spec.url != news.spec.url;
      bool fresh = !known || known->spec.node.value.empty();
      my.edge_set.add(news.spec, now());
      if (moved)
        end_child(self, my.edges[news.spec.name].monitor);
      if (moved || !known)
        spawn_monitor(news.spec);
      if (moved || fresh)
        my.note("edge-joined", "edge/" + news.spec.name.value, fmt::format("The edge serves at {}.", news.spec.url), news.spec.node.value, wall());
    },
    [=, &my](const edge_load& load) {
      if (auto edge = my.edges.find(load.edge); edge != my.edges.end())
        tell(self, edge->second.monitor, load);
    },
    [=, &my](const edge_news& news) {
      if (!my.edge_set.observe(news.edge, news.view, news.text, news.load, news.phi_milli, now()))
        return;
      ++my.version;
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
    },
    [=, &my](const drain_edge& wish) -> caf::result<void> {
      auto edge = my.edges.find(wish.name);
      if (edge == my.edges.end())
        return to_caf({error_code::not_found, "there is no edge " + wish.name.value});
      my.note(wish.drain ? "edge-drain" : "edge-undrain", "edge/" + wish.name.value, "Set by hand.", wish.actor, wall());
      my.edge_set.drain(wish.name, wish.drain);
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      return caf::unit;
    },
    [=, &my](const segment_listed& news) {
      for (auto& [name, edge] : my.edges)
        tell(self, edge.monitor, probe_path{news.path});
    },
    [=, &my](const watch& wish) {
      // Whoever hears nothing for a while says it again, perhaps over another connection: the former handle compares equal and is dead.
      std::erase(my.watchers, wish.who);
      self->monitor(wish.who);
      my.watchers.push_back(wish.who);
      for (auto& table : my.edge_set.history())
        tell(self, wish.who, table);
      for (auto& [id, entry] : my.streams)
        tell(self, wish.who, stream_notice{entry.spec.name, entry.status.phase, entry.status.phase == stream_phase::offline && entry.idle});
    },
    [=, &my](const tick&) {
      for (auto& l : my.judge_nodes(now(), wall()))
        end_lease(l, "its node is down");
      drain();
      if (my.judge_edges(now(), wall()))
        tell_watchers(my.edge_set.table());
      if (now() - my.edges_told >= 1s) {
        my.edges_told = now();
        tell_watchers(edge_list{my.edge_set.statuses()});
      }
      if (now() - *pruned >= prune_every) {
        *pruned = now();
        if (auto done = my.setup.store->prune_events(my.setup.options.events_kept); !done)
          log::warn("coordinator", "events-not-pruned", "error={}", done.error().text);
      }
      tell_after(self, 250ms, me, tick{});
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [=, &my](const ask_status&) {
      std::vector<caf::actor> children;
      std::uint64_t restarts = 0;
      for (auto& [id, entry] : my.streams) {
        children.push_back(caf::actor_cast<caf::actor>(entry.actor));
        restarts += entry.restarts;
      }
      for (auto& [name, entry] : my.edges) {
        children.push_back(caf::actor_cast<caf::actor>(entry.monitor));
        restarts += entry.restarts;
      }
      nlohmann::json status{{"streams", my.streams.size()}, {"tasks", my.tasks.size()}, {"nodes", my.nodes.size()}, {"leases", my.leases.size()},
                            {"edges", my.edges.size()},     {"edge_epoch", my.edge_set.table().epoch}, {"next_epoch", my.next_epoch}};
      return report_of(self, "coordinator", status, my.started, std::move(children), restarts);
    },
  };
}

} // namespace weir
