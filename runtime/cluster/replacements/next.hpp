#pragma once
#include <dlfcn.h>

namespace weir::cluster {

/// The library's own function behind a replacement of ours.
template <class F>
F next(const char* name) {
  return reinterpret_cast<F>(::dlsym(RTLD_NEXT, name));
}

} // namespace weir::cluster
