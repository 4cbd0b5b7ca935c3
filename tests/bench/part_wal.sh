# shellcheck shell=bash
# Sourced by bench.sh: what moves write (WAL), consume (transaction ids) and leave
# behind (dead rows).

# shellcheck disable=SC2154 # variables of those who source this

wal_moves=50000 wal_games=250

# WAL: a checkpoint, then so many moves, 200 of each game, so that full records and
# the full-page images that follow a checkpoint are in it.  (With the default
# max_wal_size of 1 GB there would be millions of moves between two checkpoints: more
# to share the images.)  A rotation of the journal afterwards tells what it writes; its
# share of a move is that by the number of moves that fill a journal.
run_wal() {
    local pattern row
    # Nobody else may write.
    start autovacuum=off
    for pattern in one four typical all; do
        measure wal $pattern 1 -n $wal_moves -g $wal_games -p $pattern -R move
    done
    measure wal cte_one 1 -n $wal_moves -g $wal_games -p one cte
    row=$(sql "SELECT json_build_object('bytes', pg_size_bytes(boot_val || unit))
        FROM pg_settings WHERE name = 'gamestate.journal_size'")
    emit wal journal_size 1 "$row"
    run_battlesnake
}

# Real states: each recorded game under so many ids, a transaction for each move.
run_battlesnake() {
    local file=$GAMESTATE_DATA/battlesnake.jsonl row
    if [ ! -r "$file" ]; then
        note "no recorded games in $GAMESTATE_DATA: WAL of battlesnake's states is left out"
        return 0
    fi
    # A delimiter and a quote that JSON cannot contain.
    psql -XqAt -v ON_ERROR_STOP=1 -c \
        "\\copy bench.recorded FROM '$file' WITH (FORMAT csv, DELIMITER E'\\x01', QUOTE E'\\x02')"
    sql 'CALL bench.replay_prepare()' CHECKPOINT
    row=$(sql 'SET synchronous_commit = off' 'CALL bench.replay(5, NULL)')
    emit wal battlesnake 1 "$row"
}

# pitr_tick on|off: the setting's value for that, whatever its type
pitr_tick() {
    local value
    value=$(sql "SELECT CASE WHEN vartype = 'bool' THEN '$1' WHEN '$1' = 'off' THEN '0'
        ELSE boot_val END FROM pg_settings WHERE name = 'gamestate.pitr_tick'")
    sql "ALTER SYSTEM SET gamestate.pitr_tick = '$value'" 'SELECT pg_reload_conf()' >/dev/null
}

# Without autovacuum, whose transaction ids would count as ours.
run_xid() {
    local tick row
    wants wal || start autovacuum=off
    if has_setting gamestate.pitr_tick; then
        for tick in on off; do
            pitr_tick $tick
            measure xid tick_$tick 1 -n 100000 move
        done
        sql 'ALTER SYSTEM RESET gamestate.pitr_tick' >/dev/null
    else
        measure xid moves 1 -n 100000 move
    fi
    sql 'CREATE EXTENSION IF NOT EXISTS pgstattuple'
    row=$(sql "SELECT json_build_object('dead', sum(dead_tuple_count),
        'live', sum(tuple_count)) FROM unnest(ARRAY['gamestate.journal_0'::regclass,
        'gamestate.journal_1']) j, LATERAL pgstattuple(j)")
    emit xid dead 1 "$row"
    [ -z "$xid_way" ] || measure xid moves_xid 1 -n 100000 -e "$xid_way" move
}
