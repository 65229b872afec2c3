// Which edges are near to whom: networks, and the mapping of a group's viewers (balancing.md 5.9).
#include "runtime/steering/joins.hpp"
#include "runtime/steering/localities.hpp"
#include "runtime/steering/table.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include <arpa/inet.h>
#include <fmt/format.h>

namespace weir::steering {
namespace {

using names = std::vector<std::string>;

TEST(Localities, TheLongestNetworkNamesIt) {
  localities near;
  ASSERT_TRUE(near.add("campus", {"10.0.0.0/8", "2001:db8::/32"}));
  ASSERT_TRUE(near.add("hall-1", {"10.20.0.0/16", "10.21.7.9", "2001:db8:20::/48"}));
  ASSERT_TRUE(near.add("stage", {"10.20.4.0/22"}));
  for (auto [address, where] : std::vector<std::pair<std::string, std::string>>{{"10.1.2.3", "campus"},
                                                                              {"10.20.0.1", "hall-1"},
                                                                              {"10.20.7.255", "stage"},
                                                                              {"10.20.8.0", "hall-1"},
                                                                              {"10.21.7.9", "hall-1"},
                                                                              {"10.21.7.8", "campus"},
                                                                              {"::ffff:10.20.4.1", "stage"},
                                                                              {"2001:db8::1", "campus"},
                                                                              {"2001:db8:20:1::1", "hall-1"},
                                                                              {"11.0.0.1", ""},
                                                                              {"2001:db9::1", ""},
                                                                              {"", ""},
                                                                              {"10.20.0.0/16", ""},
                                                                              {"hall-1", ""}})
    EXPECT_EQ(near.of(address), where) << address;
}

TEST(Localities, AllOfOneFamilyIsNothingOfTheOther) {
  localities six, four;
  ASSERT_TRUE(six.add("six", {"::/0"}));
  ASSERT_TRUE(four.add("four", {"0.0.0.0/0"}));
  EXPECT_EQ(six.of("2001:db8::1"), "six");
  EXPECT_EQ(six.of("192.0.2.1"), "");
  EXPECT_EQ(four.of("192.0.2.1"), "four");
  EXPECT_EQ(four.of("2001:db8::1"), "");
}

TEST(Localities, RefuseWhatIsNoneWholly) {
  localities near;
  for (auto bad : {"10.0.0.1/8", "10.0.0.0/33", "hall", "", "::1/64"}) {
    auto added = near.add("hall-1", {"192.0.2.0/24", bad});
    ASSERT_FALSE(added) << bad;
    EXPECT_EQ(added.error().code, error_code::invalid_config);
  }
  EXPECT_EQ(near.add("../x", {"192.0.2.0/24"}).error().code, error_code::invalid_input);
  EXPECT_EQ(near.add("", {"192.0.2.0/24"}).error().code, error_code::invalid_input);
  EXPECT_EQ(near.add("hall-1", names(network_limit + 1, "192.0.2.0/24")).error().code, error_code::too_many);
  EXPECT_EQ(near.size(), 0U);
  EXPECT_EQ(near.of("192.0.2.1"), "");
  for (std::size_t i = 0; i < locality_limit; ++i)
    ASSERT_TRUE(near.add(fmt::format("hall-{}", i), {fmt::format("10.{}.0.0/16", i)}));
  EXPECT_EQ(near.add("one-more", {"192.0.2.0/24"}).error().code, error_code::too_many);
  EXPECT_TRUE(near.add("hall-3", {"192.0.2.0/24"})) << "a further network of one that is known";
  EXPECT_EQ(near.of("192.0.2.1"), "hall-3");
  EXPECT_TRUE(near.add("hall-4", {"192.0.2.0/24"}));
  EXPECT_EQ(near.of("192.0.2.1"), "hall-3") << "the first one keeps it";
}

/// As text, with `bits` random bits before zeros.
std::string network(std::mt19937_64& random, bool six, unsigned bits) {
  std::array<std::uint8_t, 16> bytes{};
  for (unsigned bit = 0; bit < bits; ++bit) // few different values: networks must often lie in each other
    bytes[bit / 8] |= static_cast<std::uint8_t>((random() % 4 == 0 ? 1U : 0U) << (7 - bit % 8));
  char text[64];
  inet_ntop(six ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text);
  return text;
}

TEST(Localities, AgreeWithTheSlowAndPlainWay) {
  std::mt19937_64 random(5);
  std::size_t held = 0;
  for (int round = 0; round < 60; ++round) {
    localities near;
    std::vector<std::pair<address_range, std::string>> all;
    for (std::size_t l = 0; l < 6; ++l) {
      names mine;
      for (int i = 0; i < 12; ++i) {
        bool six = random() % 2 != 0;
        auto bits = static_cast<unsigned>(random() % ((six ? 128 : 32) + 1));
        mine.push_back(fmt::format("{}/{}", network(random, six, bits), bits));
        all.emplace_back(parse_address_range(mine.back()).value(), fmt::format("l{}", l));
      }
      ASSERT_TRUE(near.add(fmt::format("l{}", l), mine));
    }
    for (int i = 0; i < 200; ++i) {
      bool six = random() % 2 != 0;
      auto address = network(random, six, six ? 128 : 32);
      auto as_range = parse_address_range(address).value(); // "::ffff:…" may be drawn, too: it is IPv4
      bool mapped = std::all_of(as_range.prefix.begin(), as_range.prefix.begin() + 10, [](auto b) { return b == 0; }) && as_range.prefix[10] == 0xff && as_range.prefix[11] == 0xff;
      std::string best;
      int longest = -1;
      for (auto& [range, name] : all)
        if (range.contains(address) && (!mapped || range.bits >= 96) && static_cast<int>(range.bits) > longest) {
          longest = static_cast<int>(range.bits);
          best = name;
        }
      EXPECT_EQ(near.of(address), best) << address;
      held += best.empty() ? 0 : 1;
    }
  }
  EXPECT_GT(held, 1000U);
}

/// Edges a to d for everybody, h1 to h3 of hall-1.
std::vector<edge_target> venue(bool only = false, std::size_t near = 3) {
  std::vector<edge_target> all;
  for (std::string name : {"a", "b", "c", "d"})
    all.push_back({.name = edge_name{name}, .url = "http://" + name, .weight_milli = 1000, .capacity_bps = 1'000'000'000});
  for (std::size_t i = 1; i <= near; ++i)
    all.push_back({.name = edge_name{fmt::format("h{}", i)}, .url = fmt::format("http://h{}", i), .weight_milli = 1000, .capacity_bps = 1'000'000'000, .locality = "hall-1", .networks_only = only});
  return all;
}

edge_target& named(std::vector<edge_target>& all, std::string_view name) { return *std::ranges::find(all, name, [](auto& e) { return std::string_view(e.name.value); }); }
std::vector<edge_target> without(std::vector<edge_target> all, std::string_view name) {
  std::erase_if(all, [&](auto& e) { return e.name.value == name; });
  return all;
}
std::string primary(const edge_table& t, std::uint32_t bucket, std::string_view locality) { return t.edges[place_of(t, bucket, locality)->primary].name.value; }
std::string backup(const edge_table& t, std::uint32_t bucket, std::string_view locality) { return t.edges[place_of(t, bucket, locality)->backup].name.value; }

TEST(Locality, ItsViewersAreSpreadOverItsEdges) {
  auto t = make_table(1, venue());
  ASSERT_TRUE(check(t));
  std::map<std::string, std::size_t> count;
  for (std::uint32_t b = 0; b < bucket_count; ++b) {
    ++count[primary(t, b, "hall-1")];
    EXPECT_EQ(backup(t, b, "hall-1").front(), 'h');
    EXPECT_NE(primary(t, b, "hall-1"), backup(t, b, "hall-1"));
    EXPECT_EQ(primary(t, b, ""), t.edges[t.primary[b]].name.value);
    EXPECT_EQ(primary(t, b, "nowhere"), t.edges[t.primary[b]].name.value) << "a locality without an edge is none";
    EXPECT_FALSE(place_of(t, b, "nowhere")->near);
    EXPECT_TRUE(place_of(t, b, "hall-1")->near);
  }
  ASSERT_EQ(count.size(), 3U);
  for (auto& [name, buckets] : count)
    EXPECT_NEAR(static_cast<double>(buckets), 1024 / 3.0, 1024 / 3.0 * 0.2) << name;
  EXPECT_FALSE(place_of(t, bucket_count, "hall-1"));
}

TEST(Locality, TwoDirectorsAgreeWhateverTheyHeardBefore) {
  auto first = make_table(1, venue()), second = make_table(2, without(venue(), "b"), &first);
  table_history old, fresh;
  ASSERT_TRUE(old.add(first));
  ASSERT_TRUE(old.add(second));
  ASSERT_TRUE(fresh.add(second));
  for (std::uint32_t b = 0; b < bucket_count; ++b)
    for (bool other : {false, true})
      EXPECT_EQ(old.base_url(2, b, other, "hall-1"), fresh.base_url(2, b, other, "hall-1"));
}

TEST(Locality, AnEdgeThatLeavesMovesItsOwnViewersToTheirBackup) {
  auto before = make_table(1, venue()), after = make_table(2, without(venue(), "h2"), &before);
  std::size_t moved = 0;
  for (std::uint32_t b = 0; b < bucket_count; ++b)
    if (primary(before, b, "hall-1") == "h2") {
      EXPECT_EQ(primary(after, b, "hall-1"), backup(before, b, "hall-1"));
      ++moved;
    } else {
      EXPECT_EQ(primary(after, b, "hall-1"), primary(before, b, "hall-1"));
    }
  EXPECT_GT(moved, 200U);
  EXPECT_GE(moved_places(before, after), moved);
  EXPECT_EQ(moved_places(before, before), 0U);
}

TEST(Locality, WithOneEdgeTheBackupIsElsewhereAndWithNoneAllIs) {
  auto one = make_table(1, venue(false, 1)), none = make_table(2, venue(false, 0), &one);
  for (std::uint32_t b = 0; b < bucket_count; ++b) {
    EXPECT_EQ(primary(one, b, "hall-1"), "h1");
    EXPECT_NE(backup(one, b, "hall-1"), "h1");
    EXPECT_EQ(primary(none, b, "hall-1"), primary(none, b, ""));
    EXPECT_NE(backup(none, b, "hall-1"), primary(none, b, "hall-1"));
  }
  EXPECT_EQ(moved_places(one, none), bucket_count);
  auto alone = make_table(1, {venue(false, 1).back()});
  EXPECT_EQ(backup(alone, 7, "hall-1"), "h1");
}

TEST(Locality, AnEdgeForItsNetworksOnlyGetsNobodyElse) {
  auto t = make_table(1, venue(true));
  ASSERT_TRUE(check(t));
  for (std::uint32_t b = 0; b < bucket_count; ++b) {
    EXPECT_NE(primary(t, b, "").front(), 'h');
    EXPECT_NE(backup(t, b, "").front(), 'h');
    EXPECT_EQ(primary(t, b, "hall-1").front(), 'h');
  }
  auto weightless = venue(true);
  for (auto& e : weightless)
    e.weight_milli = 0;
  EXPECT_TRUE(check(make_table(1, weightless)));
  auto public_one = t;
  public_one.primary[5] = 4;
  EXPECT_FALSE(check(public_one)) << "a table from outside that sends everybody there";

  std::vector<edge_target> inside(t.edges.begin() + 4, t.edges.end());
  auto closed = make_table(2, inside, &t);
  ASSERT_TRUE(check(closed));
  EXPECT_TRUE(closed.primary.empty());
  EXPECT_FALSE(place_of(closed, 3, ""));
  EXPECT_EQ(primary(closed, 3, "hall-1"), primary(t, 3, "hall-1"));
  auto again = make_table(3, t.edges, &closed);
  EXPECT_TRUE(check(again));
  EXPECT_NE(primary(again, 3, "").front(), 'h');
}

TEST(Locality, ATableThatDiffersOnlyInItIsAnother) {
  table_history history;
  ASSERT_TRUE(history.add(make_table(1, venue())));
  ASSERT_TRUE(history.add(make_table(1, venue()))) << "the same again";
  auto other = make_table(1, venue());
  other.edges[5].locality = "hall-2";
  EXPECT_FALSE(history.add(other));
  auto bad = make_table(2, venue());
  bad.edges[5].locality = "a/b";
  EXPECT_FALSE(history.add(bad));
  std::vector<edge_target> many;
  for (std::size_t i = 0; i <= locality_limit; ++i)
    many.push_back({.name = edge_name{fmt::format("e{}", i)}, .url = "http://e", .locality = fmt::format("l{}", i)});
  EXPECT_FALSE(check(make_table(1, many)));
  many.pop_back();
  EXPECT_TRUE(check(make_table(1, many)));
}

TEST(Locality, WeightsShiftItsViewersLittleByLittle) {
  auto lighter = venue(true);
  named(lighter, "h1").weight_milli = 800;
  auto before = make_table(1, venue(true)), after = make_table(2, lighter, &before);
  std::size_t moved = 0;
  for (std::uint32_t b = 0; b < bucket_count; ++b)
    if (primary(before, b, "hall-1") != primary(after, b, "hall-1")) {
      EXPECT_EQ(primary(before, b, "hall-1"), "h1");
      ++moved;
    }
  EXPECT_GT(moved, 10U);
  EXPECT_LT(moved, 150U);
  EXPECT_EQ(moved_buckets(before, after), 0U);
  EXPECT_EQ(moved_places(before, after), moved) << "the table of epoch 2 is worth making";
}

class LocalJoins : public ::testing::Test {
public:
  std::mt19937_64 random{11};
  join_admission admission{{.epsilon = 0.1, .draws = 4, .viewer_bps = 1'000'000, .settle_reports = 1, .full = 0.9}};
  std::shared_ptr<const edge_table> table;

  void use(std::vector<edge_target> edges) {
    table = std::make_shared<const edge_table>(make_table(table ? table->epoch + 1 : 1, std::move(edges), table.get()));
    admission.use(table);
  }
  std::map<std::string, int> arrive(int viewers, std::string_view locality) {
    std::map<std::string, int> count;
    for (int i = 0; i < viewers; ++i) {
      auto joined = admission.admit(random, locality).value();
      EXPECT_EQ(place_of(*table, joined.bucket, joined.near ? locality : "")->primary, joined.edge) << "what its addresses will say";
      ++count[table->edges[joined.edge].name.value];
    }
    return count;
  }
};

TEST_F(LocalJoins, AreSpreadEvenlyOverTheEdgesNearby) {
  use(venue());
  auto count = arrive(600, "hall-1");
  ASSERT_EQ(count.size(), 3U);
  for (auto& [name, viewers] : count)
    EXPECT_NEAR(viewers, 200, 25) << name;
  EXPECT_EQ(admission.by_locality().at("hall-1").near, 600U);
  EXPECT_EQ(admission.admitted().at("h1"), static_cast<std::uint64_t>(count["h1"])) << "each viewer counts once";
}

TEST_F(LocalJoins, GoElsewhereWhenTheEdgesNearbyAreFull) {
  use(venue(true, 1));
  auto count = arrive(1500, "hall-1");
  EXPECT_EQ(count["h1"], 900) << "nine tenths of its capacity";
  EXPECT_EQ(count["a"] + count["b"] + count["c"] + count["d"], 600);
  auto seen = admission.by_locality().at("hall-1");
  EXPECT_EQ(seen.near, 900U);
  EXPECT_EQ(seen.elsewhere, 600U);
  admission.report(edge_name{"h1"}, 1, 100'000'000);
  EXPECT_EQ(arrive(50, "hall-1")["h1"], 50) << "and come back when there is room";
}

TEST_F(LocalJoins, GoElsewhereWhileTheEdgesNearbyAreClosed) {
  use(venue(true, 2));
  admission.close(edge_name{"h1"}, true);
  EXPECT_EQ(arrive(40, "hall-1")["h2"], 40);
  admission.close(edge_name{"h2"}, true);
  auto count = arrive(40, "hall-1");
  EXPECT_EQ(count["h1"] + count["h2"], 0);
  admission.close(edge_name{"h1"}, false);
  EXPECT_EQ(arrive(40, "hall-1")["h1"], 40);
}

TEST_F(LocalJoins, OfNobodyElseReachAnEdgeForItsNetworksOnly) {
  use(venue(true));
  auto inside = [](const std::map<std::string, int>& count) { return std::ranges::any_of(count, [](auto& c) { return c.first.starts_with('h'); }); };
  EXPECT_FALSE(inside(arrive(3000, "")));
  admission.counters_lost(true);
  admission.report(edge_name{"h1"}, 5, 900'000'000);
  auto count = arrive(300, "");
  EXPECT_FALSE(inside(count));
  EXPECT_EQ(count.size(), 4U);
}

TEST_F(LocalJoins, RoomThatOnlyANetworkHasIsNoRoomForOthers) {
  use(venue(true));
  arrive(4000, "");
  auto refused = admission.admit(random);
  for (int i = 0; refused && i < 10; ++i)
    refused = admission.admit(random);
  ASSERT_FALSE(refused) << "four edges of a gigabit each, whatever h1 to h3 could still send";
  EXPECT_EQ(refused.error().code, error_code::too_many);
  EXPECT_TRUE(admission.admit(random, "hall-1").value().near);
  use({venue(true).back()});
  EXPECT_EQ(admission.admit(random).error().code, error_code::unavailable);
  admission.close(table->edges.back().name, true);
  EXPECT_TRUE(admission.admit(random, "hall-1").value().near) << "a viewer on a suspect edge is better than one that is turned away";
  EXPECT_TRUE(admission.admit(random, "hall-1").value().near);
}

} // namespace
} // namespace weir::steering
