# shellcheck shell=bash
# Sourced by bench.sh: a private Redis, with everything it has in build/run/redis.
#
# Debian's redis-tools is enough, and brings no service: its redis-check-rdb is the
# same program as redis-server and looks at the name that it is called by.
#
# Redis gets what helps it: no snapshots, and no rewriting of its append-only file
# while a measurement runs (gs_bench has it rewritten before).

# shellcheck disable=SC2154 # variables of those who source this

redis_shell=

redis_start() {
    local dir program _
    dir=$(run_path)/redis
    program=$(command -v redis-server || command -v redis-check-rdb)
    rm -rf "$dir"
    mkdir "$dir"
    ln -s "$program" "$dir/redis-server"
    [ "$(id -u)" -ne 0 ] || chown "$server_user:" "$dir"
    as_server_dir=$dir as_server ./redis-server --port 0 --unixsocket redis.sock \
        --unixsocketperm 700 --dir . --appendonly yes --appendfsync everysec --save '' \
        --auto-aof-rewrite-percentage 0 --daemonize no --logfile redis.log \
        --pidfile redis.pid </dev/null >"$out/redis.out" 2>&1 &
    redis_shell=$!
    for _ in $(seq 1 100); do
        [ "$(cd "$dir" && redis-cli -s redis.sock ping 2>/dev/null)" != PONG ] || return 0
        kill -0 "$redis_shell" 2>/dev/null || break
        sleep 0.1
    done
    cat "$out/redis.out" "$dir/redis.log" >&2
    die "Redis does not start"
}

# The shell that waits for it is ours, and ends when it ends; killing the shell
# would leave it running.
redis_stop() {
    local pid
    [ -n "$redis_shell" ] || return 0
    if kill -0 "$redis_shell" 2>/dev/null; then
        pid=$(cat "$(run_path)/redis/redis.pid" 2>/dev/null) || pid=
        kill "${pid:-$redis_shell}" 2>/dev/null || true
        wait "$redis_shell" 2>/dev/null || true
    fi
    redis_shell=
    rm -rf -- "$(run_path)/redis"
}

redis_version() {
    (cd "$(run_path)/redis" && redis-cli -s redis.sock info server) |
        sed -n 's/^redis_version:\([0-9.]*\).*/\1/p'
}
