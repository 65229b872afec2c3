// A real etcd that speaks TLS and demands certificates: who has one is let in, who has not hears why.
#include "runtime/cluster/authority.hpp"
#include "tests/integration/election/etcd_members.hpp"

#include <gtest/gtest.h>

using namespace weir;
using namespace weir::election;
using namespace std::chrono_literals;

namespace {

/// Whether every member refuses these options, in these words.
void expect_refused(const etcd_options& options, const std::string& why) {
  SCOPED_TRACE(why);
  etcd there(options);
  auto asked = there.grant(5s);
  ASSERT_FALSE(asked);
  EXPECT_EQ(asked.error().code, error_code::unavailable);
  EXPECT_NE(asked.error().text.find(why), std::string::npos) << asked.error().text;
  EXPECT_NE(asked.error().text.find(options.endpoints[0]), std::string::npos) << asked.error().text;
  for (auto& [endpoint, trouble] : there.members())
    EXPECT_NE(trouble.find(why), std::string::npos) << endpoint << ": " << trouble;
}

} // namespace

TEST(SecuredEtcd, LetsInWhoShowsACertificateOfItsAuthorityAndTellsTheOthersWhy) {
  etcd_members members(true);
  etcd there(members.options());
  auto lease = there.grant(60s);
  for (const auto end = std::chrono::steady_clock::now() + 30s; !lease && std::chrono::steady_clock::now() < end;) // handshakes on a busy machine
    lease = there.grant(60s);
  ASSERT_TRUE(lease) << lease.error().text;
  auto made = there.commit({.when = {{.key = "/k", .created = 0, .modified = {}, .value = {}}}, .then = {put("/k", "v", *lease)}, .otherwise = {}});
  ASSERT_TRUE(made) << made.error().text;
  EXPECT_TRUE(made->succeeded);
  auto found = there.range("/k", {}, 1);
  ASSERT_TRUE(found) << found.error().text;
  ASSERT_EQ(found->records.size(), 1u);
  EXPECT_EQ(found->records[0].value, "v");
  EXPECT_TRUE(there.keep_alive(*lease, 3s));
  for (auto& [endpoint, trouble] : there.members())
    EXPECT_EQ(trouble, "") << endpoint;

  auto without = members.options();
  without.certificate.clear();
  without.key.clear();
  expect_refused(without, "does etcd demand a certificate (coordinator.etcd_certificate, etcd_key)?");

  auto foreign = members.options();
  auto other = members.identity("other");
  ASSERT_TRUE(cluster::make_authority(other, "other"));
  ASSERT_TRUE(cluster::issue(other, "client"));
  foreign.certificate = other + "/client.pem";
  foreign.key = other + "/client.key";
  expect_refused(foreign, "does etcd accept coordinator.etcd_certificate?");

  auto doubtful = members.options();
  doubtful.authorities = other + "/ca.pem";
  expect_refused(doubtful, "certificate problem");

  auto missing = members.options();
  missing.key = members.identity("absent.key");
  expect_refused(missing, "absent.key");
}
