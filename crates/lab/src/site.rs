//! The place where the demo and most tests happen: an attacker, a switch, a victim, and a machine
//! of BGP peers.
//!
//! ```text
//!   attacker ─── swp1 [ switch ] swp2 ─── victim and its neighbour
//!                       swp3
//!                        │
//!                      peers
//! ```

use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{End, Netns, PATIENCE, PacketSocket, packet, veth};

/// What is attacked.
pub const VICTIM: &str = "192.0.2.1";
/// The same host in IPv6.
pub const VICTIM6: &str = "2001:db8:2::1";
/// Another host beside it.
pub const NEIGHBOUR: &str = "192.0.2.2";
/// Where the switch is for the peers.
pub const SWITCH: &str = "203.0.113.10";
/// The same in IPv6.
pub const SWITCH6: &str = "2001:db8:3::10";
/// Where the peers are; 203.0.113.1 to 203.0.113.4 are all theirs.
pub const PEER: &str = "203.0.113.1";
/// The same in IPv6.
pub const PEER6: &str = "2001:db8:3::1";

/// How long a packet that should not come is waited for after one that was sent behind it has come.
const SETTLE: Duration = Duration::from_millis(20);

/// Four namespaces with cables between them; the switch forwards both families.
///
/// The attacker's side is 198.51.100.0/24 and 2001:db8:1::/64: every address there is one from
/// which packets may come.
#[derive(Debug)]
pub struct Site {
    /// Where attacks come from.
    pub attacker: Netns,
    /// Where Floodgate runs.
    pub switch: Netns,
    /// What is attacked, with its neighbour.
    pub victim: Netns,
    /// Where BGP peers run.
    pub peers: Netns,
}

impl Site {
    /// Makes it.
    ///
    /// # Errors
    /// When the process is not root or the kernel lacks something.
    pub fn new() -> Result<Self> {
        let site = Self {
            attacker: Netns::new("attacker")?,
            switch: Netns::new("switch")?,
            victim: Netns::new("victim")?,
            peers: Netns::new("peers")?,
        };
        let Self { attacker, switch, victim, peers } = &site;
        veth(
            End::new(attacker, "eth0", &["198.51.100.1/24", "198.51.100.53/24", "2001:db8:1::1/64"]),
            End::new(switch, "swp1", &["198.51.100.254/24", "2001:db8:1::fe/64"]),
        )?;
        veth(
            End::new(victim, "eth0", &["192.0.2.1/24", "192.0.2.2/24", "2001:db8:2::1/64"]),
            End::new(switch, "swp2", &["192.0.2.254/24", "2001:db8:2::fe/64"]),
        )?;
        veth(
            End::new(
                peers,
                "eth0",
                &["203.0.113.1/24", "203.0.113.2/24", "203.0.113.3/24", "203.0.113.4/24", "2001:db8:3::1/64"],
            ),
            End::new(switch, "swp3", &["203.0.113.10/24", "2001:db8:3::10/64"]),
        )?;
        switch.forward()?;
        for (netns, gateways) in
            [(attacker, ["198.51.100.254", "2001:db8:1::fe"]), (victim, ["192.0.2.254", "2001:db8:2::fe"])]
        {
            for gateway in gateways {
                netns.default_route(gateway.parse()?)?;
            }
        }
        // The switch knows the victim beforehand: no packet waits, or is lost, while it asks for
        // the address.
        let mac = site.victim.mac("eth0")?.map(|octet| format!("{octet:02x}")).join(":");
        for address in [VICTIM, NEIGHBOUR, VICTIM6] {
            switch.ip(&["neigh", "replace", address, "lladdr", &mac, "dev", "swp2", "nud", "permanent"])?;
        }
        Ok(site)
    }

    /// A way to send packets from the attacker's side and see what reaches the victim.
    ///
    /// # Errors
    /// When an interface is gone.
    pub fn wire(&self) -> Result<Wire> {
        Ok(Wire {
            from: self.attacker.mac("eth0")?,
            to: self.switch.mac("swp1")?,
            sender: PacketSocket::open(&self.attacker, "eth0")?,
            receiver: PacketSocket::open(&self.victim, "eth0")?,
            marks: 0,
        })
    }
}

/// Both ends of the way from attacker to victim.
#[derive(Debug)]
pub struct Wire {
    from: [u8; 6],
    to: [u8; 6],
    sender: PacketSocket,
    receiver: PacketSocket,
    marks: u16,
}

impl Wire {
    /// Sends an IP packet towards the switch.
    ///
    /// # Errors
    /// When the interface is down.
    pub fn send(&self, ip: &[u8]) -> Result<()> {
        Ok(self.sender.send(&packet::ethernet(self.from, self.to, ip))?)
    }

    /// Which of these packets, all different, reach the victim. Behind them goes a packet to the
    /// neighbour that no test filters; when that has come, nothing else is under way any more.
    ///
    /// # Errors
    /// When that last packet does not arrive: then nothing can be said about the others.
    pub fn arrivals(&mut self, packets: &[Vec<u8>]) -> Result<Vec<bool>> {
        self.receiver.drain()?;
        for packet in packets {
            self.send(packet)?;
        }
        self.marks = self.marks.wrapping_add(1);
        let (from, to): (IpAddr, IpAddr) = ("198.51.100.9".parse()?, NEIGHBOUR.parse()?);
        let mark = packet::udp((from, 9).into(), (to, 9).into(), &self.marks.to_be_bytes());
        self.send(&mark)?;
        let mut arrived = vec![false; packets.len()];
        let mut deadline = Instant::now() + PATIENCE;
        let mut marked = false;
        while let Some(frame) = self.receiver.receive(deadline.saturating_duration_since(Instant::now()))? {
            if same(&frame, &mark) {
                marked = true;
                deadline = Instant::now() + SETTLE;
            }
            if let Some(at) = packets.iter().position(|packet| same(&frame, packet)) {
                arrived[at] = true;
            }
            if Instant::now() >= deadline || (marked && !arrived.contains(&false)) {
                break;
            }
        }
        if !marked {
            bail!("a packet to {NEIGHBOUR}, which nothing filters, did not arrive");
        }
        Ok(arrived)
    }

    /// Whether this packet reaches the victim.
    ///
    /// # Errors
    /// As [`arrivals`](Self::arrivals).
    pub fn passes(&mut self, packet: &[u8]) -> Result<bool> {
        Ok(self.arrivals(&[packet.to_vec()])?[0])
    }

    /// Everything that has reached the victim since the last call, as IP packets.
    ///
    /// # Errors
    /// When frames were lost in the observer, or the interface is gone.
    pub fn seen(&mut self) -> Result<Vec<Vec<u8>>> {
        thread::sleep(SETTLE);
        let frames = self.receiver.drain()?;
        let lost = self.receiver.lost()?;
        if lost > 0 {
            bail!("the observer missed {lost} frames");
        }
        Ok(frames.into_iter().map(|frame| frame[14..].to_vec()).collect())
    }
}

/// Whether a frame carries this packet, routed once: hop limit and header checksum differ.
fn same(frame: &[u8], packet: &[u8]) -> bool {
    let Some(routed) = frame.get(14..14 + packet.len()) else { return false };
    let changed: &[usize] = if packet[0] >> 4 == 4 { &[8, 10, 11] } else { &[7] };
    routed.iter().zip(packet).enumerate().all(|(at, (a, b))| a == b || changed.contains(&at))
}
