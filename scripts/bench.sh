#!/usr/bin/env bash
# Measures, shows tables and writes target/bench.json; docs/BENCHMARKS.md says what the figures mean.
#
#   scripts/bench.sh              all: the benches of the crates, then the parts of crates/lab/src/bin/bench
#   scripts/bench.sh micro        only the benches of the crates (no root)
#   scripts/bench.sh PART...      only these parts, for instance: wire packets cumulus bird; their figures replace those in the file
#
# The build is the optimised one. Only the parts run as root.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}
micro=$target/bench-micro.txt
parts=() micros=no
if [ $# = 0 ]; then
    micros=yes
else
    for name in "$@"; do
        if [ "$name" = micro ]; then micros=yes; else parts+=("$name"); fi
    done
fi

if [ $micros = yes ]; then
    echo "bench: the parts alone (cargo bench; some minutes to build the first time)"
    mkdir -p "$target"
    # The benches of engine and XDP also write their figures here.
    export FLOODGATE_BENCH_RECORD=$PWD/$target/bench-record.txt
    case $target in /*) FLOODGATE_BENCH_RECORD=$target/bench-record.txt ;; esac
    rm -f "$FLOODGATE_BENCH_RECORD"
    cargo bench --quiet --locked -p flowspec -p bgp -p engine -p dataplane --bench '*' | tee "$micro"
    # On a machine that is too busy it ends early; the other figures stand.
    cargo bench --quiet --locked -p dataplane --bench xdp -- --compare || echo "bench: no full comparison" >&2
    [ ! -e "$FLOODGATE_BENCH_RECORD" ] || cat "$FLOODGATE_BENCH_RECORD" >>"$micro"
    [ $# = 0 ] || [ ${#parts[@]} -gt 0 ] || exit 0
fi

echo "bench: building the program (some minutes the first time)"
cargo build --quiet --release --locked -p floodgate -p lab --bin floodgate --bin bench --bin cl-acltool
command=("$target/release/bench" --output "$target/bench.json" "${parts[@]}")
[ $micros = no ] || command+=(--micro "$micro")
if [ "$(id -u)" = 0 ]; then
    exec "${command[@]}"
fi
command -v sudo >/dev/null || { echo "bench: it needs root; run it as root or install sudo" >&2; exit 2; }
exec sudo "${command[@]}"
