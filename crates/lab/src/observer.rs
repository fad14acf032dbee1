//! Observes what a data plane does to each packet, before and after its rules: for comparing the
//! kernel with the oracle.

use crate::{Netns, OnOneProcessor, PacketSocket};
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// DSCPs that are distinguished; others count as "any other".
const MARKS: [u8; 3] = [1, 8, 46];
const OTHER: u8 = 64;

/// The fate of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketOutcome {
    /// It arrived and was dropped.
    Dropped,
    /// It passed with this DSCP, 64 for any that random rules do not set.
    Passed(u8),
}

impl PacketOutcome {
    /// It passed with this DSCP.
    #[must_use]
    pub fn passed(dscp: u8) -> Self {
        PacketOutcome::Passed(if MARKS.contains(&dscp) { dscp } else { OTHER })
    }
}

/// Sends packets with a source MAC address each, and counts by it which arrived before the rules
/// and which passed them: one set before the rules, and after them a set for each DSCP.
#[derive(Debug)]
pub struct Observer {
    socket: PacketSocket,
    target: [u8; 6],
    most: usize,
}

impl Observer {
    /// Observes the rules at `hook` between the two priorities in the namespace `filter`, for
    /// packets that `from` (a namespace and its interface) sends to the interface `to`; at most
    /// this many at a time.
    ///
    /// # Errors
    /// There is no such interface, or nft fails.
    pub fn new(
        from: (&Netns, &str),
        filter: &Netns,
        to: &str,
        (hook, before, after): (&str, i32, i32),
        most: usize,
    ) -> Result<Self> {
        let observer = Observer { socket: PacketSocket::open(from.0, from.1)?, target: filter.mac(to)?, most };
        nft(filter, &tables(hook, before, after))?;
        Ok(observer)
    }

    /// The last packet to send, which always arrives: when it has, so have those before it.
    #[must_use]
    pub fn last() -> Vec<u8> {
        let end = |address: [u8; 4]| SocketAddr::from((address, 7));
        crate::packet::udp(end([198, 51, 100, 1]), end([203, 0, 113, 1]), b"last")
    }

    /// Sends the packets; returns the fate of those that arrived before the rules.
    ///
    /// # Errors
    /// More packets than announced, or nft fails.
    pub fn send(&self, filter: &Netns, packets: &[Vec<u8>]) -> Result<Vec<Option<PacketOutcome>>> {
        ensure!(packets.len() <= self.most, "{} packets, and {} were announced", packets.len(), self.most);
        nft(filter, &self.forget())?;
        let here = OnOneProcessor::stay()?;
        for (n, packet) in packets.iter().enumerate() {
            let [n1, n0] = (n as u16).to_be_bytes();
            self.socket.send(&crate::packet::ethernet([0x02, 0xf0, 0, 0, n1, n0], self.target, packet))?;
        }
        drop(here);
        // Only the smallest case of a disagreement has no such end; the kernel drops malformed
        // packets before the rules.
        let patience = if packets.last() == Some(&Self::last()) { 30_000 } else { 300 };
        let mut fates = vec![None; packets.len()];
        let end = Instant::now() + Duration::from_millis(patience);
        loop {
            read(filter, &mut fates)?;
            if fates.last().is_some_and(Option::is_some) || Instant::now() > end {
                // It has arrived; a moment later it has passed, too.
                read(filter, &mut fates)?;
                return Ok(fates);
            }
        }
    }

    /// Sets the counters to zero.
    fn forget(&self) -> String {
        let macs: Vec<_> = (0..self.most).map(|n| format!("02:f0:00:00:{:02x}:{:02x}", n >> 8, n & 255)).collect();
        let macs = macs.join(",");
        let names = MARKS.map(|dscp| format!("after went{dscp}"));
        let names = names.into_iter().chain(["before came".to_owned(), format!("after went{OTHER}")]);
        names.map(|set| format!("flush set inet {set}\nadd element inet {set} {{ {macs} }}\n")).collect()
    }
}

fn tables(hook: &str, before: i32, after: i32) -> String {
    let set = |name: &str| format!("set {name} {{ type ether_addr; counter; }}\n");
    let chain =
        |priority, rules: &str| format!("chain c {{ type filter hook {hook} priority {priority}\n{rules}\n}}\n");
    let marks: String = MARKS.map(|dscp| set(&format!("went{dscp}"))).concat();
    let went = |dscp| ["ip", "ip6"].map(|ip| format!("{ip} dscp {dscp} ether saddr @went{dscp} accept\n")).concat();
    let rules = MARKS.map(went).concat();
    format!(
        "table inet before {{\n{}{}}}\ntable inet after {{\n{}{marks}{}}}\n",
        set("came"),
        chain(before, "ether saddr @came"),
        set(&format!("went{OTHER}")),
        chain(after, &format!("{rules}ether saddr @went{OTHER}"))
    )
}

fn read(filter: &Netns, fates: &mut [Option<PacketOutcome>]) -> Result<()> {
    let list = |table| filter.exec("nft", &["-n", "list", "table", "inet", table]);
    let (came, went) = (list("before")?, list("after")?);
    // The numbers of the packets whose elements counted.
    let counted = |text: &str| -> Vec<usize> {
        let hits = text.split("02:f0:00:00:").skip(1).filter(|item| !item.contains("packets 0 "));
        let number = |item: &str| u16::from_str_radix(&item.get(..5)?.replace(':', ""), 16).ok().map(usize::from);
        hits.filter_map(number).collect()
    };
    for n in counted(&came) {
        fates[n].get_or_insert(PacketOutcome::Dropped);
    }
    for set in went.split("set went").skip(1) {
        let dscp = set.split_whitespace().next().context("a name")?.parse()?;
        counted(set).into_iter().for_each(|n| fates[n] = Some(PacketOutcome::Passed(dscp)));
    }
    Ok(())
}

fn nft(netns: &Netns, text: &str) -> Result<()> {
    let mut child = netns.command("nft")?.args(["-f", "-"]).stdin(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(text.as_bytes())?;
    ensure!(child.wait()?.success(), "nft failed on {text}");
    Ok(())
}
