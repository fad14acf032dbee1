#!/usr/bin/env bash
# Installs the .deb of target/packages/out on a Debian 12 that was just installed, and does with it what an operator does: `make packages-test`.
#
#   scripts/packages/test.sh [ansible]      all of it, or only the Ansible role
#
# Debian is put together by debootstrap, once, in target/packages/fresh, and each run works on a layer above it. Its systemd is PID 1, in
# namespaces of its own (processes, network, mounts, control groups); the kernel is this machine's. What is done there is in trial.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/packages
fresh=$work/fresh
run=$work/trial
# How long all of it may take on a machine that has other work.
MOST=3000

say() { printf 'packages-test: %s\n' "$*"; }
die() { printf 'packages-test: %s\n' "$*" >&2; exit 1; }

case "${1:-}" in
'') script=trial.sh ;;
ansible) script=ansible-trial.sh ;;
*) die "unknown part '$1'; there is: ansible" ;;
esac
[ "$(id -u)" = 0 ] || die "it has to be root"
mapfile -t debs < <(find "$work/out" -maxdepth 1 -name 'floodgate_*_'"$(dpkg --print-architecture)"'.deb' 2>/dev/null)
[ ${#debs[@]} = 1 ] || die "target/packages/out has ${#debs[@]} packages for this machine: \`make packages\` makes one"

if [ ! -e "$fresh.ready" ]; then
    say "installing a Debian 12 (some minutes, once)"
    rm -rf "$fresh"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,iproute2,iputils-ping,nftables,procps,python3-apt,python3-cffi-backend,ansible-core bookworm "$fresh" >"$work/debootstrap.log" 2>&1 ||
        { tail -n 20 "$work/debootstrap.log" >&2; die "debootstrap failed"; }
    touch "$fresh.ready"
fi

# A package to upgrade to: the same, called later.
rm -rf "$run"
mkdir -p "$run/handed-in" "$run/layer"
cp "${debs[0]}" "$run/handed-in/old.deb"
dpkg-deb -R "${debs[0]}" "$run/new"
version=$(dpkg-deb -f "${debs[0]}" Version)
sed -i "s/^Version: .*/Version: $version+later/" "$run/new/DEBIAN/control"
dpkg-deb -Znone -b "$run/new" "$run/handed-in/new.deb" >/dev/null
rm -rf "$run/new"
cp README.md scripts/packages/trial.sh scripts/packages/first-packet.sh scripts/packages/ansible-trial.sh "$run/handed-in/"
mkdir "$run/scripts"
cp scripts/packages/root.sh "$run/scripts/"
cp -r packaging/ansible "$run/handed-in/"

# PID 1 of the trial.
cat >"$run/boot" <<'BOOT'
set -e
cd "$1"
. scripts/root.sh
mount --make-rprivate /
mount -t tmpfs layer layer
mount_root "$2" "$1/layer"
mount -t cgroup2 cgroup "$root/sys/fs/cgroup"
cat >"$root/etc/systemd/system/trial.service" <<UNIT
[Unit]
Description=The trial of the package
After=multi-user.target

[Service]
Type=oneshot
ExecStart=/bin/bash /handed-in/$3
ExecStopPost=/bin/sh -c 'echo \$EXIT_STATUS >/handed-in/status; systemctl --no-block poweroff'
StandardOutput=append:/handed-in/log
StandardError=append:/handed-in/log
UNIT
# It has nothing to do here, and took a minute.
ln -s /dev/null "$root/etc/systemd/system/e2scrub_reap.service"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
ln -s ../trial.service "$root/etc/systemd/system/multi-user.target.wants/trial.service"
enter_root "$1/handed-in"
exec env -i container=trial PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=console --show-status=no
BOOT

say "$(basename "${debs[0]}") on a Debian $(cat "$fresh/etc/debian_version")"
# A control group that becomes the root of the trial's.
groups=$(mktemp -d)
mount -t cgroup2 cgroup "$groups"
group=$groups/floodgate-trial-$$
mkdir "$group"
remove_group() {
    find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null || true
    umount "$groups" && rmdir "$groups"
}
trap remove_group EXIT
status=0
(
    echo $BASHPID >"$group/cgroup.procs"
    exec timeout -k 10 "$MOST" unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child bash "$run/boot" "$run" "$fresh" "$script"
) </dev/null >"$run/console" 2>&1 || status=$?
[ -e "$run/handed-in/log" ] || { tail -n 30 "$run/console" >&2; die "systemd did not come up (exit status $status): $run/console"; }
grep '^trial: ' "$run/handed-in/log" || true
[ "$(cat "$run/handed-in/status" 2>/dev/null)" = 0 ] || { tail -n 60 "$run/handed-in/log" >&2; die "it failed: $run/handed-in/log"; }
