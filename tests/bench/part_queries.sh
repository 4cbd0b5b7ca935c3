# shellcheck shell=bash
# Sourced by bench.sh: look-ups and analytical queries in a large archive.

# shellcheck disable=SC2154 # variables of those who source this

# question N: the README's, as one line
question() {
    awk -v n="$1" '/^```sql/ {getline; if ($0 ~ "^-- " n "\\. ") {on = 1; next}} /^```/ {on = 0} on' "$top/README.md" |
        tr '\n' ' '
}

# Days of partitions, and games: 2,000,000 of them take 4 GB of disk and some minutes.
run_queries() {
    local days=${BENCH_QUERY_DAYS:-400} games n kind id text began ended scanned rows
    games=${BENCH_QUERY_GAMES:-$([ -n "$BENCH_BIG" ] && echo 2000000 || echo 200000)}
    start autovacuum=off synchronous_commit=off gamestate.archive_make_ahead=0 max_locks_per_transaction=1024
    psql -Xq -f "$here/queries.sql"
    sql 'CALL bench.query_play(500)'
    wait_for 120 'SELECT archive_queue = 0 FROM gamestate.stat_memory'
    sql "CALL bench.query_partitions($days)" "CALL bench.query_fill($days, $((games / days)))"
    sql 'VACUUM (ANALYZE) gamestate.archive' 'VACUUM (ANALYZE) gamestate.archive_payload'
    rows=$(sql 'SELECT count(*) FROM gamestate.archive')
    [ "$rows" -eq $((games / days * days + 500)) ] || die "$rows games are in the archive"
    [ "$(sql 'SELECT count(*) FROM gamestate.archive_payload')" -eq "$rows" ] || die "payloads are missing"
    emit queries size 1 "{\"games\":$rows,\"days\":$days}"

    for kind in generated callers future a_year unknown; do
        emit queries "get_game_$kind" 1 "{\"us\":$(
            sql "SELECT bench.query_median('SELECT g.game_id FROM gamestate.get_game(\$1) g WHERE g.game_id IS NOT NULL', '$kind', 400)")}"
        emit queries "get_changes_$kind" 1 "{\"us\":$(
            sql "SELECT bench.query_median('SELECT * FROM gamestate.get_changes(\$1)', '$kind', 400)")}"
    done
    for text in archived_games archived_moves games; do
        emit queries "view_$text" 1 "{\"us\":$(
            sql "SELECT bench.query_median('SELECT * FROM gamestate.$text WHERE game_id = \$1', 'generated', 50)")}"
    done
    emit queries create_own_id 1 "{\"us\":$(sql 'SELECT bench.query_create_median(400)')}"

    id=$(sql "SELECT game_id FROM bench.query_id WHERE kind = 'generated' AND n = 200 % $days + 1")
    for n in $(seq 1 10); do
        text=$(question "$n")
        [ -n "$text" ] || die "the README has no question $n"
        text=${text//":'game'"/"'$id'"}
        began=$(date +%s%N)
        sql "$text" >"$out/question_$n"
        ended=$(date +%s%N)
        [ -s "$out/question_$n" ] || die "question $n has no answer"
        scanned=$(sql "SELECT bench.query_partitions_scanned(\$question\$${text%%;*}\$question\$)")
        emit queries "question_$n" 1 "{\"ms\":$(((ended - began) / 1000000)),\"partitions\":$scanned}"
    done
}
