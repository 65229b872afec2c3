#include "runtime/audience/audience.hpp"

#include "runtime/describe/decode.hpp"

#include <cmath>
#include <fmt/format.h>

namespace weir::audience {

expected<beacon> parse_beacon(std::string_view json) {
  if (json.size() > beacon_limit)
    return fail(error_code::too_large, fmt::format("a beacon has at most {} bytes", beacon_limit));
  return describe::from_json<beacon>(json);
}

stream_book* books::of(std::string_view stream) {
  if (auto known = streams_.find(stream); known != streams_.end())
    return &known->second;
  return streams_.size() < most_streams ? &streams_.try_emplace(std::string(stream)).first->second : nullptr;
}

void books::begun(std::string_view stream) {
  std::lock_guard lock(guard_);
  if (auto* book = of(stream))
    ++book->sessions;
}

expected<void> books::add(std::string_view stream, std::string_view edge, const beacon& word, std::string_view address, steady_time now) {
  std::lock_guard lock(guard_);
  if (now - second_ >= std::chrono::seconds(1)) {
    from_.clear();
    second_ = now;
  }
  if (from_.size() >= most_addresses || ++from_[std::string(address)] > most_from_one)
    return fail(error_code::too_many, "too many beacons");
  auto* book = of(stream);
  if (!book)
    return fail(error_code::too_many, "too many streams");
  ++book->beacons;
  if (word.join_ms > 0)
    book->joins.observe(word.join_ms / 1000.0);
  auto known = book->by_edge.find(edge);
  if (known == book->by_edge.end())
    known = book->by_edge.try_emplace(book->by_edge.size() < most_edges ? std::string(edge) : std::string()).first;
  auto& sums = known->second;
  sums.stalls += word.stalls;
  sums.stalled_ms += word.stalled_ms;
  sums.played_ms += word.played_ms;
  return {};
}

std::vector<stream_audience> books::sums() const {
  std::lock_guard lock(guard_);
  std::vector<stream_audience> out;
  for (auto& [name, book] : streams_) {
    stream_audience one;
    one.stream = name;
    one.sessions = book.sessions;
    one.joins = book.joins.count();
    one.join_ms = static_cast<std::uint64_t>(std::llround(book.joins.sum() * 1000));
    for (auto& [edge, of_edge] : book.by_edge) {
      one.stalls += of_edge.stalls;
      one.stalled_ms += of_edge.stalled_ms;
      one.played_ms += of_edge.played_ms;
    }
    out.push_back(std::move(one));
  }
  return out;
}

void books::forget(const std::function<bool(std::string_view)>& there) {
  std::lock_guard lock(guard_);
  std::erase_if(streams_, [&](auto& one) { return !there(one.first); });
}

} // namespace weir::audience
