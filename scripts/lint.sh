#!/usr/bin/env bash
# What CI refuses. All checks run, so that one call shows everything there is to mend.
set -uo pipefail
cd "$(dirname "$0")/.."

failed=()
check() {
    local name=$1
    shift
    printf 'lint: %s\n' "$name"
    "$@" || failed+=("$name")
}

check formatting cargo fmt --all --check
check "file sizes" scripts/check-sizes.sh
check "purity of the core" scripts/check-pure.sh
check "circles between crates or files" scripts/check-circles.py
check "the check of circles" scripts/check-circles.py --self-test
check clippy cargo clippy -q --workspace --all-targets -- -D warnings
check documentation env RUSTDOCFLAGS="-D warnings" cargo doc -q --workspace --no-deps --document-private-items
# Its data base of advisories needs the network, so only the parts that do not.
if cargo deny --version >/dev/null 2>&1; then
    check "licences and sources" cargo deny --log-level error check bans licenses sources
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: failed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
    exit 1
fi
