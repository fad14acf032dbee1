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
cat >"$scratch/root/etc/floodgate/floodgate.toml" <<'END'
[router]
as = 65140
id = "192.0.2.10"
listen = []

[protect]
presets = ["ssh"]

[dataplane]
backend = "nftables"
interfaces = ["fg-test"]
END
cat >"$scratch/inside" <<'INSIDE'
set -euo pipefail
root=$1
say() { printf 'oci-test: %s\n' "$*"; }
die() { say "$*"; cat "$root/../log"; exit 1; }
ip link set lo up
mount --make-rprivate /
mount -t tmpfs run /run
mkdir -p /run/netns
ip netns add neighbour
ip link add fg-test type veth peer name eth0 netns neighbour
ip address add 198.51.100.1/24 dev fg-test
ip link set fg-test up
ip -n neighbour address add 198.51.100.2/24 dev eth0
ip -n neighbour link set eth0 up
mount -t proc proc "$root/proc"
# SYS_CHROOT is for chroot alone.
inside() { env -i PATH="$PATH" setpriv --bounding-set=-all,+net_admin,+net_bind_service,+sys_chroot --inh-caps=-all chroot "$root" /usr/bin/floodgate "$@"; }
answered() { ip netns exec neighbour ping -q "$@" 198.51.100.1 2>&1 | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }
until_true() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; die "waited in vain for: $*"; }

inside run >"$root/../log" 2>&1 &
pid=$!
# What has ended will not start any more.
started() { kill -0 "$pid" || die "it ended"; inside health; }
until_true started
[ "$(answered -c 2)" = 2 ] || die "no answer without a rule"
inside announce 'dst 198.51.100.1/32 proto icmp icmp-type 8 then discard'
[ "$(answered -c 2 -W 1)" = 0 ] || die "the rule drops nothing"
inside health
say "it filters, with NET_ADMIN and NET_BIND_SERVICE alone, without a shell, /etc/passwd and /etc/group"
kill -TERM "$(pgrep -P "$pid" || echo "$pid")"
wait "$pid" || die "it ended with $?"
[ "$(answered -c 2)" = 2 ] || die "filters stayed"
say "SIGTERM ends it, and its filters"
INSIDE
timeout -k 10 1200 unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc bash "$scratch/inside" "$scratch/root"
