#!/bin/sh
# Installs what packages.txt lists for the given shelves (build, run, test) and is missing. Nothing is asked or changed when nothing is missing.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)

# shellcheck source=/dev/null
. /etc/os-release
if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-}" != 12 ]; then
  echo "Weir is built on Debian 12; this is ${PRETTY_NAME:-unknown}. Install the counterparts of packages.txt yourself, then set WEIR_NO_INSTALL=1." >&2
  [ "${WEIR_NO_INSTALL:-}" = 1 ] || exit 1
fi
[ "${WEIR_NO_INSTALL:-}" = 1 ] && exit 0

missing=
while read -r shelf package condition command; do
  case " $* " in *" $shelf "*) ;; *) continue ;; esac
  if [ "$condition" = unless ] && command -v "$command" >/dev/null 2>&1; then continue; fi
  # A package that is being removed or half installed does not count.
  if [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then missing="$missing $package"; fi
done <<LIST
$(grep -v '^#' "$here/packages.txt" | grep .)
LIST
if [ -z "$missing" ]; then
  echo "packages: all there"
  exit 0
fi

root=
if [ "$(id -u)" != 0 ]; then
  if command -v sudo >/dev/null 2>&1; then root=sudo; else
    echo "These packages are missing and need root to be installed:$missing" >&2
    exit 1
  fi
fi
# shellcheck disable=SC2086 # a list of words
set -- $missing
echo "packages: installing $# (takes one to three minutes the first time):$missing"
lists=/var/lib/apt/lists
if [ -z "$(find "$lists" -maxdepth 1 -name '*Packages*' -mtime -1 2>/dev/null | head -n 1)" ]; then
  echo "packages: reading the lists"
  $root apt-get -qq update
fi
$root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 --no-install-recommends install "$@" >/tmp/weir-install.log 2>&1 || {
  tail -n 20 /tmp/weir-install.log >&2
  echo "packages: apt-get failed; the whole log is /tmp/weir-install.log" >&2
  exit 1
}
echo "packages: done"
