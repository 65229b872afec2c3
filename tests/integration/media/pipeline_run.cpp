#include "tests/integration/media/pipeline_run.hpp"

#include "runtime/base/base64.hpp"
#include "runtime/media/child_main.hpp"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace weir::media {

scratch_folder::scratch_folder() {
  char path[] = "/tmp/weir-media-XXXXXX";
  path_ = ::mkdtemp(path);
}
scratch_folder::~scratch_folder() { std::filesystem::remove_all(path_); }

std::string make_clip(const scratch_folder& folder, const std::string& name, const std::string& arguments) {
  auto path = folder.file(name);
  auto command = fmt::format("ffmpeg -v error -nostdin -y {} {}", arguments, path);
  if (std::system(command.c_str()) != 0) {
    std::fprintf(stderr, "failed: %s\n", command.c_str());
    std::abort();
  }
  return path;
}

pid_t start_ffmpeg(const std::string& arguments) {
  auto command = "exec ffmpeg -v error -nostdin -y " + arguments;
  auto pid = ::fork();
  if (pid == 0) {
    ::execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
    ::_exit(127);
  }
  return pid;
}

void end_process(pid_t pid) {
  ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
}

pipeline_run::pipeline_run(const configure& settings) {
  auto pair = make_channel();
  EXPECT_TRUE(pair);
  auto parent = ::getpid();
  pid_ = ::fork();
  if (pid_ == 0) {
    ::close(pair->parent.fd());
    // exit() and not _exit(): the leak checker of sanitized builds has its say.
    std::exit(child_main(pair->child.release(), parent));
  }
  channel_ = std::move(pair->parent);
  auto sent = channel_.send(settings);
  EXPECT_TRUE(sent) << sent.error().text;
}

pipeline_run::~pipeline_run() {
  if (pid_ > 0)
    end_process(pid_);
}

bool pipeline_run::receive_until(const std::function<bool()>& until, milliseconds limit) {
  const auto deadline = steady_clock::now() + limit;
  while (!until()) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - steady_clock::now());
    if (left.count() <= 0)
      return false;
    auto got = channel_.receive(left);
    if (!got && got.error().code == error_code::timeout)
      return false;
    if (!got && got.error().code == error_code::unavailable) {
      ::waitpid(pid_, &status, 0);
      pid_ = -1;
      return true;
    }
    EXPECT_TRUE(got) << got.error().text;
    if (!got)
      return false;
    if (auto* r = std::get_if<segment_report>(&got->what)) {
      segments.push_back({r->segment, read_sealed(got->media.get(), r->segment.bytes).value(), rungs.size()});
      segments.back().info.keys = r->keys;
    } else if (auto* p = std::get_if<part_report>(&got->what))
      parts.push_back({p->part, read_sealed(got->media.get(), p->part.bytes).value(), beats.empty() ? -1 : beats.back().last_read_pts, segments.size()});
    else if (auto* i = std::get_if<input_report>(&got->what))
      inputs.push_back(*i);
    else if (auto* g = std::get_if<rungs_report>(&got->what))
      rungs.push_back(*g);
    else if (auto* h = std::get_if<heartbeat>(&got->what))
      beats.push_back(*h);
    else if (auto* t = std::get_if<trouble>(&got->what))
      troubles.push_back(*t);
    else if (auto* e = std::get_if<end_report>(&got->what))
      end = *e;
  }
  return true;
}

void pipeline_run::finish(milliseconds limit) {
  receive_until([&] { return pid_ < 0; }, limit);
  ASSERT_LT(pid_, 0) << "the child did not end";
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
  ASSERT_TRUE(end) << "no end record";
}

void pipeline_run::stop() {
  auto sent = channel_.send(stop_order{"test"});
  EXPECT_TRUE(sent) << sent.error().text;
}

void pipeline_run::let_go_on(milliseconds within) {
  auto sent = channel_.send(go_on{within});
  EXPECT_TRUE(sent) << sent.error().text;
}

std::vector<made_segment> pipeline_run::of(const std::string& rung) const {
  std::vector<made_segment> out;
  for (auto& s : segments)
    if (s.info.rung == rung)
      out.push_back(s);
  return out;
}

std::vector<made_part> pipeline_run::parts_of(const std::string& rung, std::uint64_t slot) const {
  std::vector<made_part> out;
  for (auto& p : parts)
    if (p.info.rung == rung && p.info.slot == slot)
      out.push_back(p);
  return out;
}

rung_info pipeline_run::announced(const made_segment& s) const {
  for (std::size_t i = 0; s.ladders > 0 && i < rungs.at(s.ladders - 1).rungs.size(); ++i)
    if (auto& r = rungs[s.ladders - 1].rungs[i]; r.name == s.info.rung)
      return r;
  ADD_FAILURE() << "a segment of " << s.info.rung << ", which was not announced";
  return {};
}

configure passing_top(configure c) {
  c.ladder.pass_top = true;
  return c;
}

configure in_fmp4(configure c) {
  c.container = media_container::fmp4;
  return c;
}

std::string map_of(const pipeline_run& run, const std::string& rung) {
  auto& ladder = run.rungs.back();
  for (std::size_t i = 0; i < ladder.rungs.size(); ++i)
    if (ladder.rungs[i].name == rung && i < ladder.maps.size())
      return from_base64(ladder.maps[i]).value();
  return {};
}

std::string boxes_of(std::string_view bytes) {
  std::string types;
  while (!bytes.empty()) {
    std::uint32_t size = 0;
    for (std::size_t i = 0; i < 4 && bytes.size() >= 8; ++i)
      size = size << 8 | static_cast<unsigned char>(bytes[i]);
    if (size < 8 || size > bytes.size())
      return types + "?";
    types += (types.empty() ? "" : " ") + std::string(bytes.substr(4, 4));
    bytes.remove_prefix(size);
  }
  return types;
}

bool are_fragments(std::string_view bytes) {
  auto boxes = boxes_of(bytes) + ' ';
  while (boxes.starts_with("moof mdat "))
    boxes.erase(0, 10);
  return boxes.empty() && !bytes.empty();
}

configure hls_of(const std::string& path, std::vector<rung_spec> rungs) {
  configure c;
  c.input_url = path;
  c.realtime = false;
  c.gop = milliseconds(1000);
  c.segment = milliseconds(2000);
  c.ladder.rungs = std::move(rungs);
  c.ladder.preset = "ultrafast";
  c.ladder.audio = bit_rate{64'000};
  return c;
}

} // namespace weir::media
