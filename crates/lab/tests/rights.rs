//! The daemon as the unit of packaging/ starts it: a user with the unit's capabilities and no other
//! privilege. It filters, is killed, and takes over its filters.

use std::net::IpAddr;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use api::RuleState;
use lab::scenario::NTP;
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Daemon, PATIENCE, Site, needs, packet};

/// `nobody`: owner of nothing.
const USER: u32 = 65_534;
fn unit() -> Result<String> {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/floodgate.service");
    Ok(std::fs::read_to_string(unit)?)
}

/// The capabilities of the unit, as setpriv takes them: `-all,+net_admin,..`.
fn capabilities() -> Result<String> {
    let unit = unit()?;
    let names = |key: &str| -> Result<Vec<String>> {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"))?;
        Ok(line.split(' ').map(|name| name.trim_start_matches("CAP_").to_lowercase()).collect())
    };
    let ambient = names("AmbientCapabilities=")?;
    ensure!(ambient == names("CapabilityBoundingSet=")?, "what the unit gives is not what it allows");
    Ok(format!("-all,+{}", ambient.join(",+")))
}

fn launch(daemon: &mut Daemon<'_>) -> Result<()> {
    let (user, capabilities) = (USER.to_string(), capabilities()?);
    let mut arguments = vec!["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"];
    for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
        arguments.extend([set, &capabilities]);
    }
    daemon.launch_through("setpriv", &arguments)
}

fn filters_as_a_user(backend: &str) -> Result<()> {
    needs!(root, "ip", "setpriv");
    let site = Site::new()?;
    let mut wire = site.wire()?;
    // As the unit's ExecStartPre makes the place for pins, in a file system that is root's alone,
    // as systemd mounts it.
    site.switch.exec("chmod", &["700", "/sys/fs/bpf"])?;
    site.switch.exec("install", &["-d", "-m", "700", "-o", "nobody", "-g", "nogroup", "/sys/fs/bpf/floodgate"])?;
    // A secret that its owner, who is another user, keeps to himself.
    let secret = tempfile::NamedTempFile::new()?;
    std::fs::write(secret.path(), "hush\n")?;
    let configuration = format!(
        "[router]\nas = 65140\nid = \"{SWITCH}\"\n\n[[peer]]\nname = \"a\"\naddress = \"{PEER}\"\nas = 65070\npassive = true\n\
         md5-file = {:?}\n\n\
         [dataplane]\nbackend = \"{backend}\"\ninterfaces = [\"swp1\"]\nxdp.capacity = 1024\n",
        secret.path()
    );
    let mut daemon = Daemon::prepare(&site.switch, &configuration)?;
    let directory = daemon.configuration();
    chown(directory.parent().context("a directory")?, Some(USER), Some(USER))?;
    launch(&mut daemon)?;
    daemon.wait_peer("a", "its secret", PATIENCE, |peer| peer.last_error.is_none())?;
    ensure!(!daemon.log().contains("md5-file"), "{}", daemon.log());
    daemon.cli(&["announce", NTP])?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && rules[0].state == RuleState::Installed)?;
    let from = |port: u16| -> Result<Vec<u8>> {
        let (from, to): (IpAddr, IpAddr) = ("198.51.100.7".parse()?, VICTIM.parse()?);
        Ok(packet::udp((from, port).into(), (to, 4000).into(), b"data"))
    };
    let packets: Vec<Vec<u8>> = [123, 53].into_iter().map(from).collect::<Result<_>>()?;
    ensure!(wire.arrivals(&packets)? == [false, true], "{}", daemon.explain());
    // It is killed, and the next one takes over what is there.
    daemon.kill()?;
    ensure!(wire.arrivals(&packets)? == [false, true], "after the kill");
    launch(&mut daemon)?;
    daemon.wait_rules("the rule", PATIENCE, |rules| rules.len() == 1 && rules[0].state == RuleState::Installed)?;
    ensure!(wire.arrivals(&packets)? == [false, true], "{}", daemon.explain());
    daemon.stop()?;
    ensure!(wire.arrivals(&packets)? == [true, true], "filters are left");
    Ok(())
}

#[test]
fn a_group_that_the_user_is_not_in_is_an_error_with_advice() -> Result<()> {
    needs!(root, "ip", "setpriv");
    let site = Site::new()?;
    let mut daemon = Daemon::prepare(
        &site.switch,
        "[router]\nas = 65140\nid = \"192.0.2.10\"\nlisten = []\n[dataplane]\nbackend = \"none\"\n",
    )?;
    let file = daemon.configuration();
    let text = std::fs::read_to_string(&file)?;
    std::fs::write(&file, text.replace("[api]\n", "[api]\ngroup = \"adm\"\n"))?;
    chown(file.parent().context("a directory")?, Some(USER), Some(USER))?;
    let error = launch(&mut daemon).err().context("it started")?;
    let told = format!("{error:#}");
    ensure!(told.contains("SupplementaryGroups=adm"), "{told}");
    Ok(())
}

#[test]
fn the_units_capabilities_are_enough_for_nftables() -> Result<()> {
    filters_as_a_user("nftables")
}

#[test]
fn the_units_capabilities_are_enough_for_xdp() -> Result<()> {
    filters_as_a_user("xdp")
}

#[test]
fn the_unit_is_restarted_without_limit_and_starts_after_routers() -> Result<()> {
    let unit = unit()?;
    let line = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).with_context(|| format!("no {key}"));
    ensure!(line("StartLimitIntervalSec=")? == "0" && line("Restart=")? == "always");
    // systemd never shortens the pause again by itself.
    ensure!(line("RestartSec=")? == "1" && line("RestartMaxDelaySec=")?.parse::<u32>()? <= 15);
    ensure!(line("RestartSteps=")?.parse::<u32>()? > 0);
    ensure!(line("LimitNOFILE=")?.parse::<u32>()? >= 65_536);
    let before: Vec<&str> = line("After=")?.split(' ').collect();
    for router in ["bird.service", "frr.service", "gobgpd.service"] {
        ensure!(before.contains(&router), "{before:?}");
    }
    Ok(())
}

#[test]
fn the_unit_exposes_little() -> Result<()> {
    needs!("systemd-analyze");
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/floodgate.service");
    let mut command = Command::new("systemd-analyze");
    // In tenths: at most 2.0, of 10.
    let output = command.args(["security", "--offline=true", "--threshold=20", "--no-pager"]).arg(unit).output()?;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && told.contains("Overall exposure"), "{told}");
    Ok(())
}
