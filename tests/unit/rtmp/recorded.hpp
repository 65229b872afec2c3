#pragma once
// Requests and answers that real servers sent, as recorded (tests/data).
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

inline std::string recorded(const std::string& name) {
  std::ifstream file(WEIR_SOURCE_DIR "/tests/data/" + name, std::ios::binary);
  if (!file)
    throw std::runtime_error("no tests/data/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}
/// The body of a recorded request.
inline std::string recorded_body(const std::string& name) {
  const auto request = recorded(name);
  return request.substr(request.find("\r\n\r\n") + 4);
}
