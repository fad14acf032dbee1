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
check "types of errors, fields of structs" scripts/check-types.py
check "the check of types" scripts/check-types.py --self-test
check "width of comments" scripts/check-comments.py
check "the check of comments" scripts/check-comments.py --self-test
check clippy cargo clippy -q --workspace --all-targets -- -D warnings
# Outside the workspace, so that nothing else sees when what they call is renamed. libFuzzer itself is not compiled for that.
if cargo fetch -q --manifest-path fuzz/Cargo.toml 2>/dev/null; then
    check "fuzz targets" env CUSTOM_LIBFUZZER_PATH=/nonexistent/libfuzzer.a cargo clippy -q --manifest-path fuzz/Cargo.toml \
        --target-dir target/fuzz -- -D warnings
else
    printf 'lint: fuzz targets: not checked, since their crates cannot be downloaded\n'
fi
check documentation env RUSTDOCFLAGS="-D warnings" cargo doc -q --workspace --no-deps --document-private-items
# Its data base of advisories needs the network, so only the parts that do not.
if cargo deny --version >/dev/null 2>&1; then
    check "licences and sources" cargo deny --log-level error check bans licenses sources
fi

if [ ${#failed[@]} -gt 0 ]; then
    printf 'lint: failed: %s\n' "$(IFS=,; printf '%s' "${failed[*]}")" >&2
    exit 1
fi
