# shellcheck shell=bash
# Sourced by every script here: paths, the unprivileged user, small helpers.
#
# Words used in these scripts:
#   run directory  build/run: the private copy of PostgreSQL and everything its
#                  servers write.  A directory, or, when the server's user cannot
#                  reach build/, a link to one below /var/tmp.
#   server's user  who runs initdb, postgres and the TAP tests.  The caller
#                  himself, or, because PostgreSQL refuses root, `postgres`
#                  (else `nobody`) for root.

set -eu

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck disable=SC2034 # for those who source this
tools=$top/tests/tools
build=$top/build
run=$build/run

# A caller's settings must not lead our clients to another server, nor his umask
# hide the private installation from the server's user.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE \
    PGSERVICEFILE PGOPTIONS PGDATA PGSSLMODE PGAPPNAME PGTZ PGDATESTYLE \
    PGCLIENTENCODING PGCONNECT_TIMEOUT PGREQUIREPEER PGTARGETSESSIONATTRS \
    PG_COLOR PSQLRC 2>/dev/null || true
export LC_ALL=C
umask 022

note() { printf '%s\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

if [ "$(id -u)" -ne 0 ]; then
    server_user=$(id -un)
elif getent passwd postgres >/dev/null; then
    server_user=postgres
else
    server_user=nobody
fi

# as_server COMMAND...: run as the server's user, in $as_server_dir or else in /,
# since he may be unable to be where we are.  No session, no PAM, no extra process:
# signals and exit codes pass through.
as_server() {
    (
        cd -P "${as_server_dir:-/}"
        [ "$(id -u)" -eq 0 ] || exec "$@"
        exec setpriv --reuid="$server_user" --regid="$(id -g "$server_user")" \
            --init-groups --inh-caps=-all -- env HOME="$(readlink -f "$run")" "$@"
    )
}

# resolve the run directory's link, for paths that are handed to a server
run_path() { (cd -P "$run" && pwd); }

# pgxs_dir: the src directory of the private installation's PGXS
pgxs_dir() {
    local pgxs
    pgxs=$("$run/bin/pg_config" --pgxs)
    (cd "$(dirname "$pgxs")/.." && pwd -P)
}
