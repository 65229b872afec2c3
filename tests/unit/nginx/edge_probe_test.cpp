#include "runtime/nginx/edge_probe.hpp"

#include <gtest/gtest.h>

namespace weir::nginx {
namespace {

const std::string segment(40'000, 'x');

probe_target target() { return {"/s/show~1/1/r/1.ts", segment.size(), head_digest(segment)}; }

http::client_response good() {
  http::client_response answer;
  answer.status = 206;
  answer.body = segment.substr(0, probe_head);
  answer.headers.add("Access-Control-Allow-Origin", "*");
  answer.headers.add("Cache-Control", "public, max-age=3600, immutable");
  answer.headers.add("Content-Length", "16384");
  answer.headers.add("Content-Range", "bytes 0-16383/40000");
  return answer;
}

TEST(EdgeProbe, TakesWhatAPlayerTakes) {
  EXPECT_EQ(fault_of(good(), target()), "");
  auto whole = good();
  whole.status = 200;
  whole.body = segment;
  whole.headers.set("Content-Length", "40000");
  whole.headers.remove("Content-Range");
  EXPECT_EQ(fault_of(whole, target()), "") << "it need not know ranges";
  auto unknown = target();
  unknown.size = 0;
  unknown.digest.clear();
  EXPECT_EQ(fault_of(good(), unknown), "") << "an origin that was started anew has no digest yet";
}

TEST(EdgeProbe, SaysWhatIsWrong) {
  auto fault = [](auto spoil) {
    auto answer = good();
    spoil(answer);
    return fault_of(answer, target());
  };
  EXPECT_EQ(fault([](auto& a) { a.status = 404; }), "status 404");
  EXPECT_EQ(fault([](auto& a) { a.headers.remove("Access-Control-Allow-Origin"); }), "no Access-Control-Allow-Origin: browsers could not play");
  EXPECT_EQ(fault([](auto& a) { a.headers.add("access-control-allow-origin", "*"); }), "Access-Control-Allow-Origin more than once: browsers could not play");
  EXPECT_EQ(fault([](auto& a) { a.headers.set("Cache-Control", "no-store"); }), "Cache-Control is \"no-store\": players and caches could not keep it");
  EXPECT_EQ(fault([](auto& a) { a.headers.remove("Content-Length"); }), "16384 bytes came, Content-Length is \"\"");
  EXPECT_EQ(fault([](auto& a) { a.headers.set("Content-Range", "bytes 0-16383/30000"); }), "the segment has 30000 bytes there, 40000 at the origin");
  EXPECT_EQ(fault([](auto& a) { a.headers.set("Content-Range", "bytes 5-16388/40000"); }), "it does not say which bytes these are, of how many");
  EXPECT_EQ(fault([](auto& a) { a.headers.set("Content-Range", "bytes 0-16383/99999999999999999999999"); }), "it does not say which bytes these are, of how many");
  EXPECT_EQ(fault([](auto& a) {
              a.body.resize(100);
              a.headers.set("Content-Length", "100");
              a.headers.set("Content-Range", "bytes 0-99/40000");
            }),
            "100 bytes came of 16384");
  EXPECT_EQ(fault([](auto& a) { a.body[9000] = 'y'; }), "other bytes than the origin's");
  EXPECT_EQ(fault([](auto& a) {
              a.body.clear();
              a.headers.set("Content-Length", "0");
            }),
            "it does not say which bytes these are, of how many");
}

TEST(EdgeProbe, TakesAnyAnswerOfAnEdgeThatHasNothingToServe) {
  http::client_response answer;
  answer.status = 404;
  EXPECT_EQ(fault_of(answer, {}), "no Access-Control-Allow-Origin: browsers could not play");
  answer.headers.add("Access-Control-Allow-Origin", "*");
  EXPECT_EQ(fault_of(answer, {}), "");
  answer.status = 502;
  EXPECT_EQ(fault_of(answer, {}), "status 502");
}

TEST(EdgeProbe, KnowsAnEdgeFromAnotherThatAnswersInItsStead) {
  auto answer = good();
  EXPECT_EQ(stranger_in(answer, "cache-1"), "") << "edges that share no address do not say who they are";
  answer.headers.add("Weir-Edge", "cache-1");
  EXPECT_EQ(stranger_in(answer, "cache-1"), "");
  EXPECT_EQ(stranger_in(answer, "cache-2"), "edge cache-1 answers at its address");
  answer.headers.set("Weir-Edge", std::string(1000, 'x'));
  EXPECT_LT(stranger_in(answer, "cache-2").size(), 100u);
}

TEST(EdgeProbe, AsksForTheHeadAsNoViewer) {
  auto request = probe_request({.url = "http://e:8081", .newest = target(), .deadline = std::chrono::milliseconds(900), .authorities = "PEM"});
  EXPECT_EQ(request.url, "http://e:8081/s/show~1/1/r/1.ts");
  EXPECT_EQ(request.headers.find("Range"), "bytes=0-16383");
  EXPECT_EQ(request.headers.find("User-Agent"), "weir-edge-monitor");
  EXPECT_EQ(request.response_limit, segment.size());
  EXPECT_EQ(request.authorities_text, "PEM");
  EXPECT_EQ(probe_request({.url = "http://e:8081", .newest = {}, .authorities = {}}).url, "http://e:8081/s/");
}

} // namespace
} // namespace weir::nginx
