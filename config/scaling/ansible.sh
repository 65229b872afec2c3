#!/bin/sh
# Begins, ends and lists edges on machines of your own by Ansible, for Weir's autoscaler (autoscaler.driver: exec).
#
# The inventory's group `idle_edges` has the machines that may be used, one to a line of `hosts` here; a file in `used` says which of them has which name of
# Weir's: HOST's file holds the name. Needs ansible-playbook, and flock so that two orders do not take the same machine.
set -eu
folder=${WEIR_SCALING_FOLDER:-/etc/weir/scaling}
cd "$folder"
mkdir -p used
exec 9> used/.lock
flock 9

host_of() { grep -lFx -- "$1" used/* 2> /dev/null | head -n 1 | sed 's|.*/||'; }
play() { ansible-playbook --inventory inventory --limit "$1" --extra-vars "weir_node=$WEIR_MACHINE weir_state=$2" edge-playbook.yaml >&2 < /dev/null; }

case $WEIR_ORDER in
  begin)
    host=$(host_of "$WEIR_MACHINE")
    if [ -z "$host" ]; then
      while read -r one; do
        [ -e "used/$one" ] || { host=$one; break; }
      done < hosts
      [ -n "$host" ] || { echo '{"accepted": false, "reason": "every machine is in use"}'; exit 0; }
      echo "$WEIR_MACHINE" > "used/$host" # first: what fails half way is ended under its name
    fi
    play "$host" started
    echo '{"accepted": true}' ;;
  end)
    host=$(host_of "$WEIR_MACHINE")
    if [ -n "$host" ]; then
      play "$host" stopped
      rm "used/$host"
    fi
    echo '{"accepted": true}' ;;
  list)
    cat used/* 2> /dev/null | awk 'BEGIN { printf "{\"machines\": [" } { printf "%s\"%s\"", (NR > 1 ? ", " : ""), $1 } END { print "]}" }' ;;
  *)
    echo "unknown order $WEIR_ORDER" >&2
    exit 2 ;;
esac
