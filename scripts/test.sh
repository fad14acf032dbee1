#!/usr/bin/env bash
# Runs the tests of the whole workspace, with cargo-nextest where it is installed.
#
#   scripts/test.sh [WORD]        only the tests whose names contain WORD
#
# A test that cannot run here (no root, a program missing) says why; the reasons are listed at the end. In CI
# (CI=true) such a skip is a failure. Tests that need root run as root when this script does; as another user,
# FLOODGATE_SUDO=1 runs the test programs (not the compiler) under sudo.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${CI:-}" = true ]; then
    export FLOODGATE_REQUIRE_ALL=1 CARGO_INCREMENTAL=0
fi
if [ "${FLOODGATE_SUDO:-}" = 1 ] && [ "$(id -u)" != 0 ]; then
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E" CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="sudo -E"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export FLOODGATE_SKIP_LOG="$scratch/skipped"

report_skipped() {
    [ -s "$FLOODGATE_SKIP_LOG" ] || return 0
    printf 'skipped here:\n'
    sort "$FLOODGATE_SKIP_LOG" | uniq -c | sed 's/^ *\([0-9]*\) /  \1 x /'
}

# Examples in the documentation first: the last lines printed are those of the main run.
if [ $# = 0 ]; then
    cargo test -q --workspace --doc
fi

status=0
if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --no-tests=pass "$@" || status=$?
    report_skipped
else
    cargo test --workspace --lib --bins --tests --no-fail-fast -- "$@" 2>&1 | tee "$scratch/log" || status=$?
    report_skipped
    awk '/^test result:/ { passed += $4; failed += $6 } END { printf "%d passed, %d failed\n", passed, failed }' "$scratch/log"
fi
exit "$status"
