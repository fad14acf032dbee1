#!/usr/bin/env bash
# Runs every fuzz target for so many seconds each (default 60) and stops at the first finding.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
shift || true

[ -d fuzz ] || { echo "fuzz: there are no fuzz targets" >&2; exit 1; }
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz from crates.io"
    cargo install -q --locked cargo-fuzz
fi
# libFuzzer's instrumentation is an unstable flag; this lets the stable compiler accept it.
export RUSTC_BOOTSTRAP=1

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
for target in "${targets[@]}"; do
    echo "fuzz: $target for $seconds s"
    cargo fuzz run "$target" -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1
done
printf '%d passed, 0 failed\n' "${#targets[@]}"
