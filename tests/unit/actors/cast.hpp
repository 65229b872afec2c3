#pragma once
// Small actors with the real interfaces that stand in for neighbours and write down what they are told.
#include "actors/interfaces.hpp"

#include <functional>
#include <memory>
#include <optional>
#include <vector>

namespace weir::testing {

/// What a stand-in heard; shared with the test.
struct heard {
  std::vector<task_news> task_news_;
  std::vector<stream_news> stream_news_;
  std::vector<assign> assigned;
  std::vector<revoke> revoked;
  std::vector<release_task> released;
  std::vector<place_task> asked_for_place;
  std::vector<task_report> reports;
  std::uint64_t joins = 0, beats = 0, watches = 0;
  std::vector<task_order> joined_with;
  std::vector<lease_epoch> last_beat;
  std::vector<node_name> left;
  std::vector<drain_edge> drained;
  std::vector<audience_news> audiences;
  std::vector<edge_name> forgotten;
  std::vector<farm_hello> farms;
  std::vector<scaling_news> scaling;
  std::vector<std::string> machines;
  std::vector<forget_node> forgotten_nodes;
  std::vector<edge_load> loads;
  std::vector<director_joins> director_joins_;
  std::vector<edge_sighting> sightings;
  std::vector<origin_word> origin_words;
  std::vector<address_word> address_words;
};
using heard_ptr = std::shared_ptr<heard>;

/// How the stand-in for COORDINATOR answers.
struct coordinator_script {
  std::function<expected<placement>(const place_task&)> place = [](const place_task&) -> expected<placement> { return fail(error_code::unavailable, "no node offers it"); };
  std::function<std::vector<lease_epoch>(const std::vector<lease_epoch>&)> renew = [](const std::vector<lease_epoch>& asked) { return asked; };
  bool silent = false;
  weir::roster roster;
  tree_list trees;
  farm_view farms;
  probe_orders orders;
  std::function<origin_orders(const origin_word&)> write = [](const origin_word&) { return origin_orders{}; };
  origin_list origins; ///< for edges
  neighbour_list neighbours;
  viewing_rules viewing;
  std::optional<cluster_view> view; ///< none: it fails
};

inline coordinator_actor::behavior_type stand_in_coordinator(coordinator_actor::pointer self, heard_ptr log, std::shared_ptr<coordinator_script> script) {
  auto unused = [] { return to_caf({error_code::unsupported, "the stand-in does not know this"}); };
  return {
    [=](const hook_call&) -> caf::result<hook_verdict> { return unused(); },
    [=](const publication_list&) -> caf::result<drop_list> { return unused(); },
    [=](const rtmp_health&) {},
    [=](const list_keys&) { return known_keys{}; },
    [=](const list_trees&) { return script->trees; },
    [=](const view_cluster&) -> caf::result<cluster_view> {
      if (!script->view)
        return unused();
      return *script->view;
    },
    [=](const list_events&) -> caf::result<event_list> { return unused(); },
    [=](const find_stream&) -> caf::result<stream_status> { return unused(); },
    [=](const add_stream&) -> caf::result<stream_status> { return unused(); },
    [=](const set_stream&) -> caf::result<stream_status> { return unused(); },
    [=](const remove_stream&) {},
    [=](const show_key&) -> caf::result<stream_key> { return unused(); },
    [=](const rotate_key&) -> caf::result<stream_key> { return unused(); },
    [=](const kick_stream&) {},
    [=](const list_viewing& wish) {
      auto rules = script->viewing;
      if (rules.version == wish.version)
        rules.keys.clear();
      return rules;
    },
    [=](const sign_viewing&) -> caf::result<viewing_pass> { return unused(); },
    [=](const rotate_viewing_key&) {},
    [=](const find_task&) -> caf::result<task_status> { return unused(); },
    [=](const add_task&) -> caf::result<task_status> { return unused(); },
    [=](const set_task&) -> caf::result<task_status> { return unused(); },
    [=](const remove_task&) {},
    [=](const retry_task&) {},
    [=](const join& news) -> caf::result<joined> {
      if (script->silent)
        return caf::delegated<joined>{}; // never answered
      ++log->joins;
      log->joined_with = news.runs;
      return joined{"test", std::chrono::seconds(6), script->roster, 0};
    },
    [=](const beat& b) -> caf::result<beat_answer> {
      ++log->beats;
      log->last_beat = b.leases;
      if (script->silent)
        return caf::delegated<beat_answer>{}; // never answered
      return beat_answer{true, script->renew(b.leases), {}};
    },
    [=](const leaving& news) { log->left.push_back(news.node); },
    [=](const set_node_phase&) {},
    [=](const forget_node& wish) { log->forgotten_nodes.push_back(wish); },
    [=](const place_task& wish) {
      log->asked_for_place.push_back(wish);
      return reply(script->place(wish));
    },
    [=](const release_task& done) {
      if (done.epoch != 0) // of a run that is known
        log->released.push_back(done);
    },
    [=](const stream_news& news) { log->stream_news_.push_back(news); },
    [=](const task_news& news) { log->task_news_.push_back(news); },
    [=](const edge_hello&) {},
    [=](const edge_load& load) { log->loads.push_back(load); },
    [=](const edge_sighting& news) {
      log->sightings.push_back(news);
      return script->orders;
    },
    [=](const drain_edge& wish) { log->drained.push_back(wish); },
    [=](const forget_edge& wish) { log->forgotten.push_back(wish.name); },
    [=](const segment_listed&) {},
    [=](const edges_in_use&) {},
    [=](const origin_word& news) {
      log->origin_words.push_back(news);
      return script->write(news);
    },
    [=](const ask_origins&) { return script->origins; },
    [=](const address_word& word) {
      log->address_words.push_back(word);
      return script->neighbours;
    },
    [=](audience_news& news) { log->audiences.push_back(std::move(news)); },
    [=](const director_joins& news) { log->director_joins_.push_back(news); },
    [=](const watch&) { ++log->watches; },
    [=](const farm_hello& news) { log->farms.push_back(news); },
    [=](const view_farms&) { return script->farms; },
    [=](const scaling_news& news) { log->scaling.push_back(news); },
    [=](const keep_machines& wish) { log->machines.push_back(wish.text); },
    [=](const tick&) {},
    [=](const stop&) { self->quit(); },
    [=](const ask_status&) { return actor_report{}; },
  };
}

inline stream_actor::behavior_type stand_in_stream(stream_actor::pointer, heard_ptr log) {
  return {
    [](const server_silent&) {},   [](const publication_found&) {}, [](const published&) {},       [](const unpublished&) {},  [](const reconcile&) {}, [](const use_stream_spec&) {},
    [](const use_task_spec&) {},   [](const drop_task&) {},    [](const retry_task&) {}, [](const lease_over&) {}, [](const node_back&) {},
    [=](const task_news& news) { log->task_news_.push_back(news); },
    [](const grace_over&) {},      [](const ask_status&) { return actor_report{}; },
  };
}

inline node_actor::behavior_type stand_in_node(node_actor::pointer self, heard_ptr log) {
  return {
    [=](const assign& order) { log->assigned.push_back(order); },
    [=](const revoke& order) { log->revoked.push_back(order); },
    [](const retry_task&) {},
    [](const task_report&) {},
    [](const witness_answer&) {},
    [](const witness_question&) {},
    [](const use_tools&) {},
    [](const tick&) {},
    [=](const stop&) { self->quit(); },
    [](const ask_status&) { return actor_report{}; },
  };
}

inline task_actor::behavior_type stand_in_task(task_actor::pointer, heard_ptr log) {
  return {
    [](const task_wish&) {}, [](const use_task_spec&) {}, [](const retry_task&) {},
    [=](const task_report& report) { log->reports.push_back(report); },
    [](const lease_over&) {}, [](const node_back&) {}, [](const place_again&) {}, [](const ask_status&) { return actor_report{}; },
  };
}

} // namespace weir::testing
