//! Mutated messages from a peer whose session is up: nothing of another peer is lost, nothing panics, and memory stays.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use bgp::{DecodeOptions, decode_update};
use flowspec::Disposition;
use lab::site::PEER;
use lab::{Daemon, Site, needs, wait_until};

use crate::place::{NTP, SECOND, attack, configuration, speaker};
use crate::{PATIENCE, Random, amount, resident};

/// Rules with all kinds of components, without their length octets.
const RIGHT: [&str; 6] = [
    "0118 0a6363 038106 048150",
    "0120 0a010203 02 10 c633 04 03 35 91 01bb 05 91 0400",
    "0118 0a6363 07 81 03 08 81 00 09 81 02 0a 03 64 d5 00c8 0b 81 2e 0c 81 02",
    "012000 20010db8 02 1800 20010d 0b 81 2e 0d 81 05",
    "01 3010 0db80001 03 81 11",
    "03 01 06 81 11",
];

/// A message of this kind.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[0xff; 16][..], &length, &[kind], body].concat()
}

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> =
        hex.bytes().filter_map(|digit| char::from(digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Some octets of it are others, are gone, or are there twice.
fn mutated(random: &mut Random, octets: &[u8]) -> Vec<u8> {
    let mut octets = octets.to_vec();
    for _ in 0..random.below(4) {
        let at = random.below(octets.len().max(1));
        match random.below(5) {
            0 if at < octets.len() => octets[at] ^= 1 << random.below(8),
            1 if at < octets.len() => octets[at] = random.next() as u8,
            2 if at < octets.len() => drop(octets.remove(at)),
            3 => octets.insert(at.min(octets.len()), random.next() as u8),
            _ => {
                let end = (at + random.below(16)).min(octets.len());
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

/// An UPDATE of which much may be wrong, but not where a rule or an attribute ends: that would end the session, which comes back later
/// each time.
fn wrong(random: &mut Random, right: &[Vec<u8>]) -> Vec<u8> {
    let family = 1 + random.below(2) as u8;
    let rules = (0..=random.below(5)).flat_map(|_| {
        let rule = &right[random.below(right.len())];
        let rule = mutated(random, rule);
        [&[u8::try_from(rule.len()).unwrap_or(0)][..], &rule].concat()
    });
    let rules: Vec<u8> = rules.collect();
    let mut attributes = Vec::new();
    if random.below(8) == 0 {
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
        match random.below(40) {
            0 => {}
            1 => attributes.extend(attribute(random.next() as u8 & 0xe0, kind, value)),
            2 => attributes.extend(attribute(flags, random.next() as u8 | 0x20, value)),
            3..10 => attributes.extend(attribute(flags, kind, &mutated(random, value))),
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

#[test]
fn torture_mutated_messages() -> Result<()> {
    needs!(root, "nft");
    let count = amount(5_000, 1_000_000);
    let site = Site::new()?;
    let mut wire = site.wire()?;
    let mut daemon = Daemon::start(&site.switch, &configuration("nftables"))?;
    let (hostile, one) = (speaker(&site, PEER)?, speaker(&site, SECOND)?);
    for peer in ["many", "one"] {
        daemon.wait_established(peer, PATIENCE)?;
    }
    one.announce_text(NTP)?;
    wait_until("the rule", PATIENCE, || wire.passes(&attack().ok()?).ok().filter(|passes| !passes))?;
    let pid = daemon.process()?.pid();
    let before = resident(pid)?;
    let right = RIGHT.map(octets);
    let mut random = Random(0x5eed_1234_5678_9abc);
    let began = Instant::now();
    let mut ending = 0_u32;
    for sent in (0..count).step_by(500) {
        let mut batch = Vec::new();
        for _ in 0..500 {
            let message = wrong(&mut random, &right);
            // One that ends the session comes seldom: each time the peer has to stay away for longer.
            if ends_the_session(&message) {
                ending += 1;
                if ending % (count / 50) != 1 {
                    continue;
                }
            }
            batch.extend(message);
        }
        hostile.wait_established(PATIENCE)?;
        hostile.send_raw(batch);
        if sent % 10_000 == 0 {
            ensure!(!wire.passes(&attack()?)?, "an attack passed after {sent} messages");
        }
    }
    // What was sent is read.
    wait_until("an answer", PATIENCE, || daemon.status().ok())?;
    let peer = daemon.peer("many")?;
    let malformed: u64 = peer.malformed.values().sum();
    ensure!(malformed > u64::from(count) / 20, "only {malformed} malformed things were told: {peer:?}");
    ensure!(!wire.passes(&attack()?)?, "an attack passed at the end");
    ensure!(one.status().sessions == 1, "another's session was lost: {:?}", one.status());
    daemon.process()?.check_running().context("the daemon")?;
    let grown = resident(pid)?.saturating_sub(before) >> 20;
    println!(
        "{count} mutated messages in {:?}: {malformed} malformed things told, {} sessions, {grown} MiB more resident",
        began.elapsed(),
        peer.established_count
    );
    ensure!(grown < 150, "the daemon grew by {grown} MiB");
    Ok(())
}
