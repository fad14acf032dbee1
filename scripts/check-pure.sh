#!/usr/bin/env bash
# The core decides without sockets, clocks and processes. A dependency that brings them in would make that promise
# untestable, so the trees of the pure crates may not name any; nor may a crate import upwards.
set -euo pipefail
cd "$(dirname "$0")/.."

status=0

# refuse CRATE REASON NAME...: the normal dependencies of CRATE, direct or not, may not be among the names.
refuse() {
    local crate=$1 reason=$2 tree name
    shift 2
    if [ ! -d "crates/$crate" ]; then
        printf 'crates/%s is missing: this check would say nothing about it\n' "$crate" >&2
        status=1
        return
    fi
    tree=$(cargo tree -q --locked -p "$crate" -e normal --prefix none --format '{p}' | cut -d ' ' -f 1 | sort -u)
    for name in "$@"; do
        if grep -qx "$name" <<<"$tree"; then
            printf '%s depends on %s: %s\n' "$crate" "$name" "$reason" >&2
            status=1
        fi
    done
}

for crate in flowspec bgp engine api exabgp; do
    refuse "$crate" "the core is pure" tokio libc mio socket2 rustix nix async-io hyper
    if ! grep -q '^#!\[forbid(unsafe_code)\]' "crates/$crate/src/lib.rs"; then
        printf 'crates/%s/src/lib.rs lacks #![forbid(unsafe_code)]\n' "$crate" >&2
        status=1
    fi
done
# From the ground up: which crates each one may not import.
refuse flowspec "it stands alone" bgp engine dataplane api config exabgp daemon floodgate lab
refuse bgp "it knows only what a rule is" engine dataplane api config exabgp daemon floodgate lab
refuse engine "it knows nothing of sessions" bgp dataplane api config exabgp daemon floodgate lab
refuse api "who asks the daemon needs nothing of it" bgp engine dataplane config exabgp daemon floodgate lab
refuse exabgp "it hands out routes, and knows none of those who take them" engine dataplane api config daemon floodgate lab
refuse dataplane "a back end knows nothing of BGP" bgp api config exabgp daemon floodgate lab
refuse config "it is about a file" bgp exabgp daemon floodgate lab tokio
refuse daemon "the command line is above it" floodgate lab
refuse floodgate "the laboratory is for tests" lab
refuse lab "it starts the program, and knows nothing of its inside" engine dataplane config exabgp daemon floodgate
exit "$status"
