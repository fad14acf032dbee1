//! Kinds of links: a VRF, a VLAN, a bond, a bridge, a tunnel without Ethernet header, a virtual
//! machine's network card. On each of them a packet is filtered exactly once.
//!
//! They run here as far as this kernel supports them, and in other kernels with `make kernels`
//! (scripts/kernels/tests).

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use anyhow::{Context, Result, ensure};
use api::{AttachmentMode, RuleState, RuleView};
use lab::{Daemon, End, Netns, PATIENCE, needs, packet, skip_for_kernel, veth, wait_until};

const FILTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SENDER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Ports of the receiver: one is filtered, one only counted, no rule names the last.
const DISCARDED: u16 = 9;
const COUNTED: u16 = 10;
const OPEN: u16 = 11;
/// Datagrams to each.
const EACH: u64 = 5;

/// A machine that sends, and one that filters what it receives.
struct Pair {
    sender: Netns,
    filter: Netns,
}

impl Pair {
    fn new() -> Result<Self> {
        Ok(Pair { sender: Netns::new("links-s")?, filter: Netns::new("links-f")? })
    }

    /// A cable: `p{n}` at the sender, `swp{n}` at the filter, without addresses.
    fn cable(&self, n: u8) -> Result<()> {
        let (p, swp) = (format!("p{n}"), format!("swp{n}"));
        veth(End::new(&self.sender, &p, &[]), End::new(&self.filter, &swp, &[]))
    }

    fn sender_address(&self, interface: &str) -> Result<()> {
        address(&self.sender, SENDER, interface)
    }

    fn filter_address(&self, interface: &str) -> Result<()> {
        address(&self.filter, FILTER, interface)
    }

    /// Datagrams to a port of the filter, through the sender's sockets.
    fn send(&self, port: u16) -> Result<()> {
        let socket = self.sender.run(|| UdpSocket::bind((SENDER, 0)))?;
        (0..EACH).try_for_each(|n| socket.send_to(&[n as u8], (FILTER, port)).map(drop).map_err(Into::into))
    }

    /// Two rules in force at the filter; what arrives there and what they count, when `send` sends
    /// to a port.
    fn check(&self, dataplane: &str, send: impl Fn(u16) -> Result<()>) -> Result<()> {
        let mut daemon = Daemon::start(&self.filter, &configuration(dataplane))?;
        announce(&daemon)?;
        let installed =
            |rules: &[RuleView]| rules.len() == 2 && rules.iter().all(|rule| rule.state == RuleState::Installed);
        // A run before this one may have counted, and left its counters.
        let before = counts(&daemon.wait_rules("both rules in force", PATIENCE, installed)?);
        let arrived = self.arrivals(&send).with_context(|| daemon.explain())?;
        ensure!(arrived == [0, EACH, EACH], "arrived {arrived:?}: {}", daemon.explain());
        let all = before.map(|count| count + EACH);
        let counted = |rules: &[RuleView]| counts(rules).iter().zip(all).all(|(count, all)| *count >= all);
        let counted = counts(&daemon.wait_rules("what they count", PATIENCE, counted)?);
        ensure!(counted == all, "{counted:?}, and not once each, {all:?}: {}", daemon.explain());
        // With its filters, so that the next run counts from zero; one that is too slow is killed,
        // and its counters stay.
        let _ = daemon.stop();
        Ok(())
    }

    /// How many datagrams came to each port.
    fn arrivals(&self, send: &impl Fn(u16) -> Result<()>) -> Result<[u64; 3]> {
        let receivers = [DISCARDED, COUNTED, OPEN].map(|port| -> Result<UdpSocket> {
            let socket = self.filter.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))?;
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        let mut arrived = [0; 3];
        for port in [DISCARDED, COUNTED, OPEN] {
            send(port)?;
        }
        // The last ones come when all others have come.
        wait_until("the datagrams that no rule names", PATIENCE, || {
            for (arrived, receiver) in arrived.iter_mut().zip(&receivers) {
                let Ok(receiver) = receiver else { continue };
                while receiver.recv(&mut [0; 64]).is_ok() {
                    *arrived += 1;
                }
            }
            (arrived[2] >= EACH).then_some(())
        })?;
        receivers.into_iter().collect::<Result<Vec<_>>>()?;
        Ok(arrived)
    }
}

/// What the rules for the first two ports have counted.
fn counts(rules: &[RuleView]) -> [u64; 2] {
    [DISCARDED, COUNTED].map(|port| {
        let rule = rules.iter().find(|rule| {
            rule.text.ends_with(&format!("dport {port}")) || rule.text.contains(&format!("dport {port} "))
        });
        rule.and_then(|rule| rule.packets).unwrap_or(0)
    })
}

/// Makes a link of a kind that not every kernel has; false, and said, where this one has not.
fn add_link(netns: &Netns, arguments: &[&str]) -> Result<bool> {
    match netns.ip(&[&["link", "add"], arguments].concat()) {
        Ok(_) => Ok(true),
        Err(error) if error.to_string().contains("Unknown device type") => {
            skip_for_kernel(&format!("this kernel has no such links: {}", arguments.join(" ")));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn address(netns: &Netns, address: Ipv4Addr, interface: &str) -> Result<()> {
    netns.ip(&["address", "add", &format!("{address}/24"), "dev", interface])?;
    netns.ip(&["link", "set", interface, "up"]).map(drop)
}

fn configuration(dataplane: &str) -> String {
    format!("[router]\nas = 65140\nid = \"192.0.2.1\"\nlisten = []\n\n[dataplane]\nxdp.capacity = 1024\n{dataplane}\n")
}

fn announce(daemon: &Daemon<'_>) -> Result<()> {
    for (port, action) in [(DISCARDED, "discard"), (COUNTED, "accept")] {
        // What it prints depends on whether the rule could be put in force, which is what the tests
        // look at.
        let _ = daemon.cli(&["announce", &format!("dst {FILTER}/32 proto udp dport {port} then {action}")]);
    }
    Ok(())
}

const NFTABLES: &str = "backend = \"nftables\"";

fn xdp(interfaces: &str) -> String {
    format!("backend = \"xdp\"\ninterfaces = [{interfaces}]")
}

/// A port of the filter in a VRF.
fn vrf() -> Result<Option<Pair>> {
    let pair = Pair::new()?;
    pair.cable(1)?;
    if !add_link(&pair.filter, &["vrf1", "type", "vrf", "table", "10"])? {
        return Ok(None);
    }
    pair.filter.ip(&["link", "set", "vrf1", "up"])?;
    pair.filter.ip(&["link", "set", "swp1", "master", "vrf1"])?;
    // So that a socket that is in no VRF hears what comes in through one.
    pair.filter.sysctl("net.ipv4.udp_l3mdev_accept", "1")?;
    pair.filter_address("swp1")?;
    pair.sender_address("p1")?;
    Ok(Some(pair))
}

#[test]
fn links_vrf_nftables() -> Result<()> {
    needs!(root, "ip", "nft");
    let Some(pair) = vrf()? else { return Ok(()) };
    // Such packets pass netfilter's hook twice: as they come in, and once more as of the VRF.
    pair.check(NFTABLES, |port| pair.send(port))?;
    pair.check(&format!("{NFTABLES}\ninterfaces = [\"swp1\"]"), |port| pair.send(port))
}

#[test]
fn links_vrf_xdp() -> Result<()> {
    needs!(root, "ip");
    let Some(pair) = vrf()? else { return Ok(()) };
    pair.check(&xdp("\"swp1\""), |port| pair.send(port))
}

/// A VLAN on the cable.
fn vlan() -> Result<Option<Pair>> {
    let pair = Pair::new()?;
    pair.cable(1)?;
    for (netns, port, name) in [(&pair.sender, "p1", "p1.7"), (&pair.filter, "swp1", "swp1.7")] {
        if !add_link(netns, &["link", port, "name", name, "type", "vlan", "id", "7"])? {
            return Ok(None);
        }
    }
    pair.sender_address("p1.7")?;
    pair.filter_address("swp1.7")?;
    Ok(Some(pair))
}

#[test]
fn links_vlan_nftables() -> Result<()> {
    needs!(root, "ip", "nft");
    let Some(pair) = vlan()? else { return Ok(()) };
    pair.check(NFTABLES, |port| pair.send(port))?;
    pair.check(&format!("{NFTABLES}\ninterfaces = [\"swp1.7\"]"), |port| pair.send(port))
}

#[test]
fn links_vlan_xdp() -> Result<()> {
    needs!(root, "ip");
    let Some(pair) = vlan()? else { return Ok(()) };
    pair.check(&xdp("\"swp1\""), |port| pair.send(port))?;
    pair.check(&xdp("\"swp1.7\""), |port| pair.send(port))
}

/// Two cables that are one link.
fn bond() -> Result<Option<Pair>> {
    let pair = Pair::new()?;
    for n in [1, 2] {
        pair.cable(n)?;
    }
    for (netns, ports) in [(&pair.sender, ["p1", "p2"]), (&pair.filter, ["swp1", "swp2"])] {
        if !add_link(netns, &["bond0", "type", "bond", "mode", "balance-rr"])? {
            return Ok(None);
        }
        for port in ports {
            netns.ip(&["link", "set", port, "down"])?;
            netns.ip(&["link", "set", port, "master", "bond0"])?;
            netns.ip(&["link", "set", port, "up"])?;
        }
    }
    pair.sender_address("bond0")?;
    pair.filter_address("bond0")?;
    Ok(Some(pair))
}

#[test]
fn links_bond_nftables() -> Result<()> {
    needs!(root, "ip", "nft");
    let Some(pair) = bond()? else { return Ok(()) };
    pair.check(NFTABLES, |port| pair.send(port))
}

#[test]
fn links_bond_xdp() -> Result<()> {
    needs!(root, "ip");
    let Some(pair) = bond()? else { return Ok(()) };
    pair.check(&xdp("\"swp?\""), |port| pair.send(port))?;
    pair.check(&xdp("\"bond0\""), |port| pair.send(port))
}

/// The filter's address is on a bridge.
fn bridge() -> Result<Option<Pair>> {
    let pair = Pair::new()?;
    pair.cable(1)?;
    if !add_link(&pair.filter, &["br0", "type", "bridge"])? {
        return Ok(None);
    }
    pair.filter.ip(&["link", "set", "swp1", "master", "br0"])?;
    pair.filter_address("br0")?;
    pair.sender_address("p1")?;
    Ok(Some(pair))
}

#[test]
fn links_bridge_nftables() -> Result<()> {
    needs!(root, "ip", "nft");
    let Some(pair) = bridge()? else { return Ok(()) };
    pair.check(NFTABLES, |port| pair.send(port))
}

#[test]
fn links_bridge_xdp() -> Result<()> {
    needs!(root, "ip");
    let Some(pair) = bridge()? else { return Ok(()) };
    pair.check(&xdp("\"swp1\""), |port| pair.send(port))?;
    pair.check(&xdp("\"br0\""), |port| pair.send(port))
}

/// A link whose packets begin with the IP header, and its far end.
struct Tunnel {
    pair: Pair,
    far: File,
}

impl Tunnel {
    fn new() -> Result<Self> {
        let pair = Pair::new()?;
        let far = pair.filter.run(|| tun("tun0"))?;
        pair.filter_address("tun0")?;
        Ok(Tunnel { pair, far })
    }

    fn send(&self, port: u16) -> Result<()> {
        let (from, to) = (SocketAddr::from((SENDER, 1024)), SocketAddr::from((FILTER, port)));
        (0..EACH).try_for_each(|n| Ok((&self.far).write_all(&packet::udp(from, to, &[n as u8]))?))
    }
}

/// Makes an interface that a program is the far end of.
fn tun(name: &str) -> Result<File> {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("/dev/net/tun")?;
    // SAFETY: zeros are a value of this struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = octet as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: an open descriptor, and a struct of the kind that this request takes, which lives
    // until the call returns.
    let result = unsafe { libc::ioctl(file.as_raw_fd(), TUNSETIFF, &raw mut request) };
    ensure!(result == 0, "make {name}: {}", std::io::Error::last_os_error());
    Ok(file)
}

#[test]
fn links_tun_nftables() -> Result<()> {
    needs!(root, "ip", "nft");
    let tunnel = Tunnel::new()?;
    tunnel.pair.check(NFTABLES, |port| tunnel.send(port))
}

#[test]
fn links_tun_xdp() -> Result<()> {
    needs!(root, "ip");
    let tunnel = Tunnel::new()?;
    let filter = &tunnel.pair.filter;
    let daemon = Daemon::start(filter, &configuration(&xdp("\"tun0\"")))?;
    announce(&daemon)?;
    // XDP finds the IP header behind an Ethernet header, which these packets do not have: it is not
    // there, and says so.
    let why = "tun0: its packets have no Ethernet header";
    let failed = |rules: &[RuleView]| {
        let says = |rule: &RuleView| {
            rule.state == RuleState::Failed && rule.reason.as_ref().is_some_and(|said| said.contains(why))
        };
        rules.len() == 2 && rules.iter().all(says)
    };
    daemon.wait_rules("the reason", PATIENCE, failed)?;
    let (code, said) = daemon.get("/healthz")?;
    ensure!(code == 503 && said.contains(why), "{code} {said}");
    let status = format!("{:#}", daemon.cli(&["status"]).err().context("status answers with yes")?);
    ensure!(status.contains("tun0 NOT FILTERED"), "{status}");
    let arrived = tunnel.pair.arrivals(&|port| tunnel.send(port))?;
    ensure!(arrived == [EACH; 3], "arrived: {arrived:?}");
    drop(daemon);
    // Beside an interface that can be filtered it costs the rules nothing.
    tunnel.pair.cable(1)?;
    let daemon = Daemon::start(filter, &configuration(&xdp("\"*\"")))?;
    announce(&daemon)?;
    daemon.wait_rules("the rules in force", PATIENCE, |rules| {
        rules.len() == 2 && rules.iter().all(|rule| rule.state == RuleState::Installed)
    })?;
    // What is known of interfaces is looked up each second.
    daemon.wait_status("the modes of both interfaces", PATIENCE, |status| {
        let is = |name: &str, mode: AttachmentMode| {
            status.attachments.iter().any(|there| there.interface == name && there.mode == mode)
        };
        is("swp1", AttachmentMode::Native) && is("tun0", AttachmentMode::None)
    })?;
    ensure!(daemon.get("/healthz")?.0 == 200, "{:?}", daemon.get("/healthz")?);
    Ok(())
}

/// The network cards of virtual machines, from the first namespace.
fn virtio_cards() -> Result<Vec<String>> {
    let mut cards = Vec::new();
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        match fs::read_link(entry.path().join("device/driver")) {
            Ok(driver) if driver.ends_with("virtio_net") => {
                cards.push(entry.file_name().to_string_lossy().into_owned());
            }
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    cards.sort();
    Ok(cards)
}

#[test]
#[ignore = "it takes both network cards of the virtual machine that make kernels starts"]
fn links_virtio_xdp() -> Result<()> {
    needs!(root, "ip");
    let pair = Pair::new()?;
    let cards = virtio_cards()?;
    ensure!(cards.len() == 2, "cards: {cards:?}");
    for (card, netns) in cards.iter().zip([&pair.filter, &pair.sender]) {
        let moved = std::process::Command::new("ip").args(["link", "set", card, "netns", netns.name()]).status()?;
        ensure!(moved.success(), "{card} cannot be moved");
    }
    pair.filter_address(&cards[0])?;
    pair.sender_address(&cards[1])?;
    for mode in ["native", "generic"] {
        let dataplane = format!("{}\nxdp.attach = \"{mode}\"", xdp(&format!("{:?}", cards[0])));
        pair.check(&dataplane, |port| pair.send(port)).context(mode)?;
    }
    Ok(())
}
