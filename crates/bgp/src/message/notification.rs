//! NOTIFICATION: why a session ends (RFC 4271 §4.5, RFC 4486, RFC 6608, RFC 9003, RFC 9687).

use crate::afi_safi::AfiSafi;
use crate::message::capability::{Capability, FamilyNumbers};
use crate::message::code::{CeaseSubcode, HeaderSubcode, MessageType, NotificationCode, OpenSubcode, UpdateSubcode};
use crate::message::size::{HEADER_LEN, MAX_COMMUNICATION, MAX_EXTENDED_MESSAGE};
use std::fmt;

/// A NOTIFICATION as on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
pub struct Notification {
    /// Error code and subcode.
    pub code: NotificationCode,
    /// Diagnostic octets.
    pub data: Vec<u8>,
}

impl Notification {
    /// One without data.
    #[must_use]
    pub fn new(code: impl Into<NotificationCode>) -> Self {
        Notification { code: code.into(), data: Vec::new() }
    }

    /// One with diagnostic octets.
    #[must_use]
    pub fn with_data(code: impl Into<NotificationCode>, data: &[u8]) -> Self {
        Notification { code: code.into(), data: data.to_vec() }
    }

    /// A Cease with a shutdown communication (RFC 9003): cut to 255 octets at a character boundary.
    /// The RFC allows the text with administrative shutdown and reset only; with other subcodes it
    /// is left out.
    #[must_use]
    pub fn cease(subcode: CeaseSubcode, communication: &str) -> Self {
        let mut notification = Notification::new(subcode);
        if communication.is_empty() || !takes_communication(notification.code) {
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

    /// Truncates the data so that the message has at most `max_message` octets, the maximum of the
    /// peer (RFC 8654 §4).
    pub(crate) fn fit(mut self, max_message: usize) -> Self {
        self.data.truncate(max_message.saturating_sub(HEADER_LEN + 2));
        self
    }

    /// The peer's shutdown communication (RFC 9003), safe to display: one line, control characters
    /// and invalid octets replaced.
    #[must_use]
    pub fn communication(&self) -> Option<String> {
        if !takes_communication(self.code) {
            return None;
        }
        let (&length, text) = self.data.split_first()?;
        let text = text.get(..usize::from(length)).filter(|text| !text.is_empty())?;
        let clean = String::from_utf8_lossy(text).chars().map(|c| if is_shown(c) { c } else { '\u{fffd}' }).collect();
        Some(clean)
    }

    /// The data as text, if its meaning is known.
    fn detail(&self) -> Option<String> {
        match (self.code, self.data.as_slice()) {
            (NotificationCode::OpenMessage(OpenSubcode::BadPeerAs), &[a, b]) => {
                Some(format!("AS {}", u16::from_be_bytes([a, b])))
            }
            (NotificationCode::OpenMessage(OpenSubcode::BadPeerAs), &[a, b, c, d]) => {
                Some(format!("AS {}", u32::from_be_bytes([a, b, c, d])))
            }
            (NotificationCode::OpenMessage(OpenSubcode::UnsupportedCapability), data) => needed_capabilities(data),
            (NotificationCode::MessageHeader(HeaderSubcode::BadType), &[kind]) => Some(format!("type {kind}")),
            (NotificationCode::FiniteStateMachine(_), &[kind]) => {
                Some(MessageType::from_number(kind).map_or_else(|| format!("type {kind}"), |kind| kind.to_string()))
            }
            (NotificationCode::UpdateMessage(UpdateSubcode::MissingAttribute), &[attribute])
            | (
                NotificationCode::UpdateMessage(
                    UpdateSubcode::UnrecognizedAttribute
                    | UpdateSubcode::AttributeFlags
                    | UpdateSubcode::AttributeLength
                    | UpdateSubcode::InvalidOrigin
                    | UpdateSubcode::InvalidNextHop
                    | UpdateSubcode::OptionalAttribute,
                ),
                &[_, attribute, ..],
            ) => Some(format!("attribute {attribute}")),
            (NotificationCode::Cease(CeaseSubcode::HardReset), &[code, subcode, ref data @ ..]) => {
                let inner = NotificationCode::from_numbers(code, subcode);
                (inner != self.code).then(|| Notification::with_data(inner, data).to_string())
            }
            _ => self.communication().map(|text| format!("\"{text}\"")),
        }
    }

    /// A Hard Reset (RFC 8538 §3.1) around another NOTIFICATION: the peer must not retain routes.
    #[must_use]
    pub fn hard_reset(self) -> Self {
        let (code, subcode) = self.code.numbers();
        Notification::with_data(CeaseSubcode::HardReset, &[&[code, subcode], &self.data[..]].concat())
    }

    /// Decodes the body, without header.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        match body {
            &[code, subcode, ref data @ ..] => {
                Some(Notification::with_data(NotificationCode::from_numbers(code, subcode), data))
            }
            _ => None,
        }
    }

    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        let (code, subcode) = self.code.numbers();
        out.extend_from_slice(&[code, subcode]);
        // A longer message has no length that could be written in its header.
        let most = MAX_EXTENDED_MESSAGE - HEADER_LEN - 2;
        out.extend_from_slice(&self.data[..self.data.len().min(most)]);
    }
}

/// Whether the data of a NOTIFICATION with this code is a shutdown communication (RFC 9003 §2).
const fn takes_communication(code: NotificationCode) -> bool {
    matches!(code, NotificationCode::Cease(CeaseSubcode::AdministrativeShutdown | CeaseSubcode::AdministrativeReset))
}

/// The capabilities in the data of Unsupported Capability (RFC 5492 §5) as text; `None` if they are
/// malformed.
fn needed_capabilities(mut data: &[u8]) -> Option<String> {
    let mut needed = Vec::new();
    while let Some((&[code, len], rest)) = data.split_first_chunk() {
        let (value, rest) = rest.split_at_checked(usize::from(len))?;
        needed.push(match Capability::decode(code, value) {
            Capability::Multiprotocol(FamilyNumbers { afi, safi }) => match AfiSafi::from_numbers(afi, safi) {
                Some(family) => family.name().to_owned(),
                None => format!("family {afi}/{safi}"),
            },
            _ => format!("capability {code}"),
        });
        data = rest;
    }
    (!needed.is_empty() && data.is_empty()).then(|| format!("{} needed", needed.join(", ")))
}

/// False for control characters, and for those that change the direction of text or are invisible.
fn is_shown(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.code.fmt(f)?;
        match self.detail() {
            Some(text) => write!(f, ": {text}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::code::FsmSubcode;

    #[test]
    fn a_shutdown_communication_is_cut_at_a_character_and_cleaned() {
        let long = "ä".repeat(200);
        let sent = Notification::cease(CeaseSubcode::AdministrativeShutdown, &long);
        assert_eq!(sent.data.len(), 255);
        assert_eq!(sent.communication().unwrap().chars().count(), 127);
        let nasty = Notification::with_data(CeaseSubcode::AdministrativeReset, b"\x0ba\x1b[31mb\xff\nc\x07");
        assert_eq!(nasty.communication().unwrap(), "a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(nasty.to_string(), "administrative reset (6/4): \"a\u{fffd}[31mb\u{fffd}\u{fffd}c\u{fffd}\"");
        let lying = Notification::with_data(CeaseSubcode::AdministrativeShutdown, &[9, b'a']);
        assert_eq!(lying.communication(), None);
        assert!(Notification::cease(CeaseSubcode::MaximumPrefixes, "text").data.is_empty());
        let hard = Notification::cease(CeaseSubcode::AdministrativeShutdown, "bye").hard_reset();
        assert_eq!(hard.to_string(), "hard reset (6/9): administrative shutdown (6/2): \"bye\"");
    }

    #[test]
    fn data_of_known_meaning_is_reported() {
        let table: [(NotificationCode, &[u8], _); 9] = [
            (
                NotificationCode::UpdateMessage(UpdateSubcode::MissingAttribute),
                &[5],
                "missing well-known attribute (3/3): attribute 5",
            ),
            (
                NotificationCode::UpdateMessage(UpdateSubcode::AttributeFlags),
                &[0xc0, 1, 1, 0],
                "attribute flags error (3/4): attribute 1",
            ),
            (
                NotificationCode::FiniteStateMachine(FsmSubcode::UnexpectedInEstablished),
                &[1],
                "unexpected message in Established (5/3): OPEN",
            ),
            (NotificationCode::OpenMessage(OpenSubcode::BadPeerAs), &[0xfe, 0x0a], "bad peer AS (2/2): AS 65034"),
            (NotificationCode::OpenMessage(OpenSubcode::BadPeerAs), &[1], "bad peer AS (2/2)"),
            (
                NotificationCode::OpenMessage(OpenSubcode::UnsupportedCapability),
                &[1, 4, 0, 1, 0, 1, 65, 0],
                "unsupported capability (2/7): ipv4-unicast, capability 65 needed",
            ),
            (
                NotificationCode::OpenMessage(OpenSubcode::UnsupportedCapability),
                &[1, 9, 0],
                "unsupported capability (2/7)",
            ),
            (NotificationCode::MessageHeader(HeaderSubcode::BadType), &[9], "bad message type (1/3): type 9"),
            (NotificationCode::Cease(CeaseSubcode::HardReset), &[6, 9, 6, 9], "hard reset (6/9)"),
        ];
        for (kind, data, text) in table {
            assert_eq!(Notification::with_data(kind, data).to_string(), text);
        }
    }
}
