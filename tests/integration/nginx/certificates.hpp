#pragma once
// Certificates that sign themselves, made by openssl, and curl, which believes them or does not.
#include "runtime/nginx/certificate.hpp"
#include "runtime/supervise/process.hpp"
#include "tests/integration/nginx/surroundings.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace certificates {

/// Makes NAME.pem, a certificate for 127.0.0.1 that signs itself, and NAME.key.
inline weir::nginx::certificate_files new_certificate(const surroundings::folder& home, const std::string& name) {
  weir::nginx::certificate_files files{home / (name + ".pem"), home / (name + ".key")};
  const auto made = weir::supervise::run_to_end({.program = "openssl",
                                                 .arguments = {"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "3", "-subj", "/CN=" + name,
                                                               "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", files.key, "-out", files.certificate}},
                                                std::chrono::seconds(20));
  EXPECT_TRUE(made && made->status.ok());
  return files;
}
inline void copy(const std::string& from, const std::string& to) { std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing); }

/// What curl prints, and its exit code in brackets when that is not 0.
inline std::string curl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"-s", "--max-time", "20", "-o", "/dev/null"});
  const auto done = weir::supervise::run_to_end({.program = "curl", .arguments = std::move(arguments)}, std::chrono::seconds(30));
  if (!done)
    return done.error().text;
  return (done->lines.empty() ? "" : done->lines.back()) + (done->status.ok() ? "" : fmt::format("({})", done->status.code));
}

} // namespace certificates
