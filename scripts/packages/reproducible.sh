#!/usr/bin/env bash
# Whether two builds of what is committed, in two directories, make the same program and the same package: `make packages-reproducible`.
#
#   scripts/packages/reproducible.sh [ARCH]      amd64 unless told otherwise
#
# The first is what `make packages` made of this commit, where that is there; the other begins with nothing, so it takes some minutes.
# Where they differ, both stay for a look.
set -euo pipefail
cd "$(dirname "$0")/../.."
arch=${1:-amd64}
tools=$PWD/target/tools

say() { printf 'reproducible: %s\n' "$*"; }
die() { printf 'reproducible: %s\n' "$*" >&2; exit 1; }

# Different lengths, different depths.
scratch=$(mktemp -d)
first=$scratch/a
second=$scratch/another/directory/of/a/longer/name
clones=("$first" "$second")
made=("$PWD"/target/packages/out/floodgate_*_"$arch".deb)
if [ "$(cat target/packages/out.commit 2>/dev/null)" = "$(git rev-parse HEAD)" ] && [ -e "${made[0]}" ]; then
    first=$PWD
    clones=("$second")
fi
for clone in "${clones[@]}"; do
    git clone -q --no-local . "$clone"
    mkdir -p "$clone/target"
    ln -s "$tools" "$clone/target/tools"
    say "building in $clone"
    (cd "$clone" && scripts/packages.sh "$arch") >"$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" >&2; die "it failed: $scratch/log"; }
done
# `make packages` may have made more than one machine's.
sums() { grep "_$arch\." "$1/target/packages/out/SHA256SUMS"; }
if ! diff <(sums "$first") <(sums "$second"); then
    die "they differ: $first/target/packages/out, $second/target/packages/out"
fi
say "equal, built in $first and in $second:"
sums "$first"
rm -rf "$scratch"
