#pragma once
// Who answers at the address of an edge whose machine is gone (hls.md 8.4). Every edge decides alone, from what the coordinator tells all of them and from
// what ARP says; the first names who should, the second has the last word: an address that somebody answers for is never taken.
// Pure: what is to be done comes out as orders, what ARP heard goes in as text.
#include "runtime/base/clock.hpp"
#include "schemas/node.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::steering {

/// Whether one of two edges can answer for the other: same network, served in the same way. False where one of them has no address that is one.
bool can_stand_in(const shared_address& one, const shared_address& other);
/// Which of all edges answers for `of`, when that is dead: who does already until it is dead itself, else of those of its network that live and are able to the
/// one that comes first in an order that is `of`'s own. nullopt: there is none.
std::optional<edge_name> successor(const edge_neighbour& of, const std::vector<edge_neighbour>& all);

struct take_over_options {
  milliseconds probe_every{200};       ///< from one question to the next …
  std::uint32_t probes = 3;            ///< … of which so many must stay unanswered
  milliseconds again = seconds(1);     ///< after an answer: somebody has the address
  milliseconds retry = seconds(60);    ///< after the kernel refused it: until then others do it
  std::uint32_t announcements = 5;     ///< at that pace
  milliseconds worth_telling = seconds(10); ///< that somebody else has the address: who comes back has it for a while before it counts as alive
  milliseconds fresh = seconds(3);     ///< older news takes no address …
  milliseconds forsaken = seconds(30); ///< … and when it is that old what was taken goes back: its owner may be there, and could not tell us
  milliseconds forgotten = seconds(5); ///< who is missing in the news for that long is no edge any more
  milliseconds reminded = seconds(30); ///< and the coordinator is reminded of it for that long: it may have been started anew
  milliseconds proof = seconds(5);     ///< of service without a break before we want our address again that was given up for want of it, doubled each time …
  milliseconds longest_proof = seconds(60);
  milliseconds calm = seconds(600);     ///< … until it was held for that long
};

enum class address_act : std::uint8_t { probe, add, announce };
struct address_order {
  address_act act = address_act::probe;
  std::string address; ///< "10.0.0.5"
  bool operator==(const address_order&) const = default;
};
/// For people.
struct address_news {
  std::string kind;    ///< of an event
  std::string text;
  std::string address = {}; ///< that it is about
};

class take_over {
public:
  take_over(edge_name self, shared_address own, take_over_options options = {});

  /// What the coordinator says; ourselves included.
  void learn(std::vector<edge_neighbour> all, steady_time now);
  /// Another machine has this address, or asks whether it may take it (`asks`). `who`: in words.
  void heard(std::string_view address, bool asks, std::string_view who, steady_time now);
  /// The question could not be asked, so that silence says nothing.
  void unasked(std::string_view address);
  /// Other hands have taken it off our interface.
  void lost(std::string_view address, steady_time now);
  /// It could not be put there; it is tried again, but not soon.
  void refused(std::string_view address, std::string_view why, steady_time now);
  /// What is to be done now, in that order; what is not in held() any more is to be taken off before. `linked`: we are connected to the network; `serves`: our
  /// edge answers.
  std::vector<address_order> decide(bool linked, bool serves, steady_time now);
  /// Nothing is held any more.
  void give_all_back();

  /// "10.0.0.5"
  const std::string& own() const { return own_; }
  bool holds_own() const;
  bool wants_own() const { return wants_; }
  /// Whether our interface takes addresses, by what was last tried.
  bool able() const { return able_; }
  /// Why it does not have its own address; empty: it does, or has only just asked for it.
  const std::string& trouble() const { return trouble_; }
  std::vector<std::pair<edge_name, shared_address>> answers_for() const;
  /// Who shares our network and is missing in the news of late.
  std::vector<std::pair<edge_name, shared_address>> unlisted() const;
  /// All that it holds.
  std::vector<std::string> held() const;
  /// Whether an edge of the network is in doubt: news is wanted more often.
  bool uneasy() const;
  /// What happened since the last call.
  std::vector<address_news> news() { return std::exchange(news_, {}); }

private:
  struct place {
    edge_name of;
    shared_address address;
    bool held = false;
    std::uint32_t asked = 0;     ///< questions without an answer
    std::uint32_t announced = 0;
    steady_time next{};          ///< to ask or announce
    std::optional<steady_time> answered; ///< since when somebody else does
    bool told = false;           ///< that
    std::optional<steady_time> missing; ///< in the news
    std::optional<steady_time> refused; ///< by the kernel
  };
  struct acquaintance {
    shared_address address;
    std::optional<steady_time> unlisted; ///< since when it is missing in the news
  };
  enum class need : std::uint8_t { none, watch, take };

  bool fresh(steady_time now) const { return learned_ && now - *learned_ <= options_.fresh; }
  const edge_neighbour* find(const edge_name& edge) const;
  bool ours(const place& p) const { return p.of == self_; }
  /// Whether others may have reason to take what is ours: then we look whether they have.
  bool doubted(steady_time now) const;
  need need_of(const edge_neighbour& other, steady_time now) const;
  need need_of(const place& p, bool proven, steady_time now) const;
  bool rests(const std::optional<steady_time>& refused, steady_time now) const { return refused && now - *refused < options_.retry; }
  /// Why we should not have our own address; empty: we should. An edge that only answers slowly is better than none.
  std::string unfit(bool serves, steady_time now) const;
  /// Why an address that we took is no longer ours to hold; empty: it is.
  std::string ended(place& p, steady_time now) const;
  /// Whether the edge serves for long enough now to have its address.
  bool proven(bool serves, steady_time now);
  void demand_proof(steady_time now);
  void ask(const std::string& address, place& p, need wish, steady_time now);
  void keep(const std::string& address, place& p, steady_time now);
  void take(const std::string& address, place& p, steady_time now);
  void drop(const std::string& address, place& p, std::string_view why, steady_time again);
  void order(address_act act, const std::string& address) { orders_.push_back({act, address}); }
  void note_strangers();

  edge_name self_;
  take_over_options options_;
  std::map<std::string, place, std::less<>> places_; ///< by address
  std::vector<edge_neighbour> all_;
  std::map<edge_name, acquaintance> known_;
  std::set<edge_name> strangers_; ///< of our network, served in another way
  std::optional<steady_time> learned_;
  std::optional<steady_time> refused_; ///< any address, by the kernel
  std::optional<steady_time> serves_since_;
  steady_time taken_{};                ///< our own address, last
  milliseconds proof_{0};
  std::vector<address_order> orders_;
  std::vector<address_news> news_;
  std::string own_;
  std::string trouble_;
  bool wants_ = false;
  bool able_ = false;
};

} // namespace weir::steering
