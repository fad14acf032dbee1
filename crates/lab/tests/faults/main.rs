//! Failures: crashes, changes by other programs, lost sessions, floods and malformed messages.
//!
//! A real daemon with nftables, and peers of our own that misbehave on request.

mod faults_crash;
mod faults_flood;
mod faults_malformed;
mod faults_retention;
mod faults_session;
mod faults_tampering;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use api::RuleView;
use bgp::{PeerAs, PeerConfig};
use flowspec::Rule;
use lab::daemon::is_installed;
use lab::scenario::{CONTROLLER_AS, NTP, SWITCH_AS, connecting_peer, reflected};
use lab::site::{PEER, SWITCH, VICTIM};
use lab::{Daemon, PATIENCE, Site, Speaker};

/// The daemon's configuration with these `[[peer]]` tables, which wait for their peers.
fn configuration(peers: &[(&str, &str, u32, &str)]) -> String {
    let mut text = format!("[router]\nas = {SWITCH_AS}\nid = \"{SWITCH}\"\n\n");
    for (name, address, asn, more) in peers {
        text += &format!("[[peer]]\nname = \"{name}\"\naddress = \"{address}\"\nas = {asn}\npassive = true\n{more}\n");
    }
    text + "[dataplane]\nbackend = \"nftables\"\ninterfaces = [\"swp*\"]\n"
}

/// A speaker at this address, connected to the daemon as soon as that listens.
fn speaker(site: &Site, address: &str, asn: u32, hold_time: u16) -> Result<Speaker> {
    let config = PeerConfig { hold_time, ..PeerConfig::new(asn, address.parse()?, PeerAs::Exactly(SWITCH_AS)) };
    connecting_peer(site, config)
}

/// The usual one.
fn controller(site: &Site) -> Result<Speaker> {
    speaker(site, PEER, CONTROLLER_AS, 90)
}

/// What [`NTP`] drops.
fn attack() -> Vec<u8> {
    reflected(123, VICTIM)
}

/// Rule number `index` of many, each for a host of its own.
fn numbered(index: u32) -> Rule {
    let [_, a, b, c] = index.to_be_bytes();
    format!("dst 10.{a}.{b}.{c}/32 proto udp sport 123 then discard").parse().unwrap()
}

fn numbered_rules(range: std::ops::Range<u32>) -> Vec<Rule> {
    range.map(numbered).collect()
}

/// All installed, by a live session.
fn installed(rules: &[RuleView]) -> bool {
    rules.iter().all(is_installed)
}

/// How often each rule is in the kernel: its id is the comment of its entries.
fn in_the_kernel(daemon: &Daemon<'_>) -> Result<BTreeMap<String, usize>> {
    let mut count = BTreeMap::new();
    for after in daemon.ruleset()?.split("comment \"").skip(1) {
        let id = after.split('"').next().context("a comment's end")?;
        *count.entry(id.to_owned()).or_default() += 1;
    }
    Ok(count)
}

/// The kernel has exactly these rules, each once.
fn kernel_has(daemon: &Daemon<'_>, rules: &[Rule]) -> Result<()> {
    let found = in_the_kernel(daemon)?;
    let doubled: Vec<_> = found.iter().filter(|(_, count)| **count != 1).take(5).collect();
    ensure!(doubled.is_empty(), "doubled: {doubled:?}");
    let wanted: Vec<String> = rules.iter().map(|rule| rule.nlri.id().to_string()).collect();
    let missing: Vec<_> = wanted.iter().filter(|id| !found.contains_key(*id)).take(5).collect();
    ensure!(missing.is_empty(), "missing: {missing:?}");
    ensure!(found.len() == wanted.len(), "{} rules in the kernel instead of {}", found.len(), wanted.len());
    Ok(())
}

/// An UPDATE that announces these NLRIs (with their lengths) of AFI `afi`, SAFI 133, with action
/// discard, as an iBGP peer sends it.
fn update(afi: u8, nlris: &[u8]) -> Vec<u8> {
    let attributes = [0x40, 1, 1, 0, 0x40, 2, 0, 0x40, 5, 4, 0, 0, 0, 100, 0xc0, 16, 8, 0x80, 6, 0, 0, 0, 0, 0, 0];
    let [high, low] = u16::try_from(5 + nlris.len()).unwrap().to_be_bytes();
    let reach = [&[0x90, 14, high, low, 0, afi, 133, 0, 0], nlris].concat();
    whole(&[&attributes[..], &reach].concat())
}

/// An UPDATE that withdraws them.
fn withdrawal(afi: u8, nlris: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(3 + nlris.len()).unwrap().to_be_bytes();
    whole(&[&[0x90, 15, high, low, 0, afi, 133], nlris].concat())
}

/// The UPDATE message with these path attributes.
fn whole(attributes: &[u8]) -> Vec<u8> {
    let attributes_length = u16::try_from(attributes.len()).unwrap().to_be_bytes();
    let length = u16::try_from(23 + attributes.len()).unwrap().to_be_bytes();
    [&[0xff; 16], &length[..], &[2, 0, 0], &attributes_length, attributes].concat()
}

/// The NLRI with its length.
fn wire(rule: &Rule) -> Vec<u8> {
    let mut octets = Vec::new();
    rule.nlri.encode_to(&mut octets);
    octets
}
