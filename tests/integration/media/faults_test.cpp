// Sources and targets that fail, orders to stop, and damaged media.
#include "runtime/media/child_main.hpp"
#include "runtime/media/synthetic.hpp"
#include "tests/integration/media/pipeline_run.hpp"

#include <arpa/inet.h>
#include <csignal>
#include <fcntl.h>
#include <fstream>
#include <gtest/gtest.h>
#include <poll.h>
#include <random>
#include <sys/socket.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

namespace weir::media {
namespace {

const std::string signal_of_test = "-f lavfi -i testsrc2=s=320x180:r=25 -f lavfi -i sine=r=48000 -c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p -c:a aac -ac 2 ";

std::string contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// A server that sends some bytes to its first client and then is silent; it takes further connections and is silent there too.
class silent_server {
public:
  explicit silent_server(std::string bytes = {}) : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::bind(fd_.get(), reinterpret_cast<sockaddr*>(&a), sizeof a), 0);
    EXPECT_EQ(::listen(fd_.get(), 8), 0);
    socklen_t size = sizeof a;
    EXPECT_EQ(::getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&a), &size), 0);
    port_ = ntohs(a.sin_port);
    bytes_ = std::move(bytes);
  }
  /// After the fork of the pipeline, because threads do not cross it.
  void serve() {
    thread_ = std::thread([this] {
      owned_fd client{::accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC)};
      for (std::size_t at = 0; client && at < bytes_.size();) {
        auto n = ::send(client.get(), bytes_.data() + at, bytes_.size() - at, MSG_NOSIGNAL);
        if (n <= 0)
          break;
        at += static_cast<std::size_t>(n);
      }
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return over_; });
    });
  }
  ~silent_server() {
    ::shutdown(fd_.get(), SHUT_RDWR); // ends a waiting accept
    {
      std::lock_guard lock(mutex_);
      over_ = true;
    }
    changed_.notify_all();
    if (thread_.joinable())
      thread_.join();
  }
  int port() const { return port_; }
  std::string url() const { return fmt::format("tcp://127.0.0.1:{}", port_); }

private:
  owned_fd fd_;
  int port_ = 0;
  std::string bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool over_ = false;
  std::thread thread_;
};

int free_port() {
  silent_server s;
  return s.port();
}

bool accepts(int port) {
  owned_fd fd{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<std::uint16_t>(port));
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&a), sizeof a) == 0;
}

template <class F>
bool eventually(F&& holds, milliseconds limit = seconds(10)) {
  for (const auto until = steady_clock::now() + limit; steady_clock::now() < until; ::poll(nullptr, 0, 20))
    if (holds())
      return true;
  return holds();
}

/// The real RTMP server. Application `live` takes everyone, `closed` refuses every publisher.
class rtmp_server {
public:
  explicit rtmp_server(const scratch_folder& folder) : port(free_port()) {
    std::ofstream(folder.file("nginx.conf")) << fmt::format(
      "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so; daemon off; master_process off; pid {0}/pid; error_log {0}/error.log; events {{}}\n"
      "rtmp {{ access_log off; server {{ listen 127.0.0.1:{1}; application live {{ live on; }} application closed {{ live on; deny publish all; }} }} }}\n",
      folder.file("."), port);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/usr/sbin/nginx", "nginx", "-c", folder.file("nginx.conf").c_str(), "-e", folder.file("error.log").c_str(), nullptr);
      ::_exit(127);
    }
    EXPECT_TRUE(eventually([&] { return accepts(port); })) << contents(folder.file("error.log"));
  }
  ~rtmp_server() { end_process(pid_); }
  std::string url(const std::string& path) const { return fmt::format("rtmp://127.0.0.1:{}/{}", port, path); }
  const int port;

private:
  pid_t pid_ = -1;
};

configure restream_of(const std::string& input, const std::string& target) {
  configure c;
  c.kind = pipeline_kind::restream;
  c.realtime = false;
  c.input_url = input;
  c.target_url = target;
  c.write_deadline = milliseconds(1000);
  return c;
}

TEST(HlsFaults, TellsASilentSourceFromOneThatEnded) {
  scratch_folder folder;
  auto bytes = contents(make_clip(folder, "a.ts", signal_of_test + "-t 4 -muxdelay 0"));
  silent_server server(bytes);
  auto settings = hls_of(server.url());
  settings.realtime = true;
  settings.open_deadline = settings.read_deadline = milliseconds(700);
  settings.source_patience = milliseconds(1'500);
  pipeline_run run(settings);
  server.serve();
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::source_stalled) << run.end->text;
  EXPECT_EQ(run.of("180p").size(), 2u) << "what had come is delivered";
  ASSERT_FALSE(run.troubles.empty());
  EXPECT_EQ(run.troubles[0].cause, end_cause::source_stalled);
  ASSERT_FALSE(run.beats.empty());
  auto& last = run.beats.back();
  EXPECT_GT(last.last_read_age, 1'000);
  EXPECT_GE(run.beats.size(), 8u) << "hearts beat while libav waits";
  EXPECT_TRUE(std::any_of(run.beats.begin(), run.beats.end(), [](auto& b) { return b.blocked_milliseconds > 300; }));
  EXPECT_EQ(last.outputs.size(), 2u);
  EXPECT_GT(last.output_bytes, 10'000);
}

TEST(HlsFaults, ReportsASourceThatNeverSpoke) {
  silent_server server;
  auto settings = hls_of(server.url());
  settings.realtime = true;
  settings.open_deadline = milliseconds(500);
  settings.source_patience = milliseconds(0);
  pipeline_run run(settings);
  const auto started = steady_clock::now();
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::source_stalled);
  EXPECT_LT(steady_clock::now() - started, seconds(4));
}

TEST(HlsFaults, ReportsAFileThatIsNoMedia) {
  scratch_folder folder;
  std::ofstream(folder.file("a.flv")) << "this is no media at all, only words";
  pipeline_run run(hls_of(folder.file("a.flv")));
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::encoder_error);
  EXPECT_NE(run.end->libav_code, 0);
}

TEST(HlsFaults, StopsWithinASecondAndDeliversTheLastSegment) {
  scratch_folder folder;
  const auto port = free_port();
  auto settings = hls_of(fmt::format("tcp://127.0.0.1:{}", port));
  settings.realtime = true;
  auto clip = make_clip(folder, "a.ts", signal_of_test + "-t 20 -muxdelay 0");
  auto feeder = start_ffmpeg(fmt::format("-re -i {} -c copy -f mpegts 'tcp://127.0.0.1:{}?listen=1'", clip, port));
  pipeline_run run(settings); // tries again until the feeder listens
  EXPECT_TRUE(run.receive_until([&] { return !run.segments.empty(); }));
  const auto before = run.of("180p").size();
  const auto asked = steady_clock::now();
  run.stop();
  run.finish();
  EXPECT_LT(steady_clock::now() - asked, milliseconds(2'500)); // 1 s, and what a sanitized process takes to exit
  EXPECT_EQ(run.end->cause, end_cause::requested);
  EXPECT_GE(run.of("180p").size(), before);
  EXPECT_EQ(run.of("180p").size(), run.of("90p").size());
  ASSERT_FALSE(run.beats.empty());
  end_process(feeder);
}

TEST(HlsFaults, LeavesPicturesOutAndSaysSoWhenItIsTooSlow) {
  scratch_folder folder;
  // A source that delivers half a minute at once: no pipeline is fast enough.
  auto settings = hls_of(make_clip(folder, "a.flv", signal_of_test + "-t 30"), {{"180p", 180, bit_rate{300'000}, 60}});
  settings.realtime = true;
  pipeline_run run(settings);
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::source_ended);
  ASSERT_FALSE(run.beats.empty());
  EXPECT_GT(run.beats.back().dropped_frames, 100);
  for (auto& b : run.beats)
    EXPECT_LE(b.packets_queued, 9 * (25 + 50)) << "more than the longest backlog waits";
  std::int64_t pictures = 0;
  for (auto& s : run.segments) {
    auto report = probe_bytes(s.bytes);
    ASSERT_TRUE(report);
    EXPECT_EQ(report->errors, 0);
    EXPECT_TRUE(report->starts_with_key);
    pictures += report->pictures;
  }
  EXPECT_GT(pictures, 20);
  EXPECT_LT(pictures, 750);
}

TEST(HlsFaults, RefusesALadderThatCannotBe) {
  auto settings = hls_of("/nonexistent");
  settings.segment = milliseconds(2'500);
  pipeline_run run(settings);
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::bad_options) << run.end->text;
}

TEST(HlsFaults, SurvivesDamagedMedia) {
  scratch_folder folder;
  const auto whole = contents(make_clip(folder, "a.flv", signal_of_test + "-t 2"));
  std::mt19937 random(7);
  for (int i = 0; i < 16; ++i) {
    auto bytes = whole;
    auto at = [&] { return std::uniform_int_distribution<std::size_t>(0, bytes.size() - 1)(random); };
    for (int n = 1 << (i % 8); n > 0; --n)
      bytes[at()] = static_cast<char>(random());
    if (i % 4 == 1)
      bytes.erase(at() / 2, 500);
    if (i % 4 == 2)
      bytes.resize(at());
    std::ofstream(folder.file("m.flv"), std::ios::binary) << bytes;
    pipeline_run run(hls_of(folder.file("m.flv"), {{"90p", 90, bit_rate{100'000}, 60}}));
    run.finish();
    ASSERT_TRUE(run.end) << "mutation " << i;
    EXPECT_NE(run.end->cause, end_cause::crashed);
  }
}

TEST(ChildProcess, DiesWithItsParent) {
  int alive[2];
  ASSERT_EQ(::pipe2(alive, O_CLOEXEC), 0);
  silent_server server;
  // A parent that configures a child and is killed; the child holds the pipe open for as long as it lives.
  auto parent = ::fork();
  if (parent == 0) {
    auto pair = make_channel().value();
    auto self = ::getpid();
    if (auto child = ::fork(); child == 0)
      ::_exit(child_main(pair.child.release(), self));
    auto settings = hls_of(server.url());
    settings.realtime = true;
    (void)pair.parent.receive(seconds(10));
    (void)pair.parent.send(settings);
    (void)pair.parent.receive(seconds(10)); // a heartbeat: the pipeline runs
    ::kill(self, SIGKILL);
  }
  ::close(alive[1]);
  ::waitpid(parent, nullptr, 0);
  pollfd p{alive[0], POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 5'000), 1) << "the child outlives its parent";
  char c;
  EXPECT_EQ(::read(alive[0], &c, 1), 0);
  ::close(alive[0]);
}

TEST(Restream, SendsToARealServerWhatASyntheticSenderPublishes) {
  scratch_folder folder;
  rtmp_server server(folder);
  auto settings = restream_of(server.url("live/in"), server.url("live/out?key=abcdef"));
  settings.realtime = true;
  settings.source_patience = milliseconds(500);
  settings.read_deadline = milliseconds(4'000);
  pipeline_run run(settings);
  auto player = start_ffmpeg(fmt::format("-rw_timeout 15000000 -i '{}' -c copy -t 2 {}", server.url("live/out"), folder.file("out.flv")));
  std::atomic<bool> stop{false};
  expected<void> sent;
  std::thread sender([&] {
    synthetic_options o;
    o.width = 320, o.height = 180, o.fps = 25, o.gop = 25, o.video = bit_rate{300'000};
    sent = run_synthetic_sender(server.url("live/in"), o, stop);
  });
  EXPECT_TRUE(run.receive_until([&] { return ::waitpid(player, nullptr, WNOHANG) == player; }, seconds(25)));
  run.stop();
  run.finish();
  stop = true;
  sender.join();
  EXPECT_TRUE(sent) << sent.error().text;
  ASSERT_FALSE(run.beats.empty());
  EXPECT_GT(run.beats.back().output_bytes, 20'000);
  EXPECT_GT(run.beats.back().outputs.at(0).last_pts, 90'000);
  ASSERT_TRUE(run.end);
  EXPECT_EQ(run.end->cause, end_cause::requested);
  auto report = probe_file(folder.file("out.flv"));
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->video, "h264");
  EXPECT_EQ(report->audio, "aac");
  EXPECT_GT(report->pictures, 20);
}

TEST(Restream, TellsARefusingTargetFromAnUnreachableOne) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", signal_of_test + "-t 2");
  rtmp_server server(folder);
  // Longer than the buffers on the way: all of a short one may have been sent before the refusal is read.
  pipeline_run refused(restream_of(make_clip(folder, "long.flv", signal_of_test + "-t 70"), server.url("closed/secretkey")));
  refused.finish();
  EXPECT_EQ(refused.end->cause, end_cause::target_refused) << refused.end->text;
  EXPECT_EQ(refused.end->text.find("secretkey"), std::string::npos) << refused.end->text;

  pipeline_run nobody(restream_of(clip, fmt::format("rtmp://127.0.0.1:{}/live/a", free_port())));
  nobody.finish();
  EXPECT_EQ(nobody.end->cause, end_cause::target_unreachable) << nobody.end->text;

  silent_server mute;
  pipeline_run silent(restream_of(clip, fmt::format("rtmp://127.0.0.1:{}/live/a", mute.port())));
  const auto started = steady_clock::now();
  silent.finish();
  EXPECT_EQ(silent.end->cause, end_cause::target_unreachable) << silent.end->text;
  EXPECT_LT(steady_clock::now() - started, seconds(5)) << "the write deadline is 1 s";
}

TEST(Restream, EndsWithItsSource) {
  scratch_folder folder;
  auto clip = make_clip(folder, "a.flv", signal_of_test + "-t 2");
  rtmp_server server(folder);
  pipeline_run run(restream_of(clip, server.url("live/a")));
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::source_ended) << run.end->text;
}

/// The ffmpeg program, ended with the test.
class ffmpeg_program {
public:
  explicit ffmpeg_program(const std::string& arguments) : pid_(start_ffmpeg(arguments)) {}
  ffmpeg_program(const ffmpeg_program&) = delete;
  ~ffmpeg_program() { end(); }
  void end() {
    if (pid_ > 0)
      end_process(std::exchange(pid_, -1));
  }
  bool ended() {
    if (pid_ > 0 && ::waitpid(pid_, nullptr, WNOHANG) == pid_)
      pid_ = -1;
    return pid_ < 0;
  }

private:
  pid_t pid_;
};

/// A broadcast at live/in of a real server, and somebody who publishes live/out, to which it is to be sent.
class RestreamTriesAgain : public ::testing::Test {
public:
  RestreamTriesAgain() {
    settings.realtime = true;
    settings.read_deadline = milliseconds(4'000);
    settings.write_deadline = milliseconds(5'000);
    settings.target_patience = milliseconds(30'000); // a busy machine starts a program in seconds
  }
  std::string to(const std::string& path) const { return fmt::format("-re -i {} -c copy -f flv {}", clip, server.url(path)); }
  static bool refused_for_the_moment(pipeline_run& run) {
    return run.receive_until([&] { return !run.troubles.empty(); }, seconds(20));
  }
  static bool pushes(const pipeline_run& run) { return !run.beats.empty() && run.beats.back().output_bytes > 0; }

  scratch_folder folder;
  const std::string clip = make_clip(folder, "a.flv", signal_of_test + "-t 60");
  rtmp_server server{folder};
  ffmpeg_program camera{to("live/in")}, holder{to("live/out")};
  configure settings = restream_of(server.url("live/in"), server.url("live/out"));
};

TEST_F(RestreamTriesAgain, WhileALostPublisherHoldsTheName) {
  pipeline_run run(settings);
  ASSERT_TRUE(refused_for_the_moment(run));
  EXPECT_EQ(run.troubles[0].cause, end_cause::target_unreachable);
  EXPECT_NE(run.troubles[0].text.find("Already publishing"), std::string::npos) << run.troubles[0].text;
  const auto then = run.beats.size();
  ASSERT_TRUE(run.receive_until([&] { return run.beats.size() >= then + 4; })) << "a second";
  EXPECT_FALSE(pushes(run));
  EXPECT_EQ(run.beats.back().outputs.at(0).last_pts, -1) << "it does not count as running";
  holder.end();
  const auto left = steady_clock::now();
  ASSERT_TRUE(run.receive_until([&] { return pushes(run) || run.end; }));
  EXPECT_FALSE(run.end) << run.end->text;
  EXPECT_LT(steady_clock::now() - left, milliseconds(3'500)) << "an attempt, a group of pictures and a heartbeat take 1.6 s";
  for (auto i = then; i < run.beats.size(); ++i)
    EXPECT_LT(run.beats[i].packets_queued, 72) << "what comes in a second";
  EXPECT_EQ(run.troubles.size(), 1u);
  EXPECT_EQ(run.inputs.size(), 1u);
  run.stop();
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::requested) << run.end->text;
}

TEST_F(RestreamTriesAgain, AndEndsWhenTheNameStaysTaken) {
  settings.target_patience = milliseconds(2'000);
  pipeline_run run(settings);
  ASSERT_TRUE(refused_for_the_moment(run));
  const auto refused = steady_clock::now();
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::target_unreachable);
  EXPECT_NE(run.end->text.find("Already publishing"), std::string::npos) << run.end->text;
  EXPECT_GT(steady_clock::now() - refused, milliseconds(1'000));
  EXPECT_LT(steady_clock::now() - refused, milliseconds(5'500)); // 2 s, an attempt, and what a sanitized process takes to exit
  EXPECT_EQ(run.troubles.size(), 1u);
  EXPECT_FALSE(pushes(run));
}

TEST_F(RestreamTriesAgain, AndStopsMeanwhile) {
  pipeline_run run(settings);
  ASSERT_TRUE(refused_for_the_moment(run));
  const auto asked = steady_clock::now();
  run.stop();
  run.finish();
  EXPECT_LT(steady_clock::now() - asked, milliseconds(2'500));
  EXPECT_EQ(run.end->cause, end_cause::requested);
  EXPECT_EQ(run.end->text, "") << "the pipeline itself says so, not the clock of one that does not stop";

  silent_server mute;
  settings.target_url = fmt::format("rtmp://127.0.0.1:{}/live/a", mute.port());
  settings.write_deadline = milliseconds(30'000);
  pipeline_run blocked(settings);
  ASSERT_TRUE(blocked.receive_until([&] { return !blocked.inputs.empty() && blocked.beats.back().blocked_milliseconds > 300; }));
  blocked.stop();
  blocked.finish();
  EXPECT_EQ(blocked.end->cause, end_cause::requested);
  EXPECT_EQ(blocked.end->text, "");
}

TEST_F(RestreamTriesAgain, AndEndsWithoutTheWordOfItsProgram) {
  pipeline_run run(settings);
  ASSERT_TRUE(refused_for_the_moment(run));
  run.let_go_on(milliseconds(1'000));
  const auto said = steady_clock::now();
  ASSERT_TRUE(run.receive_until([&] { return run.status >= 0; }, seconds(10)));
  EXPECT_GT(steady_clock::now() - said, milliseconds(900));
  EXPECT_LT(steady_clock::now() - said, milliseconds(3'500));
  EXPECT_FALSE(run.end) << "nobody to tell it to";
}

TEST_F(RestreamTriesAgain, WhileNobodyListens) {
  const auto port = free_port();
  settings.target_url = fmt::format("rtmp://127.0.0.1:{}/live/out", port);
  pipeline_run run(settings);
  ASSERT_TRUE(refused_for_the_moment(run));
  ffmpeg_program target(fmt::format("-listen 1 -i {} -c copy -copyinkf -t 3 {}", settings.target_url, folder.file("out.flv")));
  ASSERT_TRUE(run.receive_until([&] { return target.ended(); }));
  ASSERT_TRUE(eventually([&] { return target.ended(); })) << "it closes the connection first";
  EXPECT_TRUE(pushes(run));
  auto report = probe_file(folder.file("out.flv"));
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_GT(report->pictures, 50);
  EXPECT_EQ(report->errors, 0);
  EXPECT_TRUE(report->starts_with_key);
}

TEST_F(RestreamTriesAgain, NotWhereItsKeyIsRefused) {
  settings.target_url = server.url("closed/secretkey");
  pipeline_run run(settings);
  run.finish();
  EXPECT_EQ(run.end->cause, end_cause::target_refused) << run.end->text;
  EXPECT_EQ(run.troubles.size(), 0u);
}

TEST(Synthetic, MakesAClipThatPlays) {
  scratch_folder folder;
  synthetic_options o;
  o.width = 320, o.height = 180, o.fps = 25, o.gop = 50, o.seconds = 2;
  auto made = make_synthetic_clip(folder.file("a.flv"), o);
  ASSERT_TRUE(made) << made.error().text;
  auto report = probe_file(folder.file("a.flv"));
  ASSERT_TRUE(report) << report.error().text;
  EXPECT_EQ(report->pictures, 50);
  EXPECT_EQ(report->key_pts.size(), 1u);
  EXPECT_EQ(report->errors, 0);
  EXPECT_GT(report->samples, 90'000);
}

} // namespace
} // namespace weir::media
