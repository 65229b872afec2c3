// ADDRESS KEEPER's state on a real interface; its clock moves as the tests say.
#include "actors/address_keeper.hpp"
#include "runtime/base/file.hpp"
#include "tests/integration/network/cable.hpp"

#include <arpa/inet.h>
#include <filesystem>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>

namespace weir::testing {
namespace {

using namespace std::chrono_literals;

/// Hears all that goes over near, also what we send.
class sniffer {
public:
  sniffer() : socket_(::socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL))) {
    sockaddr_ll here{};
    here.sll_family = AF_PACKET;
    here.sll_protocol = htons(ETH_P_ALL);
    here.sll_ifindex = static_cast<int>(::if_nametoindex("near"));
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here), 0);
  }
  /// That an address is at near, since the last call.
  int announcements(const network::ipv4_address& of) {
    char bytes[2048];
    int n = 0;
    for (ssize_t got = 0; (got = ::recv(socket_.get(), bytes, sizeof bytes, 0)) >= 0;)
      if (auto packet = network::parse_arp({bytes, static_cast<std::size_t>(got)}))
        n += packet->sender_address == of;
    return n;
  }

private:
  unique_fd socket_;
};

class AddressKeeper : public Cable {
protected:
  std::string folder = fmt::format("{}/weir-address-{}", std::filesystem::temp_directory_path().string(), ::getpid());
  caf::actor_clock::time_point t{std::chrono::hours(1)};

  void SetUp() override { std::filesystem::create_directory(folder); }
  void TearDown() override { std::filesystem::remove_all(folder); }

  std::unique_ptr<address_keeper_state> keeper(const std::string& at = "") {
    auto opened = network::network_interface::open("near", shared);
    EXPECT_TRUE(opened) << opened.error().text;
    auto made = std::make_unique<address_keeper_state>();
    made->setup = {.edge = edge_name{"near-1"}, .address = {.address = "10.9.0.5/24", .network = {}, .service = "http:8081"},
                   .interface = std::make_shared<network::network_interface>(std::move(*opened)), .file = folder + at + "/addresses"};
    EXPECT_TRUE(eventually([&] { return made->setup.interface->linked(); }));
    EXPECT_TRUE(made->prepare(t, timestamp{1000s}));
    return made;
  }
  /// `rest`: what answers are waited for on the real network.
  void live(address_keeper_state& keeper, std::chrono::milliseconds d, std::chrono::milliseconds rest = 0ms) {
    for (auto until = t + d; t < until; t += 200ms) {
      keeper.served = t;
      keeper.act(t);
      std::this_thread::sleep_for(rest);
    }
  }
  bool has(const std::string& address) const { return run("ip addr show dev near | grep -q 'inet " + address + "/'") == 0; }
  std::string file() const { return read_file(folder + "/addresses", 1000).value_or("none"); }
  neighbour_list neighbours(edge_phase phase, bool wants) const {
    const shared_address other{.address = "10.9.0.6/24", .network = {}, .service = "http:8081"};
    return {.edges = {{.edge = edge_name{"near-1"}, .address = {"10.9.0.5/24", {}, "http:8081"}, .phase = edge_phase::serving, .wants = false, .able = true,
                       .held_by = {}},
                      {.edge = edge_name{"far-1"}, .address = other, .phase = phase, .wants = wants, .able = true, .held_by = {}}},
            .steps = 0};
  }
};

TEST_F(AddressKeeper, HasItsAddressWhileTheEdgeServesAndKnowsOfItAfterAKill) {
  inside([&] {
    auto first = keeper();
    first->act(t += 1s);
    EXPECT_FALSE(has("10.9.0.5")) << "its nginx does not answer yet";
    live(*first, 2s);
    EXPECT_TRUE(has("10.9.0.5"));
    EXPECT_EQ(file(), "10.9.0.5\n");
    auto word = first->say(t);
    ASSERT_TRUE(word);
    EXPECT_TRUE(word->holds);
    ASSERT_EQ(word->steps.size(), 1u);
    EXPECT_EQ(word->steps[0].kind, "address-held");
    EXPECT_EQ(first->say(t), std::nullopt) << "one question at a time";

    auto second = keeper(); // as after kill -9
    EXPECT_FALSE(has("10.9.0.5"));
    EXPECT_EQ(file(), "\n");
    EXPECT_GT(second->steps, 0u);
    live(*second, 2s);
    EXPECT_TRUE(has("10.9.0.5"));
    second->give_all_back();
    EXPECT_FALSE(has("10.9.0.5"));
    EXPECT_EQ(file(), "\n");
  });
}

TEST_F(AddressKeeper, LeavesItsAddressToWhoHasIt) {
  inside([&] {
    ASSERT_EQ(run("ip -n " + far + " addr add 10.9.0.5/32 dev far"), 0);
    auto one = keeper();
    live(*one, 3s, 30ms);
    EXPECT_FALSE(has("10.9.0.5"));
    EXPECT_TRUE(one->word().wants);
    EXPECT_NE(one->word().trouble.find("has the address 10.9.0.5"), std::string::npos) << one->word().trouble;
    ASSERT_EQ(run("ip -n " + far + " addr del 10.9.0.5/32 dev far"), 0);
    live(*one, 3s, 10ms);
    EXPECT_TRUE(has("10.9.0.5"));
    EXPECT_EQ(one->word().trouble, "");
  });
}

TEST_F(AddressKeeper, AnswersForADeadEdgeUntilThatIsBack) {
  inside([&] {
    auto one = keeper();
    live(*one, 2s);
    one->asking = true;
    one->take(neighbours(edge_phase::dead, false), t);
    EXPECT_EQ(one->say(t), std::nullopt);
    live(*one, 1s);
    EXPECT_TRUE(has("10.9.0.6"));
    ASSERT_EQ(one->word().answers_for.size(), 1u);
    EXPECT_EQ(one->word().answers_for[0].of.value, "far-1");
    EXPECT_EQ(file(), "10.9.0.5\n10.9.0.6\n");
    one->take(neighbours(edge_phase::dead, true), t);
    live(*one, 200ms);
    EXPECT_FALSE(has("10.9.0.6"));
    EXPECT_TRUE(has("10.9.0.5"));
    auto heard = neighbours(edge_phase::serving, false);
    EXPECT_EQ(one->untold.size(), 3u);
    heard.steps = one->untold.back().number;
    one->take(heard, t);
    EXPECT_TRUE(one->untold.empty()) << "what was heard is not said again";
  });
}

TEST_F(AddressKeeper, PutsBackWhatOtherHandsTakeOff) {
  inside([&] {
    auto one = keeper();
    live(*one, 2s);
    ASSERT_TRUE(has("10.9.0.5"));
    ASSERT_EQ(run("ip addr del 10.9.0.5/32 dev near"), 0);
    live(*one, 2200ms);
    EXPECT_TRUE(has("10.9.0.5"));
    EXPECT_EQ(file(), "10.9.0.5\n");
    EXPECT_EQ(one->untold.size(), 3u) << "it had it, lost it, and has it";
  });
}

TEST_F(AddressKeeper, TakesOnlyItsOwnAddressWhereNothingCanBeWrittenDown) {
  inside([&] {
    auto one = keeper("/that-is-not-there");
    sniffer heard;
    for (int i = 0; i < 10 && !has("10.9.0.5"); ++i)
      live(*one, 200ms);
    EXPECT_TRUE(has("10.9.0.5"));
    EXPECT_TRUE(one->failing);
    live(*one, 2s);
    EXPECT_EQ(heard.announcements(wanted), 5);
    EXPECT_FALSE(one->failing) << "the next failure is news again";
    EXPECT_TRUE(one->word().able);
    one->take(neighbours(edge_phase::dead, false), t);
    live(*one, 2s);
    EXPECT_FALSE(has("10.9.0.6")) << "it would stay there after a kill -9";
    EXPECT_EQ(heard.announcements(others), 0);
    EXPECT_FALSE(one->word().able) << "another one does it";
    EXPECT_TRUE(one->word().holds);
    std::filesystem::create_directory(folder + "/that-is-not-there");
    live(*one, 59s);
    one->take(neighbours(edge_phase::dead, false), t);
    live(*one, 2s);
    EXPECT_TRUE(has("10.9.0.6"));
    EXPECT_EQ(heard.announcements(others), 5);
  });
}

TEST_F(AddressKeeper, HasItsAddressOnAnInterfaceThatIsMadeAnew) {
  inside([&] {
    auto one = keeper();
    live(*one, 2s);
    ASSERT_EQ(run("ip link del near"), 0);
    live(*one, 1s);
    EXPECT_FALSE(one->takes->holds_own());
    EXPECT_EQ(file(), "\n");
    ASSERT_TRUE(plug_in_anew());
    EXPECT_TRUE(eventually([&] {
      live(*one, 200ms);
      return has("10.9.0.5");
    }));
  });
}

TEST_F(AddressKeeper, TakesNothingWithoutANetwork) {
  inside([&] {
    auto one = keeper();
    ASSERT_EQ(run("ip link del near"), 0);
    live(*one, 5s);
    EXPECT_FALSE(one->takes->holds_own());
    EXPECT_FALSE(one->word().wants) << "it could not have it";
  });
}

} // namespace
} // namespace weir::testing
