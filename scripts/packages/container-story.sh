# What a container of the image has to do; to be sourced, as root, in namespaces of its own for mounts, processes and the network. The caller has:
#
#   run_container        runs the daemon, and ends with it
#   stop_container       SIGTERM
#   inside ARGUMENT..    a command of the program in the container
#
# and $log, where the daemon's output goes, and $who for messages.
say() { printf '%s: %s\n' "$who" "$*"; }
die() { say "$*"; cat "$log"; exit 1; }
answered() { ip netns exec neighbour ping -q "$@" 198.51.100.1 2>&1 | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }
until_true() { for _ in $(seq 600); do "$@" >/dev/null 2>&1 && return; sleep 0.2; done; die "waited in vain for: $*"; }

# The configuration that goes with it.
write_configuration() {
    cat >"$1" <<'END'
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
}

make_neighbour() {
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
}

# It filters, and takes its filters out at its end.
tell_story() {
    local pid
    run_container >"$log" 2>&1 &
    pid=$!
    # What has ended will not start any more.
    started_or_ended() { ! kill -0 "$pid" || inside health; }
    until_true started_or_ended
    kill -0 "$pid" 2>/dev/null || die "it ended"
    [ "$(answered -c 2)" = 2 ] || die "no answer without a rule"
    inside announce 'dst 198.51.100.1/32 proto icmp icmp-type 8 then discard'
    [ "$(answered -c 2 -W 1)" = 0 ] || die "the rule drops nothing"
    inside health
    say "it filters, with NET_ADMIN and NET_BIND_SERVICE alone, without a shell, /etc/passwd and /etc/group"
    stop_container
    wait "$pid" || die "it ended with $?"
    [ "$(answered -c 2)" = 2 ] || die "filters stayed"
    say "SIGTERM ends it, and its filters"
}
