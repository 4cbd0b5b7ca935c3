#!/usr/bin/env bash
# What `make bench` runs once all is built: starts a server of its own and a Redis of
# its own, takes the measurements in rounds, each round every workload, so that
# whatever else the machine does meets them all alike, and prints what report.pl makes
# of it.
#
# Environment: BENCH_SECONDS (1) a measurement, BENCH_ROUNDS (3); BENCH_BIG=1: a million
# games for memory, and for load and rotation besides 100,000 (9 GB of free memory);
# BENCH_GAMES, those of the memory part; GAMESTATE_DATA, the directory of recorded games;
# BENCH_ONLY, the parts to run:
#
#   moves       calls a second beside no-ops, ordinary tables and Redis
#   contention  all moves on one game
#   pipeline    one connection, 32 calls in flight
#   latency     at half rate, with a busy archiver
#   lookup      by id, room code and player
#   client      libgamestate beside libpq
#   feed        from a move to who waits for it
#   deadline    how late they are set off: 100,000 games, all within ten seconds
#   wal         bytes a move
#   xid         transaction ids and dead rows
#   pergame     memory a game
#   memory      many games of shifting sizes
#   load        after a crash
#   rotation    of the journal
#   queries     look-ups and analytical queries in a large archive (BENCH_QUERY_GAMES,
#               200000; with BENCH_BIG 2000000; BENCH_QUERY_DAYS, 400)
#   archive     size of recorded games in the archive, speed of the archiver
#   million     as many games archived (BENCH_ARCHIVED=N: others) with flat memory; takes
#               minutes and 2 GB, so only if it is asked for
#   leaderboard of a million players; what counting them costs the archiver
#   pool        what libgamestate's pool costs

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/../tools/common.sh"

: "${BENCH_SECONDS:=1}" "${BENCH_ROUNDS:=3}" "${BENCH_BIG:=}"
: "${BENCH_GAMES:=$([ -n "$BENCH_BIG" ] && echo 1000000 || echo 250000)}"
: "${BENCH_ONLY:=moves contention pipeline latency lookup feed deadline client pool wal xid pergame memory load rotation archive leaderboard queries}"
: "${GAMESTATE_DATA:=$top/../shared/data}"
BENCH_ONLY=${BENCH_ONLY//,/ }

# shellcheck source=tests/bench/lib.sh
. "$top/tests/bench/lib.sh"
# shellcheck source=tests/bench/redis.sh
. "$top/tests/bench/redis.sh"
# shellcheck source=tests/bench/part_moves.sh
. "$top/tests/bench/part_moves.sh"
# shellcheck source=tests/bench/part_client.sh
. "$top/tests/bench/part_client.sh"
# shellcheck source=tests/bench/part_feed.sh
. "$top/tests/bench/part_feed.sh"
# shellcheck source=tests/bench/part_deadline.sh
. "$top/tests/bench/part_deadline.sh"
# shellcheck source=tests/bench/part_wal.sh
. "$top/tests/bench/part_wal.sh"
# shellcheck source=tests/bench/part_memory.sh
. "$top/tests/bench/part_memory.sh"
# shellcheck source=tests/bench/part_archive.sh
. "$top/tests/bench/part_archive.sh"
# shellcheck source=tests/bench/part_leaderboard.sh
. "$top/tests/bench/part_leaderboard.sh"
# shellcheck source=tests/bench/part_queries.sh
. "$top/tests/bench/part_queries.sh"
# shellcheck source=tests/bench/part_load.sh
. "$top/tests/bench/part_load.sh"
# shellcheck source=tests/bench/part_pool.sh
. "$top/tests/bench/part_pool.sh"
: >"$raw"
: >"$out/laps"
rm -f "$out/results.json"

trap 'redis_stop; "$tools/server.sh" remove bench' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What others do here before we begin.
busy=$(cut -d ' ' -f 1 /proc/loadavg)
start
description="$(postgres --version), $(nproc) processors, load average $busy before, $BENCH_ROUNDS rounds of $BENCH_SECONDS s"
# The light way is the default; this is the other one.
xid_way=
if has_setting gamestate.light_commit; then
    xid_way='SET gamestate.light_commit = off'
else
    note "this library has no gamestate.light_commit: the default way is the only one"
fi
if wants moves || wants pipeline; then
    redis_start
    description="$description, Redis $(redis_version)"
fi

for round in $(rounds); do
    for part in moves contention pipeline latency lookup client pool; do
        ! wants $part || "round_$part" "$round"
        lap $part
    done
done
redis_stop
for part in feed deadline wal xid pergame memory; do
    ! wants $part || "run_$part"
    lap $part
done
for part in load rotation; do
    wants $part || continue
    run_$part 100000
    [ -z "$BENCH_BIG" ] || run_$part 1000000
    lap $part
done
! wants archive || run_archive
lap archive
! wants million || run_million
lap million
! wants leaderboard || run_leaderboard
lap leaderboard
! wants queries || run_queries
lap queries
[ ! -t 2 ] || echo >&2

perl "$here/report.pl" "$raw" "$out/results.json" "$description"
