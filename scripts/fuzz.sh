#!/usr/bin/env bash
# Runs every fuzz target for so many seconds each and stops at the first finding; its input is then in fuzz/artifacts.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]       SECONDS defaults to $FUZZ_SECONDS, else 60
#
# A run starts from fuzz/seeds (checked in) and from what earlier runs found worth keeping (fuzz/corpus). With FUZZ_KEEP=1 what covers
# something that no seed covers goes from there into fuzz/seeds, the smallest inputs that do.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-${FUZZ_SECONDS:-60}}
shift || true

if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: installing cargo-fuzz from crates.io"
    cargo install -q --locked cargo-fuzz
fi

targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in "${targets[@]}"; do
    corpus=fuzz/corpus/$target seeds=fuzz/seeds/$target
    mkdir -p "$corpus" "$seeds"
    # Sanitizers would need a nightly compiler; the crates fuzzed here forbid unsafe code, so there is little for them to find.
    cargo fuzz build --sanitizer none "$target" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
    echo "fuzz: $target for $seconds s"
    if ! cargo fuzz run --sanitizer none "$target" "$corpus" "$seeds" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 >"$log" 2>&1; then
        tail -n 60 "$log" >&2
        echo "fuzz: $target found something; its input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    if [ "${FUZZ_KEEP:-}" = 1 ]; then
        cargo fuzz run --sanitizer none "$target" -- -merge=1 -timeout=10 "$seeds" "$corpus" >"$log.merge" 2>&1 ||
            { tail -n 20 "$log.merge" >&2; exit 1; }
        grep -E "MERGE-OUTER: .* new files" "$log.merge" || true
        rm -f "$log.merge"
    fi
    grep -E "^Done|cov: .*(DONE)|stat::(number_of_executed_units|average_exec_per_sec|peak_rss_mb)" "$log"
done
printf '%d passed, 0 failed\n' "${#targets[@]}"
