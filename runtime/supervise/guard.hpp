#pragma once
// The guard: a tiny hidden mode of this program that stands between us and a program that does not watch its parent.
//
//   weir  --life line-->  weir _guard  -->  nginx master  -->  nginx workers
//
// | dies by kill -9 | who ends the rest |
// | weir            | the guard sees the end of the life line: TERM to the group, a grace, KILL to the group and to all descendants |
// | the leader      | the guard has adopted its children (subreaper) and kills them; workers of nginx outlive their master otherwise |
// | the guard       | weir kills the group that guard and program share; without weir, the leader gets TERM as parent-death signal   |
#include <string_view>

namespace weir::supervise {

/// First argument that selects the hidden mode.
inline constexpr std::string_view guard_word = "_guard";
/// `weir _guard --life-fd N --grace-ms M -- program arguments…`; argv[1] is guard_word. Ends as the program ended (same code or same signal).
int guard_main(int argc, char** argv);

} // namespace weir::supervise
