#include "runtime/origin/replica_desk.hpp"

#include "runtime/base/file.hpp"
#include "runtime/base/log.hpp"
#include "runtime/base/secret.hpp"
#include "runtime/describe/decode.hpp"
#include "runtime/describe/encode.hpp"
#include "runtime/hls/addresses.hpp"
#include "runtime/http/auth.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace weir::origin {

using namespace std::chrono_literals;

namespace {

constexpr std::size_t most_removed = 20'000;

} // namespace

replica_desk::replica_desk(std::shared_ptr<segment_store> local, std::filesystem::path state, unsigned writers)
  : local_(std::move(local)), state_(std::move(state)), writers_(writers, 256), others_(2, 256) {}

expected<std::shared_ptr<replica_desk>> replica_desk::open(std::shared_ptr<segment_store> local, std::filesystem::path state, unsigned writers) {
  std::shared_ptr<replica_desk> desk(new replica_desk(std::move(local), std::move(state), writers));
  if (auto text = read_file(desk->state_, replica_text_limit)) {
    auto word = parse_word(*text);
    if (!word)
      return fail(word.error().in(desk->state_.string()));
    desk->word_ = std::move(*word);
  } else if (text.error().code != error_code::not_found) {
    return fail(text.error());
  }
  auto claimed = desk->local_->claimed();
  WEIR_TRY(claimed);
  // Each start claims the folder once and writes that down here: one more than that is a start that ended in between.
  auto word = desk->word();
  if (word.disk.empty() || *claimed < word.claims || *claimed > word.claims + 1) {
    auto fresh = random_uuid().substr(0, 8);
    log::info("origin", "new-disk", "disk={} former={} claims={} known={}", fresh, word.disk, *claimed, word.claims);
    word = {.mark = {}, .settled = {}, .disk = std::move(fresh), .claims = 0};
  }
  desk->disk_ = word.disk;
  // What is known goes down before the claim as well: starts that claim and cannot write it down then (a full disk) never get more than one ahead of it.
  word.claims = *claimed;
  WEIR_TRY(desk->save_state(word));
  WEIR_TRY(desk->local_->claim(*claimed + 1));
  word.claims = *claimed + 1;
  WEIR_TRY(desk->save_state(word));
  auto streams = desk->local_->streams();
  WEIR_TRY(streams);
  for (auto& stream : *streams) {
    auto log = desk->load_log(stream);
    if (!log && log.error().code == error_code::not_found)
      continue;
    if (!log)
      return fail(log.error().in(fmt::format("log of stream {}", stream)));
    desk->stamps_.emplace(stream, stamped_stream{stream, log->stamp, log->json.empty()});
  }
  return desk;
}

void replica_desk::close(milliseconds patience) {
  auto until = steady_clock::now() + patience;
  auto at_rest = writers_.close(patience);
  at_rest = others_.close(std::max(std::chrono::ceil<milliseconds>(until - steady_clock::now()), 0ms)) && at_rest;
  if (!at_rest)
    log::warn("origin", "copies-hang", "patience_ms={}", patience.count());
}

replica_word replica_desk::word() const {
  std::lock_guard lock(guard_);
  return word_;
}

expected<void> replica_desk::save_state(const replica_word& word) {
  WEIR_TRY(write_file_atomically(state_, describe::to_json(word), 0644));
  std::lock_guard lock(guard_);
  word_ = word;
  return {};
}

expected<replica_word> replica_desk::accept(const claim_mark& mark) {
  std::lock_guard alone(claiming_);
  auto now = word();
  if (mark == now.mark)
    return now;
  if (mark.term <= now.mark.term)
    return fail(error_code::fenced, fmt::format("term {} of {} is not accepted: term {} of {} was", mark.term, mark.holder, now.mark.term, now.mark.holder));
  now.mark = mark;
  WEIR_TRY(save_state(now));
  log::info("origin", "claim-accepted", "term={} holder={}", mark.term, mark.holder);
  return now;
}

expected<void> replica_desk::settle(const replica_view& view) {
  WEIR_TRY(check(view));
  WEIR_TRY(check_mark(view.mark));
  std::lock_guard alone(claiming_);
  auto now = word();
  if (view.mark.term < now.settled.mark.term || view == now.settled)
    return {};
  now.settled = view;
  return save_state(now);
}

/// A write under a newer term than the known one is itself word of a claim: accepting it can only refuse more.
expected<void> replica_desk::check_mark(const claim_mark& mark) {
  if (auto done = accept(mark); !done)
    return fail(done.error());
  return {};
}

expected<void> replica_desk::still(const claim_mark& mark) const {
  auto now = word().mark;
  if (now == mark)
    return {};
  return fail(error_code::fenced, fmt::format("term {} of {} was accepted meanwhile", now.term, now.holder));
}

expected<void> replica_desk::put(const claim_mark& mark, const segment_id& segment, std::string_view bytes) {
  WEIR_TRY(check_mark(mark));
  forget_removed(segment);
  WEIR_TRY(local_->put(segment.stream, segment.place, std::as_bytes(std::span(bytes))));
  return still(mark);
}

expected<void> replica_desk::remove(const claim_mark& mark, const segment_id& segment) {
  WEIR_TRY(check_mark(mark));
  note_removed(segment);
  return local_->remove(segment.stream, segment.place);
}

expected<std::uint64_t> replica_desk::sweep(const claim_mark& mark, const std::function<bool(std::string_view, const hls::segment_place&)>& known) {
  WEIR_TRY(check_mark(mark));
  return local_->sweep(known);
}

expected<void> replica_desk::save_log(const claim_mark& mark, std::string_view stream, const stamped_log& log, bool durable) {
  WEIR_TRY(check_mark(mark));
  std::lock_guard turn(turn_of(stream));
  bool newer = true;
  {
    std::lock_guard lock(guard_);
    if (auto known = stamps_.find(stream); known != stamps_.end())
      newer = log.stamp.order(known->second.stamp) > 0;
  }
  if (newer)
    WEIR_TRY(keep_log(stream, log, durable));
  return still(mark);
}

expected<void> replica_desk::keep_log(std::string_view stream, const stamped_log& log, bool durable) {
  // The stamp of a removed stream stays: else a member that missed the removal would bring the stream back.
  if (log.json.empty())
    WEIR_TRY(local_->remove_stream(stream));
  WEIR_TRY(local_->save_log(stream, to_text(log), durable));
  std::lock_guard lock(guard_);
  stamps_.insert_or_assign(std::string(stream), stamped_stream{std::string(stream), log.stamp, log.json.empty()});
  return {};
}

expected<stamped_log> replica_desk::load_log(std::string_view stream) const {
  auto text = local_->load_log(stream);
  WEIR_TRY(text);
  return parse_log(*text);
}

std::vector<stamped_stream> replica_desk::streams() const {
  std::lock_guard lock(guard_);
  std::vector<stamped_stream> all;
  for (auto& [name, stream] : stamps_)
    all.push_back(stream);
  return all;
}

std::vector<segment_id> replica_desk::lacking(std::vector<segment_id> wanted) const {
  std::erase_if(wanted, [&](auto& s) { return local_->open(s.stream, s.place).has_value(); });
  return wanted;
}

void replica_desk::note_removed(const segment_id& segment) {
  auto path = path_of(segment);
  std::lock_guard lock(guard_);
  if (!removed_.insert(path).second)
    return;
  removed_in_.push_back(std::move(path));
  if (removed_in_.size() > most_removed) {
    removed_.erase(removed_in_.front());
    removed_in_.pop_front();
  }
}

void replica_desk::forget_removed(const segment_id& segment) {
  std::lock_guard lock(guard_);
  removed_.erase(path_of(segment));
}

bool replica_desk::was_removed(const segment_id& segment) const {
  std::lock_guard lock(guard_);
  return removed_.contains(path_of(segment));
}

void add_replica_routes(http::server& server, const std::shared_ptr<replica_desk>& desk, const std::string& token, std::uint64_t segment_limit) {
  http::route_options options;
  options.deadline = 30s;
  options.guard = [token, disk = desk->disk()](const http::request& r) -> std::optional<http::response> {
    auto given = http::bearer_token(r);
    if (given && http::matches_secret(*given, token)) {
      if (auto meant = r.header("Weir-Disk"); meant && *meant != disk)
        return http::problem_response({error_code::unavailable, fmt::format("disk {} is not here any more, but disk {}", meant->substr(0, 16), disk)}, r.id);
      return std::nullopt;
    }
    return http::problem_response({error_code::unauthorized, "origins speak to each other with the token that all of them have"}, r.id);
  };
  auto with_body = [&](std::uint64_t limit) {
    auto o = options;
    o.body_limit = static_cast<std::size_t>(limit);
    return o;
  };
  auto run = [](disk_crew& crew, const http::responder& answer, std::function<void()> job) {
    if (!crew.run(std::move(job)))
      answer.fail({error_code::unavailable, "the disk is too slow: too much waits for it"});
  };
  auto finish = [](const http::responder& answer, const expected<void>& done) { done ? answer(http::empty_response(204)) : answer.fail(done.error()); };
  auto mark_of = [](const http::request& r) -> expected<claim_mark> {
    auto mark = parse_mark(r.header("Weir-Term").value_or(""));
    if (!mark)
      return fail(error_code::invalid_input, mark.error().in("Weir-Term").text);
    return mark;
  };
  auto segment_of = [](const http::request& r) { return parse_segment("/s/" + std::string(r.param("rest"))); };

  server.route("GET", "/replica/v1/word", options, [=](const http::request&, http::responder answer) {
    answer(http::text_response(200, describe::to_json(desk->word()), "application/json"));
  });
  server.route("PUT", "/replica/v1/claim", options, [=](const http::request& r, http::responder answer) {
    auto mark = mark_of(r);
    if (!mark)
      return void(answer.fail(mark.error()));
    run(desk->others(), answer, [desk, mark = *mark, answer] {
      auto word = desk->accept(mark);
      word ? answer(http::text_response(200, describe::to_json(*word), "application/json")) : answer.fail(word.error());
    });
  });
  server.route("PUT", "/replica/v1/view", options, [=](const http::request& r, http::responder answer) {
    auto view = describe::from_json<replica_view>(r.body());
    if (!view)
      return void(answer.fail(view.error()));
    run(desk->others(), answer, [desk, view = std::move(*view), answer, finish] { finish(answer, desk->settle(view)); });
  });
  server.route("GET", "/replica/v1/logs", options, [=](const http::request&, http::responder answer) { answer(http::text_response(200, to_text(desk->streams()))); });
  server.route("GET", "/replica/v1/logs/{stream}", options, [=](const http::request& r, http::responder answer) {
    run(desk->others(), answer, [desk, stream = std::string(r.param("stream")), answer] {
      auto log = desk->load_log(stream);
      log ? answer(http::text_response(200, to_text(*log))) : answer.fail(log.error());
    });
  });
  server.route("PUT", "/replica/v1/logs/{stream}", with_body(replica_text_limit), [=](const http::request& r, http::responder answer) {
    auto mark = mark_of(r);
    auto log = parse_log(r.body());
    if (!mark || !log)
      return void(answer.fail(!mark ? mark.error() : log.error()));
    run(desk->writers(), answer, [=, stream = std::string(r.param("stream")), mark = std::move(*mark), log = std::move(*log),
                                  durable = r.query.has("durable")] {
      finish(answer, desk->save_log(mark, stream, log, durable));
    });
  });
  server.route("POST", "/replica/v1/lacking", with_body(replica_text_limit), [=](const http::request& r, http::responder answer) {
    auto wanted = parse_segments(r.body());
    if (!wanted)
      return void(answer.fail(wanted.error()));
    run(desk->others(), answer, [desk, wanted = std::move(*wanted), answer] { answer(http::text_response(200, to_text(desk->lacking(wanted)))); });
  });
  server.route("PUT", "/replica/v1/segments/{rest...}", with_body(segment_limit), [=](const http::request& r, http::responder answer) {
    auto mark = mark_of(r);
    auto segment = segment_of(r);
    if (!mark || !segment)
      return void(answer.fail(!mark ? mark.error() : segment.error()));
    run(desk->writers(), answer, [=, mark = std::move(*mark), segment = std::move(*segment), bytes = r.payload] { finish(answer, desk->put(mark, segment, *bytes)); });
  });
  server.route("DELETE", "/replica/v1/segments/{rest...}", options, [=](const http::request& r, http::responder answer) {
    auto mark = mark_of(r);
    auto segment = segment_of(r);
    if (!mark || !segment)
      return void(answer.fail(!mark ? mark.error() : segment.error()));
    run(desk->writers(), answer, [=, mark = std::move(*mark), segment = std::move(*segment)] { finish(answer, desk->remove(mark, segment)); });
  });
  server.route("GET", "/replica/v1/segments/{rest...}", options, [=](const http::request& r, http::responder answer) {
    auto segment = segment_of(r);
    if (!segment)
      return void(answer.fail(segment.error()));
    run(desk->others(), answer, [desk, segment = std::move(*segment), answer] {
      auto file = desk->local().open(segment.stream, segment.place);
      if (!file)
        return void(answer.fail(file.error()));
      const std::string type(hls::media_type(segment.place.kind));
      answer(file->bytes ? http::shared_response(file->bytes, type) : http::file_response(std::make_shared<http::open_file>(file->fd.release(), file->size), type));
    });
  });
}

} // namespace weir::origin
