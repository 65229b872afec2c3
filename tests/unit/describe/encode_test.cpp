#include "runtime/describe/encode.hpp"

#include "runtime/describe/decode.hpp"
#include "runtime/describe/reference.hpp"
#include "runtime/describe/schema.hpp"
#include "schemas/config.hpp"
#include "schemas/stream.hpp"
#include "schemas/task.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <rapidcheck.h>

namespace weir::describe {
namespace {

enum class mood : std::uint8_t { calm, wild };
constexpr auto enum_names(mood) { return std::array{std::pair{mood::calm, std::string_view("calm")}, std::pair{mood::wild, std::string_view("wild")}}; }

struct inner {
  std::string name = "x";
  std::int64_t count = 0;
  static constexpr auto fields() {
    using o = inner;
    return std::tuple{field("name", &o::name, {1, 40}, "Name of the part."), field("count", &o::count, {-10, 10}, "How many.", needs_restart)};
  }
};

struct outer {
  bool on = true;
  std::uint64_t big = 0;
  std::string text;
  std::string token;
  bit_rate rate{2'500'000};
  byte_size size{1 << 20};
  std::chrono::milliseconds every = std::chrono::seconds(2);
  timestamp at{};
  mood how = mood::wild;
  std::vector<std::string> words;
  std::vector<inner> parts;
  std::optional<std::uint32_t> maybe;
  std::map<std::string, std::string> labels;
  inner one;
  static constexpr auto fields() {
    using o = outer;
    using namespace std::chrono_literals;
    return std::tuple{
      field("on", &o::on, "Switch."),
      field("big", &o::big, "Big."),
      field("text", &o::text, "Text.", cosmetic),
      field("token", &o::token, {0, 100}, "Token.", secret),
      field("rate", &o::rate, "Rate."),
      field("size", &o::size, "Size."),
      field("every", &o::every, {0ms, 24h}, "Time from one to the next."),
      field("at", &o::at, "When."),
      field("how", &o::how, "Mood."),
      field("words", &o::words, "Words."),
      field("parts", &o::parts, {0, 5}, "Parts."),
      field("maybe", &o::maybe, "Perhaps."),
      field("labels", &o::labels, "Labels.", cosmetic),
      field("one", &o::one, "One part."),
    };
  }
};

TEST(Encode, WritesEveryKindAsPeopleWriteIt) {
  outer x;
  x.big = 18446744073709551615u;
  x.token = "hush";
  x.at = *parse_rfc3339("2026-11-22T10:00:00.5Z");
  x.labels["a"] = "b";
  x.parts.resize(1);
  EXPECT_EQ(to_json(x), R"({"on":true,"big":18446744073709551615,"text":"","token":"***","rate":"2.5M","size":"1MiB","every":"2s","at":"2026-11-22T10:00:00.500Z",)"
                        R"("how":"wild","words":[],"parts":[{"name":"x","count":0}],"maybe":null,"labels":{"a":"b"},"one":{"name":"x","count":0}})");
  EXPECT_NE(to_json(x, {.secrets = true}).find("hush"), std::string::npos);
  EXPECT_NE(to_json(outer{}).find(R"("at":null)"), std::string::npos) << "never is null, not 1970";
  EXPECT_NE(to_json(outer{}).find(R"("token":"")"), std::string::npos) << "no secret is shown as none";
}

TEST(Encode, MendsTextThatIsNotUtf8) {
  outer x;
  x.text = "a\xff"
           "b";
  x.labels["\xc3\x28"] = "\xed\xa0\x80";
  auto parsed = nlohmann::json::parse(to_json(x), nullptr, false);
  ASSERT_FALSE(parsed.is_discarded());
  EXPECT_EQ(parsed["text"], "a\xef\xbf\xbd"
                            "b");
}

TEST(Encode, EmbedsTheOptionsOfATask) {
  task_spec task;
  task.options = R"({"target":"rtmp://a","n":[1,2.5,true,null]})";
  EXPECT_EQ(encode(task)["options"].dump(), task.options);
  task.options = "not json";
  EXPECT_EQ(encode(task)["options"], "not json");
}

TEST(Encode, YamlIsWhatAPersonWouldWrite) {
  outer x;
  x.text = "yes";
  x.words = {"a b", "1e3", "127.0.0.1:80"};
  x.parts = {{"x", 1}, {"null", 2}};
  EXPECT_EQ(to_yaml(x), R"("on": true
big: 0
text: "yes"
token: ""
rate: 2.5M
size: 1MiB
every: 2s
at: null
how: wild
words: ["a b", "1e3", "127.0.0.1:80"]
parts:
  - name: x
    count: 1
  - name: "null"
    count: 2
maybe: null
labels: {}
one:
  name: x
  count: 0
)");
}

template <class T>
rc::Gen<T> in(T low, T high) {
  return rc::gen::inRange<T>(low, high);
}

// Printable and awkward alike, but UTF-8: anything else is mended on the way out and so not the same.
rc::Gen<std::string> any_text(std::size_t longest) {
  return rc::gen::map(rc::gen::container<std::vector<std::string>>(rc::gen::element<std::string>("a", "Z", "0", "1", ":", " ", "#", "\n", "\"", "\\", "-", "~", "yes", "null", "é", "漢",
                                                                                                 "\t", "{", "&", "*", "'", "%", "@", ".", "e", "_", "+", "\x1b", "\r", "\xc2\x85", "\xe2\x80\xa8")),
                      [longest](const std::vector<std::string>& parts) {
                        std::string out;
                        for (auto& p : parts)
                          if (out.size() + p.size() <= longest)
                            out += p;
                        return out;
                      });
}

outer any_outer() {
  outer x;
  x.on = *rc::gen::arbitrary<bool>();
  x.big = *rc::gen::arbitrary<std::uint64_t>();
  x.text = *any_text(60);
  x.token = *rc::gen::map(any_text(60), [](std::string t) { return t == "***" ? std::string() : t; });
  x.rate.bits_per_second = *in<std::int64_t>(0, 1'000'000'000'000);
  x.size.bytes = *in<std::int64_t>(0, 1'000'000'000'000);
  x.every = std::chrono::milliseconds(*in<std::int64_t>(0, 86'400'000));
  x.at = timestamp(std::chrono::milliseconds(*in<std::int64_t>(1, 4'000'000'000'000)));
  x.how = *rc::gen::element(mood::calm, mood::wild);
  x.words = *rc::gen::container<std::vector<std::string>>(any_text(20));
  for (auto n = *in(0, 4); n > 0; --n)
    x.parts.push_back({"p" + *any_text(20), *in<std::int64_t>(-10, 11)});
  if (*rc::gen::arbitrary<bool>())
    x.maybe = *rc::gen::arbitrary<std::uint32_t>();
  for (auto n = *in(0, 3); n > 0; --n)
    x.labels["k" + *any_text(10)] = *any_text(10);
  return x;
}

TEST(Encode, DecodingJsonGivesTheSameBack) {
  EXPECT_TRUE(rc::check([] {
    auto x = any_outer();
    auto text = to_json(x, {.secrets = true});
    // U+001B and its like are escaped in JSON, so they pass.
    auto back = from_json<outer>(text);
    RC_ASSERT(back.has_value());
    RC_ASSERT(to_json(*back, {.secrets = true}) == text);
  }));
}

TEST(Encode, DecodingYamlGivesTheSameBack) {
  EXPECT_TRUE(rc::check([] {
    auto x = any_outer();
    problems found;
    outer back;
    auto yaml = to_yaml(x, {.secrets = true});
    bool good = decode(parse_yaml(yaml, "", found), back, found);
    for (auto& p : found)
      RC_LOG() << to_string(p) << " in\n" << yaml << "\n";
    RC_ASSERT(good);
    RC_ASSERT(to_json(back, {.secrets = true}) == to_json(x, {.secrets = true}));
  }));
}

TEST(ChangedFields, TellCosmeticChangesFromOthers) {
  stream_spec before, after;
  after.title = "Opening";
  after.comment = "moved";
  auto changes = changed_fields(before, after);
  ASSERT_EQ(changes.size(), 2u);
  EXPECT_EQ(changes[0].path, "title");
  EXPECT_TRUE(only_cosmetic(changes));
  after.key = "other";
  changes = changed_fields(before, after);
  EXPECT_FALSE(only_cosmetic(changes));
  EXPECT_TRUE(only_cosmetic({}));

  node_config old, now;
  now.http.listen = "127.0.0.1:9000";
  now.worker.niceness = 3;
  auto what = changed_fields(old, now);
  ASSERT_EQ(what.size(), 2u);
  EXPECT_EQ(what[0].path, "http.listen");
  EXPECT_TRUE(has(what[0].flags, needs_restart));
  EXPECT_FALSE(has(what[1].flags, needs_restart));
}

TEST(Schema, SaysWhatTheDecoderWants) {
  auto schema = schema_of<outer>();
  auto& properties = schema["properties"];
  EXPECT_EQ(schema["additionalProperties"], false);
  EXPECT_EQ(properties["token"]["writeOnly"], true);
  EXPECT_FALSE(properties["token"].contains("default"));
  EXPECT_EQ(properties["every"]["default"], "2s");
  EXPECT_EQ(properties["every"]["description"], "Time from one to the next. (0s..1d)");
  EXPECT_EQ(properties["how"]["enum"].dump(), R"(["calm","wild"])");
  EXPECT_EQ(properties["parts"]["maxItems"], 5);
  EXPECT_EQ(properties["parts"]["items"]["properties"]["count"]["minimum"], -10);
  EXPECT_EQ(properties["big"]["maximum"], 18446744073709551615u);
  EXPECT_EQ(schema_of<task_spec>()["required"].dump(), R"(["type"])");
  EXPECT_EQ(schema_of<task_spec>()["properties"]["options"]["type"], "object");
}

TEST(Reference, IsAYamlThatDecodesToTheDefaults) {
  problems found;
  outer back;
  EXPECT_TRUE(decode(parse_yaml(reference_yaml<outer>(), "r.yaml", found), back, found)) << reference_yaml<outer>();
  EXPECT_EQ(to_json(back), to_json(outer{}));
}

TEST(Reference, ShowsSentenceAllowanceDefaultAndASampleEntry) {
  auto text = reference_yaml<outer>();
  EXPECT_NE(text.find("\n# Token. [text, up to 100 bytes; secret; or token_file: PATH]\ntoken: \"\"\n"), std::string::npos) << text;
  EXPECT_NE(text.find("parts: []\n# parts: # an entry looks like this\n#     # Name of the part. [text, 1 to 40 bytes]\n#   - name: x\n"
                      "#     # How many. [-10..10; needs a restart]\n#     count: 0\n"),
            std::string::npos)
    << text;
}

TEST(Reference, ItsSampleEntryDecodesOnceTheMarksAreGone) {
  std::string text, line;
  std::istringstream in(reference_yaml<outer>());
  bool sample = false;
  while (std::getline(in, line)) {
    sample = sample || line.starts_with("# parts:");
    if (sample && line.empty())
      break;
    if (sample)
      text += line.substr(2) + "\n";
  }
  problems found;
  outer back;
  EXPECT_TRUE(decode(parse_yaml(text, "r.yaml", found), back, found)) << text;
  EXPECT_EQ(back.parts.size(), 1u);
}

} // namespace
} // namespace weir::describe
