#pragma once
// What must outlive the coordinator: streams, tasks, leases with their epochs, who publishes, settings and the event log, in one RocksDB.
// Keys and values are described in docs/5-reference/store.md.
//
//   auto db = store::open(folder);                       // refuses what is locked, newer or damaged, and says what to do
//   auto then = db->load();
//   auto epoch = db->reserve_epoch(task);                // on disk before the grant is sent
//   store::batch changes;
//   changes.put_lease({task, node, *epoch, now});
//   changes.append_event({…});
//   db->commit(changes, store::durability::synced);      // all of it or nothing
//
// Every call may block on the disk, so one detached actor owns the store; calls from several threads are safe all the same.
// After a failed commit the batch may or may not be on disk, always whole. The store opens itself anew before the next one.
#include "schemas/error.hpp"
#include "schemas/event.hpp"
#include "schemas/ids.hpp"
#include "schemas/stream.hpp"
#include "schemas/task.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::store {

/// Who may run a task. The epoch was reserved before.
struct lease {
  task_id task;
  node_name node;
  lease_epoch epoch = 0;
  timestamp granted{};
  std::string why;

  static constexpr auto fields() {
    using o = lease;
    return std::tuple{field("task", &o::task, "Task."), field("node", &o::node, "Node that may run it."), field("epoch", &o::epoch, "Epoch of the grant."),
                      field("granted", &o::granted, "When it was granted."), field("why", &o::why, "Why there.")};
  }
  bool operator==(const lease&) const = default;
};

/// All that is stored but the events.
struct contents {
  std::map<stream_id, stream_spec> streams;
  std::map<task_id, task_spec> tasks;
  std::map<task_id, lease> leases;
  std::map<task_id, lease_epoch> epochs; ///< highest one ever reserved; stays when the lease or the task goes
  std::map<stream_id, std::vector<publisher>> publishers;
  std::map<std::string, std::string> settings;
  std::uint64_t last_event = 0; ///< number; 0 without events
};

/// One record as it is stored; without a value: removed.
struct change {
  std::string key;
  std::optional<std::string> value;
};

/// A copy elsewhere, from which another node can go on: it has every change before this one does. One owner of a store writes to it at a time.
class mirror {
public:
  virtual ~mirror() = default;
  /// The copy has all of them, and all that were queued, when the call returns; or none. Fails with fenced when this node may not write any more; a change whose
  /// fate is not known does so too.
  virtual expected<void> ship(const std::vector<change>& changes) = 0;
  /// The copy will have them within a second, or with the next `ship`. Fails with fenced.
  virtual expected<void> queue(const std::vector<change>& changes) = 0;
  /// This node cannot write what the copy has got.
  virtual void give_up(std::string why) = 0;
};

/// Records as they are stored: all but the events, the mark of the mirror and what is this database's own.
using raw_contents = std::map<std::string, std::string>;

/// What a mirror has.
struct mirrored {
  std::string mark; ///< of that mirror's life; empty: nothing was ever put there
  raw_contents records;
  std::map<std::string, std::string> events; ///< the newest ones, by key
};

/// Changes that become visible together.
class batch {
public:
  void put_stream(const stream_spec& x);
  void remove_stream(const stream_id& x); ///< and its publishers
  void put_task(const task_spec& x);
  void remove_task(const task_id& x); ///< and its lease
  /// Commit fails with `fenced` when a higher epoch was reserved for the task.
  void put_lease(const lease& x);
  void remove_lease(const task_id& x);
  /// Replaces the list; an empty one removes it.
  void put_publishers(const stream_id& stream, const std::vector<publisher>& list);
  void put_setting(std::string_view name, std::string_view value);
  void remove_setting(std::string_view name);
  /// Commit gives the number, which events() shows afterwards.
  void append_event(event x);

  bool empty() const { return changes_.empty() && events_.empty(); }
  const std::vector<event>& events() const { return events_; }

private:
  friend class store;
  template <class T>
  void put(std::string key, const T& x);
  std::vector<change> changes_;
  std::vector<lease> leases_;
  std::vector<event> events_;
  std::optional<error> error_; ///< the first record that cannot be written (text that is not UTF-8)
};

/// synced: on disk when the call returns, for what a power loss must not take. lazy: in the system's hands; the end of this process cannot take it.
enum class durability { lazy, synced };

/// What a migration sees: keys and values as they are stored. Changes are kept until the whole step is done, then written in one batch.
class raw_records {
public:
  virtual ~raw_records() = default;
  /// In key order; the changes of this step are not seen.
  virtual expected<void> for_each(std::string_view prefix, const std::function<void(std::string_view key, std::string_view value)>& f) = 0;
  virtual void put(std::string_view key, std::string_view value) = 0;
  virtual void remove(std::string_view key) = 0;
};

/// The layout of the database. Step n of the migrations turns version n + 1 into n + 2, so the version is their number + 1.
struct schema {
  std::vector<std::function<expected<void>(raw_records&)>> migrations;
  unsigned version() const { return static_cast<unsigned>(migrations.size()) + 1; }
};
const schema& current_schema();

struct options {
  std::size_t memtable_bytes = 4 << 20;
  const schema* layout = &current_schema(); ///< another one in tests
};

struct sizes {
  std::uint64_t table_bytes = 0; ///< SST files
  std::uint64_t wal_bytes = 0;   ///< write-ahead log
  std::uint64_t records = 0;     ///< estimate, with events
  std::uint64_t failures = 0;    ///< calls that RocksDB refused since open
};

class store {
public:
  /// Makes the folder when it is missing. Fails with unavailable (another process has it open), newer_schema, corrupt or io_failed.
  static expected<store> open(const std::filesystem::path& folder, const options& how = {});
  store(store&&) noexcept;
  store& operator=(store&&) noexcept;
  ~store();

  expected<contents> load();
  expected<void> commit(batch& changes, durability how);

  /// A number higher than any reserved for the task before, on disk when the call returns.
  expected<lease_epoch> reserve_epoch(const task_id& task);
  /// The same for many tasks at the price of one; the order is that of the tasks.
  expected<std::vector<lease_epoch>> reserve_epochs(std::span<const task_id> tasks);

  /// Events with numbers above `after`, oldest first, at most `limit`.
  expected<std::vector<event>> read_events(std::uint64_t after, std::size_t limit);
  /// The newest events, oldest first, at most `limit`.
  expected<std::vector<event>> read_last_events(std::size_t limit);
  /// Removes all but the newest `keep` events; one always stays, because its number must not come again.
  expected<void> prune_events(std::uint64_t keep);

  /// From now on every change goes there first; null: to nobody. What is pruned from the event log is no change.
  void use_mirror(std::shared_ptr<mirror> to);
  /// All records but the events.
  expected<raw_contents> records();
  /// The newest events by their keys, at most `limit`.
  expected<std::map<std::string, std::string>> raw_events(std::size_t limit);
  /// Of the mirror that this store was written to last; empty: it is the only one of its kind.
  expected<std::string> mark();
  expected<void> set_mark(const std::string& mark);
  /// Becomes what the mirror has, in one batch, and notes so in an event whose number leaves room for events that the mirror never got. A store of another mark with
  /// streams in it is copied to FOLDER.set-aside-TIME first. Migrates an older schema; fails with newer_schema or corrupt without a change.
  expected<void> adopt(const mirrored& there, event note);

  /// A consistent copy that open() takes, made while the store is in use. The folder must not exist.
  expected<void> checkpoint(const std::filesystem::path& folder);
  sizes measure();
  /// Everything after it fails with unavailable.
  void close();

private:
  struct state;
  explicit store(std::unique_ptr<state> s);
  std::unique_ptr<state> state_;
};

} // namespace weir::store
