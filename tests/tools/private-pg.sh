#!/usr/bin/env bash
# Make the run directory and in it a private copy of PostgreSQL's installation.
#
# usage: private-pg.sh          (PG_CONFIG says of which installation)
#        private-pg.sh remove   stops its servers and removes it all
#
# PostgreSQL finds its library and share directories from where the executable
# lies, so programs copied to build/run/pg/<bindir> use build/run/pg/<sharedir>
# and so on, if the directories lie to each other as they did.  The programs are
# real copies (a link would be followed back), the rest are links.  What `make
# install PG_CONFIG=build/run/bin/pg_config` installs goes into the copy, and
# nothing outside build/ is written or started.

# shellcheck source=tests/tools/common.sh
. "$(dirname "$0")/common.sh"

mark=.gamestate-run # no directory without this file is ever removed

remove_run() {
    local env path
    for env in "$run"/*.env; do
        [ -e "$env" ] && { "$tools/server.sh" stop "$(basename "$env" .env)" || true; }
    done
    if [ -L "$run" ]; then
        path=$(readlink "$run")
        [ -f "$path/$mark" ] && rm -rf -- "$path"
        rm -f "$run"
    elif [ -d "$run" ]; then
        [ -f "$run/$mark" ] || die "$run is not ours"
        rm -rf -- "$run"
    fi
}

if [ "${1:-}" = remove ]; then
    remove_run
    exit 0
fi

original=$("${PG_CONFIG:-pg_config}" --bindir)/pg_config
[ -x "$original" ] || die "no pg_config in $("${PG_CONFIG:-pg_config}" --bindir)"
if [ -d "$run" ]; then
    case $original in
    "$(run_path)"/*) die "PATH or PG_CONFIG leads to the private copy itself ($original): say of which installation, or use another shell" ;;
    esac
fi
postgres=${original%/*}/postgres
[ -x "$postgres" ] || die "no server in ${original%/*}"
as_server test -x "$postgres" -a -r "$("$original" --sharedir)/postgres.bki" ||
    die "user $server_user, who must run the server, cannot read ${original%/*}"

sharedir=$("$original" --sharedir)

# mirror DIR: everything in DIR, as links, in the same place of the private copy
mirror() {
    local entry
    mkdir -p "$private$1"
    for entry in "$1"/*; do
        case ${entry##*/} in
        gamestate*) continue ;; # an installed version must not get in
        esac
        [ -e "$entry" ] || continue
        [ -e "$private$entry" ] || ln -s "$entry" "$private$entry"
    done
}

# What is linked at every call, since packages come later: pgTAP.  It is plain SQL,
# so another version's files do if this one has none.
link_extensions() {
    local control
    private=$(run_path)/pg
    mirror "$sharedir/extension"
    [ ! -e "$private$sharedir/extension/pgtap.control" ] || return 0
    for control in /usr/share/postgresql/*/extension/pgtap.control; do
        [ -e "$control" ] || continue
        note "pgTAP: none for $("$original" --version), using the files in ${control%/*}"
        ln -s "${control%.control}"*.sql "$control" "$private$sharedir/extension/"
        return
    done
}

# Same installation, same minor version, same user, made the same way (1: without a
# directory of its own for man pages), still reachable: keep it.
key="$original $(cksum <"$postgres") $server_user 2"
if [ "$(cat "$run/$mark" 2>/dev/null)" = "$key" ] && as_server test -x "$(run_path)/bin/postgres"; then
    link_extensions
    exit 0
fi

remove_run
mkdir -p "$build"

# Where the server's user can reach it.  A clone below /root, say, he cannot.
mkdir "$run"
if ! as_server test -x "$run"; then
    rmdir "$run"
    place=$(mktemp -d /var/tmp/gamestate.XXXXXX)
    chmod 755 "$place"
    as_server test -x "$place" || die "user $server_user cannot use /var/tmp"
    ln -s "$place" "$run"
fi
: >"$run/$mark" # not whole yet, but ours

private=$(run_path)/pg
bindir=$("$original" --bindir)
mkdir -p "$private$bindir"
cp -RpL "$bindir"/* "$private$bindir/"

# The directories that an installation of an extension may write to, from the
# inside out: real ones with links in them.  The rest: links.
link_extensions
mirror "$("$original" --mandir)/man1"
mirror "$("$original" --mandir)"
mirror "$sharedir/tsearch_data"
mirror "$sharedir"
mirror "$("$original" --pkglibdir)/bitcode"
mirror "$("$original" --pkglibdir)"
mirror "$("$original" --includedir-server)/extension"
mirror "$("$original" --includedir-server)"
for what in libdir pkgincludedir includedir localedir; do
    dir=$("$original" --$what)
    if [ ! -e "$dir" ]; then
        continue
    elif [ -d "$private$dir" ]; then
        mirror "$dir"
    else
        mkdir -p "$private${dir%/*}"
        ln -s "$dir" "$private$dir"
    fi
done
ln -s "pg$bindir" "$run/bin"

# The directories that PGXS says must be the private ones, or an installation
# would go to the real ones.
for what in bindir pkglibdir sharedir mandir includedir-server; do
    case $("$run/bin/pg_config" --$what) in
    "$private"/*) ;;
    *) die "$what of the private copy is outside of it: cannot work with ${original%/*}" ;;
    esac
done

printf '%s\n' "$key" >"$run/$mark"
