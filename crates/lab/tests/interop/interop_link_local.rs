//! Sessions over link-local addresses: both sides name the link, and a machine with the same
//! address on another link is another machine.

use anyhow::{Context, Result, ensure};
use lab::site::VICTIM;
use lab::{Daemon, End, Netns, Process, needs, veth};

use crate::{OURS, PATIENCE};

/// BIRD's address on each link, and Floodgate's.
const BIRD: &str = "fe80::1";
const FLOODGATE: &str = "fe80::10";
const BIRD_AS: u32 = 65001;

fn start_bird(netns: &Netns, directory: &tempfile::TempDir, passive: bool) -> Result<Process> {
    let path = |name: &str| directory.path().join(name).display().to_string();
    let passive = if passive { " passive yes;" } else { "" };
    let text = format!(
        "log stderr all;\nrouter id 10.0.0.1;\nflow4 table f4;\nprotocol device {{}}\n\
         protocol static {{ flow4 {{ table f4; }};\n route flow4 {{ dst {VICTIM}/32; proto = 17; sport = 123; }} \
         {{ bgp_ext_community.add((generic, 0x80060000, 0x0)); }};\n}}\n\
         protocol bgp fg {{ local {BIRD} as {BIRD_AS}; neighbor {FLOODGATE} as {OURS}; interface \"eth0\"; direct;{passive} \
         connect delay time 1; connect retry time 1; error wait time 1, 2; flow4 {{ table f4; import all; export all; }}; }}\n"
    );
    std::fs::write(directory.path().join("bird.conf"), text)?;
    let mut command = netns.command("bird")?;
    command.args(["-f", "-c", &path("bird.conf"), "-s", &path("control"), "-P", &path("pid")]);
    let mut process = Process::spawn("bird", command)?;
    process.wait_for_line("Started", PATIENCE)?;
    Ok(process)
}

fn configuration(interface: &str, passive: bool) -> String {
    format!(
        "[router]\nas = {OURS}\nid = \"203.0.113.10\"\nlisten = [\"::\"]\n[[peer]]\nname = \"bird\"\n\
         address = \"{BIRD}\"\nsource = \"{FLOODGATE}\"\nbind-interface = \"{interface}\"\nas = {BIRD_AS}\npassive = {passive}\n\
         [dataplane]\nbackend = \"none\"\n"
    )
}

fn story(passive: bool) -> Result<()> {
    let (bird, other, switch) = (Netns::new("bird")?, Netns::new("other")?, Netns::new("linklocal")?);
    let (theirs, ours) = (format!("{BIRD}/64"), format!("{FLOODGATE}/64"));
    veth(End::new(&bird, "eth0", &[&theirs]), End::new(&switch, "swp1", &[&ours]))?;
    // A machine with the same address on another link, which has no BGP.
    veth(End::new(&other, "eth0", &[&theirs]), End::new(&switch, "swp2", &[&ours]))?;
    let directory = tempfile::tempdir()?;
    let process = start_bird(&bird, &directory, !passive)?;
    let mut daemon = Daemon::start(&switch, &configuration("swp1", passive))?;
    daemon.wait_established("bird", PATIENCE).with_context(|| process.log())?;
    daemon.wait_installed(1)?;
    let peer = daemon.peer("bird")?;
    ensure!(peer.address == format!("{BIRD}%swp1"), "{peer:?}");

    // On the other link it is another machine: what BIRD sends does not count there.
    daemon.stop()?;
    daemon.configure(&configuration("swp2", passive))?;
    daemon.launch()?;
    daemon.wait_status("the start", PATIENCE, |status| status.peers == 1).map(drop)?;
    if passive {
        let refused = || daemon.log().contains("it is from another link").then_some(());
        lab::wait_until("BIRD, refused", PATIENCE, refused).with_context(|| daemon.explain())?;
    } else {
        daemon.wait_peer("bird", "a failed attempt", PATIENCE, |peer| peer.last_error.is_some())?;
    }
    ensure!(daemon.peer("bird")?.established_count == 0, "{}", daemon.explain());
    Ok(())
}

#[test]
fn interop_link_local_we_connect() -> Result<()> {
    needs!(root, "bird");
    story(false)
}

#[test]
fn interop_link_local_bird_connects() -> Result<()> {
    needs!(root, "bird");
    story(true)
}
