//! Frames for the self-test.

use anyhow::{Context, Result};

/// What is done to a packet before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Nothing.
    Plain,
    /// The frame has a VLAN tag (802.1Q).
    Tagged,
    /// IPv6: destination options stand in front of the upper-layer header.
    BehindOptions,
    /// IPv4: it becomes a later fragment. Where it had its upper-layer header it keeps those
    /// octets, as a trap.
    LaterFragment,
}

const ETH_P_8021Q: [u8; 2] = [0x81, 0x00];
/// VLAN 5.
const TAG: [u8; 2] = [0x00, 0x05];
const DESTINATION_OPTIONS: u8 = 60;

/// The frame that carries the packet that these words describe.
pub(super) fn frame(words: &str, form: Form, from: [u8; 6], to: [u8; 6]) -> Result<Vec<u8>> {
    let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    let mut packet = api::packet_text::packet(&words).with_context(|| words.join(" "))?;
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    match form {
        Form::BehindOptions => {
            let next = std::mem::replace(&mut packet[6], DESTINATION_OPTIONS);
            // One option, which is padding of four octets.
            packet.splice(40..40, [next, 0, 1, 4, 0, 0, 0, 0]);
            let length = u16::try_from(packet.len() - 40).context("a short packet")?;
            packet[4..6].copy_from_slice(&length.to_be_bytes());
        }
        Form::LaterFragment => {
            packet[6..8].copy_from_slice(&185u16.to_be_bytes());
            packet[10..12].fill(0);
            let sum = checksum(&packet[..20]);
            packet[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Form::Plain | Form::Tagged => {}
    }
    let mut frame = [to, from].concat();
    if form == Form::Tagged {
        frame.extend(ETH_P_8021Q);
        frame.extend(TAG);
    }
    frame.extend(if is_v6 { [0x86, 0xdd] } else { [0x08, 0x00] });
    frame.extend(packet);
    // The shortest that a port sends.
    frame.resize(frame.len().max(60), 0);
    Ok(frame)
}

/// The checksum of an IPv4 header (RFC 791).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowspec::Packet;
    use flowspec::space::FragmentPosition;

    const FROM: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const TO: [u8; 6] = [2, 0, 0, 0, 0, 2];

    #[test]
    fn forms_are_what_they_say() {
        let parsed = |words, form| Packet::from_ethernet(&frame(words, form, FROM, TO).unwrap()).unwrap();
        for form in [Form::Plain, Form::Tagged] {
            let packet = parsed("udp 198.51.100.7:9 192.0.2.1:53", form);
            assert_eq!((packet.protocol(), packet.destination_port()), (Some(17), Some(53)), "{form:?}");
        }
        let packet = parsed("udp [2001:db8::7]:9 [2001:db8::1]:53", Form::BehindOptions);
        assert_eq!((packet.protocol(), packet.destination_port()), (Some(17), Some(53)));
        let packet = parsed("udp 198.51.100.7:9 192.0.2.1:53", Form::LaterFragment);
        assert_eq!((packet.fragment_position(), packet.destination_port()), (FragmentPosition::Last, None));
    }
}
