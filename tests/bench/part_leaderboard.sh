# shellcheck shell=bash
# Sourced by bench.sh: leaderboards of a million players, and what players cost the archiver.

# shellcheck disable=SC2154 # variables of those who source this

# board_latency NAME SQL: of one session that asks again and again; \n = a player's number
board_latency() {
    local name=$1 log=$out/board_log
    printf '\\set n random(1, 1000000)\n%s\n' "$2" >"$out/board.sql"
    rm -f "$log".*
    pgbench -n -M prepared -T "$BENCH_SECONDS" -l --log-prefix="$log" -f "$out/board.sql" >/dev/null
    emit leaderboard "$name" 1 "$(sort -n -k 3 "$log".* | awk '{us[NR] = $3}
        END {printf "{\"calls\":%d,\"p50_ms\":%.3f,\"p99_ms\":%.3f}", NR, us[int((NR + 1) / 2)] / 1000, us[int(NR * 0.99) + 1] / 1000}')"
}

# board_archive NAME: finished games of 4 KB wait, of two of the players each; how fast are
# they archived, in processor time of the archiver and of the clock?
board_archive() {
    local n=10000 pid began ended cpu
    sql 'ALTER SYSTEM SET gamestate.archiver = off' 'SELECT pg_reload_conf()' >/dev/null
    wait_for 30 "SELECT pid IS NULL FROM gamestate.stat_workers WHERE kind = 'archiver'"
    for _ in $(seq 1 $((n / 500))); do
        sql "WITH made AS MATERIALIZED (SELECT gamestate.create_game('ranked',
                state => (SELECT json_agg(md5((random() + i * 64 + k)::text)) FROM generate_series(1, 56) k),
                players => ARRAY['p' || (random() * 499999)::int, 'p' || 500001 + (random() * 499999)::int]) AS id
                FROM generate_series(1, 500) i),
            moved AS MATERIALIZED (SELECT id, gamestate.apply_move(id, 1,
                json_build_object('made', repeat('m', 1900)), NULL) FROM made),
            ended AS MATERIALIZED (SELECT (gamestate.get_game(id)).players p, id FROM moved)
            SELECT count(gamestate.finish_game(id, json_build_object('scores',
                json_build_object(p[1], (random() * 1000)::int, p[2], (random() * 1000)::int)))) FROM ended" >/dev/null
    done
    sql CHECKPOINT
    sql 'ALTER SYSTEM RESET gamestate.archiver' 'SELECT pg_reload_conf()' >/dev/null
    # From the first game archived, so that making partitions does not count.
    wait_for 30 "SELECT archive_queue < $n FROM gamestate.stat_memory"
    began=$(date +%s%N)
    n=$(sql 'SELECT archive_queue FROM gamestate.stat_memory')
    pid=$(sql "SELECT pid FROM gamestate.stat_workers WHERE kind = 'archiver'")
    cpu=$(cpu_ticks "$pid")
    until [ "$(sql 'SELECT archive_queue FROM gamestate.stat_memory')" -eq 0 ]; do
        sleep 0.02
    done
    ended=$(date +%s%N)
    emit leaderboard "$1" 1 "$(perl -e 'printf qq({"games":%d,"seconds":%.3f,"cpu_us":%.1f}), $ARGV[0],
        ($ARGV[2] - $ARGV[1]) / 1e9, 1e6 * $ARGV[3] / $ARGV[4] / $ARGV[0]' \
        "$n" "$began" "$ended" $(($(cpu_ticks "$pid") - cpu)) "$(getconf CLK_TCK)")"
}

cpu_ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }

run_leaderboard() {
    local began
    start autovacuum=off synchronous_commit=off gamestate.maintenance_interval=1s
    sql "INSERT INTO gamestate.player_stats (game_type, player, games, wins, losses, last_played, counters)
        SELECT 'ranked', 'p' || i, 1000, (1000 * random() ^ 3)::int, (1000 * random())::int, now(),
            jsonb_build_object('score', (1e9 * random())::bigint) FROM generate_series(1, 1000000) i" \
        'VACUUM ANALYZE gamestate.player_stats'
    sql "INSERT INTO gamestate.policy (game_type, player_stats) VALUES ('ranked', false)"
    board_archive first
    board_archive archive_without
    sql "UPDATE gamestate.policy SET player_stats = true WHERE game_type = 'ranked'"
    board_archive archive_stats
    board_latency computed "SELECT * FROM gamestate.leaderboard('ranked', 'score');"
    began=$(date +%s%N)
    sql "UPDATE gamestate.policy SET leaderboards = '{wins,score}' WHERE game_type = 'ranked'"
    wait_for 300 'SELECT count(*) = 2 FROM gamestate.ranking'
    emit leaderboard made 1 "{\"seconds\":$(perl -e 'print(($ARGV[1]-$ARGV[0])/1e9)' "$began" "$(date +%s%N)")}"
    board_archive archive_ranked
    for metric in wins score; do
        board_latency "top_$metric" "SELECT * FROM gamestate.leaderboard('ranked', '$metric');"
        board_latency "rank_$metric" "SELECT * FROM gamestate.leaderboard('ranked', '$metric', 1, 'p' || :n);"
        board_latency "around_$metric" "SELECT * FROM gamestate.leaderboard('ranked', '$metric', 10, 'p' || :n);"
    done
    emit leaderboard wrong 1 "$(sql "SELECT json_build_object('players', count(*)) FROM
        (SELECT rank, player FROM gamestate.leaderboard('ranked', 'score', 1000)
         EXCEPT SELECT rank() OVER (ORDER BY (counters ->> 'score')::bigint DESC), player FROM gamestate.player_stats) x")"
}
