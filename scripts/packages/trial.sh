#!/usr/bin/env bash
# What scripts/packages/test.sh does on the fresh Debian, as root: the life of the package old.deb, upgraded to new.deb under traffic.
set -euo pipefail
cd /handed-in
PACKETS=${PACKETS:-100000}

say() { printf 'trial: %s\n' "$*"; }
die() {
    printf 'trial: %s\n' "$*"
    systemctl --no-pager status floodgate || true
    journalctl --no-pager -u floodgate | tail -n 40 || true
    nft list ruleset | head -n 60
    exit 1
}
# Waits until a command succeeds.
until_true() {
    local end=$((SECONDS + 120))
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || die "waited in vain for: $*"
        sleep 0.1
    done
}
property() { systemctl show -P "$1" floodgate; }
there() { nft list table ip floodgate >/dev/null 2>&1; }
install() { DEBIAN_FRONTEND=noninteractive dpkg -i "$1"; }
is_in_force() { floodgate rules --json | grep -q '"state":"installed"'; }
# Packets that a neighbour gets an answer to, of those it sends.
answered() { ip netns exec neighbour ping -q "$@" 2>&1 | sed -n 's/.* \([0-9]*\) received.*/\1/p'; }

is_answered() { [ "$(answered -c 1 -W 1 "$1")" = 1 ]; }
has_ended() { ! pgrep -x floodgate; }

ip link set lo up

say "install: no configuration, no start, no attempts"
install old.deb
[ "$(property ActiveState)" = inactive ] && [ "$(property NRestarts)" = 0 ] || die "it is $(property ActiveState) with $(property NRestarts) restarts"
[ "$(property ConditionResult)" = no ] || die "the unit's condition does not hold it back"
[ -z "$(systemctl list-units --state=failed --no-legend 'floodgate*')" ] || die "it failed"
[ "$(systemctl is-enabled floodgate)" = enabled ] || die "it is not enabled"
id floodgate >/dev/null
[ "$(stat -c '%a %U %G' /etc/floodgate)" = '750 root floodgate' ] || die "/etc/floodgate is $(stat -c '%a %U %G' /etc/floodgate)"
[ -z "$(ls -A /etc/floodgate)" ] || die "there is something in /etc/floodgate"
for file in man/man1/floodgate.1.gz man/man5/floodgate.toml.5.gz bash-completion/completions/floodgate zsh/vendor-completions/_floodgate \
    fish/vendor_completions.d/floodgate.fish doc/floodgate/examples/floodgate.toml doc/floodgate/sbom.cdx.json \
    floodgate/prometheus/floodgate.rules.yml floodgate/grafana/floodgate.json doc/floodgate/manual/install.md; do
    # Debian's images for containers leave documents out by a rule of dpkg; this one does not.
    [ -s "/usr/share/$file" ] || die "no /usr/share/$file"
done
floodgate --version | tee version
grep -qE '^floodgate [0-9.]+ \([0-9a-f]{12}, 20[0-9-]{8}; nftables, xdp, cumulus, sonic, flower\)$' version || die "the version lacks its commit, its date, or a back end"
floodgate check -c /usr/share/doc/floodgate/examples/floodgate.toml

say "the README's first dropped packet"
mkdir -p /root/first
(cd /root/first && bash /handed-in/first-packet.sh /handed-in/README.md) || die "the README's first dropped packet"
until_true has_ended

say "configure and start, as the README says"
ip netns add neighbour
ip link add fg-test type veth peer name eth0 netns neighbour
ip address add 198.51.100.1/24 dev fg-test
ip address add 198.51.100.3/24 dev fg-test
ip link set fg-test up
ip -n neighbour address add 198.51.100.2/24 dev eth0
ip -n neighbour link set eth0 up
cat >/etc/floodgate/floodgate.toml <<'END'
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
systemctl enable --now floodgate
[ "$(property ActiveState)" = active ] || die "it does not run"
user=$(ps -o user:20= -p "$(property MainPID)")
[ "$user" = floodgate ] || die "it runs as $user"
systemd-analyze security floodgate --threshold=20 --no-pager >exposure || { tail -n 1 exposure; die "the unit exposes more than 2.0"; }
tail -n 1 exposure
[ "$(property WatchdogUSec)" = 30s ] || die "no watchdog"
journalctl -u floodgate -o json --no-pager | grep -q '"PRIORITY":"6"' || die "the journal does not know how important a line is"
until_true is_answered 198.51.100.1
floodgate announce 'dst 198.51.100.1/32 proto icmp icmp-type 8 then discard'
[ "$(answered -c 2 -W 1 198.51.100.1)" = 0 ] || die "the rule drops nothing"
floodgate health
floodgate support -o /root/report.tar.gz
tar -tzf /root/report.tar.gz | grep -q nftables || die "the archive for the report of a problem lacks the filters"

say "the watchdog: a daemon that hangs is replaced, and its filters drop meanwhile"
hung=$(property MainPID)
kill -STOP "$hung"
is_another() { [ "$(property MainPID)" != "$hung" ] && is_in_force; }
[ "$(answered -c 2 -W 1 198.51.100.1)" = 0 ] || die "the rule drops nothing while the daemon hangs"
until_true is_another
[ "$(answered -c 2 -W 1 198.51.100.1)" = 0 ] || die "the rule drops nothing after the watchdog"

# Sends packets that are to be dropped until another has ended, and PACKETS at least; says how many were answered.
probe() {
    local name=$1
    shift
    : >"$name.sent"
    ip netns exec neighbour ping -q -i 0.002 -c "$PACKETS" -W 1 198.51.100.1 >"$name.ping" 2>&1 &
    local pid=$! rounds=0
    while kill -0 "$pid" 2>/dev/null; do
        "$@" >>"$name.log" 2>&1 || die "$* failed: $name.log"
        rounds=$((rounds + 1))
    done
    wait "$pid" || true
    grep -q transmitted "$name.ping" || { cat "$name.ping"; die "ping did not run"; }
    say "$rounds rounds of $*: $(grep transmitted "$name.ping")"
}
received() { sed -n 's/.* \([0-9]*\) received.*/\1/p' "$1.ping"; }
up_and_down() {
    install new.deb
    until_true is_in_force
    install old.deb
    until_true is_in_force
}

say "upgrade and downgrade, rules in force, $PACKETS packets that are to be dropped meanwhile"
before=$(property MainPID)
# Once before the long probe: a policy of this machine may keep the package from starting anything.
up_and_down
[ "$(property MainPID)" != "$before" ] || die "the daemon was not replaced"
before=$(property MainPID)
probe upgrade up_and_down
[ "$(property MainPID)" != "$before" ] || die "the daemon was not replaced"
[ "$(received upgrade)" = 0 ] || die "$(received upgrade) packets got through"
[ ! -e /run/floodgate/keep-filters ] || die "the mark of the upgrade stayed"
[ "$(answered -c 2 198.51.100.3)" = 2 ] || die "what no rule names does not get through"
[ "$(dpkg-query -W -f '${Version}' floodgate)" = "$(dpkg-deb -f old.deb Version)" ] || die "it was not downgraded"

say "the probe sees a gap where there is one: a restart with on-exit = \"remove\""
PACKETS=2000 probe restart systemctl restart floodgate
[ "$(received restart)" -gt 0 ] || die "the probe saw no gap"

say "remove: filters and service go, the configuration stays"
until_true is_in_force
dpkg -r floodgate
! there || die "filters stayed"
is_answered 198.51.100.1 || die "something still drops"
[ -s /etc/floodgate/floodgate.toml ] || die "the configuration is gone"
[ ! -e /lib/systemd/system/floodgate.service ] || die "the unit stayed"

say "install again: it starts with the configuration and the rules that were there"
install new.deb
until_true is_in_force
[ "$(answered -c 1 -W 1 198.51.100.1)" = 0 ] || die "the rule is not in force"

say "on-exit = \"keep\": filters stay at a removal, and go with a purge"
sed -i 's/^backend/on-exit = "keep"\n&/' /etc/floodgate/floodgate.toml
systemctl reload floodgate
dpkg -r floodgate | tee removal.log
there || die "filters went"
grep -q 'still in force' removal.log || die "the removal does not say that filters stay"
dpkg -P floodgate
! there || die "filters stayed"
for path in /etc/floodgate /var/lib/floodgate /run/floodgate /usr/share/doc/floodgate /usr/bin/floodgate; do
    [ ! -e "$path" ] || die "$path stayed"
done
[ -z "$(systemctl list-units --state=failed --no-legend 'floodgate*')" ] || die "systemd has a failed service of it"
bash ./ansible-trial.sh
say "passed"
