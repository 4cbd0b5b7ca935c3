#!/usr/bin/env bash
# Install what is missing from Debian's packages.
#
# usage: deps.sh GROUP...      groups: build test lint sanitize bench
#
# What counts is whether the thing is there (a program, a header), not which
# package it came from, so that a self-built PostgreSQL in PG_CONFIG is as good
# as Debian's.  When nothing is missing this needs neither root nor network.

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"

pg_config=${PG_CONFIG:-pg_config}
missing=()

want() { missing+=("$1"); }

have() { command -v "$1" >/dev/null 2>&1; }

# can_compile HEADER: is HEADER there for the C compiler?
can_compile() {
    have cc || have gcc || return 1
    printf '#include <stddef.h>\n#include <%s>\n' "$1" |
        "$(command -v cc || command -v gcc)" -E -x c - >/dev/null 2>&1
}

has_perl_module() { perl -M"$1" -e1 >/dev/null 2>&1; }

# The major version to install when there is no pg_config yet: that of a server
# already here, else the one this Debian release calls `postgresql`.
debian_pg_version() {
    local v
    for v in 18 17 16 15; do
        [ -x /usr/lib/postgresql/$v/bin/postgres ] && { echo $v; return; }
    done
    apt-cache depends postgresql 2>/dev/null |
        sed -n 's/^ *Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1
}

want_postgres() {
    local bindir pgxs v
    if bindir=$("$pg_config" --bindir 2>/dev/null) && pgxs=$("$pg_config" --pgxs 2>/dev/null) &&
        [ -x "$bindir/postgres" ] && [ -f "$pgxs" ]; then
        return
    fi
    case $pg_config in
    */*) die "PG_CONFIG=$pg_config: there is no whole installation (server and PGXS) behind it" ;;
    esac
    v=$(debian_pg_version)
    if [ -z "$v" ]; then
        update_lists
        v=$(debian_pg_version)
    fi
    [ -n "$v" ] || die "found neither PostgreSQL nor a Debian package of it"
    [ -x "/usr/lib/postgresql/$v/bin/postgres" ] || want "postgresql-$v"
    want "postgresql-server-dev-$v"
    pg_version=$v
}

# pgTAP is plain SQL: any version's files will do for the private installation.
want_pgtap() {
    local share v
    share=$("$pg_config" --sharedir 2>/dev/null || true)
    [ -n "$share" ] && [ -f "$share/extension/pgtap.control" ] && return
    v=${pg_version:-$("$pg_config" --version 2>/dev/null | sed 's/[^0-9]*\([0-9]*\).*/\1/')}
    case $share in
    '' | /usr/share/postgresql/*) want "postgresql-$v-pgtap" ;;
    *) # not Debian's server
        compgen -G '/usr/share/postgresql/*/extension/pgtap.control' >/dev/null && return
        v=$(debian_pg_version)
        note "pgTAP is not installed in $share: taking the package for Debian's PostgreSQL $v"
        want "postgresql-$v-pgtap"
        ;;
    esac
}

root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && [ -t 0 ]; then
        sudo -- "$@"
    elif have sudo; then
        sudo -n -- "$@"
    else
        return 1
    fi
}

can_be_root() { [ "$(id -u)" -eq 0 ] || have sudo; }

updated=
update_lists() {
    [ -z "$updated" ] || return 0
    can_be_root || die "packages are missing (${missing[*]} ...) and there is neither root nor sudo"
    have apt-get || die "no apt-get here: install PostgreSQL 15 to 18 and its development files, or say where they are (make PG_CONFIG=...)"
    root apt-get -qq update >>"$log" 2>&1 ||
        note "apt-get update failed (see $log); trying with the lists that are here"
    updated=1
}

# Debian's PostgreSQL packages create and start a cluster at once.  We use
# private servers only, so the packages are kept from it while they are installed.
dropin=/etc/postgresql-common/createcluster.d/gamestate-no-main-cluster.conf
no_cluster() {
    root mkdir -p "${dropin%/*}" && echo 'create_main_cluster = false' | root tee "$dropin" >/dev/null
}
undo_no_cluster() { root rm -f "$dropin"; }

mkdir -p "$build"
log=$build/deps.log

for group in "$@"; do
    case $group in
    build)
        have gcc || have "${CC:-gcc}" || want gcc
        can_compile stdio.h || want libc6-dev
        have make || want make
        want_postgres
        can_compile zstd.h || want libzstd-dev
        can_compile jsmn.h || want libjsmn-dev
        can_compile openssl/evp.h || want libssl-dev
        can_compile hiredis/hiredis.h || want libhiredis-dev
        [ -f "$("$pg_config" --includedir 2>/dev/null)/libpq-fe.h" ] || want libpq-dev
        ;;
    test)
        have prove || want perl
        has_perl_module IPC::Run || want libipc-run-perl
        have pg_prove || want libtap-parser-sourcehandler-pgtap-perl
        have setpriv || want util-linux
        have pgbouncer || [ -x /usr/sbin/pgbouncer ] || want pgbouncer
        have jq || want jq
        have redis-cli || want redis-tools
        have pkg-config || want pkg-config
        can_compile uv.h || want libuv1-dev
        want_pgtap
        ;;
    lint)
        have clang-tidy || want clang-tidy
        have clang-format || want clang-format
        have cppcheck || want cppcheck
        have shellcheck || want shellcheck
        can_compile hiredis/hiredis.h || want libhiredis-dev
        can_compile uv.h || want libuv1-dev
        ;;
    sanitize)
        have clang || want clang
        have llvm-symbolizer || want llvm
        compgen -G '/usr/lib/*/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null ||
            compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' >/dev/null ||
            want libclang-rt-dev
        have valgrind || want valgrind
        ;;
    bench)
        has_perl_module JSON::PP || want perl
        can_compile hiredis/hiredis.h || want libhiredis-dev
        # not redis-server, which would start a service; see tests/bench/redis.sh
        have redis-server || have redis-check-rdb || want redis-tools
        have redis-cli || want redis-tools
        ;;
    *) die "deps.sh: no such group: $group" ;;
    esac
done

[ ${#missing[@]} -gt 0 ] || exit 0

note "installing Debian packages: ${missing[*]}"
: >>"$log"
manual="install them by hand (apt-get install ${missing[*]}) and try again"
can_be_root || die "there is neither root nor sudo: $manual"
update_lists
trap undo_no_cluster EXIT
no_cluster || die "cannot become root: $manual"
root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 install "${missing[@]}" >>"$log" 2>&1 </dev/null || {
    tail -n 20 "$log" >&2
    die "apt-get failed, its whole output is in $log: $manual"
}
