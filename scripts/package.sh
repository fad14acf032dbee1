#!/usr/bin/env bash
# Whether the published crates can be packaged from a clean clone: what is not committed, or lies outside of a crate, is missing there.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone -q . "$clone/floodgate"
cd "$clone/floodgate"
cargo package -q --locked -p flowspec -p bgp
