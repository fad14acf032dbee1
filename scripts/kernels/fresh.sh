#!/usr/bin/env bash
# Boots a Debian 12 that has just been installed, with its own kernel, programs and systemd, and follows the README there: `make fresh`.
#
#   scripts/kernels/fresh.sh [WORD]         only the tests whose names contain WORD
#
# The disk is made by debootstrap, once, in target/kernels/fresh (needs root); each run works on a snapshot of it. Of this machine only the
# program, the unit and the test that follows the README are handed in. Floodgate is built for developers, or is what FLOODGATE names.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
cache=$root/target/kernels/fresh
# How long all of it may take: the machine is emulated, ten times slower, and this one may be busy.
MOST=3600
# iptables is there for the stand-in of a switch's cl-acltool alone.
PACKAGES=linux-image-amd64,iptables

say() { printf 'fresh: %s\n' "$*"; }
die() { printf 'fresh: %s\n' "$*" >&2; exit 1; }

make_disk() {
    local tree=$cache/tree
    [ ! -e "$cache/ready" ] || return 0
    [ "$(id -u)" = 0 ] || die "the disk is made by debootstrap, as root"
    if [ ! -e "$cache/installed" ]; then
        say "installing a Debian 12 (some minutes, once)"
        rm -rf "$cache"
        mkdir -p "$cache"
        debootstrap --include="$PACKAGES" bookworm "$tree" >"$cache/debootstrap.log" 2>&1 ||
            { tail -n 20 "$cache/debootstrap.log" >&2; die "debootstrap failed"; }
        touch "$cache/installed"
    fi
    # What is handed in says what is run; nothing else of the system is changed.
    cat >"$tree/etc/systemd/system/fresh.service" <<'UNIT'
[Unit]
Description=The trial that make fresh hands in
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/mount --mkdir -t 9p -o trans=virtio,version=9p2000.L handed-in /handed-in
ExecStart=/bin/bash /handed-in/run
StandardOutput=journal+console
StandardError=journal+console

[Install]
WantedBy=multi-user.target
UNIT
    chroot "$tree" systemctl -q enable fresh.service
    cp "$tree"/boot/vmlinuz-* "$cache/vmlinuz"
    cp "$tree"/boot/initrd.img-* "$cache/initrd"
    mke2fs -q -t ext4 -d "$tree" "$cache/disk" 3G
    rm -rf "$tree"
    touch "$cache/ready"
}

word=${1:-}
make_disk

program=${FLOODGATE:-}
# Of the whole workspace, as `make test` does, so that nothing is built twice.
test=$(cargo test -q --no-run --workspace --tests --message-format=json |
    sed -n 's|.*"kind":\["test"\].*"name":"readme","src_path.*"executable":"\([^"]*\)".*|\1|p')
[ -x "$test" ] || die "cargo names no executable of the test readme"
target=$(dirname "$(dirname "$test")")
[ -n "$program" ] || program=$target/floodgate

run=$cache/run
rm -rf "$run"
mkdir -p "$run"
cp "$program" "$run/floodgate"
cp "$test" "$run/readme"
cp "$target/cl-acltool" "$run/cl-acltool"
cp packaging/floodgate.service packaging/floodgate.sysusers packaging/cumulus.conf "$run/"
cat >"$run/run" <<RUN
cd /handed-in
# As \`make install\` does.
install -D -m 755 floodgate /usr/local/bin/floodgate
install -D -m 644 floodgate.service /etc/systemd/system/floodgate.service
install -D -m 644 floodgate.sysusers /usr/local/lib/sysusers.d/floodgate.conf
systemd-sysusers /usr/local/lib/sysusers.d/floodgate.conf
install -D -m 644 cumulus.conf /usr/local/share/floodgate/cumulus.conf
install -d -m 750 /etc/floodgate
install -D -t /opt/trial readme cl-acltool
export FLOODGATE=/usr/local/bin/floodgate FLOODGATE_REQUIRE_ALL=1 FLOODGATE_KERNELS=1
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
{ uname -r; . /etc/os-release; echo "\$PRETTY_NAME (\$(cat /etc/debian_version))"; } >system
/opt/trial/readme --test-threads=1 --include-ignored $word >log 2>&1 </dev/null
echo \$? >status
sync
systemctl poweroff
RUN

say "booting"
timeout -k 10 "$MOST" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -machine q35 -m 1536 -smp 1 -nodefaults -no-reboot -display none \
    -serial stdio -kernel "$cache/vmlinuz" -initrd "$cache/initrd" -append "root=/dev/vda rw console=ttyS0 quiet" \
    -drive file="$cache/disk",format=raw,if=virtio,snapshot=on \
    -virtfs local,path="$run",mount_tag=handed-in,security_model=none \
    </dev/null >"$run/console" 2>&1 || true

[ -e "$run/system" ] || { tail -n 20 "$run/console" >&2; die "it did not come up: $run/console"; }
say "$(sed -n 2p "$run/system"), Linux $(sed -n 1p "$run/system")"
grep -E '^test (readme|result)' "$run/log" || true
passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$run/log")
if [ "$(cat "$run/status" 2>/dev/null)" != 0 ] || [ "${passed:-0}" = 0 ]; then
    tail -n 80 "$run/log" >&2
    die "it failed or was not ready in $MOST s: $run/log, $run/console"
fi
