#include "runtime/metrics/metrics.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <vector>

using namespace weir::metrics;

namespace {

bool has_line(const std::string& text, const std::string& line) { return ("\n" + text).find("\n" + line + "\n") != std::string::npos; }

} // namespace

TEST(Families, HaveNamesThatPrometheusAdvises) {
  std::set<std::string_view> names;
  for (auto& d : table) {
    EXPECT_TRUE(names.insert(d.name).second) << d.name << " stands twice";
    EXPECT_TRUE(d.name.starts_with("weir_") || d.name.starts_with("process_")) << d.name;
    EXPECT_TRUE(std::all_of(d.name.begin(), d.name.end(), [](char c) { return (c >= 'a' && c <= 'z') || c == '_'; })) << d.name;
    EXPECT_EQ(d.name.ends_with("_total"), d.type == kind::counter) << d.name;
    EXPECT_TRUE(d.type != kind::histogram || d.name.ends_with("_seconds")) << d.name;
    EXPECT_TRUE(d.help.ends_with('.')) << d.name;
    for (auto bad : {"_ms", "_milliseconds", "_kb", "_percent"})
      EXPECT_EQ(d.name.find(bad), d.name.npos) << d.name;
  }
}

TEST(Metrics, KeepWhatIsCounted) {
  registry r;
  auto& accepted = r.counter<family::hook_decisions>("srs", "publish", "accepted");
  accepted.add();
  accepted.add(2);
  accepted.add(-5); // a counter cannot sink
  EXPECT_EQ(&accepted, &r.counter<family::hook_decisions>("srs", std::string("publish"), "accepted"));
  r.gauge<family::http_connections>().set(7);
  r.gauge<family::http_connections>().add(-2);
  auto text = r.text();
  EXPECT_TRUE(has_line(text, R"(weir_hook_decisions_total{server_kind="srs",hook="publish",decision="accepted"} 3)")) << text;
  EXPECT_TRUE(has_line(text, "weir_http_connections 5")) << text;
  EXPECT_TRUE(has_line(text, "# TYPE weir_hook_decisions_total counter"));
}

TEST(Metrics, SortValuesIntoBuckets) {
  registry r;
  auto& h = r.histogram<family::segment_age_seconds>();
  for (double v : {0.01, 0.05, 0.06, 61.0})
    h.observe(v);
  EXPECT_EQ(h.count(), 4u);
  auto text = r.text();
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="0.05"} 2)")) << text; // a bound belongs to its bucket
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="0.1"} 3)"));
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="60"} 3)"));
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="+Inf"} 4)"));
  EXPECT_TRUE(has_line(text, "weir_segment_age_seconds_count 4"));
}

TEST(Metrics, TakeHistogramsThatAreCountedElsewhere) {
  registry r;
  histogram ages(scale::media);
  for (double v : {0.01, 0.06, 61.0})
    ages.observe(v);
  auto handle = r.collect_with([&](scrape& out) {
    out.tell<family::segment_age_seconds>(ages.now());
    out.tell<family::hook_seconds>(ages.now(), "publish"); // as many buckets as it has
    out.tell<family::origin_seconds>(tally{{1, 2}, 3}, "GET");
  });
  ages.observe(0.02);
  auto text = r.text();
  EXPECT_TRUE(has_line(text, "# TYPE weir_segment_age_seconds histogram")) << text;
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="0.05"} 2)")) << text;
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="0.1"} 3)"));
  EXPECT_TRUE(has_line(text, R"(weir_segment_age_seconds_bucket{le="+Inf"} 4)"));
  EXPECT_TRUE(has_line(text, "weir_segment_age_seconds_count 4"));
  EXPECT_TRUE(has_line(text, R"(weir_hook_duration_seconds_count{hook="publish"} 4)"));
  EXPECT_EQ(text.find("weir_origin_duration_seconds"), text.npos) << "two buckets are not its buckets";
  r.histogram<family::segment_age_seconds>().observe(1);
  EXPECT_TRUE(has_line(r.text(), "weir_segment_age_seconds_count 1")) << "a series that is counted here stands once";
}

TEST(Metrics, AddUpHistogramsThatAreFolded) {
  registry r;
  histogram one(scale::quick);
  one.observe(0.002);
  auto handle = r.collect_with([&](scrape& out) {
    for (std::size_t i = 0; i < series_limit + 5; ++i)
      out.tell<family::hook_seconds>(one.now(), "hook-" + std::to_string(i));
  });
  auto text = r.text();
  EXPECT_TRUE(has_line(text, R"(weir_hook_duration_seconds_count{hook="other"} 5)")) << text.substr(0, 400);
  EXPECT_TRUE(has_line(text, R"(weir_hook_duration_seconds_bucket{hook="other",le="0.0025"} 5)"));
}

TEST(Metrics, LoseNothingBetweenThreads) {
  registry r;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        r.counter<family::segments_written>().add();
        r.histogram<family::hook_seconds>("publish").observe(0.002);
        if (i % 2'000 == 0) {
          EXPECT_FALSE(r.text().empty());
        }
      }
    });
  threads.clear();
  EXPECT_EQ(r.counter<family::segments_written>().value(), 40'000);
  EXPECT_EQ(r.histogram<family::hook_seconds>("publish").count(), 40'000u);
}

TEST(Metrics, FoldSeriesBeyondTheLimit) {
  registry r;
  for (std::size_t i = 0; i < series_limit + 10; ++i)
    r.gauge<family::transcoder_speed>("task-" + std::to_string(i)).add(1);
  r.gauge<family::transcoder_speed>("task-0").add(1);
  auto text = r.text();
  EXPECT_TRUE(has_line(text, R"(weir_transcoder_speed_ratio{task="other"} 10)"));
  EXPECT_TRUE(has_line(text, R"(weir_transcoder_speed_ratio{task="task-0"} 2)"));
  EXPECT_TRUE(has_line(text, R"(weir_metric_series_folded_total{family="weir_transcoder_speed_ratio"} 10)"));
}

TEST(Metrics, AskCollectorsAtEachScrapeWhileTheyLive) {
  registry r;
  int live = 3;
  auto handle = r.collect_with([&](scrape& out) {
    out.set<family::streams>(live, "live");
    if (live > 3)
      out.set<family::streams>(1, "ending");
    r.counter<family::segments_written>().add(); // a collector may look up metrics
  });
  EXPECT_TRUE(has_line(r.text(), R"(weir_streams{phase="live"} 3)"));
  live = 4;
  EXPECT_TRUE(has_line(r.text(), R"(weir_streams{phase="ending"} 1)"));
  live = 3;
  EXPECT_FALSE(has_line(r.text(), R"(weir_streams{phase="ending"} 1)")) << "what is no longer named is gone";
  handle.reset();
  EXPECT_EQ(r.text().find("weir_streams"), std::string::npos);
}

TEST(Metrics, FoldWhatCollectorsNameToo) {
  registry r;
  auto handle = r.collect_with([](scrape& out) {
    for (std::size_t i = 0; i < series_limit + 5; ++i)
      out.set<family::edge_viewers>(2, "edge-" + std::to_string(i));
  });
  EXPECT_TRUE(has_line(r.text(), R"(weir_edge_viewers{edge="other"} 10)"));
}

TEST(Metrics, TellOfBuildProcessAndErrors) {
  ASSERT_TRUE(weir::log::configure({weir::log::level::info, weir::log::format::text, "/dev/null"}));
  weir::log::error("metrics-test", "made-up-error", "for the test");
  ASSERT_TRUE(weir::log::configure({}));
  auto text = registry().text();
  for (auto part : {"weir_build_info{version=\"", "process_cpu_seconds_total ", "process_resident_memory_bytes ", "process_open_fds ", "process_start_time_seconds "})
    EXPECT_NE(text.find(part), std::string::npos) << part;
  EXPECT_TRUE(has_line(text, R"(weir_errors_total{code="made-up-error",component="metrics-test"} 1)")) << text;
}

TEST(Metrics, TellWhetherTheConfigurationWasTakenWhenItWasLastRead) {
  EXPECT_EQ(registry().text().find("weir_config_last_reload"), std::string::npos) << "it never was";
  auto at = std::chrono::system_clock::time_point(std::chrono::milliseconds(1'764'000'000'500));
  note_reload(true, at);
  EXPECT_TRUE(has_line(registry().text(), "weir_config_last_reload_successful 1"));
  EXPECT_TRUE(has_line(registry().text(), "weir_config_last_reload_success_timestamp_seconds 1764000000.5")) << registry().text();
  note_reload(false, at + std::chrono::hours(1));
  EXPECT_TRUE(has_line(registry().text(), "weir_config_last_reload_successful 0"));
  EXPECT_TRUE(has_line(registry().text(), "weir_config_last_reload_success_timestamp_seconds 1764000000.5")) << "the one before is in force";
}

TEST(Metrics, PassPromtoolWithEveryFamilyAndOddLabels) {
  if (std::system("command -v promtool >/dev/null") != 0)
    GTEST_SKIP() << "promtool (Debian package prometheus) is not installed";
  registry r;
  auto handle = r.collect_with([](scrape& out) {
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      auto one = [&]<family F>() {
        if constexpr (describe(F).type != kind::histogram && describe(F).label_count() == 0)
          out.set<F>(1.5);
        else if constexpr (describe(F).type != kind::histogram && describe(F).label_count() == 1)
          out.set<F>(1.5, "a \"b\"\n\\ \xff");
        else if constexpr (describe(F).type != kind::histogram && describe(F).label_count() == 2)
          out.set<F>(1.5, "a", "");
      };
      (one.template operator()<static_cast<family>(I)>(), ...);
    }(std::make_index_sequence<table.size()>{});
  });
  r.histogram<family::hook_seconds>("publish").observe(1);
  std::string name = std::filesystem::temp_directory_path() / "weir-metrics-XXXXXX";
  std::filesystem::path folder = mkdtemp(name.data());
  ASSERT_TRUE(weir::write_file_atomically(folder / "metrics", r.text(), 0600, weir::sync::no));
  auto status = std::system(("promtool check metrics < " + (folder / "metrics").string() + " > " + (folder / "out").string() + " 2>&1").c_str());
  EXPECT_EQ(status, 0) << weir::read_file(folder / "out", 1 << 20).value_or("");
  std::filesystem::remove_all(folder);
}
