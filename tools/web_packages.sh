#!/bin/sh
# Installs what web/package-lock.json names into web/node_modules, once; node_modules carries a copy of the lock file it was installed from.
# Without Node it says "SKIPPED: …" and ends with 3; where WEIR_CI is set it fails instead.
set -eu
cd "$(dirname "$0")/../web"

for program in node npm; do
  command -v "$program" >/dev/null && continue
  if [ -n "${WEIR_CI:-}" ]; then
    echo "FAILED: $program is not installed (packages.txt, shelf test)" >&2
    exit 1
  fi
  echo "SKIPPED: $program is not installed (packages.txt, shelf test)"
  exit 3
done

stamp=node_modules/.weir-lock.json
cmp -s package-lock.json "$stamp" && exit 0
echo "installing what web/package-lock.json names"
npm ci --no-audit --no-fund --ignore-scripts
cp package-lock.json "$stamp"
