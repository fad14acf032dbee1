#!/usr/bin/env bash
# Installs the .deb of target/packages/out in root directories of older Debians, and follows the README's first dropped packet there: part of
# `make packages-test`.
#
#   scripts/packages/old-test.sh [SUITE..]      buster and bullseye unless told otherwise
#
# The kernel is this machine's: what is tried is the older glibc, and the package with the older dpkg. Buster is in Debian's archive of old
# releases, which not every mirror has: where it cannot be had, that is said, and the next is tried. One at least has to pass.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/packages
say() { printf 'old-test: %s\n' "$*"; }
die() { printf 'old-test: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "it has to be root"
. scripts/packages/root.sh
mapfile -t debs < <(find "$work/out" -maxdepth 1 -name 'floodgate_*_'"$(dpkg --print-architecture)"'.deb' 2>/dev/null)
[ ${#debs[@]} = 1 ] || die "target/packages/out has ${#debs[@]} packages for this machine: \`make packages\` makes one"

install_debian() {
    local suite=$1 tree=$2 mirror=http://deb.debian.org/debian
    [ "$suite" != buster ] || mirror=http://archive.debian.org/debian
    [ ! -e "$tree.ready" ] || return 0
    say "installing a Debian $suite (a minute, once)"
    rm -rf "$tree"
    # Their keys may have expired since.
    debootstrap --variant=minbase --no-check-gpg --include=systemd,iproute2,iputils-ping,procps "$suite" "$tree" "$mirror" >"$tree.log" 2>&1 ||
        { rm -rf "$tree"; tail -n 1 "$tree.log"; return 1; }
    touch "$tree.ready"
}

[ $# -gt 0 ] || set -- buster bullseye
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp "${debs[0]}" "$scratch/new.deb"
cp README.md scripts/packages/first-packet.sh "$scratch/"
cat >"$scratch/trial" <<'TRIAL'
set -euo pipefail
cd /root
dpkg -i /handed-in/new.deb
floodgate --version
floodgate check -c /usr/share/doc/floodgate/examples/floodgate.toml
bash /handed-in/first-packet.sh /handed-in/README.md
# Of glibc as a user data base: a group that it looks up.
id floodgate || systemd-sysusers
id floodgate
dpkg -P floodgate
TRIAL
passed=0
for suite in "$@"; do
    tree=$work/old-$suite
    if ! install_debian "$suite" "$tree"; then
        say "$suite cannot be had here"
        continue
    fi
    rm -rf "$work/old-layer"
    run_in_root "$tree" "$work/old-layer" "$scratch" trial >"$work/old-$suite.trial" 2>&1 || { tail -n 40 "$work/old-$suite.trial" >&2; die "it failed on $suite"; }
    rm -rf "$work/old-layer"
    say "Debian $(cat "$tree/etc/debian_version"), glibc $(ls "$tree"/lib/*/libc-2.*.so | sed 's/.*libc-\(.*\)\.so/\1/'): installed, first packet dropped, purged"
    passed=$((passed + 1))
done
[ "$passed" -gt 0 ] || die "none of $* can be had"
