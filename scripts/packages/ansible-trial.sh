#!/usr/bin/env bash
# The Ansible role on the fresh Debian, after the package was purged there: part of trial.sh.
set -euo pipefail
cd /handed-in/ansible
say() { printf 'trial: %s\n' "$*"; }
die() { say "$*"; tail -n 60 play.log; exit 1; }
export HOME=/root ANSIBLE_NOCOLOR=1 ANSIBLE_ROLES_PATH=$PWD/roles LC_ALL=C.UTF-8

write_play() {
    cat >play.yml <<END
- hosts: all
  gather_facts: false
  roles:
    - role: floodgate
      floodgate_package: $1
      floodgate_secrets:
        - {name: controller.key, content: hush}
      floodgate_configuration: |
        [router]
        as = 65140
        id = "192.0.2.10"

        [[peer]]
        name = "controller"
        address = "192.0.2.1"
        as = $2
        md5-file = "/etc/floodgate/controller.key"

        [dataplane]
        backend = "none"
END
}
play() { ansible-playbook -i localhost, -c local "$@" play.yml >play.log 2>&1; }
changed() { sed -n 's/.* changed=\([0-9]*\).*/\1/p' play.log; }
peer_as() { floodgate peers --json | grep -o '"as":[0-9]*' | head -n 1; }

say "the Ansible role: check mode on a machine that has nothing"
write_play /handed-in/old.deb 65070
play --check || die "check mode failed"
[ "$(changed)" -gt 0 ] || die "check mode says that nothing would change"
[ ! -e /usr/bin/floodgate ] && [ ! -e /etc/floodgate ] || die "check mode changed the machine"

say "the Ansible role: first run, second run"
play || die "the role failed"
systemctl is-active -q floodgate || die "the service does not run"
[ "$(stat -c %a /etc/floodgate/controller.key)" = 600 ] || die "others can read the secret"
play || die "the second run failed"
[ "$(changed)" = 0 ] || die "the second run changed something"

say "the Ansible role: a changed configuration is a reload, a wrong one changes nothing, a changed package is an upgrade"
before=$(systemctl show -P MainPID floodgate)
write_play /handed-in/old.deb 65071
play --check || die "check mode failed"
[ "$(changed)" -gt 0 ] && [ "$(peer_as)" = '"as":65070' ] || die "check mode changed the configuration, or did not see it"
play || die "the change failed"
[ "$(peer_as)" = '"as":65071' ] && [ "$(systemctl show -P MainPID floodgate)" = "$before" ] || die "it was not reloaded: $(peer_as)"
write_play /handed-in/old.deb 0
! play || die "a wrong configuration was taken"
grep -q 'as = 65071' /etc/floodgate/floodgate.toml || die "a wrong configuration was written"
write_play /handed-in/new.deb 65071
play || die "the upgrade failed"
[ "$(dpkg-query -W -f '${Version}' floodgate)" = "$(dpkg-deb -f /handed-in/new.deb Version)" ] || die "it was not upgraded"
systemctl is-active -q floodgate || die "the service does not run after the upgrade"
play || die "the second run after the upgrade failed"
[ "$(changed)" = 0 ] || die "the second run after the upgrade changed something"
