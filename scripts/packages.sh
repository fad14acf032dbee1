#!/usr/bin/env bash
# Makes packages of what is committed, in target/packages/out: `make packages`.
#
#   scripts/packages.sh [ARCH..]      amd64 and arm64 are the machines there are; amd64 unless told otherwise
#
#   floodgate_VERSION_ARCH.deb            the program and all that belongs to it
#   floodgate-dbgsym_VERSION_ARCH.deb     its debug symbols
#   floodgate_VERSION_ARCH.cdx.json       what it is made of (CycloneDX)
#   floodgate_VERSION_ARCH.oci.tar        an image for containers
#   SHA256SUMS
#
# Between tags the address of the maintainer may be nobody's (RELEASING.md).
#
# PROGRAM_amd64=FILE packs this program instead of compiling one: for trials of the packages, not for a release.
set -euo pipefail
cd "$(dirname "$0")/.."
here=$PWD
work=$here/target/packages
out=$work/out
# What a package may weigh.
MOST=$((6 * 1024 * 1024))

say() { printf 'packages: %s\n' "$*"; }
die() { printf 'packages: %s\n' "$*" >&2; exit 1; }

triple_of() {
    case "$1" in
    amd64) echo x86_64-unknown-linux-gnu ;;
    arm64) echo aarch64-unknown-linux-gnu ;;
    *) die "unknown architecture '$1'; there are: amd64 arm64" ;;
    esac
}

# The version of a tag vX.Y.Z; between tags it says which commit it is, and sorts before the release that is to come (X.Y.Z~git) or
# after the one that was (X.Y.Z+git).
package_version() {
    local number day
    number=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    if git describe --tags --exact-match --match "v$number" HEAD >/dev/null 2>&1; then
        echo "$number"
        return
    fi
    day=$(TZ=UTC git log -1 --format=%cd --date=format-local:%Y%m%d%H%M)
    if git rev-parse -q --verify "refs/tags/v$number" >/dev/null; then
        echo "$number+git$day.$FLOODGATE_COMMIT"
    else
        echo "$number~git$day.$FLOODGATE_COMMIT"
    fi
}

# No symbol newer than glibc 2.28, no library but glibc's.
check_runs_elsewhere() {
    local program=$1 newest foreign
    newest=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
    [ -n "$newest" ] || die "$program names no version of glibc"
    [ "$(printf '%s\nGLIBC_2.28\n' "$newest" | sort -V | tail -n 1)" = GLIBC_2.28 ] || die "$program needs $newest; at most GLIBC_2.28 is meant"
    foreign=$(objdump -p "$program" | awk '$1 == "NEEDED" { print $2 }' | grep -vE '^(libc|libm|libpthread|libdl|librt|libutil|ld-linux.*)\.so' || true)
    [ -z "$foreign" ] || die "$program needs libraries that are not glibc's: $foreign"
    say "$(basename "$program"): $newest at most"
}

compile() {
    local given="PROGRAM_$1"
    if [ -n "${!given:-}" ]; then
        realpath "${!given}"
        return
    fi
    scripts/packages/compile.sh "$1" "$work/source" "$work/build"
}

build_deb() {
    local arch=$1 triple stage maintainer
    triple=$(triple_of "$arch")
    stage=$work/stage-$arch
    rm -rf "$stage"
    mkdir -p "$stage"
    cp -a "$work/source" "$stage/floodgate"
    maintainer=$(sed -n 's/^Maintainer: //p' "$stage/floodgate/packaging/debian/control")
    cp -a "$stage/floodgate/packaging/debian" "$stage/floodgate/debian"
    cat >"$stage/floodgate/debian/changelog" <<CHANGELOG
floodgate ($version-1) unstable; urgency=medium

  * CHANGELOG.md of the program says what changed.

 -- $maintainer  $(TZ=UTC LC_ALL=C date -R -d "@$SOURCE_DATE_EPOCH")
CHANGELOG
    export PROGRAM=${programs[$arch]} PAGES=${programs[$host]} SBOM=$out/floodgate_$version-1_$arch.cdx.json
    scripts/packages/sbom.py "$work/source" "$triple" "$version" >"$SBOM"
    (cd "$stage/floodgate" && dpkg-buildpackage -b -d -us -uc -a"$arch") >"$stage/log" 2>&1 || { tail -n 40 "$stage/log" >&2; die "dpkg-buildpackage failed: $stage/log"; }
    mv "$stage"/*.deb "$out/"
    rm -rf "$stage/floodgate"
}

# The program of the package, and glibc of Debian.
build_image() {
    local arch=$1 deb=$2 libc=$work/libc-$1
    rm -rf "$libc"
    mkdir -p "$libc"
    (cd "$libc" && apt-get -q -o APT::Sandbox::User=root download "libc6:$arch" && dpkg -x libc6_*.deb tree) >"$libc/log" 2>&1 ||
        { cat "$libc/log" >&2; die "apt-get could not download libc6:$arch (\`apt-get update\` first?)"; }
    dpkg -x "$deb" "$libc/package"
    scripts/packages/oci.py "$libc/package/usr/bin/floodgate" "$arch" "$libc/tree" "$version" "${deb%.deb}.oci.tar"
    say "$(basename "${deb%.deb}.oci.tar"): $(($(stat -c %s "${deb%.deb}.oci.tar") / 1024)) KiB"
}

[ $# -gt 0 ] || set -- amd64
for arch in "$@"; do triple_of "$arch" >/dev/null; done
host=$(dpkg --print-architecture)
[ -z "$(git status --porcelain --untracked-files=no)" ] || say "what is not committed is left out"
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
FLOODGATE_COMMIT=$(git rev-parse --short=12 HEAD)
export SOURCE_DATE_EPOCH FLOODGATE_COMMIT
version=$(package_version)
if [ "$version" = "$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" ] && grep -q '^Maintainer:.*\.invalid>' packaging/debian/control; then
    die "packaging/debian/control still has the address of nobody as its maintainer's: RELEASING.md says what to do"
fi

rm -rf "$work/source" "$out" "$work/out.commit"
mkdir -p "$work/source" "$out"
git archive HEAD | tar -x -C "$work/source"

# The one for this machine writes the pages of all.
declare -A programs
for arch in $(printf '%s\n' "$host" "$@" | awk '!seen[$0]++'); do
    say "compiling for $arch"
    programs[$arch]=$(compile "$arch")
    check_runs_elsewhere "${programs[$arch]}"
done
for arch in "$@"; do
    build_deb "$arch"
    deb=$out/floodgate_$version-1_$arch.deb
    size=$(stat -c %s "$deb")
    [ "$size" -le "$MOST" ] || die "$deb has $size octets, more than $MOST"
    say "$(basename "$deb"): $((size / 1024)) KiB"
    lintian --allow-root --fail-on error,warning --tag-display-limit 0 "$out"/floodgate*_"$version-1_$arch".deb || die "lintian objects"
    build_image "$arch" "$deb"
done
(cd "$out" && sha256sum -- * >SHA256SUMS)
# scripts/packages/reproducible.sh asks what this was made of.
git rev-parse HEAD >"$work/out.commit"
say "in $out"
