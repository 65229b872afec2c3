#include "runtime/rtmp/hooks.hpp"
#include "tests/unit/rtmp/recorded.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace weir::rtmp;

namespace {

hook_call srs(const std::string& name) {
  auto call = parse_srs_hook(recorded_body("srs-hooks/" + name + ".http"), "srs1");
  EXPECT_TRUE(call) << name << ": " << call.error().text;
  return call.value_or(hook_call{});
}
hook_call nginx(const std::string& name) {
  auto call = parse_nginx_rtmp_hook(recorded_body("nginx-rtmp-hooks/" + name + ".http"), "ngx1");
  EXPECT_TRUE(call) << name << ": " << call.error().text;
  return call.value_or(hook_call{});
}
hook_call nginx_of(std::string_view form) {
  auto call = parse_nginx_rtmp_hook(form, "ngx1");
  EXPECT_TRUE(call) << call.error().text;
  return call.value_or(hook_call{});
}
error_code srs_error(std::string_view body) {
  auto call = parse_srs_hook(body, "srs1");
  return call ? error_code::none : call.error().code;
}

} // namespace

TEST(SrsHook, PublishHasEverythingThatIdentifiesThePublisher) {
  const auto call = srs("on_publish");
  EXPECT_EQ(call.kind, hook_kind::publish);
  EXPECT_EQ(call.server, "srs1");
  EXPECT_EQ(call.service_id, "722165md");
  EXPECT_EQ(call.client_id, "7x9l8y2x");
  EXPECT_EQ(call.address, "127.0.0.1");
  EXPECT_EQ(call.vhost, "__defaultVhost__");
  EXPECT_EQ(call.app, "live");
  EXPECT_EQ(call.stream, "livestream");
  EXPECT_EQ(call.key, "secret");
}

TEST(SrsHook, EveryRecordedCallHasItsKind) {
  EXPECT_EQ(srs("on_connect.publisher").kind, hook_kind::connect);
  EXPECT_EQ(srs("on_connect.player").kind, hook_kind::connect);
  EXPECT_EQ(srs("on_unpublish").kind, hook_kind::unpublish);
  EXPECT_EQ(srs("on_play.rtmp").kind, hook_kind::play);
  EXPECT_EQ(srs("on_play.httpflv").kind, hook_kind::play);
  EXPECT_EQ(srs("on_stop.rtmp").kind, hook_kind::stop);
  EXPECT_EQ(srs("on_close.player").kind, hook_kind::close);
  EXPECT_EQ(srs("on_close.publisher").kind, hook_kind::close);
  EXPECT_EQ(srs("on_dvr").kind, hook_kind::note);
  EXPECT_EQ(srs("on_hls").kind, hook_kind::note);
  EXPECT_EQ(srs("on_unpublish").client_id, srs("on_publish").client_id);
}

TEST(SrsHook, AnHlsPlayerPlaysTheStreamNotItsPlaylist) {
  EXPECT_EQ(srs("on_play.hls").stream, "livestream");
  EXPECT_EQ(srs("on_stop.hls").stream, "livestream");
}

TEST(SrsHook, OlderVersionsWithFewerFieldsAndNumbersAsIdsAreUnderstood) {
  auto call = parse_srs_hook(R"({"action":"on_publish","client_id":108,"ip":"10.0.0.1","vhost":"v","app":"live","stream":"s","param":"?key=a%20b"})", "srs1");
  ASSERT_TRUE(call) << call.error().text;
  EXPECT_EQ(call->client_id, "108");
  EXPECT_EQ(call->service_id, "");
  EXPECT_EQ(call->key, "a b");
}

TEST(SrsHook, UnknownFieldsDoNoHarm) {
  auto call = parse_srs_hook(R"({"action":"on_publish","client_id":"c","app":"a","stream":"s","param":"","later":{"x":[1,2,{}]}})", "srs1");
  ASSERT_TRUE(call) << call.error().text;
  EXPECT_EQ(call->key, "");
}

TEST(SrsHook, MalformedBodiesAreErrors) {
  for (const auto* body : {"", "x", "[]", "0", "{", "null", R"({"action":5.5})", R"({"action":{}})", R"({"action":"on_publish"})",
                           R"({"action":"on_publish","client_id":"c","app":"a","stream":""})", R"({"action":"on_publish","app":"a","stream":"s"})",
                           R"({"app":"a"})", "{\"action\":\"on_close\",\"client_id\":\"a\\nb\"}",
                           R"({"action":"on_publish","client_id":"c","app":"a","stream":"s","stream":"other"})"})
    EXPECT_EQ(srs_error(body), error_code::invalid_input) << body;
  EXPECT_EQ(srs_error(std::string(hook_body_limit + 1, ' ')), error_code::too_large);
  EXPECT_EQ(srs_error("{\"action\":" + std::string(8000, '[') + std::string(8000, ']') + "}"), error_code::too_large);
  EXPECT_EQ(srs_error("{\"action\":\"\xff\xfe\"}"), error_code::invalid_input);
}

TEST(NginxHook, PublishHasEverythingThatIdentifiesThePublisher) {
  const auto call = nginx("on_publish");
  EXPECT_EQ(call.kind, hook_kind::publish);
  EXPECT_EQ(call.server, "ngx1");
  EXPECT_EQ(call.client_id, "1");
  EXPECT_EQ(call.address, "127.0.0.1");
  EXPECT_EQ(call.app, "live");
  EXPECT_EQ(call.stream, "livestream");
  EXPECT_EQ(call.key, "secret");
}

TEST(NginxHook, EveryRecordedCallHasItsKind) {
  EXPECT_EQ(nginx("on_connect.publisher").kind, hook_kind::connect);
  EXPECT_EQ(nginx("on_connect.player").kind, hook_kind::connect);
  EXPECT_EQ(nginx("on_publish_done").kind, hook_kind::unpublish);
  EXPECT_EQ(nginx("on_play").kind, hook_kind::play);
  EXPECT_EQ(nginx("on_play_done").kind, hook_kind::stop);
  EXPECT_EQ(nginx("on_disconnect.publisher").kind, hook_kind::close);
  EXPECT_EQ(nginx("on_disconnect.player").kind, hook_kind::close);
  EXPECT_EQ(nginx("on_done.publisher").kind, hook_kind::note);
  EXPECT_EQ(nginx("on_record_done").kind, hook_kind::note);
  EXPECT_EQ(nginx("on_update.publish").kind, hook_kind::update);
  EXPECT_FALSE(nginx("on_update.publish").playing);
  EXPECT_EQ(nginx("on_update.play").kind, hook_kind::update);
  EXPECT_TRUE(nginx("on_update.play").playing);
}

TEST(NginxHook, AClientCannotOverrideWhatTheServerSays) {
  const auto call = nginx_of("app=live&addr=10.0.0.7&clientid=3&call=publish&name=mine&type=live&name=evil&addr=9.9.9.9&call=play&clientid=1&app=x&key=k1&key=k2");
  EXPECT_EQ(call.kind, hook_kind::publish);
  EXPECT_EQ(call.stream, "mine");
  EXPECT_EQ(call.address, "10.0.0.7");
  EXPECT_EQ(call.client_id, "3");
  EXPECT_EQ(call.app, "live");
  EXPECT_EQ(call.key, "k1");
}

TEST(NginxHook, ArgumentsCannotFillInWhatTheServerDidNotSay) {
  EXPECT_EQ(nginx_of("app=live&addr=1.2.3.4&epoch=1&call=connect&clientid=7&name=other").client_id, "");
  EXPECT_EQ(nginx_of("app=live&addr=1.2.3.4&clientid=1&call=disconnect&name=other").stream, "");
}

TEST(NginxHook, DecodesNamesAndKeepsBrokenEscapesAsTheyAre) {
  const auto call = nginx_of("app=live&clientid=1&call=publish&name=a%20b%2Fc&key=100%&flashver=x%3");
  EXPECT_EQ(call.stream, "a b/c");
  EXPECT_EQ(call.key, "100%");
  EXPECT_EQ(percent_decoded("%41%4a%4A%zz%4"), "AJJ%zz%4");
  EXPECT_EQ(nginx_of("app=live&clientid=1&call=publish&name=n&key=a+b").key, "a+b");
}

TEST(NginxHook, MalformedBodiesAreErrors) {
  for (const auto* body : {"", "&&&", "app=live", "=", "call=publish&app=live&name=x", "call=publish&clientid=1&name=x", "call=publish&app=live&clientid=1",
                           "app=live&clientid=1&call=publish&name=a%0Ab", "call=disconnect"}) {
    auto call = parse_nginx_rtmp_hook(body, "n");
    ASSERT_FALSE(call) << body;
    EXPECT_EQ(call.error().code, error_code::invalid_input);
  }
  EXPECT_EQ(parse_nginx_rtmp_hook(std::string(hook_body_limit + 1, 'a'), "n").error().code, error_code::too_large);
}

TEST(Arguments, FirstValueWinsAndTheQuestionMarkIsNoPartOfTheName) {
  EXPECT_EQ(argument("?key=a&key=b", "key"), "a");
  EXPECT_EQ(argument("vid=1&key=%3F", "key"), "?");
  EXPECT_EQ(argument("keys=a&xkey=b&key", "key"), "");
  EXPECT_EQ(argument("", "key"), "");
}

TEST(Answers, AreWhatTheServersUnderstandByteForByte) {
  const hook_verdict yes{true, ""}, no{false, "wrong key"};
  EXPECT_EQ(srs_answer(hook_kind::publish, yes).status, 200);
  EXPECT_EQ(srs_answer(hook_kind::publish, yes).body, "0");
  EXPECT_EQ(srs_answer(hook_kind::publish, no).status, 403);
  EXPECT_NE(srs_answer(hook_kind::publish, no).body, "0");
  EXPECT_EQ(nginx_answer(hook_kind::play, yes).status, 200);
  EXPECT_EQ(nginx_answer(hook_kind::play, no).status, 403);
}

TEST(Answers, NotificationsAreNeverRefused) {
  const hook_verdict no{false, "trouble"};
  for (const auto kind : {hook_kind::unpublish, hook_kind::stop, hook_kind::close, hook_kind::note}) {
    EXPECT_EQ(srs_answer(kind, no).body, "0");
    EXPECT_EQ(nginx_answer(kind, no).status, 200);
  }
}

TEST(Answers, OurOwnTroubleRefusesNewcomersAndKeepsWhatRuns) {
  const auto answer = [](hook_kind kind) { return nginx_answer(kind, verdict_in_trouble(kind, "no coordinator")).status; };
  EXPECT_EQ(answer(hook_kind::publish), 403);
  EXPECT_EQ(answer(hook_kind::play), 403);
  EXPECT_EQ(answer(hook_kind::connect), 200);
  EXPECT_EQ(answer(hook_kind::update), 200) << "a refused update ends a live session";
  EXPECT_EQ(nginx_answer(hook_kind::update, {false, "key rotated"}).status, 403) << "on purpose it does";
}
