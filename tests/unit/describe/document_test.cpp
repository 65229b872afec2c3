#include "runtime/describe/document.hpp"

#include <gtest/gtest.h>

namespace weir::describe {
namespace {

std::string yaml_problems(std::string_view text, const limits& allowed = {}) {
  problems found;
  parse_yaml(text, "a.yaml", found, allowed);
  std::string out;
  for (auto& p : found)
    out += to_string(p) + "\n";
  return out;
}

std::string json_problems(std::string_view text, const limits& allowed = {}) {
  problems found;
  parse_json(text, "a.json", found, allowed);
  std::string out;
  for (auto& p : found)
    out += to_string(p) + "\n";
  return out;
}

TEST(Document, KnowsWhereEachKeyAndValueStands) {
  problems found;
  auto root = parse_yaml("log:\n  level: info\nroles: [all, \"edge\"]\nempty:\n", "a.yaml", found);
  ASSERT_TRUE(found.empty());
  EXPECT_EQ(to_string(root.find("log")->find("level")->at), "a.yaml:2:10");
  EXPECT_EQ(to_string(root.find("log")->members[0].at), "a.yaml:2:3");
  EXPECT_EQ(to_string(root.find("roles")->items[1].at), "a.yaml:3:14");
  EXPECT_EQ(root.find("roles")->items[0].is, value::kind::plain);
  EXPECT_EQ(root.find("roles")->items[1].is, value::kind::quoted);
  EXPECT_EQ(root.find("empty")->is, value::kind::null);
}

TEST(Document, JsonValuesHavePlacesToo) {
  problems found;
  auto root = parse_json("{\n  \"a\": [1, \"x,\\\"y\"],\n  \"b\": {\"c\": -2.5e3}\n}", "a.json", found);
  ASSERT_TRUE(found.empty());
  EXPECT_EQ(to_string(root.find("a")->items[0].at), "a.json:2:9");
  EXPECT_EQ(to_string(root.find("a")->items[1].at), "a.json:2:12");
  EXPECT_EQ(root.find("a")->items[1].text, "x,\"y");
  EXPECT_EQ(to_string(root.find("b")->members[0].at), "a.json:3:9");
  EXPECT_EQ(to_string(root.find("b")->find("c")->at), "a.json:3:14");
  EXPECT_EQ(root.find("b")->find("c")->text, "-2.5e3");
}

TEST(Document, AnEmptyYamlTextIsAnEmptyMap) {
  EXPECT_EQ(yaml_problems(""), "");
  EXPECT_EQ(yaml_problems("# only a comment\n"), "");
  EXPECT_EQ(yaml_problems("---\na: 1\n"), "");
  EXPECT_EQ(yaml_problems("\xef\xbb\xbf"
                          "a: 1\n"),
            "");
}

TEST(Document, RefusesDuplicateKeysAndReadsOn) {
  EXPECT_EQ(yaml_problems("a: 1\nb:\n  c: 1\n  c: 2\na: 2\n"),
            "a.yaml:4:3: b: the key \"c\" was already used in line 3\n"
            "a.yaml:5:1: the key \"a\" was already used in line 1\n");
  EXPECT_EQ(json_problems(R"({"a": 1, "b": [{"c": 1, "c": 2}]})"), "a.json:1:25: b[0]: the key \"c\" was already used in line 1\n");
}

TEST(Document, RefusesAnchorsAliasesMergeKeysAndTags) {
  EXPECT_EQ(yaml_problems("a: &x {b: 1}\nc: *x\nd:\n  <<: 1\ne: !!str 5\n"),
            "a.yaml:1:4: a: anchors (&name) are not allowed\n"
            "a.yaml:2:4: c: aliases (*name) are not allowed: write the value again\n"
            "a.yaml:4:3: d: merge keys (<<) are not allowed: write the values again\n"
            "a.yaml:5:4: e: tags (here tag:yaml.org,2002:str) are not allowed\n");
}

TEST(Document, ACycleOfAliasesEndsAtTheFirst) {
  auto found = yaml_problems("a: &a [*a]\n");
  EXPECT_NE(found.find("anchors"), std::string::npos);
  EXPECT_NE(found.find("aliases"), std::string::npos);
}

TEST(Document, RefusesASecondDocument) { EXPECT_EQ(yaml_problems("a: 1\n---\nb: 1\n"), "a.yaml:2:1: a second document starts here; one file holds one\n"); }

TEST(Document, ReportsEachLineIndentedWithATab) {
  EXPECT_EQ(yaml_problems("a:\n\tb: 1\n \tc: 2\n"), "a.yaml:2:1: the line is indented with a tab; YAML wants spaces\n"
                                                     "a.yaml:3:2: the line is indented with a tab; YAML wants spaces\n");
}

TEST(Document, ReportsBytesThatAreNoText) {
  EXPECT_EQ(yaml_problems("a: 1\nb: \xc3\x28\n"), "a.yaml:2:4: the byte 0xc3 is not UTF-8\n");
  EXPECT_EQ(yaml_problems(std::string_view("a: \0", 4)), "a.yaml:1:4: the control character 0x00 is not allowed\n");
  EXPECT_EQ(json_problems("{\"a\": \"\xed\xa0\x80\"}"), "a.json:1:8: the byte 0xed is not UTF-8\n");
}

TEST(Document, HasLimits) {
  EXPECT_EQ(yaml_problems("a: [[[1]]]", {.depth = 3}), "a.yaml:1:6: a[0]: is nested more than 3 levels deep\n");
  EXPECT_EQ(json_problems("[[[1]]]", {.depth = 2}), "a.json:1:3: [0]: is nested more than 2 levels deep\n");
  EXPECT_EQ(yaml_problems("abcdef", {.bytes = 5}), "a.yaml:1:1: the text has 6 bytes, more than the 5 that are allowed\n");
  EXPECT_EQ(json_problems("[1,2,3]", {.nodes = 3}), "a.json:1:6: [1]: there are more than 3 values\n");
  EXPECT_NE(yaml_problems(std::string(100'000, '[')), "");
  EXPECT_NE(json_problems(std::string(100'000, '[')), "");
}

TEST(Document, SaysWhereYamlBreaks) { EXPECT_EQ(yaml_problems("a: [1, 2\nb: 3\n").substr(0, 11), "a.yaml:2:2:"); }

TEST(Document, SaysWhereJsonBreaks) {
  EXPECT_EQ(json_problems("{\"a\": 1,}"), "a.json:1:9: is not JSON: syntax error while parsing object key - unexpected '}'; expected string literal\n");
  EXPECT_EQ(json_problems("{} x").substr(0, 25), "a.json:1:4: is not JSON: ");
  EXPECT_NE(json_problems("{\"a\": NaN}"), "");
  EXPECT_NE(json_problems(""), "");
}

TEST(Document, PointersEscapeWhatThePathHolds) {
  problems found;
  parse_json(R"({"a/b~c": [1, {"x": 1, "x": 2}]})", "", found);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].pointer, "/a~1b~0c/1");
  EXPECT_EQ(found[0].path, "a/b~c[1]");
}

} // namespace
} // namespace weir::describe
