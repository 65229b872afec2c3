#pragma once
// The configuration of a cluster of real SRS servers (5 to 7) that brings streams to Weir, made of the coordinator's YAML. How SRS behaves
// under it was measured (rtmp-servers.md). SRS is not in Debian, so no test here starts it: the tests read the text with SRS's own grammar.
#include "schemas/config.hpp"

#include <string>
#include <vector>

namespace weir::rtmp {

/// An edge that passes streams on to viewers of RTMP and HTTP-FLV. Weir neither runs nor knows it, so no YAML names it.
struct srs_edge {
  std::string name;
  std::string listen; ///< "1935", "10.0.0.5:1935" or "[::]:1935"
};

struct srs_file {
  std::string name; ///< "srs1.conf"
  std::string text; ///< holds the hook secret, if there is one
};

struct srs_cluster {
  std::vector<srs_file> files;  ///< origins in the order of the YAML, then edges; empty unless good()
  std::vector<complaint> found; ///< by path in the YAML ("rtmp_servers[0].rtmp_url"), or "--edge NAME"
  bool good() const;
};

/// One file for each of rtmp_servers[] that is an SRS, and one for each edge. Every value is checked against the few forms that it may have, so that
/// none can end a directive and begin another; nothing is escaped, because SRS's grammar has no escapes. Everything that is wrong is found at once.
srs_cluster render_srs_cluster(const node_config& config, const std::vector<srs_edge>& edges = {});

} // namespace weir::rtmp
