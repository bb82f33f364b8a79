#!/bin/sh
# Runs a command of ./dev on today's stack (TFX 1.21, Python 3.13): in a Debian 13 root that it makes in a cache folder.
#   deploy/stacks/current.sh COMMAND [ARGS]     e.g. test, slow, raxnet; as ./dev has them
# Needs Linux on x86-64, root and debootstrap (it installs that where apt-get is). What changes lies in the cache
# folder alone: the tree is copied into the root, and its mounts end with this process.
# RAXNET_ROOTS=DIR: where the root is kept (default: ~/.cache/raxnet). DEBIAN_MIRROR=URL: where Debian is fetched from.
# RAXNET_EXCHANGE=DIR: a folder that is seen in the root too, by the same path, and may be written there.
set -eu
tree=$(cd "$(dirname "$0")/../.." && pwd)
roots=${RAXNET_ROOTS:-${XDG_CACHE_HOME:-$HOME/.cache}/raxnet}
suite=trixie
packages=python3,python3-venv,python3-dev,ca-certificates,git,make,g++,procps,curl
root=$roots/$suite-$(printf %s "$packages" | cksum | cut -d' ' -f1)

say() { echo "current stack: $*" >&2; }
stop() { say "$*"; exit 3; }

[ "$(uname -sm)" = "Linux x86_64" ] || stop "needs Linux on x86-64; this is $(uname -sm)"
[ "$(id -u)" = 0 ] || stop "needs root, for chroot and mounts; run it with sudo"
if [ "${1:-}" != --inside-namespace ]; then
    # A mount namespace of its own: whatever happens, no mount stays behind.
    unshare --mount true 2>/dev/null || stop "may not make a mount namespace here (a container without that right?)"
    exec unshare --mount "$0" --inside-namespace "$@"
fi
shift

certificates=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}

mirror() {  # this machine's own, so that what reaches Debian here reaches it there
    sed -n 's/^URIs: *//p; s/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' \
        /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep '/debian/*$' | head -n 1
}

get_debootstrap() { apt-get install -y -q debootstrap || { apt-get update -q && apt-get install -y -q debootstrap; }; }

make_root() {
    command -v debootstrap >/dev/null 2>&1 || get_debootstrap >/dev/null 2>&1 \
        || stop "needs debootstrap: apt-get install debootstrap"
    url=${DEBIAN_MIRROR:-$(mirror)}
    say "making a Debian 13 root in $root"
    rm -rf "$root.partial"
    mkdir -p "$root.partial"
    debootstrap --variant=minbase --include="$packages" "$suite" "$root.partial" "${url:-http://deb.debian.org/debian}" \
        >"$root.log" 2>&1 || { tail -n 5 "$root.log" >&2; stop "debootstrap failed; $root.log has it all"; }
    mv "$root.partial" "$root"
}

copy_tree() {  # what git has or would have, as a clone would; in this call's own memory, so that calls may run side by side
    mkdir -p "$root/tree" "$root/shared"
    mount -t tmpfs tmpfs "$root/tree"
    (cd "$tree" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T - 2>/dev/null) \
        | tar -x -C "$root/tree"
    shared=${RAXNET_SHARED:-$tree/../shared}
    [ ! -d "$shared" ] || mount --bind -o ro "$shared" "$root/shared"
}

connect() {
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp" -o size=60%
    cp -L /etc/resolv.conf "$root/etc/resolv.conf"
    cp -L /etc/hosts "$root/etc/hosts"
    [ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
    if [ -f "$certificates" ]; then cp -L "$certificates" "$root/etc/ssl/certs/ca-certificates.crt"; fi
}

inside() {
    chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 VENV=/venv TERM="${TERM:-dumb}" \
        SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt sh -c 'cd /tree && exec ./dev "$@"' dev "$@"
}

exchange() {  # after connect, whose /tmp would hide it
    [ -n "${RAXNET_EXCHANGE:-}" ] || return 0
    mkdir -p "$root$RAXNET_EXCHANGE"
    mount --bind "$RAXNET_EXCHANGE" "$root$RAXNET_EXCHANGE"
}

start=$(date +%s)
mkdir -p "$roots"
exec 5>"$root.lock" 6>"$root.used"
flock 5  # one call makes the root and its environment; others wait, and run side by side then
[ -d "$root" ] || make_root
copy_tree
connect
exchange
if ! inside ready; then
    flock -n 6 || { say "waiting for other calls to end: the environment has to be made anew"; flock 6; }
    inside setup
fi
flock -s 6  # until this call ends
flock -u 5
say "ready after $(($(date +%s) - start)) s"
inside "$@" 5>&- 6>&-
