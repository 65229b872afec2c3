#pragma once
// Runs child_main in a forked process and collects what it says; makes odd clips with the ffmpeg program.
#include "runtime/media/channel.hpp"
#include "runtime/media/probe.hpp"

#include <map>
#include <string>
#include <vector>

namespace weir::media {

/// A folder that is gone at the end of the test.
class scratch_folder {
public:
  scratch_folder();
  ~scratch_folder();
  std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
  std::string path_;
};

/// Arguments of ffmpeg: what most clips are made of.
inline const std::string picture = "-f lavfi -i testsrc2=s=320x180:r=25 ";
inline const std::string tone = "-f lavfi -i sine=f=440:r=48000 ";
inline const std::string x264 = "-c:v libx264 -preset ultrafast -g 25 -pix_fmt yuv420p ";
inline const std::string aac = "-c:a aac -b:a 64k -ac 2 ";

/// Runs `ffmpeg ARGUMENTS`, writes to the file and gives its path. Ends the test program when ffmpeg fails: nothing could be tested.
std::string make_clip(const scratch_folder& folder, const std::string& name, const std::string& arguments);
/// Starts `ffmpeg ARGUMENTS`, to be ended with end_process().
pid_t start_ffmpeg(const std::string& arguments);
void end_process(pid_t pid);

struct made_segment {
  segment_info info;
  std::string bytes;
  std::size_t ladders; ///< how many had been announced when it came: it is of the newest
};

struct made_part {
  part_info info;
  std::string bytes;
  std::int64_t read;    ///< time of the last packet that the child had read, as far as it had said by then
  std::size_t segments; ///< how many had come
};

/// A pipeline in a process of its own.
class pipeline_run {
public:
  explicit pipeline_run(const configure& settings);
  ~pipeline_run();

  /// Receives until the child ends, `until` holds or time is up. Whether one of the first two came.
  bool receive_until(const std::function<bool()>& until, milliseconds limit = seconds(30));
  /// Receives until the end.
  void finish(milliseconds limit = seconds(30));
  void stop();
  /// Tells it to go on for so long.
  void let_go_on(milliseconds within);
  pid_t pid() const { return pid_; }

  std::vector<input_report> inputs;
  std::vector<rungs_report> rungs;
  std::vector<made_segment> segments; ///< as they came
  std::vector<made_part> parts;       ///< as they came
  std::vector<heartbeat> beats;
  std::vector<trouble> troubles;
  std::optional<end_report> end;
  int status = -1; ///< of wait(), once the child is gone

  /// Of one rung, in order.
  std::vector<made_segment> of(const std::string& rung) const;
  std::vector<made_part> parts_of(const std::string& rung, std::uint64_t slot) const;
  /// What was announced of the rung that it is of.
  rung_info announced(const made_segment& s) const;

private:
  parent_channel channel_;
  pid_t pid_ = -1;
};

configure in_fmp4(configure c);
configure passing_top(configure c);
/// The map of a rung in the newest ladder.
std::string map_of(const pipeline_run& run, const std::string& rung);
/// Types of the boxes, "moof mdat"; "?" where they do not fill the bytes.
std::string boxes_of(std::string_view bytes);
/// Whether the bytes are fragments, one or more: each a moof and its mdat.
bool are_fragments(std::string_view bytes);
configure hls_of(const std::string& path, std::vector<rung_spec> rungs = {{"180p", 180, bit_rate{300'000}, 60}, {"90p", 90, bit_rate{100'000}, 60}});

} // namespace weir::media
