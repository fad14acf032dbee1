#!/usr/bin/env bash
# Clones what is committed into a Debian 12 that has neither Rust nor a compiler, and runs `make demo` and tests there: `make without-rust`.
#
#   scripts/without-rust.sh [PACKAGE..]      the crates whose tests are run; flowspec and bgp unless told otherwise, `all` for `make test`
#
# The Debian is put together by debootstrap, once, in target/packages/bare: its smallest form with make, git and certificates. `make` has to install
# all else itself, Debian's own Rust among it. It has this machine's kernel and network, and namespaces of its own for the rest (root).
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/packages
tree=$work/bare
layer=$work/bare-layer
say() { printf 'without-rust: %s\n' "$*"; }
die() { printf 'without-rust: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "it has to be root"
. scripts/packages/root.sh
mkdir -p "$work"

if [ ! -e "$tree.ready" ]; then
    say "installing a Debian 12 (a minute, once)"
    rm -rf "$tree"
    debootstrap --variant=minbase --include=make,git,ca-certificates bookworm "$tree" >"$tree.log" 2>&1 || { tail -n 20 "$tree.log" >&2; die "debootstrap failed"; }
    # As the installer of Debian writes it.
    printf 'deb http://deb.debian.org/debian %s main\n' bookworm bookworm-updates >"$tree/etc/apt/sources.list"
    echo 'deb http://deb.debian.org/debian-security bookworm-security main' >>"$tree/etc/apt/sources.list"
    touch "$tree.ready"
fi

handed_in=$(mktemp -d)
trap 'rm -rf "$handed_in"' EXIT
git clone -q --no-local . "$handed_in/floodgate"
cp -L /etc/resolv.conf /etc/hosts "$handed_in/"
# What this machine trusts: the way to the registries may lead through it.
cp -L /etc/ssl/certs/ca-certificates.crt "$handed_in/"
crates=("$@")
[ ${#crates[@]} -gt 0 ] || crates=(flowspec bgp)
cat >"$handed_in/trial" <<TRIAL
set -euo pipefail
cp /handed-in/resolv.conf /handed-in/hosts /etc/
cp /handed-in/ca-certificates.crt /etc/ssl/certs/
mount -t bpf bpf /sys/fs/bpf
! command -v cargo && ! command -v cc || exit 1
cp -r /handed-in/floodgate /root/floodgate
cd /root/floodgate
make demo
cargo --version
if [ "${crates[*]}" = all ]; then
    make test
else
    scripts/setup.sh test
    cargo test -q ${crates[*]/#/-p }
fi
TRIAL
rm -rf "$layer"
status=0
run_in_root --network "$tree" "$layer" "$handed_in" trial 2>&1 | tee "$work/bare.trial" || status=$?
rm -rf "$layer"
[ "$status" = 0 ] || die "it failed: $work/bare.trial"
grep -q 'All of this was as told' "$work/bare.trial" || die "the demo did not end well"
say "passed"
