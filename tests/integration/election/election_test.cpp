// Elections and records at a real etcd of three members: who leads, what the next one finds, what a former one cannot write any more.
#include "runtime/election/ledger.hpp"
#include "tests/integration/election/etcd_members.hpp"

#include <deque>
#include <fmt/format.h>
#include <gtest/gtest.h>

using namespace weir;
using namespace weir::election;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

etcd_members& members() {
  static etcd_members all;
  return all;
}

/// What a candidate told, waited for with a deadline.
class diary {
public:
  candidate::listener listener() {
    return {.elected = [this](std::shared_ptr<term> t) { note([&] { terms.push_back(std::move(t)); }); },
            .ended = [this](std::string why) { note([&] { ends.push_back(std::move(why)); }); },
            .follows = [this](std::string leader) { note([&] { leaders.push_back(std::move(leader)); }); }};
  }
  template <class F>
  bool wait(std::chrono::milliseconds patience, F condition) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, patience, condition);
  }
  std::vector<std::shared_ptr<term>> terms;
  std::vector<std::string> ends, leaders;

private:
  template <class F>
  void note(F f) {
    std::lock_guard lock(mutex);
    f();
    changed.notify_all();
  }
  std::mutex mutex;
  std::condition_variable changed;
};

class Election : public testing::Test {
protected:
  Election() {
    static int n = 0;
    options.cluster = fmt::format("test-{}-{}", ::getpid(), ++n);
    options.node = "a";
    options.address = "127.0.0.1:4700";
    options.etcd.endpoints = members().endpoints();
    there = std::make_shared<etcd>(options.etcd);
    prefix = prefix_of(options.cluster);
    std::string name = fs::temp_directory_path() / "weir-election-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~Election() override { fs::remove_all(folder); }

  election_options named(std::string node) const {
    auto other = options;
    other.node = std::move(node);
    return other;
  }
  /// A term of a minute for whoever: the key of the former one goes.
  std::shared_ptr<term> lead() {
    auto asked = wakeful_clock::now();
    auto lease = there->grant(60s);
    EXPECT_TRUE(lease) << lease.error().text;
    EXPECT_TRUE(there->commit({.when = {}, .then = {remove(leader_key(prefix))}, .otherwise = {}}));
    auto made = there->commit({.when = {}, .then = {put(leader_key(prefix), "x 127.0.0.1:1", *lease)}, .otherwise = {}});
    EXPECT_TRUE(made) << made.error().text;
    return std::make_shared<term>(made->revision, 60s, asked);
  }
  store::store open(const std::string& name) {
    auto db = store::store::open(folder / name);
    EXPECT_TRUE(db) << db.error().text;
    return std::move(*db);
  }
  std::string value(const std::string& key) {
    auto found = there->range(prefix + key, {}, 1);
    EXPECT_TRUE(found) << found.error().text;
    return found && !found->records.empty() ? found->records.front().value : std::string();
  }

  election_options options;
  std::shared_ptr<etcd> there;
  std::string prefix;
  fs::path folder;
};

store::batch with_stream(const std::string& id) {
  store::batch b;
  stream_spec s;
  s.id = stream_id(id);
  s.name = id;
  b.put_stream(s);
  return b;
}
std::vector<store::change> numbered(int count, const std::string& text) {
  std::vector<store::change> all;
  for (int i = 0; i < count; ++i)
    all.push_back({fmt::format("setting/n{:05}", i), text});
  return all;
}
timestamp now() { return std::chrono::system_clock::now(); }

} // namespace

TEST_F(Election, OneOfTwoLeadsAndTheOtherFollowsWhenItLeaves) {
  diary a, b;
  std::optional<candidate> first;
  first.emplace(options, there, a.listener());
  ASSERT_TRUE(a.wait(10s, [&] { return a.terms.size() == 1; }));
  candidate second(named("b"), std::make_shared<etcd>(options.etcd), b.listener());
  ASSERT_TRUE(b.wait(10s, [&] { return !b.leaders.empty() && b.leaders.back() == "a"; }));
  EXPECT_TRUE(a.terms[0]->holds());
  EXPECT_TRUE(b.terms.empty());
  first.reset();
  EXPECT_FALSE(a.terms[0]->holds());
  ASSERT_TRUE(b.wait(3s, [&] { return b.terms.size() == 1; })) << "the key was not given back";
  EXPECT_GT(b.terms[0]->epoch(), a.terms[0]->epoch());
}

TEST_F(Election, ALeaderThatDiesIsFollowedWithinItsLease) {
  auto lease = there->grant(5s);
  ASSERT_TRUE(lease);
  ASSERT_TRUE(there->commit({.when = {}, .then = {put(leader_key(prefix), "dead 127.0.0.1:1", *lease)}, .otherwise = {}}));
  auto died = std::chrono::steady_clock::now();
  diary d;
  candidate me(options, there, d.listener());
  ASSERT_TRUE(d.wait(9s, [&] { return d.terms.size() == 1; }));
  EXPECT_GT(std::chrono::steady_clock::now() - died, 4s);
  EXPECT_EQ(d.leaders, (std::vector<std::string>{"dead", ""}));
}

TEST_F(Election, ALeaderThatDiesTogetherWithEtcdsIsFollowedInTenSeconds) {
  auto lease = there->grant(options.ttl);
  ASSERT_TRUE(lease);
  ASSERT_TRUE(there->commit({.when = {}, .then = {put(leader_key(prefix), "dead 127.0.0.1:1", *lease)}, .otherwise = {}}));
  diary d;
  candidate me(options, there, d.listener());
  ASSERT_TRUE(d.wait(3s, [&] { return d.leaders.size() == 1; }));
  ASSERT_TRUE(there->keep_alive(*lease, 3s));
  const auto member = members().leader();
  members().kill(member);
  EXPECT_TRUE(d.wait(10s, [&] { return d.terms.size() == 1; }));
  members().start(member);
  EXPECT_TRUE(members().healthy(member, 30));
}

TEST_F(Election, LeadingGoesOnWithoutOneMemberAndEndsInTimeWithoutTwo) {
  diary d;
  candidate me(options, there, d.listener());
  ASSERT_TRUE(d.wait(10s, [&] { return d.terms.size() == 1; }));
  members().signal(0, SIGSTOP);
  EXPECT_FALSE(d.wait(7s, [&] { return !d.ends.empty(); })) << d.ends.back();
  EXPECT_TRUE(d.terms[0]->holds());
  members().signal(1, SIGSTOP);
  auto alone = std::chrono::steady_clock::now();
  ASSERT_TRUE(d.wait(6s, [&] { return d.ends.size() == 1; }));
  EXPECT_FALSE(d.terms[0]->holds());
  EXPECT_LT(std::chrono::steady_clock::now() - alone, 4900ms) << "longer than its key lives";
  members().signal(0, SIGCONT);
  members().signal(1, SIGCONT);
  EXPECT_FALSE(d.wait(2s, [&] { return d.terms.size() > 1; })) << "what led is still there";
  me.stand_again(0s);
  ASSERT_TRUE(d.wait(20s, [&] { return d.terms.size() == 2; }));
  EXPECT_GT(d.terms[1]->epoch(), d.terms[0]->epoch());
}

TEST_F(Election, AKeyThatWasTakenAwayByHandEndsTheTerm) {
  diary d;
  candidate me(options, there, d.listener());
  ASSERT_TRUE(d.wait(10s, [&] { return d.terms.size() == 1; }));
  ASSERT_TRUE(there->commit({.when = {}, .then = {remove(leader_key(prefix))}, .otherwise = {}}));
  ASSERT_TRUE(d.wait(4s, [&] { return d.ends.size() == 1; }));
  EXPECT_EQ(d.ends[0], "the key at etcd is gone");
}

TEST_F(Election, TheNextLeaderHasWhatWasAcknowledged) {
  auto first = open("a"), second = open("b");
  auto before = with_stream("old");
  ASSERT_TRUE(first.commit(before, store::durability::synced));
  auto mine = lead();
  auto book = take_over(first, there, mine, options, now());
  ASSERT_TRUE(book) << book.error().text;
  auto added = with_stream("new");
  added.append_event({.number = 0, .at = now(), .kind = "stream-added", .subject = "stream/new", .text = "It was.", .actor = "test"});
  ASSERT_TRUE(first.commit(added, store::durability::synced));
  auto epoch = first.reserve_epoch(task_id("t"));
  ASSERT_TRUE(epoch);
  auto removed = store::batch();
  removed.remove_stream(stream_id("old"));
  ASSERT_TRUE(first.commit(removed, store::durability::synced));

  auto next = lead();
  auto other = take_over(second, there, next, named("b"), now());
  ASSERT_TRUE(other) << other.error().text;
  auto a = first.records(), b = second.records();
  ASSERT_TRUE(a && b);
  EXPECT_EQ(*a, *b);
  auto loaded = second.load();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->streams.size(), 1u);
  EXPECT_TRUE(loaded->streams.contains(stream_id("new")));
  EXPECT_EQ(loaded->epochs.at(task_id("t")), *epoch);
  auto events = second.read_last_events(10);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 2u);
  EXPECT_EQ(events->front().kind, "stream-added");
  EXPECT_EQ(events->back().kind, "coordinator-elected");
  EXPECT_GT(events->back().number, events->front().number + 1000);

  auto late = with_stream("late");
  auto refused = first.commit(late, store::durability::synced);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::fenced);
  EXPECT_FALSE(mine->holds());
  auto lazy = with_stream("lazy");
  EXPECT_EQ(first.commit(lazy, store::durability::lazy).error().code, error_code::fenced);
  EXPECT_EQ(value("store/stream/late"), "");
  a = first.records();
  EXPECT_FALSE(a->contains("stream/late")) << "what was refused is not on the disk either";
}

TEST_F(Election, WhatIsLazyIsThereWithinASecondAndNeverAfterWhatCameLater) {
  auto db = open("a");
  auto book = take_over(db, there, lead(), options, now());
  ASSERT_TRUE(book) << book.error().text;
  store::batch lazy;
  lazy.put_setting("x", "1");
  ASSERT_TRUE(db.commit(lazy, store::durability::lazy));
  auto until = std::chrono::steady_clock::now() + 2s;
  while (value("store/setting/x") != "1" && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(20ms); // between two looks
  EXPECT_EQ(value("store/setting/x"), "1");
  for (int i = 0; i < 50; ++i) {
    store::batch one, two;
    one.put_setting("x", fmt::format("lazy {}", i));
    one.put_setting("y", std::to_string(i));
    ASSERT_TRUE(db.commit(one, store::durability::lazy));
    two.put_setting("x", fmt::format("synced {}", i));
    ASSERT_TRUE(db.commit(two, store::durability::synced));
    ASSERT_EQ(value("store/setting/x"), fmt::format("synced {}", i));
    ASSERT_EQ(value("store/setting/y"), std::to_string(i)) << "what was before it came with it";
  }
}

TEST_F(Election, AChangeThatIsLargerThanATransactionIsThereWholeOrNotAtAll) {
  const ledger_limits small{.operations = 10};
  {
    ledger book(there, lead(), options.cluster, small);
    ASSERT_TRUE(book.take_over());
    ASSERT_TRUE(book.initialise({{"meta/schema", "1"}}, {}, "mark"));
    ASSERT_TRUE(book.ship(numbered(205, "first")));
  }
  EXPECT_EQ(value("pending/ready"), "");
  // Announced but not complete: a leader died before `ready`.
  auto part = [&](int i, const std::string& text) {
    auto key = fmt::format("{}store/setting/n{:05}", prefix, i);
    return put(fmt::format("{}pending/part/{:06}", prefix, i), fmt::format("{}:{}+{}:{}", key.size(), key, text.size(), text));
  };
  ASSERT_TRUE(there->commit({.when = {}, .then = {part(0, "half"), part(1, "half")}, .otherwise = {}}));
  {
    ledger book(there, lead(), options.cluster, small);
    auto found = book.take_over();
    ASSERT_TRUE(found) << found.error().text;
    EXPECT_EQ(found->mark, "mark");
    EXPECT_EQ(found->records.size(), 206u);
    EXPECT_EQ(found->records.at("setting/n00000"), "first");
  }
  // Announced and complete, one of the parts is of an older one: a leader died after `ready`.
  ASSERT_TRUE(there->commit({.when = {}, .then = {part(0, "whole"), part(1, "whole"), part(2, "older"), put(prefix + "pending/ready", "2")}, .otherwise = {}}));
  ledger book(there, lead(), options.cluster, small);
  auto found = book.take_over();
  ASSERT_TRUE(found) << found.error().text;
  EXPECT_EQ(found->records.at("setting/n00000"), "whole");
  EXPECT_EQ(found->records.at("setting/n00001"), "whole");
  EXPECT_EQ(found->records.at("setting/n00002"), "first");
  EXPECT_EQ(value("store/setting/n00001"), "whole");
  EXPECT_EQ(value("pending/ready"), "");
  EXPECT_EQ(value("pending/part/000002"), "");
}

TEST_F(Election, WritesGoOnWhileAMemberHangsAndCountOnce) {
  auto db = open("a");
  auto book = take_over(db, there, lead(), options, now());
  ASSERT_TRUE(book) << book.error().text;
  for (std::size_t member = 0; member < 3; ++member) {
    members().signal(member, SIGSTOP);
    for (int i = 0; i < 3; ++i) {
      auto b = with_stream(fmt::format("s{}-{}", member, i));
      auto done = db.commit(b, store::durability::synced);
      EXPECT_TRUE(done) << done.error().text;
    }
    members().signal(member, SIGCONT);
    ASSERT_TRUE(members().healthy(member, 20));
  }
  auto second = open("b");
  ASSERT_TRUE(take_over(second, there, lead(), named("b"), now()));
  EXPECT_EQ(*db.records(), *second.records());
  EXPECT_EQ(second.load()->streams.size(), 9u);
}

TEST_F(Election, AStoreOfAnotherLifeIsSetAside) {
  auto first = open("a"), second = open("b");
  ASSERT_TRUE(take_over(first, there, lead(), options, now()));
  auto own = with_stream("own");
  ASSERT_TRUE(second.commit(own, store::durability::synced));
  ASSERT_TRUE(take_over(second, there, lead(), named("b"), now()));
  EXPECT_TRUE(second.load()->streams.empty());
  fs::path aside;
  for (auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("b.set-aside-"))
      aside = entry.path();
  ASSERT_FALSE(aside.empty());
  auto kept = store::store::open(aside);
  ASSERT_TRUE(kept) << kept.error().text;
  EXPECT_TRUE(kept->load()->streams.contains(stream_id("own")));
}

TEST_F(Election, ACopyIsNeverTakenForTheTruthWhenEtcdHasLostIt) {
  auto db = open("a");
  ASSERT_TRUE(take_over(db, there, lead(), options, now()));
  ASSERT_TRUE(there->commit({.when = {}, .then = {remove_all(prefix)}, .otherwise = {}}));
  auto refused = take_over(db, there, lead(), options, now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::conflict);
  ASSERT_TRUE(db.set_mark({})); // as election: single does
  EXPECT_TRUE(take_over(db, there, lead(), options, now()));
}

TEST_F(Election, RecordsOfANewerWeirAreRefusedAndOlderOnesAreMigrated) {
  {
    ledger book(there, lead(), options.cluster);
    ASSERT_TRUE(book.take_over());
    ASSERT_TRUE(book.initialise({{"meta/schema", "7"}, {"setting/x", "1"}}, {}, "mark"));
  }
  auto db = open("a");
  auto refused = take_over(db, there, lead(), options, now());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, error_code::newer_schema);
  EXPECT_FALSE(db.records()->contains("setting/x"));

  store::schema eight;
  for (int i = 0; i < 7; ++i)
    eight.migrations.push_back([i](store::raw_records& all) -> expected<void> {
      if (i == 6)
        all.put("setting/y", "made by the eighth");
      return {};
    });
  store::options how;
  how.layout = &eight;
  auto newer = store::store::open(folder / "newer", how);
  ASSERT_TRUE(newer);
  auto done = take_over(*newer, there, lead(), options, now());
  ASSERT_TRUE(done) << done.error().text;
  EXPECT_EQ(newer->records()->at("setting/y"), "made by the eighth");
  EXPECT_EQ(value("store/setting/y"), "made by the eighth");
  EXPECT_EQ(value("store/meta/schema"), "8");
}

TEST_F(Election, TheNewestEventsGoAlongAndNoMore) {
  auto db = open("a");
  ASSERT_TRUE(take_over(db, there, lead(), options, now()));
  for (int i = 0; i < 700; ++i) {
    store::batch b;
    b.append_event({.number = 0, .at = now(), .kind = "k", .subject = "s", .text = std::to_string(i), .actor = "a"});
    ASSERT_TRUE(db.commit(b, store::durability::lazy));
  }
  store::batch last;
  last.put_setting("done", "1");
  ASSERT_TRUE(db.commit(last, store::durability::synced));
  auto other = open("b");
  ASSERT_TRUE(take_over(other, there, lead(), named("b"), now()));
  auto events = other.read_last_events(1000);
  ASSERT_TRUE(events);
  ASSERT_EQ(events->size(), 513u);
  EXPECT_EQ(events->front().text, "188");
  EXPECT_EQ((*events)[511].text, "699");
}

TEST_F(Election, WhatIsTooLargeIsRefusedAndNothingElseSuffers) {
  auto db = open("a");
  ASSERT_TRUE(take_over(db, there, lead(), options, now()));
  store::batch b;
  b.put_setting("large", std::string(3 << 20, 'x'));
  EXPECT_EQ(db.commit(b, store::durability::synced).error().code, error_code::too_large);
  EXPECT_EQ(db.commit(b, store::durability::lazy).error().code, error_code::too_large);
  store::batch many;
  for (int i = 0; i < 20; ++i)
    many.put_setting(fmt::format("n{}", i), std::string(200 << 10, 'x'));
  auto done = db.commit(many, store::durability::synced);
  ASSERT_TRUE(done) << done.error().text;
  auto other = open("b");
  ASSERT_TRUE(take_over(other, there, lead(), named("b"), now()));
  EXPECT_EQ(*db.records(), *other.records());
}
