//! The rules of all measurements, and the octets that announce them.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Result, anyhow};
use bgp::{ConnId, Direction, Event, PathAttributes, PeerAs, PeerConfig, Session};
use flowspec::{Action, Rule};
use lab::scenario::{CONTROLLER_AS, SWITCH_AS};

/// The `number`-th rule, similar to those of attack detectors: two to a host under 10.0.0.0/8, by
/// protocol, ports, TCP flags, length, fragments and source; one in twenty limits, one in ten is
/// IPv6, one in a hundred has no destination. All are different.
pub(crate) fn rule(number: u32) -> Result<Rule> {
    let host = Ipv4Addr::from(0x0a00_0000 + number / 2 * 3);
    let port = [123, 53, 389, 1900, 11211][number as usize % 5];
    let text = match number % 20 {
        _ if number % 100 == 99 => {
            format!("proto udp sport {port} dport {} length >=512 then discard", 1024 + number / 100 % 60_000)
        }
        0 => format!("dst {host}/32 proto udp sport {port} then rate {}mbps", 1 + number % 100),
        1..4 => format!("dst {host}/32 proto tcp dport {} tcp-flags syn&!ack then discard", 1024 + number % 50_000),
        4 | 5 => format!("dst {host}/32 proto udp sport {port} length >=468 then discard"),
        6 => format!("dst {host}/32 proto udp fragment is-fragment then discard"),
        7 | 8 => format!(
            "ipv6 dst 2001:db8:{:x}:{:x}::1/128 proto udp sport {port} then discard",
            number >> 16,
            number & 0xffff
        ),
        9 => format!("dst {host}/32 src 198.51.100.0/24 proto udp then discard"),
        _ => format!("dst {host}/32 proto udp sport {port} then discard"),
    };
    text.parse().map_err(|error| anyhow!("{text}: {error}"))
}

/// The first `count` rules.
pub(crate) fn rules(count: u32) -> Result<Vec<Rule>> {
    (0..count).map(rule).collect()
}

/// A single rule, to measure the cost of one rule.
pub(crate) fn single(number: u32) -> Result<Rule> {
    let text = format!("dst {}/32 proto udp sport 19 then discard", Ipv4Addr::from(0x0b00_0000 + number));
    text.parse().map_err(|error| anyhow!("{text}: {error}"))
}

/// The UPDATE messages, each at most 4,096 octets, in which our session announces these rules.
pub(crate) fn announcement(rules: &[Rule]) -> Vec<u8> {
    let (mut session, now) = established();
    // Rules with the same actions share UPDATEs, as a controller packs them.
    let mut known: Vec<(&[Action], Arc<PathAttributes>)> = Vec::new();
    for Rule { nlri, actions, next_hop } in rules {
        let attributes = match known.iter().find(|(same, _)| same == actions) {
            Some((_, attributes)) => Arc::clone(attributes),
            None => {
                let attributes = Arc::new(PathAttributes::originate(actions));
                known.push((actions, Arc::clone(&attributes)));
                attributes
            }
        };
        session.announce(nlri.clone().into(), *next_hop, attributes).expect("established");
    }
    octets(&mut session, now)
}

/// The UPDATE messages that withdraw these rules.
pub(crate) fn withdrawal(rules: &[Rule]) -> Vec<u8> {
    let (mut session, now) = established();
    for Rule { nlri, .. } in rules {
        session.withdraw(nlri.clone().into()).expect("established");
    }
    octets(&mut session, now)
}

fn octets(session: &mut Session, now: Instant) -> Vec<u8> {
    std::iter::from_fn(|| session.poll_transmit(now)).flat_map(|sent| sent.octets).collect()
}

/// A newly established session with a peer in memory.
fn established() -> (Session, Instant) {
    let now = Instant::now();
    let session = |asn, id, peer| {
        let config = PeerConfig::new(asn, Ipv4Addr::new(192, 0, 2, id), PeerAs::Exactly(peer));
        Session::new(PeerConfig { extended_message: false, ..config })
    };
    let (mut ours, mut theirs) = (session(CONTROLLER_AS, 1, SWITCH_AS), session(SWITCH_AS, 2, CONTROLLER_AS));
    let id = ConnId(1);
    ours.handle(Event::ManualStart, now);
    theirs.handle(Event::ManualStart, now);
    ours.handle(Event::Connected(id, Direction::Outgoing), now);
    theirs.handle(Event::Connected(id, Direction::Incoming), now);
    while let Some(sent) = ours.poll_transmit(now) {
        theirs.handle(Event::Received(id, &sent.octets), now);
        while let Some(sent) = theirs.poll_transmit(now) {
            ours.handle(Event::Received(id, &sent.octets), now);
        }
    }
    (ours, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rules_are_different_and_all_are_in_the_octets() {
        let rules = rules(2_000).unwrap();
        assert_eq!(rules.iter().map(|rule| &rule.nlri).collect::<BTreeSet<_>>().len(), 2_000);
        let (mut announced, mut withdrawn) = (0, 0);
        for (octets, count) in [(announcement(&rules), &mut announced), (withdrawal(&rules), &mut withdrawn)] {
            let mut rest = &octets[..];
            while !rest.is_empty() {
                let length = usize::from(u16::from_be_bytes([rest[16], rest[17]]));
                assert!(length <= 4096 && rest[18] == 2);
                *count += 1;
                rest = &rest[length..];
            }
        }
        assert!(announced > withdrawn && withdrawn >= 2, "{announced} {withdrawn}");
    }
}
