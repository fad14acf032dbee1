#!/usr/bin/env bash
# Follows "Your first dropped packet" of the README with the floodgate on the path, in the current directory: for scripts that installed the package.
#
#   scripts/packages/first-packet.sh README
set -euo pipefail
die() { cat first.log; printf 'first-packet: %s\n' "$*"; exit 1; }

awk '/^## / { inside = ($0 == "## Your first dropped packet") }
     inside && /^\$ / { command = substr($0, 3); print command
                        if (command ~ /&$/) print "until floodgate status --json 2>/dev/null | grep -q \"\\\"dataplane\\\":\\\"applied\\\"\"; do sleep 0.1; done"
                        if (command ~ /ping/) print "echo \"@ping $?\"" }
     inside && /^>/ { sub(/^> ?/, ""); print }' "$1" >first
timeout 300 bash -m first >first.log 2>&1 </dev/null || die "the README's commands failed"
pings=$(grep -o '^@ping [0-9]*' first.log | tr '\n' ' ')
[ "$pings" = '@ping 0 @ping 1 @ping 0 ' ] || die "pings ended with $pings"
