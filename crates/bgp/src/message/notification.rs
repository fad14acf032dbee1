//! NOTIFICATION: why a session ends (RFC 4271 §4.5, RFC 4486, RFC 6608, RFC 9003, RFC 9687).

use crate::afi_safi::AfiSafi;
use crate::message::message_kind;
use crate::message::{Capability, FamilyNumbers, HEADER_LEN, MAX_EXTENDED_MESSAGE};
use std::fmt;

/// A NOTIFICATION as on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode; 0 is "unspecific".
    pub subcode: u8,
    /// Diagnostic octets.
    pub data: Vec<u8>,
}

/// Most octets of a shutdown communication (RFC 9003 §2).
pub const MAX_COMMUNICATION: usize = 255;

macro_rules! codes {
    ($(($name:ident, $code:literal, $subcode:literal, $text:literal);)*) => {
        impl Notification {
            $(
                #[doc = concat!($text, ": code ", $code, ", subcode ", $subcode, ".")]
                pub const $name: (u8, u8) = ($code, $subcode);
            )*
        }
        const TEXTS: &[((u8, u8), &str)] = &[$((($code, $subcode), $text),)*];
    };
}

codes! {
    (HEADER_NOT_SYNCHRONIZED, 1, 1, "connection not synchronized");
    (HEADER_LENGTH, 1, 2, "bad message length");
    (HEADER_TYPE, 1, 3, "bad message type");
    (OPEN_UNSPECIFIC, 2, 0, "malformed OPEN");
    (OPEN_VERSION, 2, 1, "unsupported version number");
    (OPEN_PEER_AS, 2, 2, "bad peer AS");
    (OPEN_IDENTIFIER, 2, 3, "bad BGP identifier");
    (OPEN_PARAMETER, 2, 4, "unsupported optional parameter");
    (OPEN_HOLD_TIME, 2, 6, "unacceptable hold time");
    (OPEN_CAPABILITY, 2, 7, "unsupported capability");
    (OPEN_ROLE, 2, 11, "role mismatch");
    (UPDATE_ATTRIBUTE_LIST, 3, 1, "malformed attribute list");
    (UPDATE_UNRECOGNIZED, 3, 2, "unrecognized well-known attribute");
    (UPDATE_MISSING, 3, 3, "missing well-known attribute");
    (UPDATE_FLAGS, 3, 4, "attribute flags error");
    (UPDATE_LENGTH, 3, 5, "attribute length error");
    (UPDATE_ORIGIN, 3, 6, "invalid ORIGIN attribute");
    (UPDATE_NEXT_HOP, 3, 8, "invalid NEXT_HOP attribute");
    (UPDATE_OPTIONAL, 3, 9, "optional attribute error");
    (UPDATE_NETWORK, 3, 10, "invalid network field");
    (UPDATE_AS_PATH, 3, 11, "malformed AS_PATH");
    (HOLD_TIMER, 4, 0, "hold timer expired");
    (FSM_UNSPECIFIC, 5, 0, "finite state machine error");
    (FSM_OPEN_SENT, 5, 1, "unexpected message in OpenSent");
    (FSM_OPEN_CONFIRM, 5, 2, "unexpected message in OpenConfirm");
    (FSM_ESTABLISHED, 5, 3, "unexpected message in Established");
    (CEASE_UNSPECIFIC, 6, 0, "cease");
    (CEASE_PREFIXES, 6, 1, "maximum number of prefixes reached");
    (CEASE_SHUTDOWN, 6, 2, "administrative shutdown");
    (CEASE_DECONFIGURED, 6, 3, "peer de-configured");
    (CEASE_RESET, 6, 4, "administrative reset");
    (CEASE_REJECTED, 6, 5, "connection rejected");
    (CEASE_CONFIG_CHANGE, 6, 6, "other configuration change");
    (CEASE_COLLISION, 6, 7, "connection collision resolution");
    (CEASE_RESOURCES, 6, 8, "out of resources");
    (CEASE_HARD_RESET, 6, 9, "hard reset");
    (CEASE_BFD_DOWN, 6, 10, "BFD down");
    (REFRESH_LENGTH, 7, 1, "invalid ROUTE-REFRESH length");
    (SEND_HOLD_TIMER, 8, 0, "send hold timer expired");
}

impl Notification {
    /// One without data.
    pub const fn new((code, subcode): (u8, u8)) -> Self {
        Notification { code, subcode, data: Vec::new() }
    }

    /// One with diagnostic octets.
    pub fn with_data((code, subcode): (u8, u8), data: &[u8]) -> Self {
        Notification { code, subcode, data: data.to_vec() }
    }

    /// A Cease with a shutdown communication (RFC 9003): cut to 255 octets at a character boundary. The RFC allows the text with
    /// administrative shutdown and reset only; with other subcodes it is left out.
    pub fn cease(code: (u8, u8), communication: &str) -> Self {
        let mut notification = Notification::new(code);
        if communication.is_empty() || !matches!(code, Notification::CEASE_SHUTDOWN | Notification::CEASE_RESET) {
            return notification;
        }
        let mut end = communication.len().min(MAX_COMMUNICATION);
        while !communication.is_char_boundary(end) {
            end -= 1;
        }
        notification.data.push(end as u8);
        notification.data.extend_from_slice(&communication.as_bytes()[..end]);
        notification
    }

    /// Cuts the data so that the message has at most `max_message` octets: a peer that takes no longer ones gets none (RFC 8654 §4).
    pub(crate) fn fit(mut self, max_message: usize) -> Self {
        self.data.truncate(max_message.saturating_sub(HEADER_LEN + 2));
        self
    }

    /// Code and subcode.
    pub const fn kind(&self) -> (u8, u8) {
        (self.code, self.subcode)
    }

    /// The peer's shutdown communication (RFC 9003), safe to show: one line, control characters and invalid octets replaced.
    pub fn communication(&self) -> Option<String> {
        if !matches!(self.kind(), Notification::CEASE_SHUTDOWN | Notification::CEASE_RESET) {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(length)).filter(|text| !text.is_empty())?;
        let clean = String::from_utf8_lossy(text).chars().map(|c| if is_shown(c) { c } else { '\u{fffd}' }).collect();
        Some(clean)
    }

    /// What the data adds for people, where its meaning is known.
    fn detail(&self) -> Option<String> {
        match (self.kind(), self.data.as_slice()) {
            (Notification::OPEN_PEER_AS, &[a, b]) => Some(format!("AS {}", u16::from_be_bytes([a, b]))),
            (Notification::OPEN_PEER_AS, &[a, b, c, d]) => Some(format!("AS {}", u32::from_be_bytes([a, b, c, d]))),
            (Notification::OPEN_CAPABILITY, mut data) => {
                let mut needed = Vec::new();
                while let Some((&[code, len], rest)) = data.split_first_chunk() {
                    let (value, rest) = rest.split_at_checked(usize::from(len))?;
                    needed.push(match Capability::decode(code, value) {
                        Capability::Multiprotocol(FamilyNumbers { afi, safi }) => {
                            match AfiSafi::from_numbers(afi, safi) {
                                Some(family) => family.name().to_owned(),
                                None => format!("family {afi}/{safi}"),
                            }
                        }
                        _ => format!("capability {code}"),
                    });
                    data = rest;
                }
                (!needed.is_empty() && data.is_empty()).then(|| format!("{} needed", needed.join(", ")))
            }
            (Notification::HEADER_TYPE, &[kind]) => Some(format!("type {kind}")),
            (Notification::FSM_OPEN_SENT | Notification::FSM_OPEN_CONFIRM | Notification::FSM_ESTABLISHED, &[kind]) => {
                Some(message_name(kind).map_or_else(|| format!("type {kind}"), str::to_owned))
            }
            (Notification::UPDATE_MISSING, &[attribute]) => Some(format!("attribute {attribute}")),
            (
                Notification::UPDATE_UNRECOGNIZED
                | Notification::UPDATE_FLAGS
                | Notification::UPDATE_LENGTH
                | Notification::UPDATE_ORIGIN
                | Notification::UPDATE_NEXT_HOP
                | Notification::UPDATE_OPTIONAL,
                &[_, attribute, ..],
            ) => Some(format!("attribute {attribute}")),
            (Notification::CEASE_HARD_RESET, &[code, subcode, ref data @ ..])
                if (code, subcode) != Notification::CEASE_HARD_RESET =>
            {
                Some(Notification { code, subcode, data: data.to_vec() }.to_string())
            }
            _ => self.communication().map(|text| format!("\"{text}\"")),
        }
    }

    /// A Hard Reset (RFC 8538 §3.1) around another NOTIFICATION: the peer must not retain routes.
    pub fn hard_reset(self) -> Self {
        let mut data = vec![self.code, self.subcode];
        data.extend_from_slice(&self.data);
        Notification { code: 6, subcode: 9, data }
    }

    /// Reads the body behind the header.
    pub fn decode(body: &[u8]) -> Option<Self> {
        match body {
            [code, subcode, data @ ..] => Some(Notification { code: *code, subcode: *subcode, data: data.to_vec() }),
            _ => None,
        }
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[self.code, self.subcode]);
        // A longer message has no length that could be written in its header.
        let most = MAX_EXTENDED_MESSAGE - HEADER_LEN - 2;
        out.extend_from_slice(&self.data[..self.data.len().min(most)]);
    }
}

const fn message_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        message_kind::OPEN => "OPEN",
        message_kind::UPDATE => "UPDATE",
        message_kind::NOTIFICATION => "NOTIFICATION",
        message_kind::KEEPALIVE => "KEEPALIVE",
        message_kind::ROUTE_REFRESH => "ROUTE-REFRESH",
        _ => return None,
    })
}

/// Neither control characters nor those that turn the direction of text or hide it.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match TEXTS.iter().find(|(kind, _)| *kind == self.kind()) {
            Some((_, text)) => write!(f, "{text} ({}/{})", self.code, self.subcode)?,
            None => write!(f, "notification {}/{}", self.code, self.subcode)?,
        }
        match self.detail() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shutdown_communication_is_cut_at_a_character_and_cleaned() {
        let long = "ä".repeat(200);
        let sent = Notification::cease(Notification::CEASE_SHUTDOWN, &long);
        assert_eq!(sent.data.len(), 255);
        assert_eq!(sent.communication().unwrap().chars().count(), 127);
        let nasty = Notification { code: 6, subcode: 4, data: b"\x0ba\x1b[31mb\xff\nc\x07".to_vec() };
        assert_eq!(nasty.communication().unwrap(), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(nasty.to_string(), "administrative reset (6/4): \"a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}\"");
        let lying = Notification { code: 6, subcode: 2, data: vec![9, b'a'] };
        assert_eq!(lying.communication(), None);
        assert!(Notification::cease(Notification::CEASE_PREFIXES, "text").data.is_empty());
        let hard = Notification::cease(Notification::CEASE_SHUTDOWN, "bye").hard_reset();
        assert_eq!(hard.to_string(), "hard reset (6/9): administrative shutdown (6/2): \"bye\"");
    }

    #[test]
    fn data_of_known_meaning_is_told() {
        let table: [(_, &[u8], _); 9] = [
            (Notification::UPDATE_MISSING, &[5], "missing well-known attribute (3/3): attribute 5"),
            (Notification::UPDATE_FLAGS, &[0xc0, 1, 1, 0], "attribute flags error (3/4): attribute 1"),
            (Notification::FSM_ESTABLISHED, &[1], "unexpected message in Established (5/3): OPEN"),
            (Notification::OPEN_PEER_AS, &[0xfe, 0x0a], "bad peer AS (2/2): AS 65034"),
            (Notification::OPEN_PEER_AS, &[1], "bad peer AS (2/2)"),
            (
                Notification::OPEN_CAPABILITY,
                &[1, 4, 0, 1, 0, 1, 65, 0],
                "unsupported capability (2/7): ipv4-unicast, capability 65 needed",
            ),
            (Notification::OPEN_CAPABILITY, &[1, 9, 0], "unsupported capability (2/7)"),
            (Notification::HEADER_TYPE, &[9], "bad message type (1/3): type 9"),
            (Notification::CEASE_HARD_RESET, &[6, 9, 6, 9], "hard reset (6/9)"),
        ];
        for (kind, data, text) in table {
            assert_eq!(Notification::with_data(kind, data).to_string(), text);
        }
    }
}
