#!/usr/bin/env bash
# What `make sanitize` runs once all is built: the unit tests and the fuzz
# targets under ASan and UBSan, then the SQL tests on a server under valgrind.
#
# Valgrind here watches a PostgreSQL that was not built for it (USE_VALGRIND), so
# it sees wild reads and writes, uninitialised values and use of freed malloc
# blocks, but not overruns inside a palloc'd block or a memory context.

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"
set -o pipefail

cd "$top"
out=$build/sanitize-out
rm -rf "$out"
mkdir -p "$out"
status=0
export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1

printf '== unit tests, ASan + UBSan\n'
set --
for source in tests/unit/*.c; do
    [ ! -e "$source" ] || set -- "$@" "$build/sanitize/$(basename "$source" .c)"
done
if [ $# -gt 0 ]; then
    prove --exec '' "$@" || status=1
else
    echo "skipped: no files in tests/unit/"
fi

printf '\n== fuzzing, %s s each\n' "${FUZZ_SECONDS:=20}"
fuzzed=0
for source in tests/fuzz/*.c; do
    [ -e "$source" ] || continue
    fuzzed=1
    name=$(basename "$source" .c)
    # Inputs kept in tests/fuzz/corpus/<name>/ are the start; new ones stay in build/.
    mkdir -p "$build/fuzz/corpus/$name" "$out/$name"
    set -- "$build/fuzz/corpus/$name"
    [ ! -d "tests/fuzz/corpus/$name" ] || set -- "$@" "tests/fuzz/corpus/$name"
    if "$build/fuzz/$name" -max_total_time="$FUZZ_SECONDS" -rss_limit_mb=2048 \
        -artifact_prefix="$out/$name/" "$@" >"$out/$name.log" 2>&1; then
        tail -n 1 "$out/$name.log"
    else
        tail -n 40 "$out/$name.log"
        echo "$name: FAILED, the input is in $out/$name/"
        status=1
    fi
done
[ $fuzzed -eq 1 ] || echo "skipped: no files in tests/fuzz/"

printf '\n== libgamestate: ASan + UBSan, TSan, valgrind\n'
# Scenarios of client/test; those that do something to the server are of tests/t.
client() {
    local said
    said=$("$@" 2>&1) && ! grep -q '^not ok' <<<"$said" && return
    echo "$said" >>"$out/client.log"
    printf '%s: FAILED (all it said: %s)\n' "$*" "$out/client.log"
    grep -v '^ok' <<<"$said" | tail -n 60
    status=1
}
# Each scenario finds the server as it was.  A game that is being archived cannot be
# deleted: then all of them are tried again.
as_it_was() {
    local tries
    psql -Xqc 'SET client_min_messages = error; DROP TABLE IF EXISTS wallet, once'
    for ((tries = 0; tries < 50; tries++)); do
        psql -Xqc 'SELECT gamestate.delete_game(game_id) FROM gamestate.list_live_games()' >/dev/null 2>&1 || true
        [ "$(psql -XAtc 'SELECT count(*) FROM gamestate.list_live_games()')" != 0 ] || return 0
        sleep 0.1
    done
    echo 'there are games left'
    status=1
}
scenarios_with_server() {
    local scenario
    # shellcheck disable=SC1091 # written by server.sh
    . "$run/sanitize.env"
    export PGDATABASE=postgres
    psql -Xqc 'CREATE EXTENSION gamestate'
    for scenario in calls lists transactions sql pipeline groups large skipped closing deadlines disturbed subscriptions subscribers; do
        as_it_was
        client "$build/sanitize/lib_test_asan" $scenario
        as_it_was
        case $scenario in
        deadlines | disturbed | pipeline | subscribers) client "$build/sanitize/lib_test_tsan" $scenario ;;
        calls | closing | subscriptions) client valgrind --quiet --leak-check=full --error-exitcode=9 "$build/client/lib_test" $scenario ;;
        esac
    done
}
client "$build/sanitize/lib_test_asan" garbage
client "$build/sanitize/lib_test_asan" no_server
client "$build/sanitize/lib_test_asan" late_cancel
client "$build/sanitize/lib_test_tsan" late_cancel
PATH=$run/bin:$PATH
export PATH
"$tools/server.sh" start sanitize "$tools/test.conf"
scenarios_with_server
# The pool, with all its threads.
for way in asan tsan; do
    client "$build/sanitize/pool_check_$way" ''
done
client valgrind --quiet --leak-check=full --error-exitcode=9 "$build/client/pool_check" ''
"$tools/server.sh" remove sanitize
[ $status -ne 0 ] || echo 'nothing to complain about'

printf '\n== SQL tests under valgrind, at most %s s\n' "${VALGRIND_SECONDS:=600}"
if compgen -G 'sql/*.sql' >/dev/null; then
    logs=$(run_path)/valgrind
    rm -rf "$logs"
    mkdir "$logs"
    [ "$(id -u)" -ne 0 ] || chown "$server_user:" "$logs"
    cp "$tools/valgrind.supp" "$run/valgrind.supp"
    export SERVER_TIMEOUT=300
    # No just-in-time compiler: it is nothing of ours, and ld.so, when it loads it,
    # reads whole words beyond the ends of its strings.
    export SERVER_SETTINGS="jit=off"
    SERVER_WRAPPER="valgrind --quiet --trace-children=yes --leak-check=no --error-exitcode=0 --gen-suppressions=all --num-callers=30 --suppressions=$(run_path)/valgrind.supp --log-file=$logs/%p.log"
    export SERVER_WRAPPER
    rc=0
    timeout "$VALGRIND_SECONDS" "$tools/test.sh" regress || rc=$?
    "$tools/server.sh" stop test
    if [ $rc -eq 124 ]; then
        echo "time is up: not all tests ran"
    elif [ $rc -ne 0 ]; then
        status=1
    fi
    find "$logs" -name '*.log' -size +0 -exec cat {} + >"$out/valgrind.log"
    if [ -s "$out/valgrind.log" ]; then
        head -n 60 "$out/valgrind.log"
        echo "valgrind complained, all of it is in $out/valgrind.log"
        status=1
    else
        echo "valgrind: nothing to complain about in $(find "$logs" -name '*.log' | wc -l) processes"
    fi
else
    echo "skipped: no files in sql/"
fi

[ $status -eq 0 ] && printf '\nsanitize: all well\n' || printf '\nsanitize: FAILED\n'
exit $status
