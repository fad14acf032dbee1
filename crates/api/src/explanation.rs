//! The texts of `explain`, the same offline and from the daemon.

use crate::Verdict;
use flowspec::{Effect, Packet, PacketError, Policing, Redirect};

/// Parses octets given by a user: an Ethernet frame or a bare IP packet, whichever fits.
pub fn parse_packet(octets: &[u8]) -> Result<Packet, PacketError> {
    match (Packet::from_ethernet(octets), Packet::from_ip(octets)) {
        // A MAC address may begin like an IP header, and an IP address may contain what looks like
        // an EtherType; then the length decides.
        (Ok(_), Ok(bare)) if bare.length() as usize == octets.len() => Ok(bare),
        (Ok(frame), _) => Ok(frame),
        (Err(_), Ok(bare)) => Ok(bare),
        (Err(ethernet), Err(ip)) => Err(match octets.first().map(|octet| octet >> 4) {
            Some(4 | 6) => ip,
            _ => ethernet,
        }),
    }
}

/// The verdict on the packet, one word for scripts.
pub fn verdict(effect: &Effect) -> Verdict {
    match (effect.policing, effect.redirect) {
        (Policing::Discard, _) => Verdict::Discard,
        (Policing::Limit { .. }, _) => Verdict::Rate,
        (Policing::None, Some(Redirect::Address { copy: true, .. } | Redirect::UnknownNextHop { copy: true })) => {
            Verdict::Accept
        }
        (Policing::None, Some(_)) => Verdict::Redirect,
        (Policing::None, None) => Verdict::Accept,
    }
}

/// Each effect on the packet, for people.
pub fn describe_effect(effect: Effect) -> Vec<String> {
    let only = Effect::ACCEPT;
    [
        Effect { policing: effect.policing, ..only },
        Effect { mark: effect.mark, ..only },
        Effect { redirect: effect.redirect, ..only },
        Effect { sample: effect.sample, ..only },
    ]
    .into_iter()
    .filter(|part| *part != only)
    .map(|part| part.to_string())
    .collect()
}
