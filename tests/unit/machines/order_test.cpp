#include "runtime/machines/order.hpp"

#include <gtest/gtest.h>

namespace weir::machines {
namespace {

std::string refusal(order_kind kind, std::string_view text) {
  auto said = parse_answer(kind, text);
  return said ? "" : said.error().text;
}

TEST(Order, IsOneLineOfJson) {
  order o{order_kind::begin, "live-edge-abcdefgh", "live", "live-edge-"};
  EXPECT_EQ(to_json(o), R"({"order":"begin","machine":"live-edge-abcdefgh","cluster":"live","prefix":"live-edge-"})");
  EXPECT_EQ(key_of(o), "begin live-edge-abcdefgh");
  EXPECT_EQ(to_json({order_kind::list, {}, "live", "live-edge-"}), R"({"order":"list","cluster":"live","prefix":"live-edge-"})");
}

TEST(Order, GivesNamesThatAreHostNamesAndKnowsThemAgain) {
  auto prefix = prefix_of("My.Cluster_1");
  EXPECT_EQ(prefix, "my-cluster-1-edge-");
  auto name = make_name(prefix);
  EXPECT_TRUE(is_name(prefix, name)) << name;
  EXPECT_NE(name, make_name(prefix));
  EXPECT_LE(make_name(prefix_of(std::string(200, 'x'))).size(), 63u) << "a label of DNS";
  EXPECT_FALSE(is_name(prefix, prefix));
  EXPECT_FALSE(is_name(prefix, name + "a"));
  EXPECT_FALSE(is_name(prefix, prefix + "databases2")) << "what people call them";
  auto other = name;
  other.back() = other.back() == 'a' ? 'b' : 'a';
  EXPECT_FALSE(is_name(prefix, other));
  // The machines of a cluster whose name begins as that of another one are not the other one's.
  EXPECT_FALSE(is_name(prefix_of("live"), make_name(prefix_of("live-edge"))));
}

TEST(Answer, IsAcceptedOrRefusedWithItsReason) {
  EXPECT_TRUE(parse_answer(order_kind::begin, " {\"accepted\": true, \"address\": [1, {\"more\": null}]}\n"));
  auto said = parse_answer(order_kind::end, R"({"accepted":false,"reason":"the quota is\nused up"})");
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, error_code::unavailable);
  EXPECT_EQ(said.error().text, "refused: the quota is used up") << "one line";
  EXPECT_EQ(refusal(order_kind::begin, R"({"accepted":false})"), "refused without a reason");
  EXPECT_EQ(refusal(order_kind::list, R"({"accepted":false,"reason":"later"})"), "refused: later");
  EXPECT_LT(refusal(order_kind::begin, R"({"accepted":false,"reason":")" + std::string(5000, 'x') + "\"}").size(), 400u);
}

TEST(Answer, OfAListIsSortedAndWithoutRepeats) {
  auto said = parse_answer(order_kind::list, R"({"machines":["b","a","b"]})");
  ASSERT_TRUE(said) << said.error().text;
  EXPECT_EQ(said->machines, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(parse_answer(order_kind::list, R"({"machines":[]})")->machines.empty());
}

TEST(Answer, IsRefusedWhereItIsNotAsAgreed) {
  EXPECT_EQ(refusal(order_kind::begin, " \n"), "the answer is empty: one JSON object is expected");
  for (auto* text : {"ok", "[]", "null", "true", "{\"accepted\":true} {}", "{\"accepted\":tru", "\xff\xfe{}"})
    EXPECT_EQ(refusal(order_kind::begin, text), "the answer is not one JSON object") << text;
  for (auto* text : {"{}", R"({"accepted":"true"})", R"({"accepted":1})", R"({"machines":[]})"})
    EXPECT_EQ(refusal(order_kind::end, text), "the answer says neither \"accepted\": true nor false") << text;
  for (auto* text : {"{}", R"({"machines":{}})", R"({"machines":"a"})", R"({"accepted":true})"})
    EXPECT_EQ(refusal(order_kind::list, text), "the answer has no list \"machines\"") << text;
  for (auto* text : {R"({"machines":[1]})", R"({"machines":[""]})", R"({"machines":[["a"]]})"})
    EXPECT_EQ(refusal(order_kind::list, text), "the answer lists as a machine what is no name of 1 to 253 bytes") << text;
  EXPECT_EQ(refusal(order_kind::begin, "{\"a\":" + std::string(20, '[') + std::string(20, ']') + "}"), "the answer is nested deeper than 8");
  auto flood = parse_answer(order_kind::list, std::string(answer_limit + 1, ' '));
  ASSERT_FALSE(flood);
  EXPECT_EQ(flood.error().code, error_code::too_large);
  std::string many = R"({"machines":["x")";
  for (std::size_t i = 0; i < machines_limit; ++i)
    many += ",\"x\"";
  EXPECT_NE(refusal(order_kind::list, many + "]}").find("lists 1001 machines"), std::string::npos);
}

} // namespace
} // namespace weir::machines
