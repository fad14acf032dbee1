//! Mutated messages: nothing of another peer is lost, nothing panics, and memory does not grow.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bgp::{DecodeOptions, decode_update};
use flowspec::Disposition;
use flowspec::testing::Seed;
use lab::raw::{self, RawPeer, kind, message};
use lab::scenario::NTP;
use lab::site::{PEER, SWITCH, Wire};
use lab::{Daemon, Site, Speaker, needs, wait_until};

use crate::place::{SECOND, attack, configuration_with, speaker};
use crate::{PATIENCE, amount, position, resident, seed};

/// Of both peers, and ours.
const AS: u32 = 65140;

/// Rules with all kinds of components, without their length octets.
const RIGHT: [&str; 6] = [
    "0118 0a6363 038106 048150",
    "0120 0a010203 02 10 c633 04 03 35 91 01bb 05 91 0400",
    "0118 0a6363 07 81 03 08 81 00 09 81 02 0a 03 64 d5 00c8 0b 81 2e 0c 81 02",
    "012000 20010db8 02 1800 20010d 0b 81 2e 0d 81 05",
    "01 3010 0db80001 03 81 11",
    "03 01 06 81 11",
];

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Some octets of it are others, are gone, or are there twice.
fn mutated(seed: &mut Seed, octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..seed.below(4) {
        let at = position(seed, octets.len());
        match seed.below(5) {
            0 if at < octets.len() => octets[at] ^= 1 << seed.below(8),
            1 if at < octets.len() => octets[at] = seed.next_u64() as u8,
            2 if at < octets.len() => drop(octets.remove(at)),
            3 => octets.insert(at, seed.next_u64() as u8),
            _ => {
                let end = (at + position(seed, 16)).min(octets.len());
                let again = octets[at.min(end)..end].to_vec();
                octets.splice(at..at, again);
            }
        }
    }
    octets
}

fn attribute(flags: u8, kind: u8, value: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(value.len()).unwrap_or(0).to_be_bytes();
    [&[flags | 0x10, kind, high, low], value].concat()
}

/// An UPDATE of which much may be wrong, but not where a rule or an attribute ends: most would end
/// the session otherwise.
fn wrong(seed: &mut Seed, right: &[Vec<u8>]) -> Vec<u8> {
    let family = 1 + seed.below(2) as u8;
    let rules = (0..=seed.below(5)).flat_map(|_| {
        let rule = &right[position(seed, right.len())];
        let rule = mutated(seed, rule);
        [&[u8::try_from(rule.len()).unwrap_or(0)][..], &rule].concat()
    });
    let rules: Vec<u8> = rules.collect();
    let mut attributes = Vec::new();
    if seed.below(8) == 0 {
        // Alone: where nothing is announced, a wrong attribute ends the session (RFC 7606 §5.2).
        return update(&attribute(0x80, 15, &[&[0, family, 133], &rules[..]].concat()));
    }
    attributes.extend(attribute(0x80, 14, &[&[0, family, 133, 0, 0], &rules[..]].concat()));
    for (flags, kind, value) in [
        (0x40, 1, &[0][..]),
        (0x40, 2, &[]),
        (0x40, 5, &[0, 0, 0, 100]),
        (0xc0, 16, &[0x80, 6, 0, 0, 0, 0, 0, 0, 0x80, 9, 0, 0, 0, 0, 0, 46]),
        (0xc0, 8, &[0xff, 0xff, 0, 7]),
    ] {
        match seed.below(40) {
            0 => {}
            1 => attributes.extend(attribute(seed.next_u64() as u8 & 0xe0, kind, value)),
            2 => attributes.extend(attribute(flags, seed.next_u64() as u8 | 0x20, value)),
            3..10 => attributes.extend(attribute(flags, kind, &mutated(seed, value))),
            _ => attributes.extend(attribute(flags, kind, value)),
        }
    }
    update(&attributes)
}

fn update(attributes: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(attributes.len()).unwrap_or(0).to_be_bytes();
    message(2, &[&[0, 0, high, low], attributes].concat())
}

fn ends_the_session(message: &[u8]) -> bool {
    let options = DecodeOptions { four_octet_as: Some(true), ..DecodeOptions::default() };
    decode_update(message, &options).map_or(true, |update| {
        matches!(update.disposition(), Some(Disposition::DisableFamily | Disposition::Notification { .. }))
    })
}

/// The peer whose messages are mutated, one session after the other.
struct Hostile<'a> {
    site: &'a Site,
    peer: RawPeer,
    sessions: u64,
    /// How sessions ended: NOTIFICATIONs by code and subcode.
    endings: BTreeMap<(u8, u8), u32>,
}

impl<'a> Hostile<'a> {
    fn connect(site: &Site) -> Result<RawPeer> {
        RawPeer::connect(&site.peers, PEER.parse()?, SocketAddr::new(SWITCH.parse()?, 179))
    }

    fn new(site: &'a Site) -> Result<Self> {
        let mut peer = Self::connect(site)?;
        peer.establish(AS)?;
        Ok(Self { site, peer, sessions: 1, endings: BTreeMap::new() })
    }

    /// Waits until the daemon has ended the session, and makes another.
    fn again(&mut self) -> Result<()> {
        let ended = self.peer.read_to_end()?.context("the session ended without a NOTIFICATION")?;
        *self.endings.entry(ended).or_default() += 1;
        self.peer = Self::connect(self.site)?;
        self.peer.establish(AS)?;
        self.sessions += 1;
        Ok(())
    }
}

/// A daemon with the hostile peer, which may come back at once, and another whose rule is in force.
fn with_a_rule<'a>(site: &'a Site, wire: &mut Wire) -> Result<(Daemon<'a>, Speaker)> {
    let daemon = Daemon::start(&site.switch, &configuration_with("nftables", "idle-hold-max = \"0s\""))?;
    let one = speaker(site, SECOND)?;
    daemon.wait_established("one", PATIENCE)?;
    one.announce_text(NTP)?;
    wait_until("the rule", PATIENCE, || wire.passes(&attack()).ok().filter(|passes| !passes))?;
    Ok((daemon, one))
}

/// What has to be true after all of it; the growth in MiB.
fn unharmed(daemon: &mut Daemon<'_>, one: &Speaker, wire: &mut Wire, before: u64) -> Result<u64> {
    ensure!(!wire.passes(&attack())?, "an attack passed at the end");
    ensure!(one.status().sessions == 1, "another's session was lost: {:?}", one.status());
    daemon.process()?.check_running().context("the daemon")?;
    let grown = resident(daemon.process()?.pid())?.saturating_sub(before) >> 20;
    ensure!(grown < 150, "the daemon grew by {grown} MiB");
    Ok(grown)
}

#[test]
fn torture_mutated_messages() -> Result<()> {
    needs!(root, "nft");
    let count = amount(5_000, 1_000_000);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let (mut daemon, one) = with_a_rule(&site, &mut wire)?;
    let mut hostile = Hostile::new(&site)?;
    let before = resident(daemon.process()?.pid())?;
    let right = RIGHT.map(octets);
    let mut seed = seed("mutated messages")?;
    let began = Instant::now();
    let (mut sent, mut looked) = (0, 0);
    while sent < count {
        let (mut batch, mut ending) = (Vec::new(), false);
        for _ in 0..500 {
            let message = wrong(&mut seed, &right);
            ending = ends_the_session(&message);
            batch.extend(message);
            sent += 1;
            if ending {
                break;
            }
        }
        hostile.peer.stream.write_all(&batch).with_context(|| format!("after {sent} messages"))?;
        if ending {
            hostile.again().with_context(|| format!("after {sent} messages"))?;
        }
        if sent / 10_000 > looked {
            looked = sent / 10_000;
            ensure!(!wire.passes(&attack())?, "an attack passed after {sent} messages");
        }
    }
    // The daemon ends a session where the decoder says so, and nowhere else; what was sent before
    // that is read.
    let wanted = (hostile.sessions, u64::from(sent));
    let peer = wait_until("all messages", PATIENCE, || {
        let peer = daemon.peer("many").ok()?;
        (peer.established_count == wanted.0 && peer.updates >= wanted.1).then_some(peer)
    });
    let peer = peer.with_context(|| format!("{wanted:?} sessions and messages; {:?}", daemon.peer("many")))?;
    let malformed: u64 = peer.malformed.values().sum();
    ensure!(malformed > u64::from(count) / 20, "only {malformed} malformed things were told: {peer:?}");
    let grown = unharmed(&mut daemon, &one, &mut wire, before)?;
    println!(
        "{sent} mutated messages in {:.0?}: {malformed} malformed things told, {} sessions ended ({}), 0 of another peer, {grown} MiB more resident",
        began.elapsed(),
        hostile.sessions - 1,
        shown(&hostile.endings)
    );
    Ok(())
}

/// Codes and subcodes with their numbers.
fn shown(endings: &BTreeMap<(u8, u8), u32>) -> String {
    let parts: Vec<String> =
        endings.iter().map(|((code, subcode), count)| format!("{code}/{subcode}: {count}")).collect();
    parts.join(", ")
}

/// Messages of all types with wrong headers, too, each on a connection of its own, in each state of
/// a session.
#[test]
fn torture_mutated_sessions() -> Result<()> {
    needs!(root, "nft");
    let count = amount(300, 50_000);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let (mut daemon, one) = with_a_rule(&site, &mut wire)?;
    let before = resident(daemon.process()?.pid())?;
    let right = RIGHT.map(octets);
    let mut seed = seed("mutated sessions")?;
    let began = Instant::now();
    let (mut endings, mut silent) = (BTreeMap::new(), 0_u32);
    for number in 0..count {
        let mut peer = Hostile::connect(&site)?;
        let up_to = seed.below(3);
        if up_to > 1 {
            peer.establish(AS).with_context(|| format!("connection {number}"))?;
        } else if up_to > 0 {
            peer.stream.write_all(&raw::open(AS, 90))?;
        }
        let mut octets = Vec::new();
        for _ in 0..=seed.below(3) {
            let message = match seed.below(6) {
                0 => raw::open(AS, seed.next_u64() as u16),
                1 => message(kind::NOTIFICATION, &[seed.below(9) as u8, seed.below(12) as u8, 1, 2]),
                2 => message(kind::ROUTE_REFRESH, &[0, 1 + seed.below(2) as u8, seed.below(4) as u8, 133]),
                3 => message(kind::KEEPALIVE, &[]),
                4 => message(seed.next_u64() as u8, &[]),
                _ => wrong(&mut seed, &right),
            };
            octets.extend(mutated(&mut seed, &message));
        }
        // It may have ended the connection before all is written.
        let _ = peer.stream.write_all(&octets);
        let _ = peer.stream.shutdown(Shutdown::Write);
        match peer.read_to_end().with_context(|| format!("connection {number}: {octets:02x?}"))? {
            Some(ending) => *endings.entry(ending).or_default() += 1,
            None => silent += 1,
        }
        if number % 1_000 == 0 {
            ensure!(!wire.passes(&attack())?, "an attack passed after {number} connections");
        }
    }
    let grown = unharmed(&mut daemon, &one, &mut wire, before)?;
    println!(
        "{count} connections with mutated messages of all types in {:.0?}: NOTIFICATIONs {}; {silent} closed without one; {grown} MiB more resident",
        began.elapsed(),
        shown(&endings)
    );
    ensure!(endings.len() > 3, "{endings:?}");
    Ok(())
}
