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

TEST(SrsList, ClientsNameThePublisherWithItsAddress) {
  auto list = parse_srs_clients(recorded("srs-api/clients_.json"), "srs1");
  ASSERT_TRUE(list) << list.error().text;
  EXPECT_EQ(list->service_id, "51st40z1");
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].app, "live");
  EXPECT_EQ(list->items[0].stream, "livestream");
  EXPECT_EQ(list->items[0].client_id, "j0e9h759");
  EXPECT_EQ(list->items[0].address, "127.0.0.1");
}

TEST(SrsList, StreamsNameTheSamePublisher) {
  auto list = parse_srs_streams(recorded("srs-api/streams_.json"), "srs1");
  ASSERT_TRUE(list) << list.error().text;
  ASSERT_EQ(list->items.size(), 1u);
  EXPECT_EQ(list->items[0].client_id, "j0e9h759");
  EXPECT_EQ(list->items[0].stream, "livestream");
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
  EXPECT_EQ(parse_srs_clients(recorded("srs-api/client_notfound.json"), "s").error().code, error_code::unavailable);
  for (const auto* text : {"", "[]", "{}", R"({"code":"0","clients":[]})", R"({"code":0})", R"({"code":0,"clients":{}})",
                           R"({"code":0,"clients":[{"publish":true,"url":"x"}]})"})
    EXPECT_EQ(parse_srs_clients(text, "s").error().code, error_code::invalid_input) << text;
}
