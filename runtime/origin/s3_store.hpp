#pragma once
// A store in a bucket of an S3 server (AWS, Ceph's radosgw, MinIO, Swift's s3api …). It asks for PUT, GET, DELETE and ListObjectsV2 only: writes under a condition
// (If-None-Match) are not known everywhere. What it needs of the server: whoever reads or lists after a write has been answered sees that write.
//
// Why nobody's late write does harm, without a compare-and-swap: each owner writes under its own term's keys, and has a licence as long as its claim is there and
// none of a higher term. The newest claim is never removed, so a former one that lands late gives nobody a licence.
//   put        licence still there? then PUT under a key of its own. One that lands later than a new claim has a key of the former term: nobody reads it where the
//              new owner has put, and no log lists it otherwise.
//   save_log   PUT under a key of its own, then: licence still there? Only then it is acknowledged. So it came before the new claim, and the new owner read it.
//   claim      PUT the claim; a higher one there, or the same term of another? then withdraw. Remove all lower claims. Copy the newest log of each stream to the new
//              term; PUT .opened: from here on older logs count no more. Licence still there? Then it has the store.
// A request that the server carries out after it was given up for lost is such a late write, too: each put of a segment and each version of a log has its own key,
// and the last one counts.
#include "runtime/http/client.hpp"
#include "runtime/origin/replica.hpp"
#include "runtime/origin/s3_wire.hpp"
#include "runtime/origin/segment_store.hpp"

#include <chrono>
#include <functional>

namespace weir::origin {

struct s3_options {
  std::string endpoint; ///< http or https, host and perhaps port
  std::string region = "us-east-1";
  std::string bucket;
  std::string prefix; ///< of all keys: checked_prefix()
  http::aws_key key;
  std::string session_token;          ///< of a key for some hours; empty: none
  std::string authorities;            ///< file with certificates (PEM); empty: the system's
  bool virtual_host = false;          ///< https://BUCKET.HOST/ instead of https://HOST/BUCKET/
  std::string holder;                 ///< this handle's name in claims; empty: one that nobody else has
  std::chrono::milliseconds deadline{5'000}; ///< for each object, further attempts included
  std::uint64_t segment_limit = 64U << 20;   ///< bytes
  std::uint64_t cache_bytes = 64U << 20;     ///< of segments put or read last, in memory
  std::size_t most_fetches = 16;             ///< segments that are being read at a time: fewer than the client's connections to a host, so that no PUT waits
  unsigned page = 1'000;                     ///< objects in an answer of a list, at most
};

class s3_store final : public segment_store {
public:
  /// Asks nothing yet. `web` must live until close(). Fails: invalid_config.
  static expected<std::unique_ptr<s3_store>> open(http::client& web, s3_options options);
  /// close().
  ~s3_store() override;
  /// Asks nobody any more: what is called from now on fails with `unavailable`, and so does, at the latest when the client ends, what waits for an answer.
  void close();

  using fetched = std::function<void(expected<std::shared_ptr<const std::string>>)>;
  /// Without waiting, from memory or the bucket; those who ask for the same one meanwhile share the answer. `done` runs once, on the client's thread or this one.
  /// Fails: not_found, unavailable, timeout, too_many and as the server refuses.
  void fetch(const segment_id& segment, fetched done) const;

  /// Takes as long as the copying of all logs. Fails also as the server refuses.
  expected<void> claim(std::uint64_t term) override;
  expected<std::uint64_t> claimed() const override;
  /// Who has no claim may not write (fenced), also before the first claim of all.
  expected<void> put(std::string_view stream, const hls::segment_place& place, std::span<const std::byte> bytes) override;
  expected<open_segment> open(std::string_view stream, const hls::segment_place& place) const override;
  expected<void> remove(std::string_view stream, const hls::segment_place& place) override;
  /// Always durable. Never fails with io_failed: a log of which nobody can say whether it still counts must not be shown (unavailable).
  expected<void> save_log(std::string_view stream, std::string_view json, bool durable) override;
  expected<std::string> load_log(std::string_view stream) const override;
  /// Those that have a log.
  expected<std::vector<std::string>> streams() const override;
  expected<void> remove_stream(std::string_view stream) override;
  /// What is no object of ours stays. Counted are segments; claims and logs that count no more go, too.
  expected<std::uint64_t> sweep(const std::function<bool(std::string_view, const hls::segment_place&)>& known) override;
  /// Of a bucket nobody knows what is free: 0.
  expected<store_usage> usage() const override;

private:
  struct core;
  explicit s3_store(std::shared_ptr<core> of);
  std::shared_ptr<core> core_;
};

struct s3_credentials {
  http::aws_key key;
  std::string session_token;
};
/// Of a file's text: the access key, its secret, and perhaps a session token, with white space between them. Fails: invalid_config.
expected<s3_credentials> parse_s3_credentials(std::string_view text);
/// From the file (mode 0600), or, where `path` is empty, from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. Fails: invalid_config, and as
/// read_secret_file() does.
expected<s3_credentials> find_s3_credentials(const std::string& path);

} // namespace weir::origin
