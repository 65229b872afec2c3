#pragma once
// A store whose segments and logs are at several origins: what it has acknowledged is still there when one of them (of three) is gone.
//
//   put, save_log    to the own desk and to all peers side by side; back with the W-th success, or when W have become impossible, or at the deadline
//   use, claim       N - W + 1 of each former view's members refuse older terms, W of the new one's accept and have the newest logs; only then anything is written
//   load_log         the newest of N - W + 1 members
//   open             here, else from a peer, and kept here from then on
//
// What a peer lacks because it was slow or away is noted and sent later, by one thread. So is what a learner lacks: an origin that is to become a member. It gets each
// write, too, and counts for nothing.
#include "runtime/http/client.hpp"
#include "runtime/origin/replica_desk.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <thread>

namespace weir::origin {

struct replicated_options {
  std::string self;  ///< this member's name
  std::string token; ///< shown to a member of whom no other is known
  std::chrono::milliseconds deadline{5'000};      ///< for a write, a claim, a read
  std::chrono::milliseconds mend_every{1'000};    ///< between two attempts to send what a peer lacks
  std::uint64_t segment_limit = 64U << 20;        ///< bytes
  std::size_t most_owed = 4'096;                  ///< things noted for a peer; when there are more, everything is compared
  std::size_t most_under_way = 64;                ///< writes that a peer has not answered; more are not sent but noted
  std::uint64_t most_bytes_under_way = 64U << 20; ///< of these
  std::size_t most_fetches = 256;                 ///< segments that are asked of peers at a time
  std::chrono::milliseconds hedge_after{300};     ///< a peer that has not answered so long is not waited for alone
  std::chrono::milliseconds lesson{2'000};        ///< sending to one learner at a time: what members lack comes between
};

struct replica_state {
  replica_view view;                         ///< in force; without members: none yet
  std::map<std::string, std::size_t> owed;   ///< things that each peer lacks, as far as is known
  std::map<std::string, std::string> trouble; ///< why a peer did not answer last time
  std::map<std::string, bool> learners;       ///< whether it has all that is listed here, as far as is known
  std::uint64_t highest = 0;                 ///< term that this member has accepted, whoever's
};

class replicated_store final : public segment_store {
public:
  /// `web` must live until close().
  replicated_store(std::shared_ptr<replica_desk> desk, http::client& web, replicated_options options);
  /// close().
  ~replicated_store() override;
  /// Asks nobody any more: what is called from now on fails with `unavailable`, and so does, at the latest when the client ends, what waits for an answer.
  void close();

  /// From here on this view counts, and this member writes. `former` are views that may have been in force until now, the oldest first: it was, or all before it
  /// were over. Without any it is the one that this member knows; newer ones that another member knows to be in force count, too. Enough members of each of them
  /// accept the term that no older one can write any more; their newest logs are then at W members of the new one, acknowledged before or not.
  /// A view of term 0 claims nothing: for members whom nobody has claimed yet.
  /// Fails, and changes nothing here: invalid_config, fenced (a newer term was accepted), unavailable (too few answered).
  expected<void> use(const replica_view& view, std::vector<replica_view> former = {});
  /// From here on these get what they lack and each write, uncounted, while this member writes; the newest segments first, and those that are there already
  /// at no more than half of the pace that is possible. Members are passed over. Whoever was one before and is not named is one no more.
  void teach(const std::vector<replica>& learners);
  /// Another member writes, or nobody: these are asked for what is not here, and nothing is written from now on. Of the view in force: their present addresses.
  void follow(const replica_view& view);
  /// This store for one turn: what is written through it fails with `fenced` as soon as any other view counts, also where it had to wait until then. It must not
  /// outlive this one's close().
  std::shared_ptr<segment_store> under(claim_mark mark) const;
  replica_state state() const;

  using fetched = std::function<void(expected<std::shared_ptr<const std::string>>)>;
  /// From the first peer that has it, and kept here. Those that had trouble within the last ten seconds are asked last, and nobody is waited for alone for long. `done` runs once, on the client's thread or this one. Fails: not_found, unavailable, too_many.
  void fetch(const segment_id& segment, fetched done) const;

  expected<void> claim(std::uint64_t term) override;
  expected<std::uint64_t> claimed() const override;
  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override;
  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override;
  /// It is not given back from now on, although peers that are slow or away hear of it later.
  expected<void> remove(std::string_view stream, const hls::segment_place& place) override;
  /// Never fails with io_failed: where too few have it, it is not saved (unavailable).
  expected<void> save_log(std::string_view stream, std::string_view json, bool durable) override;
  /// The newest one.
  expected<std::string> load_log(std::string_view stream) const override;
  expected<std::vector<std::string>> streams() const override;
  expected<void> remove_stream(std::string_view stream) override;
  /// For whoever has claimed and read all logs: what goes here goes at the peers as well, later. Counted is what goes here. Fails: fenced.
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override;
  expected<store_usage> usage() const override;

private:
  struct core;
  replicated_store(std::shared_ptr<core> of, claim_mark only);
  expected<replica_view> writable() const;
  std::shared_ptr<core> core_;
  std::optional<claim_mark> only_; ///< set: a turn's, which ends nothing
  std::thread mender_, timer_;
};

} // namespace weir::origin
