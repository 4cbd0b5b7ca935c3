# shellcheck shell=bash
# Sourced by bench.sh: what libgamestate costs above libpq.

# shellcheck disable=SC2154 # variables of those who source this

# Both in turns, in one process; see client/bench/client_bench.c.
round_client() {
    (cd -P "$run" && PGDATABASE=${PGDATABASE:-postgres} "$out/client_bench" "$BENCH_SECONDS" "$1") >>"$raw"
}
