# shellcheck shell=bash
# Sourced by bench.sh after common.sh: what the parts of the benchmark share.

# shellcheck disable=SC2154 # variables of those who source this

out=$build/bench
here=$top/tests/bench
raw=$out/raw.jsonl
mkdir -p "$out"

# start [SETTING=VALUE ...]: a new server, with what is compared in it
start() {
    "$tools/server.sh" start bench "$here/bench.conf" "$@"
    # shellcheck disable=SC1091 # written by server.sh
    . "$run/bench.env"
    # Where the server's user can read it.
    cp "$out/gs_noop.so" "$run/gs_noop.so"
    psql -Xq -v noop="$(run_path)/gs_noop" -f "$here/bench.sql"
}

# sql COMMAND...: each in a transaction of its own, values only
sql() {
    local command arguments=()
    for command in "$@"; do
        arguments+=(-c "$command")
    done
    psql -XqAt -v ON_ERROR_STOP=1 "${arguments[@]}"
}

# has_setting NAME: does the library know it?
has_setting() {
    [ "$(sql "SELECT count(*) FROM pg_settings WHERE name = '$1'")" -eq 1 ]
}

# emit PART NAME ROUND JSON: a row for report.pl
emit() {
    printf '{"part":"%s","name":"%s","round":%d,%s\n' "$1" "$2" "$3" "${4#\{}" >>"$raw"
}

# measure PART NAME ROUND ARGUMENTS-OF-gs_bench
#
# In the run directory, so that the path of Redis's socket is never too long.
measure() {
    local part=$1 name=$2 round=$3 line
    shift 3
    line=$(cd -P "$run" && "$out/gs_bench" -t "$BENCH_SECONDS" -w 0.3 -s "$round" "$@")
    emit "$part" "$name" "$round" "$line"
    [ ! -t 2 ] || printf '.' >&2
}

# what took how long, for whoever wants to shorten it
lap() { printf '%s %d\n' "$1" "$SECONDS" >>"$out/laps"; }

wants() {
    case " $BENCH_ONLY " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

rounds() { seq 1 "$BENCH_ROUNDS"; }

# half_rate: half of the moves a second that the server can do
half_rate() {
    grep -q '"name":"move"' "$raw" || measure moves move 1 move
    perl "$here/report.pl" --half moves move "$raw"
}
