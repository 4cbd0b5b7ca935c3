# shellcheck shell=bash
# Sourced by bench.sh: how small recorded games become in the archive, and how fast games
# get there.

# shellcheck disable=SC2154 # variables of those who source this

# wait_for SECONDS QUERY: until it says t
wait_for() {
    local end=$((SECONDS + $1))
    until [ "$(sql "$2")" = t ]; do
        if [ $SECONDS -gt $end ]; then
            echo "archive: gave up waiting for: $2" >&2
            return 1
        fi
        sleep 0.2
    done
}

# stored NAME: a row a type, raw bytes and those in the archive
stored() {
    local type row
    while IFS='|' read -r type row; do
        emit archive "$1_$type" 1 "$row"
    done < <(sql "SELECT game_type, json_build_object('games', games, 'raw', raw, 'stored', stored)
        FROM bench.archive_stored")
}

# alone: each measured game compressed for itself by the common tools
alone() {
    local type dir=$out/games level
    for type in chess 18xx battlesnake; do
        rm -rf "$dir"
        mkdir -p "$dir"
        sql "SELECT encode(convert_to(raw, 'UTF8'), 'hex') FROM bench.archive_raw
            WHERE game_type = '$type'" |
            DIR=$dir perl -nle 'open my $f, ">", "$ENV{DIR}/$." or die; print $f pack("H*", $_)'
        emit archive "gzip_6_$type" 1 "{\"stored\":$(
            find "$dir" -type f -exec sh -c 'for f; do gzip -6 -c "$f" | wc -c; done' sh {} + | sum_of)}"
        command -v zstd >/dev/null || continue
        for level in 3 9; do
            emit archive "zstd_${level}_$type" 1 "{\"stored\":$(
                find "$dir" -type f -exec sh -c 'l=$1; shift; for f; do zstd -q -"$l" -c "$f" | wc -c; done' \
                    sh $level {} + | sum_of)}"
        done
    done
    rm -rf "$dir"
}

sum_of() { awk '{n += $1} END {print n + 0}'; }

# Every second game trains dictionaries, the others are measured: so none is compressed
# with a dictionary that has seen it.  Maintenance waits until all that are to train are
# there: how many of them a dictionary sees must not depend on when its turn comes.
run_archive() {
    local type file
    for type in chess 18xx battlesnake; do
        [ -r "$GAMESTATE_DATA/$type.jsonl" ] || {
            note "no recorded games in $GAMESTATE_DATA: the archive's compression is left out"
            return 0
        }
    done
    start autovacuum=off gamestate.maintenance_interval=500ms gamestate.dictionary_min_games=20 \
        gamestate.repack_rate=0 synchronous_commit=off
    sql 'ALTER SYSTEM SET gamestate.maintenance = off' 'SELECT pg_reload_conf()' >/dev/null
    psql -Xq -f "$here/archive.sql"
    for type in chess 18xx battlesnake; do
        file=$GAMESTATE_DATA/$type.jsonl
        # A delimiter and a quote that JSON cannot contain.
        psql -XqAt -v ON_ERROR_STOP=1 -c \
            "\\copy bench.archive_line (line) FROM '$file' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
    done
    sql "INSERT INTO bench.archive_game SELECT n, line->>'game_type', n % 2, line FROM bench.archive_line"
    sql 'CALL bench.archive_play(1, 2)'
    wait_for 120 'SELECT archive_queue = 0 FROM gamestate.stat_memory'
    sql 'ALTER SYSTEM RESET gamestate.maintenance' 'SELECT pg_reload_conf()' >/dev/null
    wait_for 120 'SELECT count(DISTINCT game_type) = 3 FROM gamestate.dictionary'
    sql 'CALL bench.archive_play(0, 1)'
    wait_for 120 'SELECT archive_queue = 0 FROM gamestate.stat_memory'
    stored archived
    sql 'SELECT count(gamestate.repack_partition(p)) FROM
        (SELECT DISTINCT tableoid::regclass p FROM gamestate.archive_payload) t' >/dev/null
    wait_for 300 "SELECT bool_and(state = 'done') FROM gamestate.stat_repack"
    stored repacked
    emit archive wrong 1 "$(sql "SELECT json_build_object('games', count(*)) FROM bench.archive_wrong")"
    alone
    run_archive_speed
}

# Finished games of 4 KB wait; how fast are they archived?
run_archive_speed() {
    local n=15000 began ended
    sql "ALTER SYSTEM SET gamestate.archiver = off" 'SELECT pg_reload_conf()' >/dev/null
    wait_for 30 "SELECT pid IS NULL FROM gamestate.stat_workers WHERE kind = 'archiver'"
    for _ in $(seq 1 $((n / 500))); do
        sql "WITH made AS MATERIALIZED (SELECT gamestate.create_game('backlog',
                state => (SELECT json_agg(md5((random() + i * 64 + k)::text)) FROM generate_series(1, 56) k)) AS id
                FROM generate_series(1, 500) i),
            moved AS MATERIALIZED (SELECT id, gamestate.apply_move(id, 1,
                json_build_object('made', repeat('m', 1900)), NULL) FROM made)
            SELECT count(gamestate.finish_game(id, '{\"winner\":0}')) FROM moved" >/dev/null
    done
    sql 'ALTER SYSTEM RESET gamestate.archiver' 'SELECT pg_reload_conf()' >/dev/null
    # From the first game archived, so that making partitions does not count.
    wait_for 30 "SELECT archive_queue < $n FROM gamestate.stat_memory"
    began=$(date +%s%N)
    n=$(sql 'SELECT archive_queue FROM gamestate.stat_memory')
    until [ "$(sql 'SELECT archive_queue FROM gamestate.stat_memory')" -eq 0 ]; do
        sleep 0.02
    done
    ended=$(date +%s%N)
    emit archive speed 1 "{\"games\":$n,\"seconds\":$(perl -e 'print(($ARGV[1]-$ARGV[0])/1e9)' "$began" "$ended")}"
}

# A million games pass through a small memory.  After each tenth, when all are in the
# archive: what games take in shared memory, and the archiver's own memory.
run_million() {
    local n=${BENCH_ARCHIVED:-1000000} tenth worker pid pids began used own
    start gamestate.memory=64MB autovacuum=off synchronous_commit=off
    psql -Xq -f "$here/archive.sql"
    began=$(date +%s)
    for tenth in $(seq 1 10); do
        pids=()
        for worker in 1 2; do
            sql "CALL bench.archive_many($worker, $((n / 20)))" &
            pids+=($!)
        done
        for pid in "${pids[@]}"; do
            wait "$pid" || die "not all games could be played"
        done
        wait_for 300 'SELECT archive_queue = 0 AND archived_in_memory = 0 FROM gamestate.stat_memory'
        used=$(sql 'SELECT used_bytes FROM gamestate.stat_memory')
        own=$(awk '/^RssAnon/ {print $2 * 1024}' \
            "/proc/$(sql "SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver'")/status")
        emit million million_tenth "$tenth" "{\"used_bytes\":$used,\"own_bytes\":$own}"
    done
    emit million million_archived 1 "{\"expected\":$((n / 20 * 20)),\"games\":$(sql \
        'SELECT count(DISTINCT game_id) FROM gamestate.archive'),\"rows\":$(sql \
        'SELECT count(*) FROM gamestate.archive_payload'),\"seconds\":$(($(date +%s) - began))}"
}
