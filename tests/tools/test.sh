#!/usr/bin/env bash
# Run layers of tests on private servers and end with "N passed, N failed".
#
# usage: test.sh LAYER...      layers: regress isolation pgtap tap unit
#
# Everything is built and installed in the private copy by now (see the Makefile).
# The first three layers share one server.  Environment: REGRESS (names in sql/),
# ISOLATION (names in tests/isolation/specs), PROVE_TESTS (files of pgtap, tap or
# unit), PROVE_FLAGS, TAP_JOBS; each "" or unset for all.  LAYER_TIMEOUT: seconds
# after which a layer that hangs is ended, and has failed.  GAMESTATE_DATA: the
# directory of recorded games for the tests that replay some (../shared/data).

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"
set -o pipefail

out=$build/test
rm -rf "$out"
mkdir -p "$out"
cd "$top"

run=$(cd -P "$run" && pwd)
export PATH=$run/bin:$PATH
counts=$out/counts
limit=${LAYER_TIMEOUT:-2400}
: >"$counts"
status=0
started=

finish() {
    [ -z "$started" ] || "$tools/server.sh" stop test || true
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

head_line() { printf '\n== %s\n' "$*"; }
skip() { printf 'skipped: %s\n' "$*"; }

# server: the shared server, started for the first layer that needs it, and anew
# for the next one when it has crashed
server() {
    if [ -z "$started" ] || ! "$tools/server.sh" status test; then
        "$tools/server.sh" start test "$tools/test.conf"
        started=1
    fi
    # shellcheck disable=SC1090 # written by server.sh
    . "$run/test.env"
}

# server_log: what the shared server said at its end, after a failure
server_log() {
    printf -- '--- the end of the server log (all of it: %s)\n' "$out/server.log"
    as_server cat "$run/test/log" >"$out/server.log" || true
    tail -n 15 "$out/server.log"
}

# count LAYER EXIT-STATUS EXPECTED: add up the "passed failed" lines in $layer_counts.  The
# exit status and the number of tests asked for have the last word, so that a
# crash of the test driver never looks like a success.
count() {
    local passed=0 failed=0 p f
    while read -r p f; do
        passed=$((passed + p)) failed=$((failed + f))
    done <"$layer_counts"
    if [ $((passed + failed)) -lt "$3" ]; then
        failed=$(($3 - passed)) # those that did not even run
    elif [ "$failed" -eq 0 ] && [ "$2" -ne 0 ]; then
        failed=1
    fi
    [ "$failed" -eq 0 ] || status=1
    echo "$passed $failed" >>"$counts"
    printf '%s: %d passed, %d failed (%d s)\n' "$1" "$passed" "$failed" $((SECONDS - layer_start))
}

# pg_regress_count LOG: "passed failed" out of pg_regress's output, which is its
# own format up to PostgreSQL 15 and TAP since 16.
pg_regress_count() {
    awk '/ \.\.\. +ok/ || /^ok [0-9]/ {p++}
         / \.\.\. +FAILED/ || / \.\.\. +failed \(ignored\)/ || /^not ok [0-9]/ {f++}
         END {print p + 0, f + 0}' "$1"
}

# run_regress LAYER PROGRAM INPUT-DIRECTORY NAME...
run_regress() {
    local layer=$1 program=$2 input=$3 rc=0
    shift 3
    server
    mkdir -p "$out/$layer"
    timeout --foreground "$limit" "$program" --bindir="$run/bin" --host="$PGHOST" --port="$PGPORT" --user=postgres \
        --dbname="gs_$layer" --load-extension=gamestate --inputdir="$input" \
        ${new_pg_regress:+--expecteddir="$input"} --outputdir="$out/$layer" "$@" \
        2>&1 | tee "$out/$layer.log" || rc=$?
    pg_regress_count "$out/$layer.log" >"$layer_counts"
    if [ $rc -ne 0 ]; then
        [ ! -s "$out/$layer/regression.diffs" ] || head -n 200 "$out/$layer/regression.diffs"
        server_log
    fi
    count "$layer" $rc $#
}

# names DIRECTORY EXTENSION: base names of the files there
names() {
    local f
    for f in "$1"/*."$2"; do
        [ -e "$f" ] && basename "$f" ".$2"
    done
    return 0
}

# selected DIRECTORY EXTENSION: the files of PROVE_TESTS that belong there, or all
selected() {
    local f
    if [ -n "${PROVE_TESTS:-}" ]; then
        for f in $PROVE_TESTS; do
            case $f in
            "$1"/*."$2")
                [ -e "$f" ] || die "no such test: $f"
                echo "$f"
                ;;
            esac
        done
        return
    fi
    for f in "$1"/*."$2"; do
        [ -e "$f" ] && echo "$f"
    done
    return 0
}

# shellcheck disable=SC2086 # lists of names without blanks
layer_regress() {
    local list=${REGRESS:-$(names sql sql)}
    [ -n "$list" ] || { skip "no files in sql/"; return; }
    run_regress regress "$pgxs/test/regress/pg_regress" . $list
}

# shellcheck disable=SC2086
layer_isolation() {
    local list=${ISOLATION:-$(names tests/isolation/specs spec)}
    [ -n "$list" ] || { skip "no files in tests/isolation/specs/"; return; }
    run_regress isolation "$pgxs/test/isolation/pg_isolation_regress" tests/isolation $list
}

# run_prove LAYER COMMAND...: prove or pg_prove with the counting harness
run_prove() {
    local layer=$1 rc=0
    shift
    GS_COUNTS=$layer_counts PERL5LIB=${harness:-$tools}${PERL5LIB:+:$PERL5LIB} "$@" || rc=$?
    [ $rc -ne 124 ] || echo "$layer: ended after $limit s"
    count "$layer" $rc 1
    return 0
}

# shellcheck disable=SC2086
layer_pgtap() {
    local list
    list=$(selected tests/pgtap sql)
    [ -n "$list" ] || { skip "no files in tests/pgtap/"; return; }
    server
    dropdb --if-exists gs_pgtap 2>/dev/null
    if ! createdb gs_pgtap || ! psql -Xqd gs_pgtap -v ON_ERROR_STOP=1 \
        -c 'CREATE EXTENSION pgtap' -c 'CREATE EXTENSION gamestate'; then
        count pgtap 1 1
        return
    fi
    # The files stand beside the others of the suite: \ir finds its neighbours.
    run_prove pgtap timeout --foreground "$limit" pg_prove --harness CountingHarness --dbname gs_pgtap --ext .sql \
        ${PROVE_FLAGS:-} $list
    [ "$(awk '{f += $2} END {print f + 0}' "$layer_counts")" -eq 0 ] || server_log
}

# The TAP tests start servers themselves, so all of it runs as the server's user,
# who may be unable to read this directory: he gets a copy of what they use.
# shellcheck disable=SC2086
layer_tap() {
    local list perl_lib dir=$run/tap
    list=$(selected tests/t pl)
    [ -n "$list" ] || { skip "no files in tests/t/"; return; }
    perl_lib=$pgxs/test/perl
    if [ ! -e "$perl_lib/PostgreSQL/Test/Cluster.pm" ]; then
        for perl_lib in /usr/lib/postgresql/*/lib/pgxs/src/test/perl; do :; done
        [ -e "$perl_lib/PostgreSQL/Test/Cluster.pm" ] || die "no PostgreSQL::Test::Cluster (a server configured with --enable-tap-tests has it)"
        note "this PostgreSQL has no PostgreSQL::Test::Cluster; using that in $perl_lib"
    fi

    rm -rf "$dir"
    mkdir "$dir"
    cp -R "$top/tests" "$dir/tests"
    cp "$top/README.md" "$dir/"
    [ ! -d sql ] || cp -R "$top/sql" "$top/expected" "$dir/"
    [ ! -d "$build/client" ] || cp -R "$build/client" "$dir/client"
    [ ! -d "$dir/client" ] || cp -R README.md client/examples client/include "$dir/client/"
    [ ! -d "$build/torture" ] || cp -R "$build/torture" "$dir/torture"
    if [ -d "${GAMESTATE_DATA:=$top/../shared/data}" ]; then
        cp -R "$GAMESTATE_DATA" "$dir/data"
        export GAMESTATE_DATA=$dir/data
    fi
    : >"$dir/counts"
    chmod -R a+rX "$dir"
    [ "$(id -u)" -ne 0 ] || chown "$server_user:" "$dir" "$dir/counts"

    layer_counts=$dir/counts
    export TESTDIR=$dir TESTDATADIR=$dir/tmp_check TESTLOGDIR=$dir/tmp_check/log
    export PG_REGRESS=$pgxs/test/regress/pg_regress
    export GS_CLIENT=$dir/client GS_TORTURE=$dir/torture GS_TESTS=$dir/tests TMPDIR=/tmp
    harness=$dir/tests/tools as_server_dir=$dir run_prove tap \
        as_server env PATH="$dir/client:$PATH" \
        timeout --foreground "$limit" prove --harness CountingHarness \
        -j "${TAP_JOBS:-2}" -I "$perl_lib" -I "$dir/tests/t" ${PROVE_FLAGS:---timer} $list
    # A test that was ended leaves its servers behind.
    local pidfile
    for pidfile in "$dir"/tmp_check/*/pgdata/postmaster.pid; do
        [ ! -e "$pidfile" ] || kill -QUIT "$(head -n 1 "$pidfile")" 2>/dev/null || true
    done
    # Data directories are big and go; the logs stay.
    cp -R "$dir/tmp_check/log" "$out/tap-log" 2>/dev/null || true
    rm -rf "$dir"
}

# Built by the Makefile from tests/unit/*.c.
# shellcheck disable=SC2086
layer_unit() {
    local list='' source
    for source in $(selected tests/unit c); do
        list="$list $build/unit/$(basename "$source" .c)"
    done
    [ -n "$list" ] || { skip "no files in tests/unit/"; return; }
    run_prove unit timeout --foreground "$limit" prove --harness CountingHarness ${PROVE_FLAGS:-} --exec '' $list
}

pgxs=$(pgxs_dir)
major=$("$run/bin/pg_config" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
new_pg_regress=
[ "$major" -lt 16 ] || new_pg_regress=1

for layer in "$@"; do
    head_line "$layer"
    layer_start=$SECONDS
    layer_counts=$out/counts.$layer
    : >"$layer_counts"
    "layer_$layer"
done

finish
started=
awk -v status=$status -v asked=$# '
    {p += $1; f += $2}
    END {
        if (asked > 1 && p + f == 0) {print "\nno test ran"; exit 1}
        printf "\n%d passed, %d failed\n", p, f
        exit (f > 0 || status != 0)
    }' "$counts"
