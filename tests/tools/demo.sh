#!/usr/bin/env bash
# The demonstration's server.
#
# usage: demo.sh run [FILE ...]   start it, or use the one that runs, and play
#        demo.sh psql | stop
#        demo.sh stop-all         every private server of this tree

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"

server=$tools/server.sh

# What the server runs: a changed library or script needs a new one.
stamp() {
    local share lib
    share=$("$run/bin/pg_config" --sharedir)
    lib=$("$run/bin/pg_config" --pkglibdir)
    cat "$lib/gamestate.so" "$share"/extension/gamestate* "$tools/demo.conf" \
        "$run/.gamestate-run" | cksum
}

case ${1:?} in
run)
    shift
    for file in "$@"; do
        [ -r "$file" ] || die "cannot read $file"
    done
    now=$(stamp)
    if [ "$(cat "$run/demo.stamp" 2>/dev/null)" = "$now" ] &&
        { "$server" status demo || "$server" restart demo 2>/dev/null; }; then
        : # as it was, with the games that were played before
    else
        "$server" start demo "$tools/demo.conf"
        # shellcheck disable=SC1091 # written by server.sh
        . "$run/demo.env"
        createdb demo
        psql -Xqd demo -c 'CREATE EXTENSION gamestate'
        printf '%s\n' "$now" >"$run/demo.stamp"
    fi
    # shellcheck disable=SC1091
    . "$run/demo.env"
    export PGDATABASE=demo
    if [ $# -gt 0 ]; then play=(replay "$@"); else play=(play hokm); fi
    "$build/client/gamestate" "${play[@]}" || {
        rc=$?
        note "the server's log: $run/demo/log"
        exit $rc
    }
    printf '\nThe server is still running (port %s): make demo-psql to look around, make demo-stop to stop it.\n' "$PGPORT"
    ;;
psql)
    "$server" status demo || die "no demonstration is running: make demo"
    # shellcheck disable=SC1091
    . "$run/demo.env"
    exec psql -d demo
    ;;
stop)
    if "$server" status demo; then
        "$server" stop demo
        echo "stopped"
    else
        "$server" stop demo
        echo "not running"
    fi
    ;;
stop-all)
    for env in "$run"/*.env; do
        [ ! -e "$env" ] || "$server" stop "$(basename "$env" .env)"
    done
    ;;
*) die "demo.sh: unknown action $1" ;;
esac
