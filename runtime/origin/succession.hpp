#pragma once
// Which origin writes, of those that keep copies for each other: views, one after the other. Decided in one place (the COORDINATOR) and stored there before
// anybody hears of it; no origin ever takes over by itself.
//
// A view may write from the moment when its holder has taken over (replicated_store::use) until a later one's holder has. Which of them got that far the
// COORDINATOR may not have heard. So a view carries all that may have: the last one that is known to be in force, and each one that was decided since. Its
// holder needs the word of enough members of every one of them. docs/2-how-it-works/4-playlists-and-edges.md says why nothing acknowledged is lost then.
#include "runtime/origin/replica.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace weir::origin {

/// An origin that has joined.
struct candidate {
  replica place;
  std::string instance; ///< of its start; empty: it has not said yet, and cannot be told to write
  bool alive = false;
  bool holds = false;   ///< it says that it writes, under the present term
  bool fails = false;   ///< it was told to take over and could not
  bool gone = false;    ///< not alive, and not waited for any more
  bool steady = false;  ///< a learner that has had everything for a while
  bool last = false;    ///< others learn rather: it was at it in vain
  bool behind = false;  ///< it may lack something that members should have, as far as whoever writes knows
};

struct succession {
  replica_view present;             ///< of term 0: none was decided yet
  std::string instance;             ///< of its holder's start: another start of it has another term
  bool in_force = false;            ///< its holder has said that it has taken over
  std::vector<replica_view> former; ///< that may have been in force when it was decided, the oldest first

  static constexpr auto fields() {
    using o = succession;
    return std::tuple{field("present", &o::present, "The newest view."), field("instance", &o::instance, {0, 64}, "Of its holder's start."),
                      field("in_force", &o::in_force, "Its holder has taken over."), field("former", &o::former, {0, 32}, "Views that may have been in force before it.")};
  }
  bool operator==(const succession&) const = default;
};

enum class succession_verdict : std::uint8_t {
  stays, ///< nothing is to be changed
  next,  ///< another view is needed, and its holder can take over
  lost,  ///< another view is needed, and too few members are there for any
};
struct succession_decision {
  succession_verdict verdict = succession_verdict::stays;
  succession next; ///< its term is still to be given
  std::string why;
};

/// What should follow `now`. The first view begins when `copies` origins are there. Its members stay while so many of them are alive that they can write; else those
/// that are go on alone, if they are enough to take over. Who writes stays as long as it is alive, has not been started anew, and can.
/// In a view that is in force whoever is gone is left out once the others lack nothing: until then it may be one of just enough that have a thing. And learners that are
/// steady come in until there are `copies` members. When such a view cannot be taken over, it goes on without them.
/// `highest`: the highest term that any origin has accepted.
succession_decision decide(const succession& now, const std::vector<candidate>& origins, std::size_t copies, std::uint64_t highest);

/// Origins that should learn: those alive that are no members, as many as are missing to `copies`; those marked `last` only where there is nobody else.
std::vector<replica> learners(const succession& now, const std::vector<candidate>& origins, std::size_t copies);

/// Members of the newest view that the last one in force had not.
std::vector<std::string> newcomers(const succession& now);

/// The view with the addresses and tokens that its members have now; those of who is not there stay.
replica_view with_addresses(replica_view view, const std::vector<candidate>& origins);

} // namespace weir::origin
