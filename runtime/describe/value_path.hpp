#pragma once
// The way from a document's root to a value, as people and as programs write it.
#include "runtime/describe/document.hpp"

namespace weir::describe {

class value_path {
public:
  void push(std::string_view key);
  void push(std::size_t index);
  void pop() { steps_.pop_back(); }

  std::string text() const;    ///< "edge.origins[0]"
  std::string pointer() const; ///< "/edge/origins/0" (RFC 6901)
  problem problem_at(place at, std::string detail, bool fatal = true) const;

private:
  struct step {
    std::string key;
    std::size_t index;
    bool in_list;
  };
  std::vector<step> steps_;
};

} // namespace weir::describe
