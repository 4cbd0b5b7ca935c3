# shellcheck shell=bash
# Sourced by bench.sh: loading the games after a crash, and rotating the journal.

# shellcheck disable=SC2154 # variables of those who source this

# start_with GAMES: a server with so many of 2 KB, if there is memory for that
start_with() {
    local games=$1 need
    # About 2.7 KB a game in shared memory, and as much again for what a load needs.
    memory=$((games * 3 / 1000 + 512))
    need=$((memory * 2 + 1500))
    if [ "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)" -lt $((need * 1024)) ]; then
        note "less than $need MB of memory are free: $games games are left out"
        return 1
    fi
    start "gamestate.memory=${memory}MB"
    sql 'SET synchronous_commit = off' "CALL bench.fill($games, 2048)"
}

run_rotation() {
    local games=$1 memory rate round
    rate=$(half_rate)
    start_with "$games" || return 0
    measure rotation "idle_$games" 1 -r 100 -R select1
    for round in $(rounds); do
        measure rotation "half_$games" "$round" -r "$rate" move
        measure rotation "half_rotating_$games" "$round" -r "$rate" -R move
    done
}

run_load() {
    local games=$1 memory round
    start_with "$games" || return 0
    # And moves: a load does not only see images.  With 100,000 games the journal then
    # has nearly the size at which it would be rotated.
    measure load "moves_$games" 1 -n 100000 -p all move
    for round in $(rounds); do
        crash_and_load "$games" "$round" "$memory"
    done
}

# An immediate stop, which is a crash for the server and its files, and a start.
crash_and_load() {
    local games=$1 round=$2 memory=$3 data id journal pid times now
    data=$(run_path)/bench/data
    id=$(sql "SELECT gamestate.create_game('bench', '{}')")
    journal=$(sql "SELECT pg_relation_size('gamestate.journal_0') +
        pg_relation_size('gamestate.journal_1')")
    pid=$(sed -n 's/^# pid //p' "$run/bench.env")
    kill -QUIT "$pid"
    while readlink "/proc/$pid/exe" >/dev/null 2>&1; do sleep 0.05; done
    "$tools/server.sh" restart bench "gamestate.memory=${memory}MB" &
    times=$("$out/gs_bench" --first "$data" "$id")
    wait $!
    # shellcheck disable=SC1091 # written by server.sh
    . "$run/bench.env"
    sql "SELECT gamestate.delete_game('$id')" >/dev/null
    now=$(sql 'SELECT games FROM gamestate.stat_memory')
    [ "$now" -eq "$games" ] || die "$now games are there after a crash, not $games"
    emit load "load_$games" "$round" "{\"games\":$games,\"journal\":$journal,${times#\{}"
}
