#!/bin/bash
# The package of another processor, in the virtual machine that scripts/kernels.sh boots for it: installed, the README's first dropped packet, purged.
# FG_package is its file.
set -euo pipefail
# The programs are unpacked and not set up (scripts/kernels.sh), so dpkg knows of no package that it could depend on.
dpkg --force-depends -i "$FG_package"
dpkg-query -W -f '${Architecture} ${Version}\n' floodgate
floodgate --version
floodgate check -c /usr/share/doc/floodgate/examples/floodgate.toml
id floodgate
mkdir -p /tmp/first
cd /tmp/first
bash "$FG_source/scripts/packages/first-packet.sh" "$FG_source/README.md"
dpkg --force-depends -P floodgate
[ ! -e /usr/bin/floodgate ] || exit 1
