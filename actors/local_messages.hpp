#pragma once
// Messages that never leave the process: they carry descriptors, callbacks or shared memory.
#include "actors/caf.hpp"
#include "runtime/hls/log_news.hpp"
#include "runtime/steering/liveness.hpp"
#include "schemas/media.hpp"
#include "schemas/task.hpp"

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace weir {

/// A child process ended; `generation` tells an old child's end from the present one's.
struct process_ended {
  std::uint64_t generation = 0;
  int exit_code = 0; ///< −1 when it died by a signal
  int signal = 0;
};

/// The back-off of a foreign program is over; of that start only.
struct start_again {
  std::uint64_t generation = 0;
};

/// What a status page of nginx answered; status 0: nothing, with the error.
struct status_page {
  int status = 0;
  std::string body;
  std::string error;
};

/// INTERNAL to observer: how a probe ended, of that number only.
struct probe_ended {
  edge_name edge;
  std::uint64_t probe = 0;
  steering::probe_result result;
};

/// Ingest → RTMP watch: a new start of the server; its callbacks name it so.
struct server_started {
  std::string service_id;
};

/// Node → runner → transcoder: where the stream can be read now, the first one preferred.
struct use_inputs {
  std::vector<std::string> urls;
};

/// Node → runner: where segments are delivered from now on.
struct use_origin {
  std::string url;
  std::string token;
};

/// HTTP route → node: a node that does not reach the coordinator asks whether we do.
struct witness_question {
  std::string token;
  std::string whom; ///< name of the node that is meant
  std::function<void(expected<bool> misses_it_too)> answer;
  bool held = false; ///< for a while already, because we were about to miss it
};
/// INTERNAL to node: the answer of one of the others, of that round only.
struct witness_answer {
  std::uint64_t round = 0;
  bool misses_it_too = false;
};

/// INTERNAL to autoscaler: what was answered to an order for a machine. `what` is autoscaler_state::answered, opaque as below.
struct machine_answer {
  std::shared_ptr<const void> what;
};

/// A record from a transcoder's child. `what` is media::record, kept opaque so that only the transcoder includes the protocol.
struct engine_record {
  std::uint64_t generation = 0;
  std::shared_ptr<const void> what; ///< null: the channel closed
};

/// The back-off is over, or somebody wants the next attempt now (generation 0).
struct engine_retry {
  std::uint64_t generation = 0;
};

/// What the process makes, once for each start. `run` grows with each start under one lease.
struct engine_rungs {
  std::uint32_t run = 0;
  std::vector<rung_info> rungs;
  std::vector<std::string> maps = {}; ///< by rung, base64; none: MPEG-TS
  std::chrono::milliseconds part{};   ///< low latency: longest part; 0: no parts
};

/// One finished segment; the bytes live in a sealed memory file.
struct engine_segment {
  std::uint32_t run = 0;
  segment_info info;
  std::shared_ptr<const int> memory_file; ///< descriptor, closed with the last owner
};

/// One part of the segment that is being made (low latency): its bytes, likewise.
struct engine_part {
  std::uint32_t run = 0;
  part_info info;
  std::shared_ptr<const int> memory_file;
};

/// Phase and progress of the engine.
struct engine_report {
  task_phase phase = task_phase::starting;
  std::uint32_t run = 0;
  end_cause cause = end_cause::none; ///< of the last end
  std::string text;
  task_progress progress;
  std::vector<std::string> log_tail;
  bool ended = false; ///< the transcoder has ended for good
};

/// INTERNAL to hls runner: the origin's answer to a write.
struct upload_result {
  std::uint32_t run = 0;
  std::uint64_t ticket = 0;
  int status = 0; ///< HTTP status; 0: no answer
  std::string text;
  std::uint32_t origin = 0; ///< which of the origins that were used one after the other
};

/// Writer → origin: a writer presents itself before its first segment.
struct writer_hello {
  std::string stream;
  std::uint64_t writer_epoch = 0; ///< lease epoch << 16 | n: grows with every start of an encoder and every other set of rungs
  std::string publication;
  hls_profile profile = hls_profile::standard;
  std::vector<rung_info> rungs;
  bool standby = false; ///< kept aside while the one in charge delivers
  std::function<void(expected<void>)> answer;
  std::vector<std::shared_ptr<const std::string>> maps = {}; ///< by rung, of fragmented MP4; none: MPEG-TS
  std::chrono::milliseconds part{};                          ///< low latency: longest part; 0: no parts
};

/// Writer → origin: one segment.
struct segment_offer {
  std::string stream;
  std::uint64_t writer_epoch = 0;
  segment_info info;
  std::shared_ptr<const std::string> bytes;
  std::function<void(expected<void>)> answer;
};

/// Writer → origin: one part of a segment that is being made.
struct part_offer {
  std::string stream;
  std::uint64_t writer_epoch = 0;
  part_info info;
  std::shared_ptr<const std::string> bytes;
  std::function<void(expected<void>)> answer;
};

/// Director's LOG FEED, by HTTP → origin: what changed since `after`, at the latest after `wait`.
struct log_wish {
  std::string reader; ///< whose former wish it takes the place of
  hls::news_mark after;
  std::chrono::milliseconds wait{};
  std::function<void(expected<std::string> page)> answer;
};
/// INTERNAL to log feed: time to ask, after that round. 0: now, whatever is under way.
struct ask_logs {
  std::uint64_t round = 0;
};
/// INTERNAL to log feed: the origin's answer to that round; status 0: none, with the error.
struct feed_answer {
  std::uint64_t round = 0;
  int status = 0;
  std::string body;
  std::string error;
};
/// Log feed → director: logs that changed, or why there is none.
struct feed_news {
  std::string origin; ///< its address
  std::vector<hls::stream_log> logs;
  bool all = false;    ///< the origin has no more than it has told
  std::string trouble; ///< not reached, in words
};
/// Store's thread → origin: how a put, or the save of a stream's log, went.
struct store_result {
  bool log = false;
  std::string stream;
  std::uint64_t ticket = 0;
  expected<void> result;
};

namespace origin {
class intake;
}
/// Loading thread → origin: the store was taken over under that term and its logs are read, or why not.
struct store_loaded {
  std::uint64_t term = 0;
  std::shared_ptr<origin::intake> in;
  expected<void> result;
};

struct runner_tools;
/// Program → node: how runs are started from now on.
struct use_tools {
  std::shared_ptr<const runner_tools> tools;
};

/// HTTP thread → http bridge: work to be done in the actor.
struct bridge_call {
  std::function<void(void* bridge)> work; ///< the bridge's self pointer
};

} // namespace weir

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::process_ended)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::start_again)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::status_page)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::probe_ended)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::server_started)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::use_inputs)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::use_origin)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::witness_question)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::witness_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::machine_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_record)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_retry)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_rungs)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_segment)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_part)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::engine_report)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::upload_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::writer_hello)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::segment_offer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::part_offer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::log_wish)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::ask_logs)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::feed_answer)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::feed_news)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::store_result)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::store_loaded)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::use_tools)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(weir::bridge_call)
