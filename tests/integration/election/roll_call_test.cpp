// Who could lead and which members of etcd serve, at a real etcd.
#include "runtime/election/roll_call.hpp"
#include "tests/integration/election/etcd_members.hpp"

#include <gtest/gtest.h>
#include <thread>

using namespace weir;
using namespace weir::election;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

class RollCall : public testing::Test {
protected:
  election_options of(const std::string& node) const {
    election_options options;
    options.cluster = "roll";
    options.node = node;
    options.address = "127.0.0.1:4700";
    options.etcd = members.options();
    return options;
  }
  template <class F>
  static bool eventually(F condition, std::chrono::milliseconds limit = 15s) {
    for (const auto end = std::chrono::steady_clock::now() + limit; std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(20ms)) // between two polls
      if (condition())
        return true;
    return condition();
  }
  static auto are(const roll_call& here, const names& all) {
    return [&here, all] { return here.seen().candidates == std::optional(all); };
  }
  /// Whether exactly these members serve.
  static auto serve(const roll_call& here, std::vector<bool> wanted) {
    return [&here, wanted] {
      std::vector<bool> up;
      for (auto& one : here.seen().members)
        up.push_back(one.trouble.empty());
      return up == wanted;
    };
  }

  etcd_members members;
  etcd there{members.options()};
};

} // namespace

TEST_F(RollCall, NamesWhoCouldLeadAndNobodyWhoIsGone) {
  roll_call a(of("a"));
  EXPECT_TRUE(eventually(are(a, {"a"})));
  std::optional<roll_call> b;
  b.emplace(of("b"));
  ASSERT_TRUE(eventually(are(a, {"a", "b"})));
  ASSERT_TRUE(eventually(are(*b, {"a", "b"})));

  b->stand(false); // it was elected and could not take over
  EXPECT_TRUE(eventually(are(a, {"a"})));
  EXPECT_TRUE(eventually(are(*b, {"a"})));
  b->stand(true);
  EXPECT_TRUE(eventually(are(a, {"a", "b"})));

  ASSERT_TRUE(there.commit({.when = {}, .then = {remove_all(candidates_key(prefix_of("roll")))}, .otherwise = {}})); // by hand
  ASSERT_TRUE(eventually([&, key = candidates_key(prefix_of("roll"))] {
    auto found = there.range(key, end_of_prefix(key), 10);
    return found && found->records.size() == 2;
  })) << "both say so again";

  b.reset();
  auto found = there.range(candidates_key(prefix_of("roll")) + "b", {}, 1);
  ASSERT_TRUE(found) << found.error().text;
  EXPECT_TRUE(found->records.empty()) << "a clean end takes the name back";
  EXPECT_TRUE(eventually(are(a, {"a"})));

  auto lease = there.grant(of("c").ttl);
  ASSERT_TRUE(lease);
  ASSERT_TRUE(there.commit({.when = {}, .then = {put(candidates_key(prefix_of("roll")) + "c", "127.0.0.1:1", *lease)}, .otherwise = {}}));
  EXPECT_TRUE(eventually(are(a, {"a", "c"})));
  EXPECT_TRUE(eventually(are(a, {"a"}))) << "who was killed is missed when its lease is over";
}

TEST_F(RollCall, TellsWhichMembersServe) {
  roll_call here(of("a"));
  ASSERT_TRUE(eventually(serve(here, {true, true, true})));
  members.kill(2);
  EXPECT_TRUE(eventually(serve(here, {true, true, false})));
  EXPECT_TRUE(eventually(are(here, {"a"}))) << "two of three are enough";
  members.start(2);
  EXPECT_TRUE(eventually(serve(here, {true, true, true}), 30s));
  members.signal(1, SIGSTOP);
  EXPECT_TRUE(eventually(serve(here, {true, false, true})));
  members.signal(1, SIGCONT);
  EXPECT_TRUE(eventually(serve(here, {true, true, true}), 30s));

  members.kill(1);
  members.kill(2);
  ASSERT_TRUE(eventually(serve(here, {false, false, false}), 30s)) << "who is alone knows no leader";
  EXPECT_EQ(here.seen().members[0].trouble, "etcdserver: no leader");
  EXPECT_TRUE(eventually([&] { return !here.seen().candidates && !here.seen().trouble.empty(); })) << "nobody can tell who is there";
  members.start(1);
  members.start(2);
  EXPECT_TRUE(eventually(serve(here, {true, true, true}), 40s));
  EXPECT_TRUE(eventually(are(here, {"a"})));
}

TEST(MemberStatus, IsReadOfWhatAMemberSays) {
  auto well = parse_member_status(R"({"header":{"member_id":"2"},"version":"3.4.23","leader":"14841639068965178418"})");
  ASSERT_TRUE(well) << well.error().text;
  EXPECT_TRUE(well->has_leader);
  EXPECT_EQ(well->trouble, "");
  auto ill = parse_member_status(R"({"errors":["memberID:105 alarm:NOSPACE ","etcdserver: no leader\u0007"]})");
  ASSERT_TRUE(ill) << ill.error().text;
  EXPECT_FALSE(ill->has_leader);
  EXPECT_EQ(ill->trouble, "memberID:105 alarm:NOSPACE; etcdserver: no leader?");
  EXPECT_FALSE(parse_member_status(R"({"leader":"0"})")->has_leader);
  EXPECT_EQ(parse_member_status(R"({"errors":[7]})").error().code, error_code::invalid_input);
  EXPECT_EQ(parse_member_status(R"([])").error().code, error_code::invalid_input);
}
