#!/bin/sh
# Checks web/: installs what the lock file names (once), checks types, runs the unit tests, builds again and compares with web/dist.
# Without Node it says so and is skipped; in CI (WEIR_CI set) a missing Node fails.
set -eu
cd "$(dirname "$0")/../../../web"

if grep -nE '"resolved"|https?://' package-lock.json; then
  echo "FAILED: package-lock.json names the address of a registry" >&2
  exit 1
fi

status=0
../tools/web_packages.sh || status=$?
[ "$status" = 3 ] && exit 0
[ "$status" = 0 ] || exit "$status"

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
