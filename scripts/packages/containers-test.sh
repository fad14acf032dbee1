#!/usr/bin/env bash
# What others make of the image of target/packages/out, and of the manifest for Kubernetes in the manual: `make containers-test`.
#
# skopeo reads the archive and writes it in Docker's form; Podman loads and runs it, in namespaces of its own. The manifest is compared with
# Kubernetes' own schema, every field of it. This part stands apart from `make packages-test`: Podman is much to install.
set -euo pipefail
cd "$(dirname "$0")/../.."
work=$PWD/target/packages
say() { printf 'containers-test: %s\n' "$*"; }
die() { printf 'containers-test: %s\n' "$*" >&2; exit 1; }
[ "$(id -u)" = 0 ] || die "it has to be root"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

awk '/^```yaml$/ { inside = 1; next } /^```$/ { inside = 0 } inside' docs/manual/container.md >"$scratch/daemonset.yaml"
grep -q '^kind: DaemonSet$' "$scratch/daemonset.yaml" || die "the manual has no DaemonSet"
target/tools/kubernetes/bin/kubernetes-validate --strict "$scratch/daemonset.yaml" >"$scratch/validate" 2>&1 ||
    { cat "$scratch/validate" >&2; die "the manifest is not what Kubernetes' schema says"; }
sed 's/replicas/replicaz/; s/hostNetwork/hostNetwrok/' "$scratch/daemonset.yaml" >"$scratch/wrong.yaml"
! target/tools/kubernetes/bin/kubernetes-validate --strict "$scratch/wrong.yaml" >/dev/null 2>&1 || die "the check takes a field that there is none"
say "the DaemonSet is as Kubernetes' schema says"

mapfile -t images < <(find "$work/out" -maxdepth 1 -name 'floodgate_*.oci.tar' 2>/dev/null)
[ ${#images[@]} -gt 0 ] || die "target/packages/out has no image: \`make packages\` makes one"
for image in "${images[@]}"; do
    skopeo --override-arch "$(sed 's/.*_\([a-z0-9]*\)\.oci\.tar$/\1/' <<<"$image")" inspect "oci-archive:$image" >"$scratch/inspected"
    grep -q '"org.opencontainers.image.title": "floodgate"' "$scratch/inspected" || die "skopeo does not see what it is"
    say "skopeo: $(basename "$image") is for $(sed -n 's/.*"Architecture": "\(.*\)",/\1/p' "$scratch/inspected")"
done
image=$(printf '%s\n' "${images[@]}" | grep "_$(dpkg --print-architecture)\.oci\.tar$") || die "no image for this machine"
# The same archive has the form that `docker load` has always read.
mkdir "$scratch/docker"
skopeo copy -q "docker-archive:$image" "dir:$scratch/docker"
layer=$(sed -n 's/.*"digest": *"sha256:\([0-9a-f]*\)".*/\1/p' "$scratch/docker/manifest.json" | tail -n 1)
tar -tf "$scratch/docker/$layer" | grep -qx 'usr/bin/floodgate' || die "in Docker's form the layer has no program"
say "skopeo: it is read in Docker's form, too"

mkdir "$scratch/etc"
cp scripts/packages/container-story.sh "$scratch/story"
(. "$scratch/story" && write_configuration "$scratch/etc/floodgate.toml")
cat >"$scratch/inside" <<'INSIDE'
set -euo pipefail
scratch=$1 image=$2 log=$1/log who=containers-test
. "$scratch/story"
make_neighbour
mkdir -p "$scratch/storage"
mount -t tmpfs storage "$scratch/storage"
# Control groups of one version only, whatever this machine has.
umount -R /sys/fs/cgroup 2>/dev/null || true
mount -t cgroup2 cgroup /sys/fs/cgroup
# No systemd here; the rights are those of the manual.
podman() { command podman --root "$scratch/storage/root" --runroot /run/podman --storage-driver vfs --cgroup-manager cgroupfs --events-backend none --runtime crun "$@"; }
loaded=$(podman load -q -i "$image" | sed -n 's/^Loaded image[^:]*: *//p' | head -n 1)
say "podman load: $loaded"
[[ $loaded == localhost/floodgate:* ]] || die "that is not what the manual calls it"
run_container() {
    podman run --name floodgate --network host --cgroups disabled --read-only --cap-drop ALL --cap-add NET_ADMIN --cap-add NET_BIND_SERVICE \
        -v "$scratch/etc:/etc/floodgate:ro" -v floodgate-run:/run/floodgate -v floodgate-state:/var/lib/floodgate "$loaded"
}
stop_container() { podman kill -s TERM floodgate >/dev/null; }
inside() { podman exec floodgate /usr/bin/floodgate "$@"; }
tell_story
podman rm -f floodgate >/dev/null
INSIDE
timeout -k 10 1200 unshare --mount --pid --net --ipc --uts --fork --kill-child --mount-proc bash "$scratch/inside" "$scratch" "$image" ||
    die "podman did not run it"
say "passed"
