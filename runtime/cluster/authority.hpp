#pragma once
// The cluster's own certificate authority: who holds a certificate that it signed is a node of the cluster (mutual TLS, see `weir cluster`).
// All of OpenSSL that we call ourselves is behind this door.
#include "schemas/units.hpp"

#include <chrono>
#include <string>
#include <string_view>

namespace weir::cluster {

/// Makes FOLDER/ca.pem and FOLDER/ca.key (0600), and the folder (0700) if there is none. Fails with already_exists when one of the two files is
/// there: nodes trust it. `cluster_name` has at most 51 letters, digits, '-', '_' and '.': so many fit into a certificate.
expected<void> make_authority(const std::string& folder, const std::string& cluster_name, std::chrono::days valid = std::chrono::days(3650));

/// Makes FOLDER/NODE.key (0600) and FOLDER/NODE.pem, signed by the authority in the folder; replaces those that are there. No certificate
/// outlives the authority.
expected<void> issue(const std::string& folder, const std::string& node_name, std::chrono::days valid = std::chrono::days(825));

/// Fails with invalid_input unless the name can be that of a node: 1 to 64 letters, digits, '-', '_' and '.', not "ca", not beginning with '.'.
expected<void> check_node_name(std::string_view name);

struct certificate_facts {
  std::string subject; ///< printable ASCII, such as "CN=worker-1", whatever stands in the certificate
  std::string issuer;
  timestamp not_before{}, not_after{}; ///< years that a timestamp cannot hold (after 2262) become its last one
  bool is_authority = false;
};

/// Of the first certificate in the file, which may hold more (a chain, or two authorities while one replaces the other).
expected<certificate_facts> read_certificate(const std::string& file);
/// The same of the file's text.
expected<certificate_facts> parse_certificate(std::string_view pem);

/// Whether a node can join with these three files: the certificate is in its time, one of the authorities in `ca` signed it for both ends of a
/// connection, and the key is its own. What OpenSSL refuses in a handshake fails here, in one sentence that begins with the file. A key file that
/// others than its owner may read fails with forbidden.
expected<void> check_identity(const std::string& ca, const std::string& certificate, const std::string& key);

/// Whether a server of somebody else's can be shown these two files: the certificate is in its time and the key is its own; whose signature counts is
/// for the server to judge. Fails as check_identity does.
expected<void> check_pair(const std::string& certificate, const std::string& key);

} // namespace weir::cluster
