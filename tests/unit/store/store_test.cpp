#include "runtime/store/store.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/secret.hpp"

#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <random>

using namespace weir;
using store::batch;
using store::contents;
using store::durability;
namespace fs = std::filesystem;

namespace {

class Store : public testing::Test {
protected:
  ~Store() override { fs::remove_all(folder); }
  store::store open(const store::options& how = {}) {
    auto opened = store::store::open(folder / "db", how);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().text);
    return std::move(opened).value();
  }
  void write(store::store& db, const batch& b, durability how = durability::lazy) {
    auto copy = b;
    auto done = db.commit(copy, how);
    ASSERT_TRUE(done) << done.error().text;
  }
  fs::path folder = [] {
    std::string name = fs::temp_directory_path() / "weir-store-XXXXXX";
    return fs::path(mkdtemp(name.data()));
  }();
};

template <class T>
std::string text_of(const T& x) {
  std::string out;
  for_each_field<T>([&](const auto& f) {
    auto& value = x.*(f.member);
    using V = std::remove_cvref_t<decltype(value)>;
    if constexpr (std::is_same_v<V, std::string>)
      out += value;
    else if constexpr (std::is_same_v<V, timestamp>)
      out += std::to_string(value.time_since_epoch().count());
    else if constexpr (requires { value.value; })
      out += value.value;
    else if constexpr (std::is_same_v<V, std::vector<std::string>>)
      out += fmt::format("{}", fmt::join(value, ","));
    else if constexpr (std::is_enum_v<V>)
      out += to_string(value);
    else
      out += std::to_string(value);
    out += '|';
  });
  return out;
}

template <class Map>
auto texts(const Map& m) {
  std::map<std::string, std::string> out;
  for (auto& [k, v] : m)
    out[k.value] = text_of(v);
  return out;
}

stream_spec some_stream(const std::string& id, const std::string& title = "Title") {
  stream_spec s;
  s.id = stream_id(id);
  s.name = "name-" + id;
  s.key = "k";
  s.title = title;
  s.revision = 7;
  s.created = timestamp(std::chrono::nanoseconds(1'795'341'600'123'456'789));
  return s;
}

task_spec some_task(const std::string& id, const std::string& comment = "") {
  task_spec t;
  t.id = task_id(id);
  t.stream = stream_id("s");
  t.type = "hls";
  t.options = R"({"ladder":"full"})";
  t.comment = comment;
  t.needs = {"gpu", "room=main-hall"};
  return t;
}

event some_event(const std::string& text) { return {0, timestamp(std::chrono::seconds(5)), "stream-live", "stream/main", text, "hook"}; }

} // namespace

TEST_F(Store, IsEmptyAtFirstAndPrivate) {
  auto db = open();
  auto all = db.load();
  ASSERT_TRUE(all);
  EXPECT_TRUE(all->streams.empty() && all->tasks.empty() && all->leases.empty() && all->epochs.empty() && all->settings.empty());
  EXPECT_EQ(all->last_event, 0u);
  EXPECT_EQ(fs::status(folder / "db").permissions(), fs::perms::owner_all);
}

TEST_F(Store, GivesBackWhatWasPutAfterReopening) {
  {
    auto db = open();
    auto epoch = db.reserve_epoch(task_id("t"));
    ASSERT_TRUE(epoch);
    batch b;
    b.put_stream(some_stream("s", "Gr\xc3\xb6\xc3\x9f" "e \"x\"\n"));
    b.put_task(some_task("t"));
    b.put_lease({task_id("t"), node_name("n"), *epoch, timestamp(std::chrono::milliseconds(9))});
    b.put_publishers(stream_id("s"), {{"rtmp-1", "srv", "c/1", "10.0.0.1", timestamp(std::chrono::seconds(3))}, {"rtmp-1", "srv", "c2", "", {}}});
    b.put_setting("token", "a\nb");
    b.append_event(some_event("one"));
    write(db, b, durability::synced);
  }
  auto db = open();
  auto all = *db.load();
  EXPECT_EQ(text_of(all.streams.at(stream_id("s"))), text_of(some_stream("s", "Gr\xc3\xb6\xc3\x9f" "e \"x\"\n")));
  EXPECT_EQ(text_of(all.tasks.at(task_id("t"))), text_of(some_task("t")));
  EXPECT_EQ(all.leases.at(task_id("t")), (store::lease{task_id("t"), node_name("n"), 1, timestamp(std::chrono::milliseconds(9))}));
  ASSERT_EQ(all.publishers.at(stream_id("s")).size(), 2u);
  EXPECT_EQ(all.publishers.at(stream_id("s"))[0].client_id, "c/1");
  EXPECT_EQ(all.settings.at("token"), "a\nb");
  EXPECT_EQ(all.last_event, 1u);
}

TEST_F(Store, RefusesTextThatIsNotUtf8AndWritesNothingOfTheBatch) {
  auto db = open();
  batch b;
  b.put_task(some_task("t"));
  b.put_stream(some_stream("s", "\xff"));
  auto done = db.commit(b, durability::lazy);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, error_code::invalid_input);
  EXPECT_NE(done.error().text.find("stream/s"), std::string::npos);
  EXPECT_TRUE(db.load()->tasks.empty());
}

TEST_F(Store, RemovingAStreamOrATaskTakesWhatHangsOnIt) {
  auto db = open();
  auto epoch = *db.reserve_epoch(task_id("t"));
  batch b;
  b.put_stream(some_stream("s"));
  b.put_publishers(stream_id("s"), {{}});
  b.put_task(some_task("t"));
  b.put_lease({task_id("t"), node_name("n"), epoch, {}});
  write(db, b);
  batch away;
  away.remove_stream(stream_id("s"));
  away.remove_task(task_id("t"));
  write(db, away);
  auto all = *db.load();
  EXPECT_TRUE(all.streams.empty() && all.publishers.empty() && all.tasks.empty() && all.leases.empty());
  EXPECT_EQ(all.epochs.at(task_id("t")), 1u) << "a task of the same id must go on above it";
}

TEST_F(Store, EpochsGrowStrictlyOverRestarts) {
  lease_epoch last = 0;
  for (int i = 0; i < 5; ++i) {
    auto db = open();
    for (int n = 0; n < 3; ++n) {
      auto epoch = db.reserve_epoch(task_id("t"));
      ASSERT_TRUE(epoch);
      EXPECT_GT(*epoch, last);
      last = *epoch;
    }
  }
  auto db = open();
  std::vector tasks{task_id("a"), task_id("t"), task_id("t")};
  EXPECT_EQ(*db.reserve_epochs(tasks), (std::vector<lease_epoch>{1, last + 1, last + 2}));
}

TEST_F(Store, TakesNoLeaseOlderThanTheLastReservedEpoch) {
  auto db = open();
  auto first = *db.reserve_epoch(task_id("t")), second = *db.reserve_epoch(task_id("t"));
  for (auto epoch : {first, lease_epoch(0)}) {
    batch b;
    b.put_lease({task_id("t"), node_name("n"), epoch, {}});
    EXPECT_EQ(db.commit(b, durability::synced).error().code, error_code::fenced) << epoch;
  }
  batch b;
  b.put_lease({task_id("t"), node_name("n"), second, {}});
  EXPECT_TRUE(db.commit(b, durability::synced));
}

TEST_F(Store, NumbersEventsWithoutGapsOverRestarts) {
  std::uint64_t next = 1;
  for (int round = 0; round < 3; ++round) {
    auto db = open();
    for (int i = 0; i < 10; ++i) {
      batch b;
      b.append_event(some_event("a"));
      b.append_event(some_event("b"));
      ASSERT_TRUE(db.commit(b, durability::lazy));
      ASSERT_EQ(b.events().size(), 2u);
      EXPECT_EQ(b.events()[0].number, next++);
      EXPECT_EQ(b.events()[1].number, next++);
    }
  }
}

TEST_F(Store, ReadsEventsAfterANumberAndTheNewestOnes) {
  auto db = open();
  batch b;
  for (int i = 1; i <= 300; ++i)
    b.append_event(some_event(std::to_string(i)));
  write(db, b);
  auto some = *db.read_events(254, 3);
  ASSERT_EQ(some.size(), 3u);
  EXPECT_EQ(some[0].number, 255u);
  EXPECT_EQ(some[2].text, "257");
  EXPECT_TRUE(db.read_events(300, 10)->empty());
  EXPECT_TRUE(db.read_events(~0ull, 10)->empty());
  EXPECT_EQ(db.read_events(0, 1000)->size(), 300u);
  auto last = *db.read_last_events(2);
  ASSERT_EQ(last.size(), 2u);
  EXPECT_EQ(last[1].number, 300u);
}

TEST_F(Store, PrunesEventsButKeepsCounting) {
  {
    auto db = open();
    batch b;
    for (int i = 0; i < 100; ++i)
      b.append_event(some_event("x"));
    write(db, b);
    ASSERT_TRUE(db.prune_events(10));
    auto left = *db.read_events(0, 1000);
    ASSERT_EQ(left.size(), 10u);
    EXPECT_EQ(left.front().number, 91u);
    ASSERT_TRUE(db.prune_events(0));
  }
  auto db = open();
  EXPECT_EQ(db.load()->last_event, 100u);
}

TEST_F(Store, RefusesASecondOpeningWithAClearSentence) {
  auto db = open();
  auto second = store::store::open(folder / "db");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, error_code::unavailable);
  EXPECT_NE(second.error().text.find("another process has this database open"), std::string::npos) << second.error().text;
}

TEST_F(Store, SaysSoWhenItIsClosed) {
  auto db = open();
  db.close();
  EXPECT_EQ(db.load().error().code, error_code::unavailable);
  EXPECT_EQ(db.reserve_epoch(task_id("t")).error().code, error_code::unavailable);
  EXPECT_TRUE(store::store::open(folder / "db"));
}

TEST_F(Store, CopiesItselfWhileInUse) {
  auto db = open();
  batch b;
  b.put_stream(some_stream("s"));
  b.append_event(some_event("x"));
  write(db, b);
  ASSERT_TRUE(db.checkpoint(folder / "copy"));
  EXPECT_EQ(db.checkpoint(folder / "copy").error().code, error_code::already_exists);
  batch more;
  more.put_stream(some_stream("later"));
  write(db, more);
  auto copy = store::store::open(folder / "copy");
  ASSERT_TRUE(copy) << copy.error().text;
  EXPECT_EQ(copy->load()->streams.size(), 1u);
  EXPECT_EQ(copy->load()->last_event, 1u);
}

TEST_F(Store, MeasuresItself) {
  auto db = open();
  batch b;
  b.put_stream(some_stream("s"));
  write(db, b);
  auto m = db.measure();
  EXPECT_GT(m.wal_bytes + m.table_bytes, 0u);
  EXPECT_GT(m.records, 0u);
  EXPECT_EQ(m.failures, 0u);
}

// --- layouts of other times ---------------------------------------------------------------------------------------------------------

namespace {

// Version 2 of these tests: the title of a stream has become its comment, and a setting is gone.
store::schema renamed(bool failing = false) {
  return {{[failing](store::raw_records& r) -> expected<void> {
    WEIR_TRY(r.for_each("stream/", [&](std::string_view key, std::string_view value) {
      auto j = nlohmann::json::parse(value);
      j["comment"] = j["title"];
      j.erase("title");
      r.put(key, j.dump());
    }));
    r.remove("setting/old");
    if (failing)
      return fail(error_code::corrupt, "stopped on purpose");
    return {};
  }}};
}

} // namespace

TEST_F(Store, MigratesAnOlderLayoutOnceAndKeepsACopy) {
  {
    auto db = open();
    auto s = some_stream("s", "the title");
    s.comment = "";
    batch b;
    b.put_stream(s);
    b.put_setting("old", "1");
    b.put_setting("new", "2");
    write(db, b);
  }
  auto layout = renamed();
  store::options how;
  how.layout = &layout;
  {
    auto broken = renamed(true);
    store::options with;
    with.layout = &broken;
    auto refused = store::store::open(folder / "db", with);
    ASSERT_FALSE(refused);
    EXPECT_NE(refused.error().text.find("migration from schema version 1: stopped on purpose"), std::string::npos);
  }
  for (int i = 0; i < 2; ++i) { // the second opening migrates nothing
    auto all = *open(how).load();
    EXPECT_EQ(all.settings.count("old"), 0u);
    EXPECT_EQ(all.settings.at("new"), "2");
    EXPECT_EQ(all.streams.at(stream_id("s")).comment, "the title");
  }
  auto older = store::store::open(folder / "db");
  ASSERT_FALSE(older);
  EXPECT_EQ(older.error().code, error_code::newer_schema);
  EXPECT_NE(older.error().text.find("schema version 2, this Weir knows up to 1"), std::string::npos) << older.error().text;
  auto kept = store::store::open(folder / "db.schema-1");
  ASSERT_TRUE(kept) << kept.error().text;
  EXPECT_EQ(kept->load()->settings.at("old"), "1");
}

namespace {

// Writes raw records by way of a migration.
void write_raw(const fs::path& folder, const std::string& key, const std::string& value) {
  store::schema raw{{[&](store::raw_records& r) -> expected<void> {
    r.put(key, value);
    return {};
  }}};
  store::schema back;
  store::options how;
  how.layout = &raw;
  { auto db = store::store::open(folder, how); } // may refuse the record it has just written: it is written all the same
}

} // namespace

TEST_F(Store, NamesTheRecordThatIsNotWhatItShouldBe) {
  struct {
    std::string key, value, words;
  } const cases[] = {
    {"stream/a", "not json", "stream/a: is not JSON"},
    {"stream/a", "[]", "stream/a: is array, not an object"},
    {"stream/a", R"({"id":"b"})", "stream/a: holds the record of \"b\""},
    {"task/a", R"({"id":"a","revision":-1})", "task/a: revision: is number, not an integer in range"},
    {"task/a", R"({"id":"a","enabled":1})", "task/a: enabled: is number, not a truth value"},
    {"lease/a", R"({"task":5})", "lease/a: task: is number, not text"},
    {"epoch/a", "x", "epoch/a: \"x\" is not a number"},
    {"publishers/a", R"({"publishers":{}})", "publishers/a: publishers: is object, not a list"},
  };
  for (auto& c : cases) {
    auto at = folder / random_uuid();
    ASSERT_TRUE(store::store::open(at));
    write_raw(at, c.key, c.value);
    store::schema two{{[](store::raw_records&) -> expected<void> { return {}; }}};
    store::options how;
    how.layout = &two;
    auto opened = store::store::open(at, how);
    ASSERT_FALSE(opened) << c.words;
    EXPECT_EQ(opened.error().code, error_code::corrupt) << c.words;
    EXPECT_TRUE(opened.error().text.starts_with(c.words)) << opened.error().text;
  }
}

TEST_F(Store, KeepsMembersAndRecordsOfANewerWeir) {
  auto at = folder / "db";
  ASSERT_TRUE(store::store::open(at));
  write_raw(at, "stream/s", R"({"id":"s","name":"main","colour":{"deep":[1]},"comment":"old"})");
  store::schema two{{[](store::raw_records& r) -> expected<void> {
    r.put("rundown/1", "?");
    return {};
  }}};
  store::options how;
  how.layout = &two;
  {
    auto db = open(how);
    auto s = db.load()->streams.at(stream_id("s"));
    EXPECT_EQ(s.app, "live") << "a missing member has its default";
    s.comment = "new";
    batch b;
    b.put_stream(s);
    write(db, b);
    write(db, b);
  }
  std::string stored, other;
  store::schema three{{two.migrations[0], [&](store::raw_records& r) -> expected<void> {
                         WEIR_TRY(r.for_each("stream/", [&](auto, auto value) { stored = value; }));
                         return r.for_each("rundown/", [&](auto, auto value) { other = value; });
                       }}};
  how.layout = &three;
  open(how);
  EXPECT_NE(stored.find(R"("colour":{"deep":[1]})"), std::string::npos) << stored;
  EXPECT_NE(stored.find(R"("comment":"new")"), std::string::npos) << stored;
}

// --- against a model ----------------------------------------------------------------------------------------------------------------

TEST_F(Store, BehavesLikeMapsUnderRandomOperations) {
  for (unsigned seed = 1; seed <= 4; ++seed) {
    std::mt19937 random(seed);
    auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
    auto at = folder / std::to_string(seed);
    store::options how;
    how.memtable_bytes = 64 << 10; // so that tables are written and merged
    auto reopen = [&] { return std::move(store::store::open(at, how)).value(); };
    auto db = std::make_optional(reopen());
    contents model;
    std::vector<std::string> events;
    for (int step = 0; step < 250; ++step) {
      batch b;
      if (task_id granted(std::to_string(pick(12))); pick(3) == 0) {
        auto epoch = db->reserve_epoch(granted);
        ASSERT_TRUE(epoch);
        ASSERT_EQ(*epoch, ++model.epochs[granted]);
        model.leases[granted] = {granted, node_name("n"), *epoch, {}};
        b.put_lease(model.leases[granted]);
      }
      auto next = model;
      auto more = events;
      for (unsigned n = pick(6); n-- > 0;) {
        auto name = std::to_string(pick(12));
        switch (pick(8)) {
          case 0:
          case 1:
            next.streams[stream_id(name)] = some_stream(name, std::string(pick(900), 'x'));
            b.put_stream(next.streams[stream_id(name)]);
            break;
          case 2:
            next.streams.erase(stream_id(name));
            next.publishers.erase(stream_id(name));
            b.remove_stream(stream_id(name));
            break;
          case 3:
            next.tasks[task_id(name)] = some_task(name, std::to_string(random()));
            b.put_task(next.tasks[task_id(name)]);
            break;
          case 4:
            next.tasks.erase(task_id(name));
            next.leases.erase(task_id(name));
            b.remove_task(task_id(name));
            break;
          case 5:
            next.settings[name] = std::to_string(random());
            b.put_setting(name, next.settings[name]);
            break;
          case 6:
            next.settings.erase(name);
            b.remove_setting(name);
            break;
          case 7:
            more.push_back(std::to_string(random()));
            b.append_event(some_event(more.back()));
            break;
        }
      }
      ASSERT_TRUE(db->commit(b, pick(4) == 0 ? durability::synced : durability::lazy));
      model = std::move(next);
      events = std::move(more);
      if (pick(25) == 0) {
        db.reset();
        db.emplace(reopen());
      }
      if (pick(10) != 0)
        continue;
      auto seen = *db->load();
      ASSERT_EQ(texts(seen.streams), texts(model.streams)) << "seed " << seed << " step " << step;
      ASSERT_EQ(texts(seen.tasks), texts(model.tasks)) << "seed " << seed << " step " << step;
      ASSERT_EQ(texts(seen.leases), texts(model.leases)) << "seed " << seed << " step " << step;
      ASSERT_EQ(seen.epochs, model.epochs);
      ASSERT_EQ(seen.settings, model.settings);
      auto logged = *db->read_events(0, 10'000);
      ASSERT_EQ(logged.size(), events.size());
      for (std::size_t i = 0; i < events.size(); ++i)
        ASSERT_EQ(logged[i].text, events[i]);
    }
  }
}
