// Real programs and a real server. This program is its own guard: main() dispatches the hidden mode before GoogleTest sees the arguments.
#include "runtime/machines/driver.hpp"

#include "runtime/base/file.hpp"
#include "runtime/http/auth.hpp"
#include "runtime/http/client.hpp"
#include "runtime/http/server.hpp"
#include "runtime/supervise/guard.hpp"
#include "tests/integration/supervise/processes.hpp"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <future>
#include <gtest/gtest.h>
#include <mutex>
#include <nlohmann/json.hpp>
#include <signal.h>
#include <thread>
#include <unistd.h>

int main(int argc, char** argv) {
  if (argc > 1 && argv[1] == weir::supervise::guard_word)
    return weir::supervise::guard_main(argc, argv);
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

namespace weir::machines {
namespace {

using namespace std::chrono_literals;
using clock_type = std::chrono::steady_clock;

using weir::testing::alive;
using weir::testing::eventually;

const order begin_one{order_kind::begin, "live-edge-abcdefgh", "live", "live-edge-"};
const order list_all{order_kind::list, {}, "live", "live-edge-"};

class Driver : public ::testing::Test {
protected:
  std::filesystem::path home;
  void SetUp() override {
    std::string name = (std::filesystem::temp_directory_path() / "weir-machines-XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    home = name;
  }
  void TearDown() override { std::filesystem::remove_all(home); }

  static expected<answer> ask(driver& who, const order& o) {
    auto said = std::make_shared<std::promise<expected<answer>>>();
    auto result = said->get_future();
    who.send(o, [said](expected<answer> a) { said->set_value(std::move(a)); });
    return result.get();
  }
  std::string script(const std::string& text) {
    const auto path = home / "script";
    std::ofstream(path) << "#!/bin/sh\n" << text;
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path.string();
  }
  expected<answer> run(const std::string& text, const order& o = begin_one, std::chrono::milliseconds deadline = 20s) {
    return ask(*make_exec({script(text)}, deadline), o);
  }
  static std::string why(const expected<answer>& said) { return said ? "" : said.error().text; }
  std::string read(const char* name) {
    auto text = read_file(home / name, 1 << 20);
    return text ? *text : "";
  }
  pid_t printed_pid(const char* name) {
    eventually([&] { return read(name).ends_with('\n'); });
    return read(name).empty() ? 0 : std::stoi(read(name));
  }
};

TEST_F(Driver, GivesAProgramTheOrderAndTakesItsAnswer) {
  auto said = run(fmt::format(R"(cat > {0}/order; echo "$WEIR_ORDER $WEIR_MACHINE $WEIR_CLUSTER $WEIR_PREFIX" > {0}/words; echo begun it >&2
                                 echo '{{"accepted": true}}')", home.string()));
  ASSERT_TRUE(said) << why(said);
  EXPECT_EQ(read("order"), to_json(begin_one) + "\n");
  EXPECT_EQ(read("words"), "begin live-edge-abcdefgh live live-edge-\n");
  said = run(R"(echo '{"machines": ["b", "a"]}' > /dev/stdout)", list_all);
  ASSERT_TRUE(said) << why(said);
  EXPECT_EQ(said->machines, (std::vector<std::string>{"a", "b"}));
}

TEST_F(Driver, NeverRunsAShellOfItsOwn) {
  const auto touched = home / "touched";
  auto program = script("printf '%s' \"$1\" > " + (home / "word").string() + "; echo '{\"accepted\":true}'");
  auto said = ask(*make_exec({program, "; touch " + touched.string()}, 20s), begin_one);
  ASSERT_TRUE(said) << why(said);
  EXPECT_EQ(read("word"), "; touch " + touched.string());
  EXPECT_FALSE(std::filesystem::exists(touched));
}

TEST_F(Driver, SaysWhyAProgramFailed) {
  auto said = run("echo connecting >&2; echo 'the API answered 500' >&2; echo '{\"accepted\": true}'; exit 3");
  ASSERT_FALSE(said) << "its code counts, whatever it printed";
  EXPECT_EQ(said.error().code, error_code::target_refused);
  EXPECT_EQ(said.error().text, (home / "script").string() + " ended with exit code 3: the API answered 500");
  EXPECT_EQ(why(run("kill -9 $$")), (home / "script").string() + " ended with signal 9 (Killed)");
  EXPECT_EQ(why(run(R"(echo '{"accepted": false, "reason": "quota"}')")), (home / "script").string() + ": refused: quota");
  EXPECT_NE(why(run("echo 'HTTP/1.1 200 OK'")).find("not one JSON object"), std::string::npos);
  EXPECT_NE(why(run("head -c 300 /dev/urandom")).find("not one JSON object"), std::string::npos);
  EXPECT_NE(why(run("exit 0")).find("the answer is empty"), std::string::npos);
  said = ask(*make_exec({(home / "missing").string()}, 5s), begin_one);
  EXPECT_NE(why(said).find("missing"), std::string::npos) << why(said);
}

TEST_F(Driver, EndsAProgramThatTakesTooLongWithAllThatItStarted) {
  const auto began = clock_type::now();
  auto text = fmt::format("sleep 300 & echo $! > {0}/child; setsid sleep 300 & echo $! > {0}/apart; trap '' TERM; sleep 300; sleep 300", home.string());
  auto said = run(text, begin_one, 500ms);
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, error_code::timeout) << why(said);
  EXPECT_LT(clock_type::now() - began, 8s);
  for (auto* name : {"child", "apart"}) {
    auto pid = printed_pid(name);
    ASSERT_GT(pid, 0);
    EXPECT_TRUE(eventually([&] { return !alive(pid); })) << name;
  }
}

TEST_F(Driver, DoesNotWaitForChildrenThatAProgramLeavesBehind) {
  const auto began = clock_type::now();
  auto said = run(fmt::format("sleep 300 & echo $! > {}/child; echo '{{\"accepted\": true}}'", home.string()));
  EXPECT_TRUE(said) << why(said);
  EXPECT_LT(clock_type::now() - began, 8s);
  auto pid = printed_pid("child");
  EXPECT_TRUE(eventually([&] { return !alive(pid); })) << "it has no life of its own";
}

TEST_F(Driver, EndsAProgramThatFloods) {
  const auto began = clock_type::now();
  auto said = run("yes '{\"accepted\": true}'; echo over > " + (home / "over").string());
  ASSERT_FALSE(said);
  EXPECT_EQ(said.error().code, error_code::too_large) << why(said);
  EXPECT_EQ(why(said), (home / "script").string() + " answered more than 65536 bytes");
  EXPECT_LT(clock_type::now() - began, 8s);
  said = run("yes 'a line for the log' | head -c 3000000 >&2; echo '{\"accepted\": true}'");
  EXPECT_TRUE(said) << "the log's limit is another one: " << why(said);
  said = run("head -c 65500 /dev/zero | tr '\\0' ' '; echo '{\"accepted\": true}'");
  EXPECT_TRUE(said) << why(said);
}

TEST_F(Driver, EndsItsProgramsWithItself) {
  auto one = make_exec({script(fmt::format("echo $$ > {}/pid; sleep 300; sleep 300", home.string()))}, 60s);
  auto said = std::make_shared<std::promise<expected<answer>>>();
  one->send(begin_one, [said](expected<answer> a) { said->set_value(std::move(a)); });
  auto pid = printed_pid("pid");
  ASSERT_TRUE(alive(pid));
  one.reset();
  EXPECT_FALSE(said->get_future().get());
  EXPECT_TRUE(eventually([&] { return !alive(pid); }));
}

TEST_F(Driver, RunsSeveralAtOnce) {
  auto one = make_exec({script(R"(case "$WEIR_ORDER" in list) echo '{"machines": []}';; *) echo '{"accepted": true}';; esac)")}, 20s);
  std::atomic<int> good = 0;
  for (int i = 0; i < 20; ++i)
    one->send(i % 2 == 0 ? list_all : begin_one, [&](expected<answer> a) { good += a.has_value(); });
  EXPECT_TRUE(eventually([&] { return good == 20; })) << good;
}

class Webhook : public Driver {
protected:
  struct heard {
    std::string body, token, key;
  };
  void SetUp() override {
    Driver::SetUp();
    web.route("POST", "/machines", {}, [this](const http::request& r, http::responder answer) {
      std::scoped_lock lock(guard);
      requests.push_back({std::string(r.body()), std::string(r.header("Authorization").value_or("")), std::string(r.header("Idempotency-Key").value_or(""))});
      answer(http::text_response(status, reply));
    });
    web.route("POST", "/never", {}, [this](const http::request&, http::responder answer) {
      std::scoped_lock lock(guard);
      unanswered.push_back(std::move(answer));
    });
    ASSERT_TRUE(web.start());
    options = {.url = fmt::format("http://127.0.0.1:{}/machines?key=hidden", web.port()), .token_file = (home / "token").string(), .authorities = {}, .deadline = 5s};
    keep_token("s3cret\n");
  }
  void TearDown() override {
    {
      std::scoped_lock lock(guard);
      unanswered.clear();
    }
    Driver::TearDown();
  }
  void keep_token(const std::string& text) {
    std::ofstream(options.token_file) << text;
    std::filesystem::permissions(options.token_file, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  }
  expected<answer> ask(const order& o) { return Driver::ask(*make_webhook(options, client), o); }

  http::server web{{}};
  std::shared_ptr<http::client> client = std::make_shared<http::client>(http::client_options{});
  webhook_options options;
  std::mutex guard;
  std::vector<heard> requests;
  std::vector<http::responder> unanswered;
  int status = 200;
  std::string reply = R"({"accepted": true})";
};

TEST_F(Webhook, PostsOrdersUnderTheirKeysWithItsToken) {
  EXPECT_TRUE(ask(begin_one));
  EXPECT_TRUE(ask(begin_one));
  keep_token("renewed\n");
  reply = R"({"machines": ["live-edge-abcdefgh"]})";
  auto said = ask(list_all);
  ASSERT_TRUE(said) << why(said);
  EXPECT_EQ(said->machines, (std::vector<std::string>{"live-edge-abcdefgh"}));
  ASSERT_EQ(requests.size(), 3u);
  EXPECT_EQ(requests[0].body, to_json(begin_one));
  EXPECT_EQ(requests[0].token, "Bearer s3cret");
  EXPECT_EQ(requests[0].key, "begin live-edge-abcdefgh");
  EXPECT_EQ(requests[1].key, requests[0].key) << "said again it is the same order";
  EXPECT_EQ(requests[2].token, "Bearer renewed");
  EXPECT_EQ(requests[2].key, "");
}

TEST_F(Webhook, SaysWhyItFailed) {
  status = 503;
  auto said = ask(begin_one);
  ASSERT_FALSE(said);
  EXPECT_NE(said.error().text.find("answered 503"), std::string::npos) << said.error().text;
  EXPECT_EQ(said.error().text.find("hidden"), std::string::npos) << said.error().text;
  status = 200;
  reply = R"({"accepted": false, "reason": "no more in this zone"})";
  EXPECT_NE(why(ask(begin_one)).find("refused: no more in this zone"), std::string::npos);
  reply = "<html>";
  EXPECT_NE(why(ask(begin_one)).find("not one JSON object"), std::string::npos);
  reply = std::string(answer_limit + 1, ' ');
  EXPECT_EQ(ask(begin_one).error().code, error_code::too_large);
  options.url = fmt::format("http://127.0.0.1:{}/never", web.port());
  options.deadline = 300ms;
  EXPECT_EQ(ask(begin_one).error().code, error_code::timeout);
  options.url = "http://127.0.0.1:1/";
  EXPECT_EQ(ask(begin_one).error().code, error_code::unavailable);
}

TEST_F(Webhook, SendsNothingWithoutAGoodToken) {
  for (auto* bad : {"", "two words\n", "a\r\nX-Injected: 1\n"}) {
    keep_token(bad);
    EXPECT_FALSE(ask(begin_one)) << bad;
  }
  keep_token("s3cret");
  std::filesystem::permissions(options.token_file, std::filesystem::perms::others_read, std::filesystem::perm_options::add);
  EXPECT_EQ(ask(begin_one).error().code, error_code::forbidden);
  std::filesystem::remove(options.token_file);
  EXPECT_EQ(ask(begin_one).error().code, error_code::not_found);
  EXPECT_TRUE(requests.empty());
}

} // namespace
} // namespace weir::machines
