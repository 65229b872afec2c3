#include "runtime/describe/decode.hpp"

#include "schemas/config.hpp"
#include "schemas/stream.hpp"
#include "schemas/task.hpp"

#include <gtest/gtest.h>

namespace weir::describe {
namespace {

enum class colour : std::uint8_t { red, green };
constexpr auto enum_names(colour) { return std::array{std::pair{colour::red, std::string_view("red")}, std::pair{colour::green, std::string_view("green")}}; }

struct part {
  std::string name;
  std::uint16_t port = 80;
  static constexpr auto fields() {
    using o = part;
    return std::tuple{field("name", &o::name, {1, 8}, "Name."), field("port", &o::port, "Port.")};
  }
  std::vector<complaint> check() const { return name == "bad" ? std::vector<complaint>{{"name", "\"bad\" is taken"}} : std::vector<complaint>{}; }
};

struct everything {
  bool on = false;
  std::int64_t count = 0;
  std::uint64_t big = 0;
  std::uint32_t height = 180;
  std::string text;
  std::string password;
  bit_rate rate{1'000'000};
  byte_size size{1024};
  std::chrono::milliseconds every = std::chrono::seconds(10);
  std::chrono::seconds whole = std::chrono::seconds(1);
  timestamp at{};
  colour tint = colour::red;
  std::vector<std::string> words;
  std::vector<part> parts;
  std::optional<std::uint32_t> maybe;
  std::map<std::string, std::string> labels;
  part one{"first", 80};
  stream_id owner;
  std::string options = "{}";
  std::uint64_t revision = 7;
  static constexpr auto fields() {
    using o = everything;
    using namespace std::chrono_literals;
    return std::tuple{
      field("on", &o::on, "Switch."),
      field("count", &o::count, "Count."),
      field("big", &o::big, "Big."),
      field("height", &o::height, {36, 2160}, "Height."),
      field("text", &o::text, {0, 12}, "Text."),
      field("password", &o::password, {0, 8}, "Password.", secret),
      field("rate", &o::rate, {bit_rate{1000}, bit_rate{5'000'000}}, "Rate."),
      field("size", &o::size, "Size."),
      field("every", &o::every, {1s, 10min}, "Time."),
      field("whole", &o::whole, "Whole seconds."),
      field("at", &o::at, "When."),
      field("tint", &o::tint, "Colour."),
      field("words", &o::words, {0, 3}, "Words."),
      field("parts", &o::parts, "Parts."),
      field("maybe", &o::maybe, {1, 5}, "Perhaps."),
      field("labels", &o::labels, "Labels."),
      field("one", &o::one, "One part."),
      field("owner", &o::owner, "Owner."),
      field("options", &o::options, "Options.", json_text),
      field("revision", &o::revision, "Revision.", read_only),
    };
  }
};

struct outcome {
  everything made;
  bool good;
  std::string text;
};

outcome from_yaml(std::string_view yaml, const decode_options& options = {}, everything start = {}) {
  problems found;
  outcome out{std::move(start), false, {}};
  out.good = decode(parse_yaml(yaml, "n.yaml", found), out.made, found, options);
  for (auto& p : found)
    out.text += to_string(p) + "\n";
  return out;
}

TEST(Decode, TakesEveryKindOfValue) {
  auto [made, good, text] = from_yaml(R"(
on: true
count: -9223372036854775808
big: 18446744073709551615
height: 36
text: 720p
password: "0123"
rate: 2.5M
size: 512MiB
every: 1.5s
whole: 2m
at: 2026-11-22T10:00:00Z
tint: green
words: [a, "5"]
parts:
  - name: x
  - {name: y, port: 65535}
maybe: 5
labels:
  room: main hall
one:
  port: 81
owner: 7f0c
options: {target: "rtmp://x", n: 2.5, list: [1, true, ~]}
)");
  ASSERT_TRUE(good) << text;
  EXPECT_TRUE(made.on);
  EXPECT_EQ(made.count, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(made.big, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(made.height, 36u);
  EXPECT_EQ(made.text, "720p");
  EXPECT_EQ(made.password, "0123");
  EXPECT_EQ(made.rate.bits_per_second, 2'500'000);
  EXPECT_EQ(made.size.bytes, 512LL << 20);
  EXPECT_EQ(made.every.count(), 1500);
  EXPECT_EQ(made.whole.count(), 120);
  EXPECT_EQ(to_rfc3339(made.at), "2026-11-22T10:00:00.000Z");
  EXPECT_EQ(made.tint, colour::green);
  EXPECT_EQ(made.words, (std::vector<std::string>{"a", "5"}));
  ASSERT_EQ(made.parts.size(), 2u);
  EXPECT_EQ(made.parts[1].port, 65535);
  EXPECT_EQ(made.maybe, 5u);
  EXPECT_EQ(made.labels.at("room"), "main hall");
  EXPECT_EQ(made.one.name, "first");
  EXPECT_EQ(made.one.port, 81);
  EXPECT_EQ(made.owner.value, "7f0c");
  EXPECT_EQ(made.options, R"({"target":"rtmp://x","n":2.5,"list":[1,true,null]})");
}

TEST(Decode, ReportsEverythingAtOnceWithPlacePathValueAndAllowance) {
  auto [made, good, text] = from_yaml(R"(on: yes
height: 8
heigth: 200
text: 1e3
every: 5
tint: geen
tint: red
words: [a, b, c, d]
parts:
  - port: 70000
  - name: bad
rate: 9M
one: [1]
revision: 3
)");
  EXPECT_FALSE(good);
  EXPECT_EQ(text, R"(n.yaml:7:1: the key "tint" was already used in line 6
n.yaml:1:5: on: yes is a boolean only in YAML 1.1: write true or false
n.yaml:2:9: height: 8 is outside 36..2160
n.yaml:3:1: heigth: unknown, did you mean height?
n.yaml:4:7: text: 1e3 is a number, text is wanted: write "1e3"
n.yaml:5:8: every: 5 has no unit: write 5s, 5ms, 5m, 5h or 5d
n.yaml:6:7: tint: geen is not one of red, green; did you mean green?
n.yaml:8:8: words: has 4 entries, allowed are 0..3
n.yaml:10:11: parts[0].port: 70000 is outside 0..65535
n.yaml:10:5: parts[0]: the key name is missing: Name.
n.yaml:11:11: parts[1].name: "bad" is taken
n.yaml:12:7: rate: 9M is outside 1k..5M
n.yaml:13:6: one: a list is not a map of keys and values
n.yaml:14:1: revision: is reported, not set: leave it out
)");
  EXPECT_EQ(made.height, 180u) << "nothing is taken over from a document with problems";
}

struct wrong {
  std::string_view line, said;
};
void PrintTo(const wrong& w, std::ostream* out) { *out << w.line; }
class DecodeRefuses : public testing::TestWithParam<wrong> {};

TEST_P(DecodeRefuses, AndSaysWhy) {
  auto [made, good, text] = from_yaml(GetParam().line);
  EXPECT_FALSE(good);
  EXPECT_EQ(text, std::string(GetParam().said) + "\n");
}

INSTANTIATE_TEST_SUITE_P(
  Yaml, DecodeRefuses,
  testing::Values(wrong{"on: On", "n.yaml:1:5: on: On is a boolean only in YAML 1.1: write true or false"},
                  wrong{"on: \"true\"", "n.yaml:1:5: on: \"true\" is text: write true without quotes"},
                  wrong{"on: 1", "n.yaml:1:5: on: 1 is not true or false"},
                  wrong{"on: ~", "n.yaml:1:5: on: ~ is no value, wanted is true or false"},
                  wrong{"on:", "n.yaml:1:1: on: no value is written, wanted is true or false"},
                  wrong{"count: 010", "n.yaml:1:8: count: 010 has a leading zero, which YAML 1.1 reads as octal: write 10"},
                  wrong{"count: 0x1f", "n.yaml:1:8: count: 0x1f is not decimal: write a decimal number"},
                  wrong{"count: 0o17", "n.yaml:1:8: count: 0o17 is not decimal: write a decimal number"},
                  wrong{"count: 1e3", "n.yaml:1:8: count: 1e3 is a floating-point number, a whole one is wanted"},
                  wrong{"count: 1.0", "n.yaml:1:8: count: 1.0 is a floating-point number, a whole one is wanted"},
                  wrong{"count: .nan", "n.yaml:1:8: count: .nan is a floating-point number, a whole one is wanted"},
                  wrong{"count: 1_000", "n.yaml:1:8: count: 1_000 has underscores: write only digits"},
                  wrong{"count: 1:30", "n.yaml:1:8: count: 1:30 is a number of base 60 in YAML 1.1: write a decimal number"},
                  wrong{"count: +5", "n.yaml:1:8: count: +5 has a plus sign: write 5"},
                  wrong{"count: \"5\"", "n.yaml:1:8: count: \"5\" is text: write 5 without quotes"},
                  wrong{"count: five", "n.yaml:1:8: count: five is not a whole number"},
                  wrong{"count: 9223372036854775808", "n.yaml:1:8: count: 9223372036854775808 is outside -9223372036854775808..9223372036854775807"},
                  wrong{"big: -1", "n.yaml:1:6: big: -1 is outside 0..18446744073709551615"},
                  wrong{"big: 99999999999999999999999999999999999999999999999999",
                        "n.yaml:1:6: big: 99999999999999999999999999999999999999999999999999 is outside 0..18446744073709551615"},
                  wrong{"text: true", "n.yaml:1:7: text: true is a boolean, text is wanted: write \"true\""},
                  wrong{"text: 12:30", "n.yaml:1:7: text: 12:30 is a number, text is wanted: write \"12:30\""},
                  wrong{"text:", "n.yaml:1:1: text: no value is written, wanted is text, \"\" for an empty one"},
                  wrong{"text: [a]", "n.yaml:1:7: text: a list is not text"},
                  wrong{"text: thirteen chars", "n.yaml:1:7: text: thirteen chars has 14 bytes, allowed are 0..12"},
                  wrong{"text: \"\\0\"", "n.yaml:1:7: text: holds the character U+0000"},
                  wrong{"password: far too long", "n.yaml:1:11: password: *** has 12 bytes, allowed are 0..8"},
                  wrong{"password: 12345", "n.yaml:1:11: password: *** is a number, text is wanted: write \"***\""},
                  wrong{"password: \"***\"", "n.yaml:1:11: password: *** is how secrets are shown, not a secret"},
                  wrong{"password_file: x", "n.yaml:1:1: password_file: unknown, known are on, count, big, height, text, password, rate, size, every, whole, "
                                            "at, tint, words, parts, maybe, labels, one, owner, options, revision"},
                  wrong{"rate: fast", "n.yaml:1:7: rate: fast is not a bit rate such as 2.5M or 800k"},
                  wrong{"size: 5XB", "n.yaml:1:7: size: 5XB is not a size such as 512MiB or 10GB"},
                  wrong{"every: soon", "n.yaml:1:8: every: soon is not a duration such as 2s, 250ms, 10m, 1h or 7d"},
                  wrong{"every: 0s", "n.yaml:1:8: every: 0s is outside 1s..10m"},
                  wrong{"whole: 1500ms", "n.yaml:1:8: whole: 1500ms is finer than 1s"},
                  wrong{"at: yesterday", "n.yaml:1:5: at: yesterday is not a time such as 2026-11-22T10:00:00Z"},
                  wrong{"tint: [red]", "n.yaml:1:7: tint: a list is not one of red, green"},
                  wrong{"words: a", "n.yaml:1:8: words: a is not a list"},
                  wrong{"words:", "n.yaml:1:1: words: no value is written, wanted is a list, [] for an empty one"},
                  wrong{"words: [a, 5]", "n.yaml:1:12: words[1]: 5 is a number, text is wanted: write \"5\""},
                  wrong{"maybe: 6", "n.yaml:1:8: maybe: 6 is outside 1..5"},
                  wrong{"labels: [a]", "n.yaml:1:9: labels: a list is not a map of keys and values"},
                  wrong{"labels: {a: 1}", "n.yaml:1:13: labels.a: 1 is a number, text is wanted: write \"1\""},
                  wrong{"one: {name: \"\"}", "n.yaml:1:13: one.name: is empty, at least 1 byte is wanted"}));

TEST(Decode, JsonBodiesAreJudgedByTheSameRules) {
  problems found;
  everything made;
  EXPECT_FALSE(decode(parse_json(R"({"on": "true", "count": 3.9, "big": -1, "text": 5, "every": null, "words": {}, "ones": 1})", "", found), made, found));
  std::string text;
  for (auto& p : found)
    text += p.pointer + " " + p.detail + "\n";
  EXPECT_EQ(text, R"(/on "true" is text: write true without quotes
/count 3.9 is a floating-point number, a whole one is wanted
/big -1 is outside 0..18446744073709551615
/text 5 is a number, text is wanted: write "5"
/every null is no value, wanted is a duration such as 2s, 250ms, 10m, 1h or 7d
/words a map is not a list
/ones unknown, did you mean one?
)");
}

TEST(Decode, APatchChangesOnlyWhatItNames) {
  everything start;
  start.text = "before";
  start.password = "hidden";
  start.one.name = "kept";
  auto [made, good, text] = from_yaml("height: 40\none: {port: 1}\n", {.partial = true}, start);
  ASSERT_TRUE(good) << text;
  EXPECT_EQ(made.text, "before");
  EXPECT_EQ(made.one.name, "kept");
  EXPECT_EQ(made.one.port, 1);
  EXPECT_EQ(made.height, 40u);
}

TEST(Decode, AMaskedSecretThatComesBackChangesNothing) {
  everything start;
  start.password = "hidden";
  EXPECT_EQ(from_yaml("password: \"***\"", {}, start).made.password, "hidden");
}

TEST(Decode, ReadOnlyKeysMayBePassedOver) {
  auto [made, good, text] = from_yaml("revision: 99", {.skip_read_only = true});
  EXPECT_TRUE(good) << text;
  EXPECT_EQ(made.revision, 7u);
}

TEST(Decode, ASecretComesFromItsFile) {
  decode_options options;
  options.read_secret = [](const std::string& path, const place& at) -> expected<std::string> {
    if (path != "pw" || to_string(at).substr(0, 7) != "n.yaml:")
      return fail(error_code::not_found, path + " is not there");
    return "opened";
  };
  EXPECT_EQ(from_yaml("password_file: pw", options).made.password, "opened");
  EXPECT_EQ(from_yaml("password_file: other", options).text, "n.yaml:1:16: password_file: other is not there\n");
  EXPECT_EQ(from_yaml("password_file: pw\npassword: x", options).text, "n.yaml:1:1: password_file: password is given as well: keep one of them\n");
  EXPECT_EQ(from_yaml("text_file: pw", options).text.substr(0, 31), "n.yaml:1:1: text_file: unknown,");
}

TEST(Decode, AMapWithNothingBelowKeepsItsDefaults) {
  auto [made, good, text] = from_yaml("one:\nlabels:\n");
  EXPECT_TRUE(good) << text;
  EXPECT_EQ(made.one.name, "first");
}

TEST(Decode, WarningsDoNotStopIt) {
  problems found;
  http_options made;
  EXPECT_TRUE(decode(parse_yaml("listen: 0.0.0.0:80", "n.yaml", found), made, found));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(to_string(found[0]), "n.yaml:1:9: warning: listen: \"0.0.0.0:80\" is reached from outside without TLS: set http.tls_listen with a certificate, or put a TLS proxy in front and name its https:// "
                                 "address in http.public_url");
}

TEST(Decode, TaskOptionsStayJson) {
  auto made = from_json<task_spec>(R"({"type": "restream", "options": {"target": "rtmp://a/b"}, "enabled": false})");
  ASSERT_TRUE(made) << made.error().text;
  EXPECT_EQ(made->options, R"({"target":"rtmp://a/b"})");
  EXPECT_EQ(from_json<task_spec>("{}").error().text, "the key type is missing: Task type: hls, restream, …");
  EXPECT_EQ(from_json<task_spec>("[]").error().text, "a list is not a map of keys and values");
}

TEST(Nearest, FindsTypingErrorsAndNothingFarFetched) {
  std::vector<std::string_view> known{"height", "width", "every"};
  EXPECT_EQ(nearest("heigth", known), "height");
  EXPECT_EQ(nearest("wdth", known), "width");
  EXPECT_EQ(nearest("colour", known), "");
  EXPECT_EQ(nearest("", known), "");
  EXPECT_EQ(nearest(std::string(100'000, 'h'), known), "");
}

} // namespace
} // namespace weir::describe
