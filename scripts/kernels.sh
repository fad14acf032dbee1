#!/usr/bin/env bash
# Boots Debian's kernels in QEMU, without KVM, with what was built, and runs tests inside: `make kernels`.
#
#   scripts/kernels.sh [--arch arm64] [--short] [--only WORD] [--from NAME] [KERNEL...]
#
# KERNEL: `6.1`, `6.12` (Debian 12's newest package of that series), or the name of a package; both series by default. `--short` leaves out the
# tests that scripts/kernels/tests calls long, `--only` those whose names lack the word, `--from` those that come before this one in the list.
# Prints a table, and fails where a test does.
#
# The virtual machine sees this machine's files read-only, under a layer of memory, so it has its programs and libraries (scripts/kernels/init),
# and runs as root whoever runs this. Kernels are kept in target/kernels/, consoles and logs in target/kernels/run/KERNEL/.
#
# With `--arch arm64` it is a machine with that processor. It has the programs of a Debian 12 for arm64, unpacked in target/kernels/root-arm64
# (root), and of this machine's files the source tree alone. Only tests that the list calls "arm64" are run; they are built with Debian's Rust.
# Where `make packages ARCH=arm64` made a package, its program is the one that the tests start.
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
cache=$root/target/kernels
list=$root/scripts/kernels/tests

say() { printf 'kernels: %s\n' "$*"; }
die() { printf 'kernels: %s\n' "$*" >&2; exit 1; }

# Inside, /tmp, /run and /dev/shm are new (scripts/kernels/inside.sh).
case $(realpath "$root")/ in
/tmp/* | /run/* | /dev/*) die "the source is in $root, which the virtual machine does not see: clone it elsewhere than below /tmp or /run" ;;
esac

# The newest package of a series that apt knows, else the newest that was unpacked here before.
package_of() {
    local series=${1//./\\.} found
    case $1 in linux-image-*) printf '%s\n' "$1"; return ;; esac
    local names="^linux-image-$series\\.[0-9]+(-[0-9]+|\\+deb12)-$arch\$"
    found=$(apt-cache search --names-only "$names" | cut -d' ' -f1 | sort -V | tail -n 1)
    if [ -z "$found" ]; then
        found=$(ls "$cache" 2>/dev/null | grep -E "$names" | sort -V | tail -n 1 || true)
    fi
    [ -n "$found" ] || die "apt knows no kernel $1 of Debian 12 (apt-get update? deb.debian.org bookworm and bookworm-security are needed)"
    printf '%s\n' "$found"
}

# Downloads and unpacks a kernel, once.
unpack() {
    local package=$1 there=$cache/$1 download
    [ ! -e "$there/ready" ] || return 0
    say "downloading $package"
    download=$(mktemp -d)
    # apt's own user may not write there, and need not.
    (cd "$download" && apt-get download -qq -o APT::Sandbox::User="$(id -un)" "$package:$arch") || die "apt-get cannot download $package"
    rm -rf "$there"
    mkdir -p "$there"
    dpkg-deb -x "$download"/*.deb "$there"
    dpkg-deb -f "$download"/*.deb Version >"$there/version"
    rm -rf "$download"
    local modules
    modules=$(modules_of "$there")
    depmod -b "${modules%/lib/modules/*}" "${modules##*/}"
    touch "$there/ready"
}

# Where a kernel's modules are: below /lib, or below /usr/lib in later packages.
modules_of() {
    local directory
    for directory in "$1"/lib/modules/* "$1"/usr/lib/modules/*; do
        [ ! -d "$directory" ] || { printf '%s\n' "$directory"; return; }
    done
    die "no modules in $1"
}

# The first file system: a shell, and the modules that are needed to see this machine's files.
make_initrd() {
    local image=$1 to=$2 modules version base tree name number=0
    modules=$(modules_of "$image")
    version=${modules##*/}
    base=${modules%/lib/modules/*}
    tree=$(mktemp -d)
    mkdir -p "$tree"/{bin,modules,proc,sys,dev}
    cp "${busybox:-$(command -v busybox)}" "$tree/bin/busybox"
    for name in sh mount insmod echo cat mkdir poweroff switch_root; do ln -s busybox "$tree/bin/$name"; done
    cp scripts/kernels/init "$tree/init"
    while read -r name; do
        number=$((number + 1))
        local file
        file=$tree/modules/$(printf '%03d' $number)-$(basename "${name%.xz}")
        case $name in
        *.xz) xz -dc "$name" >"$file" ;;
        *) cp "$name" "$file" ;;
        esac
    done < <(for name in virtio_pci 9pnet_virtio 9p overlay; do modprobe -d "$base" -S "$version" --show-depends "$name"; done |
        awk '$1 == "insmod" && !seen[$2]++ { print $2 }')
    (cd "$tree" && find . | cpio -o -H newc -R 0:0 --quiet) >"$to"
    rm -rf "$tree"
}

# A Debian for arm64, unpacked and not set up: programs and libraries are all that is needed.
unpack_root() {
    local tree=$cache/root-arm64 package
    busybox=$tree/bin/busybox
    [ ! -e "$tree.ready" ] || return 0
    [ "$(id -u)" = 0 ] || die "the first time it has to be root: debootstrap unpacks a Debian for arm64"
    say "unpacking a Debian 12 for arm64 (a minute, once)"
    rm -rf "$tree"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=iproute2,iputils-ping,nftables,iptables,kmod,procps,systemd,busybox-static bookworm "$tree" \
        >"$tree.log" 2>&1 || { tail -n 20 "$tree.log" >&2; die "debootstrap failed"; }
    for package in "$tree"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$tree"
    done
    # debootstrap leaves a link to this machine's there.
    [ ! -L "$tree/proc" ] || { rm "$tree/proc" && mkdir "$tree/proc"; }
    # What the packages' scripts would have linked.
    [ -e "$tree/usr/bin/awk" ] || ln -s mawk "$tree/usr/bin/awk"
    [ -e "$tree/bin/sh" ] || ln -s dash "$tree/bin/sh"
    cp "$tree/usr/share/base-passwd/passwd.master" "$tree/etc/passwd"
    cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
    rm -rf "$tree/var/cache/apt/archives" "$tree/debootstrap"
    touch "$tree.ready"
}

# Builds the program and the tests; writes which executable is where, a line each.
build() {
    local to=$1 what=(--workspace --tests) cargo=cargo packages name
    # Of the whole workspace and in CI without incremental parts, as scripts/test.sh does, so that nothing is built twice.
    [ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0
    if [ "$arch" = arm64 ]; then
        # Only what is run: nothing else is built for this processor. The flags are for another machine's linker.
        unset RUSTFLAGS
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
        cargo=/usr/bin/cargo
        PATH=/usr/bin:$PATH
        what=(--target aarch64-unknown-linux-gnu)
        mapfile -t packages < <(for name in ${chosen//,/ }; do printf '%s\n' "${executables[$name]}"; done | grep -v '^scripts/' | sort -u)
        for name in "${packages[@]}"; do what+=(-p "${name%%/*}" --test "${name#*/}"); done
        $cargo build -q --target aarch64-unknown-linux-gnu -p floodgate -p lab --bins
    fi
    $cargo test -q --no-run "${what[@]}" --message-format=json |
        sed -n 's|.*"package_id":"[^"]*/crates/\([a-z]*\)#.*"kind":\["test"\].*"name":"\([a-z_]*\)","src_path.*"executable":"\([^"]*\)".*|\1/\2 \3|p' >"$to"
    [ -s "$to" ] || die "cargo names no test executables"
}

# Runs one kernel's tests; its console goes through, as far as it is ours.
run_kernel() {
    local image=$1 tests=$2 most=$3 modules version out
    modules=$(modules_of "$image")
    version=${modules##*/}
    out=$cache/run/$version
    rm -rf "$out"
    mkdir -p "$out"
    cp "$cache/executables-$arch" "$out/executables"
    make_initrd "$image" "$out/initrd"
    # Two network cards with a cable between them; where to boot from is said, so they need no firmware for that.
    timeout -k 10 "$most" "${machine[@]}" -accel tcg,thread=multi -m 1536 -smp 1 -nodefaults -no-reboot \
        -display none -serial stdio -kernel "$image"/boot/vmlinuz-* -initrd "$out/initrd" \
        -append "console=$console quiet panic=-1 fg.source=$root fg.modules=$modules fg.tests=$tests fg.root=$guest_root fg.program=$program fg.package=$deb fg.patience=$patience" \
        -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap \
        -virtfs local,path="$out",mount_tag=out,security_model=none \
        -netdev hubport,id=h0,hubid=0 -device virtio-net-pci,netdev=h0,romfile= \
        -netdev hubport,id=h1,hubid=0 -device virtio-net-pci,netdev=h1,romfile= \
        </dev/null 2>"$out/qemu" | tee "$out/console" | show "$version" || true
}

# What the virtual machine says of its tests, in words.
show() {
    local line rest
    while IFS= read -r line; do
        line=${line%$'\r'}
        case $line in
        *"kernels: result "*)
            rest=${line##*kernels: result }
            read -r number seconds status <<<"$rest"
            printf '%-22s %-18s %4s s  %s\n' "$1" "${names[$number]}" "$seconds" "$status"
            ;;
        esac
    done
}

names=() executables=() number=0 arch=amd64 program='' deb='' guest_root='' busybox='' patience=1 short=no only='' from='' series=()
while [ $# -gt 0 ]; do
    case $1 in
    --arch) arch=${2:?--arch ARCH}; shift ;;
    --short) short=yes ;;
    --only) only=${2:?--only WORD}; shift ;;
    --from) from=${2:?--from NAME}; shift ;;
    -*) die "unknown option $1" ;;
    *) series+=("$1") ;;
    esac
    shift
done
[ ${#series[@]} -gt 0 ] || series=(6.1 6.12)
[ "$(dpkg --print-architecture)" = amd64 ] || die "only a machine with amd64 runs these"
case $arch in
amd64)
    machine=(qemu-system-x86_64 -machine q35 -cpu max)
    console=ttyS0
    ;;
arm64)
    # Pointer authentication in its standard form takes most of an emulated processor's time.
    machine=(qemu-system-aarch64 -machine virt -cpu max,pauth-impdef=on)
    console=ttyAMA0
    guest_root=$cache/root-arm64
    patience=3
    deb=$(find "$root/target/packages/out" -maxdepth 1 -name 'floodgate_*_arm64.deb' 2>/dev/null | head -n 1 || true)
    ;;
*) die "unknown architecture '$arch'; there are: amd64 arm64" ;;
esac

# As in scripts/kernels/inside.sh: the tests are known by their place in the list.
names[0]='' executables[0]='' chosen='' seconds=120
while read -r form name most executable _; do
    number=$((number + 1))
    names[number]=$name executables[number]=$executable
    case $arch,$form in
    amd64,arm64) continue ;;
    arm64,arm64) [ -n "$deb" ] || continue ;;
    amd64,* | *,*arm64) ;;
    *) continue ;;
    esac
    [ "$short" = no ] || [[ $form != long* ]] || continue
    [[ $name == *$only* ]] || continue
    [ -z "$from" ] || [ "$name" = "$from" ] || continue
    from=''
    chosen+=${chosen:+,}$number
    seconds=$((seconds + most * patience))
done < <(sed '/^#/d; /^$/d' "$list")
[ -n "$chosen" ] || die "no test has '$only' in its name, or none is called '$from'"

mkdir -p "$cache"
if [ "$arch" = arm64 ]; then
    unpack_root
    if [ -n "$deb" ]; then
        say "the tests start the program of $(basename "$deb")"
        rm -rf "$cache/package-arm64"
        dpkg-deb -x "$deb" "$cache/package-arm64"
        program=$cache/package-arm64/usr/bin/floodgate
    else
        say "there is no package for arm64 (\`make packages ARCH=arm64\`): the tests start the program that is built with them"
    fi
fi
images=() versions=()
for kernel in "${series[@]}"; do
    package=$(package_of "$kernel")
    unpack "$package"
    images+=("$cache/$package")
    modules=$(modules_of "$cache/$package")
    versions+=("${modules##*/}")
done
build "$cache/executables-$arch"

for image in "${images[@]}"; do
    run_kernel "$image" "$chosen" "$seconds" &
done
wait

# The table: a row for each test, a column for each kernel.
failed=0
printf '\n%-20s' test
printf ' %-22s' "${versions[@]}"
printf '\n'
for at in ${chosen//,/ }; do
    printf '%-20s' "${names[$at]}"
    for version in "${versions[@]}"; do
        result=$(tr -d '\r' <"$cache/run/$version/console" | sed -n "s/.*kernels: result $at \([0-9]*\) \(.*\)/\2, \1 s/p" | tail -n 1)
        case $result in
        ok,*) ;;
        *) failed=$((failed + 1)) ;;
        esac
        printf ' %-22s' "${result:-NOT RUN}"
    done
    printf '\n'
done
printf '%-20s' package
for image in "${images[@]}"; do printf ' %-22s' "$(cat "$image/version")"; done
printf '\n'
[ "$failed" = 0 ] && exit 0
for version in "${versions[@]}"; do
    for at in ${chosen//,/ }; do
        if ! grep -q "kernels: result $at [0-9]* ok" "$cache/run/$version/console"; then
            log=$cache/run/$version/${names[$at]}.log
            printf '\n%s on %s: %s\n' "${names[$at]}" "$version" "$log"
            tail -n 25 "$log" 2>/dev/null || tail -n 10 "$cache/run/$version/console" "$cache/run/$version/qemu"
        fi
    done
done
die "$failed failed"
