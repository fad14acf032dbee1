#!/usr/bin/env bash
# Compiles the program so that it runs on other machines than this one: with glibc 2.28 and later, whatever glibc is here.
#
#   scripts/packages/compile.sh ARCH SOURCE TARGET      prints where the program is
#
# ARCH is amd64 or arm64, SOURCE the tree to compile, TARGET where cargo may write. SOURCE_DATE_EPOCH and FLOODGATE_COMMIT say what
# `floodgate --version` prints. The result does not depend on where SOURCE, TARGET and cargo's registry are.
set -euo pipefail
GLIBC=2.28

die() { printf 'compile: %s\n' "$*" >&2; exit 1; }

arch=$1
source=$(realpath "$2")
mkdir -p "$3"
target=$(realpath "$3")
tools=$(realpath "$(dirname "$0")/../../target/tools")
: "${SOURCE_DATE_EPOCH:?}" "${FLOODGATE_COMMIT:?}"

case "$arch" in
amd64) triple=x86_64-unknown-linux-gnu ;;
arm64) triple=aarch64-unknown-linux-gnu ;;
*) die "unknown architecture '$arch'; there are: amd64 arm64" ;;
esac

# The first Rust that has the standard library for that machine: the one on the path, or Debian's.
path=
for bin in "$(dirname "$(command -v cargo)")" /usr/bin; do
    if [ -x "$bin/rustc" ] && [ -d "$(cd "$source" && "$bin/rustc" --print sysroot)/lib/rustlib/$triple/lib" ]; then
        path=$bin
        break
    fi
done
[ -n "$path" ] || die "no Rust here has the standard library for $triple (\`scripts/setup.sh packages\`, or \`rustup target add $triple\`)"

# The tools first: cargo-zigbuild asks the python3 on the path for Zig.
export PATH="$tools/zig/bin:$path:$PATH"
export CARGO_TARGET_DIR=$target
# Only what stands here: flags of the caller would make another program. Paths of this machine are named in none.
unset CARGO_BUILD_RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_PROFILE_RELEASE_DEBUG
registry=$(realpath -m "${CARGO_HOME:-$HOME/.cargo}")/registry/src
export RUSTFLAGS="--remap-path-prefix=$source=/usr/src/floodgate --remap-path-prefix=$target=/usr/src/floodgate/target \
--remap-path-prefix=$registry=/usr/src/registry -Clink-arg=-Wl,--build-id=sha1"
cd "$source"
cargo zigbuild --quiet --release --locked -p floodgate --target "$triple.$GLIBC" >&2
printf '%s\n' "$target/$triple/release/floodgate"
