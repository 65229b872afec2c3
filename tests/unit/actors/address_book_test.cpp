#include "actors/address_book.hpp"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class AddressBook : public ::testing::Test {
protected:
  address_book book;
  edge_set edges;
  edge_set::time_point t{std::chrono::hours(1)};

  static shared_address address_of(int n) { return {.address = fmt::format("10.0.0.{}/24", n), .network = {}, .service = "http:8081"}; }
  static address_word word(const std::string& name, int n, bool holds = true) {
    return {.edge = edge_name{name}, .address = address_of(n), .holds = holds, .wants = !holds, .able = true, .trouble = holds ? "" : "02:00 has it", .answers_for = {},
            .unlisted = {}, .steps = {}};
  }
  void add(const std::string& name) { edges.add({.name = edge_name{name}, .node = {}, .url = "http://" + name}, t); }
  std::optional<edge_neighbour> told(const std::string& name) const {
    for (auto& n : book.neighbours(edges, t))
      if (n.edge.value == name)
        return n;
    return std::nullopt;
  }
  edge_status shown(const std::string& name) const {
    auto all = edges.statuses();
    book.decorate(all, t);
    auto found = std::ranges::find(all, edge_name{name}, [](auto& s) { return s.spec.name; });
    return found == all.end() ? edge_status{} : *found;
  }
};

TEST_F(AddressBook, TellsWhoWantsItsAddressWhileThatIsHeard) {
  add("a");
  book.take(word("a", 5), t);
  ASSERT_TRUE(told("a"));
  EXPECT_EQ(told("a")->address, address_of(5));
  EXPECT_EQ(told("a")->phase, edge_phase::starting);
  EXPECT_FALSE(told("a")->wants);
  EXPECT_TRUE(told("a")->able);
  EXPECT_EQ(shown("a").address, "10.0.0.5/24");
  EXPECT_EQ(shown("a").address_trouble, "");
  book.take(word("a", 5, false), t);
  EXPECT_TRUE(told("a")->wants);
  EXPECT_EQ(shown("a").address_trouble, "02:00 has it");
  t += 4s;
  EXPECT_FALSE(told("a")->wants) << "who is silent wants nothing";
  EXPECT_FALSE(told("a")->able) << "and can do nothing";
  EXPECT_EQ(shown("a").address_trouble, "nothing is heard of its address");
}

TEST_F(AddressBook, TellsWhoAnswersForWhom) {
  add("a");
  add("b");
  book.take(word("a", 5), t);
  auto heir = word("b", 6);
  heir.answers_for = {{edge_name{"a"}, address_of(5)}};
  book.take(heir, t);
  EXPECT_EQ(told("a")->held_by, edge_name{"b"});
  EXPECT_EQ(shown("b").answers_for, std::vector{edge_name{"a"}});
  t += 4s;
  EXPECT_EQ(told("a")->held_by, edge_name{});
  EXPECT_TRUE(shown("b").answers_for.empty());
}

TEST_F(AddressBook, LearnsOfAnEdgeThatDiedBeforeItsTimeFromWhoAnswersForIt) {
  add("b");
  auto heir = word("b", 6);
  heir.answers_for = {{edge_name{"a"}, address_of(5)}};
  book.take(heir, t);
  ASSERT_TRUE(told("a")) << "the coordinator was started anew";
  EXPECT_EQ(told("a")->phase, edge_phase::dead);
  EXPECT_EQ(told("a")->address, address_of(5));
  book.forget(edge_name{"a"}, t);
  t += 1s;
  book.take(heir, t);
  EXPECT_FALSE(told("a")) << "it was removed by hand: its heir gives the address back";
  book.take(word("a", 5), t);
  EXPECT_TRUE(told("a")) << "it has come back after all";
}

TEST_F(AddressBook, LearnsOfAnEdgeThatDiedBeforeItsTimeFromWhoWasToldOfIt) {
  auto other = word("b", 6);
  other.unlisted = {{edge_name{"a"}, address_of(5)}, {edge_name{"c"}, {.address = "nonsense", .network = {}, .service = {}}}};
  book.take(other, t);
  ASSERT_TRUE(told("a"));
  EXPECT_EQ(told("a")->phase, edge_phase::dead);
  EXPECT_EQ(told("a")->address, address_of(5));
  EXPECT_FALSE(told("c"));
  other.unlisted[0].address = address_of(7);
  book.take(other, t);
  EXPECT_EQ(told("a")->address, address_of(5)) << "what it knows already is not changed by others";
  book.forget(edge_name{"a"}, t);
  t += 31s;
  book.take(other, t);
  EXPECT_FALSE(told("a")) << "it is no more";
}

TEST_F(AddressBook, TakesAnEdgeOfTheRunBeforeForDeadThatIsNotHeard) {
  add("a"); // as of the last table: nobody has judged it yet
  add("b");
  auto other = word("b", 6);
  other.unlisted = {{edge_name{"a"}, address_of(5)}};
  book.take(other, t);
  EXPECT_EQ(told("a")->phase, edge_phase::starting);
  t += 9s;
  book.take(other, t);
  EXPECT_EQ(told("a")->phase, edge_phase::starting) << "it may still be on its way to us";
  t += 1s;
  book.take(other, t);
  EXPECT_EQ(told("a")->phase, edge_phase::dead);
  EXPECT_EQ(told("b")->phase, edge_phase::starting) << "that is heard";
  book.take(word("a", 5), t);
  EXPECT_EQ(told("a")->phase, edge_phase::starting);
}

TEST_F(AddressBook, HearsOfEachStepOnce) {
  auto says = word("a", 5);
  says.steps = {{7, "address-held", "It answers."}, {8, "address-in-use", std::string(1000, 'x')}};
  auto fresh = book.take(says, t);
  ASSERT_EQ(fresh.size(), 2u);
  EXPECT_LE(fresh[1].text.size(), 300u);
  EXPECT_EQ(book.steps_of(edge_name{"a"}), 8u);
  EXPECT_TRUE(book.take(says, t).empty()) << "the answer was lost";
  says.steps.push_back({9, "address-held", "It answers."});
  EXPECT_EQ(book.take(says, t).size(), 1u);
}

TEST_F(AddressBook, TakesNoWordOfAnEdgeWithoutAnAddress) {
  book.take({.edge = edge_name{"a"}, .address = {}, .trouble = {}, .answers_for = {}, .unlisted = {}, .steps = {}}, t);
  EXPECT_TRUE(book.neighbours(edges, t).empty());
}

} // namespace
} // namespace weir::testing
