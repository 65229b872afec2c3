// What ADDRESS KEEPER's state tells; tests/integration/network has what it does.
#include "actors/address_keeper.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

class AddressKeeperWords : public ::testing::Test {
protected:
  address_keeper_state keeper;
  caf::actor_clock::time_point t{std::chrono::hours(1)};

  void SetUp() override {
    keeper.setup = {.edge = edge_name{"a"}, .address = address_of(5), .interface = nullptr, .file = "/that/is/not/there"};
    ASSERT_TRUE(keeper.prepare(t, timestamp{1000s}));
  }
  static shared_address address_of(int n) { return {.address = fmt::format("10.0.0.{}/24", n), .network = {}, .service = "http:8081"}; }
  static edge_neighbour neighbour(const std::string& name, int n) {
    return {.edge = edge_name{name}, .address = address_of(n), .phase = edge_phase::serving, .wants = false, .able = true, .held_by = {}};
  }
  std::vector<std::uint64_t> numbers() const {
    std::vector<std::uint64_t> all;
    for (auto& step : keeper.word().steps)
      all.push_back(step.number);
    return all;
  }
};

TEST_F(AddressKeeperWords, AreHeardWhenTheClockWasSetBackOverARestart) {
  keeper.untold = {{++keeper.steps, "address-held", "It answers."}, {++keeper.steps, "address-in-use", "It does not."}};
  ASSERT_EQ(numbers(), (std::vector<std::uint64_t>{1'000'001, 1'000'002}));
  keeper.take({.edges = {}, .steps = 5'000'007}, t);
  EXPECT_EQ(numbers(), (std::vector<std::uint64_t>{5'000'008, 5'000'009})) << "by which the coordinator takes them for new";
  keeper.take({.edges = {}, .steps = 5'000'008}, t);
  EXPECT_EQ(numbers(), std::vector<std::uint64_t>{5'000'009});
  keeper.take({.edges = {}, .steps = 5'000'009}, t);
  EXPECT_TRUE(numbers().empty());
}

TEST_F(AddressKeeperWords, NameWhoIsMissingInTheList) {
  keeper.take({.edges = {neighbour("a", 5), neighbour("b", 6)}, .steps = 0}, t);
  EXPECT_TRUE(keeper.word().unlisted.empty());
  keeper.take({.edges = {neighbour("a", 5)}, .steps = 0}, t + 1s);
  const auto word = keeper.word();
  ASSERT_EQ(word.unlisted.size(), 1u);
  EXPECT_EQ(word.unlisted[0].of, edge_name{"b"});
  EXPECT_EQ(word.unlisted[0].address, address_of(6));
}

} // namespace
} // namespace weir::testing
