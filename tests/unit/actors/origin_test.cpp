#include "actors/origin.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/nginx/edge_probe.hpp"

#include <filesystem>
#include <gtest/gtest.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// The ORIGIN's decisions on a real folder store, without its actor.
class Origin : public ::testing::Test {
public:
  std::filesystem::path folder = std::filesystem::temp_directory_path() / ("weir-origin-" + random_uuid());
  std::unique_ptr<origin_state> state = open();
  timestamp now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());

  ~Origin() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<origin_state> open() {
    auto s = std::make_unique<origin_state>();
    auto store = origin::open_folder_store(folder);
    EXPECT_TRUE(store);
    s->setup.store = std::move(*store);
    s->setup.options.dir = folder.string();
    auto loaded = s->load(std::chrono::system_clock::now());
    EXPECT_TRUE(loaded) << loaded.error().text;
    return s;
  }
  expected<void> announce(std::uint64_t epoch, std::string stream = "conf") {
    rung_info rung{.name = "180p", .width = 320, .height = 180, .fps_milli = 25'000, .codecs = "avc1.42c01e,mp4a.40.2", .nominal = {400'000}};
    return state->announce({.stream = std::move(stream), .writer_epoch = epoch, .publication = "srv/1/1", .profile = hls_profile::brief, .rungs = {rung}, .answer = {}});
  }
  expected<void> put(std::uint64_t epoch, std::uint64_t slot) {
    segment_offer offer;
    offer.stream = "conf";
    offer.writer_epoch = epoch;
    offer.bytes = std::make_shared<const std::string>(188 * 10, 'G');
    offer.info = {.rung = "180p", .slot = slot, .first_pts = static_cast<std::int64_t>(slot) * 180'000, .duration = 180'000, .independent = true, .discontinuity = false,
                  .captured = now, .bytes = offer.bytes->size()};
    hls::log_change change;
    now += 2s;
    auto done = state->take(offer, now, change);
    if (change.changed) {
      auto& log = state->logs.at("conf");
      EXPECT_TRUE(state->setup.store->save_log("conf", log.to_json()));
    }
    return done;
  }
};

TEST_F(Origin, ListsSegmentsAfterThreeAndCountsThem) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot)) << slot;
  EXPECT_EQ(state->written, 4u);
  EXPECT_EQ(state->logs.at("conf").snapshot().entries.size(), 4u);
}

TEST_F(Origin, TellsObserversWhatTheNewestSegmentIs) {
  ASSERT_TRUE(announce(65536));
  EXPECT_FALSE(state->newest_of({})) << "nothing is listed";
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  auto shown = state->logs.at("conf").snapshot();
  auto newest = state->newest_of(shown);
  ASSERT_TRUE(newest);
  EXPECT_EQ(newest->newest.size, 1880u);
  EXPECT_EQ(newest->newest.digest, nginx::head_digest(std::string(1880, 'G')));
  EXPECT_TRUE(newest->newest.path.starts_with("/s/conf~")) << newest->newest.path;
  auto without = shown;
  without.entries.back().gaps = 1;
  EXPECT_FALSE(state->newest_of(without)) << "its newest entry is a gap";
  without = shown;
  without.ended = true;
  EXPECT_FALSE(state->newest_of(without));
  state = open();
  auto after = state->newest_of(shown);
  ASSERT_TRUE(after);
  EXPECT_EQ(after->newest.path, newest->newest.path);
  EXPECT_EQ(after->newest.digest, "") << "after a restart only its address is known";
  EXPECT_EQ(after->newest.size, 0u);
}

TEST_F(Origin, NotesHowOldSegmentsAreWhenTheyAreListed) {
  hls::stream_log shown;
  shown.rungs.resize(2);
  for (int i = 0; i < 5; ++i) {
    hls::log_entry entry;
    entry.msn = static_cast<std::uint64_t>(i);
    entry.time = now - std::chrono::seconds(10 - i);
    shown.entries.push_back(entry);
  }
  shown.entries[3].gaps = 0b01;          // absent in one rung
  shown.entries[4].gaps = 0b11;          // nothing of it was ever there
  state->note_ages(shown, 3, now);       // 8 s and 7 s
  shown.entries[2].time = now + 1s;      // the encoder's clock is ahead
  state->note_ages({.rungs = shown.rungs, .entries = {shown.entries[2]}}, 7, now);
  auto counted = state->ages.now();
  EXPECT_EQ(state->ages.count(), 3u);
  EXPECT_EQ(counted.sum, 15.0);
  EXPECT_EQ(counted.buckets[9], 2u) << "up to 8 s";
  EXPECT_EQ(counted.buckets[0], 1u);
}

TEST_F(Origin, TellsTheOldestEdgeTableThatIsStillNamed) {
  state->edges = 3;
  EXPECT_EQ(state->oldest_named(), 3u) << "nothing is listed: what is in force";
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  state->edges = 9;
  for (std::uint64_t slot = 14; slot < 16; ++slot)
    ASSERT_TRUE(put(65536, slot));
  EXPECT_EQ(state->oldest_named(), 3u);
  state = open();
  EXPECT_EQ(state->oldest_named(), 0u) << "not heard yet what is in force";
  state->edges = 9;
  EXPECT_EQ(state->oldest_named(), 3u);
  for (std::uint64_t slot = 16; slot < 60; ++slot)
    ASSERT_TRUE(put(65536, slot));
  EXPECT_EQ(state->oldest_named(), 9u) << "those of 3 left the window";
}

TEST_F(Origin, RefusesAndCountsAnOldEpoch) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  ASSERT_TRUE(announce(131072));
  ASSERT_TRUE(put(131072, 11));
  auto late = put(65536, 12);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, error_code::fenced);
  EXPECT_EQ(announce(65536).error().code, error_code::fenced);
  EXPECT_EQ(state->fenced, 2u);
}

TEST_F(Origin, ARetriedSegmentIsNoError) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  EXPECT_TRUE(put(65536, 10));
  EXPECT_EQ(state->written, 1u);
}

TEST_F(Origin, AWriterThatIsNotAnnouncedIsTold) {
  EXPECT_EQ(put(65536, 10).error().code, error_code::not_found);
}

TEST_F(Origin, NumbersGoOnAfterARestartOfTheOriginAndOfTheWriter) {
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 16; ++slot)
    ASSERT_TRUE(put(65536, slot));
  auto before = state->logs.at("conf").snapshot();
  state = open();
  auto after = state->logs.at("conf").snapshot();
  EXPECT_EQ(after.entries, before.entries);
  ASSERT_TRUE(announce(65537)); // the encoder was restarted
  ASSERT_TRUE(put(65537, 16));
  ASSERT_TRUE(put(65537, 17));
  auto grown = state->logs.at("conf").snapshot();
  EXPECT_GT(grown.entries.back().msn, before.entries.back().msn);
  EXPECT_GT(grown.entries.back().dsn, before.entries.back().dsn) << "a discontinuity where the encoder restarted";
  EXPECT_EQ(grown.instance, before.instance);
}

/// What a director's feed was answered, in the order of the answers.
struct answers {
  std::vector<expected<std::string>> all;
  log_wish wish(std::string reader, hls::news_mark after, std::chrono::milliseconds wait) {
    return {std::move(reader), std::move(after), wait, [this](expected<std::string> page) { all.push_back(std::move(page)); }};
  }
  hls::log_page last() {
    auto page = all.empty() || !all.back() ? expected<hls::log_page>(fail(error_code::internal, "no page")) : hls::parse_log_page(*all.back());
    EXPECT_TRUE(page) << page.error().text;
    return page.value_or(hls::log_page{});
  }
};

TEST_F(Origin, TellsOnlyWhatChangedAsSoonAsItChanges) {
  answers heard;
  origin_state::time_point t{std::chrono::hours(1)};
  state->take(heard.wish("d", {}, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 1u) << "a reader that has nothing hears at once that there is nothing";
  auto mark = heard.last().next;
  state->take(heard.wish("d", mark, 20s), t, now);
  state->answer_readers(t + 19s, now);
  EXPECT_EQ(heard.all.size(), 1u);
  ASSERT_TRUE(announce(65536));
  for (std::uint64_t slot = 10; slot < 14; ++slot)
    ASSERT_TRUE(put(65536, slot));
  state->news.add(state->logs.at("conf").snapshot());
  state->answer_readers(t + 19s, now);
  ASSERT_EQ(heard.all.size(), 2u);
  ASSERT_EQ(heard.last().logs.size(), 1u);
  EXPECT_EQ(heard.last().logs[0].entries.size(), 4u);
  EXPECT_TRUE(state->readers.empty());
  state->take(heard.wish("d", heard.last().next, 1s), t, now);
  state->answer_readers(t + 999ms, now);
  EXPECT_EQ(heard.all.size(), 2u);
  state->answer_readers(t + 1s, now);
  ASSERT_EQ(heard.all.size(), 3u) << "it has waited for long enough";
  EXPECT_TRUE(heard.last().logs.empty());
  state->take(heard.wish("d", heard.last().next, 0s), t, now);
  EXPECT_EQ(heard.all.size(), 4u) << "who does not want to wait";
  state->take(heard.wish("d", heard.last().next, 24h), t, now);
  state->answer_readers(t + 20s, now);
  EXPECT_EQ(heard.all.size(), 5u) << "nobody waits for longer than 20 s";
}

TEST_F(Origin, TellsEverythingAfterARestart) {
  answers heard;
  state->take(heard.wish("d", {}, 0s), {}, now);
  auto mark = heard.last().next;
  state = open();
  state->take(heard.wish("d", mark, 20s), {}, now);
  ASSERT_EQ(heard.all.size(), 2u);
  EXPECT_NE(heard.last().next.boot, mark.boot);
}

TEST_F(Origin, ManyWhoWaitAreBoundedAndNobodyIsForgotten) {
  answers heard;
  origin_state::time_point t{std::chrono::hours(1)};
  state->take(heard.wish("d", {}, 0s), t, now);
  auto mark = heard.last().next;
  for (int i = 0; i < 64; ++i)
    state->take(heard.wish("d" + std::to_string(i), mark, 20s), t, now);
  EXPECT_EQ(heard.all.size(), 1u);
  state->take(heard.wish("one more", mark, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 2u);
  EXPECT_EQ(heard.all.back().error().code, error_code::too_many);
  state->take(heard.wish("d7", mark, 20s), t, now);
  ASSERT_EQ(heard.all.size(), 3u);
  EXPECT_EQ(heard.all.back().error().code, error_code::conflict) << "its former question is over";
  EXPECT_EQ(state->readers.size(), 64u);
  state->dismiss_readers({error_code::unavailable, "the origin ends"});
  EXPECT_EQ(heard.all.size(), 67u);
  EXPECT_EQ(heard.all.back().error().code, error_code::unavailable);
  EXPECT_TRUE(state->readers.empty());
}

TEST_F(Origin, RefusesNamesThatCouldLeaveItsFolder) {
  for (std::string name : {"../x", "a/b", "", ".hidden"})
    EXPECT_FALSE(announce(65536, name)) << name;
}

TEST_F(Origin, RefusesToStartOnALogThatItCannotRead) {
  ASSERT_TRUE(announce(65536));
  ASSERT_TRUE(put(65536, 10));
  ASSERT_TRUE(state->setup.store->save_log("conf", "{\"half\": "));
  auto again = std::make_unique<origin_state>();
  auto store = origin::open_folder_store(folder);
  ASSERT_TRUE(store);
  again->setup.store = std::move(*store);
  auto loaded = again->load(now);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().text.find("conf"), std::string::npos);
}

} // namespace
} // namespace weir::testing
