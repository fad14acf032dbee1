#!/usr/bin/env bash
# Installs what is missing, builds, and tells the story of crates/lab/src/bin/demo: under a minute once it is built.
#
#   scripts/demo.sh [OPTION...]       options of the demo itself
#
# The build is the quick one for developers (`make build` makes the one to install). Only the story runs as root.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/setup.sh build
echo "demo: building (some minutes the first time)"
cargo build --quiet --locked -p floodgate -p lab --bin floodgate --bin demo
demo=${CARGO_TARGET_DIR:-target}/debug/demo
echo
if [ "$(id -u)" = 0 ]; then
    exec "$demo" "$@"
fi
command -v sudo >/dev/null || { echo "demo: it needs root; run it as root or install sudo" >&2; exit 2; }
exec sudo "$demo" "$@"
