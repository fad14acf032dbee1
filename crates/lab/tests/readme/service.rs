//! "With a controller": the configuration of the README, the service of packaging/, and a
//! controller in a namespace.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bgp::{PeerAs, PeerConfig};
use lab::{Netns, Speaker, needs, wait_until};

use crate::{Backend, configuration, machine_of_its_own};

/// On an emulated machine, whose kernel takes a minute or more to check the program for XDP.
const PATIENCE: Duration = Duration::from_secs(900);
const CONFIGURATION: &str = "/etc/floodgate/floodgate.toml";
/// For the service on a switch, whose cl-acltool needs more rights.
const DROP_IN: &str = "/etc/systemd/system/floodgate.service.d/cumulus.conf";

/// Runs a command; its output, both parts, and whether it succeeded.
fn run(words: &str) -> Result<(String, bool)> {
    let mut parts = words.split(' ');
    let program = parts.next().context("a program")?;
    let output = Command::new(program).args(parts).output().with_context(|| words.to_owned())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Ok((said, output.status.success()))
}

fn done(words: &str) -> Result<String> {
    let (said, success) = run(words)?;
    ensure!(success, "{words}: {said}");
    Ok(said)
}

/// All that helps to understand a failure.
fn explain() -> String {
    let commands =
        ["systemctl status --no-pager --full floodgate", "floodgate rules", "journalctl --no-pager -n 60 -u floodgate"];
    commands
        .map(|words| format!("$ {words}\n{}", run(words).map_or_else(|error| format!("{error:#}\n"), |(said, _)| said)))
        .concat()
}

/// A namespace behind an interface of this machine, gone with the value.
fn neighbour(name: &str, interface: &str, ours: &str, theirs: &str) -> Result<Netns> {
    let netns = Netns::new(name)?;
    done(&format!("ip link add {interface} type veth peer name eth0 netns {}", netns.name()))?;
    done(&format!("ip address add {ours} dev {interface}"))?;
    done(&format!("ip link set {interface} up"))?;
    netns.ip(&["address", "add", theirs, "dev", "eth0"])?;
    netns.ip(&["link", "set", "eth0", "up"])?;
    Ok(netns)
}

fn with_a_controller(backend: &'static str) -> Result<()> {
    needs!(root, "ip", "ping", "systemctl", "floodgate");
    ensure!(Path::new("/run/systemd/system").exists(), "systemd does not run here");
    let backend = Backend::new(backend)?;
    let text = configuration("With a controller")?;
    fs::write(CONFIGURATION, backend.adapt(text))?;
    if backend.switch.is_some() {
        fs::create_dir_all(Path::new(DROP_IN).parent().context("a directory")?)?;
        fs::copy("/usr/local/share/floodgate/cumulus.conf", DROP_IN)?;
    }
    done("systemctl daemon-reload")?;
    // Where filters are, and where the controller is.
    let victim = neighbour("neighbour", "swp1", "198.51.100.1/24", "198.51.100.2/24")?;
    let machine = neighbour("controller", "uplink", "192.0.2.10/24", "192.0.2.1/24")?;
    let address = Ipv4Addr::new(192, 0, 2, 1);
    let config = PeerConfig::new(65070, address, PeerAs::Exactly(65140));
    let controller = Speaker::listen(&machine, (address, 179).into(), config)?;

    let told = (|| -> Result<()> {
        done("floodgate check")?;
        done("systemctl enable --now floodgate")?;
        controller.wait_established(PATIENCE)?;
        let answers = || victim.exec("ping", &["-c", "1", "-W", "1", "198.51.100.1"]).is_ok();
        wait_until("an answer", PATIENCE, || answers().then_some(()))?;
        controller.announce_text("dst 198.51.100.1/32 proto icmp icmp-type 8 then discard")?;
        let dropped = || {
            let (rules, _) = run("floodgate rules").ok()?;
            (rules.contains("installed") && !answers()).then_some(())
        };
        wait_until("the drop", PATIENCE, dropped)?;
        done("floodgate status")?;
        done("systemctl reload floodgate")?;
        ensure!(!answers(), "a reload lets packets through");
        done("systemctl kill -s KILL floodgate")?;
        for _ in 0..3 {
            ensure!(!answers(), "a crash lets packets through");
        }
        // systemd starts it again.
        wait_until("the session after the crash", PATIENCE, || {
            (run("floodgate peers").ok()?.0.contains("established") && dropped().is_some()).then_some(())
        })?;
        controller.withdraw_text("dst 198.51.100.1/32 proto icmp icmp-type 8 then discard")?;
        wait_until("an answer", PATIENCE, || answers().then_some(()))?;
        done("systemctl stop floodgate").map(drop)
    })();
    let told = told.with_context(explain);
    let _ = run("systemctl disable --now floodgate");
    let _ = fs::remove_file(DROP_IN);
    told
}

machine_of_its_own! {
    fn readme_service_with_a_controller_nftables() { with_a_controller("nftables") }
    fn readme_service_with_a_controller_xdp() { with_a_controller("xdp") }
    fn readme_service_with_a_controller_cumulus() { with_a_controller("cumulus") }
}
