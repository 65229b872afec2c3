#pragma once
// The coordinator's records in etcd: written by whoever leads, read by whoever leads next.
//
//   /weir/CLUSTER/leader        NODE ADDRESS, under the leader's lease; its create revision is the epoch that fences every write
//   /weir/CLUSTER/initialised   the mark: a random name of this life of the records
//   /weir/CLUSTER/sequence      EPOCH:N, the last write of that leader
//   /weir/CLUSTER/store/KEY     one record of docs/5-reference/store.md
//   /weir/CLUSTER/events/SLOT   NUMBER and an event: the newest 512
//   /weir/CLUSTER/pending/…     a change that is larger than a transaction, while it is written: parts, then `ready`
//
// Each write is one transaction that holds only while the leader's key is the one of our election and the last write is the one that we know of. So a write that is
// sent again, because its answer did not come, is done once, and one that comes late is not done.
#include "runtime/election/candidate.hpp"
#include "runtime/store/store.hpp"

namespace weir::election {

struct ledger_limits {
  std::size_t operations = 100;            ///< in a transaction; etcd takes 128 (--max-txn-ops)
  std::size_t transaction_bytes = 512 << 10; ///< etcd takes 1.5 MiB (--max-request-bytes)
  std::size_t record_bytes = 1 << 20;
  std::chrono::milliseconds ship_after{300}; ///< what is queued
};

class ledger final : public store::mirror {
public:
  ledger(std::shared_ptr<election::etcd> there, std::shared_ptr<term> mine, const std::string& cluster, ledger_limits limits = {});
  ~ledger() override;
  ledger(const ledger&) = delete;
  ledger& operator=(const ledger&) = delete;

  /// First of all: takes over the writing and returns what the former leaders wrote; a change that one of them did not finish is in it whole or not at all.
  expected<store::mirrored> take_over();
  /// Puts the first records there ever, all or none.
  expected<void> initialise(const store::raw_contents& records, const std::map<std::string, std::string>& events, const std::string& mark);

  expected<void> ship(const std::vector<store::change>& changes) override;
  expected<void> queue(const std::vector<store::change>& changes) override;
  void give_up(std::string why) override;

private:
  /// Keys of etcd → value, or none: removed.
  using write_set = std::map<std::string, std::optional<std::string>>;
  using operations = std::vector<operation>;

  expected<void> add(write_set& to, const std::vector<store::change>& changes) const;
  expected<std::map<std::string, record>> read_everything();
  /// As one, whatever its size.
  expected<void> write(const write_set& changes);
  expected<void> finish();
  expected<void> commit(const operations& wishes);
  error over() const;
  std::string part_key(std::size_t i) const;
  void ship_queued();

  std::shared_ptr<election::etcd> there_;
  std::shared_ptr<term> mine_;
  const std::string prefix_, leader_, sequence_;
  const ledger_limits limits_;

  std::mutex writing_;          ///< one write at a time
  std::uint64_t number_ = 0;    ///< of the last write
  std::vector<operations> unfinished_; ///< of a change that counts already

  std::mutex mutex_;
  std::condition_variable changed_;
  write_set queued_;
  bool stopping_ = false;
  std::thread thread_;
};

/// A part of a pending change as it stands in etcd: "LENGTH:KEY-" or "LENGTH:KEY+LENGTH:VALUE" for each record. Fails with corrupt.
expected<std::vector<operation>> parse_pending(std::string_view text);

/// Makes the store that of the leader: what etcd has goes into it; where etcd has nothing yet the store goes there. Then every change goes to etcd first.
/// Fails with fenced (somebody else leads), unavailable (etcd), conflict (etcd has lost what this store was a copy of), newer_schema, corrupt, io_failed.
expected<std::shared_ptr<ledger>> take_over(store::store& mine, std::shared_ptr<election::etcd> there, std::shared_ptr<term> term, const election_options& who, timestamp wall);

} // namespace weir::election
