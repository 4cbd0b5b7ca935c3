# shellcheck shell=bash
# Sourced by bench.sh: calls a second, of gamestate and of what it is compared with.
# Each function is one round.

# shellcheck disable=SC2154 # variables of those who source this

redis_at='-u redis/redis.sock'

round_moves() {
    local round=$1 name
    for name in select1 noop_state get_state noop_move move; do
        measure moves $name "$round" $name
    done
    measure moves move_all "$round" -p all move
    measure moves move_memory "$round" -e 'SET gamestate.durability = memory' move
    for name in plpgsql cte cte_tuned; do
        measure moves $name "$round" $name
    done
    # shellcheck disable=SC2086 # an option and its argument
    {
        measure moves redis_noop "$round" $redis_at redis_noop
        measure moves redis "$round" $redis_at redis
        measure moves redis_on "$round" -S $redis_at redis
    }
    for name in move plpgsql cte; do
        measure moves ${name}_on "$round" -S $name
    done
    [ -n "$xid_way" ] || return 0
    measure moves move_xid "$round" -e "$xid_way" move
    measure moves move_xid_on "$round" -S -e "$xid_way" move
}

# All moves on one game, against moves of any game.  Several connections move the
# same game, so that no version can be expected: the call gets NULL for it.
round_contention() {
    measure contention spread_on "$1" -S move_any
    measure contention one_game_on "$1" -S -g 1 move_any
}

# One connection, 32 calls in flight: each its own transaction, or all 32 one; or 32
# moves in one call.
round_pipeline() {
    local round=$1 pipeline='-c 1 -j 1 -P 32'
    # shellcheck disable=SC2086 # options and their arguments
    {
        measure pipeline pipe_select1 "$round" $pipeline select1
        measure pipeline pipe_move "$round" $pipeline move
        measure pipeline pipe_move_on "$round" $pipeline -S move
        measure pipeline pipe_group "$round" $pipeline -G 32 move
        measure pipeline pipe_group_on "$round" $pipeline -S -G 32 move
        measure pipeline pipe_batch "$round" $pipeline move_batch
        measure pipeline pipe_batch_on "$round" $pipeline -S move_batch
        measure pipeline pipe_redis "$round" $pipeline $redis_at redis
        measure pipeline pipe_redis_on "$round" $pipeline -S $redis_at redis
    }
}

# Moves offered at half of what the server can do, with and without an archiver
# that has more than enough to do.
round_latency() {
    local rate backlog
    rate=$(half_rate)
    backlog=$(perl -e 'print int($ARGV[0] * 12000 + 1000)' "$BENCH_SECONDS")
    measure latency half "$1" -r "$rate" move
    measure latency half_archiver "$1" -r "$rate" -b "$backlog" move
}

# Look-ups must not become slower with the number of games.
round_lookup() {
    local games name
    for games in 1000 50000; do
        for name in by_id by_room by_player; do
            measure lookup "${name}_$games" "$1" -g $games $name
        done
    done
}
