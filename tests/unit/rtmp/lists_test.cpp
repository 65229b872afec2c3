#include "runtime/rtmp/lists.hpp"
#include "tests/unit/rtmp/recorded.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace weir::rtmp;

TEST(NginxStat, NamesThePublisherOfTheRecordedPage) {
  auto list = parse_nginx_stat(recorded("nginx-rtmp-stat.xml"), "ngx1");
  ASSERT_TRUE(list) << list.error().text;
  EXPECT_EQ(list->server, "ngx1");
  EXPECT_EQ(list->service_id, "31989");
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].app, "live");
  EXPECT_EQ(list->items[0].stream, "ctl");
  EXPECT_EQ(list->items[0].client_id, "305");
  EXPECT_EQ(list->items[0].address, "127.0.0.1");
  EXPECT_EQ(list->items[0].vhost, "") << "it knows none";
}

TEST(NginxStat, PlayersAreNoPublishers) {
  auto list = parse_nginx_stat("<rtmp><pid>1</pid><server><application><name>live</name><live><stream><name>s</name><client><id>1</id></client>"
                               "<client><id>2</id><publishing/></client></stream></live></application></server></rtmp>",
                               "n");
  ASSERT_TRUE(list);
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].client_id, "2");
}

TEST(NginxStat, ABrokenOrForeignPageIsAnErrorNotAnEmptyList) {
  for (const auto* page : {"", "<html></html>", "<rtmp><pid>1", "{}", "<rtmp></rtmp>"}) {
    auto list = parse_nginx_stat(page, "n");
    ASSERT_FALSE(list) << page;
    EXPECT_EQ(list.error().code, error_code::invalid_input);
  }
  EXPECT_EQ(parse_nginx_stat(std::string(list_limit + 1, ' '), "n").error().code, error_code::too_large);
}

TEST(SrsList, StreamsNameThePublisherOfTheRecordedAnswer) {
  auto list = parse_srs_streams(recorded("srs-api/streams_.json"), "srs1");
  ASSERT_TRUE(list) << list.error().text;
  EXPECT_EQ(list->server, "srs1");
  EXPECT_EQ(list->service_id, "51st40z1");
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].app, "live");
  EXPECT_EQ(list->items[0].stream, "livestream");
  EXPECT_EQ(list->items[0].client_id, "j0e9h759") << "as in its hooks and in its list of clients";
  EXPECT_EQ(list->items[0].vhost, "vid-dbbt503") << "its id, not its name";
}

TEST(SrsList, WhoeverWaitsForTheAnswerToOnPublishIsNoPublisher) {
  // SRS makes the stream's row when the client comes, and its publisher when on_publish was answered (or the row is there for a player).
  auto list = parse_srs_streams(R"({"code":0,"service":"s","streams":[{"app":"live","name":"n","clients":1,"publish":{"active":false}}]})", "s");
  ASSERT_TRUE(list) << list.error().text;
  EXPECT_TRUE(list->items.empty());
}

TEST(SrsList, VhostsHaveNames) {
  // In the form of SRS 4 to 7; SRS 2 and 3 count their ids.
  auto names = parse_srs_vhosts(R"({"code":0,"server":"srs-m1","service":"51st40z1","pid":"19710","vhosts":[
    {"id":"vid-dbbt503","name":"__defaultVhost__","enabled":true,"clients":3,"streams":1,"send_bytes":0,"recv_bytes":0,"kbps":{"recv_30s":0,"send_30s":0},"hls":{"enabled":false}},
    {"id":59133,"name":"studio.example","enabled":true}, 7]})");
  ASSERT_TRUE(names) << names.error().text;
  EXPECT_EQ(*names, (std::map<std::string, std::string>{{"59133", "studio.example"}, {"vid-dbbt503", "__defaultVhost__"}}));
  EXPECT_EQ(parse_srs_vhosts(recorded("srs-api/streams_.json")).error().code, error_code::invalid_input) << "another list";
  EXPECT_EQ(parse_srs_vhosts(recorded("srs-api/client_notfound.json")).error().code, error_code::unavailable);
}

TEST(SrsList, NobodyPublishesAfterTheUnpublish) {
  auto list = parse_srs_streams(recorded("srs-api/streams_after_unpublish.json"), "srs1");
  ASSERT_TRUE(list);
  EXPECT_TRUE(list->items.empty());
  EXPECT_EQ(list->service_id, "51st40z1");
  auto ended = parse_srs_streams(R"({"code":0,"service":"s","streams":[{"app":"a","name":"n","publish":{"active":false,"cid":"c"}}, 7, {"publish":3}]})", "s");
  ASSERT_TRUE(ended);
  EXPECT_TRUE(ended->items.empty());
}

TEST(SrsList, AnErrorOfSrsIsNotAnEmptyList) {
  EXPECT_EQ(parse_srs_streams(recorded("srs-api/client_notfound.json"), "s").error().code, error_code::unavailable);
  for (const auto* text : {"", "[]", "{}", R"({"code":"0","streams":[]})", R"({"code":0})", R"({"code":0,"streams":{}})", R"({"code":0,"clients":[]})",
                           R"({"code":0,"streams":[{"app":[],"publish":{"active":true}}]})"})
    EXPECT_EQ(parse_srs_streams(text, "s").error().code, error_code::invalid_input) << text;
}
