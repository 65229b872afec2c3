#include "tests/integration/origin/s3_server.hpp"
#include "tests/integration/origin/store_world.hpp"

namespace weir::origin {

using namespace std::chrono_literals;

namespace {

std::span<const std::byte> bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

/// A prefix in the bucket of a real server.
class s3_world final : public store_world {
public:
  s3_world() { options_.cache_bytes = 0; } // what is read comes from the server
  ~s3_world() override { mend(); }
  std::shared_ptr<segment_store> open() override { return open_s3(options_); }
  bool fill() override {
    server_.full(true);
    return true;
  }
  void slow(std::chrono::milliseconds each) override { server_.slow(each); }
  bool cut_half() override { return false; }
  void mend() override {
    server_.full(false);
    server_.slow(0ms);
  }
  /// An object is there whole or not at all. What may be left are versions of a log that were written, but not removed when a newer one came.
  std::uint64_t leave_halves() override {
    auto other = options_;
    other.prefix += "/show-that-was"; // its keys are none of ours
    auto store = open_s3(other);
    if (!store->claim(1) || !store->put("show", {1, 1, "720p", 77}, bytes("not ours")))
      throw std::runtime_error("the server takes nothing");
    return 0;
  }

private:
  s3_server& server_ = s3_server::one();
  s3_options options_ = server_.options();
};

} // namespace

std::unique_ptr<store_world> make_s3_world() { return std::make_unique<s3_world>(); }

} // namespace weir::origin
