#include "runtime/store/store.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/store/record.hpp"

#include <algorithm>
#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <mutex>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/write_batch.h>

namespace weir::store {
namespace {

namespace fs = std::filesystem;
using record::json;

constexpr std::string_view stream_prefix = "stream/", task_prefix = "task/", lease_prefix = "lease/", epoch_prefix = "epoch/", publishers_prefix = "publishers/",
                           setting_prefix = "setting/", event_prefix = "event/", schema_key = "meta/schema", mark_key = "meta/mirror";
/// Events that a former leader noted and could not ship any more, at most.
constexpr std::uint64_t events_in_doubt = 1024;

std::string key_of(std::string_view prefix, std::string_view rest) { return std::string(prefix).append(rest); }
// Sixteen hexadecimal digits, so that the order of keys is the order of numbers.
std::string event_key(std::uint64_t number) { return fmt::format("{}{:016x}", event_prefix, number); }
rocksdb::Slice slice(std::string_view s) { return {s.data(), s.size()}; }
std::string_view view(const rocksdb::Slice& s) { return {s.data(), s.size()}; }

struct publisher_list {
  std::vector<publisher> publishers;
  static constexpr auto fields() { return std::tuple{field("publishers", &publisher_list::publishers, "Who publishes.")}; }
};

// RocksDB's diary goes to our log. Its own file is not only one more to bound: Debian builds the library with assertions on, and the file's second
// write to a full disk fails one and ends the process.
class diary final : public rocksdb::Logger {
public:
  diary() : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    std::array<char, 512> text{};
    std::vsnprintf(text.data(), text.size(), format, arguments);
    log::warn("store", "rocksdb-says", "text={}", text.data());
  }
};

rocksdb::Options database_options(const options& how) {
  rocksdb::Options o;
  o.write_buffer_size = how.memtable_bytes;
  o.max_write_buffer_number = 2;
  o.max_background_jobs = 2;
  o.max_open_files = 64;
  o.target_file_size_base = 4 << 20;
  o.max_bytes_for_level_base = 16 << 20;
  o.max_total_wal_size = 4 * how.memtable_bytes;
  o.info_log = std::make_shared<diary>();
  o.max_manifest_file_size = 4 << 20;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(4 << 20);
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  // A record cut off at the end of the log was never acknowledged; damage anywhere else must be told, not skipped as the default would.
  o.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  o.track_and_verify_wals_in_manifest = true;
  o.avoid_flush_during_shutdown = true; // the log has it all, and closing must work on a full disk
  return o;
}

error translate(const rocksdb::Status& s, std::string_view what) {
  constexpr std::string_view what_to_do = "; stop, keep the folder for a look, and restore the last backup with `weir restore`";
  if (s.IsCorruption() || s.IsNotFound() || s.IsInvalidArgument() || s.IsPathNotFound())
    return {error_code::corrupt, fmt::format("{}: the database is damaged: {}{}", what, s.ToString(), what_to_do)};
  return {error_code::io_failed, fmt::format("{}: {}", what, s.ToString())};
}

// RocksDB takes a folder whose CURRENT is lost for a new one and sweeps the rest away.
expected<bool> has_database(const fs::path& folder) {
  std::error_code code;
  if (fs::exists(folder / "CURRENT", code))
    return true;
  for (fs::directory_iterator file(folder, code), end; !code && file != end; file.increment(code))
    if (auto kind = file->path().extension(); kind == ".sst" || kind == ".log")
      return fail(error_code::corrupt, fmt::format("{}: the database is damaged: it has data but no file CURRENT; restore the last backup with `weir restore`", folder.native()));
  if (code)
    return fail(error_code::io_failed, fmt::format("{}: {}", folder.native(), code.message()));
  return false;
}

class migration_step final : public raw_records {
public:
  explicit migration_step(rocksdb::DB& db) : db_(db) {}
  expected<void> for_each(std::string_view prefix, const std::function<void(std::string_view, std::string_view)>& f) override {
    std::unique_ptr<rocksdb::Iterator> at(db_.NewIterator({}));
    for (at->Seek(slice(prefix)); at->Valid() && view(at->key()).starts_with(prefix); at->Next())
      f(view(at->key()), view(at->value()));
    return at->status().ok() ? expected<void>{} : fail(translate(at->status(), prefix));
  }
  void put(std::string_view key, std::string_view value) override { note(changes.Put(slice(key), slice(value))); }
  void remove(std::string_view key) override { note(changes.Delete(slice(key))); }
  void note(const rocksdb::Status& s) { failed = failed.ok() ? s : failed; }

  rocksdb::WriteBatch changes;
  rocksdb::Status failed;

private:
  rocksdb::DB& db_;
};

template <class T>
expected<T> read(std::string_view key, std::string_view value, json* unknown) {
  auto j = json::parse(value, nullptr, false);
  if (j.is_discarded())
    return fail(error_code::corrupt, fmt::format("{}: is not JSON; restore the last backup with `weir restore`", key));
  auto x = record::decode<T>(j, unknown);
  if (!x)
    return fail(x.error().in(key));
  return x;
}

template <class T>
expected<T> number(std::string_view key, std::string_view text, int base = 10) {
  T n{};
  auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), n, base);
  if (code != std::errc{} || end != text.data() + text.size())
    return fail(error_code::corrupt, fmt::format("{}: {:?} is not a number; restore the last backup with `weir restore`", key, text));
  return n;
}

} // namespace

const schema& current_schema() {
  static const schema one; // version 1: nothing to migrate from
  return one;
}

template <class T>
void batch::put(std::string key, const T& x) {
  try {
    changes_.push_back({key, record::encode(x).dump()});
  } catch (const json::exception& e) {
    if (!error_)
      error_ = error{error_code::invalid_input, fmt::format("{}: cannot be stored: {}", key, e.what())};
  }
}

void batch::put_stream(const stream_spec& x) { put(key_of(stream_prefix, x.id.value), x); }
void batch::remove_stream(const stream_id& x) {
  changes_.push_back({key_of(stream_prefix, x.value), {}});
  changes_.push_back({key_of(publishers_prefix, x.value), {}});
}
void batch::put_task(const task_spec& x) { put(key_of(task_prefix, x.id.value), x); }
void batch::remove_task(const task_id& x) {
  changes_.push_back({key_of(task_prefix, x.value), {}});
  remove_lease(x);
}
void batch::put_lease(const lease& x) {
  put(key_of(lease_prefix, x.task.value), x);
  leases_.push_back(x);
}
void batch::remove_lease(const task_id& x) { changes_.push_back({key_of(lease_prefix, x.value), {}}); }
void batch::put_publishers(const stream_id& stream, const std::vector<publisher>& list) {
  auto key = key_of(publishers_prefix, stream.value);
  if (list.empty())
    changes_.push_back({std::move(key), {}});
  else
    put(std::move(key), publisher_list{list});
}
void batch::put_setting(std::string_view name, std::string_view value) { changes_.push_back({key_of(setting_prefix, name), std::string(value)}); }
void batch::remove_setting(std::string_view name) { changes_.push_back({key_of(setting_prefix, name), {}}); }
void batch::append_event(event x) { events_.push_back(std::move(x)); }

struct store::state {
  fs::path folder;
  options how;
  std::mutex mutex;
  std::unique_ptr<rocksdb::DB> db;
  bool closed = false;
  std::uint64_t last_event = 0;
  std::uint64_t failures = 0;
  std::map<task_id, lease_epoch> epochs;
  std::map<std::string, json> unknown; ///< members of a newer Weir, by key; written back with each change of their record
  std::shared_ptr<mirror> copy;        ///< null: there is none

  expected<void> open() {
    auto there = has_database(folder);
    WEIR_TRY(there);
    auto wanted = database_options(how);
    wanted.create_if_missing = !*there;
    rocksdb::DB* opened = nullptr;
    if (auto s = rocksdb::DB::Open(wanted, folder, &opened); !s.ok()) {
      ++failures;
      if (s.IsIOError() && s.ToString().find("LOCK") != std::string::npos)
        return fail(error_code::unavailable, fmt::format("{}: another process has this database open; stop it first, or give this node a data folder of its own", folder.native()));
      return fail(translate(s, folder.native()));
    }
    db.reset(opened);
    auto ready = prepare(*there);
    if (!ready)
      db.reset();
    return ready;
  }

  expected<void> prepare(bool there) {
    if (auto s = db->VerifyChecksum(); !s.ok())
      return fail(translate(s, folder.native()));
    WEIR_TRY(migrate(there));
    contents seen;
    return read_all(seen);
  }

  expected<void> migrate(bool there) {
    auto& layout = *how.layout;
    std::string text;
    auto s = db->Get({}, slice(schema_key), &text);
    if (s.IsNotFound()) {
      // Killed between making the database and its first record, there is nothing in it yet.
      std::unique_ptr<rocksdb::Iterator> at(db->NewIterator({}));
      at->SeekToFirst();
      if (there && (at->Valid() || !at->status().ok()))
        return fail(error_code::corrupt, fmt::format("{}: has records but no {}: this is not a database of Weir", folder.native(), schema_key));
      return write_schema(rocksdb::WriteBatch(), layout.version());
    }
    if (!s.ok())
      return fail(translate(s, schema_key));
    auto found = number<unsigned>(schema_key, text);
    WEIR_TRY(found);
    if (*found == 0 || *found > layout.version())
      return fail(error_code::newer_schema, fmt::format("{}: has schema version {}, this Weir knows up to {}: run the newer Weir, or restore a backup made before the upgrade",
                                                        folder.native(), *found, layout.version()));
    if (*found < layout.version()) {
      auto kept = folder;
      kept += fmt::format(".schema-{}", *found);
      if (std::error_code code; !fs::exists(kept, code))
        WEIR_TRY(copy_to(kept));
      log::info("store", "schema-migration", "folder={} from={} to={} copy={}", folder.native(), *found, layout.version(), kept.native());
    }
    for (auto version = *found; version < layout.version(); ++version) {
      migration_step step(*db);
      if (auto done = layout.migrations[version - 1](step); !done)
        return fail(done.error().in(fmt::format("migration from schema version {}", version)));
      if (!step.failed.ok())
        return fail(translate(step.failed, "migration"));
      WEIR_TRY(write_schema(std::move(step.changes), version + 1));
    }
    return {};
  }

  expected<void> write_schema(rocksdb::WriteBatch changes, unsigned version) {
    if (auto s = changes.Put(slice(schema_key), std::to_string(version)); !s.ok())
      return fail(translate(s, schema_key));
    return write(changes, durability::synced);
  }

  expected<void> write(rocksdb::WriteBatch& changes, durability durable) {
    rocksdb::WriteOptions o;
    o.sync = durable == durability::synced;
    auto s = db->Write(o, &changes);
    if (s.ok())
      return {};
    ++failures;
    log::error("store", "write-failed", "folder={} error={}", folder.native(), s.ToString());
    // What RocksDB accepts after a failed write depends on the kind of failure; an opened database is always sound.
    db.reset();
    return fail(error_code::io_failed, fmt::format("{}: {}", folder.native(), s.ToString()));
  }

  /// First to the mirror, then to our own disk.
  expected<void> write(rocksdb::WriteBatch& writes, const std::vector<change>& changes, durability durable) {
    if (!copy)
      return write(writes, durable);
    WEIR_TRY(durable == durability::synced ? copy->ship(changes) : copy->queue(changes));
    auto done = write(writes, durable);
    if (!done)
      copy->give_up(done.error().text);
    return done;
  }

  // Opens anew after a failure.
  expected<void> ready() {
    if (closed)
      return fail(error_code::unavailable, fmt::format("{}: the database is closed", folder.native()));
    return db ? expected<void>{} : open();
  }

  expected<void> read_all(contents& out) {
    epochs.clear();
    unknown.clear();
    std::unique_ptr<rocksdb::Iterator> at(db->NewIterator({}));
    for (at->SeekToFirst(); at->Valid(); at->Next()) {
      auto key = view(at->key()), value = view(at->value());
      if (key.starts_with(event_prefix)) { // all of them are skipped at once; the last has the number
        at->SeekForPrev(event_key(~0ull));
        auto n = number<std::uint64_t>(view(at->key()), view(at->key()).substr(event_prefix.size()), 16);
        WEIR_TRY(n);
        out.last_event = *n;
        continue;
      }
      WEIR_TRY(read_one(key, value, out));
    }
    if (!at->status().ok()) {
      ++failures;
      return fail(translate(at->status(), folder.native()));
    }
    last_event = out.last_event;
    out.epochs = epochs;
    return {};
  }

  expected<raw_contents> raw() {
    raw_contents all;
    std::unique_ptr<rocksdb::Iterator> at(db->NewIterator({}));
    for (at->SeekToFirst(); at->Valid(); at->Next())
      if (view(at->key()).starts_with(event_prefix)) // all of them are skipped at once
        at->SeekForPrev(event_key(~0ull));
      else if (view(at->key()) != mark_key)
        all.emplace(view(at->key()), view(at->value()));
    if (at->status().ok())
      return all;
    ++failures;
    return fail(translate(at->status(), folder.native()));
  }

  expected<std::string> mark() {
    std::string text;
    auto s = db->Get({}, slice(mark_key), &text);
    if (!s.ok() && !s.IsNotFound())
      return fail(translate(s, mark_key));
    return text;
  }

  expected<void> read_one(std::string_view key, std::string_view value, contents& out) {
    auto rest = std::string(key.substr(std::min(key.find('/'), key.size() - 1) + 1));
    json foreign;
    expected<void> result;
    // The identifier stands in the key and in the value: a record that ended up under another's key is found out.
    auto keep = [&]<class T>(auto& into, T&&, auto id_of) {
      auto x = read<std::remove_cvref_t<T>>(key, value, &foreign);
      if (!x)
        result = fail(x.error());
      else if (auto id = id_of(*x); id.value != rest)
        result = fail(error_code::corrupt, fmt::format("{}: holds the record of {:?}; restore the last backup with `weir restore`", key, id.value));
      else
        into.emplace(std::move(id), std::move(*x));
    };
    if (key.starts_with(stream_prefix))
      keep(out.streams, stream_spec{}, [](auto& x) { return x.id; });
    else if (key.starts_with(task_prefix))
      keep(out.tasks, task_spec{}, [](auto& x) { return x.id; });
    else if (key.starts_with(lease_prefix))
      keep(out.leases, lease{}, [](auto& x) { return x.task; });
    else if (key.starts_with(publishers_prefix)) {
      auto x = read<publisher_list>(key, value, &foreign);
      WEIR_TRY(x);
      out.publishers.emplace(stream_id(rest), std::move(x->publishers));
    } else if (key.starts_with(epoch_prefix)) {
      auto n = number<lease_epoch>(key, value);
      WEIR_TRY(n);
      epochs.emplace(task_id(rest), *n);
    } else if (key.starts_with(setting_prefix))
      out.settings.emplace(rest, value);
    else if (key != schema_key && key != mark_key)
      log::warn("store", "unknown-record", "record={} kept as it is", key);
    WEIR_TRY(result);
    if (!foreign.is_null())
      unknown.emplace(key, std::move(foreign));
    return {};
  }

  expected<void> copy_to(const fs::path& to) {
    rocksdb::Checkpoint* made = nullptr;
    auto s = rocksdb::Checkpoint::Create(db.get(), &made);
    std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
    if (s.ok())
      s = checkpoint->CreateCheckpoint(to);
    if (s.ok())
      return {};
    ++failures;
    return fail(s.IsInvalidArgument() ? error_code::already_exists : error_code::io_failed, fmt::format("{}: {}", to.native(), s.ToString()));
  }

  /// To the oldest of the newest `count` events; their numbers may have gaps. Not valid when there are none.
  void seek_newest(rocksdb::Iterator& at, std::uint64_t count) {
    at.SeekForPrev(event_key(~0ull));
    std::string oldest;
    for (; count > 0 && at.Valid() && view(at.key()).starts_with(event_prefix); --count, at.Prev())
      oldest = view(at.key());
    at.Seek(oldest.empty() ? event_key(~0ull) : oldest);
  }

  expected<std::vector<event>> read_events(rocksdb::Iterator& at, std::size_t limit) {
    std::vector<event> result;
    for (; at.Valid() && view(at.key()).starts_with(event_prefix) && result.size() < limit; at.Next()) {
      json foreign; // events are never written again, so nothing of a newer Weir can be lost
      auto x = read<event>(view(at.key()), view(at.value()), &foreign);
      WEIR_TRY(x);
      result.push_back(std::move(*x));
    }
    if (!at.status().ok())
      return fail(translate(at.status(), folder.native()));
    return result;
  }
};

store::store(std::unique_ptr<state> s) : state_(std::move(s)) {}
store::store(store&&) noexcept = default;
store& store::operator=(store&&) noexcept = default;
store::~store() = default;

expected<store> store::open(const fs::path& folder, const options& how) {
  WEIR_TRY(make_private_directory(folder)); // stream keys are in it
  auto s = std::make_unique<state>();
  s->folder = folder;
  s->how = how;
  WEIR_TRY(s->open());
  return store(std::move(s));
}

expected<contents> store::load() {
  std::lock_guard lock(state_->mutex);
  WEIR_TRY(state_->ready());
  contents all;
  WEIR_TRY(state_->read_all(all));
  return all;
}

expected<void> store::commit(batch& changes, durability how) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  if (changes.error_)
    return fail(*changes.error_);
  for (auto& l : changes.leases_)
    if (auto highest = s.epochs.find(l.task); highest != s.epochs.end() && l.epoch < highest->second)
      return fail(error_code::fenced, fmt::format("lease of task {}: epoch {} is older than the last one reserved ({})", l.task, l.epoch, highest->second));
  std::vector<change> all;
  for (auto& c : changes.changes_) {
    all.push_back(c);
    if (auto foreign = s.unknown.find(c.key); c.value && foreign != s.unknown.end()) {
      auto merged = json::parse(*c.value);
      merged.update(foreign->second);
      all.back().value = merged.dump();
    }
  }
  auto numbered = changes.events_;
  auto next = s.last_event;
  for (auto& e : numbered) {
    e.number = ++next;
    try {
      all.push_back({event_key(e.number), record::encode(e).dump()});
    } catch (const json::exception& x) {
      return fail(error_code::invalid_input, fmt::format("event {}: cannot be stored: {}", e.kind, x.what()));
    }
  }
  rocksdb::WriteBatch writes;
  rocksdb::Status failed;
  for (auto& c : all)
    if (auto noted = c.value ? writes.Put(c.key, *c.value) : writes.Delete(c.key); !noted.ok())
      failed = noted;
  if (!failed.ok())
    return fail(translate(failed, "batch"));
  WEIR_TRY(s.write(writes, all, how));
  for (auto& c : changes.changes_)
    if (!c.value)
      s.unknown.erase(c.key);
  s.last_event = next;
  changes.events_ = std::move(numbered);
  return {};
}

expected<lease_epoch> store::reserve_epoch(const task_id& task) {
  return reserve_epochs({&task, 1}).map([](const std::vector<lease_epoch>& all) { return all.front(); });
}

expected<std::vector<lease_epoch>> store::reserve_epochs(std::span<const task_id> tasks) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  std::vector<lease_epoch> result;
  std::map<task_id, lease_epoch> raised;
  std::vector<change> all;
  rocksdb::WriteBatch writes;
  for (auto& task : tasks) {
    auto highest = s.epochs.find(task);
    auto& epoch = raised.try_emplace(task, highest == s.epochs.end() ? 0 : highest->second).first->second;
    result.push_back(++epoch);
    all.push_back({key_of(epoch_prefix, task.value), std::to_string(result.back())});
    if (auto put = writes.Put(all.back().key, *all.back().value); !put.ok())
      return fail(translate(put, task.value));
  }
  WEIR_TRY(s.write(writes, all, durability::synced));
  for (auto& [task, epoch] : raised)
    s.epochs[task] = epoch;
  return result;
}

expected<std::vector<event>> store::read_events(std::uint64_t after, std::size_t limit) {
  std::lock_guard lock(state_->mutex);
  WEIR_TRY(state_->ready());
  if (after >= state_->last_event)
    return std::vector<event>{};
  std::unique_ptr<rocksdb::Iterator> at(state_->db->NewIterator({}));
  at->Seek(event_key(after + 1));
  return state_->read_events(*at, limit);
}

expected<std::vector<event>> store::read_last_events(std::size_t limit) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  if (limit == 0)
    return std::vector<event>{};
  std::unique_ptr<rocksdb::Iterator> at(s.db->NewIterator({}));
  s.seek_newest(*at, limit);
  return s.read_events(*at, limit);
}

expected<void> store::prune_events(std::uint64_t keep) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  keep = std::max<std::uint64_t>(keep, 1);
  if (s.last_event <= keep)
    return {};
  std::unique_ptr<rocksdb::Iterator> at(s.db->NewIterator({}));
  s.seek_newest(*at, keep);
  if (!at->Valid() || !at->status().ok())
    return at->status().ok() ? expected<void>{} : fail(translate(at->status(), s.folder.native()));
  rocksdb::WriteBatch writes;
  if (auto ranged = writes.DeleteRange(event_key(0), at->key()); !ranged.ok())
    return fail(translate(ranged, "prune"));
  return s.write(writes, durability::lazy);
}

void store::use_mirror(std::shared_ptr<mirror> to) {
  std::lock_guard lock(state_->mutex);
  state_->copy = std::move(to);
}

expected<raw_contents> store::records() {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  return s.raw();
}

expected<std::map<std::string, std::string>> store::raw_events(std::size_t limit) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  std::map<std::string, std::string> result;
  std::unique_ptr<rocksdb::Iterator> at(s.db->NewIterator({}));
  for (at->SeekForPrev(event_key(~0ull)); at->Valid() && view(at->key()).starts_with(event_prefix) && result.size() < limit; at->Prev())
    result.emplace(view(at->key()), view(at->value()));
  if (!at->status().ok())
    return fail(translate(at->status(), s.folder.native()));
  return result;
}

expected<std::string> store::mark() {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  return s.mark();
}

expected<void> store::set_mark(const std::string& mark) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  auto known = s.mark();
  WEIR_TRY(known);
  if (*known == mark)
    return {};
  rocksdb::WriteBatch writes;
  if (auto noted = mark.empty() ? writes.Delete(slice(mark_key)) : writes.Put(slice(mark_key), mark); !noted.ok())
    return fail(translate(noted, mark_key));
  return s.write(writes, durability::synced);
}

expected<void> store::adopt(const mirrored& there, event note) {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  WEIR_TRY(s.ready());
  auto schema = there.records.find(std::string(schema_key));
  if (schema == there.records.end())
    return fail(error_code::corrupt, fmt::format("the mirror has no {}: it is none of Weir's", schema_key));
  auto version = number<unsigned>(schema_key, schema->second);
  WEIR_TRY(version);
  if (*version == 0 || *version > s.how.layout->version())
    return fail(error_code::newer_schema, fmt::format("the mirror has schema version {}, this Weir knows up to {}: run the newer Weir", *version, s.how.layout->version()));
  contents seen; // nothing is adopted that could not be read afterwards
  for (auto& [key, value] : there.records)
    if (*version == s.how.layout->version())
      WEIR_TRY(s.read_one(key, value, seen));
  auto mine = s.raw();
  WEIR_TRY(mine);
  auto mark = s.mark();
  WEIR_TRY(mark);
  auto wanted = [](const auto& one) { return one.first.starts_with(stream_prefix) || one.first.starts_with(task_prefix); };
  if (*mark != there.mark && std::ranges::any_of(*mine, wanted)) {
    auto aside = s.folder;
    aside += fmt::format(".set-aside-{}", std::chrono::duration_cast<std::chrono::milliseconds>(note.at.time_since_epoch()).count());
    WEIR_TRY(s.copy_to(aside));
    log::warn("store", "store-set-aside", "folder={} copy={}", s.folder.native(), aside.native());
  }
  rocksdb::WriteBatch writes;
  rocksdb::Status failed;
  auto keep = [&](const rocksdb::Status& one) { failed = failed.ok() ? one : failed; };
  for (auto& [key, value] : *mine)
    if (!there.records.contains(key))
      keep(writes.Delete(key));
  for (auto& [key, value] : there.records)
    if (auto known = mine->find(key); known == mine->end() || known->second != value)
      keep(writes.Put(key, value));
  for (auto& [key, value] : there.events) {
    auto n = key.starts_with(event_prefix) ? number<std::uint64_t>(key, std::string_view(key).substr(event_prefix.size()), 16) : expected<std::uint64_t>(0);
    WEIR_TRY(n);
    s.last_event = std::max(s.last_event, *n);
    keep(writes.Put(key, value));
  }
  note.number = s.last_event += events_in_doubt;
  try {
    keep(writes.Put(event_key(note.number), record::encode(note).dump()));
  } catch (const json::exception& x) {
    return fail(error_code::invalid_input, fmt::format("event {}: cannot be stored: {}", note.kind, x.what()));
  }
  keep(writes.Put(slice(mark_key), there.mark));
  if (!failed.ok())
    return fail(translate(failed, "adopt"));
  WEIR_TRY(s.write(writes, durability::synced));
  if (*version != s.how.layout->version()) { // opening migrates
    s.db.reset();
    return s.open();
  }
  return s.read_all(seen);
}

expected<void> store::checkpoint(const fs::path& folder) {
  std::lock_guard lock(state_->mutex);
  WEIR_TRY(state_->ready());
  return state_->copy_to(folder);
}

sizes store::measure() {
  auto& s = *state_;
  std::lock_guard lock(s.mutex);
  sizes result;
  result.failures = s.failures;
  if (!s.db)
    return result;
  s.db->GetIntProperty(rocksdb::DB::Properties::kTotalSstFilesSize, &result.table_bytes);
  s.db->GetIntProperty(rocksdb::DB::Properties::kEstimateNumKeys, &result.records);
  rocksdb::VectorLogPtr logs;
  if (s.db->GetSortedWalFiles(logs).ok())
    for (auto& one : logs)
      result.wal_bytes += one->SizeFileBytes();
  return result;
}

void store::close() {
  std::lock_guard lock(state_->mutex);
  state_->closed = true;
  state_->db.reset();
}

} // namespace weir::store
