#!/usr/bin/env bash
# Campaigns against the live daemon, in their long form; figures are printed. As root, some hours.
#
#   scripts/torture.sh [WORD]         only the campaigns whose names contain WORD
#
# kill -9 again and again, mutated BGP messages, mutated requests, reloads of all kinds, flushed tables, floods, idle and stalled clients,
# a log that nobody reads, a full disk, clocks that jump, many rules. The daemon is a release build, or what FLOODGATE names.
#
# Figures that docs/decisions/0042 promises must hold: on a machine that does nothing else. FLOODGATE_STRICT=0 only prints them.
set -euo pipefail
cd "$(dirname "$0")/.."

word=${1:-}
if [ -z "${FLOODGATE:-}" ]; then
    cargo build --release -p floodgate
    export FLOODGATE="$PWD/target/release/floodgate"
fi
export FLOODGATE_TORTURE=1 FLOODGATE_SOAK=1 FLOODGATE_STRICT="${FLOODGATE_STRICT:-1}" FLOODGATE_KILLS="${FLOODGATE_KILLS:-1000}"

filter='binary(torture) or binary(kills) or binary(attack) or binary(durable) or binary(churn) or test(/^faults_flood/)'
[ -z "$word" ] || filter="($filter) and test($word)"
cargo nextest run --profile torture --no-capture -p lab -p floodgate -E "$filter"
