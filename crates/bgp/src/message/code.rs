//! Numbers of the IANA registry "BGP Parameters" as enums: message types, and the error codes and
//! subcodes of a NOTIFICATION.

use std::fmt;

/// The type of a message (RFC 4271 §4.1, RFC 2918).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
#[repr(u8)]
pub enum MessageType {
    /// 1.
    Open = 1,
    /// 2.
    Update = 2,
    /// 3.
    Notification = 3,
    /// 4.
    Keepalive = 4,
    /// 5 (RFC 2918).
    RouteRefresh = 5,
}

impl MessageType {
    /// The octet on the wire.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The type of an octet on the wire; `None` if this crate does not know it.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => MessageType::Open,
            2 => MessageType::Update,
            3 => MessageType::Notification,
            4 => MessageType::Keepalive,
            5 => MessageType::RouteRefresh,
            _ => return None,
        })
    }

    /// The name that the RFCs use, in capitals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            MessageType::Open => "OPEN",
            MessageType::Update => "UPDATE",
            MessageType::Notification => "NOTIFICATION",
            MessageType::Keepalive => "KEEPALIVE",
            MessageType::RouteRefresh => "ROUTE-REFRESH",
        }
    }
}

impl fmt::Display for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Declares the subcodes of one error code: variant, number, text.
macro_rules! subcodes {
    ($(#[$doc:meta])* $name:ident => $code:ident: $($variant:ident = $number:literal, $text:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
        #[non_exhaustive]
        #[repr(u8)]
        pub enum $name {
            $(#[doc = concat!("Subcode ", $number, ": ", $text, ".")] $variant = $number,)*
        }

        impl $name {
            /// The octet on the wire.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The subcode of an octet on the wire; `None` if this crate does not know it.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some($name::$variant),)*
                    _ => None,
                }
            }

            /// The meaning as text, in lower case.
            pub const fn description(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }

        impl From<$name> for NotificationCode {
            fn from(subcode: $name) -> Self {
                NotificationCode::$code(subcode)
            }
        }
    };
}

subcodes! {
    /// Subcodes of Message Header Error (RFC 4271 §6.1).
    HeaderSubcode => MessageHeader:
    Unspecific = 0, "message header error";
    NotSynchronized = 1, "connection not synchronized";
    BadLength = 2, "bad message length";
    BadType = 3, "bad message type";
}

subcodes! {
    /// Subcodes of OPEN Message Error (RFC 4271 §6.2, RFC 5492 §5, RFC 9234 §4.2).
    OpenSubcode => OpenMessage:
    Unspecific = 0, "malformed OPEN";
    UnsupportedVersion = 1, "unsupported version number";
    BadPeerAs = 2, "bad peer AS";
    BadIdentifier = 3, "bad BGP identifier";
    UnsupportedParameter = 4, "unsupported optional parameter";
    UnacceptableHoldTime = 6, "unacceptable hold time";
    UnsupportedCapability = 7, "unsupported capability";
    RoleMismatch = 11, "role mismatch";
}

subcodes! {
    /// Subcodes of UPDATE Message Error (RFC 4271 §6.3).
    UpdateSubcode => UpdateMessage:
    Unspecific = 0, "UPDATE message error";
    MalformedAttributeList = 1, "malformed attribute list";
    UnrecognizedAttribute = 2, "unrecognized well-known attribute";
    MissingAttribute = 3, "missing well-known attribute";
    AttributeFlags = 4, "attribute flags error";
    AttributeLength = 5, "attribute length error";
    InvalidOrigin = 6, "invalid ORIGIN attribute";
    InvalidNextHop = 8, "invalid NEXT_HOP attribute";
    OptionalAttribute = 9, "optional attribute error";
    InvalidNetworkField = 10, "invalid network field";
    MalformedAsPath = 11, "malformed AS_PATH";
}

subcodes! {
    /// Subcodes of Finite State Machine Error (RFC 6608).
    FsmSubcode => FiniteStateMachine:
    Unspecific = 0, "finite state machine error";
    UnexpectedInOpenSent = 1, "unexpected message in OpenSent";
    UnexpectedInOpenConfirm = 2, "unexpected message in OpenConfirm";
    UnexpectedInEstablished = 3, "unexpected message in Established";
}

subcodes! {
    /// Subcodes of Cease (RFC 4486, RFC 8538 §3, RFC 9384).
    CeaseSubcode => Cease:
    Unspecific = 0, "cease";
    MaximumPrefixes = 1, "maximum number of prefixes reached";
    AdministrativeShutdown = 2, "administrative shutdown";
    PeerDeconfigured = 3, "peer de-configured";
    AdministrativeReset = 4, "administrative reset";
    ConnectionRejected = 5, "connection rejected";
    ConfigurationChange = 6, "other configuration change";
    CollisionResolution = 7, "connection collision resolution";
    OutOfResources = 8, "out of resources";
    HardReset = 9, "hard reset";
    BfdDown = 10, "BFD down";
}

subcodes! {
    /// Subcodes of ROUTE-REFRESH Message Error (RFC 7313 §5).
    RouteRefreshSubcode => RouteRefreshMessage:
    InvalidLength = 1, "invalid ROUTE-REFRESH length";
}

/// Error code and subcode of a NOTIFICATION (RFC 4271 §4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "arbitrary", derive(::arbitrary::Arbitrary))]
#[non_exhaustive]
pub enum NotificationCode {
    /// 1, Message Header Error.
    MessageHeader(HeaderSubcode),
    /// 2, OPEN Message Error.
    OpenMessage(OpenSubcode),
    /// 3, UPDATE Message Error.
    UpdateMessage(UpdateSubcode),
    /// 4, Hold Timer Expired.
    HoldTimerExpired,
    /// 5, Finite State Machine Error.
    FiniteStateMachine(FsmSubcode),
    /// 6, Cease.
    Cease(CeaseSubcode),
    /// 7, ROUTE-REFRESH Message Error (RFC 7313).
    RouteRefreshMessage(RouteRefreshSubcode),
    /// 8, Send Hold Timer Expired (RFC 9687).
    SendHoldTimerExpired,
    /// A pair of octets that this crate does not know.
    Unknown {
        /// Error code.
        code: u8,
        /// Error subcode.
        subcode: u8,
    },
}

impl NotificationCode {
    /// The meaning of two octets on the wire.
    #[must_use]
    pub fn from_numbers(code: u8, subcode: u8) -> Self {
        let known = match code {
            1 => HeaderSubcode::from_number(subcode).map(NotificationCode::MessageHeader),
            2 => OpenSubcode::from_number(subcode).map(NotificationCode::OpenMessage),
            3 => UpdateSubcode::from_number(subcode).map(NotificationCode::UpdateMessage),
            4 if subcode == 0 => Some(NotificationCode::HoldTimerExpired),
            5 => FsmSubcode::from_number(subcode).map(NotificationCode::FiniteStateMachine),
            6 => CeaseSubcode::from_number(subcode).map(NotificationCode::Cease),
            7 => RouteRefreshSubcode::from_number(subcode).map(NotificationCode::RouteRefreshMessage),
            8 if subcode == 0 => Some(NotificationCode::SendHoldTimerExpired),
            _ => None,
        };
        known.unwrap_or(NotificationCode::Unknown { code, subcode })
    }

    /// Error code and subcode as on the wire.
    #[must_use]
    pub const fn numbers(self) -> (u8, u8) {
        match self {
            NotificationCode::MessageHeader(subcode) => (1, subcode.number()),
            NotificationCode::OpenMessage(subcode) => (2, subcode.number()),
            NotificationCode::UpdateMessage(subcode) => (3, subcode.number()),
            NotificationCode::HoldTimerExpired => (4, 0),
            NotificationCode::FiniteStateMachine(subcode) => (5, subcode.number()),
            NotificationCode::Cease(subcode) => (6, subcode.number()),
            NotificationCode::RouteRefreshMessage(subcode) => (7, subcode.number()),
            NotificationCode::SendHoldTimerExpired => (8, 0),
            NotificationCode::Unknown { code, subcode } => (code, subcode),
        }
    }

    /// The meaning as text, in lower case; `None` if this crate does not know it.
    #[must_use]
    pub const fn description(self) -> Option<&'static str> {
        Some(match self {
            NotificationCode::MessageHeader(subcode) => subcode.description(),
            NotificationCode::OpenMessage(subcode) => subcode.description(),
            NotificationCode::UpdateMessage(subcode) => subcode.description(),
            NotificationCode::HoldTimerExpired => "hold timer expired",
            NotificationCode::FiniteStateMachine(subcode) => subcode.description(),
            NotificationCode::Cease(subcode) => subcode.description(),
            NotificationCode::RouteRefreshMessage(subcode) => subcode.description(),
            NotificationCode::SendHoldTimerExpired => "send hold timer expired",
            NotificationCode::Unknown { .. } => return None,
        })
    }
}

/// `administrative reset (6/4)`; `notification 6/99` where the pair is not known.
impl fmt::Display for NotificationCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (code, subcode) = self.numbers();
        match self.description() {
            Some(text) => write!(f, "{text} ({code}/{subcode})"),
            None => write!(f, "notification {code}/{subcode}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_octets_comes_back_as_it_was() {
        let mut known = 0;
        for (code, subcode) in (0..=255).flat_map(|code| (0..=255).map(move |subcode| (code, subcode))) {
            let decoded = NotificationCode::from_numbers(code, subcode);
            assert_eq!(decoded.numbers(), (code, subcode));
            known += usize::from(decoded.description().is_some());
        }
        assert_eq!(known, 4 + 8 + 11 + 1 + 4 + 11 + 1 + 1);
    }

    #[test]
    fn message_types_have_their_numbers() {
        for number in 0..=255 {
            let known = MessageType::from_number(number);
            assert_eq!(known.map(MessageType::number), (1..=5).contains(&number).then_some(number));
        }
    }
}
