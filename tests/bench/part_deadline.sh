# shellcheck shell=bash
# Sourced by bench.sh: how late deadlines are set off, when many games have one.

# shellcheck disable=SC2154 # variables of those who source this

run_deadline() {
    start
    emit deadline deadline_late 1 "$("$out/gs_bench" --deadline 100000 10)"
}
