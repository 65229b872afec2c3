#!/bin/sh
# Configures and builds one preset: tools/build.sh PRESET [targets …]. The second time takes seconds.
set -eu
cd "$(dirname "$0")/.."
preset=$1
shift
cores=$(nproc)
# One compiler needs up to 1.5 GiB here.
memory=$(awk '/MemAvailable/ {print int($2 / 1572864)}' /proc/meminfo)
jobs=$cores
[ "$memory" -ge 1 ] || memory=1
[ "$memory" -lt "$jobs" ] && jobs=$memory
if [ ! -f "build/$preset/build.ninja" ]; then
  echo "build: configuring $preset"
  cmake --preset "$preset" >"/tmp/weir-configure.log" 2>&1 || { tail -n 30 /tmp/weir-configure.log >&2; exit 1; }
fi
steps=$(ninja -C "build/$preset" -n "$@" 2>/dev/null | grep -c '^\[' || true)
if [ "$steps" -gt 20 ]; then
  echo "build: $steps steps on $jobs cores, about $((steps * 7 / jobs / 60 + 1)) minutes"
fi
NINJA_STATUS='build: [%f/%t] ' ninja -C "build/$preset" -j "$jobs" "$@"
