//! The log entry for a malformed UPDATE: the NLRIs concerned and the message's octets (RFC 7606
//! §8), both of limited length.

use bgp::{DecodeOptions, DecodedNlri, Destination, Negotiated, decode_update};
use flowspec::hex::Hex;
use std::fmt::Write;

/// Most NLRIs that are listed.
pub(crate) const NLRIS: usize = 50;
/// Most octets of the message that are shown: all of a message that is not extended.
pub(crate) const OCTETS: usize = 4096;
/// Most octets of an undecodable NLRI that are shown.
const NLRI_OCTETS: usize = 64;

/// The fields of the log line.
#[derive(Debug)]
pub(super) struct MalformedUpdate {
    /// The NLRIs, announced or withdrawn.
    pub(super) nlri: String,
    /// The message, hexadecimal, from its marker on.
    pub(super) octets: String,
}

/// The fields for a message as the session received it.
pub(super) fn malformed_update(message: &[u8], negotiated: Option<&Negotiated>) -> MalformedUpdate {
    let options = DecodeOptions {
        four_octet_as: negotiated.map(|negotiated| negotiated.four_octet_as),
        add_path: negotiated.map(|negotiated| negotiated.add_path_receive).unwrap_or_default(),
    };
    let nlris = decode_update(message, &options).map(|update| update.nlris).unwrap_or_default();
    let mut nlri = nlris.iter().take(NLRIS).map(show).collect::<Vec<_>>().join("; ");
    if nlris.len() > NLRIS {
        let _ = write!(nlri, "; and {} more", nlris.len() - NLRIS);
    }
    MalformedUpdate { nlri, octets: hex(message, OCTETS) }
}

fn show(nlri: &DecodedNlri) -> String {
    let what = match &nlri.destination {
        Ok(Destination::Flow(rule)) => rule.to_string(),
        Ok(Destination::Unicast(net)) => net.to_string(),
        Err(_) => format!("{} {}", nlri.family, hex(&nlri.octets, NLRI_OCTETS)),
    };
    if nlri.announced { what } else { format!("withdrawn {what}") }
}

/// At most `most` octets as hex, and the number of the remaining ones.
fn hex(octets: &[u8], most: usize) -> String {
    match octets.split_at_checked(most) {
        Some((shown, rest)) if !rest.is_empty() => format!("{}... and {} more octets", Hex(shown), rest.len()),
        _ => Hex(octets).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An UPDATE that announces these NLRIs of IPv4 FlowSpec, without ORIGIN and AS_PATH.
    fn update(nlris: &[u8]) -> Vec<u8> {
        let mut attributes = vec![0x90, 14];
        attributes.extend_from_slice(&(nlris.len() as u16 + 5).to_be_bytes());
        attributes.extend_from_slice(&[0, 1, 133, 0, 0]);
        attributes.extend_from_slice(nlris);
        let mut message = vec![0xff; 16];
        message.extend_from_slice(&(attributes.len() as u16 + 23).to_be_bytes());
        message.extend_from_slice(&[2, 0, 0]);
        message.extend_from_slice(&(attributes.len() as u16).to_be_bytes());
        message.extend_from_slice(&attributes);
        message
    }

    #[test]
    fn rules_and_octets_are_named() {
        let message = update(&[&[3, 1, 8, 10][..], &[3, 0x0e, 0x81, 1]].concat());
        let MalformedUpdate { nlri, octets } = malformed_update(&message, None);
        assert_eq!(nlri, "dst 10.0.0.0/8; ipv4-flow 030e8101");
        assert!(octets.starts_with("ffffffffffffffffffffffffffffffff00") && octets.ends_with("030e8101"));
        assert_eq!(octets.len(), 2 * message.len());
    }

    #[test]
    fn however_long_the_message_the_line_is_bounded() {
        let many: Vec<u8> = (0..6000u32).flat_map(|n| [5, 1, 24, (n >> 16) as u8, (n >> 8) as u8, n as u8]).collect();
        let message = update(&many);
        let MalformedUpdate { nlri, octets } = malformed_update(&message, None);
        assert!(nlri.ends_with("; and 5950 more"), "{nlri}");
        assert!(octets.ends_with(&format!("... and {} more octets", message.len() - OCTETS)));
        assert!(octets.len() < 2 * OCTETS + 100);
    }
}
