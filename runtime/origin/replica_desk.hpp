#pragma once
// What an origin does for the others whose segments and logs it keeps copies of, and for itself as one of them.
//
// It remembers, durably, the newest claim that it accepted, and refuses what comes under an older one. All of it happens on its own threads: a disk that is
// slow holds up neither the HTTP server nor who asks whether this member accepts a claim.
#include "runtime/http/server.hpp"
#include "runtime/origin/disk_crew.hpp"
#include "runtime/origin/replica.hpp"
#include "runtime/origin/segment_store.hpp"

#include <array>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace weir::origin {

class replica_desk {
public:
  /// `state` is the file of the claim and the view. Reads it and the stamps of all logs, and claims `local` for itself. Where it does not go with the folder, one of
  /// them is lost or put back from a copy: this is another member then, which has promised nothing. Fails: corrupt, io_failed.
  static expected<std::shared_ptr<replica_desk>> open(std::shared_ptr<segment_store> local, std::filesystem::path state, unsigned writers = 4);

  /// Its threads take nothing more; what has begun gets `patience`. What hangs even then is left behind.
  void close(milliseconds patience = seconds(5));

  /// Who waits for a disk: writes, and everything else. Their jobs keep the desk.
  disk_crew& writers() { return writers_; }
  disk_crew& others() { return others_; }
  const segment_store& local() const { return *local_; }
  segment_store& local() { return *local_; }

  // All of these block as the disk does, and are safe from several threads.

  replica_word word() const;
  /// What stands behind the node's in the name of this member.
  const std::string& disk() const { return disk_; }
  /// From here on nothing older is accepted. The same mark again is fine. Fails: fenced (another holder's term, or an older one), io_failed.
  expected<replica_word> accept(const claim_mark& mark);
  /// A view is in force; an older one than the known is passed over. Fails: fenced, invalid_config, io_failed.
  expected<void> settle(const replica_view& view);

  // Writes are a success only if no newer claim was accepted until they were through: whoever claims and reads after that sees each of them.

  /// Fails: fenced, and as segment_store::put.
  expected<void> put(const claim_mark& mark, const segment_id& segment, std::string_view bytes);
  /// Fails: fenced.
  expected<void> remove(const claim_mark& mark, const segment_id& segment);
  /// segment_store::sweep, for whoever has the newest claim and the newest logs. Fails: fenced.
  expected<std::uint64_t> sweep(const claim_mark& mark, const std::function<bool(std::string_view, const hls::segment_place&)>& known);
  /// Keeps the log unless this state or a newer one is here, which is a success, too: of one term there is one owner, and the newer state has all of the older one.
  /// An empty log removes the stream. Fails: fenced, io_failed.
  expected<void> save_log(const claim_mark& mark, std::string_view stream, const stamped_log& log, bool durable);
  /// Also of a removed stream. Fails: not_found, corrupt, io_failed.
  expected<stamped_log> load_log(std::string_view stream) const;
  std::vector<stamped_stream> streams() const;
  /// Those that are not here.
  std::vector<segment_id> lacking(std::vector<segment_id> wanted) const;

  // Which segments were removed last, here or for all: a peer that has not heard of it yet would give them back. The last 20,000 are known; put() takes one out.

  void note_removed(const segment_id& segment);
  void forget_removed(const segment_id& segment);
  bool was_removed(const segment_id& segment) const;

private:
  replica_desk(std::shared_ptr<segment_store> local, std::filesystem::path state, unsigned writers);
  expected<void> save_state(const replica_word& word);
  expected<void> check_mark(const claim_mark& mark);
  expected<void> still(const claim_mark& mark) const;
  expected<void> keep_log(std::string_view stream, const stamped_log& log, bool durable);
  std::mutex& turn_of(std::string_view stream) const { return turns_[std::hash<std::string_view>{}(stream) % turns_.size()]; }

  std::shared_ptr<segment_store> local_;
  std::filesystem::path state_;
  std::string disk_;
  std::mutex claiming_; // held while the state is written
  mutable std::mutex guard_;
  replica_word word_;
  std::map<std::string, stamped_stream, std::less<>> stamps_;
  std::set<std::string> removed_;      // paths
  std::deque<std::string> removed_in_; // in this order; some are forgotten already
  mutable std::array<std::mutex, 64> turns_; // one log of a stream at a time
  disk_crew writers_, others_;
};

/// The routes below /replica/v1/ for whoever has the token. Nothing that is asked here is passed on to another member. Whoever means another disk (Weir-Disk) than
/// the one that is here is not answered (unavailable).
void add_replica_routes(http::server& server, const std::shared_ptr<replica_desk>& desk, const std::string& token, std::uint64_t segment_limit);

} // namespace weir::origin
