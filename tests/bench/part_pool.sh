# shellcheck shell=bash
# Sourced by bench.sh: what libgamestate's pool costs (client/test_pool/bench.c).

# shellcheck disable=SC2154 # variables of those who source this

round_pool() {
    local row
    row=$("$build/client/pool_bench" "$BENCH_SECONDS" '')
    emit pool pool "$1" "$row"
    [ ! -t 2 ] || printf '.' >&2
}
