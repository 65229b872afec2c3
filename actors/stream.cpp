#include "actors/stream.hpp"

#include "actors/reporting.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>

namespace weir {

using namespace std::chrono_literals;

std::string identity(const publisher& who) { return who.server + "/" + who.service_id + "/" + who.client_id; }

bool stream_state::take(const publication_found& news) {
  if (confirmed_ || news.publication == status.publication)
    return false;
  status.publication = news.publication;
  if (status.phase == stream_phase::offline) {
    status.phase = stream_phase::ending;
    ++leaving;
  }
  return true;
}

bool stream_state::take(const publisher& who) {
  confirmed_ = true;
  missed.erase(identity(who));
  if (auto known = std::ranges::find(status.publishers, identity(who), identity); known != status.publishers.end()) {
    if (who.address.empty() || !known->address.empty())
      return false; // a doubled hook, or the server's list of those whom hooks told of
    known->address = who.address; // the list was first, and does not say it
    return true;
  }
  // Another start of the same server: whoever was on the old one is gone, whether it said so or not.
  std::erase_if(status.publishers, [&](auto& p) { return p.server == who.server && p.service_id != who.service_id; });
  status.publishers.push_back(who);
  return true;
}

bool stream_state::take(const unpublished& gone) {
  auto count = std::erase_if(status.publishers, [&](auto& p) {
    return p.server == gone.server && (gone.service_id.empty() || p.service_id == gone.service_id) && (gone.client_id.empty() || p.client_id == gone.client_id);
  });
  if (count != 0)
    left_because = gone.why;
  return count != 0;
}

bool stream_state::take(const reconcile& list) {
  bool changed = std::erase_if(status.publishers, [&](auto& p) { return p.server == list.server && p.service_id != list.service_id; }) != 0;
  for (auto& listed : list.publishers)
    changed |= take(listed);
  auto absent = [&](const publisher& p) {
    if (p.server != list.server || std::ranges::any_of(list.publishers, [&](auto& l) { return identity(l) == identity(p); }))
      return false;
    // One sweep may have been read before the server knew the publisher that its hook had announced already.
    return ++missed[identity(p)] >= 2;
  };
  if (std::erase_if(status.publishers, absent) != 0) {
    changed = true;
    left_because = "its server no longer lists it";
  }
  std::erase_if(missed, [&](auto& m) { return std::ranges::none_of(status.publishers, [&](auto& p) { return identity(p) == m.first; }); });
  return changed;
}

bool stream_state::take(const server_silent& news) {
  bool changed = news.silent ? silent_.insert(news.server).second : silent_.erase(news.server) != 0;
  return changed && std::ranges::any_of(status.publishers, [&](auto& p) { return p.server == news.server; });
}

void stream_state::resume() {
  if (status.publishers.empty()) { // it was ending: the grace begins again
    status.phase = stream_phase::ending;
    ++leaving;
    return;
  }
  auto& newest = status.publishers.back();
  chosen_ = identity(newest);
  chosen_server_ = newest.server;
  if (status.publication.empty())
    status.publication = chosen_;
}

bool stream_state::settle() {
  auto found = std::ranges::find(status.publishers, chosen_, identity);
  if (!status.publishers.empty()) {
    auto heard = [&](const publisher& p) { return !silent(p); };
    bool present = found != status.publishers.end();
    if (!present || (silent(*found) && std::ranges::any_of(status.publishers, heard))) {
      // The newest one that is heard: an encoder that came back is ahead of its own dead connection.
      auto& all = status.publishers;
      auto newest = std::find_if(all.rbegin(), all.rend(), heard);
      auto& next = newest != all.rend() ? *newest : all.back();
      // A copy on another server goes on with the same pictures; anything else is a time line of its own.
      if (status.publication.empty() || status.phase != stream_phase::live || next.server == chosen_server_)
        status.publication = identity(next);
      chosen_ = identity(next);
      chosen_server_ = next.server;
    }
    status.phase = stream_phase::live;
    status.input_server = chosen_server_;
    return false;
  }
  if (status.phase != stream_phase::live)
    return false;
  status.phase = stream_phase::ending;
  ++leaving;
  return true;
}

bool stream_state::end_grace(std::uint64_t which) {
  if (which != leaving || status.phase != stream_phase::ending)
    return false;
  status.phase = stream_phase::offline;
  status.input_server.clear();
  chosen_.clear();
  status.publication.clear();
  return true;
}

task_wish stream_state::wish() const {
  if (!status.spec.enabled)
    return {.wanted = false, .reason = "the stream is disabled", .servers = {}, .publication = {}};
  if (status.phase == stream_phase::offline)
    return {.wanted = false, .reason = "the stream is offline", .servers = {}, .publication = {}};
  task_wish wish{.wanted = true, .reason = {}, .servers = {chosen_server_}, .publication = status.publication};
  for (bool heard : {true, false})
    for (auto& p : status.publishers)
      if (silent(p) != heard && std::ranges::find(wish.servers, p.server) == wish.servers.end())
        wish.servers.push_back(p.server);
  return wish;
}

bool stream_state::idle() const {
  return std::ranges::all_of(tasks, [](auto& t) {
    auto p = t.second.status.phase;
    return p == task_phase::waiting || p == task_phase::done || p == task_phase::failed;
  });
}

stream_actor::behavior_type stream(stream_actor::stateful_pointer<stream_state> self, stream_status known, std::chrono::milliseconds grace,
                                   coordinator_actor coordinator) {
  auto& my = self->state;
  my.status = std::move(known);
  my.started = self->clock().now();
  auto me = stream_actor{self};
  auto last_wish = std::make_shared<task_wish>(my.wish());

  auto tell_news = [self, &my, coordinator] { tell(self, coordinator, stream_news{my.status, my.idle(), my.left_because}); };
  auto tell_wish = [self, &my, last_wish] {
    auto now = my.wish();
    if (now.wanted == last_wish->wanted && now.publication == last_wish->publication && now.servers == last_wish->servers && now.reason == last_wish->reason)
      return;
    *last_wish = now;
    for (auto& [id, entry] : my.tasks)
      tell(self, entry.actor, now);
  };
  // Derives phase, wishes and news after any change of the publishers.
  auto settle = [=, &my](bool changed) {
    if (!changed)
      return;
    if (my.settle())
      tell_after(self, grace, me, grace_over{my.leaving});
    tell_wish();
    tell_news();
  };
  auto spawn_task = [=, &my](const task_spec& spec) {
    auto& entry = my.tasks[spec.id];
    entry.status.spec = spec;
    entry.actor = self->spawn<caf::linked>(task, spec, me, coordinator);
    tell(self, entry.actor, my.wish());
  };

  on_end_of_child(self, [=, &my](const caf::actor_addr& who, const caf::error& why) {
    for (auto& [id, entry] : my.tasks)
      if (entry.actor.address() == who) {
        ++entry.restarts;
        entry.actor = nullptr;
        log::error("stream", "task-actor-died", "stream={} task={} restarts={} reason={}", my.status.spec.name, id.value, entry.restarts, caf::to_string(why));
        // What it had placed is lost to it: the coordinator ends the lease when the new one asks for a place.
        tell_after(self, 250ms, me, use_task_spec{entry.status.spec});
        return true;
      }
    return false;
  });

  if (!my.status.publishers.empty() || !my.status.publication.empty())
    my.resume();
  if (my.status.phase == stream_phase::ending) {
    tell_after(self, grace, me, grace_over{my.leaving});
    tell_wish(); // its TASKs are told as much when they are spawned: the end of the grace must be news to them
  }
  if (!my.status.publishers.empty())
    settle(true);
  else
    tell_news();

  return {
    [=, &my](const published& news) { settle(my.take(news.who)); },
    [=, &my](const unpublished& gone) { settle(my.take(gone)); },
    [=, &my](const reconcile& list) { settle(my.take(list)); },
    [=, &my](const server_silent& news) { settle(my.take(news)); },
    [=, &my](const publication_found& news) {
      const auto before = my.leaving;
      if (!my.take(news))
        return;
      if (my.leaving != before)
        tell_after(self, grace, me, grace_over{my.leaving});
      tell_wish();
      tell_news();
    },
    [=, &my](use_stream_spec& news) {
      my.status.spec = std::move(news.spec);
      tell_wish();
      tell_news();
    },
    [=, &my](const use_task_spec& news) {
      auto known_task = my.tasks.find(news.spec.id);
      if (known_task == my.tasks.end() || !known_task->second.actor) {
        spawn_task(news.spec);
        return;
      }
      known_task->second.status.spec = news.spec;
      tell(self, known_task->second.actor, news);
    },
    [=, &my](const drop_task& gone) {
      auto entry = my.tasks.find(gone.id);
      if (entry == my.tasks.end())
        return;
      // The coordinator revokes its lease; the actor only has to end.
      end_child(self, entry->second.actor);
      my.tasks.erase(entry);
      tell_news();
    },
    [=, &my](const retry_task& retry) {
      if (auto entry = my.tasks.find(retry.id); entry != my.tasks.end())
        tell(self, entry->second.actor, retry);
    },
    [=, &my](const lease_over& over) {
      if (auto entry = my.tasks.find(task_of(over.task)); entry != my.tasks.end())
        tell(self, entry->second.actor, over);
    },
    [=, &my](const node_back& news) {
      for (auto& [id, entry] : my.tasks)
        tell(self, entry.actor, news);
    },
    [=, &my](task_news& news) {
      auto entry = my.tasks.find(news.status.spec.id);
      if (entry == my.tasks.end())
        return; // removed meanwhile
      bool was_idle = my.idle();
      entry->second.status = news.status;
      tell(self, coordinator, std::move(news));
      if (my.idle() != was_idle)
        tell_news();
    },
    [=, &my](const grace_over& over) {
      if (!my.end_grace(over.leaving))
        return;
      tell_wish();
      tell_news();
    },
    [=, &my](const ask_status&) {
      std::vector<caf::actor> children;
      std::uint64_t restarts = 0;
      for (auto& [id, entry] : my.tasks) {
        restarts += entry.restarts;
        if (entry.actor)
          children.push_back(caf::actor_cast<caf::actor>(entry.actor));
      }
      return report_of(self, "stream/" + my.status.spec.name, my.status, my.started, std::move(children), restarts);
    },
  };
}

} // namespace weir
