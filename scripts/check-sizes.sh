#!/usr/bin/env bash
# One file, one idea: warns above 600 lines, refuses above 800.
set -euo pipefail
cd "$(dirname "$0")/.."

git ls-files -z '*.rs' '*.c' '*.h' '*.sh' | xargs -0 -r wc -l | awk '
    $2 == "total" { next }
    $1 > 800 { printf "%s has %d lines: split it by idea (limit 800)\n", $2, $1; bad = 1; next }
    $1 > 600 { printf "%s has %d lines: consider a split (limit 800)\n", $2, $1 }
    END { exit bad }'
