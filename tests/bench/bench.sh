#!/usr/bin/env bash
# What `make bench` runs once all is built: starts a server of its own, takes the
# measurements in rounds, each round every workload, so that whatever else the
# machine does meets them all alike, and prints what report.pl makes of it.
#
# Environment: BENCH_SECONDS (5) a measurement, BENCH_ROUNDS (5), BENCH_ONLY="moves
# latency lookup memory" (parts to run), BENCH_GAMES (1000000, the memory run's).

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/../tools/common.sh"

: "${BENCH_SECONDS:=5}" "${BENCH_ROUNDS:=5}" "${BENCH_GAMES:=1000000}"
: "${BENCH_ONLY:=moves latency lookup memory}"
out=$build/bench
raw=$out/raw.jsonl
here=$top/tests/bench
mkdir -p "$out"
: >"$raw"
rm -f "$out/results.json"

trap '"$tools/server.sh" remove bench' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start() {
    "$tools/server.sh" start bench "$here/bench.conf" "$@"
    # shellcheck disable=SC1091 # written by server.sh
    . "$run/bench.env"
    # Where the server's user can read it.
    cp "$out/gs_noop.so" "$run/gs_noop.so"
    psql -Xq -v noop="$(run_path)/gs_noop" -f "$here/bench.sql"
}

# measure PART ROUND ARGUMENTS-OF-gs_bench
measure() {
    local part=$1 round=$2 line
    shift 2
    line=$("$out/gs_bench" -t "$BENCH_SECONDS" -s "$round" "$@")
    printf '{"part":"%s","round":%d,%s\n' "$part" "$round" "${line#\{}" >>"$raw"
    [ ! -t 2 ] || printf '.' >&2
}

wants() {
    case " $BENCH_ONLY " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

rounds() { seq 1 "$BENCH_ROUNDS"; }

start
if wants moves; then
    for round in $(rounds); do
        for workload in select1 noop_move noop_state get_state move move_memory plpgsql cte cte_tuned; do
            measure moves "$round" $workload
        done
    done
fi

# Moves offered at half of what the server can do, with and without an archiver
# that has more than enough to do.
if wants latency; then
    wants moves || measure moves 1 move
    rate=$(perl "$here/report.pl" --median moves move "$raw")
    for round in $(rounds); do
        measure latency "$round" -r "$((rate / 2))" move
        measure latency "$round" -r "$((rate / 2))" \
            -b "$(perl -e 'print int($ARGV[0] * 12000 + 1000)' "$BENCH_SECONDS")" move
    done
fi

# Look-ups must not become slower with the number of games.
if wants lookup; then
    for round in $(rounds); do
        for games in 1000 100000; do
            for workload in by_id by_room by_player; do
                measure lookup "$round" -g $games $workload
            done
        done
    done
fi

# A million games of shifting sizes through a small memory: four times 200 B, 20 KB,
# 1 KB, two workers at once, each with at most 1000 games.
if wants memory; then
    start gamestate.memory=64MB
    cycles=4 workers=2
    sizes='200 20000 1000'
    phase=$((BENCH_GAMES / (cycles * workers * 3) + 1))
    created=0
    for cycle in $(seq 1 $cycles); do
        for size in $sizes; do
            pids=()
            for worker in $(seq 1 $workers); do
                psql -Xq -v ON_ERROR_STOP=1 -c "SET synchronous_commit = off" \
                    -c "CALL bench.churn($worker, $size, $phase, 1000)" &
                pids+=($!)
            done
            for pid in "${pids[@]}"; do
                wait "$pid" || die "the memory run failed"
            done
            created=$((created + workers * phase))
            psql -Xq -v ON_ERROR_STOP=1 -c "
                INSERT INTO bench.memory
                SELECT $cycle, $size, $created, used_bytes, total_bytes, games
                  FROM gamestate.stat_memory"
        done
    done
    psql -XqAt -v ON_ERROR_STOP=1 -c "
        SELECT count(gamestate.delete_game(id)) FROM bench.churn_games, unnest(ids) id" >/dev/null
    psql -XqAt -v ON_ERROR_STOP=1 -c "
        INSERT INTO bench.memory
        SELECT 0, 0, $created, used_bytes, total_bytes, games FROM gamestate.stat_memory;
        SELECT json_build_object('part', 'memory', 'cycle', cycle, 'size', size,
                   'created', created, 'used_bytes', used_bytes,
                   'total_bytes', total_bytes, 'live', games)
          FROM bench.memory ORDER BY created, size DESC" >>"$raw"
fi
[ ! -t 2 ] || echo >&2

perl "$here/report.pl" "$raw" "$out/results.json" \
    "$(postgres --version), $(nproc) processors, $BENCH_ROUNDS rounds of $BENCH_SECONDS s"
