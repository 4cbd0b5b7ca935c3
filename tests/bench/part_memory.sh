# shellcheck shell=bash
# Sourced by bench.sh: shared memory that games take.

# shellcheck disable=SC2154 # variables of those who source this

# Games of four sizes with ten moves each.
run_pergame() {
    local size row
    for size in 200 1024 2048 20480; do
        row=$(sql 'SET synchronous_commit = off' "CALL bench.sized($size, 1000, 10, NULL)")
        emit pergame "game_$size" 1 "$row"
    done
}

# Many games of shifting sizes through a small memory: four times 200 B, 20 KB,
# 1 KB, two workers at once, each with at most 1000 games.
run_memory() {
    local cycles=4 workers=2 created=0 phase cycle size worker pid pids
    start gamestate.memory=64MB
    phase=$((BENCH_GAMES / (cycles * workers * 3) + 1))
    for cycle in $(seq 1 $cycles); do
        for size in 200 20000 1000; do
            pids=()
            for worker in $(seq 1 $workers); do
                sql "SET synchronous_commit = off" \
                    "CALL bench.churn($worker, $size, $phase, 1000)" &
                pids+=($!)
            done
            for pid in "${pids[@]}"; do
                wait "$pid" || die "the memory run failed"
            done
            created=$((created + workers * phase))
            note_memory "$cycle" "$size" $created
        done
    done
    sql "SELECT count(gamestate.delete_game(id)) FROM bench.churn_games, unnest(ids) id" >/dev/null
    note_memory 0 0 $created
}

note_memory() {
    local row
    row=$(sql "SELECT json_build_object('cycle', $1, 'size', $2, 'created', $3,
        'used_bytes', used_bytes, 'live', games) FROM gamestate.stat_memory")
    emit memory "churn_$2" "$1" "$row"
}
