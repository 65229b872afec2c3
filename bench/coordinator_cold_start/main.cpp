// The real COORDINATOR on a real store, with real clocks and threads, and small actors in the place of its nodes: how long from its start until it has everything
// that goes on in hand, and what it costs at rest.
//
//   bench_coordinator_cold_start FOLDER NODES STREAMS TASKS ROUNDS REST_SECONDS   →   a line of JSON for each round, one for the rest
//
// FOLDER must not exist. The first start makes the records by what production does: all streams go live and every task is placed. Each round then begins with a
// copy of that database, as a kill -9 leaves it: streams with publishers, leases, and 200 nodes that run what they ran. TASKS is a multiple of STREAMS.
#include "actors/coordinator.hpp"
#include "actors/task_types.hpp"
#include "runtime/base/log.hpp"

#include <atomic>
#include <charconv>
#include <deque>
#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <set>
#include <thread>
#include <unistd.h>

namespace weir {
namespace {

using namespace std::chrono_literals;
using steady = std::chrono::steady_clock;

constexpr auto give_up_after = 120s;

double seconds_since(steady::time_point began) { return std::chrono::duration<double>(steady::now() - began).count(); }

/// What the nodes tell the program that waits.
struct progress {
  std::atomic<coordinator_actor*> leader = nullptr; ///< null: it is away
  std::atomic<std::uint64_t> round = 0;
  std::atomic<std::size_t> joined = 0, taken_up = 0;
  std::atomic<std::uint64_t> beats = 0, reports = 0;
  std::atomic<bool> report_each_second = false;
};

struct stand_in_state {
  stand_in_state() = default; // no aggregate: CAF would make its first member of the actor's pointer
  static inline const char* name = "stand-in";
  struct run {
    task_order order;
    task_actor teller;
    std::uint64_t round = 0; ///< in which its TASK took it up
  };
  std::map<task_id, run> runs;
  std::uint64_t round = 0; ///< in which it joined, or asks to
  bool asking = false, joined = false;
  std::uint64_t roster = 0;
  std::int64_t as_of = 0;
};

/// Keeps its runs over all rounds; joins, beats each second, names its leases, tells each TASK that takes a run up that it runs.
node_actor::behavior_type stand_in(node_actor::stateful_pointer<stand_in_state> self, node_spec spec, std::vector<rtmp_server> rtmp_servers, std::vector<origin_place> origins,
                                   std::shared_ptr<progress> seen) {
  auto& my = self->state;
  auto me = node_actor{self};
  auto report = [self](const stand_in_state::run& run) {
    task_report r{.task = run.order.task, .epoch = run.order.epoch, .phase = task_phase::running, .attempts = 1, .cause = end_cause::none, .text = {}, .progress = {}, .log_tail = {}, .ended = false};
    r.progress.speed_milli = 1000;
    tell(self, run.teller, std::move(r));
  };
  auto ask_to_join = [=, &my] {
    join news{spec, me, rtmp_servers, origins, {}, {}, my.as_of};
    for (auto& [id, run] : my.runs)
      news.runs.push_back(run.order);
    my.asking = true;
    ask(self, 2s, *seen->leader.load(), std::move(news))
      .then(
        [=, &my, round = my.round](const joined& in) {
          my.asking = false;
          my.roster = in.roster.version;
          my.as_of = in.as_of;
          if (round == my.round && !std::exchange(my.joined, true))
            ++seen->joined;
        },
        [&my](const caf::error&) { my.asking = false; });
  };
  auto renew = [=, &my] {
    beat b;
    b.node = spec.name;
    b.instance = spec.instance;
    b.load.tasks = static_cast<std::uint32_t>(my.runs.size());
    b.roster = my.roster;
    b.as_of = my.as_of;
    for (auto& [id, run] : my.runs)
      b.leases.push_back(run.order.epoch);
    my.asking = true;
    ask(self, 900ms, *seen->leader.load(), std::move(b))
      .then(
        [=, &my](const beat_answer& answer) {
          my.asking = false;
          my.roster = answer.roster.version != 0 ? answer.roster.version : my.roster;
          my.as_of = answer.as_of;
          ++seen->beats;
        },
        [&my](const caf::error&) { my.asking = false; });
  };
  return {
    [=, &my](const assign& wish) {
      auto& run = my.runs[wish.order.task];
      run.order = wish.order;
      run.teller = wish.teller;
      if (std::exchange(run.round, seen->round.load()) != seen->round)
        ++seen->taken_up;
      report(run);
    },
    [=, &my](const revoke& wish) {
      auto run = my.runs.find(wish.task);
      if (run == my.runs.end() || run->second.order.epoch != wish.epoch)
        return;
      tell(self, run->second.teller, task_report{.task = wish.task, .epoch = wish.epoch, .phase = task_phase::waiting, .attempts = 1, .cause = end_cause::requested, .text = {}, .progress = {}, .log_tail = {}, .ended = true});
      my.runs.erase(run);
    },
    [=, &my](const retry_task&) { // a round begins
      my.round = seen->round;
      my.asking = my.joined = false;
      ask_to_join();
    },
    [](const task_report&) {},
    [](const witness_answer&) {},
    [](const witness_question&) {},
    [](const use_tools&) {},
    [=, &my](const tick&) {
      tell_after(self, 1s, me, tick{});
      if (!seen->leader.load() || my.round != seen->round || my.asking)
        return;
      my.joined ? renew() : ask_to_join();
      if (my.joined && seen->report_each_second)
        for (auto& [id, run] : my.runs) {
          report(run);
          ++seen->reports;
        }
    },
    [=](const stop&) { self->quit(caf::exit_reason::user_shutdown); },
    [](const ask_status&) { return actor_report{}; },
  };
}

struct sizes {
  std::size_t nodes = 0, streams = 0, tasks = 0;
};

expected<void> configure(store::store& db, const sizes& size) {
  store::batch made;
  auto ladder = canonical_options("hls", R"({"ladder":"low"})");
  WEIR_TRY(ladder);
  for (std::size_t s = 0; s < size.streams; ++s) {
    stream_spec stream{.id = stream_id{random_uuid()}, .name = fmt::format("show-{}", s), .key = random_token(""), .title = {}, .comment = {}, .revision = 1, .created = std::chrono::system_clock::now()};
    made.put_stream(stream);
    for (std::size_t t = 0; t < size.tasks / size.streams; ++t) { // a ladder, and restreams
      task_spec task;
      task.id = task_id{random_uuid()};
      task.stream = stream.id;
      task.type = t == 0 ? "hls" : "restream";
      auto push = canonical_options("restream", fmt::format(R"({{"url":"rtmp://203.0.113.9/live/{}-{}"}})", s, t));
      WEIR_TRY(push);
      task.options = t == 0 ? *ladder : *push;
      task.created = stream.created;
      task.revision = 1;
      made.put_task(task);
    }
  }
  return db.commit(made, store::durability::synced);
}

std::set<std::string> threads() {
  std::set<std::string> found;
  for (auto& one : std::filesystem::directory_iterator("/proc/self/task"))
    found.insert(one.path().filename());
  return found;
}

/// User and system time of one thread of ours.
double cpu_seconds(const std::string& thread) {
  std::ifstream file("/proc/self/task/" + thread + "/stat");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  auto words = std::string_view(text).substr(std::min(text.rfind(')') + 2, text.size())); // from field 3 on
  double ticks = 0;
  for (int field = 3; field <= 15 && !words.empty(); ++field) {
    auto word = words.substr(0, words.find(' '));
    std::int64_t number = 0;
    std::from_chars(word.data(), word.data() + word.size(), number);
    if (field >= 14)
      ticks += double(number);
    words.remove_prefix(std::min(words.size(), word.size() + 1));
  }
  return ticks / double(::sysconf(_SC_CLK_TCK));
}
double cpu_seconds_of_all() {
  double sum = 0;
  for (auto& one : threads())
    sum += cpu_seconds(one);
  return sum;
}

/// One life of the COORDINATOR at a time, on its nodes.
class cluster {
public:
  explicit cluster(const sizes& size) : size_(size), system_(config_) {
    for (std::size_t n = 0; n < size_.nodes; ++n) {
      node_spec spec;
      spec.name = node_name{fmt::format("node-{:03}", n)};
      spec.instance = random_uuid();
      spec.task_types = {"hls", "restream"};
      spec.capacity_milli = 16'000;
      spec.http_url = fmt::format("http://10.0.{}.{}:8080", n / 250, n % 250 + 1);
      std::vector<rtmp_server> servers;
      std::vector<origin_place> origins;
      if (n == 0) {
        servers = {{"ingest", "rtmp://10.0.0.1:1935", "rtmp://10.0.0.1:1935"}};
        origins = {{"http://10.0.0.1:8080", random_token("")}};
      }
      nodes_.push_back(system_.spawn(stand_in, spec, servers, origins, seen_));
      caf::scoped_actor{system_}->delayed_send(nodes_.back(), std::chrono::milliseconds(1000 * n / size_.nodes), tick{}); // they do not beat in step
    }
  }
  ~cluster() {
    end();
    for (auto& node : nodes_)
      caf::anon_send_exit(node, caf::exit_reason::user_shutdown);
  }

  /// Seconds to open the store, and from then on to have everything in hand. `before_waiting` is called once all have been told that there is a coordinator.
  struct times {
    double open = 0, control = 0;
  };
  expected<times> begin(const std::filesystem::path& folder, const std::function<expected<void>()>& before_waiting = {}) {
    times took;
    auto began = steady::now();
    auto opened = store::store::open(folder);
    WEIR_TRY(opened);
    db_ = std::make_shared<store::store>(std::move(*opened));
    took.open = seconds_since(began);
    coordinator_setup setup;
    setup.cluster = "bench";
    setup.store = db_;
    setup.own_node = node_name{"node-000"};
    auto before = threads();
    leader_ = leaders_.emplace_back(system_.spawn<caf::detached>(coordinator, setup));
    seen_->joined = seen_->taken_up = 0;
    ++seen_->round;
    seen_->leader = &leaders_.back();
    for (auto& node : nodes_)
      tell_anon(node, retry_task{});
    if (before_waiting)
      WEIR_TRY(before_waiting());
    WEIR_TRY(wait("all nodes have joined and every task is taken up", [&] { return seen_->joined == size_.nodes && seen_->taken_up == size_.tasks; }));
    WEIR_TRY(wait("every task is seen to run", [&] { return all_run(); }, 20ms)); // a look costs the coordinator a copy of all
    took.control = seconds_since(began);
    thread_.clear();
    for (auto& one : threads())
      if (!before.contains(one))
        thread_ = one;
    return took;
  }
  /// kill -9, as far as the database sees it.
  void end() {
    if (!leader_)
      return;
    seen_->leader = nullptr;
    caf::scoped_actor self{system_};
    self->monitor(leader_);
    caf::anon_send_exit(leader_, caf::exit_reason::kill);
    self->receive([](const caf::down_msg&) {});
    leader_ = nullptr;
    db_->close();
    db_.reset();
  }
  /// One after the other, as fast as their tasks are placed: this is not what is measured.
  expected<void> publish_all() {
    std::size_t client = 0;
    auto kept = db_->load();
    WEIR_TRY(kept);
    WEIR_TRY(wait("all nodes have joined", [&] { return seen_->joined == size_.nodes; }));
    for (auto& [id, spec] : kept->streams) {
      tell_anon(leader_, hook_call{.kind = hook_kind::publish, .server = "ingest", .service_id = "start-1", .client_id = std::to_string(++client), .address = "192.0.2.7", .vhost = {}, .app = spec.app, .stream = spec.name, .key = spec.key});
      auto begun = client * (size_.tasks / size_.streams);
      WEIR_TRY(wait("its tasks are placed", [&] { return seen_->taken_up + 100 > begun; }));
    }
    return {};
  }
  expected<void> checkpoint(const std::filesystem::path& folder) { return db_->checkpoint(folder); }

  /// What a while at rest costs.
  struct rest {
    double seconds = 0, coordinator_cpu = 0, all_cpu = 0;
    std::uint64_t beats = 0, reports = 0;
  };
  rest measure(double lasting, bool with_reports) {
    seen_->report_each_second = with_reports;
    auto beats = seen_->beats.load(), reports = seen_->reports.load();
    auto began = steady::now();
    rest r{.seconds = 0, .coordinator_cpu = -cpu_seconds(thread_), .all_cpu = -cpu_seconds_of_all(), .beats = 0, .reports = 0};
    std::this_thread::sleep_for(std::chrono::duration<double>(lasting)); // the time of the measurement itself
    r.coordinator_cpu += cpu_seconds(thread_);
    r.all_cpu += cpu_seconds_of_all();
    r.seconds = seconds_since(began);
    r.beats = seen_->beats - beats;
    r.reports = seen_->reports - reports;
    seen_->report_each_second = false;
    return r;
  }
  std::size_t bytes_of(const beat& b) {
    std::vector<char> bytes;
    caf::binary_serializer out{system_, bytes};
    (void)out(b);
    return bytes.size();
  }

private:
  template <class F>
  expected<void> wait(const char* what, F condition, std::chrono::milliseconds look_every = 1ms) {
    for (auto began = steady::now(); !condition(); std::this_thread::sleep_for(look_every))
      if (steady::now() - began > give_up_after)
        return fail(error_code::timeout, fmt::format("{}: not within {} s; {} nodes have joined, {} tasks are taken up", what, give_up_after.count(), seen_->joined.load(), seen_->taken_up.load()));
    return {};
  }
  bool all_run() {
    caf::scoped_actor self{system_};
    bool all = false;
    self->request(leader_, caf::infinite, view_cluster{})
      .receive(
        [&](const cluster_view& v) {
          all = v.tasks.size() == size_.tasks && v.nodes.size() == size_.nodes && std::ranges::all_of(v.tasks, [](auto& t) { return t.phase == task_phase::running; }) &&
                std::ranges::all_of(v.nodes, [](auto& n) { return n.phase == node_phase::ready; });
        },
        [](const caf::error&) {});
    return all;
  }

  sizes size_;
  caf::actor_system_config config_ = [] {
    caf::actor_system_config c;
    c.set("scheduler.max-threads", std::size_t{4}); // as in a node
    return c;
  }();
  caf::actor_system system_;
  std::shared_ptr<progress> seen_ = std::make_shared<progress>();
  std::vector<node_actor> nodes_;
  std::deque<coordinator_actor> leaders_; ///< all, since nodes look at the last one without a lock
  coordinator_actor leader_;
  std::shared_ptr<store::store> db_;
  std::string thread_; ///< the COORDINATOR's own
};

expected<void> run(const std::filesystem::path& folder, const sizes& size, std::size_t rounds, double rest_seconds) {
  WEIR_TRY(log::configure({.lowest = log::level::warn, .style = log::format::text, .file = {}}));
  auto kept = folder / "kept";
  std::filesystem::create_directories(folder);
  {
    auto made = store::store::open(folder / "first");
    WEIR_TRY(made);
    WEIR_TRY(configure(*made, size));
  }
  cluster all(size);
  auto first = all.begin(folder / "first", [&] { return all.publish_all(); });
  WEIR_TRY(first);
  WEIR_TRY(all.checkpoint(kept));
  all.end();
  for (std::size_t round = 0; round <= rounds; ++round) {
    auto here = folder / fmt::format("round-{}", round);
    std::filesystem::copy(kept, here, std::filesystem::copy_options::recursive);
    auto began = steady::now();
    std::size_t records = 0, bytes = 0;
    {
      auto plain = store::store::open(here);
      WEIR_TRY(plain);
      auto read = plain->records();
      WEIR_TRY(read);
      for (auto& [key, value] : *read)
        bytes += key.size() + value.size();
      records = read->size();
    }
    auto plain_read = seconds_since(began);
    auto took = all.begin(here);
    WEIR_TRY(took);
    fmt::print("{}\n", nlohmann::json{{"control", took->control}, {"open", took->open}, {"read", plain_read}, {"records", records}, {"bytes", bytes}, {"go_live", first->control}}.dump());
    std::fflush(stdout);
    if (round == rounds && rest_seconds > 0)
      for (bool with_reports : {false, true}) {
        auto r = all.measure(rest_seconds, with_reports);
        beat b;
        b.node = node_name{"node-000"};
        b.instance = random_uuid();
        b.roster = 1ull << 50;
        for (std::size_t n = 0; n < size.tasks / size.nodes; ++n)
          b.leases.push_back(1'795'389'728 + n);
        fmt::print("{}\n", nlohmann::json{{"rest", r.seconds}, {"with_reports", with_reports}, {"coordinator_cpu", r.coordinator_cpu}, {"all_cpu", r.all_cpu}, {"beats", r.beats}, {"reports", r.reports},
                                          {"beat_bytes", all.bytes_of(b)}, {"beat_leases", b.leases.size()}}.dump());
        std::fflush(stdout);
      }
    all.end();
    std::filesystem::remove_all(here);
  }
  return {};
}

} // namespace
} // namespace weir

int main(int argc, char** argv) {
  auto number = [&](int at) { return std::strtoull(argv[at], nullptr, 10); };
  if (argc != 7 || number(2) == 0 || number(3) == 0 || number(4) % number(3) != 0) {
    fmt::print(stderr, "bench_coordinator_cold_start FOLDER NODES STREAMS TASKS ROUNDS REST_SECONDS\n");
    return 2;
  }
  auto done = weir::run(argv[1], {number(2), number(3), number(4)}, number(5), double(number(6)));
  if (!done)
    fmt::print(stderr, "{}\n", done.error().text);
  return done ? 0 : 1;
}
