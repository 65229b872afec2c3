#pragma once
// runtime/nginx: nginx as RTMP ingest and as caching edge: its configuration, its folder, its start, its figures.
//
//   ingest_config, edge_config   what is configured → text of nginx.conf, nothing injectable     (values.hpp)
//   prefix                       the folder of one nginx, swept of what an earlier run left       (here)
//   part_front                   parts of low-latency segments, which nginx's cache would hold up (part_front.hpp)
//   certificate_keeper           certificate and key of an edge, renewed while it serves           (certificate.hpp)
//   edge_log                     access log and stub_status → edge_load                           (edge_log.hpp)
//
//   auto folder = nginx::prefix::prepare("/var/lib/weir/edge-1");
//   auto text = nginx::render(config);
//   WEIR_TRY(folder->install(*text));            // nginx -t says yes
//   auto how = folder->start();                  // a guarded launch: add on_line and on_exit
//   auto child = supervise::process::spawn(std::move(how));   // before each later start: folder->sweep()
//   child->signal(SIGHUP);                       // after another install(): reload
//   child->quit(4s, 1s);                         // answers under way are finished, what is left after 4 s is cut off
#include "runtime/supervise/process.hpp"
#include "schemas/error.hpp"

#include <string>
#include <string_view>

namespace weir::nginx {

/// The folder of one nginx: configuration, pid, temporary files, cache, sockets. Mode 0700, or 0711 when its workers have another user.
class prefix {
public:
  /// Makes the folder and sweeps it. Errors: invalid_config (path), io_failed, and those of sweep().
  static expected<prefix> prepare(std::string path, bool workers_of_another_user = false, std::string program = "/usr/sbin/nginx");

  /// Ends processes of nginx that an earlier run left here (workers outlive a killed master and would keep the port) and removes the
  /// pid file and the sockets on which nobody listens any more. For before each start. Blocks for up to 2 s. Errors: unavailable (they do not die).
  expected<void> sweep() const;
  /// Whether `nginx -t` takes the configuration and the files that it names; nothing changes. Blocks for up to 10 s. Errors: invalid_config with nginx's
  /// own words; io_failed.
  expected<void> check(std::string_view configuration) const;
  /// Checks the configuration and puts it in place. Errors: as check().
  expected<void> install(std::string_view configuration) const;
  /// How to start it: guarded, in this folder.
  supervise::launch start() const;

  const std::string& path() const { return path_; }
  /// A file in the folder.
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

private:
  prefix(std::string path, std::string program) : path_(std::move(path)), program_(std::move(program)) {}
  std::string path_;
  std::string program_;
};

} // namespace weir::nginx
