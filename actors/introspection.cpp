#include "actors/introspection.hpp"

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

namespace weir {

using namespace std::chrono_literals;
using nlohmann::json;

namespace {

/// One walk down the tree: every question counts until it is answered; the last answer completes the tree.
struct walk {
  json root;
  std::size_t open = 0;
  std::size_t asked = 0;
  std::string node;
};
constexpr std::size_t most_actors = 20'000;

void visit(caf::event_based_actor* self, const std::shared_ptr<walk>& w, const caf::actor& who, json* place, const std::function<void()>& done) {
  ++w->open;
  ++w->asked;
  auto close = [w, done] {
    if (--w->open == 0)
      done();
  };
  self->request(who, caf::duration{1s}, ask_status{})
    .then(
      [=](const actor_report& r) {
        *place = {{"name", r.name},          {"kind", r.kind},         {"node", w->node},
                  {"mailbox", r.mailbox},    {"restarts", r.restarts}, {"uptime_seconds", double(r.uptime_ms) / 1000},
                  {"status", json::parse(r.status, nullptr, false)}};
        auto& children = (*place)["children"] = json::array();
        auto wanted = w->asked < most_actors ? r.children.size() : 0;
        children.get_ref<json::array_t&>().resize(wanted); // places must not move while answers are under way
        for (std::size_t i = 0; i < wanted; ++i)
          visit(self, w, r.children[i], &children[i], done);
        close();
      },
      [=](const caf::error& why) {
        *place = {{"name", "silent"}, {"kind", "silent"}, {"node", w->node}, {"status", caf::to_string(why)}, {"children", json::array()}};
        close();
      });
}

} // namespace

introspection_actor::behavior_type introspection(introspection_actor::stateful_pointer<introspection_state> self, std::vector<caf::actor> roots, std::string node) {
  self->state.roots = std::move(roots);
  return {
    [=](const ask_tree&) -> caf::result<actor_tree> {
      auto promise = self->make_response_promise<actor_tree>();
      // One asker for each tree, so that several may be under way.
      self->spawn([=, roots = self->state.roots](caf::event_based_actor* asker) {
        auto w = std::make_shared<walk>();
        w->node = node;
        w->root = json::array();
        w->root.get_ref<json::array_t&>().resize(roots.size());
        auto done = [w, promise, asker]() mutable {
          promise.deliver(actor_tree{json{{"actors", std::move(w->root)}}.dump()});
          asker->quit();
        };
        ++w->open;
        for (std::size_t i = 0; i < roots.size(); ++i)
          visit(asker, w, roots[i], &w->root[i], done);
        if (--w->open == 0)
          done();
      });
      return promise;
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace weir
