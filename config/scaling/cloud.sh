#!/bin/sh
# Begins, ends and lists machines of a cloud for Weir's autoscaler (autoscaler.driver: exec). The API is Hetzner's; others differ in names only.
#
# Weir says what to do in WEIR_ORDER, WEIR_MACHINE, WEIR_CLUSTER and WEIR_PREFIX (and as JSON on standard input), and reads one JSON object from standard
# output. What is written to standard error is in Weir's log. Needs curl and jq.
#
# /etc/weir/scaling/token (mode 0600, owned by the user that runs weir): the API's token. It stays out of every command line.
# /etc/weir/scaling/cloud-init.yaml: what the machine does when it starts; @MACHINE@ in it becomes the machine's name.
set -eu
folder=${WEIR_SCALING_FOLDER:-/etc/weir/scaling}
api=${WEIR_SCALING_API:-https://api.hetzner.cloud/v1}

# call METHOD PATH [BODY]: the answer's body, and its status on a last line of its own.
call() {
  printf 'header = "Authorization: Bearer %s"\n' "$(cat "$folder/token")" |
    curl --config - --silent --show-error --max-time 40 --request "$1" --header 'Content-Type: application/json' \
      ${3:+--data-binary "$3"} --write-out '\n%{http_code}' "$api$2"
}
status() { printf '%s\n' "$1" | tail -n 1; }
body() { printf '%s\n' "$1" | sed '$d'; }
refuse() { jq -cn --arg why "$1" '{accepted: false, reason: $why}'; exit 0; }

case $WEIR_ORDER in
  begin)
    wish=$(sed "s/@MACHINE@/$WEIR_MACHINE/g" "$folder/cloud-init.yaml" | jq -Rsc --arg name "$WEIR_MACHINE" --arg cluster "$WEIR_CLUSTER" \
      '{name: $name, server_type: "cpx31", image: "debian-12", location: "fsn1", user_data: ., labels: {weir: $cluster}}')
    answer=$(call POST /servers "$wish")
    case $(status "$answer") in
      201) ;;
      409) [ "$(body "$answer" | jq -r .error.code)" = uniqueness_error ] || refuse "$(body "$answer" | jq -r .error.message)" ;; # it is there already
      *) refuse "the API answered $(status "$answer"): $(body "$answer" | jq -r '.error.message // "nothing"')" ;;
    esac
    echo '{"accepted": true}' ;;
  end)
    answer=$(call GET "/servers?name=$WEIR_MACHINE")
    [ "$(status "$answer")" = 200 ] || refuse "the API answered $(status "$answer")"
    for id in $(body "$answer" | jq -r '.servers[].id'); do # none: it is gone already
      gone=$(status "$(call DELETE "/servers/$id")")
      case $gone in 200 | 404) ;; *) refuse "the API answered $gone" ;; esac
    done
    echo '{"accepted": true}' ;;
  list)
    # All pages: a machine that is not in the list counts as gone.
    page=1 names='[]'
    while [ "$page" != null ]; do
      answer=$(call GET "/servers?label_selector=weir%3D$WEIR_CLUSTER&per_page=50&page=$page")
      [ "$(status "$answer")" = 200 ] || refuse "the API answered $(status "$answer")"
      names=$(body "$answer" | jq -c --argjson before "$names" '$before + [.servers[].name]')
      page=$(body "$answer" | jq -r '.meta.pagination.next_page')
    done
    jq -cn --argjson names "$names" '{machines: $names}' ;;
  *)
    echo "unknown order $WEIR_ORDER" >&2
    exit 2 ;;
esac
