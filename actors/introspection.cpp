#include "actors/introspection.hpp"

#include <functional>
#include <map>
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
constexpr auto node_patience = 3s; ///< for another node's whole tree

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

introspection_actor::behavior_type introspection(introspection_actor::stateful_pointer<introspection_state> self, std::string node, coordinator_actor coordinator) {
  auto& my = self->state;
  auto me = introspection_actor{self};
  // One asker for each tree, so that several may be under way.
  auto local_tree = [=, &my](caf::typed_response_promise<actor_tree> promise) {
    self->spawn([=, roots = my.roots](caf::event_based_actor* asker) {
      auto w = std::make_shared<walk>();
      w->node = node;
      w->root = json::array();
      w->root.get_ref<json::array_t&>().resize(roots.size());
      auto done = [w, promise, asker]() mutable {
        promise.deliver(actor_tree{json{{"actors", std::move(w->root)}, {"silent", json::array()}}.dump()});
        asker->quit();
      };
      ++w->open;
      for (std::size_t i = 0; i < roots.size(); ++i)
        visit(asker, w, roots[i], &w->root[i], done);
      if (--w->open == 0)
        done();
    });
  };
  // The trees of all nodes, put together in the order of their names.
  auto whole_tree = [=](caf::typed_response_promise<actor_tree> promise) {
    self->spawn([=](caf::event_based_actor* asker) {
      auto merge = [=](const std::vector<node_tree>& nodes, std::string trouble) mutable {
        auto parts = std::make_shared<std::map<std::string, std::string>>();
        auto silent = std::make_shared<json>(json::array());
        auto open = std::make_shared<std::size_t>(1);
        if (!trouble.empty())
          silent->push_back("coordinator: " + trouble);
        auto close = [=]() mutable {
          if (--*open != 0)
            return;
          auto actors = json::array();
          for (auto& [name, text] : *parts)
            if (auto part = json::parse(text, nullptr, false); part.is_object() && part.contains("actors"))
              for (auto& one : part["actors"])
                actors.push_back(std::move(one));
          promise.deliver(actor_tree{json{{"actors", std::move(actors)}, {"silent", std::move(*silent)}}.dump()});
          asker->quit();
        };
        auto ask_one = [=](const std::string& name, const introspection_actor& tree) mutable {
          ++*open;
          ask(asker, node_patience, tree, ask_tree{})
            .then(
              [=](actor_tree& part) mutable {
                (*parts)[name] = std::move(part.json);
                close();
              },
              [=](const caf::error& why) mutable {
                silent->push_back(name + ": " + from_caf(why).text);
                close();
              });
        };
        bool here = false;
        for (auto& n : nodes) {
          here |= n.node.value == node;
          if (n.tree)
            ask_one(n.node.value, n.node.value == node ? me : n.tree);
          else
            silent->push_back(n.node.value + ": not connected");
        }
        if (!here)
          ask_one(node, me);
        close();
      };
      ask(asker, 1s, coordinator, list_trees{})
        .then([=](const tree_list& all) mutable { merge(all.trees, {}); }, [=](const caf::error& why) mutable { merge({}, from_caf(why).text); });
    });
  };
  return {
    [=](const ask_tree& wish) -> caf::result<actor_tree> {
      auto promise = self->make_response_promise<actor_tree>();
      wish.everywhere ? whole_tree(promise) : local_tree(promise);
      return promise;
    },
    [=, &my](const show_root& news) { my.roots.push_back(news.who); },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
  };
}

} // namespace weir
