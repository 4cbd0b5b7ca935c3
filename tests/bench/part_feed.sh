# shellcheck shell=bash
# Sourced by bench.sh: from a move to who waits for it, with wait_changes(), with a
# subscription of libgamestate and with LISTEN.  Each of many waiters follows his part of
# the games, by their ids; a single one all games of their type.

# shellcheck disable=SC2154 # variables of those who source this

run_feed() {
    local round rate waiters how row
    start max_connections=300
    for round in $(rounds); do
        for rate in 1000 20000; do
            for waiters in 1 32 200; do
                for how in feed subscription listen; do
                    row=$("$out/gs_bench" --feed $how $rate $waiters "$BENCH_SECONDS")
                    emit feed "${how}_${rate}_$waiters" "$round" "$row"
                    [ ! -t 2 ] || printf '.' >&2
                done
            done
        done
    done
}
