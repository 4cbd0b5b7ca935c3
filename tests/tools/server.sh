#!/usr/bin/env bash
# Private servers, each with a name and everything it has in build/run/<name>.
#
# usage: server.sh start NAME CONF [SETTING=VALUE ...]
#                            a new data directory and a server on it, with the
#                            settings of the file CONF and those given
#        server.sh restart NAME [SETTING=VALUE ...]   on the data that is there
#        server.sh stop NAME    also when the data directory is damaged
#        server.sh status NAME  exit status 0 when it is running
#        server.sh remove NAME  stop it and remove its data
#
# build/run/<name>.env is a shell fragment that leads libpq's programs to it.
# SERVER_WRAPPER, if set, is a command line to run postgres under (valgrind);
# SERVER_SETTINGS are settings, as above, of every server that is started.

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"

action=${1:?} name=${2:?}
shift 2
read -ra settings <<<"${SERVER_SETTINGS:-}"
env=$run/$name.env
[ -e "$run" ] && dir=$(run_path)/$name

# A port nobody listens on.  Another process may take it before we do: start
# tries again.
free_port() {
    perl -MIO::Socket::INET -e '
        my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1", Listen => 1)
            or die "no free port: $!\n";
        print $s->sockport'
}

# Is process $1 a postgres of ours?  (its number may be another process's by now)
is_ours() {
    [ -n "$1" ] || return 1
    case $(readlink "/proc/$1/exe" 2>/dev/null) in
    "$(run_path)"/pg/*) return 0 ;;
    esac
    # under a wrapper the executable is the wrapper's
    { tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null | grep -qF -- "-D $dir/data"
}

pid_of() { sed -n 's/^# pid //p' "$env" 2>/dev/null; }

running() { is_ours "$(pid_of)"; }

write_env() {
    local pid
    pid=$(as_server head -n 1 "$dir/data/postmaster.pid")
    cat >"$env" <<-EOF
	# pid $pid
	export PGHOST=$sock PGPORT=$port PGUSER=postgres PGDATABASE=postgres
	export PATH=$(run_path)/bin:\$PATH
	EOF
}

launch() {
    local try wrapper=()
    # Unix socket paths end at 107 bytes, and ours may be deep.  Only the
    # server's user (and root) gets in, so local connections need no password.
    sock=$(as_server mktemp -d /tmp/gs.XXXXXX)
    if [ -n "${SERVER_WRAPPER:-}" ]; then
        printf '#!/bin/sh\nexec %s "%s/bin/postgres" "$@"\n' "$SERVER_WRAPPER" "$(run_path)" |
            as_server tee "$dir/postgres" >/dev/null
        as_server chmod 755 "$dir/postgres"
        wrapper=(-p "$dir/postgres")
    fi
    for try in 1 2 3 4 5; do
        port=$(free_port)
        if as_server "$(run_path)/bin/pg_ctl" -D "$dir/data" -l "$dir/log" -s -w \
            -t "${SERVER_TIMEOUT:-120}" "${wrapper[@]}" \
            -o "-c unix_socket_directories=$sock -c port=$port $*" start </dev/null >"$run/pg_ctl.log" 2>&1; then
            write_env
            return
        fi
        as_server tail -n 5 "$dir/log" | grep -q 'could not bind' || break
    done
    cat "$run/pg_ctl.log" >&2
    as_server tail -n 20 "$dir/log" >&2
    as_server rmdir "$sock" 2>/dev/null || true
    die "server $name does not start (attempt $try); its log is $dir/log"
}

options() {
    local setting
    for setting in "$@"; do
        printf -- '-c %s ' "$setting"
    done
}

stop() {
    local pid sock _
    [ -e "$env" ] || return 0
    pid=$(pid_of)
    sock=$(sed -n 's/.*PGHOST=\([^ ]*\).*/\1/p' "$env")
    if is_ours "$pid"; then
        # By signal and not with pg_ctl, which needs a sound data directory:
        # fast, then immediate, then by force.
        for signal in INT QUIT KILL; do
            kill -$signal "$pid" 2>/dev/null || break
            for _ in $(seq 1 "${STOP_TENTHS:-300}"); do
                is_ours "$pid" || break 2
                sleep 0.1
            done
            note "server $name does not stop on SIG$signal"
        done
        is_ours "$pid" && die "cannot stop server $name (process $pid)"
    fi
    case $sock in
    /tmp/gs.*) rm -rf -- "$sock" ;;
    esac
    rm -f "$env"
}

case $action in
start)
    conf=${1:?}
    shift
    stop
    rm -rf "$dir"
    mkdir "$dir"
    [ "$(id -u)" -ne 0 ] || chown "$server_user:" "$dir"
    # Over TCP there is no password that would do: who wants to come that way
    # sets one.  No waiting for the disk, the data is worth nothing yet.
    as_server "$(run_path)/bin/initdb" -D "$dir/data" -U postgres --no-locale -E UTF8 \
        --auth-local=trust --auth-host=scram-sha-256 --no-sync >"$run/initdb.log" 2>&1 || {
        cat "$run/initdb.log" >&2
        die "initdb failed"
    }
    as_server tee -a "$dir/data/postgresql.conf" <"$conf" >/dev/null
    launch "$(options "$@" "${settings[@]}")"
    ;;
restart)
    stop
    launch "$(options "$@" "${settings[@]}")"
    ;;
stop) stop ;;
status) running ;;
remove)
    stop
    [ -z "${dir:-}" ] || rm -rf -- "$dir"
    ;;
*) die "server.sh: unknown action $action" ;;
esac
