// Replaces caf::detail::get_process_id of libcaf_core 0.17.6. A node's id is made of the machine and this number; two containers on one machine often
// have the same process id, and CAF then takes one node for the other.
#include <random>

namespace caf::detail {

unsigned get_process_id() {
  static const unsigned id = [] {
    std::random_device random;
    unsigned drawn = 0;
    while (drawn == 0)
      drawn = random();
    return drawn;
  }();
  return id;
}

} // namespace caf::detail
