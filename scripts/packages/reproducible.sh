#!/usr/bin/env bash
# Whether two builds of what is committed, in two directories, make the same program and the same package: `make packages-reproducible`.
#
#   scripts/packages/reproducible.sh [ARCH]      amd64 unless told otherwise; two builds from nothing, so some minutes
#
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
for clone in "$first" "$second"; do
    git clone -q --no-local . "$clone"
    mkdir -p "$clone/target"
    ln -s "$tools" "$clone/target/tools"
    say "building in $clone"
    (cd "$clone" && scripts/packages.sh "$arch") >"$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" >&2; die "it failed: $scratch/log"; }
done
if ! diff "$first/target/packages/out/SHA256SUMS" "$second/target/packages/out/SHA256SUMS"; then
    die "they differ: $first/target/packages/out, $second/target/packages/out"
fi
say "equal:"
cat "$first/target/packages/out/SHA256SUMS"
rm -rf "$scratch"
