#!/usr/bin/env bash
# Runs the image of target/packages/out as a container is run, with nothing but what is in it, and looks whether it filters: part of
# `make packages-test`.
#
# Namespaces for mounts, processes and the network, a root directory that is the image's, and the rights that the manual names (container.md).
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/packages
die() { printf 'oci-test: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "it has to be root"
mapfile -t images < <(find "$work/out" -maxdepth 1 -name 'floodgate_*_'"$(dpkg --print-architecture)"'.oci.tar')
[ ${#images[@]} = 1 ] || die "target/packages/out has ${#images[@]} images for this machine: \`make packages\` makes one"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/layout" "$scratch/root"
tar -xf "${images[0]}" -C "$scratch/layout"
# From the index to the layer, each blob as its digest says.
python3 - "$scratch/layout" <<'PYTHON' >"$scratch/layer"
import hashlib, json, sys
def blob(descriptor):
    kind, digest = descriptor["digest"].split(":")
    path = f"{sys.argv[1]}/blobs/{kind}/{digest}"
    content = open(path, "rb").read()
    assert hashlib.new(kind, content).hexdigest() == digest and len(content) == descriptor["size"], descriptor
    return path, content
index = json.load(open(f"{sys.argv[1]}/index.json"))
manifest = json.loads(blob(index["manifests"][0])[1])
config = json.loads(blob(manifest["config"])[1])
assert config["config"]["Entrypoint"] == ["/usr/bin/floodgate"] and config["config"]["Cmd"] == ["run"], config
print(blob(manifest["layers"][0])[0])
PYTHON
tar -xzf "$(cat "$scratch/layer")" -C "$scratch/root"
for path in bin/sh etc/passwd etc/group; do
    [ ! -e "$scratch/root/$path" ] || die "the image has /$path"
done
cp scripts/packages/container-story.sh "$scratch/story"
(. "$scratch/story" && write_configuration "$scratch/root/etc/floodgate/floodgate.toml")
cat >"$scratch/inside" <<'INSIDE'
set -euo pipefail
scratch=$1 root=$1/root log=$1/log who=oci-test
. "$scratch/story"
make_neighbour
mount -t proc proc "$root/proc"
# SYS_CHROOT is for chroot alone.
inside() { env -i PATH="$PATH" setpriv --bounding-set=-all,+net_admin,+net_bind_service,+sys_chroot --inh-caps=-all chroot "$root" /usr/bin/floodgate "$@"; }
run_container() { inside run; }
stop_container() { kill -TERM "$(pgrep -x floodgate)"; }
tell_story
INSIDE
timeout -k 10 1200 unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc bash "$scratch/inside" "$scratch"
