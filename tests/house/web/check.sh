#!/bin/sh
# Checks web/: installs what the lock file names (once), checks types, runs the unit tests, builds again and compares with web/dist.
# Without Node it says so and is skipped; in CI (WEIR_CI set) a missing Node fails.
set -eu
cd "$(dirname "$0")/../../../web"

missing() {
  if [ -n "${WEIR_CI:-}" ]; then
    echo "FAILED: $1" >&2
    exit 1
  fi
  echo "SKIPPED: $1"
  exit 0
}
command -v node >/dev/null || missing "node is not installed (packages.txt, shelf test)"
command -v npm >/dev/null || missing "npm is not installed (packages.txt, shelf test)"

if grep -nE '"resolved"|https?://' package-lock.json; then
  echo "FAILED: package-lock.json names the address of a registry" >&2
  exit 1
fi

# node_modules carries a copy of the lock file it was installed from.
stamp=node_modules/.weir-lock.json
if ! cmp -s package-lock.json "$stamp"; then
  echo "installing what package-lock.json names"
  npm ci --no-audit --no-fund --ignore-scripts
  cp package-lock.json "$stamp"
fi

node node_modules/typescript/bin/tsc --noEmit
node test.mjs

fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
node build.mjs "$fresh"
if ! diff -rq dist "$fresh"; then
  echo "FAILED: web/dist is not what web/src gives; run 'npm run build' in web/ and commit the result" >&2
  exit 1
fi
echo "web: types, unit tests and bundle are right"
