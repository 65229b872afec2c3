#pragma once
// What travels between nodes: every message of the interfaces whose actors may be apart. The list follows from interfaces.hpp.
#include <caf/fwd.hpp>

#include <string>

namespace weir {

/// Tells CAF of the messages. Before the actor system is made.
void add_wire_types(caf::actor_system_config& config);

/// The form of all these messages as 16 hexadecimal digits. The wire is positional and silent about mistakes (a message with one more field is read into wrong
/// values), so nodes of different forms must not talk: the DOOR compares this. It grows out of names, fields, their order and their types.
std::string wire_form();

} // namespace weir
