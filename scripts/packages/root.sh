# Functions for scripts that run something in another root directory, in namespaces of its own; to be sourced. All of it is as root.

# A root directory with the files of TREE, which stay as they are; what changes goes to LAYER. Call it in a mount namespace of its own.
#   mount_root TREE LAYER      sets root
mount_root() {
    local device
    mkdir -p "$2/upper" "$2/work" "$2/root"
    mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
    root=$2/root
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    mount -t tmpfs -o mode=755 dev "$root/dev"
    mkdir "$root/dev/pts" "$root/dev/shm"
    for device in null zero full random urandom tty; do
        touch "$root/dev/$device"
        mount --bind "/dev/$device" "$root/dev/$device"
    done
    mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
    ln -s pts/ptmx "$root/dev/ptmx"
    ln -s /proc/self/fd "$root/dev/fd"
    mount -t tmpfs -o mode=755 run "$root/run"
}

# Makes the root directory of mount_root that of this process, without any way back, and shows DIRECTORY there as /handed-in.
#   enter_root DIRECTORY
enter_root() {
    mkdir -p "$root/handed-in"
    mount --bind "$1" "$root/handed-in"
    cd "$root"
    mkdir -p mnt
    pivot_root . mnt
    umount -l /mnt
}

# Runs the commands of the file NAME of DIRECTORY in a root directory with the files of TREE. `--network` leaves it this machine's network.
#   run_in_root [--network] TREE LAYER DIRECTORY NAME
run_in_root() {
    local net=--net
    if [ "$1" = --network ]; then
        net=
        shift
    fi
    # shellcheck disable=SC2016,SC2086
    unshare --mount --pid --ipc --uts $net --fork --kill-child bash -euc '
        . "$1"
        mount --make-rprivate /
        mount_root "$2" "$3"
        enter_root "$4"
        ip link set lo up 2>/dev/null || true
        exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LC_ALL=C.UTF-8 bash "/handed-in/$5"
    ' - "$(realpath scripts/packages/root.sh)" "$@" </dev/null
}
